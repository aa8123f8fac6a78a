/* The task "segment": exact metrics from small confusion matrices, pixels that do not count, and what it refuses. */
#include <criterion/criterion.h>
#include <cvr/session.h>

static cvr_error err;

typedef struct results {
    double pixel_accuracy, miou;
} results;

static void keep(void *ctx, const char *name, double value) {
    results *r = ctx;
    if (strcmp(name, "pixel_accuracy") == 0) r->pixel_accuracy = value;
    if (strcmp(name, "miou") == 0) r->miou = value;
}

typedef struct segment {
    cvr_plugins *plugins;
    const cvr_task_desc *task;
    cvr_task_info info;
    void *metrics;
} segment;

static void open_segment(segment *s, int64_t n_classes) {
    static const char *const names[] = {"sky", "\"sea\"", "land"};
    const void *desc;
    cvr_error_init(&err);
    cr_assert_eq(cvr_plugins_open(&s->plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_plugins_find(s->plugins, CVR_KIND_TASK, "segment", &desc, &err), CVR_OK, "%s", err.message);
    s->task = desc;
    s->info = (cvr_task_info){sizeof s->info, cvr_plugins_host(s->plugins), NULL, n_classes, names};
    cr_assert_eq(s->task->metrics_open(&s->info, &s->metrics, &err), CVR_OK, "%s", err.message);
}

static void close_segment(segment *s) {
    s->task->metrics_close(s->metrics);
    cvr_plugins_close(&s->plugins);
}

/* One picture of 2 x 3 pixels with 3 classes: logits (N,H,W,C) in memory. */
static int32_t update(segment *s, const float *logits, const int64_t *mask) {
    const cvr_tensor output = {sizeof output, CVR_F32, 4, {1, 3, 2, 3, 1, 1}, {0}, 3, (void *)(uintptr_t)logits};
    const cvr_tensor target = {sizeof target, CVR_I64, 3, {1, 2, 3, 1, 1, 1}, {0}, 0, (void *)(uintptr_t)mask};
    return s->task->metrics_update(s->metrics, &output, &target, &err);
}

/* Predictions 0 1 1 / 2 0 (tie of 0 and 2: the first) */
static const float logits[18] = {5, 1, 1, 0, 2, 1, 0, 2, 1, -3, -2, -1, 4, 1, 4, 9, 1, 1};

Test(segment, metrics) {
    segment s;
    results r;
    static const int64_t mask[6] = {0, 1, 0, 2, 255, 0}, other[6] = {255, 255, 255, 255, 255, 255};
    open_segment(&s, 3);
    cr_assert_eq(update(&s, logits, mask), CVR_OK, "%s", err.message);
    cr_assert_eq(update(&s, logits, other), CVR_OK, "%s", err.message);
    s.task->metrics_result(s.metrics, keep, &r);
    /* class 0: right 2 of truth 3, predicted 2; class 1: right 1, truth 1, predicted 2; class 2: right 1 of 1 */
    cr_assert_float_eq(r.pixel_accuracy, 4.0 / 5, 1e-12);
    cr_assert_float_eq(r.miou, (2.0 / 3 + 1.0 / 2 + 1) / 3, 1e-12);
    static const uint64_t matrix[9] = {2, 1, 0, 0, 1, 0, 0, 0, 1};
    cr_assert_arr_eq(s.task->metrics_matrix(s.metrics), matrix, sizeof matrix);
    close_segment(&s);
}

/* A class that is nowhere does not count; without any pixel everything is 0. */
Test(segment, absent_classes) {
    segment s;
    results r;
    static const int64_t mask[6] = {0, 255, 255, 255, 0, 0};
    open_segment(&s, 3);
    s.task->metrics_result(s.metrics, keep, &r);
    cr_assert_eq(r.pixel_accuracy, 0);
    cr_assert_eq(r.miou, 0);
    cr_assert_eq(update(&s, logits, mask), CVR_OK, "%s", err.message);
    s.task->metrics_result(s.metrics, keep, &r);
    cr_assert_eq(r.pixel_accuracy, 1);
    cr_assert_eq(r.miou, 1);
    close_segment(&s);
}

Test(segment, refuses) {
    segment s;
    cvr_type output, target;
    static const int64_t mask[6] = {0, 1, 3, 2, 255, 0}, shape[4] = {2, 3, 8, 10}, wrong[4] = {2, 4, 8, 10};
    open_segment(&s, 3);
    cr_assert_eq(update(&s, logits, mask), CVR_ERR_INVALID);
    cr_assert(strstr(err.message, "class 3"), "%s", err.message);
    cvr_type_set(&output, CVR_F32, 4, shape);
    cr_assert_eq(s.task->target(&s.info, &output, &target, &err), CVR_OK, "%s", err.message);
    cr_assert(target.rank == 3 && target.dtype == CVR_I64 && target.shape[1] == 8 && target.shape[2] == 10);
    cvr_type_set(&output, CVR_F32, 4, wrong);
    cr_assert_eq(s.task->target(&s.info, &output, &target, &err), CVR_ERR_INVALID);
    cvr_type_set(&output, CVR_F32, 2, shape);
    cr_assert_eq(s.task->target(&s.info, &output, &target, &err), CVR_ERR_INVALID);
    close_segment(&s);
}
