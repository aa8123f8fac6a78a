/*
 * The transforms: pictures against torchvision's (tests/parity/augment.py), and what is drawn against the distributions
 * that torchvision documents.
 */
#include "../support/stub_host.h"
#include <criterion/criterion.h>
#include <cvr/config.h>
#include <math.h>
#include <stdlib.h>

static stub_host host;

static void load_all(void) {
    stub_host_init(&host);
    stub_host_load(&host, "weights_safetensors");
    stub_host_load(&host, "augment_basic");
    stub_host_load(&host, "augment_geometry");
    stub_host_load(&host, "augment_colour");
    stub_host_load(&host, "augment_erase");
    stub_host_load(&host, "augment_mix");
}

TestSuite(augment, .init = load_all);

static const cvr_augment_desc *transform(const char *name) {
    return stub_host_find(&host, CVR_KIND_AUGMENT, name);
}

/* Settings as a recipe has them, packed and checked; NULL where they are refused, with `err` filled. */
static void *settings_of(const cvr_augment_desc *d, const char *text, cvr_error *err) {
    const cvr_schema schema = {d->attrs, d->n_attrs};
    void *packed = NULL;
    if (cvr_attrs_parse(&schema, text, NULL, d->name, &packed, err) != CVR_OK) return NULL;
    if (!d->check || d->check(packed, err) == CVR_OK) return packed;
    cvr_free(packed);
    return NULL;
}

