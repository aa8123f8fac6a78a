/* The ops on integers as <cvr/plugin/ops/quant.h> says them, element by element. */
#include "quant_family.h"

/* Place of element (n,c,h,w) in a dense rank-4 tensor. */
static int64_t place(const cvr_tensor *t, int64_t n, int64_t c, int64_t h, int64_t w) {
    return ((n * t->shape[2] + h) * t->shape[3] + w) * t->shape[1] + c;
}

static int inside(const cvr_tensor *t, int64_t h, int64_t w) {
    return h >= 0 && h < t->shape[2] && w >= 0 && w < t->shape[3];
}

static const int8_t *weight_row(const cvr_kernel_args *a, int64_t k) {
    return (const int8_t *)a->inputs[1]->data + k * cvr_numel(a->inputs[1]->rank - 1, &a->inputs[1]->shape[1]);
}

static int32_t bias_of(const cvr_kernel_args *a, int64_t k) {
    return a->n_inputs > 3 && a->inputs[3] ? ((const int32_t *)a->inputs[3]->data)[k] : 0;
}

static int32_t products(const uint8_t *x, const int8_t *w, int64_t n, int32_t x_zero) {
    int32_t sum = 0;
    for (int64_t i = 0; i < n; i++) sum += ((int32_t)x[i] - x_zero) * (int32_t)w[i];
    return sum;
}

static uint8_t requantize(const cvr_kernel_args *a, const cvr_requant *q, int64_t k, int32_t acc) {
    const float m = cvr_requant_multiplier(q, ((const float *)a->inputs[2]->data)[k]);
    return cvr_requant_round((float)acc * m, q->y_zero);
}

/* ---- conv2d_int8 ---- */

static int32_t convolve(const cvr_kernel_args *a, int64_t n, int64_t k, int64_t p, int64_t q) {
    const cvr_conv2d_int8_attrs *attrs = a->attrs;
    const cvr_conv2d_attrs *c = &attrs->conv;
    const cvr_tensor *x = a->inputs[0], *weight = a->inputs[1];
    const int64_t depth = weight->shape[1], group = k / (weight->shape[0] / c->groups);
    int32_t acc = bias_of(a, k);
    for (int64_t r = 0; r < weight->shape[2]; r++)
        for (int64_t s = 0; s < weight->shape[3]; s++) {
            const int64_t h = p * c->stride[0] - c->padding[0] + r * c->dilation[0],
                          w = q * c->stride[1] - c->padding[1] + s * c->dilation[1];
            if (!inside(x, h, w)) continue;
            acc += products((const uint8_t *)x->data + place(x, n, group * depth, h, w),
                            weight_row(a, k) + (r * weight->shape[3] + s) * depth, depth, (int32_t)attrs->q.x_zero);
        }
    return acc;
}

/* y[n,k,p,q] = what sum_of gives, requantised; both convolutions' attributes begin with those of that. */
static void run_convolution(const cvr_kernel_args *a,
                            int32_t (*sum_of)(const cvr_kernel_args *, int64_t, int64_t, int64_t, int64_t)) {
    const cvr_requant *to = a->attrs;
    const cvr_tensor *y = a->outputs[0];
    for (int64_t n = 0; n < y->shape[0]; n++)
        for (int64_t p = 0; p < y->shape[2]; p++)
            for (int64_t q = 0; q < y->shape[3]; q++)
                for (int64_t k = 0; k < y->shape[1]; k++)
                    ((uint8_t *)y->data)[place(y, n, k, p, q)] = requantize(a, to, k, sum_of(a, n, k, p, q));
}

int32_t int8_conv_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    run_convolution(a, convolve);
    return CVR_OK;
}

/* ---- conv_transpose2d_int8 ---- */

/* The sum of products over the channels of one pixel: weights lie (C,R,S,K). */
static int32_t transposed_products(const uint8_t *x, const int8_t *w, int64_t step, int64_t n, int32_t x_zero) {
    int32_t sum = 0;
    for (int64_t c = 0; c < n; c++) sum += ((int32_t)x[c] - x_zero) * (int32_t)w[c * step];
    return sum;
}

