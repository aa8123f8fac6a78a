/* The reference kernels of the focal losses: a position at a time, in double (formulas in ops/loss.h). */
#include "focal.h"

/* ---- softmax ---- */

int32_t loss_focal_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_focal_attrs *attrs = a->attrs;
    const loss_scores s = loss_scores_of(a->inputs[0]);
    const int64_t *target = a->inputs[1]->data;
    const float *weight = loss_optional(a, 2);
    double total = 0, norm = 0;
    CVR_TRY(loss_check_targets("focal_loss", a, attrs->ignore_index, err));
    for (int64_t p = 0; p < s.n * s.positions; p++) {
        const float *x = (const float *)a->inputs[0]->data + loss_position_at(&s, p);
        const double lse = loss_log_sum_exp(x, &s);
        const int64_t t = target[p];
        ((float *)a->outputs[1]->data)[p] = (float)lse;
        if (t == attrs->ignore_index) continue;
        const double log_p = x[t * s.step] - lse;
        total -= loss_weight_of(weight, t) * cvr_focal_easy(-expm1(log_p), attrs->gamma) * log_p;
        norm += loss_weight_of(weight, t);
    }
    *(float *)a->outputs[0]->data = (float)(norm > 0 ? total / norm : 0);
    *(float *)a->outputs[2]->data = (float)norm;
    return CVR_OK;
}

/* dx_c = grad / norm * w_t * slope * ([c = t] - p_c) */
int32_t loss_focal_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_focal_attrs *attrs = a->attrs;
    const loss_scores s = loss_scores_of(a->inputs[0]);
    const int64_t *target = a->inputs[1]->data;
    const float *weight = loss_optional(a, 2), *lse = a->inputs[3]->data;
    const double norm = *(const float *)a->inputs[4]->data, grad = *(const float *)a->inputs[5]->data;
    CVR_TRY(loss_check_targets("focal_loss_backward", a, attrs->ignore_index, err));
    for (int64_t p = 0; p < s.n * s.positions; p++) {
        const float *x = (const float *)a->inputs[0]->data + loss_position_at(&s, p);
        float *dx = (float *)a->outputs[0]->data + loss_position_at(&s, p);
        const int64_t t = target[p];
        double scale = 0;
        if (t != attrs->ignore_index && norm > 0) {
            const double log_p = fmin(x[t * s.step] - (double)lse[p], 0);
            scale = grad / norm * loss_weight_of(weight, t) * cvr_focal_slope(log_p, -expm1(log_p), attrs->gamma);
        }
        for (int64_t c = 0; c < s.classes; c++)
            dx[c * s.step] = (float)(scale * ((c == t) - exp(x[c * s.step] - (double)lse[p])));
    }
    return CVR_OK;
}

/* ---- each class by itself ---- */

typedef struct sigmoid_part {
    double log_q, rest, alpha; /* log q, 1 - q, and what it counts */
    double sign;               /* dq's sign by x */
} sigmoid_part;

static sigmoid_part part_of(double x, int is, double alpha) {
    const double z = is ? x : -x;
    const double log_q = -(log1p(exp(-fabs(z))) + (z < 0 ? -z : 0));
    return (sigmoid_part){log_q, 1 / (1 + exp(z)), alpha < 0 ? 1 : is ? alpha : 1 - alpha, is ? 1 : -1};
}

int32_t loss_sigmoid_focal_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_focal_attrs *attrs = a->attrs;
    const loss_scores s = loss_scores_of(a->inputs[0]);
    const int64_t *target = a->inputs[1]->data;
    const float *weight = loss_optional(a, 2);
    double total = 0, weights = 0, counted = 0;
    CVR_TRY(loss_check_targets("sigmoid_focal_loss", a, attrs->ignore_index, err));
    for (int64_t c = 0; c < s.classes; c++) weights += loss_weight_of(weight, c);
    for (int64_t p = 0; p < s.n * s.positions; p++) {
        const float *x = (const float *)a->inputs[0]->data + loss_position_at(&s, p);
        if (target[p] == attrs->ignore_index) continue;
        counted++;
        for (int64_t c = 0; c < s.classes; c++) {
            const sigmoid_part q = part_of(x[c * s.step], loss_is_class(target[p], c, s.classes), attrs->alpha);
            total -= loss_weight_of(weight, c) * q.alpha * cvr_focal_easy(q.rest, attrs->gamma) * q.log_q;
        }
    }
    const double norm = weights * counted;
    *(float *)a->outputs[0]->data = (float)(norm > 0 ? total / norm : 0);
    *(float *)a->outputs[1]->data = (float)norm;
    return CVR_OK;
}

/* dlog q / dx = sign * (1 - q), which takes the negative power of 1 - q out of the slope: dl / dx = a * sign *
 * (1 - q)^gamma * (gamma * q * log q - (1 - q)) */
int32_t loss_sigmoid_focal_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_focal_attrs *attrs = a->attrs;
    const loss_scores s = loss_scores_of(a->inputs[0]);
    const int64_t *target = a->inputs[1]->data;
    const float *weight = loss_optional(a, 2);
    const double norm = *(const float *)a->inputs[3]->data;
    const double scale = norm > 0 ? *(const float *)a->inputs[4]->data / norm : 0;
    (void)err;
    for (int64_t p = 0; p < s.n * s.positions; p++) {
        const float *x = (const float *)a->inputs[0]->data + loss_position_at(&s, p);
        float *dx = (float *)a->outputs[0]->data + loss_position_at(&s, p);
        for (int64_t c = 0; c < s.classes; c++) {
            const sigmoid_part q = part_of(x[c * s.step], loss_is_class(target[p], c, s.classes), attrs->alpha);
            const double d = q.alpha * q.sign * cvr_focal_easy(q.rest, attrs->gamma) *
                             (attrs->gamma * exp(q.log_q) * q.log_q - q.rest);
            dx[c * s.step] = target[p] == attrs->ignore_index ? 0 : (float)(scale * loss_weight_of(weight, c) * d);
        }
    }
    return CVR_OK;
}
