/*
 * Pooling (<cvr/plugin/ops/pool.h>) and resizing (<cvr/plugin/ops/resize.h>). Maxima go tap by tap, since the winner's
 * number is wanted and which of equal ones it is. Adaptive pools and resizing are products with a matrix of weights
 * along each axis, whose transpose is the gradient.
 */
#include "emit.h"
#include "emit_windows.h"
#include <cvr/plugin/ops/resize.h>
#include <math.h>
#include <stdlib.h>

/* ---- maxima ---- */

typedef struct taps {
    const cvr_max_pool2d_attrs *a;
    int64_t in[2], out[2]; /* heights and widths */
} taps;

/* How far an axis has to reach for all windows, beyond its own elements and the padding in front. */
static int64_t behind(const taps *t, int i) {
    const cvr_max_pool2d_attrs *a = t->a;
    const int64_t last = (t->out[i] - 1) * a->stride[i] + (a->kernel_size[i] - 1) * a->dilation[i] + 1;
    return last - a->padding[i] > t->in[i] ? last - a->padding[i] - t->in[i] : 0;
}

/* The element of each window that tap (r, s) looks at, of the padded picture. */
static hlo_value at_tap(hlo *h, hlo_value padded, const taps *t, int64_t r, int64_t s) {
    const cvr_max_pool2d_attrs *a = t->a;
    const int64_t tap[2] = {r, s}, one[4] = {1, a->stride[0], a->stride[1], 1};
    int64_t from[4] = {0}, to[4] = {padded.shape[0], 0, 0, padded.shape[3]};
    for (int i = 0; i < 2; i++) {
        from[1 + i] = tap[i] * a->dilation[i];
        to[1 + i] = from[1 + i] + (t->out[i] - 1) * a->stride[i] + 1;
    }
    return hlo_slice(h, padded, from, to, one);
}

HLO_EMITTER(max_pool2d) {
    const hlo_value x = hlo_input(h, 0), y = hlo_like(h->a->outputs[0]), index = hlo_like(h->a->outputs[1]);
    const taps t = {HLO_ATTRS(cvr_max_pool2d_attrs), {x.shape[1], x.shape[2]}, {y.shape[1], y.shape[2]}};
    const int64_t low[4] = {0, t.a->padding[0], t.a->padding[1], 0}, high[4] = {0, behind(&t, 0), behind(&t, 1), 0};
    const hlo_value padded = hlo_pad(h, x, hlo_f32(h, -HUGE_VAL), low, high, NULL);
    hlo_value best = at_tap(h, padded, &t, 0, 0), which = index;
    which.dtype = CVR_I32;
    which = hlo_fill(h, which, 0);
    for (int64_t k = 1; k < t.a->kernel_size[0] * t.a->kernel_size[1]; k++) {
        const hlo_value v = at_tap(h, padded, &t, k / t.a->kernel_size[1], k % t.a->kernel_size[1]);
        const hlo_value wins = hlo_binary(h, "or", hlo_compare(h, "GT", v, best), hlo_compare(h, "NE", v, v));
        best = hlo_select(h, wins, v, best);
        which = hlo_select(h, wins, hlo_scalar(h, CVR_I32, (double)k), which);
    }
    hlo_result(h, best);
    hlo_result(h, which);
}

HLO_EMITTER(max_pool2d_backward) {
    const hlo_value grad = hlo_input(h, 0), which = hlo_convert(h, hlo_input_raw(h, 1), CVR_I32);
    const hlo_value dx = hlo_like(h->a->outputs[0]), zero = hlo_f32(h, 0);
    const taps t = {
        &HLO_ATTRS(cvr_max_pool2d_backward_attrs)->pool, {dx.shape[1], dx.shape[2]}, {grad.shape[1], grad.shape[2]}};
    const int64_t inner[4] = {0, t.a->stride[0] - 1, t.a->stride[1] - 1, 0};
    hlo_value sum = zero;
    for (int64_t k = 0; k < t.a->kernel_size[0] * t.a->kernel_size[1]; k++) {
        const int64_t tap[2] = {k / t.a->kernel_size[1], k % t.a->kernel_size[1]};
        int64_t low[4] = {0}, high[4] = {0};
        for (int i = 0; i < 2; i++) {
            low[1 + i] = tap[i] * t.a->dilation[i] - t.a->padding[i];
            high[1 + i] = t.in[i] - low[1 + i] - ((t.out[i] - 1) * t.a->stride[i] + 1);
        }
        const hlo_value own = hlo_compare(h, "EQ", which, hlo_scalar(h, CVR_I32, (double)k));
        const hlo_value part = hlo_pad(h, hlo_select(h, own, grad, zero), zero, low, high, inner);
        sum = k ? hlo_add(h, sum, part) : part;
    }
    hlo_result(h, sum);
}

