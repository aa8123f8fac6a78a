/* Shape rules of the convolution ops, torch.nn.functional.conv2d's and conv_transpose2d's. */
#include "conv_family.h"

#include <cvr/plugin/ops/norm.h>

/* Input i is there, f32 and of that rank. */
static int32_t check_input(const cvr_infer_args *a, uint32_t i, uint32_t rank, const char *what, cvr_error *err) {
    const cvr_type *t = i < a->n_inputs ? a->inputs[i] : NULL;
    if (!t) return cvr_fail(err, CVR_ERR_INVALID, "%s is missing", what);
    if (t->dtype != CVR_F32)
        return cvr_fail(err, CVR_ERR_INVALID, "%s is %s; convolution takes f32", what, cvr_dtype_name(t->dtype));
    if (t->rank != rank)
        return cvr_fail(err, CVR_ERR_INVALID, "%s has shape %s; it must have %u axes%s", what, cvr_shape_of(t).text,
                        rank, rank == 4 ? ", (N,C,H,W)" : "");
    return CVR_OK;
}

static int32_t check_groups(const cvr_conv2d_attrs *attrs, int64_t in, int64_t out, cvr_error *err) {
    if (attrs->groups < 1 || in % attrs->groups != 0 || out % attrs->groups != 0)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "groups=%lld must divide the input's %lld channels and the output's %lld channels",
                        (long long)attrs->groups, (long long)in, (long long)out);
    return CVR_OK;
}

/* Input 2, if given, has `channels` elements. */
static int32_t check_bias(const cvr_infer_args *a, int64_t channels, cvr_error *err) {
    if (a->n_inputs < 3 || !a->inputs[2]) return CVR_OK;
    CVR_TRY(check_input(a, 2, 1, "bias", err));
    if (a->inputs[2]->shape[0] != channels)
        return cvr_fail(err, CVR_ERR_INVALID, "bias has shape %s; the output has %lld channels",
                        cvr_shape_of(a->inputs[2]).text, (long long)channels);
    return CVR_OK;
}

/* out[i] = positions of a kernel of shape (O,I,kernel...) over x (N,C,in...). */
static int32_t window_counts(const cvr_conv2d_attrs *attrs, const cvr_type *x, const cvr_type *weight, int64_t out[2],
                             cvr_error *err) {
    for (int i = 0; i < 2; i++) {
        const cvr_window w = conv_window(attrs, i, weight->shape[2 + i]);
        out[i] = cvr_window_count(x->shape[2 + i], &w);
        if (out[i] < 1)
            return cvr_fail(
                err, CVR_ERR_INVALID,
                "a kernel of weight %s with dilation %lld,%lld does not fit into x %s with padding %lld,%lld; "
                "make the input or the padding larger, or the kernel smaller",
                cvr_shape_of(weight).text, (long long)attrs->dilation[0], (long long)attrs->dilation[1],
                cvr_shape_of(x).text, (long long)attrs->padding[0], (long long)attrs->padding[1]);
    }
    return CVR_OK;
}

/* x (N,C,H,W), weight (K,C/groups,R,S), [bias (K)] -> (N,K,P,Q) */
int32_t conv2d_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_conv2d_attrs *attrs = a->attrs;
    CVR_TRY(check_input(a, 0, 4, "x", err));
    CVR_TRY(check_input(a, 1, 4, "weight", err));
    const cvr_type *x = a->inputs[0], *weight = a->inputs[1];
    CVR_TRY(check_groups(attrs, x->shape[1], weight->shape[0], err));
    if (weight->shape[1] != x->shape[1] / attrs->groups)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "weight %s takes %lld channels a group, x %s has %lld channels in %lld groups",
                        cvr_shape_of(weight).text, (long long)weight->shape[1], cvr_shape_of(x).text,
                        (long long)x->shape[1], (long long)attrs->groups);
    int64_t out[2];
    CVR_TRY(check_bias(a, weight->shape[0], err));
    CVR_TRY(window_counts(attrs, x, weight, out, err));
    cvr_type_set(a->outputs[0], CVR_F32, 4, (const int64_t[]){x->shape[0], weight->shape[0], out[0], out[1]});
    return CVR_OK;
}

