/* The reporters' pictures show what they were given: batches, curves, the confusion matrix. */
#include "../support/scratch.h"
#include "report_case.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

TestSuite(report_pictures, .init = report_begin, .fini = report_finish);

/* ---- batches ---- */

static void show_batch(const cvr_run_info *info, const cvr_batch_event *e) {
    const cvr_reporter_desc *const r = report_find("pictures");
    void *const self = report_open(r, info);
    cr_assert_eq(r->batch(self, e, &report_error), CVR_OK, "%s", report_error.message);
    r->close(self);
}

/* Every level of every channel comes back from `(x - mean) / std`; `factor` is how much larger it is shown. */
static void expect_shown(int64_t height, int64_t width, int64_t channels, int64_t factor, bool u8) {
    static const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
    const int64_t n = height * width * channels;
    float *const pixels = malloc((size_t)n * sizeof *pixels);
    uint8_t *const levels = malloc((size_t)n);
    for (int64_t i = 0; i < n; i++) {
        levels[i] = (uint8_t)(i * 37 + i / 256);
        pixels[i] = (float)((levels[i] / 255.0 - mean[i % channels]) / std[i % channels]);
    }
    cvr_run_info info = report_run(-1, -1);
    info.n_channels = channels;
    info.mean = mean;
    info.std = std;
    report_shown b;
    show_batch(&info, report_batch(&b, (int64_t[4]){1, height, width, channels}, u8 ? CVR_U8 : CVR_F32,
                                   u8 ? (const void *)levels : pixels, NULL, NULL));
    cvr_image shown = report_picture("batch.png");
    cr_assert_geq(shown.width, width * factor + 24);
    for (int64_t y = 0; y < height * factor; y++) {
        for (int64_t x = 0; x < width * factor; x++) {
            const uint8_t *const wanted = levels + (y / factor * width + x / factor) * channels;
            for (int64_t c = 0; c < 3; c++) {
                cr_assert_eq(report_pixel(&shown, 12 + x, 12 + y)[c], wanted[channels == 3 ? c : 0], "%lld %lld %lld",
                             (long long)y, (long long)x, (long long)c);
            }
        }
    }
    free(shown.data);
    free(pixels);
    free(levels);
}

Test(report_pictures, pictures_are_as_they_were_before_normalisation) {
    for (int u8 = 0; u8 < 2; u8++) {
        expect_shown(100, 110, 3, 1, u8);
        expect_shown(28, 28, 1, 4, u8);
        expect_shown(32, 20, 3, 4, u8);
        expect_shown(64, 64, 3, 2, u8);
    }
}

Test(report_pictures, large_pictures_become_smaller_by_area) {
    enum { SIDE = 448 };
    float *const pixels = malloc(sizeof *pixels * SIDE * SIDE);
    for (int64_t i = 0; i < SIDE * SIDE; i++) pixels[i] = (float)((i / SIDE % 2 * 2 + i % 2) * 40) / 255.0f;
    cvr_run_info info = report_run(-1, -1);
    info.n_channels = 1;
    report_shown b;
    show_batch(&info, report_batch(&b, (int64_t[4]){1, SIDE, SIDE, 1}, CVR_F32, pixels, NULL, NULL));
    cvr_image shown = report_picture("batch.png");
    cr_assert_eq(shown.width, 224 + 24);
    for (int64_t i = 0; i < 224 * 224; i++) cr_assert_eq(report_pixel(&shown, 12 + i % 224, 12 + i / 224)[0], 60);
    free(shown.data);
    free(pixels);
}

static int64_t count_colour(const cvr_image *image, uint8_t r, uint8_t g, uint8_t b) {
    int64_t n = 0;
    for (int64_t i = 0; i < image->width * image->height; i++) {
        const uint8_t *const p = image->data + 3 * i;
        n += p[0] == r && p[1] == g && p[2] == b;
    }
    return n;
}

Test(report_pictures, predictions_are_green_when_right_and_red_when_wrong) {
    static const float pixels[2 * 8 * 8] = {0};
    static const int64_t labels[2] = {0, 1}, right[2] = {0, 1}, wrong[2] = {1, 0};
    cvr_run_info info = report_run(-1, -1);
    info.n_classes = 2;
    for (int32_t i = 0; i < 3; i++) {
        const int64_t *const predictions = i == 0 ? NULL : i == 1 ? right : wrong;
        report_shown b;
        show_batch(&info, report_batch(&b, (int64_t[4]){2, 8, 8, 1}, CVR_F32, pixels, labels, predictions));
        cvr_image shown = report_picture("batch.png");
        cr_expect_eq(count_colour(&shown, 24, 135, 70) > 0, i == 1);
        cr_expect_eq(count_colour(&shown, 205, 45, 50) > 0, i == 2);
        free(shown.data);
    }
}

