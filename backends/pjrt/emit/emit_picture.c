/* What a network reads of pictures (<cvr/plugin/ops/image.h>), and what a machine can do (<cvr/plugin/ops/peak.h>). */
#include "emit.h"
#include <cvr/plugin/ops/image.h>
#include <cvr/plugin/ops/peak.h>

HLO_EMITTER(normalize_pixels) {
    const cvr_normalize_pixels_attrs *a = HLO_ATTRS(cvr_normalize_pixels_attrs);
    const hlo_value x = hlo_div(h, hlo_convert(h, hlo_input_raw(h, 0), CVR_F32), hlo_f32(h, 255));
    const int64_t c = x.shape[3];
    float mean[4], std[4];
    for (int64_t i = 0; i < c && i < 4; i++) {
        mean[i] = (float)a->mean[i];
        std[i] = (float)a->std[i];
    }
    const hlo_value d = hlo_sub(h, x, hlo_along(h, hlo_table_f32(h, mean, 1, &c), x, 3));
    hlo_result(h, hlo_div(h, d, hlo_along(h, hlo_table_f32(h, std, 1, &c), x, 3)));
}

/* Number i of `params`, as a scalar. */
static hlo_value param(hlo *h, int64_t i) {
    return hlo_reshape(h, hlo_slice_axis(h, hlo_input(h, 1), 0, i, i + 1), 0, NULL);
}

/* A side of the box, held to the picture: 0 for what is not a number. */
static hlo_value side(hlo *h, int64_t i, int64_t size) {
    const hlo_value at = param(h, i), zero = hlo_f32(h, 0), most = hlo_f32(h, (double)size);
    const hlo_value held = hlo_select(h, hlo_compare(h, "LT", at, most), hlo_unary(h, "floor", at), most);
    return hlo_select(h, hlo_compare(h, "GT", at, zero), held, zero);
}

/* Whether a row or column of x lies from params[first] to params[last]. */
static hlo_value between(hlo *h, hlo_value x, uint32_t axis, int64_t first, int64_t last) {
    const hlo_value at = hlo_iota(h, CVR_F32, x, axis);
    return hlo_binary(h, "and", hlo_compare(h, "GE", at, side(h, first, x.shape[axis])),
                      hlo_compare(h, "LT", at, side(h, last, x.shape[axis])));
}

HLO_EMITTER(batch_mix) {
    const hlo_value x = hlo_input(h, 0), mode = param(h, 0), own = param(h, 1);
    const int64_t n = x.shape[0];
    const hlo_value parts[2] = {hlo_slice_axis(h, x, 0, n - 1, n), hlo_slice_axis(h, x, 0, 0, n - 1)};
    const hlo_value before = n > 1 ? hlo_concat(h, parts, 2, 0) : x;
    const hlo_value mixed = hlo_add(h, hlo_mul(h, before, hlo_sub(h, hlo_f32(h, 1), own)), hlo_mul(h, x, own));
    const hlo_value inside = hlo_binary(h, "and", between(h, x, 1, 2, 4), between(h, x, 2, 3, 5));
    const hlo_value cut = hlo_select(h, inside, before, x);
    const hlo_value is_cut = hlo_compare(h, "EQ", mode, hlo_f32(h, 2)),
                    is_mix = hlo_compare(h, "EQ", mode, hlo_f32(h, 1));
    hlo_result(h, hlo_select(h, is_mix, mixed, hlo_select(h, is_cut, cut, x)));
}

HLO_EMITTER(peak_copy) {
    hlo_result(h, hlo_input_raw(h, 0));
}

/* `links` products in a loop, each of which waits for the sum of those before, so that none is left out. */
HLO_EMITTER(peak_multiply_add) {
    const hlo_value x = hlo_input_raw(h, 0), zero = hlo_integer(h, CVR_I64, 0), one = hlo_integer(h, CVR_I64, 1);
    const hlo_value links = hlo_integer(h, CVR_I64, HLO_ATTRS(cvr_peak_multiply_add_attrs)->links);
    hlo_value sum = hlo_like(h->a->outputs[0]), x_now = x, sum_now;
    char i0[HLO_TEXT], x0[HLO_TEXT], s0[HLO_TEXT], n[HLO_TEXT], step[HLO_TEXT], tx[HLO_TEXT], ts[HLO_TEXT],
        dot[HLO_TEXT];
    sum.dtype = CVR_F32;
    sum = hlo_fill(h, sum, 0);
    const uint32_t loop = h->next++, barrier = h->next++;
    hlo_put(h, "    %%%u:3 = stablehlo.while(%%wi = %s, %%wx = %s, %%ws = %s) : tensor<i64>, %s, %s\n", loop,
            hlo_name(zero, i0), hlo_name(x, x0), hlo_name(sum, s0), hlo_type(x, tx), hlo_type(sum, ts));
    hlo_put(h,
            "    cond {\n      %%wc = stablehlo.compare LT, %%wi, %s, SIGNED : (tensor<i64>, tensor<i64>) -> "
            "tensor<i1>\n      stablehlo.return %%wc : tensor<i1>\n    } do {\n",
            hlo_name(links, n));
    hlo_put(h, "      %%%u:2 = stablehlo.optimization_barrier %%wx, %%ws : %s, %s\n", barrier, tx, ts);
    x_now.id = barrier;
    x_now.part = 1;
    sum_now = sum;
    sum_now.id = barrier;
    sum_now.part = 2;
    const hlo_value product = hlo_add(h, hlo_dot(h, x_now, x_now, 1, 2, 2), sum_now);
    hlo_put(h, "      %%wn = stablehlo.add %%wi, %s : tensor<i64>\n", hlo_name(one, step));
    hlo_put(h, "      stablehlo.return %%wn, %s, %s : tensor<i64>, %s, %s\n    }\n", hlo_name(x_now, x0),
            hlo_name(product, dot), tx, ts);
    sum.id = loop;
    sum.part = 3;
    hlo_result(h, sum);
}

const hlo_op emit_picture_ops[] = {HLO_OP("normalize_pixels", normalize_pixels),
                                   HLO_OP("batch_mix", batch_mix),
                                   HLO_OP("peak_copy", peak_copy),
                                   HLO_OP("peak_multiply_add", peak_multiply_add),
                                   {.op = NULL}};
