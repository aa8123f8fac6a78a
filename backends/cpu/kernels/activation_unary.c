/*
 * Elementwise activations on the CPU (see <cvr/plugin/ops/activation.h>): y = f(x), and dx = grad * f'(x), where f' is
 * written in terms of y or of x, whichever the op has as its first input.
 *
 * Spans of CPU_SPAN elements of the flat array are tasks. bf16 is widened to CPU_ROW floats at a time, which stay in
 * the first-level cache, and rounded once as it is stored. One function a kind of activation has the inner loop.
 */
#include "cpu_math.h"
#include "cpu_steps.h"

#include <cvr/plugin/ops/activation_steps.h>

typedef struct span_job {
    const void *attrs;
    const void *x, *grad;
    void *y;
    int64_t n;
    int bf16;
    cpu_program_fn fn;
} span_job;

static void span_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const span_job *job = ctx;
    const int64_t first = (int64_t)task * CPU_SPAN, end = cpu_min(first + CPU_SPAN, job->n);
    const int64_t most = job->bf16 ? CPU_ROW : CPU_SPAN;
    float buffers[3][CPU_ROW];
    for (int64_t at = first; at < end; at += most) {
        const int64_t n = cpu_min(most, end - at);
        const float *x = cpu_row_read(job->x, job->bf16, at, n, buffers[0]);
        const float *grad = job->grad ? cpu_row_read(job->grad, job->bf16, at, n, buffers[1]) : x;
        float *y = cpu_row_space(job->y, job->bf16, at, buffers[2]);
        job->fn(job->attrs, x, grad, y, n);
        cpu_row_store(job->y, job->bf16, at, n, y);
    }
}

static int32_t spans(const cvr_kernel_args *a, cpu_program_fn fn) {
    span_job job = {.attrs = a->attrs, .x = a->inputs[0]->data, .y = a->outputs[0]->data, .fn = fn};
    job.grad = a->n_inputs > 1 ? a->inputs[1]->data : NULL;
    job.n = cpu_numel(a->inputs[0]);
    job.bf16 = a->inputs[0]->dtype == CVR_BF16;
    cpu_run(a->pool, cpu_spans(job.n), span_task, &job);
    return CVR_OK;
}

/* Comparisons are written so that NaN passes through. */
static inline float clamp_six(float x) {
    const float low = x < 0 ? 0 : x;
    return low > 6 ? 6 : low;
}

static void relu(const void *attrs, const float *x, const float *unused, float *y, int64_t n) {
    (void)attrs, (void)unused;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

static void relu_back(const void *attrs, const float *y, const float *grad, float *dx, int64_t n) {
    (void)attrs;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        const float g = grad[i];
        dx[i] = y[i] > 0 ? g : 0;
    }
}

static void relu6(const void *attrs, const float *x, const float *unused, float *y, int64_t n) {
    (void)attrs, (void)unused;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) y[i] = clamp_six(x[i]);
}

static void relu6_back(const void *attrs, const float *y, const float *grad, float *dx, int64_t n) {
    (void)attrs;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        const float g = grad[i], low = y[i] > 0 ? g : 0;
        dx[i] = y[i] < 6 ? low : 0;
    }
}

static void leaky_relu(const void *attrs, const float *x, const float *unused, float *y, int64_t n) {
    (void)unused;
    const float slope = (float)((const cvr_leaky_relu_attrs *)attrs)->negative_slope;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        const float v = x[i], low = slope * v;
        y[i] = v > 0 ? v : low;
    }
}

static void leaky_relu_back(const void *attrs, const float *x, const float *grad, float *dx, int64_t n) {
    const float slope = (float)((const cvr_leaky_relu_attrs *)attrs)->negative_slope;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        const float g = grad[i], low = slope * g;
        dx[i] = x[i] > 0 ? g : low;
    }
}

static void sigmoid(const void *attrs, const float *x, const float *unused, float *y, int64_t n) {
    (void)attrs, (void)unused;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) y[i] = cpu_sigmoid(x[i]);
}

static void sigmoid_back(const void *attrs, const float *y, const float *grad, float *dx, int64_t n) {
    (void)attrs;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) dx[i] = grad[i] * y[i] * (1 - y[i]);
}

static void tanh_(const void *attrs, const float *x, const float *unused, float *y, int64_t n) {
    (void)attrs, (void)unused;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) y[i] = cpu_tanh(x[i]);
}

static void tanh_back(const void *attrs, const float *y, const float *grad, float *dx, int64_t n) {
    (void)attrs;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) dx[i] = grad[i] * (1 - y[i] * y[i]);
}

static void hardsigmoid(const void *attrs, const float *x, const float *unused, float *y, int64_t n) {
    (void)attrs, (void)unused;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) y[i] = clamp_six(x[i] + 3) / 6;
}

