/* Pooling as its formulas say it (<cvr/plugin/ops/pool.h>), channel by channel. */
#include "pool_family.h"

/* Place of element (n,c,h,w) in a dense rank-4 tensor. */
static int64_t place(const cvr_tensor *t, int64_t n, int64_t c, int64_t h, int64_t w) {
    return ((n * t->shape[2] + h) * t->shape[3] + w) * t->shape[1] + c;
}

/* What a kernel does at one output position of the forward op. */
typedef void (*window_fn)(const cvr_kernel_args *a, int64_t n, int64_t c, int64_t p, int64_t q);

static int32_t each_window(const cvr_kernel_args *a, const cvr_tensor *positions, window_fn window) {
    for (int64_t n = 0; n < positions->shape[0]; n++)
        for (int64_t c = 0; c < positions->shape[1]; c++)
            for (int64_t p = 0; p < positions->shape[2]; p++)
                for (int64_t q = 0; q < positions->shape[3]; q++) window(a, n, c, p, q);
    return CVR_OK;
}

static void clear(const cvr_tensor *t) {
    memset(t->data, 0, (size_t)cvr_numel(4, t->shape) * sizeof(float));
}

/* ---- max ---- */

/* Place in `x` of the window's tap `tap` for the output (n,c,p,q), or -1 where it lies outside. */
static int64_t max_tap(const cvr_max_pool2d_attrs *a, const cvr_tensor *x, const int64_t ncpq[4], int64_t tap) {
    const int64_t r = tap / a->kernel_size[1], s = tap % a->kernel_size[1];
    const int64_t h = ncpq[2] * a->stride[0] - a->padding[0] + r * a->dilation[0];
    const int64_t w = ncpq[3] * a->stride[1] - a->padding[1] + s * a->dilation[1];
    if (h < 0 || h >= x->shape[2] || w < 0 || w >= x->shape[3]) return -1;
    return place(x, ncpq[0], ncpq[1], h, w);
}

static void max_window(const cvr_kernel_args *a, int64_t n, int64_t c, int64_t p, int64_t q) {
    const cvr_max_pool2d_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0], *index = a->outputs[1];
    float best = -INFINITY;
    int64_t winner = -1;
    for (int64_t tap = 0; tap < attrs->kernel_size[0] * attrs->kernel_size[1]; tap++) {
        const int64_t i = max_tap(attrs, x, (const int64_t[]){n, c, p, q}, tap);
        if (i < 0) continue;
        const float value = ((const float *)x->data)[i];
        if (winner >= 0 && !(value > best) && !isnan(value)) continue;
        best = value;
        winner = tap;
    }
    if (winner < 0) winner = 0; /* a dilated window can miss x altogether: nobody wins */
    ((float *)y->data)[place(y, n, c, p, q)] = best;
    if (index->dtype == CVR_U8)
        ((uint8_t *)index->data)[place(y, n, c, p, q)] = (uint8_t)winner;
    else
        ((int32_t *)index->data)[place(y, n, c, p, q)] = (int32_t)winner;
}

/* dx at the winner += grad */
static void max_backward_window(const cvr_kernel_args *a, int64_t n, int64_t c, int64_t p, int64_t q) {
    const cvr_tensor *grad = a->inputs[0], *index = a->inputs[1], *dx = a->outputs[0];
    const int64_t i = place(grad, n, c, p, q);
    const int64_t tap = index->dtype == CVR_U8 ? ((const uint8_t *)index->data)[i] : ((const int32_t *)index->data)[i];
    const int64_t to = max_tap(a->attrs, dx, (const int64_t[]){n, c, p, q}, tap);
    if (to >= 0) ((float *)dx->data)[to] += ((const float *)grad->data)[i];
}

int32_t pool_max_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return each_window(a, a->outputs[0], max_window);
}

int32_t pool_max_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    clear(a->outputs[0]);
    return each_window(a, a->inputs[0], max_backward_window);
}

/* ---- average ---- */

/* Rows [h0, h1) and columns [w0, w1) of the larger tensor, and what their sum is divided by. */
typedef struct area {
    int64_t h0, h1, w0, w1;
    double divisor;
} area;

