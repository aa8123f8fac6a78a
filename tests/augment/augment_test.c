/*
 * The transforms: pictures, masks, boxes and batches against torchvision's (tests/parity/augment.py).
 */
#include "golden_case.h"
#include <criterion/criterion.h>
#include <cvr/base.h>
#include <math.h>
#include <stdlib.h>

TestSuite(augment, .init = augment_load);

/* Where the sample's matrix takes the corners of a box, clipped to the picture where `clips`: so boxes and matrix tell
 * of the same motion, up to `far` pixels. */
static void expect_matrix(const char *name, const cvr_sample *s, const float *was, double far, int clips) {
    const cvr_field *const boxes = cvr_sample_find(s, CVR_FIELD_BOXES), *const picture = s->fields[0];
    const double *const m = s->origin->geometry;
    for (int64_t i = 0; i < boxes->shape[0]; i++) {
        const float *const b = was + 4 * i, *const now = (const float *)boxes->data + 4 * i;
        double lo[2] = {INFINITY, INFINITY}, hi[2] = {-INFINITY, -INFINITY};
        for (int k = 0; k < 8; k++) {
            const double x = b[k / 2 % 2 * 2], y = b[k / 4 * 2 + 1], depth = m[6] * x + m[7] * y + m[8],
                         v = (m[k % 2 * 3] * x + m[k % 2 * 3 + 1] * y + m[k % 2 * 3 + 2]) / depth;
            lo[k % 2] = fmin(lo[k % 2], v);
            hi[k % 2] = fmax(hi[k % 2], v);
        }
        for (int k = 0; k < 2; k++) {
            const double side = (double)picture->shape[1 - k];
            const double from = clips ? fmin(fmax(lo[k], 0), side) : lo[k],
                         to = clips ? fmin(fmax(hi[k], 0), side) : hi[k];
            cr_expect_float_eq(now[k], from, far, "%s: box %d begins at %g, its matrix says %g", name, (int)i, now[k],
                               from);
            cr_expect_float_eq(now[k + 2], to, far, "%s: box %d ends at %g, its matrix says %g", name, (int)i,
                               now[k + 2], to);
        }
    }
}

static const char *const placed[] = {CVR_FIELD_MASK, CVR_FIELD_BOXES, CVR_FIELD_MASKS};

/* Whether `words` has the name, between spaces. */
static int is_one_of(const char *name, const char *words) {
    const size_t n = strlen(name);
    for (const char *w = words; (w = strstr(w, name)); w += n)
        if ((w == words || w[-1] == ' ') && (w[n] == ' ' || !w[n])) return 1;
    return 0;
}

static void run_case(const test_tensors *t, const char *name) {
    double params[CVR_AUGMENT_PARAMS] = {0};
    const cvr_augment_desc *d;
    const cvr_weight *const in = test_tensors_get(t, name, "in"), *fields[3];
    char field[32];
    test_sample s;
    cvr_error err;
    cvr_error_init(&err);
    void *const attrs = golden_attrs(t, name, &d);
    const uint32_t n = golden_numbers(t, name, params);
    cr_expect(n == d->n_params || n == 0, "%s: %u params for %u", name, n, d->n_params);
    test_sample_init(&s);
    test_sample_image(&s, in->dtype, in->shape[0], in->shape[1], in->shape[2], in->data);
    for (int i = 0; i < 3; i++) {
        (void)snprintf(field, sizeof field, "in_%s", placed[i]);
        fields[i] = test_tensors_get(t, name, field);
        if (fields[i])
            (void)test_sample_add(&s, placed[i], fields[i]->dtype, fields[i]->rank, fields[i]->shape, fields[i]->data);
    }
    cr_assert_eq(d->apply(attrs, params, &s.sample, &err), CVR_OK, "%s: %s", name, err.message);
    golden_expect(t, name, "out", "tol", s.sample.fields[0]);
    for (int i = 0; i < 3; i++) {
        (void)snprintf(field, sizeof field, "out_%s", placed[i]);
        if (fields[i])
            golden_expect(t, name, field, i == 1 ? "box_tol" : "none", cvr_sample_find(&s.sample, placed[i]));
    }
    if (fields[1]) {
        float was[4 * 6];
        cr_assert_eq(fields[1]->bytes, sizeof was);
        memcpy(was, fields[1]->data, sizeof was);
        char settings[256];
        golden_text(t, name, "settings", settings, sizeof settings);
        /* An expanded picture's size is rounded; resizes and flips do not clip; no matrix says what elastic does. */
        if (!strstr(d->name, "elastic"))
            expect_matrix(
                name, &s.sample, was, strstr(settings, "expand=yes") ? 1 : 1e-4,
                !is_one_of(d->name, "resize random_resize scale_jitter random_horizontal_flip random_vertical_flip"));
    }
    test_sample_free(&s);
    cvr_free(attrs);
}

