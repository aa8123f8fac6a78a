/*
 * Moving elements on the CPU (see <cvr/plugin/ops/shape.h>). Every op is a nest of loops over the logical axes that
 * copies from[sum of i_d * from_step[d]] to to[sum of i_d * to_step[d]]. cpu_nest sorts the loops so that the innermost
 * one writes consecutive memory where it can, and spreads the outer ones over the pool; a run of the innermost loop is
 * one memcpy where both steps are 1.
 */
#include "cpu_loops.h"

#include <cvr/plugin/ops/shape.h>

typedef struct copy_job {
    char *to;
    const char *from;
    int64_t to_step, from_step; /* of the innermost loop */
    size_t size;                /* bytes of an element */
} copy_job;

static void copy_32(uint32_t *to, const uint32_t *from, int64_t to_step, int64_t from_step, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i * to_step] = from[i * from_step];
}

static void copy_row(void *ctx, const int64_t at[CPU_NEST_OPERANDS], int64_t n) {
    const copy_job *job = ctx;
    char *to = job->to + at[0] * (int64_t)job->size;
    const char *from = job->from + at[1] * (int64_t)job->size;
    const int64_t size = (int64_t)job->size;
    if (job->to_step == 1 && job->from_step == 1)
        memcpy(to, from, (size_t)n * job->size);
    else if (size == 4)
        copy_32((void *)to, (const void *)from, job->to_step, job->from_step, n);
    else
        for (int64_t i = 0; i < n; i++)
            memcpy(to + i * job->to_step * size, from + i * job->from_step * size, job->size);
}

/* to[i] = from[i] for all logical indices of `shape` */
static void copy_all(const cvr_kernel_args *a, copy_job *job, uint32_t rank, const int64_t *shape,
                     const int64_t *to_step, const int64_t *from_step) {
    const int64_t *const steps[2] = {to_step, from_step};
    cpu_nest nest;
    cpu_nest_init(&nest, rank, shape, steps, 2, 0);
    job->to_step = nest.step[0][nest.n - 1];
    job->from_step = nest.step[1][nest.n - 1];
    cpu_nest_run(&nest, a->pool, copy_row, job);
}

static copy_job job_of(const cvr_kernel_args *a) {
    return (copy_job){
        .to = a->outputs[0]->data, .from = a->inputs[0]->data, .size = cvr_dtype_size(a->inputs[0]->dtype)};
}

static int32_t permute_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_permute_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    copy_job job = job_of(a);
    int64_t own[CVR_MAX_RANK], from[CVR_MAX_RANK] = {0}, to[CVR_MAX_RANK];
    cpu_steps(x->rank, x->shape, own);
    cpu_steps(y->rank, y->shape, to);
    for (uint32_t i = 0; i < y->rank; i++) from[i] = own[attrs->dims[i]];
    copy_all(a, &job, y->rank, y->shape, to, from);
    return CVR_OK;
}

/* (outer, rows, cols, inner) -> (outer, cols, rows, inner) */
static void transpose(const cvr_kernel_args *a, int64_t rows, int64_t cols) {
    const cvr_tensor *x = a->inputs[0];
    copy_job job = job_of(a);
    int64_t inner = 1;
    for (uint32_t i = 2; i < x->rank; i++) inner *= x->shape[i];
    const int64_t shape[4] = {x->shape[0], rows, cols, inner};
    const int64_t from[4] = {rows * cols * inner, cols * inner, inner, 1};
    const int64_t to[4] = {rows * cols * inner, inner, rows * inner, 1};
    copy_all(a, &job, 4, shape, to, from);
}

static int32_t to_logical_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const int64_t *order = a->inputs[0]->order;
    transpose(a, order[1] * order[2], order[0]);
    return CVR_OK;
}

static int32_t from_logical_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_unflatten_attrs *attrs = a->attrs;
    transpose(a, attrs->chw[0], attrs->chw[1] * attrs->chw[2]);
    return CVR_OK;
}

/* Copies between `part` and the elements of `whole` that it stands for on axis dim. */
static void copy_part(const cvr_kernel_args *a, const cvr_tensor *part, const cvr_tensor *whole,
                      const cvr_slice_attrs *s, int into) {
    const int64_t size = (int64_t)cvr_dtype_size(part->dtype);
    int64_t part_step[CVR_MAX_RANK], whole_step[CVR_MAX_RANK];
    cpu_steps(part->rank, part->shape, part_step);
    cpu_steps(whole->rank, whole->shape, whole_step);
    char *in_whole = (char *)whole->data + s->start * whole_step[s->dim] * size;
    whole_step[s->dim] *= s->step;
    copy_job job = {.to = into ? in_whole : part->data, .from = into ? part->data : in_whole, .size = (size_t)size};
    copy_all(a, &job, part->rank, part->shape, into ? whole_step : part_step, into ? part_step : whole_step);
}

static int32_t concat_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_concat_attrs *attrs = a->attrs;
    cvr_slice_attrs s = {.dim = attrs->dim, .step = 1};
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        copy_part(a, a->inputs[i], a->outputs[0], &s, 1);
        s.start += a->inputs[i]->shape[attrs->dim];
    }
    return CVR_OK;
}

static int32_t slice_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    if (cpu_numel(a->outputs[0]) > 0) copy_part(a, a->outputs[0], a->inputs[0], a->attrs, 0);
    return CVR_OK;
}

static void zero_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const cvr_tensor *t = ctx;
    const int64_t bytes = cpu_numel(t) * (int64_t)cvr_dtype_size(t->dtype), first = (int64_t)task * CPU_SPAN;
    memset((char *)t->data + first, 0, (size_t)cpu_min(CPU_SPAN, bytes - first));
}

static int32_t slice_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    cvr_tensor *dx = a->outputs[0];
    cpu_run(a->pool, cpu_spans(cpu_numel(dx) * (int64_t)cvr_dtype_size(dx->dtype)), zero_task, dx);
    if (cpu_numel(a->inputs[0]) > 0) copy_part(a, a->inputs[0], dx, a->attrs, 1);
    return CVR_OK;
}

/* Bytes are copied as they are: all tensors must have one element type. */
static int32_t one_type(const cvr_signature *sig, cvr_error *reason) {
    for (uint32_t i = 0; i < sig->n_inputs; i++) {
        if (sig->inputs[i] && sig->inputs[i]->dtype != sig->outputs[0]->dtype)
            return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "inputs of several element types");
    }
    return CVR_OK;
}

#define COPY_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)
static const cpu_kernel kernels[] = {
    {"permute", permute_run, NULL, one_type, 0, COPY_FLAGS, NULL},
    {"to_logical", to_logical_run, NULL, one_type, 0, COPY_FLAGS, NULL},
    {"from_logical", from_logical_run, NULL, one_type, 0, COPY_FLAGS, NULL},
    {"concat", concat_run, NULL, one_type, 0, COPY_FLAGS, NULL},
    {"slice", slice_run, NULL, one_type, 0, COPY_FLAGS, NULL},
    {"slice_backward", slice_backward_run, NULL, one_type, 0, COPY_FLAGS, NULL},
};
const cpu_kernel_table cpu_shape_kernels = {kernels, sizeof kernels / sizeof *kernels};
