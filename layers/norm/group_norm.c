/* Group normalisation (Wu and He, 2018): torch.nn.GroupNorm. Formulas in ops/norm.h. */
#include "norm_family.h"

static const cvr_attr_desc groups_attr =
    CVR_ATTR_INIT(INT, "num_groups", NULL, "groups that the channels are cut into", CVR_ATTR_PLACE_AT_LEAST(1));
static const cvr_attr_desc *const op_attrs[] = {&groups_attr, &norm_eps_attr};
static const cvr_attr_desc *const layer_attrs[] = {&groups_attr, &norm_eps_attr, &norm_affine_attr};

/* As layer_attrs packs it. */
typedef struct group_norm_layer {
    cvr_group_norm_attrs op;
    int64_t affine;
} group_norm_layer;

static int32_t check(const cvr_infer_args *a, uint32_t first, uint32_t last, cvr_error *err) {
    const cvr_group_norm_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    CVR_TRY(norm_check_f32("group_norm", x, err));
    if (x->rank < 2 || attrs->num_groups < 1 || x->shape[1] % attrs->num_groups != 0)
        return cvr_fail(err, CVR_ERR_INVALID, "group_norm: %lld groups do not divide the input's %lld channels",
                        (long long)attrs->num_groups, (long long)(x->rank < 2 ? 0 : x->shape[1]));
    for (uint32_t i = first; i <= last && i < a->n_inputs; i++)
        CVR_TRY(norm_check_vector("group_norm", "a scale or shift", a->inputs[i], x->shape[1], err));
    return CVR_OK;
}

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_group_norm_attrs *attrs = a->attrs;
    const int64_t shape[2] = {a->inputs[0]->shape[0], attrs->num_groups};
    *a->outputs[0] = *a->inputs[0];
    cvr_type_set(a->outputs[1], CVR_F32, 2, shape);
    cvr_type_set(a->outputs[2], CVR_F32, 2, shape);
    return check(a, 1, 2, err);
}

static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_group_norm_attrs *attrs = a->attrs;
    const int64_t shape[2] = {a->inputs[0]->shape[0], attrs->num_groups};
    CVR_TRY(check(a, 2, 2, err));
    CVR_TRY(norm_check_like("group_norm_backward", a->inputs[0], a->inputs[1], err));
    for (uint32_t i = 3; i < 5; i++) {
        const cvr_type *t = a->inputs[i];
        if (t->dtype != CVR_F32 || t->rank != 2 || t->shape[0] != shape[0] || t->shape[1] != shape[1])
            CVR_TRY(cvr_fail(err, CVR_ERR_INVALID, "group_norm_backward: mean and invstd must be (N, groups) f32"));
    }
    *a->outputs[0] = *a->inputs[0];
    cvr_type_set(a->outputs[1], CVR_F32, 1, &a->inputs[0]->shape[1]);
    cvr_type_set(a->outputs[2], CVR_F32, 1, &a->inputs[0]->shape[1]);
    return CVR_OK;
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return norm_emit_backward(b, a, a->inputs[0], "group_norm_backward", sizeof(cvr_group_norm_attrs), &a->outputs[1],
                              err);
}

/* ---- reference kernels ---- */

/* x as (N, groups, channels of a group, positions): the last two axes are normalised over. */
static norm_walk walk_of(const cvr_kernel_args *a) {
    const int64_t groups = ((const cvr_group_norm_attrs *)a->attrs)->num_groups;
    const cvr_tensor *x = a->inputs[0];
    const int64_t channels = x->shape[1] / groups;
    int64_t positions = 1;
    for (uint32_t i = 2; i < x->rank; i++) positions *= x->shape[i];
    const int64_t channel_step = x->rank == 4 ? 1 : positions, position_step = x->rank == 4 ? x->shape[1] : 1;
    return (norm_walk){
        .shape = {x->shape[0], groups, channels, positions},
        .step = {x->shape[1] * positions, channels * channel_step, channel_step, position_step},
        .weight_step = {0, channels, 1, 0},
        .begin = 2,
        .end = 4,
        .rank = 4,
    };
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const norm_walk w = walk_of(a);
    norm_walk_run(a, &w, ((const cvr_group_norm_attrs *)a->attrs)->eps);
    return CVR_OK;
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const norm_walk w = walk_of(a);
    norm_walk_backward(a, &w);
    return CVR_OK;
}

/* ---- the layer ---- */

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *inputs, uint32_t n_inputs,
                     cvr_value *outputs, cvr_error *err) {
    (void)n_inputs;
    const group_norm_layer *layer = attrs;
    const cvr_type *x = b->type(b, inputs[0]);
    cvr_value in[3] = {inputs[0], CVR_NONE, CVR_NONE};
    if (layer->affine && x->rank >= 2) {
        CVR_TRY(norm_param(b, "weight", 1, 1, &x->shape[1], &in[1], err));
        CVR_TRY(norm_param(b, "bias", 0, 1, &x->shape[1], &in[2], err));
    }
    return cvr_emit(b, "group_norm", &layer->op, sizeof layer->op, in, 3, outputs, err);
}

static double flops(const cvr_infer_args *a) {
    return 5.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "group_norm",
            .version = 1,
            .trait = norm_group_traits,
            .min_inputs = 1,
            .max_inputs = 3,
            .n_outputs = 3,
            .n_attrs = 2,
            .attrs = op_attrs,
            .optional = 1u << 1 | 1u << 2,
            .infer = infer,
            .grad = grad,
            .flops = flops,
            .doc = "y = (x - mean) / sqrt(var + eps) * weight + bias over groups of channels (Wu and He, 2018)"},
     .reference = {sizeof(cvr_cpu_fn), run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "group_norm_backward",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 5,
            .max_inputs = 5,
            .n_outputs = 3,
            .n_attrs = 2,
            .attrs = op_attrs,
            .optional = 1u << 2,
            .infer = backward_infer,
            .flops = flops,
            .doc = "dx = invstd * (e - mean(e) - xhat * mean(e * xhat)), e = grad * weight"},
     .reference = {sizeof(cvr_cpu_fn), backward_run},
     .inplace = 3},
};

static const cvr_layer_desc layers[] = {
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "group_norm",
     .doc = "normalises over groups of channels, then scales and shifts each channel",
     .n_attrs = 3,
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = 1,
     .attrs = layer_attrs,
     .build = build},
};

const norm_family norm_group = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
