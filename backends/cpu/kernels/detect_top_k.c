/*
 * top_k on the CPU (see <cvr/plugin/ops/detect.h>). Every span of a picture's numbers selects its own k largest; of
 * what is left of all spans the k largest are selected and sorted. Selecting is O(n), so only k keys are ever sorted.
 */
#include "detect_keys.h"

#include <cvr/plugin/ops/detect_math.h>

#define SPAN 16384

typedef struct top_job {
    const cvr_kernel_args *a;
    const cvr_top_k_attrs *attrs;
    int64_t columns, spans;
    int64_t room;    /* keys that a span may leave */
    uint64_t *keys;  /* (N, spans, room) */
    uint64_t *other; /* (N, k) */
    int64_t *left;   /* (N, spans): keys that a span left */
    uint64_t *own;   /* (workers, SPAN) */
} top_job;

static int64_t keys_of(const float *x, int64_t n, int64_t first, const cvr_top_k_attrs *attrs, uint64_t *keys) {
    const float threshold = (float)attrs->threshold;
    int64_t found = 0;
    for (int64_t i = 0; i < n; i++) {
        keys[found] = cvr_score_key(x[i], (uint32_t)(first + i));
        found += !attrs->above || x[i] > threshold;
    }
    return found;
}

/* Most numbers of a detector are below the threshold: whether a few of them all are, without a look at each. */
static int any_above(const float *x, int64_t n, float threshold) {
    int32_t any = 0;
    for (int64_t i = 0; i < n; i++) any |= x[i] > threshold;
    return any;
}

static void span_task(void *ctx, uint64_t task, uint32_t worker) {
    const top_job *job = ctx;
    const int64_t picture = (int64_t)task / job->spans, first = (int64_t)task % job->spans * SPAN;
    const int64_t n = cpu_min(SPAN, job->columns - first);
    const float *x = (const float *)job->a->inputs[0]->data + picture * job->columns + first;
    uint64_t *own = job->own + (int64_t)worker * SPAN;
    int64_t found = 0;
    if (!job->attrs->above || any_above(x, n, (float)job->attrs->threshold))
        found = cpu_keys_select(own, keys_of(x, n, first, job->attrs, own), job->attrs->k);
    memcpy(job->keys + (int64_t)task * job->room, own, (size_t)found * sizeof *own);
    job->left[task] = found;
}

static void merge_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const top_job *job = ctx;
    const int64_t picture = (int64_t)task, k = job->attrs->k;
    const float *x = (const float *)job->a->inputs[0]->data + picture * job->columns;
    float *values = (float *)job->a->outputs[0]->data + picture * k;
    int32_t *index = (int32_t *)job->a->outputs[1]->data + picture * k;
    uint64_t *keys = job->keys + picture * job->spans * job->room;
    int64_t found = 0;
    for (int64_t s = 0; s < job->spans; s++) {
        const int64_t n = job->left[picture * job->spans + s];
        memmove(keys + found, keys + s * job->room, (size_t)n * sizeof *keys);
        found += n;
    }
    found = cpu_keys_select(keys, found, k);
    cpu_keys_sort(keys, job->other + picture * k, found);
    for (int64_t i = 0; i < k; i++) {
        index[i] = i < found ? (int32_t)cvr_score_key_row(keys[i]) : -1;
        values[i] = i < found ? x[index[i]] : 0;
    }
    ((int32_t *)job->a->outputs[2]->data)[picture] = (int32_t)found;
}

static top_job top_open(const cvr_tensor *x, const cvr_top_k_attrs *attrs) {
    top_job job = {.attrs = attrs, .columns = x->shape[1], .spans = cpu_ceil_div(x->shape[1], SPAN)};
    job.room = cpu_min(cpu_min(SPAN, x->shape[1]), attrs->k);
    return job;
}

static int32_t top_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t pictures = a->inputs[0]->shape[0];
    top_job job = top_open(a->inputs[0], a->attrs);
    (void)err;
    job.a = a;
    job.keys = a->workspace;
    job.other = job.keys + pictures * job.spans * job.room;
    job.left = (int64_t *)(job.other + pictures * job.attrs->k);
    job.own = (uint64_t *)(job.left + pictures * job.spans);
    cpu_run(a->pool, pictures * job.spans, span_task, &job);
    cpu_run(a->pool, pictures, merge_task, &job);
    return CVR_OK;
}

static uint64_t top_workspace(const cvr_signature *sig) {
    const uint64_t pictures = (uint64_t)sig->inputs[0]->shape[0];
    const top_job job = top_open(sig->inputs[0], sig->attrs);
    const uint64_t picture = (uint64_t)(job.spans * (job.room + 1) + job.attrs->k);
    return (pictures * picture + (uint64_t)sig->n_workers * SPAN) * sizeof(uint64_t);
}

static const cpu_kernel kernels[] = {
    {"top_k", top_run, top_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_detect_top_k_kernels = {kernels, sizeof kernels / sizeof *kernels};
