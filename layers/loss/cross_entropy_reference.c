/* Cross entropy, plainly: a position at a time, in double (formulas in ops/loss.h). */
#include "loss_family.h"

static int32_t check_target(int64_t t, int64_t p, int64_t classes, cvr_error *err) {
    if (t >= 0 && t < classes) return CVR_OK;
    return cvr_fail(
        err, CVR_ERR_INVALID,
        "cross_entropy: target %lld at position %lld, but there are %lld classes (0 to %lld); check the labels",
        (long long)t, (long long)p, (long long)classes, (long long)classes - 1);
}

/* l = (1-s) * w_t * (lse - x_t) + s / C * sum of w_c * (lse - x_c) */
int32_t loss_cross_entropy_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_cross_entropy_attrs *attrs = a->attrs;
    const loss_scores s = loss_scores_of(a->inputs[0]);
    const int64_t *target = a->inputs[1]->data;
    const float *weight = loss_optional(a, 2);
    double total = 0, norm = 0;
    for (int64_t p = 0; p < s.n * s.positions; p++) {
        const float *x = (const float *)a->inputs[0]->data + loss_position_at(&s, p);
        const double lse = loss_log_sum_exp(x, &s);
        const int64_t t = target[p];
        ((float *)a->outputs[1]->data)[p] = (float)lse;
        if (t == attrs->ignore_index) continue;
        CVR_TRY(check_target(t, p, s.classes, err));
        double spread = 0;
        for (int64_t c = 0; c < s.classes; c++) spread += loss_weight_of(weight, c) * (lse - x[c * s.step]);
        total += (1 - attrs->label_smoothing) * loss_weight_of(weight, t) * (lse - x[t * s.step]) +
                 attrs->label_smoothing / (double)s.classes * spread;
        norm += loss_weight_of(weight, t);
    }
    if (attrs->reduction == CVR_LOSS_SUM) norm = 1;
    *(float *)a->outputs[0]->data = (float)(total / norm);
    *(float *)a->outputs[2]->data = (float)norm;
    return CVR_OK;
}

/* dx_c = grad / norm * (exp(x_c - lse) * ((1-s) * w_t + s / C * sum of w) - (1-s) * w_t * [c = t] - s / C * w_c) */
int32_t loss_cross_entropy_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_cross_entropy_attrs *attrs = a->attrs;
    const loss_scores s = loss_scores_of(a->inputs[0]);
    const int64_t *target = a->inputs[1]->data;
    const float *weight = loss_optional(a, 2), *lse = a->inputs[3]->data;
    const double g = (double)*(const float *)a->inputs[5]->data / *(const float *)a->inputs[4]->data;
    const double smooth = attrs->label_smoothing / (double)s.classes;
    double total_weight = 0;
    for (int64_t c = 0; c < s.classes; c++) total_weight += loss_weight_of(weight, c);
    for (int64_t p = 0; p < s.n * s.positions; p++) {
        const float *x = (const float *)a->inputs[0]->data + loss_position_at(&s, p);
        float *dx = (float *)a->outputs[0]->data + loss_position_at(&s, p);
        const int64_t t = target[p];
        CVR_TRY(t == attrs->ignore_index ? CVR_OK : check_target(t, p, s.classes, err));
        for (int64_t c = 0; c < s.classes; c++) {
            const double own = t == attrs->ignore_index ? 0 : (1 - attrs->label_smoothing) * loss_weight_of(weight, t);
            const double softmax = exp(x[c * s.step] - (double)lse[p]);
            const double d =
                softmax * (own + smooth * total_weight) - (c == t ? own : 0) - smooth * loss_weight_of(weight, c);
            dx[c * s.step] = t == attrs->ignore_index ? 0 : (float)(g * d);
        }
    }
    return CVR_OK;
}
