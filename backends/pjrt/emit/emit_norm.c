/*
 * Batch normalisation (<cvr/plugin/ops/norm.h>). Channels are axis 3 of memory; sums go over axes 0 to 2. What passes
 * fuse is written as the formulas say it: the device's compiler fuses by itself.
 */
#include "emit.h"
#include <cvr/plugin/ops/norm.h>

#define PIXELS 7u /* the axes N, H and W */

static hlo_value channels(hlo *h, hlo_value v, hlo_value like) {
    return hlo_along(h, v, like, 3);
}

/* Mean, and the mean squared distance from it. */
static void statistics(hlo *h, hlo_value x, hlo_value *mean, hlo_value *var) {
    *mean = hlo_mean(h, x, PIXELS);
    const hlo_value d = hlo_sub(h, x, channels(h, *mean, x));
    *var = hlo_mean(h, hlo_mul(h, d, d), PIXELS);
}

/* invstd * weight, where that input is there */
static hlo_value scale_of(hlo *h, uint32_t weight, hlo_value invstd) {
    return hlo_has(h, weight) ? hlo_mul(h, invstd, hlo_input(h, weight)) : invstd;
}

/* (x - mean) * (invstd * weight) + bias; weight and bias are inputs, if they are there. */
static hlo_value applied(hlo *h, hlo_value x, hlo_value mean, hlo_value invstd, uint32_t weight, uint32_t bias) {
    const hlo_value scale = scale_of(h, weight, invstd);
    const hlo_value y = hlo_mul(h, hlo_sub(h, x, channels(h, mean, x)), channels(h, scale, x));
    return hlo_has(h, bias) ? hlo_add(h, y, channels(h, hlo_input(h, bias), y)) : y;
}

/* What a batch leaves of its statistics: inputs 3 to 5, those that are there. */
static void update_running(hlo *h, hlo_value x, hlo_value mean, hlo_value var, double momentum) {
    const double m = (double)(hlo_count(x) / x.shape[3]);
    const hlo_value news[2] = {mean, hlo_scale(h, var, m / (m - 1))};
    for (uint32_t i = 0; i < 2; i++) {
        if (!hlo_has(h, 3 + i)) continue;
        const hlo_value old = hlo_scale(h, hlo_input(h, 3 + i), 1 - momentum);
        hlo_result(h, hlo_add(h, old, hlo_scale(h, news[i], momentum)));
    }
    if (hlo_has(h, 5)) hlo_result(h, hlo_add(h, hlo_input_raw(h, 5), hlo_integer(h, CVR_I64, 1)));
}

HLO_EMITTER(batch_norm2d) {
    const cvr_batch_norm2d_attrs *attrs = HLO_ATTRS(cvr_batch_norm2d_attrs);
    const hlo_value x = hlo_input(h, 0);
    hlo_value mean, var;
    statistics(h, x, &mean, &var);
    const hlo_value invstd = hlo_invstd(h, var, attrs->eps);
    hlo_result(h, applied(h, x, mean, invstd, 1, 2));
    hlo_result(h, mean);
    hlo_result(h, invstd);
    update_running(h, x, mean, var, attrs->momentum);
}

HLO_EMITTER(batch_norm2d_stats) {
    hlo_value mean, var;
    statistics(h, hlo_input(h, 0), &mean, &var);
    hlo_result(h, mean);
    hlo_result(h, var);
}

HLO_EMITTER(batch_norm2d_inference) {
    const double eps = HLO_ATTRS(cvr_batch_norm2d_inference_attrs)->eps;
    hlo_result(h, applied(h, hlo_input(h, 0), hlo_input(h, 3), hlo_invstd(h, hlo_input(h, 4), eps), 1, 2));
}

/* x, weight, bias, mean, invstd, residual */
HLO_EMITTER(batch_norm2d_apply) {
    const hlo_value y = applied(h, hlo_input(h, 0), hlo_input(h, 3), hlo_input(h, 4), 1, 2);
    const hlo_value sum = hlo_has(h, 5) ? hlo_add(h, y, hlo_input(h, 5)) : y;
    hlo_result(h, hlo_activation(h, HLO_ATTRS(cvr_batch_norm2d_apply_attrs)->activation, sum));
}

/* xhat = (x - mean) * invstd */
static hlo_value normalised(hlo *h, hlo_value x, hlo_value mean, hlo_value invstd) {
    return hlo_mul(h, hlo_sub(h, x, channels(h, mean, x)), channels(h, invstd, x));
}

