/*
 * Batch normalisation (Ioffe and Szegedy, 2015) over the channels of pictures: torch.nn.BatchNorm2d.
 * Ops, gradients and the layer; formulas in ops/norm.h.
 */
#include "norm_family.h"

const cvr_attr_desc norm_momentum_attr = CVR_ATTR_INIT(
    FLOAT, "momentum", "0.1", "weight of a batch's statistics in the running ones", CVR_ATTR_BETWEEN(0, 1));
static const cvr_attr_desc track_attr =
    CVR_ATTR_INIT(BOOL, "track_running_stats", "yes", "keep running statistics and use them for evaluation");

static const cvr_attr_desc *const train_attrs[] = {&norm_momentum_attr, &norm_eps_attr};
static const cvr_attr_desc *const inference_attrs[] = {&norm_eps_attr};
static const cvr_attr_desc *const layer_attrs[] = {&norm_eps_attr, &norm_momentum_attr, &norm_affine_attr, &track_attr};

/* As layer_attrs packs it. */
typedef struct batch_norm2d_layer {
    double eps;
    double momentum;
    int64_t affine;
    int64_t track_running_stats;
} batch_norm2d_layer;

int32_t norm_batch_check(const char *op, const cvr_infer_args *a, uint32_t first, uint32_t last, cvr_error *err) {
    const cvr_type *x = a->inputs[0];
    CVR_TRY(norm_check_f32(op, x, err));
    if (x->rank != 4)
        return cvr_fail(err, CVR_ERR_INVALID, "%s: the input has %u axes; it must have 4 (N, C, H, W)", op, x->rank);
    for (uint32_t i = first; i <= last && i < a->n_inputs; i++)
        CVR_TRY(norm_check_vector(op, "a scale, shift or statistic", a->inputs[i], x->shape[1], err));
    return CVR_OK;
}

/* Output i: (C) f32 */
static void set_vector(const cvr_infer_args *a, uint32_t i) {
    cvr_type_set(a->outputs[i], CVR_F32, 1, &a->inputs[0]->shape[1]);
}

int32_t norm_batch_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0];
    CVR_TRY(norm_batch_check("batch_norm2d", a, 1, 4, err));
    if (x->shape[0] * x->shape[2] * x->shape[3] < 2)
        return cvr_fail(
            err, CVR_ERR_INVALID,
            "batch_norm2d: training needs more than one value per channel, but pictures * height * width is "
            "%lld; use a batch of 2 or more (train.batch / train.grad_accum)",
            (long long)(x->shape[0] * x->shape[2] * x->shape[3]));
    if (a->n_inputs > 5 && a->inputs[5] && (a->inputs[5]->dtype != CVR_I64 || a->inputs[5]->rank != 0))
        return cvr_fail(err, CVR_ERR_INVALID, "batch_norm2d: num_batches_tracked must be a scalar i64");
    *a->outputs[0] = *x;
    set_vector(a, 1);
    set_vector(a, 2);
    return CVR_OK;
}

static int32_t stats_infer(const cvr_infer_args *a, cvr_error *err) {
    set_vector(a, 0);
    set_vector(a, 1);
    return norm_batch_check("batch_norm2d_stats", a, 1, 0, err);
}

/* A sum, and a sum of squared distances. */
static double stats_flops(const cvr_infer_args *a) {
    return 3.0 * (double)cvr_numel(4, a->inputs[0]->shape);
}

static int32_t inference_infer(const cvr_infer_args *a, cvr_error *err) {
    *a->outputs[0] = *a->inputs[0];
    return norm_batch_check("batch_norm2d_inference", a, 1, 4, err);
}

int32_t norm_batch_backward_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(norm_batch_check("batch_norm2d_backward", a, 2, 4, err));
    CVR_TRY(norm_check_like("batch_norm2d_backward", a->inputs[0], a->inputs[1], err));
    *a->outputs[0] = *a->inputs[0];
    set_vector(a, 1);
    set_vector(a, 2);
    return CVR_OK;
}

/* [x], grad, weight, running_mean, running_var */
static int32_t inference_backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *inputs[5];
    cvr_infer_args with_x = *a;
    memcpy(inputs, a->inputs, sizeof inputs);
    if (!inputs[0]) inputs[0] = inputs[1];
    with_x.inputs = inputs;
    return norm_batch_backward_infer(&with_x, err);
}

static int32_t train_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return norm_emit_backward(b, a, a->inputs[0], "batch_norm2d_backward", 0, &a->outputs[1], err);
}

