/*
 * The plugin "layer_attention": torch.nn.functional.scaled_dot_product_attention, and torch.nn.MultiheadAttention with
 * batch_first, its parameter names and its initialisation.
 */
#include "attention_family.h"
#include <cvr/plugin/ops/shape.h>

static const cvr_attr_desc bias_attr =
    CVR_ATTR_INIT(BOOL, "bias", "yes", "add a learned number to every feature of the projections");
static const cvr_attr_desc *const sdpa_attrs[] = {&attention_num_heads};
static const cvr_attr_desc *const mha_attrs[] = {&attention_num_heads, &bias_attr};

/* As mha_attrs packs it. */
typedef struct mha_layer {
    int64_t num_heads;
    int64_t bias;
} mha_layer;

static int32_t attend(const cvr_builder *b, int64_t num_heads, const cvr_value qkv[3], cvr_value *y, cvr_error *err) {
    const cvr_attention_attrs attrs = {num_heads};
    return cvr_emit(b, "scaled_dot_product_attention", &attrs, sizeof attrs, qkv, 3, y, err);
}

static int32_t build_sdpa(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                          cvr_error *err) {
    (void)n_in;
    return attend(b, ((const cvr_attention_attrs *)attrs)->num_heads, in, out, err);
}

static int32_t declare(const cvr_builder *b, const char *name, const int64_t shape[2], double bound, cvr_value *out,
                       cvr_error *err) {
    const cvr_init init = {sizeof init, bound > 0 ? CVR_INIT_UNIFORM : CVR_INIT_CONSTANT, 0, -bound, bound};
    cvr_param_decl decl = {.struct_size = sizeof decl,
                           .name = name,
                           .dtype = CVR_F32,
                           .rank = shape[1] ? 2 : 1,
                           .shape = {shape[0], shape[1] ? shape[1] : 1, 1, 1, 1, 1},
                           .flags = CVR_PARAM_TRAINABLE | (shape[1] ? 0 : CVR_PARAM_BIAS),
                           .init = &init};
    return b->param(b, &decl, out, err);
}

static int32_t third(const cvr_builder *b, int64_t dim, int64_t i, int64_t d, cvr_value x, cvr_value *y,
                     cvr_error *err) {
    const cvr_slice_attrs s = {dim, i * d, 1, d, 3 * d};
    return cvr_emit(b, "slice", &s, sizeof s, &x, 1, y, err);
}

/* One input: one projection to (N,L,3D), cut in three. Three: each has its third of weight and bias. */
static int32_t project(const cvr_builder *b, const cvr_value *in, uint32_t n_in, cvr_value weight, cvr_value bias,
                       cvr_value qkv[3], cvr_error *err) {
    const int64_t d = b->type(b, weight)->shape[1];
    if (n_in == 1) {
        const cvr_value args[3] = {in[0], weight, bias};
        cvr_value all;
        CVR_TRY(cvr_emit(b, "linear", NULL, 0, args, bias ? 3 : 2, &all, err));
        for (int i = 0; i < 3; i++) CVR_TRY(third(b, 2, i, d, all, &qkv[i], err));
        return CVR_OK;
    }
    for (int i = 0; i < 3; i++) {
        cvr_value args[3] = {in[i], CVR_NONE, CVR_NONE};
        CVR_TRY(third(b, 0, i, d, weight, &args[1], err));
        if (bias) CVR_TRY(third(b, 0, i, d, bias, &args[2], err));
        CVR_TRY(cvr_emit(b, "linear", NULL, 0, args, bias ? 3 : 2, &qkv[i], err));
    }
    return CVR_OK;
}

/*
 * in_proj_weight (3D,D) by xavier_uniform, in_proj_bias (3D) 0, out_proj as torch.nn.Linear but for a bias of 0: it is
 * declared first, and the layer finds it.
 */
static int32_t build_mha(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                         cvr_error *err) {
    const mha_layer *layer = attrs;
    const cvr_type *q = b->type(b, in[0]);
    cvr_value weight, bias = CVR_NONE, unused, qkv[3], y;
    if (n_in == 2) return cvr_fail(err, CVR_ERR_INVALID, "it takes one input, or three: query, key and value");
    for (uint32_t i = 0; i < n_in; i++) {
        const cvr_type *x = b->type(b, in[i]);
        if (x->rank != 3 || x->shape[2] != q->shape[2])
            return cvr_fail(err, CVR_ERR_INVALID, "inputs must be (N, L, D) with one D; this one is %s",
                            cvr_shape_of(x).text);
    }
    const int64_t d = q->shape[2], in_shape[2] = {3 * d, d}, in_bias[2] = {3 * d, 0}, out_bias[2] = {d, 0};
    CVR_TRY(declare(b, "in_proj_weight", in_shape, sqrt(6 / (4 * (double)d)), &weight, err));
    if (layer->bias) CVR_TRY(declare(b, "in_proj_bias", in_bias, 0, &bias, err));
    if (layer->bias) CVR_TRY(declare(b, "out_proj.bias", out_bias, 0, &unused, err));
    CVR_TRY(project(b, in, n_in, weight, bias, qkv, err));
    CVR_TRY(attend(b, layer->num_heads, qkv, &y, err));
    char settings[48];
    (void)snprintf(settings, sizeof settings, "%lld bias=%s", (long long)d, layer->bias ? "yes" : "no");
    return cvr_layer(b, "out_proj", "linear", settings, y, out, err);
}

static const cvr_layer_desc sdpa = {.struct_size = sizeof sdpa,
                                    .name = "scaled_dot_product_attention",
                                    .doc = "softmax(q k^T / sqrt(E)) v of query, key and value, for each head",
                                    .n_attrs = 1,
                                    .min_inputs = 3,
                                    .max_inputs = 3,
                                    .n_outputs = 1,
                                    .attrs = sdpa_attrs,
                                    .build = build_sdpa};
static const cvr_layer_desc mha = {.struct_size = sizeof mha,
                                   .name = "multi_head_attention",
                                   .doc = "attention between projections of the input, or of query, key and value "
                                          "(torch.nn.MultiheadAttention)",
                                   .n_attrs = 2,
                                   .min_inputs = 1,
                                   .max_inputs = 3,
                                   .n_outputs = 1,
                                   .attrs = mha_attrs,
                                   .build = build_mha};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(cvr_add_reference_ops(r, attention_ops, ATTENTION_OPS, err));
    CVR_TRY(r->add(r, CVR_KIND_LAYER, &sdpa, err));
    return r->add(r, CVR_KIND_LAYER, &mha, err);
}

CVR_DEFINE_PLUGIN("layer_attention", "0.1.0", "layer:linear op:linear op:slice", load)
