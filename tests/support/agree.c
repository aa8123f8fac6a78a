/* See agree.h. */
#include "agree.h"
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* An instruction set, with one thread and with three. */
typedef struct contender {
    case_machine one, three;
} contender;

typedef struct bench {
    case_machine reference;
    contender all[AGREE_MOST_ISAS];
    const agree_what *what;
} bench;

static bool is_kept(const char *name) {
    return strncmp(name, "kept", 4) == 0;
}

/* Every result of `want` must be in `have`, within `relative` (0: bit for bit); of `terms` where they are given. */
static bool alike(const layer_case *c, const case_result *have, const case_result *want, const case_result *terms,
                  double relative, const char *what, char *why, size_t size) {
    for (uint32_t i = 0; i < want->n; i++) {
        const case_tensor *w = &want->all[i], *h = case_result_find(have, w->name);
        double far = INFINITY;
        if (is_kept(w->name)) continue;
        const case_tensor *sum = terms ? case_result_find(terms, w->name) : NULL;
        if (h && sum)
            far = case_distance_by_terms(h, w, sum, relative);
        else if (h && relative > 0)
            far = case_distance_in(c, h, w, relative);
        else if (h && case_bytes(&h->type) == case_bytes(&w->type))
            far = memcmp(h->data, w->data, case_bytes(&w->type)) == 0 ? 0 : INFINITY;
        if (far <= 1) continue;
        (void)snprintf(why, size, "%s: %s differs (%.3g times what is allowed)", what, w->name, far);
        return false;
    }
    return true;
}

static bool run_on(const case_machine *m, const layer_case *c, case_result *r, char *why, size_t size) {
    cvr_error err;
    cvr_error_init(&err);
    if (case_result_of(m, c, r, &err) == CVR_OK) return true;
    (void)snprintf(why, size, "on %s: %.400s", m->label, err.message);
    return false;
}

/* Inputs that are outputs as well, so that nothing is computed in place of them: no bit may differ. */
static bool same_in_place(const case_machine *m, layer_case *c, const case_result *want, char *why, size_t size) {
    case_result other;
    c->keep_inputs = true;
    const bool ran = run_on(m, c, &other, why, size);
    c->keep_inputs = false;
    if (!ran) return false;
    const bool same = alike(c, &other, want, NULL, 0, "inputs kept against in place", why, size);
    case_result_clear(&other);
    return same;
}

/* One thread and three, in place and not. */
static bool same_bits(const contender *k, layer_case *c, const case_result *one, char *why, size_t size) {
    case_result other;
    if (!run_on(&k->three, c, &other, why, size)) return false;
    const bool same = alike(c, &other, one, NULL, 0, "three threads against one", why, size);
    case_result_clear(&other);
    return same && same_in_place(&k->one, c, one, why, size);
}

/* An input of conv2d_act. */
#define ACT_MEAN 5

static void drop_signs(case_tensor *t, float sign) {
    const size_t n = t->data && t->type.dtype == CVR_F32 ? case_bytes(&t->type) / sizeof(float) : 0;
    for (size_t i = 0; i < n; i++) ((float *)t->data)[i] = sign * fabsf(((float *)t->data)[i]);
}

/* What an op of products gives for numbers without signs, and without activation: the sum of |a||b| of each result. */
static bool run_terms(const bench *b, const layer_case *c, case_result *r, char *why, size_t size) {
    layer_case copy = *c;
    case_tensor *const groups[] = {copy.inputs, copy.params, copy.gradients};
    const uint32_t counts[] = {c->n_inputs, c->n_params, c->n_gradients};
    char *activation = strstr(copy.settings, "activation=");
    bool good = true;
    if (activation) memcpy(activation, "activation=none", sizeof "activation=none"); /* the shortest that there is */
    for (size_t g = 0; g < 3; g++)
        for (uint32_t i = 0; i < counts[g]; i++) {
            case_tensor *t = &groups[g][i];
            const case_tensor was = *t;
            if (!was.data) continue;
            good = case_tensor_set(t, was.name, &was.type, was.data) && good;
            t->constant = was.constant;
            /* The mean that conv2d_act subtracts is to add. */
            drop_signs(t, g == 0 && i == ACT_MEAN && strcmp(c->layer, "op:conv2d_act") == 0 ? -1 : 1);
        }
    good = good && run_on(&b->reference, &copy, r, why, size);
    layer_case_clear(&copy);
    return good;
}