static int32_t convolve_transposed(const cvr_kernel_args *a, int64_t n, int64_t k, int64_t p, int64_t q) {
    const cvr_conv_transpose2d_int8_attrs *attrs = a->attrs;
    const cvr_conv2d_attrs *c = &attrs->conv.conv;
    const cvr_tensor *x = a->inputs[0], *weight = a->inputs[1];
    const int64_t filters = weight->shape[1], step = weight->shape[2] * weight->shape[3] * filters;
    int32_t acc = bias_of(a, k);
    for (int64_t r = 0; r < weight->shape[2]; r++)
        for (int64_t s = 0; s < weight->shape[3]; s++) {
            const int64_t down = p + c->padding[0] - r * c->dilation[0], right = q + c->padding[1] - s * c->dilation[1];
            if (down % c->stride[0] || right % c->stride[1]) continue;
            const int64_t h = down / c->stride[0], w = right / c->stride[1];
            if (!inside(x, h, w)) continue;
            acc += transposed_products((const uint8_t *)x->data + place(x, n, 0, h, w),
                                       (const int8_t *)weight->data + (r * weight->shape[3] + s) * filters + k, step,
                                       x->shape[1], (int32_t)attrs->q.x_zero);
        }
    return acc;
}

int32_t int8_transposed_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    run_convolution(a, convolve_transposed);
    return CVR_OK;
}

int32_t int8_linear_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_requant *q = a->attrs;
    const int64_t in = a->inputs[1]->shape[1], out = a->inputs[1]->shape[0];
    const int64_t rows = cvr_numel(a->outputs[0]->rank, a->outputs[0]->shape) / (out ? out : 1);
    (void)err;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < out; k++) {
            const uint8_t *x = (const uint8_t *)a->inputs[0]->data + i * in;
            const int32_t acc = bias_of(a, k) + products(x, weight_row(a, k), in, (int32_t)q->x_zero);
            ((uint8_t *)a->outputs[0]->data)[i * out + k] = requantize(a, q, k, acc);
        }
    return CVR_OK;
}

int32_t int8_add_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_add_int8 s = cvr_add_int8_of(a->attrs);
    const uint8_t *x = a->inputs[0]->data, *b = a->inputs[1]->data;
    uint8_t *y = a->outputs[0]->data;
    const int64_t n = cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
    (void)err;
    for (int64_t i = 0; i < n; i++) y[i] = cvr_add_int8_one(&s, x[i], b[i]);
    return CVR_OK;
}

/* ---- pools ---- */

/* A window over one channel: its rows and columns from `first` up to `end`, cut to x. */
typedef struct box {
    int64_t first[2], end[2];
} box;

static int32_t sum_of(const cvr_tensor *x, int64_t n, int64_t c, const box *b) {
    int32_t sum = 0;
    for (int64_t h = b->first[0]; h < b->end[0]; h++)
        for (int64_t w = b->first[1]; w < b->end[1]; w++) sum += ((const uint8_t *)x->data)[place(x, n, c, h, w)];
    return sum;
}

/* `pixels` inside of x; the mean is over `n` of them. */
static uint8_t mean_of(const cvr_requant *q, int32_t sum, int64_t pixels, int64_t n) {
    const float m = (float)q->x_scale / (float)q->y_scale / (float)n;
    return cvr_requant_round((float)(sum - (int32_t)(pixels * q->x_zero)) * m, q->y_zero);
}

int32_t int8_max_pool_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_max_pool2d_attrs *p = &((const cvr_max_pool2d_int8_attrs *)a->attrs)->pool;
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    (void)err;
    for (int64_t i = 0, c = 0; i < cvr_numel(4, y->shape); i++, c = i % y->shape[1]) {
        const int64_t pixel = i / y->shape[1], column = pixel % y->shape[3], row = pixel / y->shape[3] % y->shape[2],
                      n = pixel / y->shape[3] / y->shape[2];
        uint8_t best = 0;
        for (int64_t tap = 0; tap < p->kernel_size[0] * p->kernel_size[1]; tap++) {
            const int64_t h = row * p->stride[0] - p->padding[0] + tap / p->kernel_size[1] * p->dilation[0],
                          w = column * p->stride[1] - p->padding[1] + tap % p->kernel_size[1] * p->dilation[1];
            const uint8_t v = inside(x, h, w) ? ((const uint8_t *)x->data)[place(x, n, c, h, w)] : 0;
            best = v > best ? v : best;
        }
        ((uint8_t *)y->data)[i] = best;
    }
    return CVR_OK;
}