static void text_of(const stub_tensors *t, const char *name, const char *field, char *buf, size_t size) {
    const cvr_weight *const w = stub_tensors_get(t, name, field);
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
static void expect_field(const stub_tensors *t, const char *name, const char *field, const char *tol,
                         const cvr_field *got) {
    const cvr_weight *const want = stub_tensors_get(t, name, field), *const most = stub_tensors_get(t, name, tol);
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

static uint32_t numbers_of(const stub_tensors *t, const char *name, double *params) {
    char drawn[512];
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
static void *attrs_of(const stub_tensors *t, const char *name, const cvr_augment_desc **d) {
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
            const double x = b[k / 2 % 2 * 2], y = b[k / 4 * 2 + 1],
                         v = m[k % 2 * 3] * x + m[k % 2 * 3 + 1] * y + m[k % 2 * 3 + 2];
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

static void run_case(const stub_tensors *t, const char *name) {
    double params[CVR_AUGMENT_PARAMS] = {0};
    const cvr_augment_desc *d;
    const cvr_weight *const in = stub_tensors_get(t, name, "in"), *fields[3];
    char field[32];
    stub_sample s;
    cvr_error err;
    cvr_error_init(&err);
    void *const attrs = attrs_of(t, name, &d);
    const uint32_t n = numbers_of(t, name, params);
    cr_expect(n == d->n_params || n == 0, "%s: %u params for %u", name, n, d->n_params);
    stub_sample_init(&s);
    stub_sample_image(&s, in->dtype, in->shape[0], in->shape[1], in->shape[2], in->data);
    for (int i = 0; i < 3; i++) {
        (void)snprintf(field, sizeof field, "in_%s", placed[i]);
        fields[i] = stub_tensors_get(t, name, field);
        if (fields[i])
            (void)stub_sample_add(&s, placed[i], fields[i]->dtype, fields[i]->rank, fields[i]->shape, fields[i]->data);
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
        /* An expanded picture's size is rounded; resizes and flips do not clip. */
        char settings[256];
        text_of(t, name, "settings", settings, sizeof settings);
        expect_matrix(name, &s.sample, was, strstr(settings, "expand=yes") ? 1 : 1e-4,
                      strcmp(d->name, "resize") != 0 && !strstr(d->name, "flip"));
    }
    stub_sample_free(&s);
    cvr_free(attrs);
}

static void run_batch(const stub_tensors *t, const char *name) {
    double params[CVR_AUGMENT_PARAMS] = {0};
    const cvr_augment_desc *d;
    const cvr_weight *const in = stub_tensors_get(t, name, "batch"), *const labels =
                                                                         stub_tensors_get(t, name, "labels");
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
static uint32_t each_case(const char *field, void (*run)(const stub_tensors *t, const char *name)) {
    stub_tensors t;
    uint32_t n = 0;
    stub_tensors_read(&t, &host, CVR_GOLDEN_DIR "/augment.safetensors");
    for (uint64_t i = 0; i < t.n; i++) {
        const char *const slash = strrchr(t.w[i].name, '/');
        char name[128];
        if (!slash || strcmp(slash + 1, field) != 0) continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)(slash - t.w[i].name), t.w[i].name);
        run(&t, name);
        n++;
    }
    stub_tensors_free(&t);
    return n;
}

Test(augment, same_pictures_masks_and_boxes_as_torchvision) {
    cr_expect_gt(each_case("in", run_case), 150u);
}

Test(augment, same_batches_as_torchvision) {
    cr_expect_gt(each_case("batch", run_batch), 7u);
}

#define DRAWS 10000

/* Draws DRAWS sets of params for an (h, w, 3) picture. */
static void draw(const char *name, const char *text, int64_t h, int64_t w, double (*out)[CVR_AUGMENT_PARAMS]) {
    const cvr_augment_desc *const d = transform(name);
    cvr_error err;
    cvr_error_init(&err);
    void *const attrs = settings_of(d, text, &err);
    cr_assert(attrs, "%s", err.message);
    uint8_t *const pixels = calloc((size_t)(h * w), 3);
    stub_sample s;
    stub_sample_init(&s);
    stub_sample_image(&s, CVR_U8, h, w, 3, pixels);
    for (int i = 0; i < DRAWS; i++) {
        cvr_rng rng;
        cvr_rng_start(&rng, 7, (uint64_t)i);
        cr_assert_eq(d->make_params(attrs, &s.sample, &rng, out[i], &err), CVR_OK, "%s", err.message);
    }
    stub_sample_free(&s);
    free(pixels);
    cvr_free(attrs);
}

static double drawn[DRAWS][CVR_AUGMENT_PARAMS];

static double mean_of(int p) {
    double sum = 0;
    for (int i = 0; i < DRAWS; i++) sum += drawn[i][p];
    return sum / DRAWS;
}

/* Kolmogorov and Smirnov's distance of column `p` from the uniform distribution on [a, b). */
static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double distance_from_uniform(const double *values, int n, double a, double b) {
    static double sorted[DRAWS];
    double most = 0;
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    for (int i = 0; i < n; i++) {
        const double f = (sorted[i] - a) / (b - a);
        most = fmax(most, fmax(fabs(f - (double)i / n), fabs(f - (double)(i + 1) / n)));
    }
    return most;
}

/* The critical value at 0.1 %: the draws are the same in every run, so a pass stays a pass. */
static double critical(int n) {
    return 1.95 / sqrt(n);
}

static void expect_uniform(int p, double a, double b, const char *what) {
    static double values[DRAWS];
    for (int i = 0; i < DRAWS; i++) values[i] = drawn[i][p];
    const double d = distance_from_uniform(values, DRAWS, a, b);
    cr_expect_lt(d, critical(DRAWS), "%s: distance %g", what, d);
}

Test(augment, flips_with_probability_p) {
    draw("random_horizontal_flip", "", 4, 4, drawn);
    cr_expect_float_eq(mean_of(0), 0.5, 0.02);
    draw("random_vertical_flip", "p=0.2", 4, 4, drawn);
    cr_expect_float_eq(mean_of(0), 0.2, 0.02);
    draw("random_vertical_flip", "p=0", 4, 4, drawn);
    cr_expect_float_eq(mean_of(0), 0, 0);
    draw("random_vertical_flip", "p=1", 4, 4, drawn);
    cr_expect_float_eq(mean_of(0), 1, 0);
}

Test(augment, angles_are_uniform) {
    draw("random_rotation", "30", 4, 4, drawn);
    expect_uniform(0, -30, 30, "degrees=30");
    draw("random_rotation", "degrees=10,50", 4, 4, drawn);
    expect_uniform(0, 10, 50, "degrees=10,50");
}

Test(augment, jitter_draws_factors_and_every_order) {
    int orders[256] = {0}, n = 0;
    draw("color_jitter", "brightness=0.4 contrast=1.5 saturation=0.5,0.9 hue=0.2", 4, 4, drawn);
    expect_uniform(4, 0.6, 1.4, "brightness");
    expect_uniform(5, 0, 2.5, "contrast");
    expect_uniform(6, 0.5, 0.9, "saturation");
    expect_uniform(7, -0.2, 0.2, "hue");
    for (int i = 0; i < DRAWS; i++) {
        int key = 0, seen = 0;
        for (int k = 0; k < 4; k++) {
            key = key * 4 + (int)drawn[i][k];
            seen |= 1 << (int)drawn[i][k];
        }
        cr_assert_eq(seen, 15, "not a permutation");
        orders[key]++;
    }
    for (int i = 0; i < 256; i++) {
        if (!orders[i]) continue;
        n++;
        cr_expect_float_eq(orders[i], DRAWS / 24.0, 5 * sqrt(DRAWS / 24.0), "order %d", i);
    }
    cr_expect_eq(n, 24);
}

/* On a picture so large that hardly any draw is refused, area and log ratio are uniform, and so is the place. */
Test(augment, resized_crop_draws_area_ratio_and_place) {
    static double area[DRAWS], ratio[DRAWS], top[DRAWS], left[DRAWS];
    const double h = 3000, w = 3000;
    draw("random_resized_crop", "size=8 scale=0.1,0.5", 3000, 3000, drawn);
    for (int i = 0; i < DRAWS; i++) {
        const double *const p = drawn[i];
        cr_assert(p[0] >= 0 && p[1] >= 0 && p[0] + p[2] <= h && p[1] + p[3] <= w, "outside the picture");
        area[i] = p[2] * p[3] / (h * w);
        ratio[i] = log(p[3] / p[2]);
        top[i] = (p[0] + 0.5) / (h - p[2] + 1);
        left[i] = (p[1] + 0.5) / (w - p[3] + 1);
    }
    cr_expect_lt(distance_from_uniform(area, DRAWS, 0.1, 0.5), critical(DRAWS));
    cr_expect_lt(distance_from_uniform(ratio, DRAWS, log(3.0 / 4), log(4.0 / 3)), critical(DRAWS));
    cr_expect_lt(distance_from_uniform(top, DRAWS, 0, 1), critical(DRAWS));
    cr_expect_lt(distance_from_uniform(left, DRAWS, 0, 1), critical(DRAWS));
}

Test(augment, resized_crop_falls_back_to_the_middle) {
    draw("random_resized_crop", "size=8 scale=1,1 ratio=1,1", 10, 40, drawn);
    cr_expect(drawn[0][0] == 0 && drawn[0][1] == 15 && drawn[0][2] == 10 && drawn[0][3] == 10);
    draw("random_resized_crop", "size=8", 1, 1, drawn);
    cr_expect(drawn[0][2] == 1 && drawn[0][3] == 1);
}

Test(augment, crop_places_are_uniform) {
    int tops[6] = {0}, lefts[9] = {0};
    draw("random_crop", "size=7 padding=1,2", 8, 13, drawn);
    for (int i = 0; i < DRAWS; i++) {
        cr_assert(drawn[i][4] >= 0 && drawn[i][4] <= 5 && drawn[i][5] >= 0 && drawn[i][5] <= 8);
        tops[(int)drawn[i][4]]++;
        lefts[(int)drawn[i][5]]++;
    }
    for (int i = 0; i < 6; i++) cr_expect_float_eq(tops[i], DRAWS / 6.0, 5 * sqrt(DRAWS / 6.0));
    for (int i = 0; i < 9; i++) cr_expect_float_eq(lefts[i], DRAWS / 9.0, 5 * sqrt(DRAWS / 9.0));
}

Test(augment, erasing_draws_area_and_place) {
    static double area[DRAWS], ratio[DRAWS];
    int n = 0;
    draw("random_erasing", "p=0.7 scale=0.02,0.2 ratio=0.5,2", 2000, 2000, drawn);
    for (int i = 0; i < DRAWS; i++) {
        const double *const p = drawn[i];
        if (p[0] == 0) continue;
        cr_assert(p[1] >= 0 && p[2] >= 0 && p[1] + p[3] <= 2000 && p[2] + p[4] <= 2000, "outside the picture");
        area[n] = p[3] * p[4] / 4e6;
        ratio[n++] = log(p[3] / p[4]);
    }
    cr_expect_float_eq((double)n / DRAWS, 0.7, 0.02);
    cr_expect_lt(distance_from_uniform(area, n, 0.02, 0.2), critical(n));
    cr_expect_lt(distance_from_uniform(ratio, n, log(0.5), log(2)), critical(n));
}

Test(augment, erasing_with_noise_is_normal) {
    const cvr_augment_desc *const d = transform("random_erasing");
    const double params[CVR_AUGMENT_PARAMS] = {1, 0, 0, 100, 100, 12345, 678};
    static float zeros[100 * 101];
    cvr_error err;
    double sum = 0, squares = 0;
    cvr_error_init(&err);
    void *const attrs = settings_of(d, "p=1 value=random", &err);
    cr_assert(attrs, "%s", err.message);
    stub_sample s;
    stub_sample_init(&s);
    stub_sample_image(&s, CVR_F32, 100, 101, 1, zeros);
    cr_assert_eq(d->apply(attrs, params, &s.sample, &err), CVR_OK);
    const float *const x = cvr_sample_find(&s.sample, CVR_FIELD_IMAGE)->data;
    for (int i = 0; i < 100 * 101; i++) {
        if (i % 101 == 100) cr_assert_eq(x[i], 0);
        sum += x[i];
        squares += x[i] * x[i];
    }
    cr_expect_float_eq(sum / 1e4, 0, 0.04);
    cr_expect_float_eq(squares / 1e4, 1, 0.05);
    stub_sample_free(&s);
    cvr_free(attrs);
}

/* Settings that torchvision refuses, and we do too. */
static const char *const refused[][2] = {
    {"random_horizontal_flip", "p=1.5"},
    {"random_rotation", "degrees=-5"},
    {"random_rotation", ""},
    {"random_rotation", "10 center=3"},
    {"resize", "size=4,4 max_size=9"},
    {"resize", "size=10 max_size=10"},
    {"resize", "size="},
    {"resize", "size=0"},
    {"resize", "size=1,2,3"},
    {"pad", "padding=1,2,3"},
    {"pad", "padding=1 padding_mode=wrap"},
    {"random_crop", ""},
    {"random_resized_crop", "size=8 ratio=0,1"},
    {"color_jitter", "brightness=-0.1"},
    {"color_jitter", "hue=0.6"},
    {"color_jitter", "contrast=0.9,0.2"},
    {"normalize", "0.5 0"},
    {"grayscale", "2"},
    {"random_erasing", "value=noise"},
    {"random_erasing", "value=1,,2"},
    {"random_erasing", "scale=0.5,1.2"},
    {"mixup", "0"},
    {"cutmix", "alpha=-1"},
    {"pad", "1 mask_fill=256"},
};

Test(augment, refuses_settings_that_make_no_sense) {
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        cvr_error err;
        cvr_error_init(&err);
        void *const attrs = settings_of(transform(refused[i][0]), refused[i][1], &err);
        cr_expect_null(attrs, "%s %s was taken", refused[i][0], refused[i][1]);
        cr_expect(err.message[0], "no message");
        cvr_free(attrs);
    }
}

/* Pictures that a transform cannot take end in an error that says so. */
static const struct misfit {
    uint32_t dtype;
    const char *name, *settings;
} misfits[] = {
    {CVR_U8, "normalize", "0.5,0.5 0.5"},              /* two means for three channels */
    {CVR_U8, "pad", "padding=1 fill=1,2"},             /* two fills for three channels */
    {CVR_U8, "pad", "padding=1 fill=300"},             /* no level of u8 */
    {CVR_U8, "pad", "padding=9 padding_mode=reflect"}, /* as wide as the picture */
    {CVR_U8, "random_erasing", "p=1"},                 /* not normalised */
    {CVR_F32, "random_erasing", "p=1 value=1,2"},      /* two values for three channels */
    {CVR_U8, "random_rotation", "5 fill=1,2"},
    {CVR_U8, "pad", "padding=1 fill=1,2,3 padding_mode=edge"},
};

Test(augment, refuses_pictures_that_do_not_fit) {
    static const float pixels[4 * 5 * 3];
    const double params[CVR_AUGMENT_PARAMS] = {1, 0, 0, 1, 1};
    for (size_t i = 0; i < sizeof misfits / sizeof misfits[0]; i++) {
        const cvr_augment_desc *const d = transform(misfits[i].name);
        cvr_error err;
        stub_sample s;
        cvr_error_init(&err);
        void *const attrs = settings_of(d, misfits[i].settings, &err);
        cr_assert(attrs, "%s: %s", misfits[i].name, err.message);
        stub_sample_init(&s);
        stub_sample_image(&s, misfits[i].dtype, 4, 5, 3, pixels);
        cr_expect_neq(d->apply(attrs, params, &s.sample, &err), CVR_OK, "%s %s", misfits[i].name, misfits[i].settings);
        cr_expect(err.message[0], "no message");
        stub_sample_free(&s);
        cvr_free(attrs);
    }
}

Test(augment, crop_larger_than_the_picture_says_so) {
    static const uint8_t pixels[4 * 5 * 3];
    const cvr_augment_desc *const d = transform("random_crop");
    double params[CVR_AUGMENT_PARAMS];
    cvr_error err;
    cvr_rng rng;
    stub_sample s;
    cvr_error_init(&err);
    void *const attrs = settings_of(d, "9", &err);
    stub_sample_init(&s);
    stub_sample_image(&s, CVR_U8, 4, 5, 3, pixels);
    cvr_rng_start(&rng, 1, 1);
    cr_expect_eq(d->make_params(attrs, &s.sample, &rng, params, &err), CVR_ERR_USAGE);
    cr_expect(strstr(err.message, "pad_if_needed"));
    stub_sample_free(&s);
    cvr_free(attrs);
}

/* Fields that cannot belong to a picture of 4 x 5. */
static const struct stray {
    const char *kind;
    uint32_t dtype, rank;
    int64_t shape[3];
    const char *name, *settings, *message;
} strays[] = {
    {CVR_FIELD_MASK, CVR_U8, 2, {4, 4}, "random_horizontal_flip", "p=1", "'mask' is 4 x 4, its picture is 5 x 4"},
    {CVR_FIELD_MASK, CVR_I64, 2, {4, 5}, "random_horizontal_flip", "p=1", "its kind is u8"},
    {CVR_FIELD_MASKS, CVR_U8, 3, {2, 5, 4}, "resize", "8,8", "'masks' is 4 x 5"},
    {CVR_FIELD_MASKS, CVR_U8, 2, {4, 5}, "pad", "1", "rank 3"},
    {CVR_FIELD_BOXES, CVR_F32, 2, {3, 5}, "center_crop", "2", "a box has 4"},
    {CVR_FIELD_BOXES, CVR_F32, 2, {1, 4}, "pad", "1 padding_mode=edge", "padding_mode=constant"},
    {CVR_FIELD_IMAGE, CVR_U8, 3, {3, 5, 1}, "random_rotation", "9", "'image' is 5 x 3"},
};

Test(augment, refuses_fields_that_do_not_fit_the_picture) {
    static const uint8_t nothing[4 * 5 * 3 * 8];
    const double params[CVR_AUGMENT_PARAMS] = {1};
    for (size_t i = 0; i < sizeof strays / sizeof strays[0]; i++) {
        const struct stray *const x = &strays[i];
        const cvr_augment_desc *const d = transform(x->name);
        cvr_error err;
        stub_sample s;
        cvr_error_init(&err);
        void *const attrs = settings_of(d, x->settings, &err);
        cr_assert(attrs, "%s: %s", x->name, err.message);
        stub_sample_init(&s);
        stub_sample_image(&s, CVR_U8, 4, 5, 3, nothing);
        (void)stub_sample_add(&s, x->kind, x->dtype, x->rank, x->shape, nothing);
        cr_expect_neq(d->apply(attrs, params, &s.sample, &err), CVR_OK, "%s with %s", x->name, x->kind);
        cr_expect(strstr(err.message, x->message), "%s with %s: %s", x->name, x->kind, err.message);
        stub_sample_free(&s);
        cvr_free(attrs);
    }
}

/* Samples without objects, and with a second picture. */
Test(augment, moves_nothing_and_several) {
    static const uint8_t pixels[4 * 5 * 3] = {1, 2, 3}, second[4 * 5] = {7};
    const cvr_augment_desc *const d = transform("random_vertical_flip");
    const double params[CVR_AUGMENT_PARAMS] = {1};
    cvr_error err;
    stub_sample s;
    cvr_error_init(&err);
    void *const attrs = settings_of(d, "", &err);
    stub_sample_init(&s);
    stub_sample_image(&s, CVR_U8, 4, 5, 3, pixels);
    cvr_field *const other = stub_sample_add(&s, CVR_FIELD_IMAGE, CVR_U8, 3, (const int64_t[]){4, 5, 1}, second);
    cvr_field *const masks = stub_sample_add(&s, CVR_FIELD_MASKS, CVR_U8, 3, (const int64_t[]){0, 4, 5}, second);
    cvr_field *const boxes = stub_sample_add(&s, CVR_FIELD_BOXES, CVR_F32, 2, (const int64_t[]){0, 4}, second);
    cr_assert_eq(d->apply(attrs, params, &s.sample, &err), CVR_OK, "%s", err.message);
    cr_expect_eq(((const uint8_t *)other->data)[15], 7);
    cr_expect_eq(((const uint8_t *)s.sample.fields[0]->data)[47], 3);
    cr_expect(masks->shape[0] == 0 && masks->shape[1] == 4 && masks->shape[2] == 5 && boxes->shape[0] == 0);
    stub_sample_free(&s);
    cvr_free(attrs);
}

/* Part by part: the same pixels, and the same matrix, as of the whole picture. */
static const struct parted {
    const char *name, *settings;
    double params[6];
} parted[] = {
    {"resize", "9,14", {0}},
    {"center_crop", "8,11", {0}},
    {"center_crop", "30", {0}},
    {"random_crop", "6,9", {0, 0, 0, 0, 3, 5}},
    {"random_crop", "6,9 padding=2", {2, 2, 2, 2, 0, 5}},
    {"random_resized_crop", "7,8", {2, 3, 11, 13}},
    {"random_horizontal_flip", "", {1}},
    {"random_vertical_flip", "", {1}},
    {"random_vertical_flip", "", {0}},
};

static void run_part(const struct parted *x, const uint8_t *pixels, int64_t h, int64_t w) {
    const cvr_augment_desc *const d = transform(x->name);
    cvr_part in, out = {.struct_size = sizeof out};
    cvr_error err;
    stub_sample whole, part;
    cvr_error_init(&err);
    void *const attrs = settings_of(d, x->settings, &err);
    cr_assert(attrs, "%s: %s", x->name, err.message);
    const cvr_part_step step = {sizeof step, attrs, x->params, &in, &out};
    stub_sample_init(&whole);
    stub_sample_init(&part);
    stub_sample_image(&whole, CVR_U8, h, w, 3, pixels);
    cr_assert_eq(d->apply(attrs, x->params, &whole.sample, &err), CVR_OK, "%s", err.message);
    cvr_part_whole(&in, h, w);
    cr_assert_eq(d->part_size(&step, &err), CVR_OK);
    cvr_part_whole(&out, out.height, out.width);
    out.top = 2;
    out.left = 3;
    out.rows = 3;
    out.columns = 4;
    cr_assert_eq(d->part_source(&step, &err), CVR_OK);
    in.reduce = 1;
    uint8_t *const some = malloc((size_t)(in.rows * in.columns * 3));
    for (int64_t y = 0; y < in.rows; y++)
        memcpy(some + y * in.columns * 3, pixels + ((in.top + y) * w + in.left) * 3, (size_t)in.columns * 3);
    stub_sample_image(&part, CVR_U8, in.rows, in.columns, 3, some);
    cr_assert_eq(d->part_apply(&step, &part.sample, &err), CVR_OK, "%s", err.message);
    const cvr_field *const a = whole.sample.fields[0], *const b = part.sample.fields[0];
    cr_assert(b->shape[0] == 3 && b->shape[1] == 4, "%s", x->name);
    for (int64_t y = 0; y < 3; y++)
        cr_expect_arr_eq((const uint8_t *)b->data + y * 12, (const uint8_t *)a->data + ((2 + y) * a->shape[1] + 3) * 3,
                         12, "%s: row %d", x->name, (int)y);
    cr_expect_arr_eq(whole.origin.geometry, part.origin.geometry, sizeof part.origin.geometry, "%s", x->name);
    free(some);
    stub_sample_free(&whole);
    stub_sample_free(&part);
    cvr_free(attrs);
}

Test(augment, parts_are_parts_of_the_whole) {
    static uint8_t pixels[17 * 21 * 3];
    cvr_rng rng;
    cvr_rng_start(&rng, 5, 5);
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)cvr_rng_u32(&rng);
    for (size_t i = 0; i < sizeof parted / sizeof parted[0]; i++) run_part(&parted[i], pixels, 17, 21);
}

/* What moves pixels says so, and names every kind that it moves along. */
Test(augment, says_what_it_moves) {
    uint32_t moving = 0;
    for (uint32_t i = 0; i < host.n_entries; i++) {
        const cvr_augment_desc *const d = host.entries[i].desc;
        if (strcmp(host.entries[i].kind, CVR_KIND_AUGMENT) != 0 || !d->moves || d->stage != CVR_STAGE_SAMPLE) continue;
        moving++;
        cr_assert_eq(d->n_kinds, 3u, "%s", d->name);
        for (int k = 0; k < 3; k++) cr_expect_str_eq(d->kinds[k], placed[k], "%s", d->name);
    }
    cr_expect_eq(moving, 8u);
    cr_expect(transform("random_erasing")->stage == CVR_STAGE_NORMALISED && !transform("random_erasing")->moves);
    cr_expect(transform("normalize")->stage == CVR_STAGE_NORMALISE && transform("normalize")->emit);
    cr_expect(transform("mixup")->stage == CVR_STAGE_BATCH && transform("mixup")->softens &&
              transform("mixup")->n_kinds == 1);
}

/* Moments of Beta(alpha, alpha): mean 1/2, variance 1 / (4 (2 alpha + 1)). */
Test(augment, lambda_is_from_beta) {
    static const double alphas[] = {1e-4, 0.2, 0.5, 1, 3, 40};
    for (size_t i = 0; i < sizeof alphas / sizeof alphas[0]; i++) {
        char text[32];
        double squares = 0;
        (void)snprintf(text, sizeof text, "%g", alphas[i]);
        draw("mixup", text, 4, 4, drawn);
        for (int k = 0; k < DRAWS; k++) {
            cr_assert(drawn[k][0] == 1 && drawn[k][1] >= 0 && drawn[k][1] <= 1, "alpha=%g gives %g", alphas[i],
                      drawn[k][1]);
            squares += (drawn[k][1] - 0.5) * (drawn[k][1] - 0.5);
        }
        const double variance = 1 / (4 * (2 * alphas[i] + 1));
        cr_expect_float_eq(mean_of(1), 0.5, 4 * sqrt(variance / DRAWS), "alpha=%g: mean %g", alphas[i], mean_of(1));
        cr_expect_float_eq(squares / DRAWS, variance, 0.04 * variance, "alpha=%g: variance %g", alphas[i],
                           squares / DRAWS);
    }
    draw("mixup", "", 4, 4, drawn);
    expect_uniform(1, 0, 1, "alpha=1");
    /* Beta(2, 2) has the distribution function 3 x^2 - 2 x^3. */
    draw("mixup", "2", 4, 4, drawn);
    for (int k = 0; k < DRAWS; k++) drawn[k][1] = drawn[k][1] * drawn[k][1] * (3 - 2 * drawn[k][1]);
    expect_uniform(1, 0, 1, "alpha=2");
}

Test(augment, cutmix_box_and_lambda_agree) {
    double sum = 0;
    draw("cutmix", "", 60, 90, drawn);
    for (int k = 0; k < DRAWS; k++) {
        const double *const p = drawn[k], h = p[4] - p[2], w = p[5] - p[3];
        cr_assert(p[0] == 2 && p[2] >= 0 && p[3] >= 0 && h >= 0 && w >= 0 && p[4] <= 60 && p[5] <= 90,
                  "outside the picture");
        cr_assert_float_eq(p[1], 1 - h * w / 5400, 1e-12);
        sum += p[1];
    }
    /* Clipping leaves more than the half that Beta(1, 1) would. */
    cr_expect(sum / DRAWS > 0.55 && sum / DRAWS < 0.75, "mean %g", sum / DRAWS);
}

Test(augment, mixing_wants_shares) {
    int64_t labels[2] = {1, 2};
    float pixels[2 * 4] = {0};
    cvr_named_tensor label = {
        sizeof label, "label", CVR_FIELD_LABEL, {.dtype = CVR_I64, .rank = 1, .shape = {2}, .data = labels}, NULL};
    cvr_named_tensor image = {sizeof image,
                              "image",
                              CVR_FIELD_IMAGE,
                              {.dtype = CVR_U8, .rank = 4, .shape = {2, 1, 2, 2}, .pixel_stride = 1, .data = pixels},
                              NULL};
    const cvr_named_tensor *fields[1] = {&label};
    const cvr_batch_view view = {sizeof view, 2, 1, 0, fields, NULL};
    const cvr_augment_batch batch = {sizeof batch, &view, 5};
    const double params[CVR_AUGMENT_PARAMS] = {1, 0.5};
    cvr_error err;
    cvr_error_init(&err);
    void *const attrs = settings_of(transform("mixup"), "", &err);
    cr_expect_neq(transform("mixup")->apply_batch(attrs, params, &batch, &err), CVR_OK);
    cr_expect(strstr(err.message, "'label'"), "%s", err.message);
    fields[0] = &image;
    cr_expect_neq(transform("mixup")->apply_batch(attrs, params, &batch, &err), CVR_OK);
    cr_expect(strstr(err.message, "normalised"), "%s", err.message);
    cvr_free(attrs);
}

/* A builder that remembers the one op that a transform asks for. */
typedef struct asked {
    cvr_builder builder;
    cvr_type type;
    char op[32];
    double attrs[8];
    cvr_value inputs[2];
    uint32_t n_inputs;
} asked;

static const cvr_type *asked_type(const cvr_builder *b, cvr_value v) {
    (void)v;
    return &((const asked *)b->ctx)->type;
}

static int32_t asked_emit(const cvr_builder *b, const cvr_op_call *call, cvr_error *err) {
    asked *const a = b->ctx;
    (void)err;
    (void)snprintf(a->op, sizeof a->op, "%s", call->op);
    cr_assert_leq(call->attrs_size, sizeof a->attrs);
    if (call->attrs_size) memcpy(a->attrs, call->attrs, call->attrs_size);
    a->n_inputs = call->n_inputs;
    memcpy(a->inputs, call->inputs, call->n_inputs * sizeof *a->inputs);
    call->outputs[0] = 9;
    return CVR_OK;
}

Test(augment, device_gets_the_same_numbers) {
    const int64_t shape[4] = {2, 3, 8, 8};
    asked a = {.builder = {.struct_size = sizeof a.builder, .ctx = &a, .type = asked_type, .emit = asked_emit}};
    cvr_error err;
    cvr_value out = CVR_NONE;
    cvr_error_init(&err);
    cvr_type_set(&a.type, CVR_U8, 4, shape);
    void *normalize = settings_of(transform("normalize"), "0.4,0.5,0.6 0.25", &err);
    cr_assert_eq(transform("normalize")->emit(&a.builder, normalize, CVR_NONE, 4, &out, &err), CVR_OK, "%s",
                 err.message);
    cr_expect_str_eq(a.op, "normalize_pixels");
    cr_expect(out == 9 && a.n_inputs == 1 && a.inputs[0] == 4);
    cr_expect_arr_eq(a.attrs, ((const double[8]){0.4, 0.5, 0.6, 0, 0.25, 0.25, 0.25, 0.25}), sizeof a.attrs);
    a.type.shape[1] = 4;
    cr_expect_eq(transform("normalize")->emit(&a.builder, normalize, CVR_NONE, 4, &out, &err), CVR_ERR_USAGE);
    cvr_free(normalize);
    void *cutmix = settings_of(transform("cutmix"), "", &err);
    cr_assert_eq(transform("cutmix")->emit(&a.builder, cutmix, 3, 4, &out, &err), CVR_OK);
    cr_expect_str_eq(a.op, "batch_mix");
    cr_expect(a.n_inputs == 2 && a.inputs[0] == 4 && a.inputs[1] == 3);
    cvr_free(cutmix);
}

/* The consumer's mosaic, which is linked to this test: four samples of other sizes and numbers of objects. */
static void add_scene(stub_sample *s, int i) {
    static const int64_t sizes[4][2] = {{8, 12}, {4, 6}, {16, 4}, {5, 5}};
    const int64_t h = sizes[i][0], w = sizes[i][1];
    const int64_t labels[3] = {10 * i, 10 * i + 1, 10 * i + 2};
    uint8_t pixels[12 * 16 * 3], masks[3 * 12 * 16];
    const float box[4] = {0, 0, (float)w, (float)h};
    float boxes[3 * 4];
    for (int k = 0; k < i; k++) memcpy(boxes + 4 * k, box, sizeof box);
    memset(pixels, 50 + i, sizeof pixels);
    memset(masks, 1, sizeof masks);
    stub_sample_init(s);
    stub_sample_image(s, CVR_U8, h, w, 3, pixels);
    (void)stub_sample_add(s, CVR_FIELD_BOXES, CVR_F32, 2, (const int64_t[]){i, 4}, boxes);
    (void)stub_sample_add(s, CVR_FIELD_BOX_LABELS, CVR_I64, 1, (const int64_t[]){i}, labels);
    (void)stub_sample_add(s, CVR_FIELD_MASKS, CVR_U8, 3, (const int64_t[]){i, h, w}, masks);
}

Test(augment, mosaic_moves_the_objects_of_all) {
    static const float want[4][4] = {{0, 0, 9, 2}, {9, 0, 12, 2}, {0, 2, 9, 8}, {9, 2, 12, 8}};
    static const int owner[6] = {1, 2, 2, 3, 3, 3};
    static const int64_t labels[6] = {10, 20, 21, 30, 31, 32};
    const double params[CVR_AUGMENT_PARAMS] = {0.25, 0.75};
    stub_sample s[4];
    cvr_sample *samples[4];
    cvr_error err;
    cvr_error_init(&err);
    stub_host_take(&host, cvr_plugin_query(CVR_ABI_MAJOR, CVR_ABI_MINOR));
    for (int i = 0; i < 4; i++) {
        add_scene(&s[i], i);
        samples[i] = &s[i].sample;
    }
    cr_assert_eq(transform("acme.mosaic")->apply_many(NULL, params, samples, 4, &err), CVR_OK, "%s", err.message);
    const uint8_t *const pixels = s[0].fields[0].data, *const masks = s[0].fields[3].data;
    for (int y = 0; y < 8; y++) {
        for (int x = 0; x < 12; x++)
            cr_expect_eq(pixels[(y * 12 + x) * 3], 50 + (y >= 2) * 2 + (x >= 9), "at %d,%d", x, y);
    }
    for (int k = 1; k < 4; k++) cr_assert_eq(s[0].fields[k].shape[0], 6);
    cr_expect_arr_eq(s[0].fields[2].data, labels, sizeof labels);
    for (int k = 0; k < 6; k++) {
        const float *const b = (const float *)s[0].fields[1].data + 4 * k, *const box = want[owner[k]];
        cr_expect_arr_eq(b, box, sizeof want[0], "box %d: %g %g %g %g", k, b[0], b[1], b[2], b[3]);
        for (int y = 0; y < 8; y++) {
            for (int x = 0; x < 12; x++)
                cr_expect_eq(masks[(k * 8 + y) * 12 + x],
                             (float)y >= box[1] && (float)y < box[3] && (float)x >= box[0] && (float)x < box[2]);
        }
    }
    cr_expect_eq(s[0].origin.geometry[0], 0.75);
    cr_expect_eq(s[0].origin.geometry[4], 0.25);
    for (int i = 0; i < 4; i++) stub_sample_free(&s[i]);
}
