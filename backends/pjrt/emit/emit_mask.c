/* Random masks (<cvr/plugin/ops/dropout.h>, stochastic_depth.h): the bits of the CPU's, by the same Philox. */
#include "emit.h"
#include "emit_words.h"
#include <cvr/plugin/ops/dropout.h>
#include <cvr/plugin/ops/stochastic_depth.h>

/* The lower and the upper word of an i64 scalar. */
static void split(hlo *h, hlo_value v, hlo_value words[2]) {
    const hlo_value bits = hlo_bits(h, hlo_reshape(h, v, 0, NULL), HLO_U64);
    words[0] = hlo_convert(h, hlo_binary(h, "and", bits, hlo_integer(h, HLO_U64, UINT32_MAX)), HLO_U32);
    words[1] = hlo_convert(h, hlo_binary(h, "shift_right_logical", bits, hlo_integer(h, HLO_U64, 32)), HLO_U32);
}

/* cvr_rng_mix(seed, key) */
static void mixed(hlo *h, hlo_value seed, uint64_t key, hlo_value words[2]) {
    const uint64_t name = UINT64_C(0x6376722d6d69780a);
    hlo_value k[2], r[4];
    split(h, seed, k);
    const hlo_value counter[4] = {hlo_integer(h, HLO_U32, (uint32_t)key), hlo_integer(h, HLO_U32, key >> 32),
                                  hlo_integer(h, HLO_U32, (uint32_t)name), hlo_integer(h, HLO_U32, name >> 32)};
    hlo_philox(h, k, counter, r);
    words[0] = r[0];
    words[1] = r[1];
}

hlo_value mask_words(hlo *h, uint32_t seed, uint64_t key, int64_t n) {
    const int64_t blocks = (n + 3) / 4, column[2] = {blocks, 1}, all = 4 * blocks;
    const hlo_value shape = {.dtype = HLO_U32, .rank = 1, .shape = {blocks}};
    hlo_value k[2], step[2], r[4];
    mixed(h, hlo_input_raw(h, seed), key, k);
    split(h, hlo_input_raw(h, seed + 1), step);
    const hlo_value counter[4] = {hlo_iota(h, HLO_U32, shape, 0), hlo_fill(h, shape, 0),
                                  hlo_broadcast(h, step[0], shape, NULL), hlo_broadcast(h, step[1], shape, NULL)};
    hlo_philox(h, k, counter, r);
    for (int i = 0; i < 4; i++) r[i] = hlo_reshape(h, r[i], 2, column);
    return hlo_slice_axis(h, hlo_reshape(h, hlo_concat(h, r, 4, 1), 1, &all), 0, 0, n);
}

/* Which words are kept: those that are not below p * 2^32. */
static hlo_value kept(hlo *h, hlo_value words, double p) {
    const hlo_value threshold = hlo_integer(h, HLO_U64, (int64_t)(uint64_t)(p * 4294967296.0));
    return hlo_compare(h, "GE", hlo_convert(h, words, HLO_U64), threshold);
}

static double scale_of(double p) {
    return p < 1 ? (double)(float)(1 / (1 - p)) : 0;
}

HLO_EMITTER(dropout) {
    const cvr_dropout_attrs *a = HLO_ATTRS(cvr_dropout_attrs);
    const hlo_value x = hlo_input(h, 0), words = mask_words(h, 1, (uint64_t)a->key, hlo_count(x));
    const hlo_value which = hlo_reshape_like(h, kept(h, words, a->p), x);
    hlo_result(h, hlo_select(h, which, hlo_scale(h, x, scale_of(a->p)), hlo_f32(h, 0)));
}

/* (samples): 0 or 1 / (1 - p) */
static hlo_value depth_scale(hlo *h, const cvr_stochastic_depth_attrs *a, uint32_t seed, int64_t samples) {
    const int by_row = a->mode == CVR_STOCHASTIC_DEPTH_ROW;
    const hlo_value shape = {.dtype = CVR_F32, .rank = 1, .shape = {samples}};
    hlo_value which = kept(h, mask_words(h, seed, (uint64_t)a->key, by_row ? samples : 1), a->p);
    which = hlo_select(h, which, hlo_f32(h, scale_of(a->p)), hlo_f32(h, 0));
    return by_row ? which : hlo_broadcast(h, hlo_reshape(h, which, 0, NULL), shape, NULL);
}

HLO_EMITTER(stochastic_depth) {
    const hlo_value x = hlo_input(h, 0);
    const hlo_value scale = hlo_along(h, depth_scale(h, HLO_ATTRS(cvr_stochastic_depth_attrs), 1, x.shape[0]), x, 0);
    const hlo_value dropped = hlo_compare(h, "EQ", scale, hlo_f32(h, 0));
    hlo_result(h, hlo_select(h, dropped, hlo_f32(h, 0), hlo_mul(h, x, scale)));
}

HLO_EMITTER(stochastic_depth_scale) {
    const cvr_stochastic_depth_scale_attrs *a = HLO_ATTRS(cvr_stochastic_depth_scale_attrs);
    hlo_result(h, depth_scale(h, &a->depth, 0, a->samples));
}

const hlo_op emit_mask_ops[] = {HLO_OP("dropout", dropout),
                                HLO_OP("stochastic_depth", stochastic_depth),
                                HLO_OP("stochastic_depth_scale", stochastic_depth_scale),
                                {.op = NULL}};
