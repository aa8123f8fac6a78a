/* Networks of 8-bit integers (<cvr/plugin/ops/quant.h>): sums in i32, which no rounding touches. */
#include "emit.h"
#include "emit_heads.h"
#include "emit_windows.h"
#include <cvr/plugin/ops/quant.h>
#include <math.h>
#include <stdlib.h>

/* clamp, round to even, then move by the zero point: cvr_requant_round, to bytes from `lowest` to `highest` */
static hlo_value rounded(hlo *h, hlo_value v, int64_t zero, int64_t lowest, int64_t highest) {
    const hlo_value low = hlo_f32(h, (double)(lowest - zero)), high = hlo_f32(h, (double)(highest - zero));
    v = hlo_select(h, hlo_compare(h, "GT", v, low), v, low); /* NaN becomes the lowest */
    v = hlo_select(h, hlo_compare(h, "LT", v, high), v, high);
    const hlo_value q = hlo_convert(h, hlo_unary(h, "round_nearest_even", v), CVR_I32);
    return hlo_add(h, q, hlo_integer(h, CVR_I32, zero));
}

HLO_EMITTER(quantize) {
    const cvr_quantize_attrs *a = HLO_ATTRS(cvr_quantize_attrs);
    const int is_signed = a->dtype == CVR_I8;
    const hlo_value v = hlo_div(h, hlo_input(h, 0), hlo_f32(h, a->scale));
    hlo_result(h, rounded(h, v, a->zero, is_signed ? -128 : 0, is_signed ? 127 : 255));
}

HLO_EMITTER(dequantize) {
    const cvr_dequantize_attrs *a = HLO_ATTRS(cvr_dequantize_attrs);
    const hlo_value q = hlo_convert(h, hlo_input_raw(h, 0), CVR_I32);
    const hlo_value x = hlo_convert(h, hlo_sub(h, q, hlo_integer(h, CVR_I32, a->zero)), CVR_F32);
    const uint32_t axis = a->axis ? x.rank - 1 : 0;
    hlo_result(h, hlo_mul(h, x, hlo_has(h, 1) ? hlo_along(h, hlo_input(h, 1), x, axis) : hlo_f32(h, a->scale)));
}

/* input i - x.zero, i32 */
static hlo_value without_zero(hlo *h, uint32_t i, const cvr_requant *q) {
    return hlo_sub(h, hlo_convert(h, hlo_input_raw(h, i), CVR_I32), hlo_integer(h, CVR_I32, q->x_zero));
}

HLO_EMITTER(requantize_int8) {
    const cvr_requant *q = HLO_ATTRS(cvr_requant);
    const hlo_value x = hlo_mul(h, hlo_convert(h, without_zero(h, 0, q), CVR_F32), hlo_f32(h, q->x_scale));
    hlo_result(h, rounded(h, hlo_div(h, x, hlo_f32(h, q->y_scale)), q->y_zero, 0, 255));
}

/* acc (..., K) with bias and the multipliers of each row of the weight, x, weight, weight_scale, [bias] */
static void requantized(hlo *h, hlo_value acc, const cvr_requant *q) {
    const uint32_t last = acc.rank - 1;
    if (hlo_has(h, 3)) acc = hlo_add(h, acc, hlo_along(h, hlo_input_raw(h, 3), acc, last));
    const hlo_value scaled = hlo_mul(h, hlo_input(h, 2), hlo_f32(h, q->x_scale));
    const hlo_value m = hlo_div(h, scaled, hlo_f32(h, q->y_scale));
    const hlo_value v = hlo_mul(h, hlo_convert(h, acc, CVR_F32), hlo_along(h, m, acc, last));
    hlo_result(h, rounded(h, v, q->y_zero, 0, 255));
}

HLO_EMITTER(conv2d_int8) {
    const cvr_conv2d_int8_attrs *a = HLO_ATTRS(cvr_conv2d_int8_attrs);
    const hlo_value x = without_zero(h, 0, &a->q), weight = hlo_convert(h, hlo_input_raw(h, 1), CVR_I32);
    hlo_value y = hlo_like(h->a->outputs[0]);
    y.dtype = CVR_I32;
    requantized(h, windows_convolve(h, &a->conv, x, weight, y), &a->q);
}

