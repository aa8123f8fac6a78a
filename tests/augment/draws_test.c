/*
 * What transforms draw, against the distributions that torchvision documents.
 */
#include "augment_case.h"
#include <criterion/criterion.h>
#include <cvr/base.h>
#include <math.h>
#include <stdlib.h>

TestSuite(augment_draws, .init = augment_load);

#define DRAWS 10000

/* Draws DRAWS sets of params for an (h, w, 3) picture. */
static void draw(const char *name, const char *text, int64_t h, int64_t w, double (*out)[CVR_AUGMENT_PARAMS]) {
    const cvr_augment_desc *const d = transform(name);
    cvr_error err;
    cvr_error_init(&err);
    void *const attrs = settings_of(d, text, &err);
    cr_assert(attrs, "%s", err.message);
    uint8_t *const pixels = calloc((size_t)(h * w), 3);
    test_sample s;
    test_sample_init(&s);
    test_sample_image(&s, CVR_U8, h, w, 3, pixels);
    for (int i = 0; i < DRAWS; i++) {
        cvr_rng rng;
        cvr_rng_start(&rng, 7, (uint64_t)i);
        cr_assert_eq(d->make_params(attrs, &s.sample, &rng, out[i], &err), CVR_OK, "%s", err.message);
    }
    test_sample_free(&s);
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

Test(augment_draws, flips_with_probability_p) {
    draw("random_horizontal_flip", "", 4, 4, drawn);
    cr_expect_float_eq(mean_of(0), 0.5, 0.02);
    draw("random_vertical_flip", "p=0.2", 4, 4, drawn);
    cr_expect_float_eq(mean_of(0), 0.2, 0.02);
    draw("random_vertical_flip", "p=0", 4, 4, drawn);
    cr_expect_float_eq(mean_of(0), 0, 0);
    draw("random_vertical_flip", "p=1", 4, 4, drawn);
    cr_expect_float_eq(mean_of(0), 1, 0);
}

Test(augment_draws, angles_are_uniform) {
    draw("random_rotation", "30", 4, 4, drawn);
    expect_uniform(0, -30, 30, "degrees=30");
    draw("random_rotation", "degrees=10,50", 4, 4, drawn);
    expect_uniform(0, 10, 50, "degrees=10,50");
}

/* Of a mask of two classes, left and right, a crop is drawn anew while it holds one class alone; where it cannot hold
 * two, ten times, and no more. */
Test(augment_draws, crops_avoid_one_class) {
    static uint8_t pixels[8 * 24 * 3], mask[8 * 24];
    const cvr_augment_desc *const d = transform("random_crop");
    cvr_error err;
    int both = 0, first = 0;
    cvr_error_init(&err);
    for (int ratio = 0; ratio < 3; ratio++) {
        void *const attrs = settings_of(d, ratio == 0 ? "8" : "8 cat_max_ratio=0.76", &err);
        test_sample s;
        cr_assert(attrs, "%s", err.message);
        /* Classes 0 | 1; in the last round all but a strip of class 1 is ignored. */
        for (int i = 0; i < 8 * 24; i++) mask[i] = i % 24 < 12 ? 0 : ratio == 2 && i % 24 >= 14 ? 255 : 1;
        test_sample_init(&s);
        test_sample_image(&s, CVR_U8, 8, 24, 3, pixels);
        test_sample_add(&s, CVR_FIELD_MASK, CVR_U8, 2, (const int64_t[]){8, 24}, mask);
        both = 0;
        for (int i = 0; i < 1000; i++) {
            double p[CVR_AUGMENT_PARAMS];
            cvr_rng rng;
            cvr_rng_start(&rng, 7, (uint64_t)i);
            cr_assert_eq(d->make_params(attrs, &s.sample, &rng, p, &err), CVR_OK, "%s", err.message);
            /* Columns of class 1 among the eight, and whether 76 % of what counts is one class. */
            const int left = (int)p[5], right = left + 8;
            const int ones = right > 12 ? (ratio == 2 && right > 14 ? 14 : right) - (left > 12 ? left : 12) : 0;
            const int zeros = left < 12 ? (right < 12 ? right : 12) - left : 0;
            const int most = ones > zeros ? ones : zeros;
            both += ones + zeros > 0 && most < 0.76 * (ones + zeros);
        }
        if (ratio == 0) first = both;
        test_sample_free(&s);
        cvr_free(attrs);
        cr_expect(ratio == 0 ? both < 500 : both > 970, "round %d: %d of 1000 hold two classes", ratio, both);
    }
    cr_expect_gt(first, 200);
    /* Nothing to be found. */
    static uint8_t flat[8 * 24];
    void *const attrs = settings_of(d, "8 cat_max_ratio=0.5", &err);
    double p[CVR_AUGMENT_PARAMS];
    test_sample s;
    cvr_rng rng;
    cvr_rng_start(&rng, 7, 1);
    test_sample_init(&s);
    test_sample_image(&s, CVR_U8, 8, 24, 3, pixels);
    test_sample_add(&s, CVR_FIELD_MASK, CVR_U8, 2, (const int64_t[]){8, 24}, flat);
    cr_expect_eq(d->make_params(attrs, &s.sample, &rng, p, &err), CVR_OK);
    test_sample_free(&s);
    cvr_free(attrs);
}

Test(augment_draws, sizes_and_scales) {
    draw("random_resize", "100 300", 40, 60, drawn);
    expect_uniform(0, 99.5, 299.5, "random_resize");
    for (int i = 0; i < DRAWS; i++) {
        cr_assert(drawn[i][0] >= 100 && drawn[i][0] < 300);
        cr_assert_eq(drawn[i][1], floor(drawn[i][0] * 60 / 40));
    }
    draw("scale_jitter", "scale_range=0.5,2", 4000, 6000, drawn);
    expect_uniform(0, 2000, 8000, "scale_jitter");
    for (int i = 0; i < DRAWS; i++) cr_assert_float_eq(drawn[i][1], drawn[i][0] * 1.5, 2);
    draw("scale_jitter", "target_size=1000,2000", 4000, 6000, drawn);
    for (int i = 0; i < DRAWS; i++) cr_assert(drawn[i][1] >= 100 && drawn[i][1] <= 2000);
    draw("scale_jitter", "scale_range=0.01,0.01", 4, 4, drawn);
    cr_expect_eq(drawn[0][0], 1);
}

Test(augment_draws, photometric_distort) {
    static const double neutral[4] = {1, 1, 1, 0},
                        range[4][2] = {{0.875, 1.125}, {0.5, 1.5}, {0.5, 1.5}, {-0.05, 0.05}};
    static double values[DRAWS];
    int orders[9] = {0};
    draw("random_photometric_distort", "", 4, 4, drawn);
    for (int f = 0; f < 4; f++) {
        int n = 0;
        for (int i = 0; i < DRAWS; i++)
            if (drawn[i][f] != neutral[f]) values[n++] = drawn[i][f];
        cr_expect_float_eq((double)n / DRAWS, 0.5, 0.02, "factor %d", f);
        cr_expect_lt(distance_from_uniform(values, n, range[f][0], range[f][1]), critical(n), "factor %d", f);
    }
    cr_expect_float_eq(mean_of(4), 0.5, 0.02);
    for (int i = 0; i < DRAWS; i++) orders[(int)(drawn[i][5] * 3 + drawn[i][6])]++;
    /* Half of the draws leave the order; of the rest a sixth does. */
    cr_expect_float_eq(orders[1] / (double)DRAWS, 0.5 + 0.5 / 6, 0.02);
    for (int k = 2; k < 9; k++)
        if (k != 4 && k != 8) cr_expect_float_eq(orders[k] / (double)DRAWS, 0.5 / 6, 0.02, "order %d", k);
}

Test(augment_draws, blur_and_rotation_by_chance) {
    int left = 0;
    draw("gaussian_blur", "3 sigma=1,2 p=0.3", 4, 4, drawn);
    for (int i = 0; i < DRAWS; i++) left += drawn[i][0] == 0;
    cr_expect_float_eq(left / (double)DRAWS, 0.7, 0.02);
    draw("random_rotation", "10 p=0.3", 4, 4, drawn);
    left = 0;
    for (int i = 0; i < DRAWS; i++) left += drawn[i][0] == 0;
    cr_expect_float_eq(left / (double)DRAWS, 0.7, 0.02);
}

Test(augment_draws, jitter_draws_factors_and_every_order) {
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
Test(augment_draws, resized_crop_draws_area_ratio_and_place) {
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

Test(augment_draws, resized_crop_falls_back_to_the_middle) {
    draw("random_resized_crop", "size=8 scale=1,1 ratio=1,1", 10, 40, drawn);
    cr_expect(drawn[0][0] == 0 && drawn[0][1] == 15 && drawn[0][2] == 10 && drawn[0][3] == 10);
    draw("random_resized_crop", "size=8", 1, 1, drawn);
    cr_expect(drawn[0][2] == 1 && drawn[0][3] == 1);
}

Test(augment_draws, crop_places_are_uniform) {
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

Test(augment_draws, erasing_draws_area_and_place) {
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

Test(augment_draws, erasing_with_noise_is_normal) {
    const cvr_augment_desc *const d = transform("random_erasing");
    const double params[CVR_AUGMENT_PARAMS] = {1, 0, 0, 100, 100, 12345, 678};
    static float zeros[100 * 101];
    cvr_error err;
    double sum = 0, squares = 0;
    cvr_error_init(&err);
    void *const attrs = settings_of(d, "p=1 value=random", &err);
    cr_assert(attrs, "%s", err.message);
    test_sample s;
    test_sample_init(&s);
    test_sample_image(&s, CVR_F32, 100, 101, 1, zeros);
    cr_assert_eq(d->apply(attrs, params, &s.sample, &err), CVR_OK);
    const float *const x = cvr_sample_find(&s.sample, CVR_FIELD_IMAGE)->data;
    for (int i = 0; i < 100 * 101; i++) {
        if (i % 101 == 100) cr_assert_eq(x[i], 0);
        sum += x[i];
        squares += x[i] * x[i];
    }
    cr_expect_float_eq(sum / 1e4, 0, 0.04);
    cr_expect_float_eq(squares / 1e4, 1, 0.05);
    test_sample_free(&s);
    cvr_free(attrs);
}

/* Moments of Beta(alpha, alpha): mean 1/2, variance 1 / (4 (2 alpha + 1)). */
Test(augment_draws, lambda_is_from_beta) {
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

/* ---- policies ---- */

/* A choice as the policies encode it: the op, the bin and the sign. */
typedef struct choice {
    int op, bin, negative;
} choice;

static choice choice_of(double x, int bins) {
    const int code = (int)fabs(x) - 1;
    return (choice){code / bins, code % bins, x < 0};
}

/* As often as `each` says, up to five standard deviations. */
static void expect_count(int have, double each, const char *what, int i) {
    cr_expect_leq(fabs(have - each), 5 * sqrt(each), "%s %d: %d, not %g", what, i, have, each);
}

Test(augment_draws, trivial_augment_draws_ops_bins_and_signs) {
    int ops[14] = {0}, bins[31] = {0}, magnitudes = 0, negative = 0, is_signed = 0;
    draw("trivial_augment_wide", "", 4, 4, drawn);
    for (int i = 0; i < DRAWS; i++) {
        const choice c = choice_of(drawn[i][0], 31);
        cr_assert(c.op >= 0 && c.op < 14);
        ops[c.op]++;
        /* identity, autocontrast and equalize have no magnitude; posterize and solarize no sign */
        const int has = c.op != 0 && c.op < 12;
        magnitudes += has;
        bins[c.bin] += has;
        is_signed += has && c.op < 10;
        negative += c.negative;
        cr_assert(has || c.bin == 0);
        cr_assert(!c.negative || (has && c.op < 10));
    }
    for (int k = 0; k < 14; k++) expect_count(ops[k], DRAWS / 14.0, "op", k);
    for (int k = 0; k < 31; k++) expect_count(bins[k], magnitudes / 31.0, "bin", k);
    expect_count(negative, is_signed / 2.0, "negative", 0);
}

Test(augment_draws, rand_augment_draws_ops_of_one_strength) {
    int pairs[14][14] = {{0}};
    draw("rand_augment", "magnitude=7", 4, 4, drawn);
    for (int i = 0; i < DRAWS; i++) {
        const choice a = choice_of(drawn[i][0], 31), b = choice_of(drawn[i][1], 31);
        cr_assert(drawn[i][2] == 0 && (a.bin == 7 || a.bin == 0) && (b.bin == 7 || b.bin == 0));
        pairs[a.op][b.op]++;
    }
    for (int k = 0; k < 14 * 14; k++) expect_count(pairs[k / 14][k % 14], DRAWS / 196.0, "pair", k);
}

/* What svhn's pairs come to: an op is there as often as its probabilities say. */
Test(augment_draws, auto_augment_tries_by_probability) {
    int invert = 0, shear = 0, nothing = 0;
    draw("auto_augment", "svhn", 4, 4, drawn);
    for (int i = 0; i < DRAWS; i++) {
        for (int k = 0; k < 2; k++) {
            if (drawn[i][k] == 0) {
                nothing++;
                continue;
            }
            const choice c = choice_of(drawn[i][k], 10);
            invert += c.op == 13;
            shear += c.op == 0 && c.bin == 4;
        }
    }
    /* of 25 pairs: invert at 0.2 0.7 0.9 0.4 0.9 0.7 0.9 0.8 0.6 0.6 0.8 0.1, shear x of bin 4 at 0.9 0.9 0.9 */
    expect_count(invert, DRAWS * 7.6 / 25, "invert", 0);
    expect_count(shear, DRAWS * 2.7 / 25, "shear", 0);
    cr_expect(nothing > 0 && nothing < DRAWS);
}

Test(augment_draws, aug_mix_draws_shares_and_chains) {
    int depths[4] = {0};
    double first = 0, second = 0;
    draw("aug_mix", "", 4, 4, drawn);
    expect_uniform(0, 0, 1, "the share of the picture");
    for (int i = 0; i < DRAWS; i++) {
        const double *const p = drawn[i];
        cr_assert_float_eq(p[0] + p[1] + p[2] + p[3], 1, 1e-6);
        for (int chain = 0; chain < 3; chain++) {
            int n = 0;
            for (int k = 0; k < 3; k++) {
                const double x = p[4 + 3 * chain + k];
                cr_assert(x == 0 || choice_of(x, 10).bin < 3, "stronger than severity");
                cr_assert(x == 0 || n == k, "a gap in a chain");
                n += x != 0;
            }
            depths[n]++;
        }
        first += p[1];
        second += p[2];
    }
    for (int k = 1; k < 4; k++) expect_count(depths[k], DRAWS, "depth", k);
    cr_expect_eq(depths[0], 0);
    cr_expect_float_eq(first / DRAWS, 1.0 / 6, 0.01);
    cr_expect_float_eq(second / DRAWS, 1.0 / 6, 0.01);
}

Test(augment_draws, affine_perspective_and_chance) {
    draw("random_affine", "degrees=20 translate=0.25,0.5 scale=0.5,2 shear=-3,7,1,9", 100, 60, drawn);
    expect_uniform(0, -20, 20, "degrees");
    expect_uniform(3, 0.5, 2, "scale");
    expect_uniform(4, -3, 7, "shear along x");
    expect_uniform(5, 1, 9, "shear along y");
    for (int i = 0; i < DRAWS; i++)
        cr_assert(fabs(drawn[i][1]) <= 15 && fabs(drawn[i][2]) <= 50 && drawn[i][1] == rint(drawn[i][1]));
    cr_expect_float_eq(mean_of(1), 0, 5 * 8.7 / sqrt(DRAWS));
    draw("random_perspective", "distortion_scale=0.5 p=0.3", 100, 60, drawn);
    cr_expect_float_eq(mean_of(0), 0.3, 0.02);
    for (int i = 0; i < DRAWS; i++) {
        const double *const p = drawn[i];
        if (p[0] == 0) continue;
        cr_assert(p[1] >= 0 && p[1] <= 15 && p[2] >= 0 && p[2] <= 25, "top left");
        cr_assert(p[5] >= 44 && p[5] <= 59 && p[6] >= 74 && p[6] <= 99, "bottom right");
    }
    draw("gaussian_blur", "3 sigma=0.5,1.5", 4, 4, drawn);
    expect_uniform(0, 0.5, 1.5, "sigma");
    static const char *const chances[] = {"random_invert", "random_autocontrast", "random_equalize",
                                          "random_grayscale"};
    for (size_t i = 0; i < 4; i++) {
        draw(chances[i], "", 4, 4, drawn);
        cr_expect_float_eq(mean_of(0), i == 3 ? 0.1 : 0.5, 0.02, "%s", chances[i]);
    }
    draw("random_posterize", "4 0.2", 4, 4, drawn);
    cr_expect_float_eq(mean_of(0), 0.2, 0.02);
}

/* Settings that mean nothing are refused. */
Test(augment_draws, refusals) {
    static const char *const bad[][2] = {{"random_affine", "degrees=-1"},
                                         {"random_affine", "0 translate=0.1"},
                                         {"random_affine", "0 translate=0.1,2"},
                                         {"random_affine", "0 scale=0,1"},
                                         {"random_affine", "0 shear=1,2,3"},
                                         {"random_affine", "0 shear=1,2,4,3"},
                                         {"random_affine", "0 center=3"},
                                         {"random_affine", "0 fill="},
                                         {"random_posterize", "9"},
                                         {"random_solarize", "-1"},
                                         {"gaussian_blur", "4"},
                                         {"gaussian_blur", "3 sigma=0"},
                                         {"gaussian_blur", "3 sigma=2,1"},
                                         {"elastic_transform", "sigma=1,0"},
                                         {"rand_augment", "magnitude=31"},
                                         {"rand_augment", "num_magnitude_bins=1"},
                                         {"auto_augment", "policy=mnist"},
                                         {"aug_mix", "alpha=0"},
                                         {"aug_mix", "mixture_width=8 chain_depth=4"},
                                         {"aug_mix", "severity=11"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cvr_error err = CVR_ERROR_INIT;
        void *const attrs = settings_of(transform(bad[i][0]), bad[i][1], &err);
        cr_expect_null(attrs, "%s = %s is taken", bad[i][0], bad[i][1]);
        cvr_free(attrs);
    }
}

Test(augment_draws, cutmix_box_and_lambda_agree) {
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