/* dx depends on no element of x, which need not be kept where scale and shift are frozen. */
static int32_t inference_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value x = a->needs[1] || a->needs[2] ? a->inputs[0] : CVR_NONE;
    if (!a->needs[0] && x == CVR_NONE) return CVR_OK;
    return norm_emit_backward(b, a, x, "batch_norm2d_inference_backward", sizeof(cvr_batch_norm2d_inference_attrs),
                              &a->inputs[3], err);
}

int32_t norm_batch_recompute(const cvr_builder *b, cvr_decompose_args *a, int64_t activation, cvr_error *err) {
    const cvr_batch_norm2d_apply_attrs attrs = {activation};
    const cvr_value in[6] = {a->inputs[0],
                             a->n_inputs > 1 ? a->inputs[1] : CVR_NONE,
                             a->n_inputs > 2 ? a->inputs[2] : CVR_NONE,
                             a->outputs[1],
                             a->outputs[2],
                             a->n_inputs > 6 ? a->inputs[6] : CVR_NONE};
    return cvr_emit(b, "batch_norm2d_apply", &attrs, sizeof attrs, in, 6, a->outputs, err);
}

static int32_t train_emit(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    return norm_batch_recompute(b, a, CVR_ACTIVATION_NONE, err);
}

/* ---- the layer ---- */

/* A buffer, kept with the weights and not trained: f32 (C), or a scalar i64. */
static int32_t add_buffer(const cvr_builder *b, const char *name, uint32_t dtype, int64_t channels, double start,
                          cvr_value *out, cvr_error *err) {
    const cvr_init init = {.struct_size = sizeof init, .kind = CVR_INIT_CONSTANT, .a = start};
    const cvr_param_decl decl = {.struct_size = sizeof decl,
                                 .name = name,
                                 .dtype = dtype,
                                 .rank = dtype == CVR_F32,
                                 .shape = {dtype == CVR_F32 ? channels : 1, 1, 1, 1, 1, 1},
                                 .init = &init};
    return b->param(b, &decl, out, err);
}

/* running_mean (C) = 0, running_var (C) = 1, num_batches_tracked () = 0 */
static int32_t add_buffers(const cvr_builder *b, int64_t channels, cvr_value out[3], cvr_error *err) {
    CVR_TRY(add_buffer(b, "running_mean", CVR_F32, channels, 0, &out[0], err));
    CVR_TRY(add_buffer(b, "running_var", CVR_F32, channels, 1, &out[1], err));
    return add_buffer(b, "num_batches_tracked", CVR_I64, 1, 0, &out[2], err);
}

/* Weight, bias and statistics as buffers: what pretrained networks are fine-tuned with where batches are small. It is
 * the form for evaluation in every graph, so that passes fold it into the convolution before it, and x alone has a
 * gradient. */
static int32_t build_frozen(const cvr_builder *b, const void *attrs, const cvr_value *inputs, uint32_t n_inputs,
                            cvr_value *outputs, cvr_error *err) {
    static const char *const names[4] = {"weight", "bias", "running_mean", "running_var"};
    const cvr_batch_norm2d_inference_attrs call = {*(const double *)attrs};
    const cvr_type *x = b->type(b, inputs[0]);
    cvr_value in[5] = {inputs[0]};
    (void)n_inputs;
    if (x->rank != 4)
        return cvr_fail(err, CVR_ERR_INVALID, "the input has %u axes; it must have 4 (N, C, H, W)", x->rank);
    for (uint32_t i = 0; i < 4; i++)
        CVR_TRY(add_buffer(b, names[i], CVR_F32, x->shape[1], i == 0 || i == 3, &in[i + 1], err));
    return cvr_emit(b, "batch_norm2d_inference", &call, sizeof call, in, 5, outputs, err);
}

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *inputs, uint32_t n_inputs,
                     cvr_value *outputs, cvr_error *err) {
    (void)n_inputs;
    const batch_norm2d_layer *layer = attrs;
    const cvr_type *x = b->type(b, inputs[0]);
    const int64_t channels = x->shape[1];
    cvr_value in[6] = {inputs[0]}, out[3];
    if (x->rank != 4)
        return cvr_fail(err, CVR_ERR_INVALID, "the input has %u axes; it must have 4 (N, C, H, W)", x->rank);
    if (layer->affine) {
        CVR_TRY(norm_param(b, "weight", 1, 1, &channels, &in[1], err));
        CVR_TRY(norm_param(b, "bias", 0, 1, &channels, &in[2], err));
    }
    if (layer->track_running_stats) CVR_TRY(add_buffers(b, channels, &in[3], err));
    if (!b->training && layer->track_running_stats) {
        const cvr_batch_norm2d_inference_attrs call = {layer->eps};
        return cvr_emit(b, "batch_norm2d_inference", &call, sizeof call, in, 5, outputs, err);
    }
    const cvr_batch_norm2d_attrs call = {layer->momentum, layer->eps};
    CVR_TRY(cvr_emit(b, "batch_norm2d", &call, sizeof call, in, 6, out, err));
    outputs[0] = out[0];
    return CVR_OK;
}

