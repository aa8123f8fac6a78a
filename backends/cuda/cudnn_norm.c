/*
 * The data gradient of a convolution with what the batch norm in front of it needs of it: conv2d_backward_input_norm of
 * ops/conv.h, as one plan. It adds the gradient that comes from elsewhere, lets through what the activation let
 * through, and takes the two sums, while the results are on the chip. cuDNN compiles such plans for a device; where it
 * does not offer one, the op decomposes, and device kernels do this after the data gradient's plan.
 */
#include "cudnn_form_parts.h"

#include <cvr/plugin/ops/norm.h>

enum { GRAD, WEIGHT, OTHER, X, SCALE, MEAN, INVSTD, SHIFT, Y };

static const cvr_conv2d_backward_input_norm_attrs *attrs_of(const void *attrs) {
    return (const cvr_conv2d_backward_input_norm_attrs *)attrs;
}

static int32_t norm_takes(const cvr_signature *s, cvr_error *reason) {
    const cvr_conv2d_backward_input_norm_attrs *attrs = attrs_of(s->attrs);
    if (s->outputs[0]->dtype == CVR_F32)
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "cuDNN fuses sums into data gradients of 16 bits only");
    if (attrs->activation == CVR_ACTIVATION_SILU)
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "silu's gradient is no part of the plan");
    for (uint32_t i = OTHER; i < s->n_inputs; i++) {
        const cvr_tensor *t = s->inputs[i];
        if (t && t->rank == 4 && t->dtype != s->outputs[0]->dtype)
            return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "input %u is %s", i, cvr_dtype_name(t->dtype));
    }
    return form_takes_conv(&attrs->conv.conv, s->outputs[0], s->inputs[WEIGHT], s->inputs[GRAD], reason);
}

/* xhat = (x - mean) * invstd */
static uint32_t normalised(const cvr_signature *sig, cudnn_form *f, uint32_t x) {
    const uint32_t d = cudnn_add_pointwise(&f->graph, CUDNN_POINTWISE_SUB, x, form_input(f, sig, MEAN, CVR_F32));
    return cudnn_add_pointwise(&f->graph, CUDNN_POINTWISE_MUL, d, form_input(f, sig, INVSTD, CVR_F32));
}

/* What tells where the activation let a gradient through: its result y, where that was kept, else its operand, which is
 * xhat * scale + shift. */
static uint32_t activated(const cvr_signature *sig, cudnn_form *f, uint32_t xhat) {
    uint32_t v = xhat;
    if (form_optional(sig, Y)) return form_input(f, sig, Y, sig->outputs[0]->dtype);
    if (form_optional(sig, SCALE))
        v = cudnn_add_pointwise(&f->graph, CUDNN_POINTWISE_MUL, v, form_input(f, sig, SCALE, CVR_F32));
    if (form_optional(sig, SHIFT))
        v = cudnn_add_pointwise(&f->graph, CUDNN_POINTWISE_ADD, v, form_input(f, sig, SHIFT, CVR_F32));
    return v;
}

/* over all axes but C */
static void add_sum(const cvr_signature *sig, cudnn_form *f, uint32_t x, uint32_t output) {
    const uint32_t to = form_output(f, sig, output);
    cudnn_add_step(&f->graph, &(const cudnn_step){.kind = CUDNN_SUM, .tensors = {x, to, NO_TENSOR}});
}

static void sums_in_plan(const cvr_signature *sig, cudnn_form *f) {
    const cvr_conv2d_backward_input_norm_attrs *attrs = attrs_of(sig->attrs);
    const uint32_t dtype = sig->inputs[GRAD]->dtype, activates = attrs->activation != CVR_ACTIVATION_NONE;
    cudnn_graph *g = &f->graph;
    const uint32_t grad = form_input(f, sig, GRAD, dtype), weight = form_input(f, sig, WEIGHT, dtype);
    uint32_t v = form_passing(f, sig->outputs[0]);
    form_conv(f, CUDNN_CONV_DATA, &attrs->conv.conv, v, weight, grad);
    if (form_optional(sig, OTHER)) v = cudnn_add_pointwise(g, CUDNN_POINTWISE_ADD, v, form_input(f, sig, OTHER, dtype));
    const uint32_t xhat = normalised(sig, f, form_input(f, sig, X, dtype));
    const uint32_t what = activates ? activated(sig, f, xhat) : NO_TENSOR;
    const uint32_t made = form_output(f, sig, 0);
    const cudnn_step last = {.kind = CUDNN_POINTWISE,
                             .mode = activates ? CUDNN_POINTWISE_RELU_BWD : CUDNN_POINTWISE_IDENTITY,
                             .upper = attrs->activation == CVR_ACTIVATION_RELU6 ? 6.0f : 0.0f,
                             .tensors = {v, what, made}};
    cudnn_add_step(g, &last);
    const uint32_t products = cudnn_add_pointwise(g, CUDNN_POINTWISE_MUL, made, xhat);
    add_sum(sig, f, products, 1);
    add_sum(sig, f, made, 2);
}

/* ---- the same by device kernels ---- */

static uint64_t sums_workspace(const cvr_tensor *g) {
    return device_columns_workspace((uint64_t)(cvr_numel(4, g->shape) / g->shape[1]), (uint64_t)g->shape[1]);
}

static uint64_t norm_plain_workspace(const library_op *op, const cvr_signature *sig) {
    cvr_signature first = *sig;
    (void)op;
    first.n_inputs = 2;
    first.n_outputs = 1;
    const uint64_t n = device_find("conv2d_backward_input")->workspace(&first), m = sums_workspace(sig->outputs[0]);
    return n > m ? n : m;
}

/* conv2d_backward_input into output 0, the other gradient added in place, then batch_norm2d_backward_sums */
static int32_t norm_plain(const library_op *op, const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_batch_norm2d_apply_attrs act = {attrs_of(a->attrs)->activation};
    const cvr_tensor *const in[7] = {device_in(a, X),      a->outputs[0],       device_in(a, SCALE), device_in(a, MEAN),
                                     device_in(a, INVSTD), device_in(a, SHIFT), device_in(a, Y)};
    cvr_kernel_args first = *a, sums = *a;
    (void)op;
    first.n_inputs = 2;
    first.n_outputs = 1;
    sums.attrs = &act;
    sums.inputs = in;
    sums.n_inputs = 7;
    CVR_TRY(device_find("conv2d_backward_input")->fn.record(&first, r, err));
    if (device_in(a, OTHER)) {
        device_program p = device_program_begin();
        const uint32_t v = device_input(&p, a->outputs[0]);
        (void)cvr_step2(&p.steps, CVR_STEP_ADD, v, device_input(&p, device_in(a, OTHER)));
        CVR_TRY(device_program_run(&p, r, a->outputs[0], err));
    }
    return device_find("batch_norm2d_backward_sums")->fn.record(&sums, r, err);
}

const cudnn_op cudnn_norm_ops[CUDNN_NORM_OPS] = {{.op = {.op = "conv2d_backward_input_norm",
                                                         .library = &cudnn_library,
                                                         .attrs_size = sizeof(cvr_conv2d_backward_input_norm_attrs),
                                                         .takes = norm_takes,
                                                         .plain = norm_plain,
                                                         .plain_workspace = norm_plain_workspace},
                                                  .forms = {sums_in_plan}}};
