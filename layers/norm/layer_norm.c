/*
 * Layer normalisation (Ba, Kiros, Hinton, 2016): torch.nn.LayerNorm over the last axes, and torchvision's LayerNorm2d
 * over the channels of each pixel. Formulas in ops/norm.h.
 */
#include "norm_family.h"

static const cvr_attr_desc begin_attr = CVR_ATTR_INIT(INT, "begin", NULL, "first axis that is normalised over");
static const cvr_attr_desc end_attr = CVR_ATTR_INIT(INT, "end", NULL, "the axis after the last one");
static const cvr_attr_desc *const op_attrs[] = {&begin_attr, &end_attr, &norm_eps_attr};

static const cvr_attr_desc shape_attr =
    CVR_ATTR_INIT(INTS, "normalized_shape", NULL, "sizes of the last axes, which are normalised over",
                  .count = CVR_MAX_RANK, CVR_ATTR_PLACE_AT_LEAST(1));
static const cvr_attr_desc elementwise_attr =
    CVR_ATTR_INIT(BOOL, "elementwise_affine", "yes", "learn a scale (and a shift) of each element");
static const cvr_attr_desc bias_attr = CVR_ATTR_INIT(BOOL, "bias", "yes", "learn a shift, too");
static const cvr_attr_desc *const layer_attrs[] = {&shape_attr, &norm_eps_attr, &elementwise_attr, &bias_attr};
static const cvr_attr_desc *const layer2d_attrs[] = {&norm_eps_attr, &elementwise_attr, &bias_attr};

/* As layer_attrs packs it. */
typedef struct layer_norm_layer {
    int64_t n;
    int64_t normalized_shape[CVR_MAX_RANK];
    double eps;
    int64_t elementwise_affine;
    int64_t bias;
} layer_norm_layer;

typedef struct layer_norm2d_layer {
    double eps;
    int64_t elementwise_affine;
    int64_t bias;
} layer_norm2d_layer;

/* The shape of weight and bias, and how many groups there are. */
static uint32_t affine_shape(const cvr_layer_norm_attrs *attrs, const cvr_type *x, cvr_type *affine, int64_t *groups) {
    const uint32_t rank = (uint32_t)(attrs->end - attrs->begin);
    cvr_type_set(affine, CVR_F32, rank, &x->shape[attrs->begin]);
    *groups = 1;
    for (int64_t i = 0; i < (int64_t)x->rank; i++)
        if (i < attrs->begin || i >= attrs->end) *groups *= x->shape[i];
    return rank;
}

static int32_t check(const cvr_infer_args *a, uint32_t first, uint32_t last, cvr_type *affine, int64_t *groups,
                     cvr_error *err) {
    const cvr_layer_norm_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    CVR_TRY(norm_check_f32("layer_norm", x, err));
    if (attrs->begin < 0 || attrs->begin >= attrs->end || attrs->end > (int64_t)x->rank)
        return cvr_fail(err, CVR_ERR_INVALID, "layer_norm: axes %lld to %lld of an input with %u axes",
                        (long long)attrs->begin, (long long)attrs->end - 1, x->rank);
    const uint32_t rank = affine_shape(attrs, x, affine, groups);
    for (uint32_t i = first; i <= last && i < a->n_inputs; i++) {
        const cvr_type *w = a->inputs[i];
        if (w && (w->dtype != CVR_F32 || w->rank != rank || memcmp(w->shape, affine->shape, sizeof w->shape) != 0))
            return cvr_fail(err, CVR_ERR_INVALID, "layer_norm: weight and bias must have the normalised shape, f32");
    }
    return CVR_OK;
}

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    cvr_type affine;
    int64_t groups;
    CVR_TRY(check(a, 1, 2, &affine, &groups, err));
    *a->outputs[0] = *a->inputs[0];
    cvr_type_set(a->outputs[1], CVR_F32, 1, &groups);
    cvr_type_set(a->outputs[2], CVR_F32, 1, &groups);
    return CVR_OK;
}

static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    cvr_type affine;
    int64_t groups;
    CVR_TRY(check(a, 2, 2, &affine, &groups, err));
    CVR_TRY(norm_check_like("layer_norm_backward", a->inputs[0], a->inputs[1], err));
    CVR_TRY(norm_check_vector("layer_norm_backward", "mean", a->inputs[3], groups, err));
    CVR_TRY(norm_check_vector("layer_norm_backward", "invstd", a->inputs[4], groups, err));
    *a->outputs[0] = *a->inputs[0];
    *a->outputs[1] = affine;
    *a->outputs[2] = affine;
    return CVR_OK;
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return norm_emit_backward(b, a, a->inputs[0], "layer_norm_backward", sizeof(cvr_layer_norm_attrs), &a->outputs[1],
                              err);
}

/* ---- reference kernels ---- */

