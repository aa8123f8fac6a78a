/*
 * What layers must refuse, with a message that says what and why: shapes that do not fit when they are built, labels
 * that are no class when they run. And what the golden files cannot hold: the share that dropout drops.
 */
#include "layer_case.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

typedef struct refusal {
    const char *layer, *settings;
    uint32_t n_inputs;
    uint32_t rank[2];
    int64_t shape[2][4];
    const char *says; /* a part of the message */
} refusal;

static const refusal refusals[] = {
    {"batch_norm2d", "", 1, {4}, {{1, 3, 1, 1}}, "more than one value per channel"},
    {"batch_norm2d", "", 1, {2}, {{4, 3}}, "must have 4"},
    {"layer_norm", "5", 1, {2}, {{4, 3}}, "wants 5"},
    {"layer_norm", "2,4,3", 1, {2}, {{4, 3}}, "normalized_shape has 3"},
    {"group_norm", "4", 1, {4}, {{1, 6, 2, 2}}, "4 groups do not divide"},
    {"group_norm", "0", 1, {4}, {{1, 6, 2, 2}}, "num_groups"},
    {"softmax", "2", 1, {2}, {{4, 3}}, "dim 2"},
    {"softmax", "", 1, {2}, {{4, 3}}, "dim"},
    {"flatten", "2 1", 1, {4}, {{1, 2, 3, 4}}, "comes after"},
    {"flatten", "1 7", 1, {4}, {{1, 2, 3, 4}}, "dim 7"},
    {"reshape", "5,-1", 1, {2}, {{4, 3}}, "12 elements do not fit"},
    {"reshape", "-1,-1", 1, {2}, {{4, 3}}, "only one"},
    {"reshape", "4,4", 1, {2}, {{4, 3}}, "16 elements for an input of 12"},
    {"permute", "0,0", 1, {2}, {{4, 3}}, "stands twice"},
    {"permute", "0,1,2", 1, {2}, {{4, 3}}, "3 dims"},
    {"concat", "1", 2, {2, 2}, {{4, 3}, {5, 3}}, "input 1 differs"},
    {"slice", "3", 1, {2}, {{4, 3}}, "dim 3"},
    {"slice", "0 step=0", 1, {2}, {{4, 3}}, "step"},
    {"add", "", 2, {2, 2}, {{4, 3}, {4, 2}}, "do not broadcast"},
    {"mul", "", 2, {4, 2}, {{1, 2, 3, 4}, {2, 4}}, "do not broadcast"},
    {"sum", "2", 1, {2}, {{4, 3}}, "dim"},
    {"mean", "0,0", 1, {2}, {{4, 3}}, "stands twice"},
    {"dropout", "1.5", 1, {2}, {{4, 3}}, "p"},
    {"dropout2d", "0.5", 1, {2}, {{4, 3}}, "dropout2d takes (N,C,H,W)"},
    {"mse", "", 2, {2, 2}, {{4, 3}, {3, 4}}, "one shape"},
    {"cross_entropy", "", 2, {2, 2}, {{4, 3}, {4, 2}}, "target"},
    {"dice", "", 2, {4, 4}, {{2, 3, 4, 4}, {2, 3, 4, 4}}, "target must be i64"},
    {"tversky", "gamma=0", 2, {4, 4}, {{2, 3, 4, 4}, {2, 4, 4}}, "gamma"},
    {"sigmoid_focal", "alpha=2", 2, {4, 4}, {{2, 3, 4, 4}, {2, 4, 4}}, "alpha"},
};

static void open_machine(case_machine *m, const char *backend) {
    cvr_error err;
    cvr_error_init(&err);
    cr_assert_eq(machine_open(m, backend, NULL, 2, &err), CVR_OK, "%s: %s", backend, err.message);
}

static void set_input(layer_case *c, uint32_t dtype, uint32_t rank, const int64_t *shape) {
    cvr_type type;
    cvr_type_set(&type, dtype, rank, shape);
    cr_assert(case_tensor_set(&c->inputs[c->n_inputs++], "in", &type, NULL));
}

Test(refusals, shapes) {
    case_machine m;
    open_machine(&m, "reference");
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const refusal *r = &refusals[i];
        layer_case c = {.training = true};
        case_result result;
        cvr_error err;
        cvr_error_init(&err);
        (void)snprintf(c.layer, sizeof c.layer, "%s", r->layer);
        (void)snprintf(c.settings, sizeof c.settings, "%s", r->settings);
        for (uint32_t k = 0; k < r->n_inputs; k++) set_input(&c, CVR_F32, r->rank[k], r->shape[k]);
        const int32_t status = case_result_of(&m, &c, &result, &err);
        cr_expect_neq(status, CVR_OK, "%s %s was taken", r->layer, r->settings);
        cr_expect_not_null(strstr(err.message, r->says), "%s %s: the message is: %s", r->layer, r->settings,
                           err.message);
        case_result_clear(&result);
        layer_case_clear(&c);
    }
    machine_close(&m);
}