int32_t int8_avg_pool_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_avg_pool2d_int8_attrs *attrs = a->attrs;
    const cvr_avg_pool2d_attrs *p = &attrs->pool;
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    (void)err;
    for (int64_t i = 0; i < cvr_numel(4, y->shape); i++) {
        const int64_t pixel = i / y->shape[1], at[2] = {pixel / y->shape[3] % y->shape[2], pixel % y->shape[3]};
        int64_t padded = 1, pixels = 1;
        box b;
        for (int k = 0; k < 2; k++) {
            const int64_t start = at[k] * p->stride[k] - p->padding[k], size = x->shape[2 + k];
            int64_t end = start + p->kernel_size[k];
            end = end < size + p->padding[k] ? end : size + p->padding[k];
            padded *= end - start;
            b.first[k] = start > 0 ? start : 0;
            b.end[k] = end < size ? end : size;
            pixels *= b.end[k] > b.first[k] ? b.end[k] - b.first[k] : 0;
        }
        const int64_t n = p->divisor_override ? p->divisor_override : p->count_include_pad ? padded : pixels;
        ((uint8_t *)y->data)[i] = mean_of(&attrs->q, sum_of(x, pixel / y->shape[3] / y->shape[2], i % y->shape[1], &b),
                                          pixels, n > 0 ? n : 1);
    }
    return CVR_OK;
}

int32_t int8_adaptive_pool_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_adaptive_avg_pool2d_int8_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    (void)err;
    for (int64_t i = 0; i < cvr_numel(4, y->shape); i++) {
        const int64_t pixel = i / y->shape[1], at[2] = {pixel / y->shape[3] % y->shape[2], pixel % y->shape[3]};
        int64_t pixels = 1;
        box b;
        for (int k = 0; k < 2; k++) {
            const int64_t from = x->shape[2 + k], to = attrs->pool.size[k];
            b.first[k] = at[k] * from / to;
            b.end[k] = ((at[k] + 1) * from + to - 1) / to;
            pixels *= b.end[k] - b.first[k];
        }
        ((uint8_t *)y->data)[i] =
            mean_of(&attrs->q, sum_of(x, pixel / y->shape[3] / y->shape[2], i % y->shape[1], &b), pixels, pixels);
    }
    return CVR_OK;
}

int32_t int8_upsample_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_upsample_attrs *u = &((const cvr_upsample_int8_attrs *)a->attrs)->upsample;
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    const uint8_t *from = x->data;
    (void)err;
    for (int64_t i = 0; i < cvr_numel(4, y->shape); i++) {
        const int64_t c = i % y->shape[1], pixel = i / y->shape[1], column = pixel % y->shape[3],
                      row = pixel / y->shape[3] % y->shape[2], n = pixel / y->shape[3] / y->shape[2];
        const cvr_upsample_source h = cvr_upsample_source_of(u, 0, x->shape[2], y->shape[2], row),
                                  w = cvr_upsample_source_of(u, 1, x->shape[3], y->shape[3], column);
        const uint8_t four[4] = {from[place(x, n, c, h.low, w.low)], from[place(x, n, c, h.low, w.high)],
                                 from[place(x, n, c, h.high, w.low)], from[place(x, n, c, h.high, w.high)]};
        ((uint8_t *)y->data)[i] =
            cvr_upsample_int8_one(four, cvr_upsample_int8_share(h.t), cvr_upsample_int8_share(w.t));
    }
    return CVR_OK;
}

int32_t int8_requantize_run(const cvr_kernel_args *a, cvr_error *err) {
    const uint8_t *x = a->inputs[0]->data;
    uint8_t *y = a->outputs[0]->data;
    const int64_t n = cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
    (void)err;
    for (int64_t i = 0; i < n; i++) y[i] = cvr_requantize_one(a->attrs, x[i]);
    return CVR_OK;
}