static void hardsigmoid_back(const void *attrs, const float *y, const float *grad, float *dx, int64_t n) {
    (void)attrs;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        const float g = grad[i] / 6, low = y[i] > 0 ? g : 0;
        dx[i] = y[i] < 1 ? low : 0;
    }
}

static void hardswish(const void *attrs, const float *x, const float *unused, float *y, int64_t n) {
    (void)attrs, (void)unused;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * clamp_six(x[i] + 3) / 6;
}

static void hardswish_back(const void *attrs, const float *x, const float *grad, float *dx, int64_t n) {
    (void)attrs;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        const float g = grad[i], middle = g * (x[i] / 3 + 0.5f), high = x[i] < 3 ? middle : g;
        dx[i] = x[i] <= -3 ? 0 : high;
    }
}

static void silu(const void *attrs, const float *x, const float *unused, float *y, int64_t n) {
    (void)attrs, (void)unused;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * cpu_sigmoid(x[i]);
}

static void silu_back(const void *attrs, const float *x, const float *grad, float *dx, int64_t n) {
    (void)attrs;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        const float s = cpu_sigmoid(x[i]);
        dx[i] = grad[i] * s * (1 + x[i] * (1 - s));
    }
}

/* tanh(ln(1 + exp(x))) and exp(x), x held below 20 */
static inline float mish_tanh(float x, float *e) {
    *e = cpu_exp(x > 20 ? 20 : x);
    const float n = *e * (*e + 2);
    return n / (n + 2);
}

static void mish(const void *attrs, const float *x, const float *unused, float *y, int64_t n) {
    (void)attrs, (void)unused;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        float e;
        y[i] = x[i] * mish_tanh(x[i], &e);
    }
}

static void mish_back(const void *attrs, const float *x, const float *grad, float *dx, int64_t n) {
    (void)attrs;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        float e;
        const float t = mish_tanh(x[i], &e), p = e / (1 + e);
        dx[i] = grad[i] * (t + x[i] * p * (1 - t * t));
    }
}

#define SQRT_2_OVER_PI 0.797884561f
#define GELU_CUBE 0.044715f

static void gelu_exact(const float *x, float *y, int64_t n) {
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        float bell;
        y[i] = x[i] * cpu_normal_cdf(x[i], &bell);
    }
}

/* (1 + tanh(u)) / 2 = sigmoid(2u), which keeps its precision where tanh nears -1 */
static void gelu_tanh(const float *x, float *y, int64_t n) {
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * cpu_sigmoid(2 * SQRT_2_OVER_PI * (x[i] + GELU_CUBE * x[i] * x[i] * x[i]));
}

static void gelu_exact_back(const float *x, const float *grad, float *dx, int64_t n) {
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        float bell;
        const float p = cpu_normal_cdf(x[i], &bell);
        dx[i] = grad[i] * (p + x[i] * (0.5f * SQRT_2_OVER_PI) * bell);
    }
}

/* d/dx x * s(2u) = s + x * 2 * s * (1-s) * u' */
static void gelu_tanh_back(const float *x, const float *grad, float *dx, int64_t n) {
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        const float v = x[i], s = cpu_sigmoid(2 * SQRT_2_OVER_PI * (v + GELU_CUBE * v * v * v));
        const float slope = 2 * SQRT_2_OVER_PI * (1 + 3 * GELU_CUBE * v * v);
        dx[i] = grad[i] * (s + v * s * (1 - s) * slope);
    }
}

static void gelu(const void *attrs, const float *x, const float *unused, float *y, int64_t n) {
    (void)unused;
    if (((const cvr_gelu_attrs *)attrs)->approximate == CVR_GELU_TANH)
        gelu_tanh(x, y, n);
    else
        gelu_exact(x, y, n);
}

static void gelu_back(const void *attrs, const float *x, const float *grad, float *dx, int64_t n) {
    if (((const cvr_gelu_attrs *)attrs)->approximate == CVR_GELU_TANH)
        gelu_tanh_back(x, grad, dx, n);
    else
        gelu_exact_back(x, grad, dx, n);
}

/* ---- as parts of programs ---- */