static int64_t clamp(int64_t x, int64_t lo, int64_t hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

/* The window at (p,q), as PyTorch cuts it: it may reach into the padding, but not past it. */
static area avg_area(const cvr_avg_pool2d_attrs *a, const cvr_tensor *x, int64_t p, int64_t q) {
    const int64_t rows = x->shape[2], columns = x->shape[3];
    const int64_t h0 = p * a->stride[0] - a->padding[0], w0 = q * a->stride[1] - a->padding[1];
    const int64_t h1 = clamp(h0 + a->kernel_size[0], h0, rows + a->padding[0]);
    const int64_t w1 = clamp(w0 + a->kernel_size[1], w0, columns + a->padding[1]);
    area out = {clamp(h0, 0, rows), clamp(h1, 0, rows), clamp(w0, 0, columns), clamp(w1, 0, columns), 0};
    if (a->divisor_override)
        out.divisor = (double)a->divisor_override;
    else if (a->count_include_pad)
        out.divisor = (double)((h1 - h0) * (w1 - w0));
    else
        out.divisor = (double)((out.h1 - out.h0) * (out.w1 - out.w0));
    return out;
}

/* floor(p*H/P) <= h < ceil((p+1)*H/P), w likewise */
static area adaptive_area(const cvr_tensor *x, const cvr_tensor *y, int64_t p, int64_t q) {
    const int64_t rows = x->shape[2], columns = x->shape[3], out_rows = y->shape[2], out_columns = y->shape[3];
    area out = {p * rows / out_rows, ((p + 1) * rows + out_rows - 1) / out_rows, q * columns / out_columns,
                ((q + 1) * columns + out_columns - 1) / out_columns, 0};
    out.divisor = (double)((out.h1 - out.h0) * (out.w1 - out.w0));
    return out;
}

static float mean_of(const cvr_tensor *x, int64_t n, int64_t c, area at) {
    double sum = 0;
    for (int64_t h = at.h0; h < at.h1; h++)
        for (int64_t w = at.w0; w < at.w1; w++) sum += (double)((const float *)x->data)[place(x, n, c, h, w)];
    return (float)(sum / at.divisor);
}

static void spread(const cvr_tensor *dx, int64_t n, int64_t c, area at, float grad) {
    for (int64_t h = at.h0; h < at.h1; h++)
        for (int64_t w = at.w0; w < at.w1; w++)
            ((float *)dx->data)[place(dx, n, c, h, w)] += (float)((double)grad / at.divisor);
}

static void avg_window(const cvr_kernel_args *a, int64_t n, int64_t c, int64_t p, int64_t q) {
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    ((float *)y->data)[place(y, n, c, p, q)] = mean_of(x, n, c, avg_area(a->attrs, x, p, q));
}

static void avg_backward_window(const cvr_kernel_args *a, int64_t n, int64_t c, int64_t p, int64_t q) {
    const cvr_tensor *grad = a->inputs[0], *dx = a->outputs[0];
    spread(dx, n, c, avg_area(a->attrs, dx, p, q), ((const float *)grad->data)[place(grad, n, c, p, q)]);
}

static void adaptive_window(const cvr_kernel_args *a, int64_t n, int64_t c, int64_t p, int64_t q) {
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    ((float *)y->data)[place(y, n, c, p, q)] = mean_of(x, n, c, adaptive_area(x, y, p, q));
}

static void adaptive_backward_window(const cvr_kernel_args *a, int64_t n, int64_t c, int64_t p, int64_t q) {
    const cvr_tensor *grad = a->inputs[0], *dx = a->outputs[0];
    spread(dx, n, c, adaptive_area(dx, grad, p, q), ((const float *)grad->data)[place(grad, n, c, p, q)]);
}

int32_t pool_avg_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return each_window(a, a->outputs[0], avg_window);
}

int32_t pool_avg_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    clear(a->outputs[0]);
    return each_window(a, a->inputs[0], avg_backward_window);
}

int32_t pool_adaptive_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return each_window(a, a->outputs[0], adaptive_window);
}

int32_t pool_adaptive_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    clear(a->outputs[0]);
    return each_window(a, a->inputs[0], adaptive_backward_window);
}