/* ---- means ---- */

int64_t windows_counted(const cvr_avg_pool2d_attrs *a, int i, int64_t in, int64_t p) {
    const int64_t pad = a->count_include_pad ? a->padding[i] : 0;
    int64_t from = p * a->stride[i] - a->padding[i], to = from + a->kernel_size[i];
    if (from < -pad) from = -pad;
    if (to > in + pad) to = in + pad;
    return to > from ? to - from : 0;
}

/* 1 / D for each position of the result, (P,Q) in the shape of `like`. */
static hlo_value divisors(hlo *h, const cvr_avg_pool2d_attrs *a, const int64_t in[2], hlo_value like) {
    const int64_t p = like.shape[1], q = like.shape[2], shape[2] = {p, q};
    static const uint32_t axes[2] = {1, 2};
    if (a->divisor_override) return hlo_f32(h, 1.0 / (double)a->divisor_override);
    float *values = (float *)calloc((size_t)(p * q), sizeof *values);
    int same = 1;
    if (!values) {
        hlo_fail(h, "out of memory");
        return like;
    }
    for (int64_t i = 0; i < p * q; i++) {
        values[i] = (float)(1.0 / (double)(windows_counted(a, 0, in[0], i / q) * windows_counted(a, 1, in[1], i % q)));
        same = same && values[i] == values[0];
    }
    const hlo_value v =
        same ? hlo_f32(h, (double)values[0]) : hlo_broadcast(h, hlo_table_f32(h, values, 2, shape), like, axes);
    free(values);
    return v;
}

/* Windows of the average, with padding so far that `out` positions fit. */
static hlo_window window_of(const cvr_avg_pool2d_attrs *a, const int64_t in[2], const int64_t out[2]) {
    hlo_window w = {.dilation = {1, 1}, .base = {1, 1}};
    for (int i = 0; i < 2; i++) {
        w.size[i] = a->kernel_size[i];
        w.step[i] = a->stride[i];
        w.low[i] = a->padding[i];
        w.high[i] = (out[i] - 1) * a->stride[i] + a->kernel_size[i] - in[i] - a->padding[i];
    }
    return w;
}

hlo_value windows_sums(hlo *h, const cvr_avg_pool2d_attrs *a, hlo_value x, hlo_value y) {
    const int64_t in[2] = {x.shape[1], x.shape[2]}, out[2] = {y.shape[1], y.shape[2]};
    int64_t cut[4] = {0}, none[4] = {0};
    hlo_window w = window_of(a, in, out);
    for (int i = 0; i < 2; i++) {
        if (w.high[i] >= 0) continue;
        cut[1 + i] = w.high[i];
        w.high[i] = 0;
    }
    return hlo_reduce_window(h, "add", hlo_pad(h, x, hlo_scalar(h, x.dtype, 0), none, cut, NULL), &w);
}

HLO_EMITTER(avg_pool2d) {
    const cvr_avg_pool2d_attrs *a = HLO_ATTRS(cvr_avg_pool2d_attrs);
    const hlo_value x = hlo_input(h, 0), sums = windows_sums(h, a, x, hlo_like(h->a->outputs[0]));
    const int64_t in[2] = {x.shape[1], x.shape[2]};
    hlo_result(h, hlo_mul(h, sums, divisors(h, a, in, sums)));
}

/* dx[h] = sum over windows with h in them of grad / D: a window over grad with steps between its elements. */
HLO_EMITTER(avg_pool2d_backward) {
    const cvr_avg_pool2d_attrs *a = &HLO_ATTRS(cvr_avg_pool2d_backward_attrs)->pool;
    const hlo_value grad = hlo_input(h, 0), dx = hlo_like(h->a->outputs[0]);
    const int64_t in[2] = {dx.shape[1], dx.shape[2]};
    int64_t low[4] = {0}, high[4] = {0};
    const int64_t inner[4] = {0, a->stride[0] - 1, a->stride[1] - 1, 0};
    for (int i = 0; i < 2; i++) {
        low[1 + i] = a->kernel_size[i] - 1 - a->padding[i];
        high[1 + i] = in[i] + a->padding[i] - 1 - (grad.shape[1 + i] - 1) * a->stride[i];
    }
    const hlo_value shares = hlo_mul(h, grad, divisors(h, a, in, grad));
    const hlo_value wide = hlo_pad(h, shares, hlo_f32(h, 0), low, high, inner);
    const hlo_window w = {
        .size = {a->kernel_size[0], a->kernel_size[1]}, .step = {1, 1}, .dilation = {1, 1}, .base = {1, 1}};
    hlo_result(h, hlo_reduce_window(h, "add", wide, &w));
}

/* ---- weights along axes ---- */

