/* quantize, dequantize, requantize_int8, add_int8 and the pools of u8: loops over memory, each element as
 * <cvr/plugin/ops/quant.h> has it. The compiler makes vectors of them. */
#include "int8.h"

/* ---- element by element ---- */

typedef struct spans {
    const cvr_kernel_args *a;
    int64_t n;
} spans;

static int64_t end_of(const spans *s, uint64_t task) {
    return cpu_min(s->n, ((int64_t)task + 1) * CPU_SPAN);
}

static void quantize_span(void *ctx, uint64_t task, uint32_t worker) {
    const spans *s = ctx;
    const cvr_quantize_attrs *attrs = s->a->attrs;
    const float *x = s->a->inputs[0]->data, scale = (float)attrs->scale;
    uint8_t *q = s->a->outputs[0]->data;
    const int64_t zero = attrs->zero, lowest = attrs->dtype == CVR_U8 ? 0 : -128;
    const int64_t end = end_of(s, task);
    (void)worker;
    CPU_INDEPENDENT
    for (int64_t i = (int64_t)task * CPU_SPAN; i < end; i++)
        q[i] = (uint8_t)cvr_quantize_one(x[i], scale, zero, lowest, lowest + 255);
}

static int32_t quantize_run(const cvr_kernel_args *a, cvr_error *err) {
    spans s = {a, cpu_numel(a->inputs[0])};
    (void)err;
    cpu_run(a->pool, cpu_spans(s.n), quantize_span, &s);
    return CVR_OK;
}

static void dequantize_span(void *ctx, uint64_t task, uint32_t worker) {
    const spans *s = ctx;
    const cvr_dequantize_attrs *attrs = s->a->attrs;
    const uint8_t *q = s->a->inputs[0]->data;
    float *x = s->a->outputs[0]->data;
    const float scale = (float)attrs->scale;
    const int32_t zero = (int32_t)attrs->zero;
    const int64_t end = end_of(s, task);
    (void)worker;
    CPU_INDEPENDENT
    for (int64_t i = (int64_t)task * CPU_SPAN; i < end; i++) x[i] = (float)((int32_t)q[i] - zero) * scale;
}

static int32_t dequantize_run(const cvr_kernel_args *a, cvr_error *err) {
    spans s = {a, cpu_numel(a->inputs[0])};
    (void)err;
    cpu_run(a->pool, cpu_spans(s.n), dequantize_span, &s);
    return CVR_OK;
}

/* Stored weights are dequantized by the reference: only a network whose passes are off does it. */
static int32_t dequantize_supports(const cvr_signature *sig, cvr_error *reason) {
    if (sig->inputs[0]->dtype == CVR_U8 && (sig->n_inputs < 2 || !sig->inputs[1])) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "only activations, u8 with one scale");
}

static void requantize_span(void *ctx, uint64_t task, uint32_t worker) {
    const spans *s = ctx;
    const cvr_requant q = *(const cvr_requant *)s->a->attrs;
    const uint8_t *x = s->a->inputs[0]->data;
    uint8_t *y = s->a->outputs[0]->data;
    const int64_t end = end_of(s, task);
    (void)worker;
    CPU_INDEPENDENT
    for (int64_t i = (int64_t)task * CPU_SPAN; i < end; i++) y[i] = cvr_requantize_one(&q, x[i]);
}

static int32_t requantize_run(const cvr_kernel_args *a, cvr_error *err) {
    spans s = {a, cpu_numel(a->inputs[0])};
    (void)err;
    cpu_run(a->pool, cpu_spans(s.n), requantize_span, &s);
    return CVR_OK;
}

static void add_span(void *ctx, uint64_t task, uint32_t worker) {
    const spans *s = ctx;
    const cvr_add_int8 k = cvr_add_int8_of(s->a->attrs);
    const uint8_t *a = s->a->inputs[0]->data, *b = s->a->inputs[1]->data;
    uint8_t *y = s->a->outputs[0]->data;
    const int64_t end = end_of(s, task);
    int64_t first = (int64_t)task * CPU_SPAN;
    (void)worker;
    if (cpu_int8_micro.add) first += cpu_int8_micro.add(&k, a + first, b + first, y + first, end - first);
    CPU_INDEPENDENT
    for (int64_t i = first; i < end; i++) y[i] = cvr_add_int8_one(&k, a[i], b[i]);
}

static int32_t add_run(const cvr_kernel_args *a, cvr_error *err) {
    spans s = {a, cpu_numel(a->inputs[0])};
    (void)err;
    cpu_run(a->pool, cpu_spans(s.n), add_span, &s);
    return CVR_OK;
}

/* ---- pools: a row of the output a task, channels innermost ---- */

#define CHANNELS 256 /* whose sums are kept at once */

typedef struct pooling {
    const cvr_tensor *x, *y;
    cvr_requant q;
    int64_t kernel[2], stride[2], padding[2], dilation[2], divisor;
    int32_t count_pad, adaptive;
} pooling;

/* Rows (axis 0) or columns of x that output position `at` sees, and how many count. */
static void window(const pooling *p, int axis, int64_t at, int64_t *first, int64_t *end, int64_t *counted) {
    const int64_t size = p->x->shape[2 + axis], to = p->y->shape[2 + axis];
    if (p->adaptive) {
        *first = at * size / to;
        *end = ((at + 1) * size + to - 1) / to;
        *counted = *end - *first;
        return;
    }
    const int64_t start = at * p->stride[axis] - p->padding[axis], reach = start + p->kernel[axis];
    *first = cpu_max(start, 0);
    *end = cpu_max(cpu_min(reach, size), *first);
    *counted = p->count_pad ? cpu_min(reach, size + p->padding[axis]) - start : *end - *first;
}

