/*
 * The transforms of YOLO's detectors against a second statement of them (tests/parity/augment_yolo.py), what they draw
 * and what they refuse.
 */
#include "scene_case.h"
#include <criterion/criterion.h>
#include <cvr/base.h>
#include <math.h>
#include <stdlib.h>

TestSuite(augment_yolo, .init = augment_load);

Test(augment_yolo, same_as_stated_again) {
    scene_cases(CVR_GOLDEN_DIR "/augment_yolo.safetensors", 26);
}

/* ---- what is drawn ---- */

#define DRAWS 2000
static double drawn[DRAWS][CVR_AUGMENT_PARAMS];

static void draw(const char *name, const char *settings, int64_t objects) {
    static const uint8_t pixels[30 * 40];
    static const float box[4] = {5, 5, 20, 25};
    const cvr_augment_desc *const d = transform(name);
    cvr_error err;
    test_sample s;
    cvr_error_init(&err);
    void *const attrs = settings_of(d, settings, &err);
    cr_assert(attrs, "%s", err.message);
    test_sample_init(&s);
    test_sample_image(&s, CVR_U8, 30, 40, 1, pixels);
    (void)test_sample_add(&s, CVR_FIELD_BOXES, CVR_F32, 2, (const int64_t[]){objects, 4}, box);
    for (int i = 0; i < DRAWS; i++) {
        cvr_rng rng;
        cvr_rng_start(&rng, 17, (uint64_t)i);
        memset(drawn[i], 0, sizeof drawn[i]);
        cr_assert_eq(d->make_params(attrs, &s.sample, &rng, drawn[i], &err), CVR_OK, "%s", err.message);
    }
    test_sample_free(&s);
    cvr_free(attrs);
}

/* Column `p` fills lo..hi evenly, where column 0 is not 0. */
static void expect_uniform(int p, double lo, double hi) {
    double sum = 0, least = hi, most = lo;
    int n = 0;
    for (int i = 0; i < DRAWS; i++) {
        const double x = drawn[i][p];
        if (drawn[i][0] == 0) continue;
        cr_assert(x >= lo && x <= hi, "param %d is %g, not in %g to %g", p, x, lo, hi);
        sum += x;
        least = fmin(least, x);
        most = fmax(most, x);
        n++;
    }
    cr_expect_lt(fabs(sum / n - 0.5 * (lo + hi)), 0.05 * (hi - lo), "param %d has mean %g", p, sum / n);
    cr_expect(least < lo + 0.02 * (hi - lo) && most > hi - 0.02 * (hi - lo), "param %d: %g to %g", p, least, most);
}

static int count_of(int p, double value) {
    int n = 0;
    for (int i = 0; i < DRAWS; i++) n += drawn[i][p] == value;
    return n;
}

Test(augment_yolo, mosaics_are_drawn_as_yolox_has_them) {
    draw("mosaic", "100,200 p=0.7", 1);
    const int made = count_of(0, 1);
    cr_expect(made > 0.65 * DRAWS && made < 0.75 * DRAWS, "%d of %d", made, DRAWS);
    expect_uniform(1, 50, 150);
    expect_uniform(2, 100, 300);
    expect_uniform(3, -10, 10);
    expect_uniform(4, 0.1, 2);
    expect_uniform(5, -20, 20);
    expect_uniform(6, -10, 10);
    expect_uniform(7, -2, 2);
    expect_uniform(8, -2, 2);
    const cvr_augment_desc *const d = transform("mosaic");
    cr_expect(d->closes && !d->fresh && d->n_samples == 4);
    cr_expect(d->alone(NULL, (const double[]){0}) && !d->alone(NULL, (const double[]){1}));
}

Test(augment_yolo, mixup_needs_objects) {
    draw("mixup_boxes", "", 1);
    cr_expect_eq(count_of(0, 1), DRAWS);
    expect_uniform(1, 0.5, 1.5);
    expect_uniform(3, 0, 1);
    cr_expect(abs(count_of(2, 1) - DRAWS / 2) < DRAWS / 20);
    draw("mixup_boxes", "", 0);
    cr_expect_eq(count_of(0, 0), DRAWS);
    const cvr_augment_desc *const d = transform("mixup_boxes");
    cr_expect(d->closes && d->fresh && d->n_samples == 2);
}