HLO_EMITTER(conv_transpose2d_int8) {
    const cvr_conv_transpose2d_int8_attrs *a = HLO_ATTRS(cvr_conv_transpose2d_int8_attrs);
    const hlo_value x = without_zero(h, 0, &a->q), weight = hlo_convert(h, hlo_input_raw(h, 1), CVR_I32);
    hlo_value y = hlo_like(h->a->outputs[0]);
    y.dtype = CVR_I32;
    requantized(h, windows_transposed(h, &a->conv.conv, x, weight, y), &a->q);
}

HLO_EMITTER(linear_int8) {
    const cvr_requant *q = HLO_ATTRS(cvr_requant);
    const hlo_value x = without_zero(h, 0, q), weight = hlo_convert(h, hlo_input_raw(h, 1), CVR_I32);
    requantized(h, hlo_dot(h, x, weight, 0, x.rank - 1, 1), q);
}

/* Input i, (N,heads,L,E) */
static hlo_value head(hlo *h, uint32_t i, const cvr_attention_int8_attrs *a) {
    return heads_apart(h, without_zero(h, i, &a->q), a->attention.num_heads);
}

/* cvr_attention_int8_weight, as i32 */
static hlo_value attention_weights(hlo *h, hlo_value below, float decay) {
    static const double terms[4] = {-0.05337587743997574, 0.2395472228527069, -0.6930790543556213, 1};
    static const int64_t powers = 11;
    float halves[11];
    for (int i = 0; i < 11; i++) halves[i] = 1.0f / (float)(1 << i);
    const hlo_value all = hlo_mul(h, hlo_convert(h, below, CVR_F32), hlo_f32(h, (double)decay)), ten = hlo_f32(h, 10);
    const hlo_value z = hlo_select(h, hlo_compare(h, "LT", all, ten), all, hlo_fill(h, all, 10));
    const hlo_value n = hlo_convert(h, z, CVR_I32), f = hlo_sub(h, z, hlo_convert(h, n, CVR_F32));
    hlo_value p = hlo_fill(h, f, 0.006909833289682865);
    for (int i = 0; i < 4; i++) p = hlo_add(h, hlo_mul(h, f, p), hlo_f32(h, terms[i]));
    p = hlo_mul(h, hlo_mul(h, p, hlo_f32(h, 255)), hlo_take(h, hlo_table_f32(h, halves, 1, &powers), n));
    return hlo_convert(h, hlo_unary(h, "round_nearest_even", p), CVR_I32);
}

HLO_EMITTER(scaled_dot_product_attention_int8) {
    const cvr_attention_int8_attrs *a = HLO_ATTRS(cvr_attention_int8_attrs);
    const hlo_value q = head(h, 0, a), k = head(h, 1, a), v = head(h, 2, a);
    const float ratio = (float)a->q.x_scale / (float)a->q.y_scale;
    const hlo_value s = hlo_dot(h, q, k, 2, 3, 3); /* (N,heads,L,S) */
    const hlo_value most = hlo_expand(h, hlo_reduce(h, "maximum", s, 8), s, 8);
    const hlo_value p = attention_weights(h, hlo_sub(h, most, s), cvr_attention_int8_decay(&a->q, q.shape[3]));
    const hlo_value sum = hlo_dot(h, p, v, 2, 3, 2), all = hlo_convert(h, hlo_sum(h, p, 8), CVR_F32);
    const hlo_value m = hlo_expand(h, hlo_div(h, hlo_fill(h, all, (double)ratio), all), sum, 8);
    const hlo_value y = rounded(h, hlo_mul(h, hlo_convert(h, sum, CVR_F32), m), a->q.y_zero, 0, 255);
    hlo_result(h, heads_together(h, y));
}

/* a * b + c, rounded once: in f64, where the product of a byte and an f32 is exact */
static hlo_value fused(hlo *h, hlo_value a, float b, hlo_value c) {
    const hlo_value product = hlo_mul(h, hlo_convert(h, a, HLO_F64), hlo_scalar(h, HLO_F64, (double)b));
    return hlo_convert(h, hlo_add(h, product, hlo_convert(h, c, HLO_F64)), CVR_F32);
}

HLO_EMITTER(add_int8) {
    const cvr_add_int8 s = cvr_add_int8_of(HLO_ATTRS(cvr_requant));
    const hlo_value a = hlo_convert(h, hlo_input_raw(h, 0), CVR_F32), b = hlo_convert(h, hlo_input_raw(h, 1), CVR_F32);
    const hlo_value inner = fused(h, b, s.b, hlo_fill(h, b, (double)s.fixed));
    hlo_result(h, rounded(h, fused(h, a, s.a, inner), 0, 0, 255));
}

