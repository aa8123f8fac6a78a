/* Cross entropy of the classes of rows with an object, against how good their boxes are (Ge et al., "YOLOX", 2021). */
#include "detect_loss_family.h"

static const cvr_attr_desc *const attrs_[] = {&detect_norm_attr};

/* x (N,A,K), target (N,A), quality (N,A) */
static int32_t check(const char *op, const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0], *quality = a->inputs[2];
    CVR_TRY(detect_check_scores(op, a, err));
    CVR_TRY(detect_check(op, "quality", quality, CVR_F32, 2, "(N,A)", err));
    CVR_TRY(detect_check_axis(op, "quality", quality, 0, x->shape[0], err));
    return detect_check_axis(op, "quality", quality, 1, x->shape[1], err);
}

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check("anchor_quality_loss", a, err));
    return detect_set_loss(a);
}

/* x, target, quality, norm, grad */
static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check("anchor_quality_loss_backward", a, err));
    return detect_set_gradient("anchor_quality_loss_backward", a, 3, err);
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit_loss_backward(b, a, "anchor_quality_loss_backward", sizeof(cvr_anchor_quality_attrs), 3, err);
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t rows = a->inputs[0]->shape[1], classes = a->inputs[0]->shape[2], *target = a->inputs[1]->data;
    const float *x = a->inputs[0]->data, *quality = a->inputs[2]->data;
    float *norm = a->outputs[1]->data;
    double loss = 0;
    CVR_TRY(cvr_detect_check_targets("anchor_quality_loss", a, err));
    cvr_detect_quality_norm(a->attrs, a->inputs[1], norm);
    for (int64_t n = 0, row = 0; n < a->inputs[0]->shape[0]; n++) {
        double sum = 0;
        for (const int64_t end = row + rows; row < end; row++)
            if (target[row] >= 0) sum += cvr_detect_quality_loss(x + row * classes, classes, target[row], quality[row]);
        loss += sum * cvr_detect_share(norm[n]);
    }
    *(float *)a->outputs[0]->data = (float)loss;
    return CVR_OK;
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t rows = a->inputs[0]->shape[1], classes = a->inputs[0]->shape[2], *target = a->inputs[1]->data;
    const float *x = a->inputs[0]->data, *quality = a->inputs[2]->data, *norm = a->inputs[3]->data;
    float *dx = a->outputs[0]->data;
    CVR_TRY(cvr_detect_check_targets("anchor_quality_loss_backward", a, err));
    for (int64_t row = 0; row < a->inputs[0]->shape[0] * rows; row++)
        cvr_detect_quality_slope(x + row * classes, classes, target[row], quality[row],
                                 detect_scalar(a, 4) * cvr_detect_share(norm[row / rows]), dx + row * classes);
    return CVR_OK;
}

/* Rows with an object are few, how few is not known. */
static double flops(const cvr_infer_args *a) {
    return (double)cvr_numel(3, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {DETECT_LOSS("anchor_quality_loss", 3, 3, 2,
                 "cross entropy of the classes of rows with an object, whose target is how good the row's box is",
                 DETECT_ATTRS(attrs_), .trait = cvr_traits_mixed_f32)},
    {DETECT_LOSS_BACKWARD("anchor_quality_loss_backward", 5, "the gradient of anchor_quality_loss",
                          DETECT_ATTRS(attrs_), .trait = cvr_traits_mixed),
     .inplace = 1},
};

const detect_loss_family detect_quality = {ops, DETECT_COUNT(ops)};
