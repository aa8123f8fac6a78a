/*
 * Layer norm, group norm and the norm of a pixel's channels (<cvr/plugin/ops/norm.h>): mean and variance of groups
 * within a sample. Everything is brought into an order in which a group's elements are whole axes.
 */
#include "emit.h"
#include <cvr/plugin/ops/norm.h>

/* x as it is computed with: which axes a group is made of, and which axes weight and bias have. */
typedef struct grouping {
    hlo_value x;
    uint32_t group, affine;
    double eps;
} grouping;

/* Input i in the axes of `g`, which it has but for those that are left out. */
static hlo_value as_affine(hlo *h, hlo_value w, const grouping *g) {
    hlo_value like = {.dtype = CVR_F32};
    for (uint32_t i = 0; i < g->x.rank; i++)
        if (g->affine >> i & 1) like.shape[like.rank++] = g->x.shape[i];
    return hlo_expand(h, hlo_reshape_like(h, hlo_to_logical(h, w), like), g->x, ~g->affine);
}

/* y, mean, invstd */
static void forward(hlo *h, const grouping *g, hlo_value results[3]) {
    const hlo_value x = g->x, mean = hlo_mean(h, x, g->group), d = hlo_sub(h, x, hlo_expand(h, mean, x, g->group));
    const hlo_value var = hlo_mean(h, hlo_mul(h, d, d), g->group), invstd = hlo_invstd(h, var, g->eps);
    hlo_value y = hlo_mul(h, d, hlo_expand(h, invstd, x, g->group));
    if (hlo_has(h, 1)) y = hlo_mul(h, y, as_affine(h, hlo_input(h, 1), g));
    if (hlo_has(h, 2)) y = hlo_add(h, y, as_affine(h, hlo_input(h, 2), g));
    results[0] = y;
    results[1] = mean;
    results[2] = invstd;
}

/* A number for each group, as the forward's result has it. */
static hlo_value of_groups(hlo *h, uint32_t i, const grouping *g) {
    hlo_value like = {.dtype = CVR_F32};
    for (uint32_t k = 0; k < g->x.rank; k++)
        if (!(g->group >> k & 1)) like.shape[like.rank++] = g->x.shape[k];
    return hlo_expand(h, hlo_reshape_like(h, hlo_input(h, i), like), g->x, g->group);
}

/* dx, dweight, dbias; inputs are x, grad (in the order of g->x), weight, mean, invstd */
static void backward(hlo *h, const grouping *g, hlo_value grad, hlo_value results[3]) {
    const hlo_value invstd = of_groups(h, 4, g), xhat = hlo_mul(h, hlo_sub(h, g->x, of_groups(h, 3, g)), invstd);
    const hlo_value e = hlo_has(h, 2) ? hlo_mul(h, grad, as_affine(h, hlo_input(h, 2), g)) : grad;
    const hlo_value first = hlo_expand(h, hlo_mean(h, e, g->group), e, g->group);
    const hlo_value second = hlo_expand(h, hlo_mean(h, hlo_mul(h, e, xhat), g->group), e, g->group);
    results[0] = hlo_mul(h, invstd, hlo_sub(h, hlo_sub(h, e, first), hlo_mul(h, xhat, second)));
    results[1] = hlo_sum(h, hlo_mul(h, grad, xhat), ~g->affine);
    results[2] = hlo_sum(h, grad, ~g->affine);
}

/* ---- layer norm: axes begin to end - 1, in logical order ---- */

static grouping layer_grouping(hlo *h) {
    const cvr_layer_norm_attrs *attrs = HLO_ATTRS(cvr_layer_norm_attrs);
    grouping g = {.x = hlo_to_logical(h, hlo_input(h, 0)), .eps = attrs->eps};
    for (int64_t i = attrs->begin; i < attrs->end; i++) g.group |= 1u << i;
    g.affine = g.group;
    return g;
}

HLO_EMITTER(layer_norm) {
    const grouping g = layer_grouping(h);
    hlo_value results[3];
    forward(h, &g, results);
    hlo_result(h, hlo_to_memory(h, results[0]));
    hlo_result(h, results[1]);
    hlo_result(h, results[2]);
}

