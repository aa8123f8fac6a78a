/*
 * Single weights, rows of them, or two of each four set to zero, with the meaning that torch.nn.utils.prune gives them:
 * an amount is a number of entries or a share of those that no mask covers yet, and what a mask covers already stays
 * covered. Nothing becomes smaller or faster by that.
 */
#include "prune.h"
#include <cvr/plugin/rng.h>

/* As mask_attrs packs it. */
typedef struct mask_settings {
    const char *amount, *layers;
    double n;
    int64_t dim, seed;
} mask_settings;

static const cvr_attr_desc *const mask_attrs[] = {
    CVR_ATTR(STRING, "amount", "0",
             "a share, 0.5, or a number, 100, of the weights (or rows) of each layer that no mask covers yet"),
    CVR_ATTR(STRING, "layers", "",
             "layers whose weights are meant, by patterns with * and ?, separated by commas; none: all"),
    CVR_ATTR(FLOAT, "n", "2", "for ln_structured: which norm a row is judged by; 0: the largest magnitude",
             CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(INT, "dim", "0", "for ln_structured and random_structured: the axis whose rows go; 0: outputs, 1: inputs",
             CVR_ATTR_BETWEEN(0, 3)),
    CVR_ATTR(INT, "seed", "0", "for random methods", CVR_ATTR_AT_LEAST(0)),
};
CVR_STATIC_ASSERT(sizeof(mask_settings) == sizeof(void *) * sizeof mask_attrs / sizeof *mask_attrs,
                  "settings must match the schema");

/* A weight with its mask. */
typedef struct masked {
    const cvr_param_view *p;
    uint8_t *mask;
    int64_t n;
} masked;

/* Something that may go: an entry, or a row. */
typedef struct candidate {
    double score;
    int64_t index;
    masked *of;
} candidate;

typedef struct mask_job {
    const cvr_compression *c;
    const mask_settings *s;
    masked *weights;
    uint64_t n;
    candidate *candidates;
    uint64_t n_candidates;
} mask_job;

/* ---- what is pruned ---- */

static const cvr_param_view *held_mask(const mask_job *j, const char *name) {
    const cvr_param_view *p;
    const size_t n = strlen(name);
    for (uint64_t i = 0; (p = j->c->param(j->c, i)); i++)
        if (strncmp(p->name, name, n) == 0 && strcmp(p->name + n, "_mask") == 0) return p;
    return NULL;
}

static int is_wanted(const mask_job *j, const cvr_param_view *p) {
    return p->type->rank > 1 && (p->flags & CVR_PARAM_TRAINABLE) && !(p->flags & CVR_PARAM_NORM) &&
           (!*j->s->layers || cvr_names_fit(j->s->layers, p->name));
}

static int32_t add_weight(mask_job *j, const cvr_param_view *p, cvr_error *err) {
    masked *m = &j->weights[j->n++];
    const cvr_param_view *held = held_mask(j, p->name);
    m->p = p;
    m->n = cvr_numel(p->type->rank, p->type->shape);
    m->mask = prune_room(j->c, (uint64_t)m->n);
    if (!m->mask) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (int64_t i = 0; i < m->n; i++) m->mask[i] = !held || held->values[i] != 0;
    return CVR_OK;
}

static int32_t open_job(mask_job *j, cvr_error *err) {
    const cvr_param_view *p;
    uint64_t n = 0, entries = 0;
    for (uint64_t i = 0; (p = j->c->param(j->c, i)); i++) {
        n += (uint64_t)is_wanted(j, p);
        entries += is_wanted(j, p) ? (uint64_t)cvr_numel(p->type->rank, p->type->shape) : 0;
    }
    if (!n)
        return cvr_fail(err, CVR_ERR_USAGE, "prune.layers = %s: no weights of this network have such a name",
                        j->s->layers);
    j->weights = prune_room(j->c, n * sizeof *j->weights);
    j->candidates = prune_room(j->c, entries * sizeof *j->candidates);
    if (!j->weights || !j->candidates) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (uint64_t i = 0; (p = j->c->param(j->c, i)); i++)
        if (is_wanted(j, p)) CVR_TRY(add_weight(j, p, err));
    return CVR_OK;
}

static void close_job(const mask_job *j) {
    for (uint64_t i = 0; i < j->n; i++) j->c->host->free(j->c->host, j->weights[i].mask);
    j->c->host->free(j->c->host, j->weights);
    j->c->host->free(j->c->host, j->candidates);
}

/* Of n that are left: a number, or a share, rounded half to even. */
static int32_t parse_amount(const mask_job *j, int64_t n, int64_t *out, cvr_error *err) {
    const char *text = j->s->amount;
    char *end;
    if (*text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 18) {
        *out = strtoll(text, &end, 10);
        if (*out > 0 && *out <= n) return CVR_OK;
        if (*out == 0) return cvr_fail(err, CVR_ERR_USAGE, "prune.amount is 0: say how much, amount=0.5");
        return cvr_fail(err, CVR_ERR_USAGE, "prune.amount = %s: only %lld are left to prune", text, (long long)n);
    }
    const double share = strtod(text, &end);
    if (end == text || *end || !(share >= 0 && share <= 1))
        return cvr_fail(err, CVR_ERR_USAGE, "prune.amount = %s: write a share from 0.0 to 1.0, or a whole number",
                        text);
    *out = (int64_t)nearbyint(share * (double)n);
    return CVR_OK;
}

/* ---- entries ---- */

static int by_score(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? -1 : 1;
    if (x->of != y->of) return x->of < y->of ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static void add_candidate(mask_job *j, masked *m, int64_t index, double score) {
    j->candidates[j->n_candidates++] = (candidate){score, index, m};
}

static void start_random(const mask_job *j, const masked *m, cvr_rng *rng) {
    cvr_rng_start(rng, (uint64_t)j->s->seed, cvr_hash(m->p->name));
}

static void add_entries(mask_job *j, masked *m, int random) {
    cvr_rng rng;
    start_random(j, m, &rng);
    for (int64_t i = 0; i < m->n; i++) {
        const double by_chance = random ? cvr_rng_uniform(&rng) : 0;
        if (m->mask[i]) add_candidate(j, m, i, random ? by_chance : fabs((double)m->p->values[i]));
    }
}

static int32_t drop_entries(mask_job *j, cvr_error *err) {
    int64_t go;
    CVR_TRY(parse_amount(j, (int64_t)j->n_candidates, &go, err));
    qsort(j->candidates, j->n_candidates, sizeof *j->candidates, by_score);
    for (int64_t i = 0; i < go; i++) j->candidates[i].of->mask[j->candidates[i].index] = 0;
    j->n_candidates = 0;
    return CVR_OK;
}

static int32_t each_layer(mask_job *j, int random, cvr_error *err) {
    for (uint64_t i = 0; i < j->n; i++) {
        add_entries(j, &j->weights[i], random);
        CVR_TRY(drop_entries(j, err));
    }
    return CVR_OK;
}

static int32_t run_l1(mask_job *j, cvr_error *err) {
    return each_layer(j, 0, err);
}

static int32_t run_random(mask_job *j, cvr_error *err) {
    return each_layer(j, 1, err);
}

static int32_t run_global(mask_job *j, cvr_error *err) {
    for (uint64_t i = 0; i < j->n; i++) add_entries(j, &j->weights[i], 0);
    return drop_entries(j, err);
}

/* ---- rows ---- */

/* Its norm, of what the mask leaves; -1: the mask covers all of it. */
static double norm_of(const masked *m, const prune_rows *r, int64_t row, double n) {
    double sum = 0, largest = 0;
    int left = 0;
    for (int64_t o = 0; o < r->outer; o++)
        for (int64_t i = 0; i < r->inner; i++) {
            const int64_t at = prune_row_at(r, o, row) + i;
            const double x = m->mask[at] ? fabs((double)m->p->values[at]) : 0;
            left = left || m->mask[at];
            sum += n > 0 ? pow(x, n) : 0;
            largest = x > largest ? x : largest;
        }
    return !left ? -1 : n > 0 ? pow(sum, 1 / n) : largest;
}

static void clear_row(const masked *m, const prune_rows *r, int64_t row) {
    for (int64_t o = 0; o < r->outer; o++) memset(m->mask + prune_row_at(r, o, row), 0, (size_t)r->inner);
}

static int32_t drop_rows(mask_job *j, masked *m, int random, cvr_error *err) {
    cvr_rng rng;
    int64_t go;
    if (j->s->dim >= (int64_t)m->p->type->rank)
        return cvr_fail(err, CVR_ERR_USAGE, "prune.dim = %lld: %.200s has %u axes", (long long)j->s->dim, m->p->name,
                        m->p->type->rank);
    const prune_rows r = prune_rows_of(m->p->type, (uint32_t)j->s->dim);
    start_random(j, m, &rng);
    for (int64_t row = 0; row < r.length; row++) {
        const double by_chance = random ? cvr_rng_uniform(&rng) : 0, norm = norm_of(m, &r, row, j->s->n);
        if (norm >= 0) add_candidate(j, m, row, random ? by_chance : norm);
    }
    CVR_TRY(parse_amount(j, (int64_t)j->n_candidates, &go, err));
    qsort(j->candidates, j->n_candidates, sizeof *j->candidates, by_score);
    for (int64_t i = 0; i < go; i++) clear_row(m, &r, j->candidates[i].index);
    j->n_candidates = 0;
    return CVR_OK;
}

static int32_t run_ln_structured(mask_job *j, cvr_error *err) {
    for (uint64_t i = 0; i < j->n; i++) CVR_TRY(drop_rows(j, &j->weights[i], 0, err));
    return CVR_OK;
}

static int32_t run_random_structured(mask_job *j, cvr_error *err) {
    for (uint64_t i = 0; i < j->n; i++) CVR_TRY(drop_rows(j, &j->weights[i], 1, err));
    return CVR_OK;
}

/* ---- 2:4 ---- */

/* Of four entries, `step` apart, the two of greatest magnitude stay. */
static void prune_four(const masked *m, int64_t at, int64_t step) {
    int64_t left = 0;
    for (int64_t i = at; i < at + 4 * step; i += step) left += m->mask[i];
    for (; left > 2; left--) {
        int64_t least = -1;
        for (int64_t i = at; i < at + 4 * step; i += step)
            if (m->mask[i] && (least < 0 || fabsf(m->p->values[i]) < fabsf(m->p->values[least]))) least = i;
        m->mask[least] = 0;
    }
}

/* Each four neighbours along the input channels; layers that have no fours stay. */
static void prune_fours(const masked *m) {
    const prune_rows r = prune_rows_of(m->p->type, 1);
    for (int64_t o = 0; o < r.outer && r.length % 4 == 0; o++)
        for (int64_t row = 0; row < r.length; row += 4)
            for (int64_t i = 0; i < r.inner; i++) prune_four(m, prune_row_at(&r, o, row) + i, r.inner);
}

static int32_t run_two_four(mask_job *j, cvr_error *err) {
    char text[300];
    for (uint64_t i = 0; i < j->n; i++) {
        const cvr_type *t = j->weights[i].p->type;
        prune_fours(&j->weights[i]);
        if (t->shape[1] % 4 == 0) continue;
        (void)snprintf(text, sizeof text, "%.200s: %lld input channels are no fours", j->weights[i].p->name,
                       (long long)t->shape[1]);
        CVR_TRY(j->c->note(j->c, "stays whole", text, err));
    }
    return CVR_OK;
}

/* ---- a run ---- */

static int32_t give_masks(const mask_job *j, cvr_error *err) {
    int64_t zeros = 0, all = 0;
    char text[400];
    for (uint64_t i = 0; i < j->n; i++) {
        const masked *m = &j->weights[i];
        int64_t gone = 0;
        for (int64_t k = 0; k < m->n; k++) gone += !m->mask[k];
        zeros += gone;
        all += m->n;
        (void)snprintf(text, sizeof text, "%.200s: %lld of %lld are zero, %.1f %%", m->p->name, (long long)gone,
                       (long long)m->n, 100 * (double)gone / (double)m->n);
        CVR_TRY(j->c->note(j->c, "sparsity", text, err));
        CVR_TRY(j->c->mask(j->c, m->p->name, m->mask, err));
    }
    (void)snprintf(
        text, sizeof text,
        "all of these: %lld of %lld, %.1f %%; neither the file nor the time becomes smaller, as zeros are stored "
        "and multiplied like other numbers: method=l1 makes networks smaller",
        (long long)zeros, (long long)all, 100 * (double)zeros / (double)all);
    return j->c->note(j->c, "sparsity", text, err);
}

static int32_t compress(const cvr_compression *c, int32_t (*run)(mask_job *j, cvr_error *err), cvr_error *err) {
    mask_job j = {.c = c, .s = c->attrs};
    int32_t status;
    CVR_TRY_OUT(open_job(&j, err));
    CVR_TRY_OUT(run(&j, err));
    status = give_masks(&j, err);
out:
    close_job(&j);
    return status;
}

#define METHOD(function_)                                                                                              \
    static int32_t compress_##function_(const cvr_compression *c, cvr_error *err) {                                    \
        return compress(c, run_##function_, err);                                                                      \
    }
METHOD(l1)
METHOD(random)
METHOD(global)
METHOD(ln_structured)
METHOD(random_structured)
METHOD(two_four)

#define DESC(name_, function_, doc_)                                                                                   \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_compressor_desc), .name = name_, .section = "prune", .doc = doc_,                    \
        .n_attrs = sizeof mask_attrs / sizeof *mask_attrs, .attrs = mask_attrs, .compress = compress_##function_       \
    }

const cvr_compressor_desc prune_masks[PRUNE_MASK_METHODS] = {
    DESC("l1_unstructured", l1, "the weights of each layer that are nearest to zero become zero"),
    DESC("random_unstructured", random, "weights of each layer become zero by chance"),
    DESC("global_unstructured", global,
         "the weights of all these layers together that are nearest to zero become zero"),
    DESC("ln_structured", ln_structured, "the rows of each layer's weights that have the least norm become zero"),
    DESC("random_structured", random_structured, "rows of each layer's weights become zero by chance"),
    DESC("2of4", two_four,
         "two of each four weights along the input channels become zero, which tensor cores can use; CPUs cannot"),
};
