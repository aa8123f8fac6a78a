/*
 * Windows of a picture, and rows of a table, on the CPU (see <cvr/plugin/ops/shape.h>). A pixel's channels lie side by
 * side in memory, so that both window ops copy runs of C elements; a task is one row of the picture or of windows.
 */
#include "cpu_loops.h"

#include <cvr/plugin/ops/shape.h>

typedef struct window_job {
    char *tokens, *picture; /* (N*Y*X,h*w,C), (N,H,W,C) */
    int64_t height, width, h, w, rows, columns, shift[2];
    size_t bytes; /* of a pixel */
} window_job;

static window_job job_of(const cvr_window_attrs *a, const cvr_tensor *tokens, const cvr_tensor *picture) {
    const int64_t height = picture->shape[2], width = picture->shape[3];
    return (window_job){.tokens = tokens->data,
                        .picture = picture->data,
                        .height = height,
                        .width = width,
                        .h = a->window[0],
                        .w = a->window[1],
                        .rows = cpu_ceil_div(height, a->window[0]),
                        .columns = cpu_ceil_div(width, a->window[1]),
                        .shift = {a->shift[0], a->shift[1]},
                        .bytes = (size_t)picture->shape[1] * cvr_dtype_size(picture->dtype)};
}

/* The token of row y and column x of sample n's picture, as it is filled up but not yet rolled. */
static char *token_of(const window_job *j, int64_t n, int64_t y, int64_t x) {
    const int64_t down = (y + j->rows * j->h - j->shift[0]) % (j->rows * j->h);
    const int64_t right = (x + j->columns * j->w - j->shift[1]) % (j->columns * j->w);
    const int64_t window = (n * j->rows + down / j->h) * j->columns + right / j->w;
    return j->tokens + (size_t)((window * j->h + down % j->h) * j->w + right % j->w) * j->bytes;
}

static char *pixel_of(const window_job *j, int64_t n, int64_t y, int64_t x) {
    return j->picture + (size_t)((n * j->height + y) * j->width + x) * j->bytes;
}

/* A row of the picture that is filled up. */
static void partition_task(void *ctx, uint64_t task, uint32_t worker) {
    const window_job *j = ctx;
    const int64_t n = (int64_t)task / (j->rows * j->h), y = (int64_t)task % (j->rows * j->h);
    (void)worker;
    for (int64_t x = 0; x < j->columns * j->w; x++) {
        if (y < j->height && x < j->width)
            memcpy(token_of(j, n, y, x), pixel_of(j, n, y, x), j->bytes);
        else
            memset(token_of(j, n, y, x), 0, j->bytes);
    }
}

static void merge_task(void *ctx, uint64_t task, uint32_t worker) {
    const window_job *j = ctx;
    const int64_t n = (int64_t)task / j->height, y = (int64_t)task % j->height;
    (void)worker;
    for (int64_t x = 0; x < j->width; x++) memcpy(pixel_of(j, n, y, x), token_of(j, n, y, x), j->bytes);
}

static int32_t partition_run(const cvr_kernel_args *a, cvr_error *err) {
    window_job j = job_of(a->attrs, a->outputs[0], a->inputs[0]);
    (void)err;
    if (cpu_numel(a->outputs[0]) > 0) cpu_run(a->pool, a->inputs[0]->shape[0] * j.rows * j.h, partition_task, &j);
    return CVR_OK;
}

static int32_t merge_run(const cvr_kernel_args *a, cvr_error *err) {
    window_job j = job_of(&((const cvr_window_merge_attrs *)a->attrs)->window, a->inputs[0], a->outputs[0]);
    (void)err;
    if (cpu_numel(a->outputs[0]) > 0) cpu_run(a->pool, a->outputs[0]->shape[0] * j.height, merge_task, &j);
    return CVR_OK;
}

/* ---- rows of a table: small, so that one core is enough ---- */

static int32_t take_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    const int64_t *index = a->inputs[1]->data, n = a->inputs[1]->shape[0];
    const size_t row = (size_t)x->shape[1] * sizeof(float);
    for (int64_t i = 0; i < n; i++) {
        CVR_TRY(cvr_check_row(index[i], x->shape[0], err));
        memcpy((char *)a->outputs[0]->data + (size_t)i * row, (const char *)x->data + (size_t)index[i] * row, row);
    }
    return CVR_OK;
}

static int32_t take_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *dx = a->outputs[0];
    const float *grad = a->inputs[0]->data;
    const int64_t *index = a->inputs[1]->data, n = a->inputs[1]->shape[0], columns = dx->shape[1];
    memset(dx->data, 0, (size_t)cpu_numel(dx) * sizeof(float));
    for (int64_t i = 0; i < n; i++) {
        CVR_TRY(cvr_check_row(index[i], dx->shape[0], err));
        float *to = (float *)dx->data + index[i] * columns;
        CPU_INDEPENDENT
        for (int64_t c = 0; c < columns; c++) to[c] += grad[i * columns + c];
    }
    return CVR_OK;
}

static int32_t one_type(const cvr_signature *sig, cvr_error *reason) {
    if (sig->inputs[0]->dtype == sig->outputs[0]->dtype) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "tensors of several element types");
}

static int32_t table_of_f32(const cvr_signature *sig, cvr_error *reason) {
    if (sig->inputs[0]->dtype == CVR_F32 && sig->inputs[1]->dtype == CVR_I64) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "a table that is not f32, or numbers that are not i64");
}

#define COPY_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)
static const cpu_kernel kernels[] = {
    {"window_partition", partition_run, NULL, one_type, 0, COPY_FLAGS, NULL},
    {"window_merge", merge_run, NULL, one_type, 0, COPY_FLAGS, NULL},
    {"take_rows", take_run, NULL, table_of_f32, 0, CPU_KERNEL_FLAGS, NULL},
    {"take_rows_backward", take_backward_run, NULL, table_of_f32, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_window_kernels = {kernels, sizeof kernels / sizeof *kernels};
