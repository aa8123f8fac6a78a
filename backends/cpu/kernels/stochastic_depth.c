/* stochastic_depth on the CPU (see <cvr/plugin/ops/stochastic_depth.h>): spans of a sample's elements are tasks. */
#include "cpu_loops.h"

#include <cvr/plugin/ops/stochastic_depth.h>

typedef struct depth_job {
    const cvr_stochastic_depth_attrs *attrs;
    const float *x;
    float *y;
    int64_t n, spans; /* elements and spans of a sample */
    int64_t seed, step;
} depth_job;

static void depth_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const depth_job *job = ctx;
    const int64_t sample = (int64_t)task / job->spans, first = (int64_t)task % job->spans * CPU_SPAN;
    const int64_t n = cpu_min(CPU_SPAN, job->n - first);
    const float scale = cvr_stochastic_depth_scale(job->attrs, job->seed, job->step, sample);
    const float *x = job->x + sample * job->n + first;
    float *y = job->y + sample * job->n + first;
    if (scale == 0) {
        memset(y, 0, (size_t)n * sizeof *y);
        return;
    }
    CPU_INDEPENDENT
    for (int64_t k = 0; k < n; k++) y[k] = x[k] * scale;
}

static int32_t depth_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const int64_t samples = a->inputs[0]->shape[0];
    depth_job job = {.attrs = a->attrs, .x = a->inputs[0]->data, .y = a->outputs[0]->data};
    job.n = samples ? cpu_numel(a->inputs[0]) / samples : 0;
    job.spans = cpu_spans(job.n);
    memcpy(&job.seed, a->inputs[1]->data, sizeof job.seed);
    memcpy(&job.step, a->inputs[2]->data, sizeof job.step);
    cpu_run(a->pool, samples * job.spans, depth_task, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"stochastic_depth", depth_run, NULL, NULL, 1, CPU_KERNEL_FLAGS, 1},
};
const cpu_kernel_table cpu_stochastic_depth_kernels = {kernels, sizeof kernels / sizeof *kernels};
