/*
 * From what a detector's heads say to its results, on the CPU (see <cvr/plugin/ops/detections.h>). Scores are many and
 * are cut into blocks of rows, (N*A) of K numbers that lie side by side; indices are few, so that one core is enough.
 * No workspace.
 */
#include "cpu_loops.h"
#include "cpu_math.h"

#include <cvr/plugin/ops/detections.h>

static int32_t split_run(const cvr_kernel_args *a, cvr_error *err) {
    const int32_t columns = (int32_t)cpu_min(((const cvr_split_index_attrs *)a->attrs)->columns, INT32_MAX);
    const int32_t *at = a->inputs[0]->data;
    int32_t *row = a->outputs[0]->data, *column = a->outputs[1]->data;
    (void)err;
    for (int64_t i = 0; i < cpu_numel(a->inputs[0]); i++) {
        row[i] = at[i] < 0 ? -1 : at[i] / columns;
        column[i] = at[i] < 0 ? -1 : at[i] % columns;
    }
    return CVR_OK;
}

static int32_t pick_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *group = a->inputs[0], *index = a->n_inputs > 1 ? a->inputs[1] : NULL;
    const int64_t rows = group->shape[1], each = a->outputs[0]->shape[1];
    int64_t *label = a->outputs[0]->data;
    for (int64_t n = 0; n < group->shape[0]; n++) {
        const int32_t *of = (const int32_t *)group->data + n * rows;
        for (int64_t i = 0; i < each; i++) {
            const int64_t at = index ? ((const int32_t *)index->data)[n * each + i] : i;
            if (at >= rows)
                return cvr_fail(err, CVR_ERR_INVALID, "pick_labels: row %lld of %lld", (long long)at, (long long)rows);
            label[n * each + i] = at < 0 || of[at] < 0 ? -1 : of[at];
        }
    }
    return CVR_OK;
}

typedef struct joint_job {
    const float *x, *y;
    float *score;
    int64_t rows, columns, block;
} joint_job;

static void joint_task(void *ctx, uint64_t task, uint32_t worker) {
    const joint_job *j = ctx;
    const int64_t first = (int64_t)task * j->block, end = cpu_min(first + j->block, j->rows);
    (void)worker;
    for (int64_t r = first; r < end; r++) {
        const float factor = cpu_sigmoid(j->y[r]), *x = j->x + r * j->columns;
        float *score = j->score + r * j->columns;
        CPU_INDEPENDENT
        for (int64_t i = 0; i < j->columns; i++) score[i] = sqrtf(cpu_sigmoid(x[i]) * factor);
    }
}

static int32_t joint_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    joint_job j = {.x = x->data,
                   .y = a->inputs[1]->data,
                   .score = a->outputs[0]->data,
                   .rows = x->shape[0] * x->shape[1],
                   .columns = x->shape[2]};
    (void)err;
    j.block = cpu_max(CPU_SPAN / cpu_max(j.columns, 1), 1);
    if (cpu_numel(x) > 0) cpu_run(a->pool, cpu_ceil_div(j.rows, j.block), joint_task, &j);
    return CVR_OK;
}

typedef struct best_job {
    const float *x, *y;
    float *score;
    int32_t *class_;
    int64_t rows, columns, block;
} best_job;

static void best_task(void *ctx, uint64_t task, uint32_t worker) {
    const best_job *j = ctx;
    const int64_t first = (int64_t)task * j->block, end = cpu_min(first + j->block, j->rows);
    (void)worker;
    for (int64_t r = first; r < end; r++) {
        const float *x = j->x + r * j->columns;
        const int32_t best = cvr_best_column(x, j->columns);
        j->class_[r] = best;
        j->score[r] = cpu_sigmoid(x[best]) * cpu_sigmoid(j->y[r]);
    }
}

static int32_t best_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    best_job j = {.x = x->data,
                  .y = a->inputs[1]->data,
                  .score = a->outputs[0]->data,
                  .class_ = a->outputs[1]->data,
                  .rows = x->shape[0] * x->shape[1],
                  .columns = x->shape[2]};
    (void)err;
    j.block = cpu_max(CPU_SPAN / cpu_max(j.columns, 1), 1);
    if (cpu_numel(x) > 0) cpu_run(a->pool, cpu_ceil_div(j.rows, j.block), best_task, &j);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"split_index", split_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"pick_labels", pick_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"joint_score", joint_run, NULL, NULL, 1, CPU_KERNEL_FLAGS, NULL},
    {"best_class", best_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_detections_kernels = {kernels, sizeof kernels / sizeof *kernels};