/* grad (N,K,P,Q), weight (K,C/groups,R,S) -> (N,C,H,W) */
int32_t conv2d_backward_input_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_conv2d_backward_input_attrs *attrs = a->attrs;
    CVR_TRY(check_input(a, 0, 4, "grad", err));
    CVR_TRY(check_input(a, 1, 4, "weight", err));
    const cvr_type *grad = a->inputs[0], *weight = a->inputs[1];
    if (attrs->input_size[0] < 1 || attrs->input_size[1] < 1 || attrs->conv.groups < 1 ||
        weight->shape[1] > INT64_MAX / attrs->conv.groups)
        return cvr_fail(err, CVR_ERR_INVALID, "input_size and groups must be at least 1");
    cvr_type *dx = a->outputs[0];
    cvr_type_set(dx, CVR_F32, 4,
                 (const int64_t[]){grad->shape[0], weight->shape[1] * attrs->conv.groups, attrs->input_size[0],
                                   attrs->input_size[1]});
    int64_t out[2];
    CVR_TRY(check_groups(&attrs->conv, dx->shape[1], weight->shape[0], err));
    CVR_TRY(window_counts(&attrs->conv, dx, weight, out, err));
    if (grad->shape[1] != weight->shape[0] || grad->shape[2] != out[0] || grad->shape[3] != out[1])
        return cvr_fail(err, CVR_ERR_INVALID, "grad %s is not what a conv2d of x %s with weight %s makes",
                        cvr_shape_of(grad).text, cvr_shape_of(dx).text, cvr_shape_of(weight).text);
    return CVR_OK;
}

/* x (N,C,H,W), grad (N,K,P,Q) -> (K,C/groups,R,S) */
int32_t conv2d_backward_weight_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_conv2d_backward_weight_attrs *attrs = a->attrs;
    CVR_TRY(check_input(a, 0, 4, "x", err));
    CVR_TRY(check_input(a, 1, 4, "grad", err));
    const cvr_type *x = a->inputs[0], *grad = a->inputs[1];
    CVR_TRY(check_groups(&attrs->conv, x->shape[1], grad->shape[1], err));
    cvr_type *dweight = a->outputs[0];
    cvr_type_set(dweight, CVR_F32, 4,
                 (const int64_t[]){grad->shape[1], x->shape[1] / attrs->conv.groups, attrs->kernel_size[0],
                                   attrs->kernel_size[1]});
    int64_t out[2];
    CVR_TRY(window_counts(&attrs->conv, x, dweight, out, err));
    if (grad->shape[0] != x->shape[0] || grad->shape[2] > out[0] || grad->shape[3] > out[1])
        return cvr_fail(err, CVR_ERR_INVALID, "grad %s is not what a conv2d of x %s with weight %s makes",
                        cvr_shape_of(grad).text, cvr_shape_of(x).text, cvr_shape_of(dweight).text);
    return CVR_OK;
}

/* grad (N,K,P,Q) -> (K) */
int32_t conv2d_backward_bias_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check_input(a, 0, 4, "grad", err));
    cvr_type_set(a->outputs[0], CVR_F32, 1, (const int64_t[]){a->inputs[0]->shape[1]});
    return CVR_OK;
}