Test(report_pictures, odd_batches_are_shown_too) {
    static const int64_t sizes[][4] = {{1, 1, 1, 3}, {70, 1, 1, 1}, {5, 3, 300, 2}, {20, 700, 2, 5}, {3, 225, 224, 3}};
    static const char *const classes[] = {"", "a name that is far too long for its picture, by a lot", "gr\xc3\xbcn"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t *const s = sizes[i], n = s[0] * s[1] * s[2] * s[3];
        float *const pixels = malloc((size_t)n * sizeof *pixels);
        int64_t labels[128];
        for (int64_t k = 0; k < n; k++) pixels[k] = k % 3 ? NAN : k % 2 ? INFINITY : -INFINITY;
        for (int64_t k = 0; k < 128; k++) labels[k] = k - 1; /* also classes that there are none of */
        cvr_run_info info = report_run(-1, -1);
        info.n_classes = 3;
        info.class_names = classes;
        report_shown b;
        show_batch(&info, report_batch(&b, s, CVR_F32, pixels, labels, labels + 1));
        cvr_image shown = report_picture("batch.png");
        cr_expect_gt(shown.width, 64);
        free(shown.data);
        free(pixels);
    }
}

/* ---- curves ---- */

Test(report_pictures, curves_of_a_resumed_run_are_whole) {
    const cvr_reporter_desc *const tables = report_find("tables"), *const curves = report_find("curves");
    report_whole_run(tables);
    report_whole_run(curves);
    size_t n = 0, again = 0;
    char *const wanted = report_slurp("results.png", &n);
    const cvr_run_info info = report_run(4, 2);
    void *const self = report_open(curves, &info);
    report_tell_range(curves, self, 5, 8);
    cr_assert_eq(curves->flush(self, &report_error), CVR_OK);
    curves->close(self);
    char *const got = report_slurp("results.png", &again);
    cr_expect(n == again && memcmp(wanted, got, n) == 0, "the picture differs from that of a run that was not cut off");
    free(wanted);
    free(got);
}

/* Pictures may wait while epochs are short; they are there once the run has ended, or was interrupted. */
Test(report_pictures, curves_are_up_to_date_in_the_end) {
    const cvr_reporter_desc *const r = report_find("curves");
    report_whole_run(r);
    size_t n = 0, again = 0;
    char *const wanted = report_slurp("results.png", &n);
    for (int32_t ended = 0; ended < 2; ended++) {
        const cvr_run_info info = report_run(-1, -1);
        void *const self = report_open(r, &info);
        for (int64_t epoch = 1; epoch <= 4; epoch++) {
            cr_assert_eq(report_tell_epoch(r, self, epoch, 3, NULL), CVR_OK);
            cr_assert_eq(r->flush(self, &report_error), CVR_OK);
        }
        if (ended) cr_assert_eq(report_tell_end(r, self, "top1", 0.5, 1), CVR_OK);
        r->close(self);
        char *const got = report_slurp("results.png", &again);
        cr_expect(n == again && memcmp(wanted, got, n) == 0, "%d", ended);
        free(got);
    }
    free(wanted);
}

Test(report_pictures, curves_of_any_numbers) {
    static const double cases[][3] = {{1, 1, 1},           {0, 0, 0},       {-1e308, 1e308, 1},
                                      {1e-300, 2e-300, 0}, {NAN, NAN, NAN}, {INFINITY, 1, NAN},
                                      {1e300, 1e300, 1},   {-1, -2, -3},    {1 + 1e-15, 1, 1}};
    const cvr_reporter_desc *const r = report_find("curves");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int64_t epochs = 1; epochs <= 61; epochs += 30) {
            const cvr_run_info info = report_run(-1, -1);
            const char *const names[] = {"train_loss", "loss", "top1"};
            void *const self = report_open(r, &info);
            for (int64_t k = 1; k <= epochs; k++) {
                const double v[] = {cases[i][k % 3], cases[i][(k + 1) % 3], cases[i][(k + 2) % 3]};
                const cvr_epoch_event e = {.struct_size = sizeof e,
                                           .epoch = k,
                                           .step = k,
                                           .images_per_s = v[0],
                                           .lr = v[1],
                                           .n_metrics = 3,
                                           .names = names,
                                           .values = v};
                cr_assert_eq(r->epoch(self, &e, &report_error), CVR_OK);
            }
            cr_assert_eq(r->flush(self, &report_error), CVR_OK, "%s", report_error.message);
            r->close(self);
            cvr_image shown = report_picture("results.png");
            cr_expect(shown.width == 1200 && shown.height == 800);
            free(shown.data);
        }
    }
}