/* Elementwise programs and ops that are one of one input give the reference's bits in f32, gradients included. */
static bool is_program(const bench *b, const layer_case *c) {
    const void *op;
    if (c->low || strcmp(c->layer, "op:elementwise") == 0) return !c->low;
    return c->n_inputs == 1 && cvr_plugins_find(b->reference.plugins, CVR_KIND_OP, c->layer, &op, NULL) == CVR_OK &&
           cvr_op_trait(op, CVR_TRAIT_ELEMENTWISE);
}

/* One instruction set against the reference. */
static bool agree_on(const bench *b, const contender *k, layer_case *c, const case_result *want,
                     const case_result *terms, char *why, size_t size) {
    case_result one;
    if (!run_on(&k->one, c, &one, why, size)) return false;
    const bool same = alike(c, &one, want, terms, is_program(b, c) ? 0 : b->what->relative,
                            c->training ? "against the reference" : "evaluation, against the reference", why, size) &&
                      (!c->training || same_bits(k, c, &one, why, size));
    case_result_clear(&one);
    return same;
}

static void agree_once(const bench *b, layer_case *c, char *why, size_t size) {
    case_result reference, terms;
    const bool by_terms = b->what->by_terms;
    memset(&terms, 0, sizeof terms);
    if (!run_on(&b->reference, c, &reference, why, size)) return;
    bool good = !by_terms || run_terms(b, c, &terms, why, size);
    for (uint32_t i = 0; i < b->what->n_isas && good; i++) {
        good = agree_on(b, &b->all[i], c, &reference, by_terms ? &terms : NULL, why, size);
        if (good) continue;
        char text[600];
        (void)snprintf(text, sizeof text, "%s: %.500s", b->all[i].one.label, why);
        (void)snprintf(why, size, "%s", text);
    }
    if (good && c->training) (void)same_in_place(&b->reference, c, &reference, why, size);
    case_result_clear(&terms);
    case_result_clear(&reference);
}

static void agree(void *ctx, layer_case *c, char *why, size_t size) {
    const bench *b = ctx;
    c->low = b->what->low ? CVR_BF16 : 0;
    c->math = b->what->math;
    agree_once(b, c, why, size);
    if (*why) return;
    c->training = c->backward = false;
    agree_once(b, c, why, size);
}

static void open_one(case_machine *m, const agree_what *what, uint32_t isa, uint32_t threads) {
    const cvr_device_choice choice = {.backend = what->backend, .attrs = what->attrs};
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(machine_open(m, what->backend, what->isas[isa], threads, &err), CVR_OK, "%s", err.message);
    if (what->strict) m->fallback = CVR_FALLBACK_ERROR;
    if (!what->attrs) return;
    cvr_device_close(&m->device);
    cr_assert_eq(cvr_device_open(&m->device, m->plugins, &choice, m->pool, &err), CVR_OK, "%s", err.message);
}

size_t agree_all(const agree_what *what) {
    bench b = {.what = what};
    cvr_error err;
    cvr_error_init(&err);
    cr_assert_gt(what->n_isas, 0);
    cr_assert_eq(machine_open(&b.reference, "reference", NULL, 1, &err), CVR_OK, "%s", err.message);
    for (uint32_t i = 0; i < what->n_isas; i++) {
        contender *k = &b.all[i];
        open_one(&k->one, what, i, 1);
        open_one(&k->three, what, i, 3);
    }
    char folder[512];
    (void)snprintf(folder, sizeof folder, "%s/%s", CVR_TEST_DIR, what->folder ? what->folder : "layers/cases");
    const size_t complaints = for_each_draw(folder, what->family, &b.reference, agree, &b);
    machine_close(&b.reference);
    for (uint32_t i = 0; i < what->n_isas; i++) {
        machine_close(&b.all[i].one);
        machine_close(&b.all[i].three);
    }
    return complaints;
}
