/* The plugin "layer_linear": dense ops, their reference kernels, and the layer torch.nn.Linear. */
#include "linear_family.h"

static const cvr_attr_desc out_features =
    CVR_ATTR_INIT(INT, "out_features", NULL, "features of the output", CVR_ATTR_PLACE_BETWEEN(1, 1073741824.0));
static const cvr_attr_desc bias = CVR_ATTR_INIT(BOOL, "bias", "yes", "add a learned number to every feature");
static const cvr_attr_desc *const linear_attrs[] = {&out_features, &bias};

typedef struct linear_settings {
    int64_t out_features;
    int64_t bias;
} linear_settings;

/*
 * weight (out,in) and bias (out), both uniform in +-1/sqrt(in) as torch.nn.Linear has them. A flattened picture keeps
 * its order in memory: the weight is declared in the same order, so that nothing has to be transposed.
 */
static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *inputs, uint32_t n_inputs,
                     cvr_value *outputs, cvr_error *err) {
    const linear_settings *s = attrs;
    const cvr_type *x = b->type(b, inputs[0]);
    cvr_value args[3] = {inputs[0]};
    (void)n_inputs;
    if (x->rank < 2 || x->rank == 4)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "linear needs an input of 2, 3, 5 or 6 axes; this one is %s: put a flatten "
                        "before it",
                        cvr_shape_of(x).text);
    const int64_t in = x->shape[x->rank - 1];
    const double bound = 1.0 / sqrt((double)in);
    const cvr_init init = {sizeof init, CVR_INIT_UNIFORM, 0, -bound, bound};
    cvr_param_decl decl = {.struct_size = sizeof decl,
                           .name = "weight",
                           .dtype = CVR_F32,
                           .rank = 2,
                           .shape = {s->out_features, in, 1, 1, 1, 1},
                           .flags = CVR_PARAM_TRAINABLE,
                           .init = &init};
    if (x->rank == 2) memcpy(decl.order, x->order, sizeof decl.order);
    CVR_TRY(b->param(b, &decl, &args[1], err));
    if (s->bias) {
        decl.name = "bias";
        decl.rank = 1;
        decl.shape[1] = 1;
        decl.flags |= CVR_PARAM_BIAS;
        memset(decl.order, 0, sizeof decl.order);
        CVR_TRY(b->param(b, &decl, &args[2], err));
    }
    return cvr_emit(b, "linear", NULL, 0, args, s->bias ? 3 : 2, outputs, err);
}

static const cvr_layer_desc linear_layer = {.struct_size = sizeof(cvr_layer_desc),
                                            .name = "linear",
                                            .doc = "dense layer over the last axis (torch.nn.Linear)",
                                            .n_attrs = sizeof linear_attrs / sizeof *linear_attrs,
                                            .min_inputs = 1,
                                            .max_inputs = 1,
                                            .n_outputs = 1,
                                            .attrs = linear_attrs,
                                            .build = build};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(cvr_add_reference_ops(r, linear_ops, LINEAR_OPS, err));
    CVR_TRY(r->add(r, CVR_KIND_OP, &linear_weight_bias_op, err));
    return r->add(r, CVR_KIND_LAYER, &linear_layer, err);
}

CVR_DEFINE_PLUGIN("layer_linear", "0.1.0", "", load)
