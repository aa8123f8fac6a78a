/*
 * Stochastic depth (Huang et al., "Deep Networks with Stochastic Depth", 2016), torchvision.ops.StochasticDepth: in
 * training, whole samples become 0 with probability p. The plugin "layer_stochastic_depth". Formula in
 * ops/stochastic_depth.h.
 */
#include <cvr/plugin/ops/reference.h>
#include <cvr/plugin/ops/stochastic_depth.h>

static const cvr_attr_desc p_attr =
    CVR_ATTR_INIT(FLOAT, "p", NULL, "probability that a sample becomes 0", CVR_ATTR_PLACE_BETWEEN(0, 1));
static const cvr_attr_desc mode_attr =
    CVR_ATTR_INIT(CHOICE, "mode", "row", "drawn for each sample, or once for the batch", .choices = "row|batch",
                  .flags = CVR_ATTR_POSITIONAL);
static const cvr_attr_desc key_attr = CVR_ATTR_INIT(INT, "key", NULL, "tells this layer's numbers from another's");
static const cvr_attr_desc samples_attr = CVR_ATTR_INIT(INT, "samples", NULL, "how many", CVR_ATTR_AT_LEAST(0));
static const cvr_attr_desc rank_attr =
    CVR_ATTR_INIT(INT, "rank", NULL, "axes, all but the first of 1", CVR_ATTR_BETWEEN(1, CVR_MAX_RANK));
static const cvr_attr_desc *const op_attrs[] = {&p_attr, &mode_attr, &key_attr};
static const cvr_attr_desc *const scale_attrs[] = {&p_attr, &mode_attr, &key_attr, &samples_attr, &rank_attr};
static const cvr_attr_desc *const layer_attrs[] = {&p_attr, &mode_attr};

/* As layer_attrs packs it. */
typedef struct stochastic_depth_layer {
    double p;
    int64_t mode;
} stochastic_depth_layer;

/* Seed and step are the inputs from `first` on. */
static int32_t check_draw(const cvr_infer_args *a, uint32_t first, cvr_error *err) {
    const cvr_stochastic_depth_attrs *attrs = a->attrs;
    for (uint32_t i = first; i < first + 2; i++)
        if (a->inputs[i]->dtype != CVR_I64 || a->inputs[i]->rank != 0)
            return cvr_fail(err, CVR_ERR_INVALID, "stochastic_depth: seed and step must be i64 scalars");
    if (attrs->p >= 0 && attrs->p <= 1) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "stochastic_depth: p is %g; it must be in 0..1", attrs->p);
}

/* x, seed, step -> y */
static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    *a->outputs[0] = *a->inputs[0];
    if (a->inputs[0]->dtype != CVR_F32 || a->inputs[0]->rank < 1)
        return cvr_fail(err, CVR_ERR_INVALID, "stochastic_depth: the input must be f32, (N, ...)");
    return check_draw(a, 1, err);
}

/* seed, step -> (N,1,...) */
static int32_t scale_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_stochastic_depth_scale_attrs *attrs = a->attrs;
    const int64_t shape[CVR_MAX_RANK] = {attrs->samples, 1, 1, 1, 1, 1};
    if (attrs->samples < 0 || attrs->rank < 1 || attrs->rank > CVR_MAX_RANK)
        return cvr_fail(err, CVR_ERR_INVALID, "stochastic_depth_scale: samples or rank make no sense");
    cvr_type_set(a->outputs[0], CVR_F32, (uint32_t)attrs->rank, shape);
    return check_draw(a, 0, err);
}

/* As a program of x and each sample's scale: x * scale, and 0 where that is 0, also where x is not finite. */
static void steps(const void *attrs, cvr_steps *s) {
    const uint32_t zero = cvr_constant(s, 0), scaled = cvr_step2(s, CVR_STEP_MUL, 0, 1);
    (void)attrs;
    (void)cvr_step4(s, CVR_STEP_SELECT_GT, 1, zero, scaled, zero);
}

static int32_t operands(const cvr_builder *b, cvr_operands_args *a, cvr_error *err) {
    const cvr_type *x = b->type(b, a->inputs[0]);
    const cvr_stochastic_depth_scale_attrs attrs = {*(const cvr_stochastic_depth_attrs *)a->attrs, x->shape[0],
                                                    x->rank};
    a->operands[0] = a->inputs[0];
    a->n_operands = 2;
    return cvr_emit(b, "stochastic_depth_scale", &attrs, sizeof attrs, a->inputs + 1, 2, &a->operands[1], err);
}