static void mean_pixel(const pooling *p, const uint8_t *x, const int64_t first[2], const int64_t end[2], float m,
                       uint8_t *y) {
    const int64_t channels = p->x->shape[1], pixels = (end[0] - first[0]) * (end[1] - first[1]);
    const int32_t zeros = (int32_t)(pixels * p->q.x_zero), y_zero = (int32_t)p->q.y_zero;
    for (int64_t c = 0; c < channels; c += CHANNELS) {
        const int64_t n = cpu_min(CHANNELS, channels - c);
        int32_t sums[CHANNELS] = {0};
        for (int64_t h = first[0]; h < end[0]; h++)
            for (int64_t w = first[1]; w < end[1]; w++) {
                const uint8_t *pixel = x + (h * p->x->shape[3] + w) * channels + c;
                for (int64_t i = 0; i < n; i++) sums[i] += pixel[i];
            }
        for (int64_t i = 0; i < n; i++) y[c + i] = int8_requantise(sums[i] - zeros, m, y_zero);
    }
}

static void mean_row(void *ctx, uint64_t task, uint32_t worker) {
    const pooling *p = ctx;
    const int64_t rows = p->y->shape[2], columns = p->y->shape[3], channels = p->x->shape[1];
    const int64_t n = (int64_t)task / rows;
    const uint8_t *x = (const uint8_t *)p->x->data + n * p->x->shape[2] * p->x->shape[3] * channels;
    uint8_t *y = (uint8_t *)p->y->data + (int64_t)task * columns * channels;
    int64_t first[2], end[2], counted[2];
    (void)worker;
    window(p, 0, (int64_t)task % rows, &first[0], &end[0], &counted[0]);
    for (int64_t q = 0; q < columns; q++, y += channels) {
        window(p, 1, q, &first[1], &end[1], &counted[1]);
        const int64_t all = p->divisor ? p->divisor : cpu_max(counted[0] * counted[1], 1);
        mean_pixel(p, x, first, end, (float)p->q.x_scale / (float)p->q.y_scale / (float)all, y);
    }
}

static int32_t run_means(const pooling *p, const cvr_kernel_args *a) {
    cpu_run(a->pool, p->y->shape[0] * p->y->shape[2], mean_row, (void *)(uintptr_t)p);
    return CVR_OK;
}

static int32_t avg_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_avg_pool2d_int8_attrs *attrs = a->attrs;
    pooling p = {.x = a->inputs[0],
                 .y = a->outputs[0],
                 .q = attrs->q,
                 .divisor = attrs->pool.divisor_override,
                 .count_pad = attrs->pool.count_include_pad != 0};
    (void)err;
    memcpy(p.kernel, attrs->pool.kernel_size, sizeof p.kernel);
    memcpy(p.stride, attrs->pool.stride, sizeof p.stride);
    memcpy(p.padding, attrs->pool.padding, sizeof p.padding);
    return run_means(&p, a);
}

static int32_t adaptive_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_adaptive_avg_pool2d_int8_attrs *attrs = a->attrs;
    const pooling p = {.x = a->inputs[0], .y = a->outputs[0], .q = attrs->q, .adaptive = 1};
    (void)err;
    return run_means(&p, a);
}

static void max_row(void *ctx, uint64_t task, uint32_t worker) {
    const pooling *p = ctx;
    const int64_t rows = p->y->shape[2], columns = p->y->shape[3], channels = p->x->shape[1], n = (int64_t)task / rows,
                  top = (int64_t)task % rows * p->stride[0] - p->padding[0];
    const uint8_t *x = (const uint8_t *)p->x->data + n * p->x->shape[2] * p->x->shape[3] * channels;
    uint8_t *y = (uint8_t *)p->y->data + (int64_t)task * columns * channels;
    (void)worker;
    for (int64_t q = 0; q < columns; q++, y += channels) {
        memset(y, 0, (size_t)channels);
        for (int64_t r = 0; r < p->kernel[0]; r++)
            for (int64_t s = 0; s < p->kernel[1]; s++) {
                const int64_t h = top + r * p->dilation[0], w = q * p->stride[1] - p->padding[1] + s * p->dilation[1];
                if (h < 0 || h >= p->x->shape[2] || w < 0 || w >= p->x->shape[3]) continue;
                const uint8_t *pixel = x + (h * p->x->shape[3] + w) * channels;
                CPU_INDEPENDENT
                for (int64_t c = 0; c < channels; c++) y[c] = pixel[c] > y[c] ? pixel[c] : y[c];
            }
    }
}

static int32_t max_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_max_pool2d_attrs *attrs = &((const cvr_max_pool2d_int8_attrs *)a->attrs)->pool;
    pooling p = {.x = a->inputs[0], .y = a->outputs[0]};
    (void)err;
    memcpy(p.kernel, attrs->kernel_size, sizeof p.kernel);
    memcpy(p.stride, attrs->stride, sizeof p.stride);
    memcpy(p.padding, attrs->padding, sizeof p.padding);
    memcpy(p.dilation, attrs->dilation, sizeof p.dilation);
    cpu_run(a->pool, p.y->shape[0] * p.y->shape[2], max_row, &p);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"quantize", quantize_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"dequantize", dequantize_run, NULL, dequantize_supports, 0, CPU_KERNEL_FLAGS, NULL},
    {"requantize_int8", requantize_run, NULL, NULL, 1, CPU_KERNEL_FLAGS, NULL},
    {"add_int8", add_run, NULL, NULL, 3, CPU_KERNEL_FLAGS, NULL},
    {"max_pool2d_int8", max_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"avg_pool2d_int8", avg_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"adaptive_avg_pool2d_int8", adaptive_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_int8_simple_kernels = {kernels, sizeof kernels / sizeof *kernels};
