/* a + b, a * b and repetition on the CPU, with NumPy's broadcasting (see <cvr/plugin/ops/arith.h>). */
#include "cpu_rows.h"

#include <cvr/plugin/ops/arith.h>

typedef struct pair_job {
    const float *x, *y;
    float *z;
    int64_t x_step, y_step, n; /* steps of the innermost loop: 0, 1 or more */
    float scale;
} pair_job;

/* ---- equal shapes ---- */

/* z = x op y; n elements */
typedef void (*pair_fn)(const float *x, const float *y, float *z, int64_t n);

typedef struct same_job {
    const void *x, *y;
    void *z;
    int64_t n;
    int bf16;
    pair_fn fn;
} same_job;

static void add_span(const float *x, const float *y, float *z, int64_t n) {
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) z[i] = x[i] + y[i];
}

static void mul_span(const float *x, const float *y, float *z, int64_t n) {
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) z[i] = x[i] * y[i];
}

static void same_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const same_job *job = ctx;
    const int64_t first = (int64_t)task * CPU_SPAN, end = cpu_min(first + CPU_SPAN, job->n);
    const int64_t most = job->bf16 ? CPU_ROW : CPU_SPAN;
    float buffers[3][CPU_ROW];
    for (int64_t at = first; at < end; at += most) {
        const int64_t n = cpu_min(most, end - at);
        const float *x = cpu_row_read(job->x, job->bf16, at, n, buffers[0]);
        const float *y = cpu_row_read(job->y, job->bf16, at, n, buffers[1]);
        float *z = cpu_row_space(job->z, job->bf16, at, buffers[2]);
        job->fn(x, y, z, n);
        cpu_row_store(job->z, job->bf16, at, n, z);
    }
}

static int32_t same_shape(const cvr_kernel_args *a, pair_fn fn) {
    same_job job = {.x = a->inputs[0]->data, .y = a->inputs[1]->data, .z = a->outputs[0]->data, .fn = fn};
    job.n = cpu_numel(a->inputs[0]);
    job.bf16 = a->inputs[0]->dtype == CVR_BF16;
    cpu_run(a->pool, cpu_spans(job.n), same_task, &job);
    return CVR_OK;
}

static int32_t add_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return same_shape(a, add_span);
}

static int32_t mul_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return same_shape(a, mul_span);
}

/* ---- broadcasting: both ops are commutative, so a repeated operand is always the second ---- */

static void order_operands(const pair_job *job, const int64_t *at, const float **x, const float **y, int64_t step[2]) {
    const int turn = job->x_step == 0;
    *x = turn ? job->y + at[2] : job->x + at[1];
    *y = turn ? job->x + at[1] : job->y + at[2];
    step[0] = turn ? job->y_step : job->x_step;
    step[1] = turn ? job->x_step : job->y_step;
}

static void add_row(void *ctx, const int64_t at[CPU_NEST_OPERANDS], int64_t n) {
    const pair_job *job = ctx;
    float *restrict z = job->z + at[0];
    const float *x, *y;
    int64_t step[2];
    order_operands(job, at, &x, &y, step);
    if (step[0] == 1 && step[1] == 1)
        for (int64_t i = 0; i < n; i++) z[i] = x[i] + y[i];
    else if (step[0] == 1 && step[1] == 0)
        for (int64_t i = 0; i < n; i++) z[i] = x[i] + *y;
    else
        for (int64_t i = 0; i < n; i++) z[i] = x[i * step[0]] + y[i * step[1]];
}

static void mul_row(void *ctx, const int64_t at[CPU_NEST_OPERANDS], int64_t n) {
    const pair_job *job = ctx;
    float *restrict z = job->z + at[0];
    const float *x, *y;
    int64_t step[2];
    order_operands(job, at, &x, &y, step);
    if (step[0] == 1 && step[1] == 1)
        for (int64_t i = 0; i < n; i++) z[i] = x[i] * y[i];
    else if (step[0] == 1 && step[1] == 0)
        for (int64_t i = 0; i < n; i++) z[i] = x[i] * *y;
    else
        for (int64_t i = 0; i < n; i++) z[i] = x[i * step[0]] * y[i * step[1]];
}

static int32_t broadcast(const cvr_kernel_args *a, cpu_row_fn row) {
    const cvr_tensor *out = a->outputs[0];
    pair_job job = {.x = a->inputs[0]->data, .y = a->inputs[1]->data, .z = out->data};
    int64_t x_step[CVR_MAX_RANK], y_step[CVR_MAX_RANK], z_step[CVR_MAX_RANK];
    const int64_t *const steps[3] = {z_step, x_step, y_step};
    cpu_nest nest;
    cpu_steps(out->rank, out->shape, z_step);
    cpu_broadcast_steps(a->inputs[0], out->rank, x_step);
    cpu_broadcast_steps(a->inputs[1], out->rank, y_step);
    cpu_nest_init(&nest, out->rank, out->shape, steps, 3, 0);
    job.x_step = nest.step[1][nest.n - 1];
    job.y_step = nest.step[2][nest.n - 1];
    cpu_nest_run(&nest, a->pool, row, &job);
    return CVR_OK;
}

static int32_t add_broadcast_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return broadcast(a, add_row);
}

static int32_t mul_broadcast_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return broadcast(a, mul_row);
}

/* ---- expand ---- */

static void expand_row(void *ctx, const int64_t at[CPU_NEST_OPERANDS], int64_t n) {
    const pair_job *job = ctx;
    float *restrict z = job->z + at[0];
    const float *x = job->x + at[1], scale = job->scale;
    if (job->x_step == 0) {
        const float v = *x * scale;
        for (int64_t i = 0; i < n; i++) z[i] = v;
    } else if (job->x_step == 1) {
        for (int64_t i = 0; i < n; i++) z[i] = x[i] * scale;
    } else {
        for (int64_t i = 0; i < n; i++) z[i] = x[i * job->x_step] * scale;
    }
}

static int32_t expand_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_expand_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0], *out = a->outputs[0];
    pair_job job = {.x = x->data, .z = out->data, .scale = (float)attrs->scale};
    int64_t own[CVR_MAX_RANK], x_step[CVR_MAX_RANK], z_step[CVR_MAX_RANK], lacks = 0;
    const int64_t *const steps[2] = {z_step, x_step};
    cpu_nest nest;
    if (x->rank != out->rank)
        for (int64_t i = 0; i < attrs->n_dim; i++) lacks |= (int64_t)1 << attrs->dim[i];
    cpu_steps(x->rank, x->shape, own);
    cpu_steps(out->rank, out->shape, z_step);
    for (uint32_t i = 0, next = 0; i < out->rank; i++) {
        x_step[i] = 0;
        if (lacks >> i & 1) continue;
        if (x->shape[next] != 1) x_step[i] = own[next];
        next++;
    }
    cpu_nest_init(&nest, out->rank, out->shape, steps, 2, 0);
    job.x_step = nest.step[1][nest.n - 1];
    cpu_nest_run(&nest, a->pool, expand_row, &job);
    return CVR_OK;
}

#define SAME_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_LOW_PRECISION)
static const cpu_kernel kernels[] = {
    {"add", add_run, NULL, cpu_rows_supports, 3, SAME_FLAGS, 1},
    {"mul", mul_run, NULL, cpu_rows_supports, 3, SAME_FLAGS, 1},
    {"add_broadcast", add_broadcast_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, 1},
    {"mul_broadcast", mul_broadcast_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, 1},
    {"expand", expand_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, 1},
};
const cpu_kernel_table cpu_arith_broadcast_kernels = {kernels, sizeof kernels / sizeof *kernels};