/* A pass for the statistics (3 operations an element), one for the output (2). */
double norm_batch_flops(const cvr_infer_args *a) {
    return 5.0 * (double)cvr_numel(4, a->outputs[0]->shape);
}

const cvr_batch_norm_trait norm_batch_evaluated = {sizeof norm_batch_evaluated, "batch_norm2d_inference"};
static const cvr_recompute_trait train_recompute = {sizeof train_recompute, train_emit};
CVR_DEFINE_TRAITS(train_traits, {CVR_TRAIT_PRECISION, &cvr_precision_first}, {CVR_TRAIT_RECOMPUTE, &train_recompute},
                  {CVR_TRAIT_BATCH_NORM, &norm_batch_evaluated}, {CVR_TRAIT_AXES, &norm_batch_axes})

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "batch_norm2d",
            .version = 1,
            .min_inputs = 1,
            .max_inputs = 6,
            .n_outputs = 3,
            .n_attrs = 2,
            .attrs = train_attrs,
            .mutates = 1u << 3 | 1u << 4 | 1u << 5,
            .optional = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5,
            .infer = norm_batch_infer,
            .grad = train_grad,
            .flops = norm_batch_flops,
            .doc =
                "y = (x - mean) / sqrt(var + eps) * weight + bias, by the batch's statistics (Ioffe and Szegedy, 2015)",
            .trait = train_traits},
     .reference = {sizeof(cvr_cpu_fn), norm_batch_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "batch_norm2d_backward",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 5,
            .max_inputs = 5,
            .n_outputs = 3,
            .optional = 1u << 2,
            .infer = norm_batch_backward_infer,
            .flops = norm_batch_flops,
            .doc = "dx = weight * invstd * (grad - mean(grad) - xhat * mean(grad * xhat))"},
     .reference = {sizeof(cvr_cpu_fn), norm_batch_backward_run},
     .inplace = 3},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "batch_norm2d_stats",
            .version = 1,
            .trait = cvr_traits_mixed_f32,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 2,
            .infer = stats_infer,
            .flops = stats_flops,
            .doc = "mean and biased variance of each channel"},
     .reference = {sizeof(cvr_cpu_fn), norm_batch_stats_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "batch_norm2d_inference",
            .version = 1,
            .trait = norm_batch_inference_traits,
            .min_inputs = 5,
            .max_inputs = 5,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = inference_attrs,
            .optional = 1u << 1 | 1u << 2,
            .infer = inference_infer,
            .grad = inference_grad,
            .flops = norm_batch_flops,
            .doc = "y = (x - running_mean) / sqrt(running_var + eps) * weight + bias"},
     .reference = {sizeof(cvr_cpu_fn), norm_batch_inference_run},
     .inplace = 1},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "batch_norm2d_inference_backward",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 5,
            .max_inputs = 5,
            .n_outputs = 3,
            .n_attrs = 1,
            .attrs = inference_attrs,
            .optional = 1u | 1u << 2,
            .infer = inference_backward_infer,
            .flops = norm_batch_flops,
            .doc = "dx = grad * weight / sqrt(running_var + eps)"},
     .reference = {sizeof(cvr_cpu_fn), norm_batch_inference_backward_run},
     .inplace = 3},
};

static const cvr_layer_desc layers[] = {
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "batch_norm2d",
     .doc = "normalises each channel over the batch, then scales and shifts it",
     .n_attrs = 4,
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = 1,
     .attrs = layer_attrs,
     .build = build},
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "frozen_batch_norm2d",
     .doc = "batch_norm2d by statistics, scale and shift that stay as they are loaded, in training too",
     .n_attrs = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = 1,
     .attrs = inference_attrs,
     .build = build_frozen},
};

const norm_family norm_batch = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
