/* acme.twice: an op that has no kernel anywhere, only a meaning in other ops. y = x + x */
#include <cvr/plugin/plugin.h>

static int32_t twice_infer(const cvr_infer_args *a, cvr_error *err) {
    (void)err;
    *a->outputs[0] = *a->inputs[0];
    return CVR_OK;
}

/* dL/dx = 2 dL/dy */
static int32_t twice_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit(b, "acme.twice", NULL, 0, a->grad_outputs, 1, a->grad_inputs, err);
}

static int32_t twice_decompose(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    const cvr_value both[2] = {a->inputs[0], a->inputs[0]};
    return cvr_emit(b, "add", NULL, 0, both, 2, a->outputs, err);
}

static int32_t twice_build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                           cvr_error *err) {
    (void)attrs;
    return cvr_emit(b, "acme.twice", NULL, 0, in, n_in, out, err);
}

static const cvr_op_desc op = {.struct_size = sizeof op,
                               .name = "acme.twice",
                               .version = 1,
                               .flags = CVR_OP_ORDER_FREE,
                               .min_inputs = 1,
                               .max_inputs = 1,
                               .n_outputs = 1,
                               .infer = twice_infer,
                               .grad = twice_grad,
                               .decompose = twice_decompose,
                               .doc = "2 x"};
static const cvr_layer_desc layer = {.struct_size = sizeof layer,
                                     .name = "acme.twice",
                                     .doc = "2 x",
                                     .min_inputs = 1,
                                     .max_inputs = 1,
                                     .n_outputs = 1,
                                     .build = twice_build};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_OP, &op, err));
    return r->add(r, CVR_KIND_LAYER, &layer, err);
}

CVR_DEFINE_PLUGIN("com.acme.twice", "1.0.0", "op:add", load)