Test(augment_yolo, hsv_changes_each_with_its_chance) {
    draw("random_hsv", "", 1);
    for (int i = 0; i < DRAWS; i++)
        cr_assert(fabs(drawn[i][0]) <= 5.0 / 30 && fabs(drawn[i][3]) <= 30.0 / 255 && fabs(drawn[i][4]) <= 30.0 / 255);
    for (int p = 0; p < 5; p += p ? 1 : 3) cr_expect(abs(count_of(p, 0) - DRAWS / 2) < DRAWS / 20, "param %d", p);
    draw("random_hsv_scale", "hue=0.1 saturation=1.5 exposure=2", 1);
    int above = 0;
    for (int i = 0; i < DRAWS; i++) {
        const double *const p = drawn[i];
        cr_assert(fabs(p[0]) <= 0.6 && p[1] >= 1 / 1.5 && p[1] <= 1.5 && p[2] >= 0.5 && p[2] <= 2);
        above += p[1] > 1;
    }
    cr_expect(abs(above - DRAWS / 2) < DRAWS / 20, "%d above 1", above);
}

Test(augment_yolo, jitter_moves_every_side) {
    draw("random_jitter_crop", "20 jitter=0.2", 1);
    for (int i = 0; i < DRAWS; i++) {
        const double *const p = drawn[i];
        cr_assert(fabs(p[0]) <= 8 && fabs(p[1]) <= 6 && fabs(p[0] + p[2] - 40) <= 8 && fabs(p[1] + p[3] - 30) <= 6);
    }
    draw("random_jitter_crop", "20 jitter=0.2 mode=place", 1);
    for (int i = 0; i < DRAWS; i++) { /* all of the picture is in the output, and touches two of its sides */
        const double *const p = drawn[i], x = 40 / p[2] * 20, y = 30 / p[3] * 20;
        cr_assert(p[0] <= 1e-9 && p[1] <= 1e-9 && p[0] + p[2] >= 40 - 1e-9 && p[1] + p[3] >= 30 - 1e-9);
        cr_assert(fabs(fmax(x, y) - 20) < 1e-9);
    }
}

/* ---- strange samples ---- */

static void strange_sample(test_sample *s, int64_t h, int64_t w) {
    static const float boxes[5][4] = {{-1e30f, 0, 1e30f, 1},
                                      {0, 0, INFINITY, INFINITY},
                                      {-5, -5, -1, -1},
                                      {0.5f, 0.25f, 0.75f, 0.5f},
                                      {1000, 1000, 2000, 2000}};
    static const int64_t labels[5] = {0, 1, 2, 3, 4};
    static uint8_t pixels[5 * 40 * 40];
    test_sample_init(s);
    test_sample_image(s, CVR_U8, h, w, 3, pixels);
    (void)test_sample_add(s, CVR_FIELD_BOXES, CVR_F32, 2, (const int64_t[]){5, 4}, boxes);
    (void)test_sample_add(s, CVR_FIELD_BOX_LABELS, CVR_I64, 1, (const int64_t[]){5}, labels);
    (void)test_sample_add(s, CVR_FIELD_MASKS, CVR_U8, 3, (const int64_t[]){5, h, w}, pixels);
}

static void expect_inside(const test_sample *s, const char *name) {
    const cvr_field *const image = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE),
                           *const boxes = cvr_sample_find(&s->sample, CVR_FIELD_BOXES),
                           *const masks = cvr_sample_find(&s->sample, CVR_FIELD_MASKS);
    for (int64_t i = 0; i < boxes->shape[0]; i++) {
        const float *const b = (const float *)boxes->data + 4 * i;
        cr_expect(b[0] >= 0 && b[1] >= 0 && b[2] <= (float)image->shape[1] && b[3] <= (float)image->shape[0],
                  "%s: %g %g %g %g", name, (double)b[0], (double)b[1], (double)b[2], (double)b[3]);
    }
    cr_expect(masks->shape[0] == boxes->shape[0] && masks->shape[1] == image->shape[0] &&
              masks->shape[2] == image->shape[1]);
}

