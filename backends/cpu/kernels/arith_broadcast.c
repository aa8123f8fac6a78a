/*
 * a + b, a * b and repetition on the CPU, with NumPy's broadcasting (see <cvr/plugin/ops/arith.h>).
 *
 * Operands of equal shape are flat arrays: spans of CPU_SPAN elements are tasks. Others are a nest of strided loops
 * (cpu_loops.h), in which an axis along which an operand repeats has step 0. bf16 is widened to CPU_ROW floats at a
 * time, which stay in the first-level cache, and rounded once as it is stored.
 */
#include "cpu_rows.h"

#include <cvr/plugin/ops/arith.h>

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

/* ---- broadcasting ---- */

/* An operand's innermost loop, f32 or bf16; `step`: 0, 1 or more. */
typedef struct broadcast_operand {
    const void *data;
    int64_t step;
    int bf16;
} broadcast_operand;

/* z[i] = x[i * step[0]] op y[i * step[1]]; n elements */
typedef void (*row_fn)(const float *x, const float *y, const int64_t step[2], float scale, float *restrict z,
                       int64_t n);

typedef struct row_job {
    broadcast_operand x, y; /* y: no data where there is only x */
    void *z;
    int bf16; /* z is */
    float scale;
    row_fn fn;
} row_job;

/* Element `at` of an operand and what follows, n elements and `step` apart in what is returned. */
static const float *operand_row(const broadcast_operand *o, int64_t at, int64_t n, float *buffer, int64_t *step) {
    const uint16_t *half = (const uint16_t *)o->data + at;
    *step = o->step;
    if (!o->bf16) return (const float *)o->data + at;
    *step = o->step != 0;
    if (*step == o->step) return cpu_row_read(o->data, 1, at, o->step == 0 ? 1 : n, buffer);
    for (int64_t i = 0; i < n; i++) buffer[i] = cvr_f32_of_bf16(half[i * o->step]);
    return buffer;
}

/* A run of the innermost loop, which is as long as it likes: bf16 goes through the buffers in rows. */
static void each_row(void *ctx, const int64_t at[CPU_NEST_OPERANDS], int64_t n) {
    const row_job *job = ctx;
    const int64_t most = job->bf16 || job->x.bf16 || job->y.bf16 ? CPU_ROW : n;
    float buffers[3][CPU_ROW];
    for (int64_t i = 0; i < n; i += most) {
        const int64_t some = cpu_min(most, n - i);
        int64_t step[2] = {0, 0};
        const float *x = operand_row(&job->x, at[1] + i * job->x.step, some, buffers[0], &step[0]), *y = x;
        float *z = cpu_row_space(job->z, job->bf16, at[0] + i, buffers[2]);
        if (job->y.data) y = operand_row(&job->y, at[2] + i * job->y.step, some, buffers[1], &step[1]);
        job->fn(x, y, step, job->scale, z, some);
        cpu_row_store(job->z, job->bf16, at[0] + i, some, z);
    }
}

/* Both ops are commutative, so that a repeated operand can always be the second. */
static void add_row(const float *x, const float *y, const int64_t step[2], float scale, float *restrict z, int64_t n) {
    (void)scale;
    if (step[0] == 1 && step[1] == 1)
        for (int64_t i = 0; i < n; i++) z[i] = x[i] + y[i];
    else if (step[0] == 1 && step[1] == 0)
        for (int64_t i = 0; i < n; i++) z[i] = x[i] + *y;
    else if (step[0] == 0 && step[1] == 1)
        for (int64_t i = 0; i < n; i++) z[i] = y[i] + *x;
    else
        for (int64_t i = 0; i < n; i++) z[i] = x[i * step[0]] + y[i * step[1]];
}