static const cvr_elementwise_trait program = {sizeof program, steps, operands};
CVR_DEFINE_TRAITS(traits, {CVR_TRAIT_ELEMENTWISE, &program}, {CVR_TRAIT_RECOMPUTE, &cvr_recompute_itself},
                  {CVR_TRAIT_COUNTS, &cvr_counts_elementwise})

/* dx = grad with the same samples dropped */
static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value inputs[3] = {a->grad_outputs[0], a->inputs[1], a->inputs[2]};
    return cvr_emit(b, "stochastic_depth", a->attrs, sizeof(cvr_stochastic_depth_attrs), inputs, 3, &a->grad_inputs[0],
                    err);
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_tensor *x = a->inputs[0];
    const int64_t samples = x->shape[0], n = samples ? cvr_numel(x->rank, x->shape) / samples : 0;
    const int64_t seed = *(const int64_t *)a->inputs[1]->data, step = *(const int64_t *)a->inputs[2]->data;
    for (int64_t i = 0; i < samples; i++) {
        const float scale = cvr_stochastic_depth_scale(a->attrs, seed, step, i), *from = (float *)x->data + i * n;
        float *to = (float *)a->outputs[0]->data + i * n;
        for (int64_t k = 0; k < n; k++) to[k] = scale == 0 ? 0 : from[k] * scale;
    }
    return CVR_OK;
}

static int32_t scale_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_stochastic_depth_scale_attrs *attrs = a->attrs;
    const int64_t seed = *(const int64_t *)a->inputs[0]->data, step = *(const int64_t *)a->inputs[1]->data;
    for (int64_t i = 0; i < attrs->samples; i++)
        ((float *)a->outputs[0]->data)[i] = cvr_stochastic_depth_scale(&attrs->depth, seed, step, i);
    return CVR_OK;
}

/* The identity in evaluation, and where p is 0. */
static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                     cvr_error *err) {
    (void)n_in;
    const stochastic_depth_layer *layer = attrs;
    const cvr_stochastic_depth_attrs call = {layer->p, layer->mode, (int64_t)cvr_hash(b->scope(b))};
    cvr_value inputs[3] = {in[0], CVR_NONE, CVR_NONE};
    out[0] = in[0];
    if (!b->training || layer->p == 0) return CVR_OK;
    CVR_TRY(b->scalar(b, "seed", CVR_I64, &inputs[1], err));
    CVR_TRY(b->scalar(b, "step", CVR_I64, &inputs[2], err));
    return cvr_emit(b, "stochastic_depth", &call, sizeof call, inputs, 3, out, err);
}

static double flops(const cvr_infer_args *a) {
    return (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "stochastic_depth",
            .version = 1,
            .flags = CVR_OP_ORDER_FREE,
            .min_inputs = 3,
            .max_inputs = 3,
            .n_outputs = 1,
            .n_attrs = 3,
            .attrs = op_attrs,
            .infer = infer,
            .grad = grad,
            .flops = flops,
            .doc = "a sample becomes 0 with probability p, else x / (1 - p) (Huang et al., 2016)",
            .trait = traits},
     .reference = {sizeof(cvr_cpu_fn), run},
     .inplace = 1},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "stochastic_depth_scale",
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 5,
            .attrs = scale_attrs,
            .infer = scale_infer,
            .doc = "what stochastic_depth multiplies each sample with"},
     .reference = {sizeof(cvr_cpu_fn), scale_run}},
};
static const cvr_layer_desc layer = {.struct_size = sizeof layer,
                                     .name = "stochastic_depth",
                                     .doc = "in training, sets whole samples to 0 with probability p",
                                     .n_attrs = 2,
                                     .min_inputs = 1,
                                     .max_inputs = 1,
                                     .n_outputs = 1,
                                     .attrs = layer_attrs,
                                     .build = build};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(cvr_add_reference_ops(r, ops, sizeof ops / sizeof *ops, err));
    return r->add(r, CVR_KIND_LAYER, &layer, err);
}

CVR_DEFINE_PLUGIN("layer_stochastic_depth", "0.1.0", "", load)