/* Pictures of a pixel, and boxes of any size: all ends up in the picture. */
Test(augment_yolo, strange_samples_end_inside) {
    static const char *const all[][2] = {{"letterbox", "20"},
                                         {"letterbox", "1,30 center=yes"},
                                         {"mosaic", "16 scale=0.01,3 degrees=180 shear=40"},
                                         {"mosaic", "1"},
                                         {"mixup_boxes", "scale=0.01,2"},
                                         {"random_jitter_crop", "16 jitter=0.45"},
                                         {"random_jitter_crop", "1,9 mode=place"}};
    static const int64_t sides[][2] = {{1, 1}, {1, 40}, {33, 2}, {40, 40}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const cvr_augment_desc *const d = transform(all[i][0]);
        cvr_error err;
        cvr_error_init(&err);
        void *const attrs = settings_of(d, all[i][1], &err);
        cr_assert(attrs, "%s", err.message);
        for (uint64_t k = 0; k < 48; k++) {
            test_sample s[4];
            cvr_sample *samples[4];
            double p[CVR_AUGMENT_PARAMS] = {0};
            cvr_rng rng;
            cvr_rng_start(&rng, 23, k);
            for (uint64_t j = 0; j < 4; j++) {
                const int64_t *const side = sides[(k + j * (k / 4)) % 4];
                strange_sample(&s[j], side[0], side[1]);
                samples[j] = &s[j].sample;
            }
            if (d->make_params) cr_assert_eq(d->make_params(attrs, samples[0], &rng, p, &err), CVR_OK);
            cr_assert_eq(d->apply_many ? d->apply_many(attrs, p, samples, d->n_samples, &err)
                                       : d->apply(attrs, p, samples[0], &err),
                         CVR_OK, "%s: %s", d->name, err.message);
            if (!d->fresh) expect_inside(&s[0], d->name); /* the picture that is mixed into keeps its boxes */
            for (int j = 0; j < 4; j++) test_sample_free(&s[j]);
        }
        cvr_free(attrs);
    }
}

/* ---- what is refused ---- */

static const char *const refused[][2] = {
    {"letterbox", ""},
    {"letterbox", "size="},
    {"letterbox", "0"},
    {"letterbox", "20 fill="},
    {"letterbox", "20 interpolation=bicubic"},
    {"mosaic", ""},
    {"mosaic", "20 scale=0,1"},
    {"mosaic", "20 scale=2,1"},
    {"mosaic", "20 shear=50"},
    {"mosaic", "20 p=1.5"},
    {"mixup_boxes", "scale=0,1"},
    {"mixup_boxes", "scale=1.5,0.5"},
    {"mixup_boxes", "fill="},
    {"random_jitter_crop", ""},
    {"random_jitter_crop", "20 jitter=0.5"},
    {"random_jitter_crop", "20 mode=stretch"},
    {"random_hsv", "hue=100"},
    {"random_hsv_scale", "saturation=0.5"},
};

Test(augment_yolo, refuses_settings_that_make_no_sense) {
    expect_settings_refused(refused, sizeof refused / sizeof refused[0]);
}

/* Pictures of two kinds, objects in one of them only. */
Test(augment_yolo, refuses_pictures_that_do_not_mix) {
    static const uint8_t pixels[6 * 7 * 3];
    static const float boxes[8] = {1, 1, 3, 3, 2, 2, 5, 5};
    static const int64_t labels[1];
    static const double params[9] = {1, 8, 8, 0, 1, 0, 0, 0, 0};
    static const struct { const char *name, *settings; } both[] = {{"mosaic", "8"}, {"mixup_boxes", ""}};
    for (size_t i = 0; i < 2; i++) {
        const cvr_augment_desc *const d = transform(both[i].name);
        for (int k = 0; k < 2; k++) {
            test_sample a, b;
            cvr_error err;
            cvr_error_init(&err);
            void *const attrs = settings_of(d, both[i].settings, &err);
            test_sample_init(&a);
            test_sample_init(&b);
            test_sample_image(&a, CVR_U8, 6, 7, 3, pixels);
            test_sample_image(&b, CVR_U8, 6, 7, k ? 3 : 1, pixels);
            (void)test_sample_add(&a, CVR_FIELD_BOXES, CVR_F32, 2, (const int64_t[]){2, 4}, boxes);
            (void)test_sample_add(&b, CVR_FIELD_BOXES, CVR_F32, 2, (const int64_t[]){2, 4}, boxes);
            (void)test_sample_add(k ? &b : &a, CVR_FIELD_BOX_LABELS, CVR_I64, 1, (const int64_t[]){1}, labels);
            cvr_sample *const all[] = {&a.sample, &b.sample, &b.sample, &b.sample};
            cr_expect_neq(d->apply_many(attrs, params, all, d->n_samples, &err), CVR_OK, "%s %d", both[i].name, k);
            cr_expect(strstr(err.message, k ? "has box_labels" : "channels"), "%s: %s", both[i].name, err.message);
            test_sample_free(&a);
            test_sample_free(&b);
            cvr_free(attrs);
        }
    }
}
