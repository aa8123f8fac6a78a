/*
 * The transforms of objects against torchvision's (tests/parity/augment_boxes.py), what they draw and what they refuse.
 */
#include "scene_case.h"
#include <criterion/criterion.h>
#include <cvr/base.h>
#include <math.h>

TestSuite(augment_boxes, .init = augment_load);

Test(augment_boxes, same_objects_as_torchvision) {
    scene_cases(CVR_GOLDEN_DIR "/augment_boxes.safetensors", 37);
}

/* ---- sizes of the detectors ---- */

static void expect_size(int64_t h, int64_t w, const char *settings, int64_t to_h, int64_t to_w) {
    const cvr_augment_desc *const d = transform("resize");
    cvr_part in, out = {.struct_size = sizeof out};
    cvr_error err;
    cvr_error_init(&err);
    void *const attrs = settings_of(d, settings, &err);
    cr_assert(attrs, "%s", err.message);
    const cvr_part_step step = {sizeof step, attrs, NULL, &in, &out};
    cvr_part_whole(&in, h, w);
    cr_assert_eq(d->part_size(&step, &err), CVR_OK);
    cr_expect(out.height == to_h && out.width == to_w, "%dx%d became %dx%d, not %dx%d", (int)h, (int)w, (int)out.height,
              (int)out.width, (int)to_h, (int)to_w);
    cvr_free(attrs);
}

/* Both sides are cut after a multiplication in double, so that 64 of the short sides from 100 to 1399 lack a pixel. */
Test(augment_boxes, detectors_sizes_are_torchvisions) {
    static const int64_t sizes[][4] = {{480, 640, 800, 1066}, {427, 640, 800, 1199}, {375, 500, 800, 1066},
                                       {334, 500, 799, 1197}, {612, 612, 800, 800},  {640, 480, 1066, 800}};
    static const char settings[] = "800 max_size=1333 sides=scaled antialias=no";
    int lack = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        expect_size(sizes[i][0], sizes[i][1], settings, sizes[i][2], sizes[i][3]);
    for (int64_t side = 100; side < 1400; side++) {
        const int64_t got = (int64_t)((double)side * (800.0 / (double)side));
        lack += got == 799;
        expect_size(side, side, settings, got, got);
    }
    cr_expect_eq(lack, 64);
    expect_size(1, 4000, settings, 1, 1333);
}

/* ---- what is drawn ---- */

static double iou_of(const double *crop, const float *b) {
    const double top = crop[1], left = crop[2], bottom = top + crop[3], right = left + crop[4];
    const double w = fmin(right, b[2]) - fmax(left, b[0]), h = fmin(bottom, b[3]) - fmax(top, b[1]);
    const double both = fmax(w, 0) * fmax(h, 0);
    return both / (crop[3] * crop[4] + (double)(b[2] - b[0]) * (double)(b[3] - b[1]) - both);
}

Test(augment_boxes, iou_crops_are_as_the_settings_want_them) {
    static const uint8_t pixels[60 * 90];
    static const float boxes[2][4] = {{10, 10, 40, 50}, {50, 5, 85, 30}};
    static const struct {
        const char *settings;
        double least;
    } all[] = {{"sampler_options=0.5", 0.5}, {"sampler_options=0 min_scale=0.5", 0}, {"sampler_options=0.7,0.3", 0.3}};
    const cvr_augment_desc *const d = transform("random_iou_crop");
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        cvr_error err;
        test_sample s;
        cvr_error_init(&err);
        void *const attrs = settings_of(d, all[i].settings, &err);
        test_sample_init(&s);
        test_sample_image(&s, CVR_U8, 60, 90, 1, pixels);
        (void)test_sample_add(&s, CVR_FIELD_BOXES, CVR_F32, 2, (const int64_t[]){2, 4}, boxes);
        for (uint64_t k = 0; k < 200; k++) {
            double p[CVR_AUGMENT_PARAMS] = {0};
            cvr_rng rng;
            cvr_rng_start(&rng, 11, k);
            cr_assert_eq(d->make_params(attrs, &s.sample, &rng, p, &err), CVR_OK);
            cr_assert(p[0] == 1 && p[1] >= 0 && p[2] >= 0 && p[1] + p[3] <= 60 && p[2] + p[4] <= 90);
            cr_expect(p[4] / p[3] >= 0.5 && p[4] / p[3] <= 2);
            cr_expect(i != 1 || (p[3] >= 30 && p[4] >= 45));
            cr_expect(fmax(iou_of(p, boxes[0]), iou_of(p, boxes[1])) >= all[i].least - 1e-6);
        }
        test_sample_free(&s);
        cvr_free(attrs);
    }
}

/* Of seven options one leaves the picture as it is; a picture without objects always stays. */
Test(augment_boxes, iou_crop_leaves_some_pictures) {
    static const uint8_t pixels[60 * 90];
    static const float box[4] = {5, 5, 80, 55};
    const cvr_augment_desc *const d = transform("random_iou_crop");
    cvr_error err;
    cvr_error_init(&err);
    void *const attrs = settings_of(d, "", &err);
    for (int64_t n = 0; n < 2; n++) {
        test_sample s;
        int stays = 0;
        test_sample_init(&s);
        test_sample_image(&s, CVR_U8, 60, 90, 1, pixels);
        (void)test_sample_add(&s, CVR_FIELD_BOXES, CVR_F32, 2, (const int64_t[]){n, 4}, box);
        for (uint64_t k = 0; k < 700; k++) {
            double p[CVR_AUGMENT_PARAMS] = {0};
            cvr_rng rng;
            cvr_rng_start(&rng, 12, k);
            cr_assert_eq(d->make_params(attrs, &s.sample, &rng, p, &err), CVR_OK);
            stays += p[0] == 0;
        }
        cr_expect(n ? stays > 60 && stays < 200 : stays == 700, "%d of 700 stayed", stays);
        test_sample_free(&s);
    }
    cvr_free(attrs);
}

