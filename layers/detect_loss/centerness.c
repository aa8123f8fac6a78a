/* How near to its object's centre an anchor lies (Tian et al., "FCOS", 2019). */
#include "detect_loss_family.h"

static const cvr_attr_desc *const attrs_[] = {&detect_norm_attr};

/* x (N,A,1), anchors, boxes, match */
static int32_t check(const char *op, const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0];
    CVR_TRY(detect_check(op, "x", x, CVR_F32, 3, "(N,A,1)", err));
    CVR_TRY(detect_check_axis(op, "x", x, 2, 1, err));
    return detect_check_rows(op, a->inputs[1], a->inputs[2], a->inputs[3], x->shape[0], x->shape[1], err);
}

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check("centerness_loss", a, err));
    return detect_set_loss(a);
}

/* x, anchors, boxes, match, norm, grad */
static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check("centerness_loss_backward", a, err));
    return detect_set_gradient("centerness_loss_backward", a, 4, err);
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit_loss_backward(b, a, "centerness_loss_backward", sizeof(cvr_centerness_attrs), 4, err);
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_centerness_attrs *attrs = a->attrs;
    const cvr_detect_rows r = cvr_detect_rows_of(a->inputs[1], a->inputs[2], a->inputs[3]);
    const float *x = a->inputs[0]->data;
    float *norm = a->outputs[1]->data;
    double loss = 0;
    CVR_TRY(cvr_detect_check_matches("centerness_loss", a->inputs[3], r.objects, err));
    cvr_detect_match_norm(attrs->norm, a->inputs[3], norm);
    for (int64_t n = 0, row = 0; n < r.n; n++) {
        double sum = 0;
        for (const int64_t end = row + r.rows; row < end; row++)
            if (r.match[row] >= 0)
                sum += cvr_detect_bce(x[row],
                                      cvr_detect_centerness(cvr_detect_anchor(&r, row), cvr_detect_object(&r, row)));
        loss += sum * cvr_detect_share(norm[n]);
    }
    *(float *)a->outputs[0]->data = (float)loss;
    return CVR_OK;
}

/* dx = grad / norm * (sigmoid(x) - target) */
static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_detect_rows r = cvr_detect_rows_of(a->inputs[1], a->inputs[2], a->inputs[3]);
    const float *x = a->inputs[0]->data, *norm = a->inputs[4]->data;
    float *dx = a->outputs[0]->data;
    CVR_TRY(cvr_detect_check_matches("centerness_loss_backward", a->inputs[3], r.objects, err));
    for (int64_t row = 0; row < r.n * r.rows; row++) {
        const double scale = detect_scalar(a, 5) * cvr_detect_share(norm[row / r.rows]);
        const double target =
            r.match[row] >= 0 ? cvr_detect_centerness(cvr_detect_anchor(&r, row), cvr_detect_object(&r, row)) : 0;
        dx[row] = r.match[row] >= 0 ? (float)(scale * (cvr_detect_sigmoid(x[row]) - target)) : 0;
    }
    return CVR_OK;
}

/* Rows with an object are few, how few is not known. */
static double flops(const cvr_infer_args *a) {
    return (double)cvr_numel(3, a->inputs[0]->shape);
}

DETECT_TRAITS(traits, cvr_precision_none, 4)
DETECT_TRAITS(backward_traits, cvr_precision_first, 4)

static const cvr_reference_op ops[] = {
    {DETECT_LOSS("centerness_loss", 4, 4, 2,
                 "cross entropy with how near to the object's centre the anchor is, of the rows with an object",
                 DETECT_ATTRS(attrs_), .trait = traits)},
    {DETECT_LOSS_BACKWARD("centerness_loss_backward", 6, "the gradient of centerness_loss", DETECT_ATTRS(attrs_),
                          .trait = backward_traits),
     .inplace = 1},
};

const detect_loss_family detect_centerness = {ops, DETECT_COUNT(ops)};