/* Memory steps of the logical axes: rank 4 lies as (N, H, W, C). */
static void memory_steps(int64_t rank, const int64_t *shape, int64_t *step) {
    int64_t at = 1;
    for (int64_t i = rank - 1; i >= 0; i--) {
        step[i] = at;
        at *= shape[i];
    }
    if (rank != 4) return;
    step[1] = 1;
    step[3] = shape[1];
    step[2] = shape[1] * shape[3];
}

static norm_walk walk_of(const cvr_kernel_args *a) {
    const cvr_layer_norm_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0];
    norm_walk w = {.begin = attrs->begin, .end = attrs->end, .rank = x->rank};
    memcpy(w.shape, x->shape, sizeof w.shape);
    memory_steps(w.rank, w.shape, w.step);
    memory_steps(w.end - w.begin, w.shape + w.begin, w.weight_step + w.begin);
    return w;
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const norm_walk w = walk_of(a);
    norm_walk_run(a, &w, ((const cvr_layer_norm_attrs *)a->attrs)->eps);
    return CVR_OK;
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const norm_walk w = walk_of(a);
    norm_walk_backward(a, &w);
    return CVR_OK;
}

/* ---- layers ---- */

static int32_t add(const cvr_builder *b, const cvr_layer_norm_attrs *call, int64_t affine, int64_t bias, cvr_value x,
                   cvr_value *y, cvr_error *err) {
    const cvr_type *t = b->type(b, x);
    const uint32_t rank = (uint32_t)(call->end - call->begin);
    cvr_value in[3] = {x, CVR_NONE, CVR_NONE};
    if (affine) CVR_TRY(norm_param(b, "weight", 1, rank, &t->shape[call->begin], &in[1], err));
    if (affine && bias) CVR_TRY(norm_param(b, "bias", 0, rank, &t->shape[call->begin], &in[2], err));
    return cvr_emit(b, "layer_norm", call, sizeof *call, in, 3, y, err);
}

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *inputs, uint32_t n_inputs,
                     cvr_value *outputs, cvr_error *err) {
    (void)n_inputs;
    const layer_norm_layer *layer = attrs;
    const cvr_type *x = b->type(b, inputs[0]);
    const cvr_layer_norm_attrs call = {(int64_t)x->rank - layer->n, x->rank, layer->eps};
    if (layer->n < 1 || layer->n > (int64_t)x->rank)
        return cvr_fail(err, CVR_ERR_INVALID, "normalized_shape has %lld sizes, the input %u axes", (long long)layer->n,
                        x->rank);
    for (int64_t i = 0; i < layer->n; i++)
        if (layer->normalized_shape[i] != x->shape[call.begin + i])
            return cvr_fail(err, CVR_ERR_INVALID, "normalized_shape wants %lld on axis %lld, the input has %lld",
                            (long long)layer->normalized_shape[i], (long long)(call.begin + i),
                            (long long)x->shape[call.begin + i]);
    return add(b, &call, layer->elementwise_affine, layer->bias, inputs[0], outputs, err);
}

static int32_t build2d(const cvr_builder *b, const void *attrs, const cvr_value *inputs, uint32_t n_inputs,
                       cvr_value *outputs, cvr_error *err) {
    (void)n_inputs;
    const layer_norm2d_layer *layer = attrs;
    const cvr_type *x = b->type(b, inputs[0]);
    const cvr_layer_norm_attrs call = {1, 2, layer->eps};
    if (x->rank != 4)
        return cvr_fail(err, CVR_ERR_INVALID, "the input has %u axes; it must have 4 (N, C, H, W)", x->rank);
    return add(b, &call, layer->elementwise_affine, layer->bias, inputs[0], outputs, err);
}

static double flops(const cvr_infer_args *a) {
    return 5.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "layer_norm",
            .version = 1,
            .trait = norm_layer_traits,
            .min_inputs = 1,
            .max_inputs = 3,
            .n_outputs = 3,
            .n_attrs = 3,
            .attrs = op_attrs,
            .optional = 1u << 1 | 1u << 2,
            .infer = infer,
            .grad = grad,
            .flops = flops,
            .doc = "y = (x - mean) / sqrt(var + eps) * weight + bias over the axes begin..end-1 (Ba et al., 2016)"},
     .reference = {sizeof(cvr_cpu_fn), run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "layer_norm_backward",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 5,
            .max_inputs = 5,
            .n_outputs = 3,
            .n_attrs = 3,
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
     .name = "layer_norm",
     .doc = "normalises over the last axes, then scales and shifts each element",
     .n_attrs = 4,
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = 1,
     .attrs = layer_attrs,
     .build = build},
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "layer_norm2d",
     .doc = "normalises over the channels of each pixel (torchvision's LayerNorm2d)",
     .n_attrs = 3,
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = 1,
     .attrs = layer2d_attrs,
     .build = build2d},
};

const norm_family norm_layer = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
