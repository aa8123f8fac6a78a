/* See agree.h. */
#include "agree.h"
#include <criterion/criterion.h>
#include <math.h>

typedef struct bench {
    case_machine reference, one, three;
    const agree_what *what;
} bench;

static bool is_kept(const char *name) {
    return strncmp(name, "kept", 4) == 0;
}

/* Every result of `want` must be in `have`, within `relative` (0: bit for bit). */
static bool alike(const layer_case *c, const case_result *have, const case_result *want, double relative,
                  const char *what, char *why, size_t size) {
    for (uint32_t i = 0; i < want->n; i++) {
        const case_tensor *w = &want->all[i], *h = case_result_find(have, w->name);
        double far = INFINITY;
        if (is_kept(w->name)) continue;
        if (h && relative > 0)
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

/* One thread and three, in place and not: no bit may differ. */
static void same_bits(const bench *b, layer_case *c, const case_result *one, char *why, size_t size) {
    case_result other;
    if (!run_on(&b->three, c, &other, why, size)) return;
    const bool same = alike(c, &other, one, 0, "three threads against one", why, size);
    case_result_clear(&other);
    c->keep_inputs = true;
    if (!same || !run_on(&b->one, c, &other, why, size)) return;
    (void)alike(c, &other, one, 0, "inputs kept against in place", why, size);
    case_result_clear(&other);
    c->keep_inputs = false;
}

static void agree(void *ctx, layer_case *c, char *why, size_t size) {
    const bench *b = ctx;
    case_result reference, one;
    const double relative = b->what->relative;
    c->low = b->what->low;
    if (!run_on(&b->reference, c, &reference, why, size)) return;
    if (run_on(&b->one, c, &one, why, size)) {
        if (alike(c, &one, &reference, relative, "against the reference", why, size)) same_bits(b, c, &one, why, size);
        case_result_clear(&one);
    }
    case_result_clear(&reference);
    if (*why) return;
    c->training = c->backward = false;
    if (!run_on(&b->reference, c, &reference, why, size)) return;
    if (run_on(&b->one, c, &one, why, size)) {
        (void)alike(c, &one, &reference, relative, "evaluation, against the reference", why, size);
        case_result_clear(&one);
    }
    case_result_clear(&reference);
}

size_t agree_all(const agree_what *what) {
    bench b = {.what = what};
    cvr_error err;
    cvr_error_init(&err);
    cr_assert_eq(machine_open(&b.reference, "reference", NULL, 1, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(machine_open(&b.one, what->backend, what->isa, 1, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(machine_open(&b.three, what->backend, what->isa, 3, &err), CVR_OK, "%s", err.message);
    const size_t complaints = for_each_draw(CVR_TEST_DIR "/layers/cases", what->family, &b.reference, agree, &b);
    machine_close(&b.reference);
    machine_close(&b.one);
    machine_close(&b.three);
    return complaints;
}
