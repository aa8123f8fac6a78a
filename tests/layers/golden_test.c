/*
 * Every layer against PyTorch: all cases of tests/golden/layers_*.safetensors on every backend and instruction set.
 *
 * Tolerance: |a - b| <= 1e-5 (|b| + max |b|). Both sides round each of their sums in f32; over the few thousand terms
 * of these cases that is some 1e-6 of the largest value, and 1e-5 leaves room for another order of summing.
 */
#include "support/golden.h"
#include "support/left_out.h"
#include <criterion/criterion.h>
#include <stdlib.h>

#define RELATIVE 1e-5

typedef struct tally {
    size_t files, cases, passed, failed;
} tally;

static void complain(tally *t, const char *file, const layer_case *c, const char *machine, const char *what) {
    t->failed++;
    cr_log_error("%s: %s (%s %s) on %s: %s", file, c->label, c->layer, c->settings, machine, what);
}

/* Copies a text field; false where it is missing or too long. */
static bool take_text(golden *g, const char *label, const char *field, char *out, size_t size) {
    const golden_tensor *t = golden_find(g, label, field);
    if (!t || t->type.dtype != CVR_U8 || t->bytes >= size) return false;
    memcpy(out, t->data, t->bytes);
    out[t->bytes] = '\0';
    return true;
}

static bool take_numbered(golden *g, const char *label, const char *stem, case_tensor *out, uint32_t *n,
                          uint32_t most) {
    char field[32];
    for (uint32_t i = 0; i < most; i++) {
        (void)snprintf(field, sizeof field, "%s%u", stem, i);
        const golden_tensor *t = golden_find(g, label, field);
        if (!t) continue;
        if (!case_tensor_set(&out[i], field, &t->type, t->data)) return false;
        *n = i + 1;
    }
    return true;
}

static bool take_params(golden *g, layer_case *c) {
    for (size_t i = 0; i < g->n; i++) {
        golden_tensor *t = &g->tensors[i];
        if (strcmp(t->label, c->label) != 0 || strncmp(t->field, "param.", 6) != 0) continue;
        if (c->n_params == CASE_MOST_PARAMS) return false;
        t->used = true;
        if (!case_tensor_set(&c->params[c->n_params++], t->field + 6, &t->type, t->data)) return false;
    }
    return true;
}

/* What is missing, or NULL. */
static const char *take_case(golden *g, const char *label, layer_case *c) {
    char field[32];
    bool learns = false;
    memset(c, 0, sizeof *c);
    (void)snprintf(c->label, sizeof c->label, "%s", label);
    const golden_tensor *train = golden_find(g, label, "train");
    if (!take_text(g, label, "layer", c->layer, sizeof c->layer)) return "field `layer` is missing";
    if (!take_text(g, label, "settings", c->settings, sizeof c->settings)) return "field `settings` is missing";
    if (!train || train->type.dtype != CVR_I64 || train->bytes != 8) return "field `train` is missing";
    c->training = train->data[0] != 0;
    if (!take_numbered(g, label, "in", c->inputs, &c->n_inputs, CASE_MOST_IO)) return "out of memory";
    if (!take_numbered(g, label, "gout", c->gradients, &c->n_gradients, CASE_MOST_IO)) return "out of memory";
    if (!take_params(g, c)) return "too many parameters";
    if (c->n_inputs == 0) return "field `in0` is missing";
    if (!golden_find(g, label, "out0")) return "field `out0` is missing";
    c->backward = c->n_gradients > 0;
    for (uint32_t i = 0; i < c->n_inputs; i++) {
        if (!c->inputs[i].data) return "an input is missing among the others";
        (void)snprintf(field, sizeof field, "gin%u", i);
        c->inputs[i].constant = !golden_find(g, label, field);
        learns = learns || !c->inputs[i].constant || (i == 0 && c->inputs[i].type.dtype != CVR_F32);
    }
    return c->backward && !learns ? "field `gin0` is missing" : NULL;
}

