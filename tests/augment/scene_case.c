/*
 * Cases of pictures with objects in a golden file.
 */
#include "scene_case.h"
#include <criterion/criterion.h>
#include <cvr/base.h>

static const struct {
    const char *kind, *suffix, *tol;
} parts[] = {{CVR_FIELD_IMAGE, "", "tol"},
             {CVR_FIELD_BOXES, "_boxes", "box_tol"},
             {CVR_FIELD_BOX_LABELS, "_labels", "none"},
             {CVR_FIELD_MASKS, "_masks", "none"}};
#define N_PARTS (sizeof parts / sizeof parts[0])

static void scene_of(const test_tensors *t, const char *name, const char *word, test_sample *s) {
    test_sample_init(s);
    for (size_t i = 0; i < N_PARTS; i++) {
        char field[64];
        (void)snprintf(field, sizeof field, "%s%s", word, parts[i].suffix);
        const cvr_weight *const w = test_tensors_get(t, name, field);
        cr_assert(w, "%s: no %s", name, field);
        (void)test_sample_add(s, parts[i].kind, w->dtype, w->rank, w->shape, w->data);
    }
}

/* What is drawn where there is no choice. */
static void expect_drawn(const char *name, const cvr_augment_desc *d, const void *attrs, const test_sample *s,
                         const double *params) {
    double drawn[CVR_AUGMENT_PARAMS] = {0};
    cvr_error err;
    cvr_rng rng;
    cvr_error_init(&err);
    cvr_rng_start(&rng, 3, 4);
    cr_assert_eq(d->make_params(attrs, &s->sample, &rng, drawn, &err), CVR_OK, "%s: %s", name, err.message);
    cr_expect_arr_eq(drawn, params, d->n_params * sizeof *drawn, "%s: %g %g drawn", name, drawn[0], drawn[1]);
}

static void run_case(const test_tensors *t, const char *name) {
    const cvr_augment_desc *d;
    double params[CVR_AUGMENT_PARAMS] = {0};
    int64_t is_drawn = 0;
    static const char *const words[] = {"paste", "paste2", "paste3"};
    test_sample s, others[3];
    cvr_error err;
    cvr_error_init(&err);
    void *const attrs = golden_attrs(t, name, &d);
    const uint32_t n = golden_numbers(t, name, params);
    cr_expect_eq(n, d->n_params, "%s: %u params for %u", name, n, d->n_params);
    scene_of(t, name, "in", &s);
    memcpy(&is_drawn, test_tensors_get(t, name, "drawn")->data, sizeof is_drawn);
    if (is_drawn) expect_drawn(name, d, attrs, &s, params);
    if (d->apply_many) {
        cvr_sample *all[4] = {&s.sample};
        for (uint32_t k = 1; k < d->n_samples; k++) {
            scene_of(t, name, words[k - 1], &others[k - 1]);
            all[k] = &others[k - 1].sample;
        }
        cr_assert_eq(d->apply_many(attrs, params, all, d->n_samples, &err), CVR_OK, "%s: %s", name, err.message);
        for (uint32_t k = 1; k < d->n_samples; k++) test_sample_free(&others[k - 1]);
    } else {
        cr_assert_eq(d->apply(attrs, params, &s.sample, &err), CVR_OK, "%s: %s", name, err.message);
    }
    for (size_t i = 0; i < N_PARTS; i++) {
        char field[64];
        (void)snprintf(field, sizeof field, "out%s", parts[i].suffix);
        golden_expect(t, name, field, parts[i].tol, cvr_sample_find(&s.sample, parts[i].kind));
    }
    test_sample_free(&s);
    cvr_free(attrs);
}

void scene_cases(const char *file, uint32_t least) {
    test_tensors t;
    uint32_t n = 0;
    test_tensors_read(&t, &augment_host, file);
    for (uint64_t i = 0; i < t.n; i++) {
        const char *const slash = strrchr(t.w[i].name, '/');
        char name[128];
        if (!slash || strcmp(slash + 1, "in") != 0) continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)(slash - t.w[i].name), t.w[i].name);
        run_case(&t, name);
        n++;
    }
    cr_expect_geq(n, least);
    test_tensors_free(&t);
}
