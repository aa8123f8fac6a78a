/*
 * Dropout (Srivastava et al., 2014), torch.nn.Dropout, by counter-based random numbers: the plugin "layer_dropout".
 * The mask is a function of (seed, layer, step, element), so backward makes it again instead of keeping it. And that of
 * whole channels (Tompson et al.: "Efficient Object Localization Using Convolutional Networks", 2015),
 * torch.nn.Dropout2d: x times a 1 a channel that went through dropout.
 */
#include <cvr/plugin/ops/arith.h>
#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/dropout.h>
#include <cvr/plugin/ops/reference.h>

static const cvr_attr_desc p_attr =
    CVR_ATTR_INIT(FLOAT, "p", "0.5", "probability that an element becomes 0", CVR_ATTR_PLACE_BETWEEN(0, 1));
static const cvr_attr_desc key_attr = CVR_ATTR_INIT(INT, "key", NULL, "tells this layer's numbers from another's");
static const cvr_attr_desc *const op_attrs[] = {&p_attr, &key_attr};
static const cvr_attr_desc *const layer_attrs[] = {&p_attr};

/* x, seed, step -> y */
static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_dropout_attrs *attrs = a->attrs;
    *a->outputs[0] = *a->inputs[0];
    if (a->inputs[0]->dtype != CVR_F32) return cvr_fail(err, CVR_ERR_INVALID, "dropout: the input must be f32");
    for (uint32_t i = 1; i < 3; i++)
        if (a->inputs[i]->dtype != CVR_I64 || a->inputs[i]->rank != 0)
            return cvr_fail(err, CVR_ERR_INVALID, "dropout: seed and step must be i64 scalars");
    if (attrs->p >= 0 && attrs->p <= 1) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "dropout: p is %g; it must be in 0..1", attrs->p);
}

/* dx = grad under the same mask */
static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value inputs[3] = {a->grad_outputs[0], a->inputs[1], a->inputs[2]};
    return cvr_emit(b, "dropout", a->attrs, sizeof(cvr_dropout_attrs), inputs, 3, &a->grad_inputs[0], err);
}

/* y[i] = r_i < floor(p * 2^32) ? 0 : x[i] / (1 - p) */
static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_dropout_attrs *attrs = a->attrs;
    const float *x = a->inputs[0]->data;
    float *y = a->outputs[0]->data;
    const uint64_t seed = (uint64_t) * (const int64_t *)a->inputs[1]->data;
    const uint64_t step = (uint64_t) * (const int64_t *)a->inputs[2]->data;
    const uint64_t key = cvr_rng_mix(seed, (uint64_t)attrs->key), threshold = (uint64_t)(attrs->p * 4294967296.0);
    const float scale = attrs->p < 1 ? (float)(1 / (1 - attrs->p)) : 0;
    const int64_t n = cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
    for (int64_t i = 0; i < n; i += 4) {
        uint32_t r[4];
        cvr_philox(key, step, (uint64_t)i / 4, r);
        for (int64_t k = i; k < n && k < i + 4; k++) y[k] = r[k - i] < threshold ? 0 : x[k] * scale;
    }
    return CVR_OK;
}

/* The identity in evaluation, and where p is 0. */
static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                     cvr_error *err) {
    (void)n_in;
    const double p = *(const double *)attrs;
    const cvr_dropout_attrs call = {p, (int64_t)cvr_hash(b->scope(b))};
    cvr_value inputs[3] = {in[0], CVR_NONE, CVR_NONE};
    out[0] = in[0];
    if (!b->training || p == 0) return CVR_OK;
    CVR_TRY(b->scalar(b, "seed", CVR_I64, &inputs[1], err));
    CVR_TRY(b->scalar(b, "step", CVR_I64, &inputs[2], err));
    return cvr_emit(b, "dropout", &call, sizeof call, inputs, 3, out, err);
}

/* A constant 1, in evaluation too: a layer has the same parameters in both. */
static int32_t constant_one(const cvr_builder *b, cvr_value *out, cvr_error *err) {
    static const float one = 1;
    const cvr_param_decl decl = {.struct_size = sizeof decl,
                                 .name = "one",
                                 .dtype = CVR_F32,
                                 .rank = 4,
                                 .shape = {1, 1, 1, 1, 1, 1},
                                 .flags = CVR_PARAM_CONSTANT,
                                 .values = &one};
    return b->param(b, &decl, out, err);
}

/* x: (N, C, H, W) -> the same: x times what dropout makes of a 1 for every channel of every sample, (N, C, 1, 1) */
static int32_t build_channels(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in,
                              cvr_value *out, cvr_error *err) {
    const cvr_type *x = b->type(b, in[0]);
    cvr_value factors[2] = {in[0], CVR_NONE};
    if (x->rank != 4)
        return cvr_fail(err, CVR_ERR_INVALID, "dropout2d takes (N,C,H,W); this input is %s", cvr_shape_of(x).text);
    const cvr_expand_attrs repeat = {.rank = 4, .shape = {x->shape[0], x->shape[1], 1, 1, 1, 1}, .scale = 1};
    out[0] = in[0];
    CVR_TRY(constant_one(b, &factors[1], err));
    if (!b->training || *(const double *)attrs == 0) return CVR_OK;
    CVR_TRY(cvr_emit(b, "expand", &repeat, sizeof repeat, &factors[1], 1, &factors[1], err));
    CVR_TRY(build(b, attrs, &factors[1], n_in, &factors[1], err));
    return cvr_emit(b, "mul_broadcast", NULL, 0, factors, 2, out, err);
}

/* Ten rounds for four elements, about 8 operations each. */
static double flops(const cvr_infer_args *a) {
    return 20.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

CVR_DEFINE_TRAITS(traits, {CVR_TRAIT_RECOMPUTE, &cvr_recompute_itself}, {CVR_TRAIT_COUNTS, &cvr_counts_elementwise})

static const cvr_reference_op op = {
    .op = {.struct_size = sizeof(cvr_op_desc),
           .name = "dropout",
           .version = 1,
           .flags = CVR_OP_ORDER_FREE,
           .trait = traits,
           .min_inputs = 3,
           .max_inputs = 3,
           .n_outputs = 1,
           .n_attrs = 2,
           .attrs = op_attrs,
           .infer = infer,
           .grad = grad,
           .flops = flops,
           .doc = "y = 0 with probability p, else x / (1 - p) (Srivastava et al., 2014)"},
    .reference = {sizeof(cvr_cpu_fn), run},
    .inplace = 1};
static const cvr_layer_desc layer = {.struct_size = sizeof layer,
                                     .name = "dropout",
                                     .doc = "in training, sets elements to 0 with probability p",
                                     .n_attrs = 1,
                                     .min_inputs = 1,
                                     .max_inputs = 1,
                                     .n_outputs = 1,
                                     .attrs = layer_attrs,
                                     .build = build};

static const cvr_layer_desc channels_layer = {.struct_size = sizeof channels_layer,
                                              .name = "dropout2d",
                                              .doc = "in training, sets whole channels to 0 with probability p",
                                              .n_attrs = 1,
                                              .min_inputs = 1,
                                              .max_inputs = 1,
                                              .n_outputs = 1,
                                              .attrs = layer_attrs,
                                              .build = build_channels};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(cvr_add_reference_ops(r, &op, 1, err));
    CVR_TRY(r->add(r, CVR_KIND_LAYER, &layer, err));
    return r->add(r, CVR_KIND_LAYER, &channels_layer, err);
}

CVR_DEFINE_PLUGIN("layer_dropout", "0.1.0", "op:expand op:mul_broadcast", load)