HLO_EMITTER(layer_norm_backward) {
    const grouping g = layer_grouping(h);
    hlo_value results[3];
    backward(h, &g, hlo_to_logical(h, hlo_input(h, 1)), results);
    for (int i = 0; i < 3; i++) hlo_result(h, hlo_to_memory(h, results[i]));
}

/* ---- group norm: (N, pixels, G, C/G) of a picture, else (N, G, C/G, rest) ---- */

static hlo_value in_groups(hlo *h, hlo_value x, int64_t groups) {
    const int picture = x.rank == 4;
    const int64_t c = picture ? x.shape[3] : x.shape[1], rest = hlo_count(x) / (x.shape[0] * c);
    const int64_t pictures[4] = {x.shape[0], rest, groups, c / groups},
                  rows[4] = {x.shape[0], groups, c / groups, rest};
    return hlo_reshape(h, x, 4, picture ? pictures : rows);
}

static grouping group_grouping(hlo *h) {
    const cvr_group_norm_attrs *attrs = HLO_ATTRS(cvr_group_norm_attrs);
    const hlo_value x = hlo_input(h, 0);
    const int picture = x.rank == 4;
    return (grouping){in_groups(h, x, attrs->num_groups), picture ? 1u << 1 | 1u << 3 : 1u << 2 | 1u << 3,
                      picture ? 1u << 2 | 1u << 3 : 1u << 1 | 1u << 2, attrs->eps};
}

HLO_EMITTER(group_norm) {
    const grouping g = group_grouping(h);
    hlo_value results[3];
    forward(h, &g, results);
    for (int i = 0; i < 3; i++) hlo_result(h, results[i]);
}

HLO_EMITTER(group_norm_backward) {
    const grouping g = group_grouping(h);
    hlo_value results[3];
    backward(h, &g, in_groups(h, hlo_input(h, 1), HLO_ATTRS(cvr_group_norm_attrs)->num_groups), results);
    for (int i = 0; i < 3; i++) hlo_result(h, results[i]);
}

/* ---- the channels of a pixel as a vector of length 1 ---- */

static hlo_value length_of(hlo *h, hlo_value x) {
    return hlo_unary(h, "sqrt", hlo_sum(h, hlo_mul(h, x, x), 8));
}

HLO_EMITTER(l2_norm2d) {
    const hlo_value x = hlo_input(h, 0);
    const hlo_value by = hlo_binary(h, "maximum", length_of(h, x), hlo_f32(h, HLO_ATTRS(cvr_l2_norm2d_attrs)->eps));
    hlo_result(h, hlo_div(h, x, hlo_expand(h, by, x, 8)));
}

HLO_EMITTER(l2_norm2d_backward) {
    const hlo_value x = hlo_input(h, 0), grad = hlo_input(h, 1), length = length_of(h, x);
    const hlo_value eps = hlo_f32(h, HLO_ATTRS(cvr_l2_norm2d_attrs)->eps);
    const hlo_value is_long = hlo_compare(h, "GT", length, eps), by = hlo_select(h, is_long, length, eps);
    const hlo_value y = hlo_div(h, x, hlo_expand(h, by, x, 8)), dot = hlo_sum(h, hlo_mul(h, grad, y), 8);
    const hlo_value along = hlo_mul(h, y, hlo_expand(h, hlo_select(h, is_long, dot, hlo_f32(h, 0)), y, 8));
    hlo_result(h, hlo_div(h, hlo_sub(h, grad, along), hlo_expand(h, by, x, 8)));
}

const hlo_op emit_row_norm_ops[] = {HLO_OP("layer_norm", layer_norm),
                                    HLO_OP("layer_norm_backward", layer_norm_backward),
                                    HLO_OP("group_norm", group_norm),
                                    HLO_OP("group_norm_backward", group_norm_backward),
                                    HLO_OP("l2_norm2d", l2_norm2d),
                                    HLO_OP("l2_norm2d_backward", l2_norm2d_backward),
                                    {.op = NULL}};
