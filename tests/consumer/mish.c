/*
 * acme.mish: an activation that no backend has heard of and that runs on all of them: two elementwise programs, and no
 * kernel. y = x * tanh(ln(1 + exp(x)))   (Misra: "Mish: A Self Regularized Non-Monotonic Activation Function", 2019)
 */
#include <cvr/plugin/ops/elementwise.h>
#include <cvr/plugin/plugin.h>

/* tanh(ln(1 + exp(x))) */
static uint32_t gate(cvr_steps *s, uint32_t x) {
    const uint32_t e = cvr_step2(s, CVR_STEP_ADD, cvr_constant(s, 1), cvr_step1(s, CVR_STEP_EXP, x));
    return cvr_step1(s, CVR_STEP_TANH, cvr_step1(s, CVR_STEP_LOG, e));
}

static void mish_steps(const void *attrs, cvr_steps *s) {
    (void)attrs;
    (void)cvr_step2(s, CVR_STEP_MUL, 0, gate(s, 0));
}

/* x, dy -> dx = dy * (t + x * (1 - t * t) * sigmoid(x)), t = tanh(ln(1 + exp(x))) */
static void mish_backward_steps(const void *attrs, cvr_steps *s) {
    const uint32_t one = cvr_constant(s, 1), t = gate(s, 0), tt = cvr_step2(s, CVR_STEP_MUL, t, t);
    const uint32_t e = cvr_step1(s, CVR_STEP_EXP, cvr_step1(s, CVR_STEP_NEG, 0));
    const uint32_t sigmoid = cvr_step2(s, CVR_STEP_DIV, one, cvr_step2(s, CVR_STEP_ADD, one, e));
    uint32_t slope = cvr_step2(s, CVR_STEP_MUL, 0, cvr_step2(s, CVR_STEP_SUB, one, tt));
    slope = cvr_step2(s, CVR_STEP_MUL, slope, sigmoid);
    (void)attrs;
    (void)cvr_step2(s, CVR_STEP_MUL, 1, cvr_step2(s, CVR_STEP_ADD, t, slope));
}

static const cvr_elementwise_trait forward = {sizeof forward, mish_steps, NULL};
static const cvr_elementwise_trait backward = {sizeof backward, mish_backward_steps, NULL};
CVR_DEFINE_TRAITS(forward_traits, {CVR_TRAIT_ELEMENTWISE, &forward}, {CVR_TRAIT_RECOMPUTE, &cvr_recompute_itself})
CVR_DEFINE_TRAITS(backward_traits, {CVR_TRAIT_ELEMENTWISE, &backward})

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    *a->outputs[0] = *a->inputs[0];
    return a->inputs[0]->dtype == CVR_F32 ? CVR_OK : cvr_fail(err, CVR_ERR_INVALID, "acme.mish: the input must be f32");
}

static int32_t forward_decompose(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    return cvr_elementwise_decompose(b, a, &forward, err);
}

static int32_t backward_decompose(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    return cvr_elementwise_decompose(b, a, &backward, err);
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value in[2] = {a->inputs[0], a->grad_outputs[0]};
    return cvr_emit(b, "acme.mish_backward", NULL, 0, in, 2, &a->grad_inputs[0], err);
}

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                     cvr_error *err) {
    (void)attrs;
    return cvr_emit(b, "acme.mish", NULL, 0, in, n_in, out, err);
}

static const cvr_op_desc ops[] = {{.struct_size = sizeof(cvr_op_desc),
                                   .name = "acme.mish",
                                   .version = 1,
                                   .flags = CVR_OP_ORDER_FREE,
                                   .min_inputs = 1,
                                   .max_inputs = 1,
                                   .n_outputs = 1,
                                   .infer = infer,
                                   .grad = grad,
                                   .decompose = forward_decompose,
                                   .doc = "x tanh(ln(1 + exp(x)))",
                                   .trait = forward_traits},
                                  {.struct_size = sizeof(cvr_op_desc),
                                   .name = "acme.mish_backward",
                                   .version = 1,
                                   .flags = CVR_OP_ORDER_FREE,
                                   .min_inputs = 2,
                                   .max_inputs = 2,
                                   .n_outputs = 1,
                                   .infer = infer,
                                   .decompose = backward_decompose,
                                   .doc = "its gradient",
                                   .trait = backward_traits}};
static const cvr_layer_desc layer = {.struct_size = sizeof layer,
                                     .name = "acme.mish",
                                     .doc = "x tanh(ln(1 + exp(x)))",
                                     .min_inputs = 1,
                                     .max_inputs = 1,
                                     .n_outputs = 1,
                                     .build = build};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_OP, &ops[0], err));
    CVR_TRY(r->add(r, CVR_KIND_OP, &ops[1], err));
    return r->add(r, CVR_KIND_LAYER, &layer, err);
}

CVR_DEFINE_PLUGIN("com.acme.mish", "1.0.0", "op:elementwise", load)