/* x (N,C,H,W), weight (C,K/groups,R,S), [bias (K)] -> (N,K,P,Q) */
int32_t conv_transpose2d_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_conv_transpose2d_attrs *attrs = a->attrs;
    CVR_TRY(check_input(a, 0, 4, "x", err));
    CVR_TRY(check_input(a, 1, 4, "weight", err));
    const cvr_type *x = a->inputs[0], *weight = a->inputs[1];
    int64_t channels, out[2];
    if (__builtin_mul_overflow(weight->shape[1], attrs->conv.groups, &channels)) channels = 0;
    CVR_TRY(check_groups(&attrs->conv, x->shape[1], channels, err));
    CVR_TRY(check_bias(a, channels, err));
    if (weight->shape[0] != x->shape[1])
        return cvr_fail(err, CVR_ERR_INVALID, "weight %s takes %lld channels, x %s has %lld", cvr_shape_of(weight).text,
                        (long long)weight->shape[0], cvr_shape_of(x).text, (long long)x->shape[1]);
    for (int i = 0; i < 2; i++) {
        const cvr_window w = conv_window(&attrs->conv, i, weight->shape[2 + i]);
        const int64_t limit = w.stride > w.dilation ? w.stride : w.dilation;
        if (attrs->output_padding[i] >= limit)
            return cvr_fail(err, CVR_ERR_INVALID,
                            "output_padding=%lld must be smaller than stride=%lld or dilation=%lld",
                            (long long)attrs->output_padding[i], (long long)w.stride, (long long)w.dilation);
        out[i] = cvr_window_transposed(x->shape[2 + i], &w, attrs->output_padding[i]);
        if (out[i] < 1)
            return cvr_fail(err, CVR_ERR_INVALID,
                            "x %s and weight %s with padding=%lld,%lld leave no output; use less "
                            "padding",
                            cvr_shape_of(x).text, cvr_shape_of(weight).text, (long long)attrs->conv.padding[0],
                            (long long)attrs->conv.padding[1]);
    }
    cvr_type_set(a->outputs[0], CVR_F32, 4, (const int64_t[]){x->shape[0], channels, out[0], out[1]});
    return CVR_OK;
}

/* grad (N,K,P,Q), weight (C,K/groups,R,S) -> (N,C,H,W): conv2d's shapes, cut to input_size */
int32_t conv_transpose2d_backward_input_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_conv2d_backward_input_attrs *attrs = a->attrs;
    const cvr_infer_args conv = {sizeof conv, &attrs->conv, a->inputs, a->outputs, a->n_inputs, a->n_outputs};
    CVR_TRY(conv2d_infer(&conv, err));
    for (int i = 0; i < 2; i++) {
        int64_t *size = &a->outputs[0]->shape[2 + i];
        if (attrs->input_size[i] < 1 || attrs->input_size[i] > *size)
            return cvr_fail(err, CVR_ERR_INVALID, "input_size=%lld,%lld does not lead to grad %s with weight %s",
                            (long long)attrs->input_size[0], (long long)attrs->input_size[1],
                            cvr_shape_of(a->inputs[0]).text, cvr_shape_of(a->inputs[1]).text);
        *size = attrs->input_size[i];
    }
    return CVR_OK;
}

/* ---- what the fused ops read besides ---- */

int32_t conv_check_vector(const char *op, const cvr_infer_args *a, uint32_t i, const cvr_type *like, cvr_error *err) {
    const cvr_type *v = i < a->n_inputs ? a->inputs[i] : NULL;
    if (!v || (v->dtype == CVR_F32 && v->rank == 1 && v->shape[0] == like->shape[1])) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: input %u must be %lld f32", op, i, (long long)like->shape[1]);
}

int32_t conv_check_like(const char *op, const cvr_infer_args *a, uint32_t i, const cvr_type *like, cvr_error *err) {
    const cvr_type *t = i < a->n_inputs ? a->inputs[i] : NULL;
    if (!t || (t->dtype == CVR_F32 && t->rank == 4 && memcmp(t->shape, like->shape, 4 * sizeof *t->shape) == 0))
        return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: input %u %s does not have the shape of the result %s", op, i,
                    cvr_shape_of(t).text, cvr_shape_of(like).text);
}

int32_t conv_check_activation(const char *op, int64_t activation, cvr_error *err) {
    if (activation >= CVR_ACTIVATION_NONE && activation <= CVR_ACTIVATION_RELU6) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: activation %lld is none of none, relu, relu6", op,
                    (long long)activation);
}