Test(augment_boxes, zoom_and_crop_draw_within_their_ranges) {
    static const uint8_t pixels[30 * 40];
    double most = 0;
    int stays = 0;
    cvr_error err;
    test_sample s;
    cvr_error_init(&err);
    void *const zoom = settings_of(transform("random_zoom_out"), "side_range=1.5,3", &err);
    void *const crop = settings_of(transform("fixed_size_crop"), "20,50", &err);
    test_sample_init(&s);
    test_sample_image(&s, CVR_U8, 30, 40, 1, pixels);
    for (uint64_t k = 0; k < 400; k++) {
        double p[CVR_AUGMENT_PARAMS] = {0}, at[CVR_AUGMENT_PARAMS] = {0};
        cvr_rng rng;
        cvr_rng_start(&rng, 13, k);
        cr_assert_eq(transform("random_zoom_out")->make_params(zoom, &s.sample, &rng, p, &err), CVR_OK);
        const double w = 40 + p[0] + p[2], h = 30 + p[1] + p[3];
        stays += w == 40;
        cr_expect(w == 40 ? h == 30 : w >= 60 && w <= 120 && fabs(w * 0.75 - h) <= 1, "%g x %g", w, h);
        cr_assert_eq(transform("fixed_size_crop")->make_params(crop, &s.sample, &rng, at, &err), CVR_OK);
        cr_expect(at[0] >= 0 && at[0] < 10 && at[1] == 0);
        most = fmax(most, at[0]);
    }
    cr_expect(stays > 150 && stays < 250 && most >= 8, "%d stayed, %g", stays, most);
    test_sample_free(&s);
    cvr_free(zoom);
    cvr_free(crop);
}

/* ---- what is refused ---- */

static const char *const refused[][2] = {
    {"random_iou_crop", "min_scale=0.5 max_scale=0.4"},
    {"random_iou_crop", "min_scale=0"},
    {"random_iou_crop", "min_aspect_ratio=3"},
    {"random_iou_crop", "sampler_options="},
    {"random_zoom_out", "side_range=0.5,2"},
    {"random_zoom_out", "side_range=3,2"},
    {"random_zoom_out", "fill="},
    {"random_shortest_size", ""},
    {"random_shortest_size", "min_size="},
    {"random_shortest_size", "8 interpolation=bicubic antialias=no"},
    {"fixed_size_crop", "size="},
    {"fixed_size_crop", ""},
    {"sanitize_bounding_boxes", "min_size=0.5"},
    {"sanitize_bounding_boxes", "min_area=0"},
    {"simple_copy_paste", "interpolation=bicubic antialias=no"},
    {"resize", "4,4 sides=scaled"},
    {"resize", "size= max_size=4 sides=scaled"},
    {"resize", "5 max_size=4 sides=scaled"},
};

Test(augment_boxes, refuses_settings_that_make_no_sense) {
    expect_settings_refused(refused, sizeof refused / sizeof refused[0]);
}

static void expect_refused(const char *name, test_sample *s, const char *message) {
    const cvr_augment_desc *const d = transform(name);
    const double params[CVR_AUGMENT_PARAMS] = {1, 0, 0, 2, 2};
    cvr_sample *const both[] = {&s->sample, &s->sample};
    cvr_error err;
    cvr_error_init(&err);
    void *const attrs = settings_of(d, "", &err);
    cr_assert(attrs, "%s", err.message);
    const int32_t status =
        d->apply_many ? d->apply_many(attrs, params, both, 2, &err) : d->apply(attrs, params, &s->sample, &err);
    cr_expect_neq(status, CVR_OK, "%s", name);
    cr_expect(strstr(err.message, message), "%s: %s", name, err.message);
    cvr_free(attrs);
}

/* What has nothing to work on says what is missing. */
Test(augment_boxes, refuses_samples_without_objects) {
    static const uint8_t pixels[4 * 5 * 3];
    static const int64_t two[] = {2, 4}, five[] = {1, 5}, small[] = {1, 3, 5};
    static const float boxes[8];
    test_sample s;
    test_sample_init(&s);
    test_sample_image(&s, CVR_U8, 4, 5, 3, pixels);
    expect_refused("random_iou_crop", &s, "has no boxes");
    expect_refused("sanitize_bounding_boxes", &s, "has no boxes");
    expect_refused("simple_copy_paste", &s, "no masks of its objects");
    (void)test_sample_add(&s, CVR_FIELD_BOXES, CVR_F32, 2, two, boxes);
    expect_refused("simple_copy_paste", &s, "no masks of its objects");
    (void)test_sample_add(&s, CVR_FIELD_MASKS, CVR_U8, 3, small, pixels);
    expect_refused("simple_copy_paste", &s, "'masks' is 5 x 3");
    test_sample_free(&s);
    test_sample_image(&s, CVR_U8, 4, 5, 3, pixels);
    (void)test_sample_add(&s, CVR_FIELD_BOXES, CVR_F32, 2, five, boxes);
    expect_refused("random_iou_crop", &s, "(object, 4)");
    test_sample_free(&s);
}