/* y = the matrix (out,in) times x along an axis of (N,H,W,C), 1 or 2; `turned`: the matrix is (in,out). */
static hlo_value along_axis(hlo *h, hlo_value x, const float *matrix, int64_t out, int64_t in, uint32_t axis,
                            int turned) {
    const int64_t shape[2] = {turned ? in : out, turned ? out : in};
    static const uint32_t back[2][4] = {{0, 3, 1, 2}, {0, 1, 3, 2}};
    const hlo_value m = hlo_table_f32(h, matrix, 2, shape);
    return hlo_transpose(h, hlo_dot(h, x, m, 0, axis, turned ? 0 : 1), back[axis - 1]);
}

/* Fills the matrix (large or small, ...) of an axis: rows are positions of the result of the forward. */
typedef void (*weights_fn)(const void *attrs, int axis, int64_t in, int64_t out, float *matrix);

/* Forward from `x` to the shape of the output, or backward: then x is the gradient of what forward made. */
static hlo_value weighted(hlo *h, hlo_value x, weights_fn weights, const void *attrs, int is_backward) {
    const hlo_value y = hlo_like(h->a->outputs[0]);
    for (uint32_t axis = 1; axis < 3; axis++) {
        const int64_t from = x.shape[axis], to = y.shape[axis];
        const int64_t in = is_backward ? to : from, out = is_backward ? from : to;
        float *matrix = (float *)calloc((size_t)(in * out), sizeof *matrix);
        if (!matrix) {
            hlo_fail(h, "out of memory");
            return x;
        }
        weights(attrs, (int)axis - 1, in, out, matrix);
        x = along_axis(h, x, matrix, to, from, axis, is_backward);
        free(matrix);
    }
    return x;
}

static void adaptive_weights(const void *attrs, int axis, int64_t in, int64_t out, float *matrix) {
    (void)attrs, (void)axis;
    for (int64_t p = 0; p < out; p++) {
        const int64_t from = p * in / out, to = ((p + 1) * in + out - 1) / out;
        for (int64_t i = from; i < to; i++) matrix[p * in + i] = 1.0f / (float)(to - from);
    }
}

HLO_EMITTER(adaptive_avg_pool2d) {
    const hlo_value x = hlo_input(h, 0);
    const int64_t *size = HLO_ATTRS(cvr_adaptive_avg_pool2d_attrs)->size;
    if (size[0] == 1 && size[1] == 1)
        hlo_result(h, hlo_mean(h, x, 6));
    else
        hlo_result(h, weighted(h, x, adaptive_weights, NULL, 0));
}

HLO_EMITTER(adaptive_avg_pool2d_backward) {
    const hlo_value grad = hlo_input(h, 0);
    hlo_value like = hlo_like(h->a->outputs[0]);
    like.dtype = CVR_F32;
    static const uint32_t axes[2] = {0, 3};
    const int64_t rows[2] = {grad.shape[0], grad.shape[3]};
    if (grad.shape[1] == 1 && grad.shape[2] == 1) {
        const hlo_value share = hlo_scale(h, grad, 1.0 / (double)(like.shape[1] * like.shape[2]));
        hlo_result(h, hlo_broadcast(h, hlo_reshape(h, share, 2, rows), like, axes));
    } else {
        hlo_result(h, weighted(h, grad, adaptive_weights, NULL, 1));
    }
}

/* Coordinates in single precision, as PyTorch has them. */
static void upsample_weights(const void *attrs, int axis, int64_t in, int64_t out, float *matrix) {
    const cvr_upsample_attrs *a = (const cvr_upsample_attrs *)attrs;
    for (int64_t p = 0; p < out; p++) {
        const cvr_upsample_source s = cvr_upsample_source_of(a, axis, in, out, p);
        matrix[p * in + s.low] += 1 - s.t;
        matrix[p * in + s.high] += s.t;
    }
}

HLO_EMITTER(upsample) {
    hlo_result(h, weighted(h, hlo_input(h, 0), upsample_weights, h->a->attrs, 0));
}

HLO_EMITTER(upsample_backward) {
    const cvr_upsample_backward_attrs *a = HLO_ATTRS(cvr_upsample_backward_attrs);
    hlo_result(h, weighted(h, hlo_input(h, 0), upsample_weights, &a->upsample, 1));
}

const hlo_op emit_pool_ops[] = {HLO_OP("max_pool2d", max_pool2d),
                                HLO_OP("max_pool2d_backward", max_pool2d_backward),
                                HLO_OP("avg_pool2d", avg_pool2d),
                                HLO_OP("avg_pool2d_backward", avg_pool2d_backward),
                                HLO_OP("adaptive_avg_pool2d", adaptive_avg_pool2d),
                                HLO_OP("adaptive_avg_pool2d_backward", adaptive_avg_pool2d_backward),
                                HLO_OP("upsample", upsample),
                                HLO_OP("upsample_backward", upsample_backward),
                                {.op = NULL}};
