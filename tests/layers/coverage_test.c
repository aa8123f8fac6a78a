/*
 * Nothing may be left out: every layer that any plugin registers has a line in tests/layers/cases and a golden case,
 * and every op with a gradient runs in a program that one of them makes.
 */
#include "support/each_draw.h"
#include "support/golden.h"
#include <criterion/criterion.h>
#include <stdlib.h>

#define MOST_WORDS 512u

typedef struct words {
    char *all[MOST_WORDS];
    size_t n;
} words;

static bool has(const words *w, const char *word) {
    for (size_t i = 0; i < w->n; i++) {
        if (strcmp(w->all[i], word) == 0) return true;
    }
    return false;
}

static void add(words *w, const char *word) {
    if (has(w, word)) return;
    cr_assert_lt(w->n, MOST_WORDS);
    w->all[w->n++] = strdup(word);
}

static void clear(words *w) {
    for (size_t i = 0; i < w->n; i++) free(w->all[i]);
}

typedef struct seen {
    const case_machine *machine;
    words layers, ops;
} seen;

/* The ops of one draw, with its gradients and without. */
static void note_case(void *ctx, layer_case *c, char *why, size_t size) {
    seen *s = ctx;
    cvr_error err;
    cvr_error_init(&err);
    add(&s->layers, c->layer);
    if (strncmp(c->layer, "op:", 3) == 0) add(&s->ops, c->layer + 3); /* which may run as an elementwise program */
    for (int kind = 0; kind < 3; kind++) {
        case_run *run;
        c->low = kind == 1 ? CVR_BF16 : 0;
        c->training = kind != 2;
        if (case_open(&run, s->machine, c, &err) != CVR_OK) {
            (void)snprintf(why, size, "%.350s", err.message);
            return;
        }
        for (size_t i = 0; i < cvr_program_nodes(case_program(run)); i++) {
            cvr_node_info info;
            cvr_program_node(case_program(run), i, &info);
            add(&s->ops, info.op);
        }
        case_close(&run);
    }
}

static void note_golden(cvr_plugins *plugins, words *layers) {
    size_t n;
    char **paths = files_like(CVR_GOLDEN_DIR, "layers_", ".safetensors", &n);
    for (size_t i = 0; i < n; i++) {
        golden g;
        cvr_error err;
        cvr_error_init(&err);
        cr_assert_eq(golden_open(&g, plugins, paths[i], &err), CVR_OK, "%s: %s", paths[i], err.message);
        for (size_t k = 0; k < g.n_cases; k++) {
            const golden_tensor *t = golden_find(&g, g.cases[k], "layer");
            char name[64] = "";
            if (t && t->bytes < sizeof name) memcpy(name, t->data, t->bytes);
            add(layers, name);
        }
        golden_close(&g);
        free(paths[i]);
    }
    free(paths);
}

Test(coverage, every_layer_and_every_gradient) {
    static seen s;
    static words golden_layers;
    case_machine m;
    cvr_error err;
    size_t missing = 0;
    const char *name;
    cvr_error_init(&err);
    cr_assert_eq(machine_open(&m, "cpu", NULL, 1, &err), CVR_OK, "%s", err.message);
    s.machine = &m;
    const size_t complaints = for_each_draw(CVR_TEST_DIR "/layers/cases", "", &m, note_case, &s);
    note_golden(m.plugins, &golden_layers);
    for (size_t i = 0; (name = cvr_plugins_name(m.plugins, CVR_KIND_LAYER, i)); i++) {
        if (!has(&s.layers, name)) cr_log_error("layer %s has no line in tests/layers/cases", name), missing++;
        if (!has(&golden_layers, name)) cr_log_error("layer %s has no golden case", name), missing++;
    }
    for (size_t i = 0; (name = cvr_plugins_name(m.plugins, CVR_KIND_OP, i)); i++) {
        const void *desc;
        cr_assert_eq(cvr_plugins_find(m.plugins, CVR_KIND_OP, name, &desc, &err), CVR_OK, "%s", err.message);
        const cvr_op_desc *op = desc;
        if (op->grad && !has(&s.ops, name)) cr_log_error("op %s has a gradient and no case runs it", name), missing++;
    }
    machine_close(&m);
    clear(&s.layers);
    clear(&s.ops);
    clear(&golden_layers);
    cr_assert_eq(complaints, 0);
    cr_assert_eq(missing, 0, "%zu things are not covered", missing);
}