/* ---- pools ---- */

HLO_EMITTER(max_pool2d_int8) {
    const cvr_max_pool2d_attrs *a = &HLO_ATTRS(cvr_max_pool2d_int8_attrs)->pool;
    const hlo_value x = hlo_convert(h, hlo_input_raw(h, 0), CVR_I32), y = hlo_like(h->a->outputs[0]);
    int64_t none[4] = {0}, cut[4] = {0};
    hlo_window w = {.base = {1, 1}};
    for (int i = 0; i < 2; i++) {
        w.size[i] = a->kernel_size[i];
        w.step[i] = a->stride[i];
        w.dilation[i] = a->dilation[i];
        w.low[i] = a->padding[i];
        w.high[i] = (y.shape[1 + i] - 1) * a->stride[i] + (a->kernel_size[i] - 1) * a->dilation[i] + 1 -
                    x.shape[1 + i] - a->padding[i];
        cut[1 + i] = w.high[i] < 0 ? w.high[i] : 0;
        w.high[i] -= cut[1 + i];
    }
    hlo_result(h, hlo_reduce_window(h, "maximum", hlo_pad(h, x, hlo_integer(h, CVR_I32, 0), none, cut, NULL), &w));
}

/* sums (N,P,Q,C) i32 over n(p,q) elements: times f32(f32(x.scale / y.scale) / n) */
static void mean_result(hlo *h, hlo_value sums, const cvr_requant *q, const int64_t *n) {
    const int64_t pixels = sums.shape[1] * sums.shape[2];
    static const uint32_t axes[2] = {1, 2};
    float *m = (float *)calloc((size_t)pixels, sizeof *m);
    if (!m) {
        hlo_fail(h, "out of memory");
        return;
    }
    for (int64_t i = 0; i < pixels; i++) m[i] = (float)q->x_scale / (float)q->y_scale / (float)(n[i] > 0 ? n[i] : 1);
    const hlo_value by = hlo_broadcast(h, hlo_table_f32(h, m, 2, &sums.shape[1]), sums, axes);
    hlo_result(h, rounded(h, hlo_mul(h, hlo_convert(h, sums, CVR_F32), by), q->y_zero, 0, 255));
    free(m);
}

HLO_EMITTER(avg_pool2d_int8) {
    const cvr_avg_pool2d_int8_attrs *a = HLO_ATTRS(cvr_avg_pool2d_int8_attrs);
    const hlo_value x = without_zero(h, 0, &a->q), y = hlo_like(h->a->outputs[0]);
    const int64_t in[2] = {x.shape[1], x.shape[2]}, p = y.shape[1], q = y.shape[2];
    int64_t *n = (int64_t *)calloc((size_t)(p * q), sizeof *n);
    if (!n) {
        hlo_fail(h, "out of memory");
        return;
    }
    for (int64_t i = 0; i < p * q; i++)
        n[i] = a->pool.divisor_override
                   ? a->pool.divisor_override
                   : windows_counted(&a->pool, 0, in[0], i / q) * windows_counted(&a->pool, 1, in[1], i % q);
    mean_result(h, windows_sums(h, &a->pool, x, y), &a->q, n);
    free(n);
}

/* ---- upsample_int8 ---- */

/* x (R, ...) -> (P, ...): for each p CVR_UPSAMPLE_INT8_ONE - t of row `low` and t of row `high`, whole numbers. */
static hlo_value between_rows(hlo *h, const cvr_upsample_attrs *a, int axis, hlo_value x, int64_t to) {
    int32_t *low = (int32_t *)calloc((size_t)to * 3, sizeof *low), *high = low + to, *t = high + to;
    hlo_value y = x;
    if (!low) {
        hlo_fail(h, "out of memory");
        return x;
    }
    for (int64_t p = 0; p < to; p++) {
        const cvr_upsample_source s = cvr_upsample_source_of(a, axis, x.shape[0], to, p);
        low[p] = (int32_t)s.low;
        high[p] = (int32_t)s.high;
        t[p] = cvr_upsample_int8_share(s.t);
    }
    y.shape[0] = to;
    const hlo_value share = hlo_along(h, hlo_table_i32(h, t, 1, &to), y, 0),
                    one = hlo_integer(h, CVR_I32, CVR_UPSAMPLE_INT8_ONE);
    const hlo_value first = hlo_mul(h, hlo_take(h, x, hlo_table_i32(h, low, 1, &to)), hlo_sub(h, one, share));
    y = hlo_add(h, first, hlo_mul(h, hlo_take(h, x, hlo_table_i32(h, high, 1, &to)), share));
    free(low);
    return y;
}