/* Pixels of the training loss, the first ink, in the lower half of the panel of losses, which is the upper left one. */
static int64_t drawn_low(const cvr_image *shown) {
    int64_t n = 0;
    for (int64_t y = 220; y < 350; y++) {
        for (int64_t x = 100; x < 560; x++) {
            const uint8_t *const p = report_pixel(shown, x, y);
            n += p[0] < 60 && p[1] > 90 && p[1] < 130 && p[2] > 180;
        }
    }
    return n;
}

/* The last fifteen of twenty losses fall from 3 to 1; the first ones are as told. */
static int64_t drawn_after(double first) {
    const cvr_reporter_desc *const r = report_find("curves");
    const cvr_run_info info = report_run(-1, -1);
    const char *const names[] = {"train_loss"};
    void *const self = report_open(r, &info);
    for (int64_t k = 1; k <= 20; k++) {
        const double loss = k <= 4 ? first : 3 - 2 * (double)(k - 5) / 15;
        const cvr_epoch_event e = {
            .struct_size = sizeof e, .epoch = k, .step = k, .n_metrics = 1, .names = names, .values = &loss};
        cr_assert_eq(r->epoch(self, &e, &report_error), CVR_OK);
    }
    cr_assert_eq(r->flush(self, &report_error), CVR_OK, "%s", report_error.message);
    r->close(self);
    cvr_image shown = report_picture("results.png");
    const int64_t n = drawn_low(&shown);
    free(shown.data);
    return n;
}

/* The axis is that of the later ones: with 1000 as its end all of them would lie on the lower edge. */
Test(report_pictures, the_first_losses_do_not_flatten_the_curve) {
    const int64_t usual = drawn_after(3), high = drawn_after(1000), none = drawn_after(INFINITY);
    cr_expect(usual > 300, "%lld", (long long)usual);
    cr_expect(high > usual / 2 && none > usual / 2, "%lld and %lld of %lld", (long long)high, (long long)none,
              (long long)usual);
}

Test(report_pictures, the_confusion_matrix_as_a_table) {
    static const char *const classes[] = {"cat, black", "the \"dog\""};
    static const uint64_t first[4] = {9, 9, 9, 9}, matrix[4] = {5, 1, 0, 6};
    const cvr_reporter_desc *const r = report_find("curves");
    cvr_run_info info = report_run(-1, -1);
    info.n_classes = 2;
    info.class_names = classes;
    void *const self = report_open(r, &info);
    cr_assert_eq(report_tell_epoch(r, self, 1, 3, first), CVR_OK);
    cr_assert_eq(report_tell_epoch(r, self, 2, 3, matrix), CVR_OK);
    cr_assert_eq(report_tell_epoch(r, self, 3, 1, NULL), CVR_OK);
    cr_assert_eq(report_tell_end(r, self, "top1", 0.5, 1), CVR_OK);
    r->close(self);
    report_expect_text("confusion_matrix.csv", "truth,\"cat, black\",\"the \"\"dog\"\"\"\n\"cat, black\",5,1\n"
                                               "\"the \"\"dog\"\"\",0,6\n");
}

/* All that was right is as dark as can be, and lies on the diagonal. */
Test(report_pictures, the_confusion_matrix_of_any_number_of_classes) {
    static const int64_t sizes[] = {1, 2, 20, 21, 41, 100, 1000, 1500};
    const cvr_reporter_desc *const r = report_find("curves");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t n = sizes[i];
        uint64_t *const matrix = calloc((size_t)(n * n), sizeof *matrix);
        for (int64_t k = 0; k < n; k++) matrix[k * n + k] = k == 0 ? UINT64_MAX / 4096 : (uint64_t)k;
        cvr_run_info info = report_run(-1, -1);
        info.n_classes = n;
        void *const self = report_open(r, &info);
        cr_assert_eq(report_tell_epoch(r, self, 1, 3, matrix), CVR_OK);
        cr_assert_eq(r->flush(self, &report_error), CVR_OK, "%s", report_error.message);
        r->close(self);
        cvr_image shown = report_picture("confusion_matrix.png");
        const int64_t dark = count_colour(&shown, 22, 70, 154), side = n < 1000 ? n : 1000;
        cr_expect_geq(dark, side, "%lld classes", (long long)n);
        cr_expect_leq(shown.width, 1200);
        cr_expect_leq(shown.height, 1200);
        free(shown.data);
        free(matrix);
    }
}
