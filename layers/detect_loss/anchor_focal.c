/*
 * The focal loss of anchors: each class against all others (Lin et al., "Focal Loss for Dense Object Detection", 2017).
 */
#include "detect_loss_family.h"

static const cvr_attr_desc *const attrs_[] = {
    CVR_ATTR(FLOAT, "alpha", "0.25", "weight of what is the class; 1 - alpha of all else; below 0: none",
             CVR_ATTR_BETWEEN(-1, 1)),
    CVR_ATTR(FLOAT, "gamma", "2", "how much less what is easy counts; 0: as much", CVR_ATTR_BETWEEN(0, 100)),
    &detect_norm_attr,
    CVR_ATTR(INT, "first_class", "0", "rows of a class below this have no object", CVR_ATTR_AT_LEAST(0)),
};

/* x (N,A,K), target (N,A) i64 */
static int32_t check(const char *op, const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0], *target = a->inputs[1];
    CVR_TRY(detect_check(op, "x", x, CVR_F32, 3, "(N,A,K)", err));
    CVR_TRY(detect_check(op, "target", target, CVR_I64, 2, "(N,A)", err));
    CVR_TRY(detect_check_axis(op, "target", target, 0, x->shape[0], err));
    return detect_check_axis(op, "target", target, 1, x->shape[1], err);
}

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check("anchor_focal_loss", a, err));
    detect_set_scalar(a, 0);
    detect_set_vector(a, 1, a->inputs[0]->shape[0]);
    return CVR_OK;
}

/* x, target, norm, grad */
static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check("anchor_focal_loss_backward", a, err));
    CVR_TRY(detect_check_norm("anchor_focal_loss_backward", a->inputs[2], a->inputs[0]->shape[0], err));
    CVR_TRY(detect_check_scalar("anchor_focal_loss_backward", "grad", a->inputs[3], err));
    *a->outputs[0] = *a->inputs[0];
    return CVR_OK;
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value in[4] = {a->inputs[0], a->inputs[1], a->outputs[1], a->grad_outputs[0]};
    if (a->grad_outputs[0] == CVR_NONE || !a->needs[0]) return CVR_OK;
    return cvr_emit(b, "anchor_focal_loss_backward", a->attrs, sizeof(cvr_anchor_focal_attrs), in, 4,
                    &a->grad_inputs[0], err);
}

static int32_t check_target(const char *op, const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *target = a->inputs[1];
    const int64_t classes = a->inputs[0]->shape[2], n = cvr_numel(2, target->shape);
    for (int64_t i = 0; i < n; i++) {
        const int64_t t = ((const int64_t *)target->data)[i];
        if (t < -2 || t >= classes)
            return cvr_fail(err, CVR_ERR_INVALID, "%s: target %lld, but there are %lld classes; check the labels", op,
                            (long long)t, (long long)classes);
    }
    return CVR_OK;
}

/* The divisors: of each picture, how many rows have an object, or count. */
static void norms(const cvr_anchor_focal_attrs *attrs, const cvr_tensor *target, float *norm) {
    const int64_t least = attrs->norm == CVR_NORM_COUNTED ? -1 : attrs->first_class, *t = target->data;
    for (int64_t n = 0; n < target->shape[0]; n++) {
        int64_t count = 0;
        for (int64_t i = 0; i < target->shape[1]; i++) count += *t++ >= least;
        norm[n] = (float)count;
    }
    cvr_detect_norm(attrs->norm, target->shape[0], norm);
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_anchor_focal_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0];
    const int64_t rows = x->shape[1], classes = x->shape[2], *target = a->inputs[1]->data;
    const float *at = x->data;
    float *norm = a->outputs[1]->data;
    double loss = 0;
    CVR_TRY(check_target("anchor_focal_loss", a, err));
    norms(attrs, a->inputs[1], norm);
    for (int64_t n = 0; n < x->shape[0]; n++) {
        double sum = 0;
        for (int64_t i = 0; i < rows; i++, at += classes) {
            const int64_t t = *target++;
            for (int64_t k = 0; k < classes && t >= -1; k++) {
                const cvr_focal_part p = cvr_focal_part_of(at[k], k == t, attrs->alpha);
                sum += cvr_focal_part_loss(&p, attrs->gamma);
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
    CVR_TRY(check_target("anchor_focal_loss_backward", a, err));
    for (int64_t i = 0; i < x->shape[0] * rows; i++) {
        const double scale = detect_scalar(a, 3) * cvr_detect_share(norm[i / rows]);
        for (int64_t k = 0; k < classes; k++, at++) {
            const cvr_focal_part p = cvr_focal_part_of(*at, k == target[i], attrs->alpha);
            *dx++ = target[i] >= -1 ? (float)(scale * cvr_focal_part_slope(&p, attrs->gamma)) : 0;
        }
    }
    return CVR_OK;
}

/* An exponential, a logarithm and a power an element. */
static double flops(const cvr_infer_args *a) {
    return 8.0 * (double)cvr_numel(3, a->inputs[0]->shape);
}

static const detect_loss_op ops[] = {
    {{.struct_size = sizeof(cvr_op_desc),
      .name = "anchor_focal_loss",
      .version = 1,
      .min_inputs = 2,
      .max_inputs = 2,
      .n_outputs = 2,
      .n_attrs = DETECT_COUNT(attrs_),
      .attrs = attrs_,
      .infer = infer,
      .grad = grad,
      .flops = flops,
      .doc = "each class against all others, -a * (1 - q)^gamma * log q, the sum over anchors and classes over norm",
      .trait = cvr_traits_mixed_f32},
     {sizeof(cvr_cpu_fn), run},
     0,
     NULL},
    {{.struct_size = sizeof(cvr_op_desc),
      .name = "anchor_focal_loss_backward",
      .version = 1,
      .min_inputs = 4,
      .max_inputs = 4,
      .n_outputs = 1,
      .n_attrs = DETECT_COUNT(attrs_),
      .attrs = attrs_,
      .infer = backward_infer,
      .flops = flops,
      .doc = "the gradient of anchor_focal_loss",
      .trait = cvr_traits_mixed},
     {sizeof(cvr_cpu_fn), backward_run},
     1,
     NULL},
};

const detect_loss_family detect_focal = {ops, DETECT_COUNT(ops)};
