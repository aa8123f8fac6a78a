/*
 * Cross entropy of anchors, of whose background the hardest rows alone count (Liu et al., "SSD: Single Shot MultiBox
 * Detector", 2016).
 */
#include "detect_loss_family.h"
#include <cvr/plugin/ops/anchor_entropy_math.h>

static const cvr_attr_desc *const attrs_[] = {
    CVR_ATTR(FLOAT, "negatives", "3", "rows of background to one with an object; below 0: all",
             CVR_ATTR_BETWEEN(-1, 1e9)),
};

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(detect_check_scores("anchor_cross_entropy", a, err));
    detect_set_scalar(a, 0);
    cvr_type_set(a->outputs[1], CVR_F32, 2, a->inputs[0]->shape);
    cvr_type_set(a->outputs[2], CVR_U8, 2, a->inputs[0]->shape);
    detect_set_scalar(a, 3);
    return CVR_OK;
}

/* x, target, lse, keep, norm, grad */
static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    static const char op[] = "anchor_cross_entropy_backward";
    CVR_TRY(detect_check_scores(op, a, err));
    CVR_TRY(detect_check(op, "lse", a->inputs[2], CVR_F32, 2, "(N,A)", err));
    CVR_TRY(detect_check(op, "keep", a->inputs[3], CVR_U8, 2, "(N,A)", err));
    for (uint32_t i = 2; i < 4; i++)
        for (uint32_t k = 0; k < 2; k++)
            CVR_TRY(detect_check_axis(op, i == 2 ? "lse" : "keep", a->inputs[i], k, a->inputs[0]->shape[k], err));
    CVR_TRY(detect_check_scalar(op, "norm", a->inputs[4], err));
    CVR_TRY(detect_check_scalar(op, "grad", a->inputs[5], err));
    *a->outputs[0] = *a->inputs[0];
    return CVR_OK;
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit_loss_backward(b, a, "anchor_cross_entropy_backward", 0, 2, err);
}

static int32_t check_target(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *target = a->inputs[1];
    const int64_t classes = a->inputs[0]->shape[2], n = cvr_numel(2, target->shape);
    for (int64_t i = 0; i < n; i++)
        if (((const int64_t *)target->data)[i] >= classes)
            return cvr_fail(err, CVR_ERR_INVALID,
                            "anchor_cross_entropy: target %lld, but there are %lld classes; check the labels",
                            (long long)((const int64_t *)target->data)[i], (long long)classes);
    return CVR_OK;
}

static uint64_t workspace(const cvr_signature *sig) {
    return (uint64_t)sig->inputs[0]->shape[1] * sizeof(uint32_t);
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_anchor_cross_entropy_attrs *attrs = a->attrs;
    const cvr_tensor *t = a->inputs[0];
    const int64_t rows = t->shape[1], classes = t->shape[2], *target = a->inputs[1]->data;
    const float *x = t->data;
    float *lse = a->outputs[1]->data;
    uint8_t *keep = a->outputs[2]->data;
    double sum = 0, norm = 0;
    CVR_TRY(check_target(a, err));
    for (int64_t n = 0; n < t->shape[0]; n++, x += rows * classes, target += rows, lse += rows, keep += rows) {
        int64_t positives;
        cvr_entropy_open_rows(x, target, 0, rows, classes, lse, keep, a->workspace);
        sum += cvr_entropy_picture(x, target, rows, classes, attrs->negatives, lse, a->workspace, keep, &positives);
        norm += (double)positives;
    }
    if (norm < 1) norm = 1;
    *(float *)a->outputs[0]->data = (float)(sum / norm);
    *(float *)a->outputs[3]->data = (float)norm;
    return CVR_OK;
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    const int64_t classes = x->shape[2], *target = a->inputs[1]->data;
    const float *lse = a->inputs[2]->data;
    const uint8_t *keep = a->inputs[3]->data;
    const double scale = (double)detect_scalar(a, 5) / detect_scalar(a, 4);
    CVR_TRY(check_target(a, err));
    for (int64_t i = 0; i < x->shape[0] * x->shape[1]; i++)
        cvr_entropy_slope((const float *)x->data + i * classes, classes, target[i], lse[i], keep[i], scale,
                          (float *)a->outputs[0]->data + i * classes);
    return CVR_OK;
}

static double flops(const cvr_infer_args *a) {
    return 4.0 * (double)cvr_numel(3, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {DETECT_LOSS("anchor_cross_entropy", 2, 2, 4,
                 "cross entropy of the rows with an object and of the hardest of the others (Liu et al., 2016)",
                 DETECT_ATTRS(attrs_), .trait = cvr_traits_mixed_f32),
     .workspace = workspace},
    {DETECT_LOSS_BACKWARD("anchor_cross_entropy_backward", 6,
                          "dx = grad / norm * (softmax(x) - one_hot(target)) of the rows that are kept",
                          .trait = cvr_traits_mixed),
     .inplace = 1},
};

const detect_loss_family detect_entropy = {ops, DETECT_COUNT(ops)};