static const cvr_leaky_relu_attrs any_slope = {NAN};
static const cvr_gelu_attrs gelu_none_attrs = {CVR_GELU_NONE}, gelu_tanh_attrs = {CVR_GELU_TANH};
/* Longer ones first where one is part of another. */
const cpu_known_program cpu_known_programs[CPU_KNOWN_PROGRAMS] = {
    {cvr_gelu_backward_steps, &gelu_tanh_attrs, gelu_back},
    {cvr_gelu_steps, &gelu_tanh_attrs, gelu},
    {cvr_mish_backward_steps, NULL, mish_back},
    {cvr_silu_backward_steps, NULL, silu_back},
    {cvr_gelu_backward_steps, &gelu_none_attrs, gelu_back},
    {cvr_mish_steps, NULL, mish},
    {cvr_silu_steps, NULL, silu},
    {cvr_hardswish_backward_steps, NULL, hardswish_back},
    {cvr_hardswish_steps, NULL, hardswish},
    {cvr_sigmoid_steps, NULL, sigmoid},
    {cvr_hardsigmoid_steps, NULL, hardsigmoid},
    {cvr_hardsigmoid_backward_steps, NULL, hardsigmoid_back},
    {cvr_sigmoid_backward_steps, NULL, sigmoid_back},
    {cvr_tanh_backward_steps, NULL, tanh_back},
    {cvr_gelu_steps, &gelu_none_attrs, gelu},
    {cvr_relu6_steps, NULL, relu6},
    {cvr_relu6_backward_steps, NULL, relu6_back},
    {cvr_leaky_relu_steps, &any_slope, leaky_relu},
    {cvr_leaky_relu_backward_steps, &any_slope, leaky_relu_back},
    {cvr_relu_steps, NULL, relu},
    {cvr_relu_backward_steps, NULL, relu_back},
};

/* ---- kernels ---- */

static int32_t relu_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, relu);
}

static int32_t relu_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, relu_back);
}

static int32_t relu6_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, relu6);
}

static int32_t relu6_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, relu6_back);
}

static int32_t leaky_relu_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, leaky_relu);
}

static int32_t leaky_relu_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, leaky_relu_back);
}

static int32_t sigmoid_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, sigmoid);
}

static int32_t sigmoid_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, sigmoid_back);
}

static int32_t tanh_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, tanh_);
}

static int32_t tanh_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, tanh_back);
}

static int32_t hardsigmoid_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, hardsigmoid);
}

static int32_t hardsigmoid_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, hardsigmoid_back);
}

static int32_t hardswish_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, hardswish);
}

static int32_t hardswish_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, hardswish_back);
}

static int32_t silu_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, silu);
}

static int32_t silu_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, silu_back);
}

static int32_t mish_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, mish);
}

static int32_t mish_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, mish_back);
}

static int32_t gelu_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, gelu);
}

static int32_t gelu_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return spans(a, gelu_back);
}

#define UNARY_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)
static const cpu_kernel kernels[] = {
    {"relu", relu_run, NULL, cpu_rows_supports, 1, UNARY_FLAGS, NULL},
    {"relu_backward", relu_backward_run, NULL, cpu_rows_supports, 3, UNARY_FLAGS, NULL},
    {"relu6", relu6_run, NULL, cpu_rows_supports, 1, UNARY_FLAGS, NULL},
    {"relu6_backward", relu6_backward_run, NULL, cpu_rows_supports, 3, UNARY_FLAGS, NULL},
    {"leaky_relu", leaky_relu_run, NULL, cpu_rows_supports, 1, UNARY_FLAGS, NULL},
    {"leaky_relu_backward", leaky_relu_backward_run, NULL, cpu_rows_supports, 3, UNARY_FLAGS, NULL},
    {"sigmoid", sigmoid_run, NULL, cpu_rows_supports, 1, UNARY_FLAGS, NULL},
    {"sigmoid_backward", sigmoid_backward_run, NULL, cpu_rows_supports, 3, UNARY_FLAGS, NULL},
    {"tanh", tanh_run, NULL, cpu_rows_supports, 1, UNARY_FLAGS, NULL},
    {"tanh_backward", tanh_backward_run, NULL, cpu_rows_supports, 3, UNARY_FLAGS, NULL},
    {"hardsigmoid", hardsigmoid_run, NULL, cpu_rows_supports, 1, UNARY_FLAGS, NULL},
    {"hardsigmoid_backward", hardsigmoid_backward_run, NULL, cpu_rows_supports, 3, UNARY_FLAGS, NULL},
    {"hardswish", hardswish_run, NULL, cpu_rows_supports, 1, UNARY_FLAGS, NULL},
    {"hardswish_backward", hardswish_backward_run, NULL, cpu_rows_supports, 3, UNARY_FLAGS, NULL},
    {"silu", silu_run, NULL, cpu_rows_supports, 1, UNARY_FLAGS, NULL},
    {"silu_backward", silu_backward_run, NULL, cpu_rows_supports, 3, UNARY_FLAGS, NULL},
    {"mish", mish_run, NULL, cpu_rows_supports, 1, UNARY_FLAGS, NULL},
    {"mish_backward", mish_backward_run, NULL, cpu_rows_supports, 3, UNARY_FLAGS, NULL},
    {"gelu", gelu_run, NULL, cpu_rows_supports, 1, UNARY_FLAGS, NULL},
    {"gelu_backward", gelu_backward_run, NULL, cpu_rows_supports, 3, UNARY_FLAGS, NULL},
};
const cpu_kernel_table cpu_activation_unary_kernels = {kernels, sizeof kernels / sizeof *kernels};
