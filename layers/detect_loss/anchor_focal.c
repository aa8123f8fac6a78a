/*
 * The focal loss of anchors: each class against all others (Lin et al., "Focal Loss for Dense Object Detection", 2017).
 */
#include "detect_loss_family.h"
#include <cvr/plugin/ops/loss_math.h>

static const cvr_attr_desc *const attrs_[] = {
    CVR_ATTR(FLOAT, "alpha", "0.25", "weight of what is the class; 1 - alpha of all else; below 0: none",
             CVR_ATTR_BETWEEN(-1, 1)),
    CVR_ATTR(FLOAT, "gamma", "2", "how much less what is easy counts; 0: as much", CVR_ATTR_BETWEEN(0, 100)),
    &detect_norm_attr,
    CVR_ATTR(INT, "first_class", "0", "rows of a class below this have no object", CVR_ATTR_AT_LEAST(0)),
};

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(detect_check_scores("anchor_focal_loss", a, err));
    return detect_set_loss(a);
}

/* x, target, norm, grad */
static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(detect_check_scores("anchor_focal_loss_backward", a, err));
    return detect_set_gradient("anchor_focal_loss_backward", a, 2, err);
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit_loss_backward(b, a, "anchor_focal_loss_backward", sizeof(cvr_anchor_focal_attrs), 2, err);
}

/* One class of one row of anchor_focal_loss. */
typedef struct focal_part {
    double log_q, rest; /* log q, 1 - q */
    double alpha, sign; /* what it counts; the sign of dq/dx */
} focal_part;

static focal_part part_of(double x, int is, double alpha) {
    const double z = is ? x : -x;
    focal_part p;
    p.log_q = -(log1p(exp(-fabs(z))) + (z < 0 ? -z : 0));
    p.rest = 1 / (1 + exp(z));
    p.alpha = alpha < 0 ? 1 : is ? alpha : 1 - alpha;
    p.sign = is ? 1 : -1;
    return p;
}

static double part_loss(const focal_part *p, double gamma) {
    return -p->alpha * cvr_focal_easy(p->rest, gamma) * p->log_q;
}

/* dlog q / dx = sign * (1 - q), which takes the negative power of 1 - q out of the slope. */
static double part_slope(const focal_part *p, double gamma) {
    return p->alpha * p->sign * cvr_focal_easy(p->rest, gamma) * (gamma * exp(p->log_q) * p->log_q - p->rest);
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_anchor_focal_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0];
    const int64_t rows = x->shape[1], classes = x->shape[2], *target = a->inputs[1]->data;
    const float *at = x->data;
    float *norm = a->outputs[1]->data;
    double loss = 0;
    CVR_TRY(cvr_detect_check_targets("anchor_focal_loss", a, err));
    cvr_detect_target_norm(attrs, a->inputs[1], norm);
    for (int64_t n = 0; n < x->shape[0]; n++) {
        double sum = 0;
        for (int64_t i = 0; i < rows; i++, at += classes) {
            const int64_t t = *target++;
            for (int64_t k = 0; k < classes && t >= -1; k++) {
                const focal_part p = part_of(at[k], k == t, attrs->alpha);
                sum += part_loss(&p, attrs->gamma);
            }
        }
        loss += sum * cvr_detect_share(norm[n]);
    }
    *(float *)a->outputs[0]->data = (float)loss;
    return CVR_OK;
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_anchor_focal_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0];
    const int64_t rows = x->shape[1], classes = x->shape[2], *target = a->inputs[1]->data;
    const float *at = x->data, *norm = a->inputs[2]->data;
    float *dx = a->outputs[0]->data;
    CVR_TRY(cvr_detect_check_targets("anchor_focal_loss_backward", a, err));
    for (int64_t i = 0; i < x->shape[0] * rows; i++) {
        const double scale = detect_scalar(a, 3) * cvr_detect_share(norm[i / rows]);
        for (int64_t k = 0; k < classes; k++, at++) {
            const focal_part p = part_of(*at, k == target[i], attrs->alpha);
            *dx++ = target[i] >= -1 ? (float)(scale * part_slope(&p, attrs->gamma)) : 0;
        }
    }
    return CVR_OK;
}

/* An exponential, a logarithm and a power an element. */
static double flops(const cvr_infer_args *a) {
    return 8.0 * (double)cvr_numel(3, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {DETECT_LOSS(
        "anchor_focal_loss", 2, 2, 2,
        "each class against all others, -a * (1 - q)^gamma * log q, the sum over anchors and classes over norm",
        DETECT_ATTRS(attrs_), .trait = cvr_traits_mixed_f32)},
    {DETECT_LOSS_BACKWARD("anchor_focal_loss_backward", 4, "the gradient of anchor_focal_loss", DETECT_ATTRS(attrs_),
                          .trait = cvr_traits_mixed),
     .inplace = 1},
};

const detect_loss_family detect_focal = {ops, DETECT_COUNT(ops)};
