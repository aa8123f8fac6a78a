/*
 * Which pictures an epoch has (train.sampler, train.repeat), by distribution and to the bit; what classes weigh
 * (train.class_weights). That pictures which stand more than once are augmented anew is batches_test's.
 */
#include "../apps/session/run_data.h"
#include "support/recipe_text.h"
#include <math.h>
#include <stdio.h>

/* What sampler.c has of settings.c: the place in the recipe, which this test has none of. */
int32_t settings_blame(const settings *s, int32_t status, cvr_error *err) {
    (void)s, (void)err;
    return status;
}

bool settings_with_boxes(const settings *s) {
    (void)s;
    return false;
}

#define PICTURES 1000
#define EPOCHS 40

/* 700 pictures of class 0, 200 of class 1, none of class 2, 100 of class 3. `self`: not NULL where classes are not
 * known.
 */
static int64_t label_of(const void *self, int64_t i) {
    if (self) return -1;
    return i % 10 < 7 ? 0 : i % 10 < 9 ? 1 : 3;
}
static int64_t count(const void *self) {
    (void)self;
    return PICTURES;
}

typedef struct run {
    train_settings train;
    data_settings data;
    run_settings run;
    settings set;
    run_data d;
} run;

static const cvr_dataset_desc dataset = {
    .struct_size = sizeof dataset, .name = "test", .count = count, .label = label_of};

static cvr_config *recipe_of_run;

static int32_t open_run(run *r, int64_t balanced, int64_t repeat, const char *weights, cvr_error *err) {
    static char known;
    memset(r, 0, sizeof *r);
    r->train = (train_settings){.sampler = balanced, .repeat = repeat, .class_weights = weights};
    r->data.shuffle = 1;
    r->run.seed = 3;
    r->set =
        (settings){.config = recipe_of_run, .dataset = &dataset, .train = &r->train, .data = &r->data, .run = &r->run};
    r->d.task.n_classes = 4;
    r->d.splits[CVR_SPLIT_TRAIN].desc = &dataset;
    if (strcmp(weights, "unknown") == 0) {
        r->d.splits[CVR_SPLIT_TRAIN].self = &known;
        r->train.class_weights = "balanced";
    }
    CVR_TRY(sampler_open(&r->d, &r->set, err));
    return sampler_class_weights(&r->d, &r->set, err);
}

/* The order of an epoch: as the core shuffles, 999 to 0 stands for it here. */
static void order_of(const run *r, int64_t epoch, int64_t n, int64_t *order) {
    cvr_batches_options o = {.batch = 1};
    sampler_options(&r->d, &r->set, &o);
    cr_assert_not_null(o.arrange);
    for (int64_t i = 0; i < n; i++) order[i] = n - 1 - i;
    o.arrange(o.sampler, epoch, n, 1, order);
}

Test(sampler, balanced_draws_classes_equally_often) {
    static int64_t order[PICTURES], again[PICTURES], drawn[PICTURES], seen[4];
    run r;
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(open_run(&r, 1, 1, "", &err), CVR_OK, "%s", err.message);
    for (int64_t e = 0; e < EPOCHS; e++) {
        order_of(&r, e, PICTURES, order);
        for (int64_t i = 0; i < PICTURES; i++) {
            cr_assert(order[i] >= 0 && order[i] < PICTURES);
            seen[label_of(NULL, order[i])]++;
            drawn[order[i]]++;
        }
    }
    const double each = EPOCHS * PICTURES / 3.0;
    for (int k = 0; k < 4; k++)
        cr_expect_float_eq((double)seen[k], k == 2 ? 0 : each, 5 * sqrt(each), "class %d: %d", k, (int)seen[k]);
    for (int k = 0; k < 4; k++) {
        const double mean = each / (k == 0 ? 700 : k == 1 ? 200 : 100);
        double chi = 0, n = 0;
        for (int64_t i = 0; i < PICTURES; i++) {
            if (label_of(NULL, i) != k) continue;
            chi += ((double)drawn[i] - mean) * ((double)drawn[i] - mean) / mean;
            n++;
        }
        cr_expect_leq(fabs(chi - n), 4 * sqrt(2 * n), "class %d: chi square %g of %g pictures", k, chi, n);
    }
    order_of(&r, EPOCHS - 1, PICTURES, again);
    cr_expect_eq(memcmp(order, again, sizeof order), 0, "an epoch is not drawn alike twice");
    order_of(&r, 0, PICTURES, again);
    cr_expect_neq(memcmp(order, again, sizeof order), 0, "two epochs are alike");
    sampler_close(&r.d);
}

Test(sampler, repeats_stand_in_a_row) {
    static int64_t order[PICTURES], once[PICTURES];
    run r;
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(open_run(&r, 0, 3, "", &err), CVR_OK, "%s", err.message);
    order_of(&r, 2, PICTURES, order);
    for (int64_t i = 0; i < PICTURES; i++) cr_assert_eq(order[i], PICTURES - 1 - i / 3);
    sampler_close(&r.d);
    cr_assert_eq(open_run(&r, 1, 1, "", &err), CVR_OK);
    order_of(&r, 2, PICTURES, once);
    sampler_close(&r.d);
    cr_assert_eq(open_run(&r, 1, 4, "", &err), CVR_OK);
    order_of(&r, 2, PICTURES, order);
    for (int64_t i = 0; i < PICTURES; i++) cr_assert_eq(order[i], once[i / 4]);
    sampler_close(&r.d);
    cr_assert_eq(open_run(&r, 0, 1, "", &err), CVR_OK);
    cvr_batches_options o = {.batch = 1};
    sampler_options(&r.d, &r.set, &o);
    cr_expect_null(o.arrange, "each picture once needs no sampler");
    sampler_close(&r.d);
}

Test(sampler, class_weights) {
    /* scikit-learn's compute_class_weight("balanced") is n / (classes * pictures of the class) */
    static const float balanced[4] = {1000.0f / (4 * 700), 1000.0f / (4 * 200), 0, 1000.0f / (4 * 100)};
    static const float given[4] = {1, 0.25f, 0, 3e2f};
    static const char *const bad[] = {"1,2,3", "1,2,3,4,5", "1,2,3,-1", "1,,2,3", "heavy", "1,2,3,4,", "nan,1,1,1"};
    run r;
    cvr_error err = CVR_ERROR_INIT;
    recipe_of_run = recipe_of_text("[train]\nepochs = 1\n"); /* for the place of a bad setting */
    cr_assert_eq(open_run(&r, 0, 1, "balanced", &err), CVR_OK, "%s", err.message);
    for (int k = 0; k < 4; k++) cr_expect_float_eq(r.d.task.class_weights[k], balanced[k], 1e-7);
    sampler_close(&r.d);
    cr_assert_eq(open_run(&r, 0, 1, "1, 0.25 ,0,3e2", &err), CVR_OK, "%s", err.message);
    cr_expect_eq(memcmp(r.d.task.class_weights, given, sizeof given), 0);
    sampler_close(&r.d);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(open_run(&r, 0, 1, bad[i], &err), CVR_ERR_USAGE, "%s is taken", bad[i]);
        sampler_close(&r.d);
    }
    cr_expect_eq(open_run(&r, 0, 1, "unknown", &err), CVR_ERR_USAGE);
    cr_expect(strstr(err.message, "does not say the class"), "%s", err.message);
    sampler_close(&r.d);
    cvr_config_destroy(&recipe_of_run);
}
