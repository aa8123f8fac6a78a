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

static void run_case(const stub_tensors *t, const char *name) {
    char word[64], text[256], drawn[512];
    double params[CVR_AUGMENT_PARAMS] = {0};
    cvr_error err;
    cvr_error_init(&err);
    text_of(t, name, "transform", word, sizeof word);
    text_of(t, name, "settings", text, sizeof text);
    text_of(t, name, "params", drawn, sizeof drawn);
    const cvr_weight *const in = stub_tensors_get(t, name, "in"), *const want = stub_tensors_get(t, name, "out");
    const cvr_weight *const tol = stub_tensors_get(t, name, "tol");
    cr_assert(in && want && tol, "%s is incomplete", name);
    const cvr_augment_desc *const d = transform(word);
    uint32_t n = 0;
    for (char *at = drawn, *end; n < CVR_AUGMENT_PARAMS; at = end) {
        params[n] = strtod(at, &end);
        if (end == at) break;
        n++;
    }
    cr_expect(n == d->n_params || n == 0, "%s: %u params for %u", name, n, d->n_params);
    void *const attrs = settings_of(d, text, &err);
    cr_assert(attrs, "%s: %s", name, err.message);
    stub_sample s;
    stub_sample_init(&s);
    stub_sample_image(&s, in->dtype, in->shape[0], in->shape[1], in->shape[2], in->data);
    cr_assert_eq(d->apply(attrs, params, &s.sample, &err), CVR_OK, "%s: %s", name, err.message);
    const cvr_field *const f = cvr_sample_find(&s.sample, CVR_FIELD_IMAGE);
    cr_expect_eq(f->dtype, want->dtype, "%s: type", name);
    const int same = f->shape[0] == want->shape[0] && f->shape[1] == want->shape[1] && f->shape[2] == want->shape[2];
    cr_expect(same, "%s: %lld x %lld x %lld instead of %lld x %lld x %lld", name, (long long)f->shape[0],
              (long long)f->shape[1], (long long)f->shape[2], (long long)want->shape[0], (long long)want->shape[1],
              (long long)want->shape[2]);
    if (same && f->dtype == want->dtype) {
        int64_t allowed = 0;
        memcpy(&allowed, tol->data, sizeof allowed);
        const double most = distance(want, f);
        cr_expect(most <= (double)allowed, "%s: off by %g, %lld allowed", name, most, (long long)allowed);
    }
    stub_sample_free(&s);
    cvr_free(attrs);
}

Test(augment, same_pictures_as_torchvision) {
    stub_tensors t;
    uint32_t n = 0;
    stub_tensors_read(&t, &host, CVR_GOLDEN_DIR "/augment.safetensors");
    for (uint64_t i = 0; i < t.n; i++) {
        const char *const slash = strrchr(t.w[i].name, '/');
        char name[128];
        if (!slash || strcmp(slash, "/in") != 0) continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)(slash - t.w[i].name), t.w[i].name);
        run_case(&t, name);
        n++;
    }
    cr_expect_gt(n, 100);
    stub_tensors_free(&t);
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
static const char *const misfits[][2] = {
    {"normalize", "0.5 0.5"},                  /* u8 */
    {"pad", "padding=1 fill=1,2"},             /* two fills for three channels */
    {"pad", "padding=1 fill=300"},             /* no level of u8 */
    {"pad", "padding=9 padding_mode=reflect"}, /* as wide as the picture */
    {"random_erasing", "p=1 value=1,2"},       /* two values for three channels */
    {"random_rotation", "5 fill=1,2"},
    {"pad", "padding=1 fill=1,2,3 padding_mode=edge"},
};

Test(augment, refuses_pictures_that_do_not_fit) {
    static const uint8_t pixels[4 * 5 * 3];
    const double params[CVR_AUGMENT_PARAMS] = {1, 0, 0, 1, 1};
    for (size_t i = 0; i < sizeof misfits / sizeof misfits[0]; i++) {
        const cvr_augment_desc *const d = transform(misfits[i][0]);
        cvr_error err;
        stub_sample s;
        cvr_error_init(&err);
        void *const attrs = settings_of(d, misfits[i][1], &err);
        cr_assert(attrs, "%s: %s", misfits[i][0], err.message);
        stub_sample_init(&s);
        stub_sample_image(&s, CVR_U8, 4, 5, 3, pixels);
        cr_expect_neq(d->apply(attrs, params, &s.sample, &err), CVR_OK, "%s %s", misfits[i][0], misfits[i][1]);
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