/* dx = weight * invstd * (g - dbias / M - xhat * dweight / M) */
static hlo_value input_gradient(hlo *h, hlo_value g, hlo_value xhat, hlo_value scale, hlo_value dweight,
                                hlo_value dbias) {
    const double m = (double)(hlo_count(g) / g.shape[3]);
    const hlo_value part = hlo_mul(h, xhat, channels(h, hlo_scale(h, dweight, 1 / m), xhat));
    const hlo_value rest = hlo_sub(h, hlo_sub(h, g, channels(h, hlo_scale(h, dbias, 1 / m), g)), part);
    return hlo_mul(h, rest, channels(h, scale, rest));
}

/* x, grad, weight, mean, invstd */
HLO_EMITTER(batch_norm2d_backward) {
    const hlo_value g = hlo_input(h, 1), invstd = hlo_input(h, 4);
    const hlo_value xhat = normalised(h, hlo_input(h, 0), hlo_input(h, 3), invstd);
    const hlo_value dbias = hlo_sum(h, g, PIXELS), dweight = hlo_sum(h, hlo_mul(h, g, xhat), PIXELS);
    hlo_result(h, input_gradient(h, g, xhat, scale_of(h, 2, invstd), dweight, dbias));
    hlo_result(h, dweight);
    hlo_result(h, dbias);
}

/* x, grad, weight, mean, invstd, bias, y */
HLO_EMITTER(batch_norm2d_backward_sums) {
    const int64_t activation = HLO_ATTRS(cvr_batch_norm2d_apply_attrs)->activation;
    const hlo_value x = hlo_input(h, 0), mean = hlo_input(h, 3), invstd = hlo_input(h, 4);
    hlo_value y = hlo_has(h, 6) ? hlo_input(h, 6) : applied(h, x, mean, invstd, 2, 5);
    if (!hlo_has(h, 6) && activation != CVR_ACTIVATION_SILU) y = hlo_activation(h, activation, y);
    const hlo_value g = hlo_activation_gradient(h, activation, y, hlo_input(h, 1));
    hlo_result(h, g);
    hlo_result(h, hlo_sum(h, hlo_mul(h, g, normalised(h, x, mean, invstd)), PIXELS));
    hlo_result(h, hlo_sum(h, g, PIXELS));
}

/* x, g, weight, mean, invstd, dweight, dbias */
HLO_EMITTER(batch_norm2d_backward_apply) {
    const hlo_value invstd = hlo_input(h, 4), xhat = normalised(h, hlo_input(h, 0), hlo_input(h, 3), invstd);
    hlo_result(h, input_gradient(h, hlo_input(h, 1), xhat, scale_of(h, 2, invstd), hlo_input(h, 5), hlo_input(h, 6)));
}

/* x, grad, weight, running mean, running variance; without x there is no gradient of the weights */
HLO_EMITTER(batch_norm2d_inference_backward) {
    const hlo_value g = hlo_input(h, 1), var = hlo_input(h, 4);
    const hlo_value invstd = hlo_invstd(h, var, HLO_ATTRS(cvr_batch_norm2d_inference_attrs)->eps);
    hlo_result(h, hlo_mul(h, g, channels(h, scale_of(h, 2, invstd), g)));
    if (hlo_has(h, 0)) {
        hlo_result(h, hlo_sum(h, hlo_mul(h, g, normalised(h, hlo_input(h, 0), hlo_input(h, 3), invstd)), PIXELS));
        hlo_result(h, hlo_sum(h, g, PIXELS));
        return;
    }
    hlo_result(h, hlo_fill(h, var, 0));
    hlo_result(h, hlo_fill(h, var, 0));
}

const hlo_op emit_norm_ops[] = {HLO_OP("batch_norm2d", batch_norm2d),
                                HLO_OP("batch_norm2d_stats", batch_norm2d_stats),
                                HLO_OP("batch_norm2d_inference", batch_norm2d_inference),
                                HLO_OP("batch_norm2d_apply", batch_norm2d_apply),
                                HLO_OP("batch_norm2d_backward", batch_norm2d_backward),
                                HLO_OP("batch_norm2d_backward_sums", batch_norm2d_backward_sums),
                                HLO_OP("batch_norm2d_backward_apply", batch_norm2d_backward_apply),
                                HLO_OP("batch_norm2d_inference_backward", batch_norm2d_inference_backward),
                                {.op = NULL}};
