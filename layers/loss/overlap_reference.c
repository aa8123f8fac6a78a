/* The reference kernels of overlap_loss: a position at a time, in double (formulas in ops/loss.h). */
#include "overlap.h"

/* I, P and T of one class over all positions that count. */
static void sum_class(const cvr_kernel_args *a, const loss_scores *s, int64_t c, double *sums) {
    const int64_t ignore_index = ((const cvr_overlap_attrs *)a->attrs)->ignore_index, *target = a->inputs[1]->data;
    const float *lse = a->outputs[1]->data;
    double both = 0, predicted = 0, truth = 0;
    for (int64_t p = 0; p < s->n * s->positions; p++) {
        if (target[p] == ignore_index) continue;
        const float *x = (const float *)a->inputs[0]->data + loss_position_at(s, p);
        const double q = exp(x[c * s->step] - (double)lse[p]);
        const int is = loss_is_class(target[p], c, s->classes);
        both += is ? q : 0;
        predicted += q;
        truth += is;
    }
    sums[c] = both;
    sums[s->classes + c] = predicted;
    sums[2 * s->classes + c] = truth;
}

uint64_t loss_overlap_workspace(const cvr_signature *sig) {
    return 3 * (uint64_t)sig->inputs[0]->shape[1] * sizeof(double);
}

int32_t loss_overlap_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_overlap_attrs *attrs = a->attrs;
    const loss_scores s = loss_scores_of(a->inputs[0]);
    float *lse = a->outputs[1]->data;
    CVR_TRY(loss_check_targets("overlap_loss", a, attrs->ignore_index, err));
    for (int64_t p = 0; p < s.n * s.positions; p++)
        lse[p] = (float)loss_normaliser((const float *)a->inputs[0]->data + loss_position_at(&s, p), &s);
    for (int64_t c = 0; c < s.classes; c++) sum_class(a, &s, c, a->workspace);
    *(float *)a->outputs[0]->data =
        cvr_overlap_end(attrs, a->workspace, loss_optional(a, 2), s.classes, a->outputs[2]->data);
    return CVR_OK;
}

/* dx_c = grad * p_c * (d_c - sum of p_k * d_k), d_c = slopes(0,c) * [target = c] + slopes(1,c) */
int32_t loss_overlap_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_overlap_attrs *attrs = a->attrs;
    const loss_scores s = loss_scores_of(a->inputs[0]);
    const int64_t *target = a->inputs[1]->data;
    const float *lse = a->inputs[2]->data, *slopes = a->inputs[3]->data;
    const double grad = *(const float *)a->inputs[4]->data;
    (void)err;
    for (int64_t p = 0; p < s.n * s.positions; p++) {
        const float *x = (const float *)a->inputs[0]->data + loss_position_at(&s, p);
        float *dx = (float *)a->outputs[0]->data + loss_position_at(&s, p);
        double mean = 0;
        for (int64_t c = 0; c < s.classes; c++) {
            const double d = (loss_is_class(target[p], c, s.classes) ? slopes[c] : 0) + slopes[s.classes + c];
            mean += exp(x[c * s.step] - (double)lse[p]) * d;
        }
        for (int64_t c = 0; c < s.classes; c++) {
            const double q = exp(x[c * s.step] - (double)lse[p]);
            const double d = (loss_is_class(target[p], c, s.classes) ? slopes[c] : 0) + slopes[s.classes + c];
            dx[c * s.step] = target[p] == attrs->ignore_index ? 0 : (float)(grad * q * (d - mean));
        }
    }
    return CVR_OK;
}
