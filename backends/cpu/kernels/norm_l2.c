/*
 * l2_norm2d on the CPU (see <cvr/plugin/ops/norm.h>): the channels of a pixel, which lie side by side, divided by their
 * length, and the gradient of that. Blocks of pixels are tasks; a pixel's passes find it in the cache.
 */
#include "cpu_loops.h"

#include <cvr/plugin/ops/norm.h>
#include <math.h>

typedef struct l2_job {
    const float *x, *grad;
    float *y;
    int64_t channels, pixels, block;
    double eps;
} l2_job;

/* y = x / max(|x|, eps) */
static void forward_task(void *ctx, uint64_t task, uint32_t worker) {
    const l2_job *j = ctx;
    const int64_t first = (int64_t)task * j->block, end = cpu_min(first + j->block, j->pixels), n = j->channels;
    (void)worker;
    for (int64_t p = first; p < end; p++) {
        const float *x = j->x + p * n;
        float *y = j->y + p * n;
        const float length = (float)fmax(sqrt(cpu_dot(x, x, n)), j->eps);
        CPU_INDEPENDENT
        for (int64_t c = 0; c < n; c++) y[c] = x[c] / length;
    }
}

/* dx = (grad - x * (sum of grad * x) / |x|^2) / |x|; grad / eps where |x| <= eps */
static void backward_task(void *ctx, uint64_t task, uint32_t worker) {
    const l2_job *j = ctx;
    const int64_t first = (int64_t)task * j->block, end = cpu_min(first + j->block, j->pixels), n = j->channels;
    (void)worker;
    for (int64_t p = first; p < end; p++) {
        const float *x = j->x + p * n, *grad = j->grad + p * n;
        float *dx = j->y + p * n;
        const double length = sqrt(cpu_dot(x, x, n));
        const float scale = (float)(1 / fmax(length, j->eps));
        const float share = length > j->eps ? (float)(cpu_dot(grad, x, n) / (length * length)) : 0;
        CPU_INDEPENDENT
        for (int64_t c = 0; c < n; c++) dx[c] = (grad[c] - x[c] * share) * scale;
    }
}

static void run(const cvr_kernel_args *a, cvr_task_fn task) {
    const cvr_tensor *x = a->inputs[0];
    l2_job j = {.x = x->data,
                .grad = cpu_floats(a, 1),
                .y = a->outputs[0]->data,
                .channels = x->shape[1],
                .pixels = x->shape[0] * x->shape[2] * x->shape[3],
                .eps = ((const cvr_l2_norm2d_attrs *)a->attrs)->eps};
    j.block = cpu_max(CPU_SPAN / cpu_max(j.channels, 1), 1);
    if (cpu_numel(x) > 0) cpu_run(a->pool, cpu_ceil_div(j.pixels, j.block), task, &j);
}

static int32_t forward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    run(a, forward_task);
    return CVR_OK;
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    run(a, backward_task);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"l2_norm2d", forward_run, NULL, NULL, 1, CPU_KERNEL_FLAGS, NULL},
    {"l2_norm2d_backward", backward_run, NULL, NULL, 2, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_norm_l2_kernels = {kernels, sizeof kernels / sizeof *kernels};
