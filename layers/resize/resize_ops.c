/* The resize ops: attributes, shape rules, gradient, descriptors. Their meanings are in ops/resize.h. */
#include "resize_family.h"

static const cvr_attr_desc size =
    CVR_ATTR_INIT(INT, "size", NULL, "height,width of the output", .count = 2, CVR_ATTR_BETWEEN(1, RESIZE_MAX));
static const cvr_attr_desc scale_factor =
    CVR_ATTR_INIT(FLOAT, "scale_factor", "0", "step between pixels, inverted; 0: the ratio of the sizes", .count = 2,
                  CVR_ATTR_AT_LEAST(0));
const cvr_attr_desc resize_mode =
    CVR_ATTR_INIT(CHOICE, "mode", "nearest", "how pixels between pixels are made", .choices = "nearest|bilinear");
const cvr_attr_desc resize_align_corners =
    CVR_ATTR_INIT(BOOL, "align_corners", "no", "corner pixels stay where they are (bilinear)");
static const cvr_attr_desc input_size = CVR_ATTR_INIT(
    INT, "input_size", NULL, "height,width of the gradient that is made", .count = 2, CVR_ATTR_BETWEEN(1, RESIZE_MAX));
static const cvr_attr_desc *const upsample_attrs[] = {&size, &scale_factor, &resize_mode, &resize_align_corners,
                                                      &input_size};

static int32_t check(const cvr_infer_args *a, const cvr_upsample_attrs *attrs, cvr_error *err) {
    const cvr_type *t = a->inputs[0];
    if (!t || t->rank != 4 || t->dtype != CVR_F32)
        return cvr_fail(err, CVR_ERR_INVALID, "upsample takes (N,C,H,W) of f32; this input is %s %s",
                        t ? cvr_dtype_name(t->dtype) : "absent", t ? cvr_shape_of(t).text : "");
    for (int i = 0; i < 2; i++)
        if (attrs->size[i] < 1 || !(attrs->scale_factor[i] >= 0) || isinf(attrs->scale_factor[i]))
            return cvr_fail(err, CVR_ERR_INVALID, "upsample needs sizes of at least 1 and finite scale factors");
    return CVR_OK;
}

/* x (N,C,H,W) -> (N,C,P,Q) */
static int32_t upsample_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_upsample_attrs *attrs = a->attrs;
    CVR_TRY(check(a, attrs, err));
    const cvr_type *x = a->inputs[0];
    cvr_type_set(a->outputs[0], CVR_F32, 4,
                 (const int64_t[]){x->shape[0], x->shape[1], attrs->size[0], attrs->size[1]});
    return CVR_OK;
}

/* grad (N,C,P,Q) -> (N,C,H,W) */
static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_upsample_backward_attrs *attrs = a->attrs;
    CVR_TRY(check(a, &attrs->upsample, err));
    const cvr_type *grad = a->inputs[0];
    if (grad->shape[2] != attrs->upsample.size[0] || grad->shape[3] != attrs->upsample.size[1] ||
        attrs->input_size[0] < 1 || attrs->input_size[1] < 1)
        return cvr_fail(err, CVR_ERR_INVALID, "grad %s is not of size %lld,%lld", cvr_shape_of(grad).text,
                        (long long)attrs->upsample.size[0], (long long)attrs->upsample.size[1]);
    cvr_type_set(a->outputs[0], CVR_F32, 4,
                 (const int64_t[]){grad->shape[0], grad->shape[1], attrs->input_size[0], attrs->input_size[1]});
    return CVR_OK;
}

static int32_t upsample_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_type *x = b->type(b, a->inputs[0]);
    cvr_upsample_backward_attrs attrs = {.input_size = {x->shape[2], x->shape[3]}};
    if (!a->needs[0] || a->grad_outputs[0] == CVR_NONE) return CVR_OK;
    memcpy(&attrs.upsample, a->attrs, sizeof attrs.upsample);
    return cvr_emit(b, "upsample_backward", &attrs, sizeof attrs, a->grad_outputs, 1, &a->grad_inputs[0], err);
}

/* Bilinear: four products and three sums for each pixel of the larger side. */
static double upsample_flops(const cvr_infer_args *a) {
    const cvr_upsample_attrs *attrs = a->attrs; /* the first attributes of both ops */
    const double pixels = (double)a->inputs[0]->shape[0] * (double)a->inputs[0]->shape[1] * (double)attrs->size[0] *
                          (double)attrs->size[1];
    return attrs->mode == CVR_UPSAMPLE_BILINEAR ? 7 * pixels : 0;
}

const cvr_reference_op resize_ops[RESIZE_OPS] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "upsample",
            .version = 1,
            .trait = resize_traits,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 4,
            .attrs = upsample_attrs,
            .infer = upsample_infer,
            .grad = upsample_grad,
            .flops = upsample_flops,
            .doc = "nearest or bilinear resize (torch.nn.functional.interpolate)"},
     .reference = {sizeof(cvr_cpu_fn), resize_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "upsample_backward",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 5,
            .attrs = upsample_attrs,
            .infer = backward_infer,
            .flops = upsample_flops,
            .doc = "the transpose of upsample"},
     .reference = {sizeof(cvr_cpu_fn), resize_backward_run}},
};
