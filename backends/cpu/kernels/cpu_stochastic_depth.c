/*
 * stochastic_depth on the CPU (see <cvr/plugin/ops/stochastic_depth.h>): y = x * scale, where the scale of a sample is
 * 0 or 1 / (1 - p), drawn from (seed, layer, step, sample). Spans of a sample's elements are tasks. A dropped sample is
 * set to zero without reading x.
 */
#include "cpu_rows.h"

#include <cvr/plugin/ops/stochastic_depth.h>

typedef struct depth_job {
    const cvr_stochastic_depth_attrs *attrs;
    const void *x;
    void *y;
    int bf16;
    int64_t n, spans; /* elements and spans of a sample */
    int64_t seed, step;
} depth_job;

static void depth_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const depth_job *job = ctx;
    const int64_t sample = (int64_t)task / job->spans, first = (int64_t)task % job->spans * CPU_SPAN;
    const int64_t n = cpu_min(CPU_SPAN, job->n - first);
    const float scale = cvr_stochastic_depth_scale(job->attrs, job->seed, job->step, sample);
    const int64_t start = sample * job->n + first, most = job->bf16 ? CPU_ROW : CPU_SPAN;
    float buffers[2][CPU_ROW];
    if (scale == 0) {
        const size_t size = job->bf16 ? sizeof(uint16_t) : sizeof(float);
        memset((char *)job->y + (size_t)start * size, 0, (size_t)n * size);
        return;
    }
    for (int64_t at = start; at < start + n; at += most) {
        const int64_t row = cpu_min(most, start + n - at);
        const float *x = cpu_row_read(job->x, job->bf16, at, row, buffers[0]);
        float *y = cpu_row_space(job->y, job->bf16, at, buffers[1]);
        CPU_INDEPENDENT
        for (int64_t k = 0; k < row; k++) y[k] = x[k] * scale;
        cpu_row_store(job->y, job->bf16, at, row, y);
    }
}

static int32_t depth_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const int64_t samples = a->inputs[0]->shape[0];
    depth_job job = {.attrs = a->attrs, .x = a->inputs[0]->data, .y = a->outputs[0]->data};
    job.bf16 = a->inputs[0]->dtype == CVR_BF16;
    job.n = samples ? cpu_numel(a->inputs[0]) / samples : 0;
    job.spans = cpu_spans(job.n);
    memcpy(&job.seed, a->inputs[1]->data, sizeof job.seed);
    memcpy(&job.step, a->inputs[2]->data, sizeof job.step);
    cpu_run(a->pool, samples * job.spans, depth_task, &job);
    return CVR_OK;
}

static int32_t scale_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_stochastic_depth_scale_attrs *attrs = a->attrs;
    int64_t seed, step;
    (void)err;
    memcpy(&seed, a->inputs[0]->data, sizeof seed);
    memcpy(&step, a->inputs[1]->data, sizeof step);
    for (int64_t i = 0; i < attrs->samples; i++)
        ((float *)a->outputs[0]->data)[i] = cvr_stochastic_depth_scale(&attrs->depth, seed, step, i);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"stochastic_depth", depth_run, NULL, NULL, 1, CPU_KERNEL_FLAGS | CVR_KERNEL_BF16, NULL},
    {"stochastic_depth_scale", scale_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_stochastic_depth_kernels = {kernels, sizeof kernels / sizeof *kernels};