HLO_EMITTER(upsample_int8) {
    const cvr_upsample_attrs *a = &HLO_ATTRS(cvr_upsample_int8_attrs)->upsample;
    static const uint32_t columns_first[4] = {2, 1, 0, 3}, rows_first[4] = {1, 0, 2, 3}, back[4] = {2, 0, 1, 3};
    hlo_value x = hlo_transpose(h, hlo_convert(h, hlo_input_raw(h, 0), CVR_I32), columns_first); /* (W,H,N,C) */
    x = hlo_transpose(h, between_rows(h, a, 1, x, a->size[1]), rows_first);                      /* (H,Q,N,C) */
    x = hlo_transpose(h, between_rows(h, a, 0, x, a->size[0]), back);                            /* (N,P,Q,C) */
    const int64_t one = CVR_UPSAMPLE_INT8_ONE * CVR_UPSAMPLE_INT8_ONE;
    const hlo_value half = hlo_integer(h, CVR_I32, one / 2);
    hlo_result(h, hlo_div(h, hlo_add(h, x, half), hlo_integer(h, CVR_I32, one)));
}

/* A range of an axis after the other, since their lengths differ. */
static hlo_value ranges(hlo *h, hlo_value x, uint32_t axis, int64_t to) {
    hlo_value all[CVR_MAX_IO];
    const int64_t from = x.shape[axis];
    if (to > (int64_t)CVR_MAX_IO) hlo_fail(h, "a result of more than %u rows", CVR_MAX_IO);
    for (int64_t p = 0; p < to && p < (int64_t)CVR_MAX_IO; p++) {
        const hlo_value part = hlo_slice_axis(h, x, axis, p * from / to, ((p + 1) * from + to - 1) / to);
        hlo_value like = part;
        like.shape[axis] = 1;
        all[p] = hlo_reshape_like(h, hlo_sum(h, part, 1u << axis), like);
    }
    return hlo_concat(h, all, (uint32_t)(to < (int64_t)CVR_MAX_IO ? to : CVR_MAX_IO), axis);
}

HLO_EMITTER(adaptive_avg_pool2d_int8) {
    const cvr_adaptive_avg_pool2d_int8_attrs *a = HLO_ATTRS(cvr_adaptive_avg_pool2d_int8_attrs);
    const hlo_value x = without_zero(h, 0, &a->q);
    const int64_t p = a->pool.size[0], q = a->pool.size[1], in[2] = {x.shape[1], x.shape[2]};
    int64_t *n = (int64_t *)calloc((size_t)(p * q), sizeof *n);
    if (!n) {
        hlo_fail(h, "out of memory");
        return;
    }
    for (int64_t i = 0; i < p * q; i++)
        n[i] = (((i / q + 1) * in[0] + p - 1) / p - i / q * in[0] / p) *
               (((i % q + 1) * in[1] + q - 1) / q - i % q * in[1] / q);
    mean_result(h, ranges(h, ranges(h, x, 1, p), 2, q), &a->q, n);
    free(n);
}

const hlo_op emit_int8_ops[] = {HLO_OP("quantize", quantize),
                                HLO_OP("dequantize", dequantize),
                                HLO_OP("conv2d_int8", conv2d_int8),
                                HLO_OP("conv_transpose2d_int8", conv_transpose2d_int8),
                                HLO_OP("scaled_dot_product_attention_int8", scaled_dot_product_attention_int8),
                                HLO_OP("requantize_int8", requantize_int8),
                                HLO_OP("upsample_int8", upsample_int8),
                                HLO_OP("linear_int8", linear_int8),
                                HLO_OP("add_int8", add_int8),
                                HLO_OP("max_pool2d_int8", max_pool2d_int8),
                                HLO_OP("avg_pool2d_int8", avg_pool2d_int8),
                                HLO_OP("adaptive_avg_pool2d_int8", adaptive_avg_pool2d_int8),
                                {.op = NULL}};
