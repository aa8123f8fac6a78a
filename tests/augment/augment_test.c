/*
 * The transforms: pictures, masks, boxes and batches against torchvision's (tests/parity/augment.py).
 */
#include "augment_case.h"
#include <criterion/criterion.h>
#include <cvr/base.h>
#include <math.h>
#include <stdlib.h>

TestSuite(augment, .init = augment_load);

static void text_of(const test_tensors *t, const char *name, const char *field, char *buf, size_t size) {
    const cvr_weight *const w = test_tensors_get(t, name, field);
    cr_assert(w && w->dtype == CVR_U8 && w->bytes < size, "%s/%s", name, field);
    memcpy(buf, w->data, w->bytes);
    buf[w->bytes] = '\0';
}

/* The largest difference: in levels of u8, or in units of 2^-20 of f32. */
static double distance(const cvr_weight *want, const cvr_field *got) {
    const int64_t n = cvr_numel(want->rank, want->shape);
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        float x;
        double d;
        if (want->dtype == CVR_U8) {
            d = fabs((double)((const uint8_t *)want->data)[i] - ((const uint8_t *)got->data)[i]);
        } else {
            memcpy(&x, (const char *)want->data + 4 * i, 4);
            d = fabs((double)x - (double)((const float *)got->data)[i]) * 1048576;
        }
        if (!(d <= most)) most = d;
    }
    return most;
}

/* `got` is what the case says, in type and shape, and as near as its field `tol` allows. */
static void expect_field(const test_tensors *t, const char *name, const char *field, const char *tol,
                         const cvr_field *got) {
    const cvr_weight *const want = test_tensors_get(t, name, field), *const most = test_tensors_get(t, name, tol);
    int64_t allowed = 0;
    cr_assert(want && got, "%s: no %s", name, field);
    cr_assert_eq(got->dtype, want->dtype, "%s: type of %s", name, field);
    cr_assert_eq(got->rank, want->rank, "%s: rank of %s", name, field);
    for (uint32_t i = 0; i < got->rank; i++)
        cr_assert_eq(got->shape[i], want->shape[i], "%s: %s has %lld, not %lld, along axis %u", name, field,
                     (long long)got->shape[i], (long long)want->shape[i], i);
    if (most) memcpy(&allowed, most->data, sizeof allowed);
    const double d = distance(want, got);
    cr_expect(d <= (double)allowed, "%s: %s is off by %g, %lld allowed", name, field, d, (long long)allowed);
}

static uint32_t numbers_of(const test_tensors *t, const char *name, double *params) {
    char drawn[1024];
    uint32_t n = 0;
    text_of(t, name, "params", drawn, sizeof drawn);
    for (char *at = drawn, *end; n < CVR_AUGMENT_PARAMS; at = end) {
        params[n] = strtod(at, &end);
        if (end == at) break;
        n++;
    }
    return n;
}

/* The settings of the case. */
static void *attrs_of(const test_tensors *t, const char *name, const cvr_augment_desc **d) {
    char word[64], settings[256];
    cvr_error err;
    cvr_error_init(&err);
    text_of(t, name, "transform", word, sizeof word);
    text_of(t, name, "settings", settings, sizeof settings);
    *d = transform(word);
    void *const attrs = settings_of(*d, settings, &err);
    cr_assert(attrs, "%s: %s", name, err.message);
    return attrs;
}

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
    void *const attrs = attrs_of(t, name, &d);
    const uint32_t n = numbers_of(t, name, params);
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
    expect_field(t, name, "out", "tol", s.sample.fields[0]);
    for (int i = 0; i < 3; i++) {
        (void)snprintf(field, sizeof field, "out_%s", placed[i]);
        if (fields[i]) expect_field(t, name, field, i == 1 ? "box_tol" : "none", cvr_sample_find(&s.sample, placed[i]));
    }
    if (fields[1]) {
        float was[4 * 6];
        cr_assert_eq(fields[1]->bytes, sizeof was);
        memcpy(was, fields[1]->data, sizeof was);
        char settings[256];
        text_of(t, name, "settings", settings, sizeof settings);
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
    void *const attrs = attrs_of(t, name, &d);
    cr_assert_eq(numbers_of(t, name, params), d->n_params, "%s", name);
    memcpy(image.tensor.shape, (const int64_t[6]){s[0], s[3], s[1], s[2], 1, 1}, sizeof image.tensor.shape);
    image.tensor.data = memcpy(malloc(in->bytes), in->data, in->bytes);
    label.tensor.data = memcpy(malloc(labels->bytes), labels->data, labels->bytes);
    const cvr_batch_view view = {sizeof view, s[0], 2, 0, fields, NULL};
    const cvr_augment_batch batch = {sizeof batch, &view, k};
    cr_assert_eq(d->apply_batch(attrs, params, &batch, &err), CVR_OK, "%s: %s", name, err.message);
    const cvr_field got = {sizeof got, "out", "", CVR_F32, 4, {s[0], s[1], s[2], s[3]}, image.tensor.data};
    const cvr_field shares = {sizeof shares, "out", "", CVR_F32, 2, {s[0], k, 1, 1}, label.tensor.data};
    expect_field(t, name, "out", "none", &got);
    expect_field(t, name, "out_labels", "none", &shares);
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