static void mul_row(const float *x, const float *y, const int64_t step[2], float scale, float *restrict z, int64_t n) {
    (void)scale;
    if (step[0] == 1 && step[1] == 1)
        for (int64_t i = 0; i < n; i++) z[i] = x[i] * y[i];
    else if (step[0] == 1 && step[1] == 0)
        for (int64_t i = 0; i < n; i++) z[i] = x[i] * *y;
    else if (step[0] == 0 && step[1] == 1)
        for (int64_t i = 0; i < n; i++) z[i] = y[i] * *x;
    else
        for (int64_t i = 0; i < n; i++) z[i] = x[i * step[0]] * y[i * step[1]];
}

static broadcast_operand operand_of(const cvr_tensor *t, int64_t step) {
    return (broadcast_operand){t->data, step, t->dtype == CVR_BF16};
}

static int32_t broadcast(const cvr_kernel_args *a, row_fn fn) {
    const cvr_tensor *x = a->inputs[0], *y = a->inputs[1], *out = a->outputs[0];
    int64_t x_step[CVR_MAX_RANK], y_step[CVR_MAX_RANK], z_step[CVR_MAX_RANK];
    const int64_t *const steps[3] = {z_step, x_step, y_step};
    row_job job = {.z = out->data, .bf16 = out->dtype == CVR_BF16, .scale = 1, .fn = fn};
    cpu_nest nest;
    cpu_steps(out->rank, out->shape, z_step);
    cpu_broadcast_steps(x, out->rank, x_step);
    cpu_broadcast_steps(y, out->rank, y_step);
    cpu_nest_init(&nest, out->rank, out->shape, steps, 3, 0);
    job.x = operand_of(x, nest.step[1][nest.n - 1]);
    job.y = operand_of(y, nest.step[2][nest.n - 1]);
    cpu_nest_run(&nest, a->pool, each_row, &job);
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

static void expand_row(const float *x, const float *unused, const int64_t step[2], float scale, float *restrict z,
                       int64_t n) {
    (void)unused;
    if (step[0] == 0) {
        const float v = *x * scale;
        for (int64_t i = 0; i < n; i++) z[i] = v;
    } else if (step[0] == 1) {
        for (int64_t i = 0; i < n; i++) z[i] = x[i] * scale;
    } else {
        for (int64_t i = 0; i < n; i++) z[i] = x[i * step[0]] * scale;
    }
}

static int32_t expand_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_expand_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0], *out = a->outputs[0];
    row_job job = {.z = out->data, .bf16 = out->dtype == CVR_BF16, .scale = (float)attrs->scale, .fn = expand_row};
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
    job.x = operand_of(x, nest.step[1][nest.n - 1]);
    cpu_nest_run(&nest, a->pool, each_row, &job);
    return CVR_OK;
}

/* Each operand may be of the one type or the other: parameters stay f32 where activations are bf16. */
static int32_t mixed_supports(const cvr_signature *sig, cvr_error *reason) {
    int fits = sig->outputs[0]->dtype == CVR_F32 || sig->outputs[0]->dtype == CVR_BF16;
    for (uint32_t i = 0; i < sig->n_inputs; i++)
        fits = fits && (sig->inputs[i]->dtype == CVR_F32 || sig->inputs[i]->dtype == CVR_BF16);
    return fits ? CVR_OK : cvr_fail(reason, CVR_ERR_UNSUPPORTED, "tensors that are neither f32 nor bf16");
}

#define ARITH_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)
static const cpu_kernel kernels[] = {
    {"add", add_run, NULL, cpu_rows_supports, 3, ARITH_FLAGS, NULL},
    {"mul", mul_run, NULL, cpu_rows_supports, 3, ARITH_FLAGS, NULL},
    {"add_broadcast", add_broadcast_run, NULL, mixed_supports, 0, ARITH_FLAGS, NULL},
    {"mul_broadcast", mul_broadcast_run, NULL, mixed_supports, 0, ARITH_FLAGS, NULL},
    {"expand", expand_run, NULL, mixed_supports, 0, ARITH_FLAGS, NULL},
};
const cpu_kernel_table cpu_arith_broadcast_kernels = {kernels, sizeof kernels / sizeof *kernels};
