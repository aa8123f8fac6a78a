/*
 * optim.layer_decay: layers in groups, stem first, head last; the rate of group l of L is multiplied with
 * decay^(L - 1 - l) (Clark et al.: "ELECTRA", 2020; groups as timm has them). A stage of the model is one group, or one
 * for each number that `#` stands for in its patterns: "layer1.#". What the stage's other patterns fit joins its first
 * group where they stand before that pattern, else its last.
 */
#include "network.h"
#include <math.h>
#include <stdlib.h>

typedef struct layer_group {
    size_t stage;
    int64_t block;
} layer_group;

/* The block of a name by the stage's patterns: a number, or INT64_MIN and INT64_MAX for the stage's ends. */
static bool block_of(const char *globs, const char *name, int64_t *block) {
    bool numbers = false;
    for (const char *p = globs; *p; p += *p != 0) {
        const size_t n = strcspn(p, ",");
        char one[256];
        (void)snprintf(one, sizeof one, "%.*s", (int)n, p);
        const char *number = strchr(one, '#');
        if (cvr_param_fits(one, name, NULL)) {
            *block = number ? strtoll(name + (number - one), NULL, 10) : numbers ? INT64_MAX : INT64_MIN;
            return true;
        }
        numbers = numbers || number;
        p += n;
    }
    return false;
}

/* False where the name is in no stage of the model. */
static bool group_of(const cvr_model_desc *m, const char *name, layer_group *out) {
    for (out->stage = 0; out->stage < m->n_stages; out->stage++)
        if (block_of(m->stages[out->stage]->globs, name, &out->block)) return true;
    return false;
}

static int by_place(const void *a, const void *b) {
    const layer_group *x = a, *y = b;
    if (x->stage != y->stage) return x->stage < y->stage ? -1 : 1;
    return (x->block > y->block) - (x->block < y->block);
}

/* The ends of a stage join its first and last block, where it has blocks. `all` is sorted, each group there once. */
static size_t rank_of(const layer_group *all, size_t n, const layer_group *g) {
    size_t rank = 0;
    for (size_t i = 0; i < n && by_place(&all[i], g) < 0; i++) rank++;
    return rank < n ? rank : n - 1;
}

static size_t without_ends(layer_group *all, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const bool first = all[i].block == INT64_MIN && i + 1 < n && all[i + 1].stage == all[i].stage,
                   last = all[i].block == INT64_MAX && i > 0 && all[i - 1].stage == all[i].stage,
                   again = kept && by_place(&all[kept - 1], &all[i]) == 0;
        if (!first && !last && !again) all[kept++] = all[i];
    }
    return kept;
}

/* The end of a stage as the block that it joins. */
static layer_group settled(const layer_group *all, size_t n, layer_group g) {
    for (size_t i = 0; i < n; i++) {
        if (all[i].stage != g.stage) continue;
        if (g.block == INT64_MIN) return all[i];
        if (g.block == INT64_MAX && (i + 1 == n || all[i + 1].stage != g.stage)) return all[i];
    }
    return g;
}

/* Rules "NAME:FACTOR," for every parameter that a stage has. */
static int32_t write_rules(const run_network *n, const cvr_store *store, cvr_text *rules, cvr_error *err) {
    const settings *s = n->settings;
    const size_t count = cvr_store_count(store);
    layer_group *all = cvr_calloc(count + 1, sizeof *all), g;
    size_t n_groups = 0;
    if (!all) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++)
        n_groups += cvr_store_get(store, i)->role <= CVR_STORE_FROZEN &&
                    group_of(s->model_desc, cvr_store_get(store, i)->name, &all[n_groups]);
    qsort(all, n_groups, sizeof *all, by_place);
    n_groups = without_ends(all, n_groups);
    for (size_t i = 0; i < count; i++) {
        const cvr_store_entry *e = cvr_store_get(store, i);
        if (e->role > CVR_STORE_FROZEN || !group_of(s->model_desc, e->name, &g)) continue;
        g = settled(all, n_groups, g);
        const size_t below = n_groups - 1 - rank_of(all, n_groups, &g);
        double factor = pow(s->optim->layer_decay, (double)below);
        if (cvr_param_fits("backbone", e->name, e->stage)) factor *= s->optim->backbone_lr_mult;
        if (cvr_param_fits("head", e->name, e->stage)) factor *= s->optim->head_lr_mult;
        cvr_text_add(rules, "%s:%.17g,", e->name, factor);
    }
    cvr_free(all);
    return CVR_OK;
}

/* The names are those of the graph of a program, which is built for that and thrown away. */
int32_t layer_decay_rules(const run_network *n, const program_key *key, const cvr_param_rules *stages, cvr_text *rules,
                          cvr_error *err) {
    run_network other = *n;
    net_program *p = cvr_calloc(1, sizeof *p);
    int32_t status;
    if (!p) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    p->key = *key;
    other.store = NULL;
    CVR_TRY_OUT(cvr_store_create(&other.store, 0, err));
    CVR_TRY_OUT(cvr_store_rules(other.store, stages, err));
    CVR_TRY_OUT(net_program_build(&other, p, err));
    CVR_TRY_OUT(write_rules(n, other.store, rules, err));
out:
    net_program_destroy(&p);
    cvr_store_destroy(&other.store);
    return status;
}