static void run_batch(const test_tensors *t, const char *name) {
    double params[CVR_AUGMENT_PARAMS] = {0};
    const cvr_augment_desc *d;
    const cvr_weight *const in = test_tensors_get(t, name, "batch"), *const labels =
                                                                         test_tensors_get(t, name, "labels");
    const int64_t *const s = in->shape, k = labels->shape[1];
    cvr_named_tensor image = {
        sizeof image, "image", CVR_FIELD_IMAGE, {.dtype = CVR_F32, .rank = 4, .pixel_stride = s[3]}, NULL};
    cvr_named_tensor label = {
        sizeof label, "label", CVR_FIELD_LABEL, {.dtype = CVR_F32, .rank = 2, .shape = {s[0], k, 1, 1, 1, 1}}, NULL};
    const cvr_named_tensor *const fields[2] = {&image, &label};
    cvr_error err;
    cvr_error_init(&err);
    void *const attrs = golden_attrs(t, name, &d);
    cr_assert_eq(golden_numbers(t, name, params), d->n_params, "%s", name);
    memcpy(image.tensor.shape, (const int64_t[6]){s[0], s[3], s[1], s[2], 1, 1}, sizeof image.tensor.shape);
    image.tensor.data = memcpy(malloc(in->bytes), in->data, in->bytes);
    label.tensor.data = memcpy(malloc(labels->bytes), labels->data, labels->bytes);
    const cvr_batch_view view = {sizeof view, s[0], 2, 0, fields, NULL};
    const cvr_augment_batch batch = {sizeof batch, &view, k};
    cr_assert_eq(d->apply_batch(attrs, params, &batch, &err), CVR_OK, "%s: %s", name, err.message);
    const cvr_field got = {sizeof got, "out", "", CVR_F32, 4, {s[0], s[1], s[2], s[3]}, image.tensor.data};
    const cvr_field shares = {sizeof shares, "out", "", CVR_F32, 2, {s[0], k, 1, 1}, label.tensor.data};
    golden_expect(t, name, "out", "none", &got);
    golden_expect(t, name, "out_labels", "none", &shares);
    free(image.tensor.data);
    free(label.tensor.data);
    cvr_free(attrs);
}

/* Runs each case that has this field; returns their number. */
static uint32_t each_case(const char *field, void (*run)(const test_tensors *t, const char *name)) {
    test_tensors t;
    uint32_t n = 0;
    test_tensors_read(&t, &augment_host, CVR_GOLDEN_DIR "/augment.safetensors");
    for (uint64_t i = 0; i < t.n; i++) {
        const char *const slash = strrchr(t.w[i].name, '/');
        char name[128];
        if (!slash || strcmp(slash + 1, field) != 0) continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)(slash - t.w[i].name), t.w[i].name);
        run(&t, name);
        n++;
    }
    test_tensors_free(&t);
    return n;
}

Test(augment, same_pictures_masks_and_boxes_as_torchvision) {
    cr_expect_gt(each_case("in", run_case), 300u);
}

Test(augment, same_batches_as_torchvision) {
    cr_expect_gt(each_case("batch", run_batch), 7u);
}
