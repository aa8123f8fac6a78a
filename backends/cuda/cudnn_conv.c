/* Convolutions, their gradients and transposed ones as forms for cuDNN. The meanings are in ops/conv.h. */
#include "cudnn_form_parts.h"

/* ---- what cuDNN takes ---- */

static int is_float(const cvr_tensor *t) {
    return t->dtype == CVR_F32 || t->dtype == CVR_F16 || t->dtype == CVR_BF16;
}

/* Positions along an axis of y, as cuDNN counts them from x. */
static int64_t positions(const cvr_conv2d_attrs *attrs, int axis, const cvr_tensor *x, const cvr_tensor *weight) {
    const int64_t window = attrs->dilation[axis] * (weight->shape[2 + axis] - 1) + 1;
    return (x->shape[2 + axis] + 2 * attrs->padding[axis] - window) / attrs->stride[axis] + 1;
}

int32_t form_takes_conv(const cvr_conv2d_attrs *attrs, const cvr_tensor *x, const cvr_tensor *weight,
                        const cvr_tensor *y, cvr_error *reason) {
    const cvr_tensor *const all[] = {x, weight, y};
    for (size_t i = 0; i < 3; i++) {
        if (!is_float(all[i]))
            return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "cuDNN is used for f32, f16 and bf16, not %s",
                            cvr_dtype_name(all[i]->dtype));
        if (cvr_numel(4, all[i]->shape) > INT32_MAX)
            return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "a tensor has more than 2^31 elements");
    }
    for (int axis = 0; axis < 2; axis++) {
        if (positions(attrs, axis, x, weight) != y->shape[2 + axis])
            return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "cuDNN wants %lld positions along axis %d, and there are %lld",
                            (long long)positions(attrs, axis, x, weight), 2 + axis, (long long)y->shape[2 + axis]);
    }
    return CVR_OK;
}

static int32_t conv2d_takes(const cvr_signature *s, cvr_error *reason) {
    return form_takes_conv((const cvr_conv2d_attrs *)s->attrs, s->inputs[0], s->inputs[1], s->outputs[0], reason);
}

static int32_t backward_input_takes(const cvr_signature *s, cvr_error *reason) {
    return form_takes_conv(&((const cvr_conv2d_backward_input_attrs *)s->attrs)->conv, s->outputs[0], s->inputs[1],
                           s->inputs[0], reason);
}

static int32_t backward_weight_takes(const cvr_signature *s, cvr_error *reason) {
    if (s->inputs[0]->dtype != s->inputs[1]->dtype)
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "x is %s and grad is %s", cvr_dtype_name(s->inputs[0]->dtype),
                        cvr_dtype_name(s->inputs[1]->dtype));
    return form_takes_conv(&((const cvr_conv2d_backward_weight_attrs *)s->attrs)->conv, s->inputs[0], s->outputs[0],
                           s->inputs[1], reason);
}

static int32_t transpose_takes(const cvr_signature *s, cvr_error *reason) {
    return form_takes_conv(&((const cvr_conv_transpose2d_attrs *)s->attrs)->conv, s->outputs[0], s->inputs[1],
                           s->inputs[0], reason);
}

static int32_t transpose_backward_input_takes(const cvr_signature *s, cvr_error *reason) {
    return form_takes_conv(&((const cvr_conv2d_backward_input_attrs *)s->attrs)->conv, s->inputs[0], s->inputs[1],
                           s->outputs[0], reason);
}

/* ---- bias ---- */

/* y += bias, by a device kernel. */
static int32_t add_bias(const cudnn_form *f, const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    device_program p = device_program_begin();
    const uint32_t y = device_input(&p, a->outputs[0]), bias = device_input_channels(&p, a->inputs[2]);
    (void)f;
    (void)cvr_step2(&p.steps, CVR_STEP_ADD, y, bias);
    return device_program_run(&p, r, a->outputs[0], err);
}

/* `kind` makes output 0 of inputs 0 and 1. */
static void made_by(const cvr_signature *sig, cudnn_form *f, uint32_t kind, const cvr_conv2d_attrs *attrs) {
    const uint32_t dtype = sig->inputs[0]->dtype;
    const uint32_t in = form_input(f, sig, 0, dtype), weight = form_input(f, sig, 1, dtype);
    const uint32_t out = form_output(f, sig, 0);
    form_conv(f, kind, attrs, kind == CUDNN_CONV ? in : out, weight, kind == CUDNN_CONV ? out : in);
    if (form_optional(sig, 2)) f->after = add_bias;
}

/* The same with the bias added inside the plan. Without a bias that is no form of its own. */
static void made_with_bias(const cvr_signature *sig, cudnn_form *f, uint32_t kind, const cvr_conv2d_attrs *attrs) {
    if (!form_optional(sig, 2)) return;
    const uint32_t dtype = sig->inputs[0]->dtype;
    const uint32_t in = form_input(f, sig, 0, dtype), weight = form_input(f, sig, 1, dtype);
    const uint32_t bias = form_input(f, sig, 2, CVR_F32), sums = form_passing(f, sig->outputs[0]);
    form_conv(f, kind, attrs, kind == CUDNN_CONV ? in : sums, weight, kind == CUDNN_CONV ? sums : in);
    const cudnn_step add = {
        .kind = CUDNN_POINTWISE, .mode = CUDNN_POINTWISE_ADD, .tensors = {sums, bias, form_output(f, sig, 0)}};
    cudnn_add_step(&f->graph, &add);
}