/* Every expected field that the layer gives must agree, and every field of the case must be one that is looked at. */
static void compare(tally *t, const char *file, golden *g, const layer_case *c, const case_machine *m,
                    const case_result *r) {
    char text[300];
    for (size_t i = 0; i < g->n; i++) {
        golden_tensor *want = &g->tensors[i];
        const bool expected = strncmp(want->field, "out", 3) == 0 || strncmp(want->field, "gin", 3) == 0 ||
                              strncmp(want->field, "gparam.", 7) == 0 || strncmp(want->field, "after.", 6) == 0;
        if (strcmp(want->label, c->label) != 0) continue;
        if (!expected) {
            (void)snprintf(text, sizeof text, "field `%s` is none that this test knows", want->field);
            if (!want->used) complain(t, file, c, m->label, text);
            continue;
        }
        const case_tensor *have = case_result_find(r, want->field);
        const case_tensor other = {.type = want->type, .data = want->data};
        const bool alike = have && have->type.rank == want->type.rank &&
                           memcmp(have->type.shape, want->type.shape, sizeof have->type.shape) == 0;
        const double far = alike ? case_distance(have, &other, RELATIVE) : 0;
        if (alike && far <= 1) continue;
        (void)snprintf(text, sizeof text, "%s %s (%.3g times what is allowed)", want->field,
                       !have    ? "is not given by the layer"
                       : !alike ? "has another shape"
                                : "differs",
                       far);
        complain(t, file, c, m->label, text);
    }
}

/* A trained parameter or a differentiable input without an expected gradient would be a case that tests too little. */
static const char *check_complete(golden *g, const layer_case *c, const case_result *r) {
    static char text[200];
    for (uint32_t i = 0; i < r->n && c->backward; i++) {
        const char *name = r->all[i].name;
        const bool buffer_as_it_was = strncmp(name, "after.", 6) == 0;
        if (buffer_as_it_was || golden_find(g, c->label, name)) continue;
        (void)snprintf(text, sizeof text, "field `%s` is missing", name);
        return text;
    }
    return NULL;
}

static void run_case(tally *t, const char *file, golden *g, const char *label, const case_machine *m) {
    layer_case c;
    case_result r;
    cvr_error err;
    cvr_error_init(&err);
    const size_t before = t->failed;
    const char *missing = take_case(g, label, &c);
    if (missing) {
        complain(t, file, &c, m->label, missing);
    } else if (case_result_of(m, &c, &r, &err) != CVR_OK) {
        complain(t, file, &c, m->label, err.message);
    } else {
        compare(t, file, g, &c, m, &r);
        missing = check_complete(g, &c, &r);
        if (missing) complain(t, file, &c, m->label, missing);
        case_result_clear(&r);
    }
    layer_case_clear(&c);
    t->cases++;
    if (t->failed == before) t->passed++;
}

static void run_file(tally *t, const char *path, const case_machine *m) {
    golden g;
    cvr_error err;
    cvr_error_init(&err);
    const char *file = strrchr(path, '/') + 1;
    const size_t before = t->cases;
    const int32_t status = golden_open(&g, m->plugins, path, &err);
    cr_assert_eq(status, CVR_OK, "%s: %s", path, err.message);
    cr_expect_gt(g.n_cases, 0, "%s has no case", file);
    for (size_t i = 0; i < g.n_cases; i++) run_case(t, file, &g, g.cases[i], m);
    cr_expect_eq(t->cases - before, g.n_cases, "%s: %zu of %zu cases were run", file, t->cases - before, g.n_cases);
    t->files++;
    golden_close(&g);
}

static void run_all(const char *backend, const char *isa, uint32_t fallback) {
    case_machine m;
    cvr_error err;
    tally t = {0};
    size_t n;
    cvr_error_init(&err);
    if (isa && left_out(isa)) return;
    const int32_t status = machine_open(&m, backend, isa, 2, &err);
    cr_assert_eq(status, CVR_OK, "%s: %s", backend, err.message);
    m.fallback = fallback;
    char **paths = files_like(CVR_GOLDEN_DIR, "layers_", ".safetensors", &n);
    cr_assert_gt(n, 0, "no golden files in %s", CVR_GOLDEN_DIR);
    for (size_t i = 0; i < n; i++) {
        run_file(&t, paths[i], &m);
        free(paths[i]);
    }
    free(paths);
    machine_close(&m);
    cr_assert_eq(t.failed, 0, "%s: %zu of %zu cases pass, %zu complaints", m.label, t.passed, t.cases, t.failed);
    cr_assert_eq(t.passed, t.cases);
}

Test(golden, reference) {
    run_all("reference", NULL, CVR_FALLBACK_ERROR);
}
Test(golden, cpu_base) {
    run_all("cpu", "base", CVR_FALLBACK_ALLOW);
}
Test(golden, cpu_avx2) {
    run_all("cpu", "cpu_avx2", CVR_FALLBACK_ALLOW);
}
Test(golden, cpu_avx512) {
    run_all("cpu", "cpu_avx512", CVR_FALLBACK_ALLOW);
}
Test(golden, far) {
    run_all("far", NULL, CVR_FALLBACK_ERROR);
}