/* Labels are data: a wrong one is told when it comes, and no score outside of the row is looked at. */
static void check_label(const case_machine *m, int64_t label, bool backward) {
    const int64_t shapes[2][2] = {{6, 5}, {6}};
    layer_case c = {.training = true, .backward = backward, .layer = "cross_entropy"};
    case_result result;
    cvr_error err;
    char says[64];
    cvr_error_init(&err);
    set_input(&c, CVR_F32, 2, shapes[0]);
    set_input(&c, CVR_I64, 1, shapes[1]);
    ((int64_t *)c.inputs[1].data)[4] = label;
    const int32_t status = case_result_of(m, &c, &result, &err);
    cr_expect_eq(status, CVR_ERR_INVALID, "%s: label %d of 5 was taken", m->label, (int)label);
    (void)snprintf(says, sizeof says, "target %lld at position 4", (long long)label);
    cr_expect_not_null(strstr(err.message, says), "%s: the message is: %s", m->label, err.message);
    cr_expect_not_null(strstr(err.message, "5 classes"), "%s: the message is: %s", m->label, err.message);
    case_result_clear(&result);
    layer_case_clear(&c);
}

Test(refusals, labels) {
    static const char *const backends[] = {"reference", "cpu"};
    static const int64_t labels[] = {5, -1, -99, INT64_MAX, INT64_MIN};
    for (size_t b = 0; b < 2; b++) {
        case_machine m;
        open_machine(&m, backends[b]);
        for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) check_label(&m, labels[i], i % 2 == 0);
        machine_close(&m);
    }
}

/* Numbers of rows may come from a file: one that the table lacks is told, and no memory outside of it is looked at. */
static void check_row(const case_machine *m, int64_t row) {
    const int64_t shapes[2][2] = {{4, 3}, {6}};
    layer_case c = {.training = true, .backward = true, .layer = "take_rows"};
    case_result result;
    cvr_error err;
    char says[64];
    cvr_error_init(&err);
    set_input(&c, CVR_F32, 2, shapes[0]);
    set_input(&c, CVR_I64, 1, shapes[1]);
    ((int64_t *)c.inputs[1].data)[5] = row;
    cr_expect_eq(case_result_of(m, &c, &result, &err), CVR_ERR_INVALID, "%s: row %lld", m->label, (long long)row);
    (void)snprintf(says, sizeof says, "row %lld of a table that has 4", (long long)row);
    cr_expect_not_null(strstr(err.message, says), "%s: the message is: %s", m->label, err.message);
    case_result_clear(&result);
    layer_case_clear(&c);
}

Test(refusals, rows) {
    static const char *const backends[] = {"reference", "cpu"};
    static const int64_t rows[] = {4, -1, INT64_MAX, INT64_MIN};
    for (size_t b = 0; b < 2; b++) {
        case_machine m;
        open_machine(&m, backends[b]);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check_row(&m, rows[i]);
        machine_close(&m);
    }
}

/* A channel is 0 as a whole or x / (1 - p) as a whole; their share is p, give or take five standard deviations. */
Test(dropout, whole_channels) {
    const int64_t channels = 3000, shape[4] = {4, channels, 2, 3}, n = 4 * channels;
    const double p = 0.3;
    case_machine m;
    layer_case c = {.training = true, .layer = "dropout2d", .settings = "0.3"};
    case_result result;
    cvr_error err;
    int64_t zeros = 0;
    cvr_error_init(&err);
    open_machine(&m, "cpu");
    set_input(&c, CVR_F32, 4, shape);
    for (int64_t i = 0; i < 6 * n; i++) ((float *)c.inputs[0].data)[i] = 1;
    cr_assert_eq(case_result_of(&m, &c, &result, &err), CVR_OK, "%s", err.message);
    const float *y = case_result_find(&result, "out0")->data; /* in logical order */
    for (int64_t i = 0; i < n; i++) {
        zeros += y[6 * i] == 0;
        cr_assert(y[6 * i] == 0 || fabs(y[6 * i] * (1 - p) - 1) < 1e-6, "%g", (double)y[6 * i]);
        for (int k = 1; k < 6; k++) cr_assert_eq(y[6 * i + k], y[6 * i], "channel %d is torn", (int)i);
    }
    const double expected = (double)n * p;
    cr_expect_leq(fabs((double)zeros - expected), 5 * sqrt(expected * (1 - p)), "%d of %d", (int)zeros, (int)n);
    case_result_clear(&result);
    layer_case_clear(&c);
    machine_close(&m);
}

/* Of n elements, n * p are 0, give or take five standard deviations; the others are x / (1 - p). */
Test(dropout, share) {
    const int64_t n = 200000, shape[1] = {n};
    const double p = 0.3, deviation = sqrt((double)n * p * (1 - p));
    case_machine m;
    layer_case c = {.training = true, .layer = "dropout", .settings = "0.3"};
    case_result result;
    cvr_error err;
    int64_t zeros = 0;
    cvr_error_init(&err);
    open_machine(&m, "cpu");
    set_input(&c, CVR_F32, 1, shape);
    for (int64_t i = 0; i < n; i++) ((float *)c.inputs[0].data)[i] = 1;
    cr_assert_eq(case_result_of(&m, &c, &result, &err), CVR_OK, "%s", err.message);
    const float *y = case_result_find(&result, "out0")->data;
    for (int64_t i = 0; i < n; i++) {
        zeros += y[i] == 0;
        cr_assert(y[i] == 0 || fabs(y[i] * (1 - p) - 1) < 1e-6, "element %d became %g", (int)i, (double)y[i]);
    }
    cr_expect_leq(fabs((double)zeros - (double)n * p), 5 * deviation, "%d of %d were dropped", (int)zeros, (int)n);
    case_result_clear(&result);
    layer_case_clear(&c);
    machine_close(&m);
}
