/* The loss of masks: each object's own class alone is asked (He et al., "Mask R-CNN", 2017). */
#include "detect_loss_family.h"

/* x (N*R,K,S,S), target (N,R,S*S), label (N,R) i64, match (N,R) i32 */
static int32_t check(const char *op, const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0], *target = a->inputs[1], *label = a->inputs[2];
    CVR_TRY(detect_check(op, "x", x, CVR_F32, 4, "(N*R,K,S,S)", err));
    CVR_TRY(detect_check(op, "target", target, CVR_F32, 3, "(N,R,S*S)", err));
    CVR_TRY(detect_check_axis(op, "x", x, 0, target->shape[0] * target->shape[1], err));
    CVR_TRY(detect_check_axis(op, "target", target, 2, x->shape[2] * x->shape[3], err));
    CVR_TRY(detect_check(op, "label", label, CVR_I64, 2, "(N,R)", err));
    CVR_TRY(detect_check_axis(op, "label", label, 0, target->shape[0], err));
    CVR_TRY(detect_check_axis(op, "label", label, 1, target->shape[1], err));
    return detect_check_match(op, a->inputs[3], target->shape[0], target->shape[1], err);
}

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check("mask_loss", a, err));
    detect_set_scalar(a, 0);
    detect_set_scalar(a, 1);
    return CVR_OK;
}

/* x, target, label, match, norm, grad */
static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check("mask_loss_backward", a, err));
    CVR_TRY(detect_check_scalar("mask_loss_backward", "norm", a->inputs[4], err));
    CVR_TRY(detect_check_scalar("mask_loss_backward", "grad", a->inputs[5], err));
    *a->outputs[0] = *a->inputs[0];
    return CVR_OK;
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit_loss_backward(b, a, "mask_loss_backward", 0, 4, err);
}

/* The labels of rows with an object are channels; counts these rows. */
static int32_t count_rows(const cvr_kernel_args *a, int64_t *count, cvr_error *err) {
    const int64_t *label = a->inputs[2]->data, classes = a->inputs[0]->shape[1];
    const int32_t *match = a->inputs[3]->data;
    *count = 0;
    for (int64_t i = 0; i < a->inputs[0]->shape[0]; i++) {
        if (match[i] < 0) continue;
        if (label[i] < 0 || label[i] >= classes)
            return cvr_fail(err, CVR_ERR_INVALID, "mask_loss: label %lld, but there are masks for %lld classes",
                            (long long)label[i], (long long)classes);
        ++*count;
    }
    return CVR_OK;
}

/* x lies in memory as (N*R,S,S,K) */
static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    const int64_t classes = x->shape[1], pixels = x->shape[2] * x->shape[3], *label = a->inputs[2]->data;
    const int32_t *match = a->inputs[3]->data;
    const float *target = a->inputs[1]->data;
    int64_t count;
    double sum = 0;
    CVR_TRY(count_rows(a, &count, err));
    for (int64_t row = 0; row < x->shape[0]; row++) {
        if (match[row] < 0) continue;
        const float *from = (const float *)x->data + row * pixels * classes + label[row];
        sum += cvr_mask_row_loss(from, classes, target + row * pixels, pixels);
    }
    const double norm = (double)(count * pixels);
    *(float *)a->outputs[0]->data = (float)(norm > 0 ? sum / norm : 0);
    *(float *)a->outputs[1]->data = (float)norm;
    return CVR_OK;
}

/* dx = grad / norm * (sigmoid(x) - target) in the channel of the label */
static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    const int64_t classes = x->shape[1], pixels = x->shape[2] * x->shape[3], *label = a->inputs[2]->data;
    const int32_t *match = a->inputs[3]->data;
    const float *target = a->inputs[1]->data;
    const double scale = detect_scalar(a, 5) * cvr_detect_share(detect_scalar(a, 4));
    int64_t count;
    CVR_TRY(count_rows(a, &count, err));
    memset(a->outputs[0]->data, 0, (size_t)cvr_numel(4, x->shape) * sizeof(float));
    for (int64_t row = 0; row < x->shape[0]; row++) {
        if (match[row] < 0) continue;
        const int64_t at = row * pixels * classes + label[row];
        cvr_mask_row_slope((const float *)x->data + at, classes, target + row * pixels, pixels, scale,
                           (float *)a->outputs[0]->data + at);
    }
    return CVR_OK;
}

/* One channel of each row. */
static double flops(const cvr_infer_args *a) {
    return 6.0 * (double)cvr_numel(3, a->inputs[1]->shape);
}

static const cvr_reference_op ops[] = {
    {DETECT_LOSS("mask_loss", 4, 4, 2,
                 "cross entropy of the masks of the objects' own classes, the mean over rows with an object and pixels",
                 .trait = cvr_traits_mixed_f32)},
    {DETECT_LOSS_BACKWARD("mask_loss_backward", 6, "the gradient of mask_loss", .trait = cvr_traits_mixed)},
};

const detect_loss_family detect_mask_loss = {ops, DETECT_COUNT(ops)};