/* ---- the ops ---- */

static void conv2d_form(const cvr_signature *sig, cudnn_form *f) {
    made_by(sig, f, CUDNN_CONV, (const cvr_conv2d_attrs *)sig->attrs);
}

static void conv2d_bias_form(const cvr_signature *sig, cudnn_form *f) {
    made_with_bias(sig, f, CUDNN_CONV, (const cvr_conv2d_attrs *)sig->attrs);
}

static void backward_input_form(const cvr_signature *sig, cudnn_form *f) {
    made_by(sig, f, CUDNN_CONV_DATA, &((const cvr_conv2d_backward_input_attrs *)sig->attrs)->conv);
}

static void transpose_form(const cvr_signature *sig, cudnn_form *f) {
    made_by(sig, f, CUDNN_CONV_DATA, &((const cvr_conv_transpose2d_attrs *)sig->attrs)->conv);
}

static void transpose_bias_form(const cvr_signature *sig, cudnn_form *f) {
    made_with_bias(sig, f, CUDNN_CONV_DATA, &((const cvr_conv_transpose2d_attrs *)sig->attrs)->conv);
}

static void transpose_backward_input_form(const cvr_signature *sig, cudnn_form *f) {
    made_by(sig, f, CUDNN_CONV, &((const cvr_conv2d_backward_input_attrs *)sig->attrs)->conv);
}

/* dweight as cuDNN made it, in the activations' type, to f32: one rounding, as under PyTorch's autocast. */
static int32_t widen_weight(const cudnn_form *f, const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    cvr_tensor made = *a->outputs[0];
    made.dtype = a->inputs[0]->dtype;
    made.data = (char *)a->workspace + f->vectors[0];
    return library_cast(&made, a->outputs[0], r, err);
}

/* The same of a padded one, which lies at vectors[1]: it is brought to vectors[0] without the channels that it has
 * more. */
static int32_t widen_padded_weight(const cudnn_form *f, const cvr_kernel_args *a, const cvr_recorder *r,
                                   cvr_error *err) {
    cvr_tensor made = *a->outputs[0];
    made.dtype = a->inputs[0]->dtype;
    made.data = (char *)a->workspace + f->vectors[0];
    cvr_tensor padded = form_padded(&made);
    padded.data = (char *)a->workspace + f->vectors[1];
    CVR_TRY(library_fit_channels(&padded, &made, r, err));
    return widen_weight(f, a, r, err);
}

static uint32_t backward_weight_pads(const cvr_signature *sig) {
    return form_reads_picture(sig->inputs[0], sig->outputs[0]) && sig->outputs[0]->dtype == CVR_F32 ? 1 : 0;
}

static void backward_weight_form(const cvr_signature *sig, cudnn_form *f) {
    const uint32_t dtype = sig->inputs[0]->dtype;
    const uint32_t x = form_input(f, sig, 0, dtype), grad = form_input(f, sig, 1, dtype);
    const int widens = sig->outputs[0]->dtype != dtype;
    uint32_t dweight;
    if (f->pads) {
        f->vectors[0] = form_scratch(f, (uint64_t)cvr_numel(4, sig->outputs[0]->shape) * cvr_dtype_size(dtype));
        dweight = form_scratch_padded(f, sig->outputs[0], dtype, &f->vectors[1]);
        f->after = widen_padded_weight;
    } else {
        dweight = widens ? form_scratch_like(f, sig->outputs[0], dtype, &f->vectors[0]) : form_output(f, sig, 0);
        if (widens) f->after = widen_weight;
    }
    form_conv(f, CUDNN_CONV_WEIGHT, &((const cvr_conv2d_backward_weight_attrs *)sig->attrs)->conv, x, dweight, grad);
}

#define CONV_OP(name_, attrs_, takes_, pads_, ...)                                                                     \
    {                                                                                                                  \
        .op = {.op = name_,                                                                                            \
               .library = &cudnn_library,                                                                              \
               .attrs_size = sizeof(attrs_),                                                                           \
               .takes = takes_,                                                                                        \
               .plain = library_plain,                                                                                 \
               .plain_workspace = library_plain_workspace},                                                            \
        .pads = pads_, .forms = {                                                                                      \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }

const cudnn_op cudnn_conv_ops[CUDNN_CONV_OPS] = {
    CONV_OP("conv2d", cvr_conv2d_attrs, conv2d_takes, form_pads_both, conv2d_bias_form, conv2d_form),
    CONV_OP("conv2d_backward_input", cvr_conv2d_backward_input_attrs, backward_input_takes, NULL, backward_input_form),
    CONV_OP("conv2d_backward_weight", cvr_conv2d_backward_weight_attrs, backward_weight_takes, backward_weight_pads,
            backward_weight_form),
    CONV_OP("conv_transpose2d", cvr_conv_transpose2d_attrs, transpose_takes, NULL, transpose_bias_form, transpose_form),
    CONV_OP("conv_transpose2d_backward_input", cvr_conv2d_backward_input_attrs, transpose_backward_input_takes, NULL,
            transpose_backward_input_form)};
