/* Scores of classes beside indices of classes: shapes, where they lie in memory, and targets that are no class. */
#include "loss_family.h"

int32_t loss_check_classes(const char *op, const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0], *target = a->inputs[1], *weight = a->n_inputs > 2 ? a->inputs[2] : NULL;
    if (x->dtype != CVR_F32 || x->rank < 2 || x->rank > 4 || x->shape[1] < 1)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "%s: the input must be f32, (N, C), (N, C, L) or (N, C, H, W), with at least one class", op);
    int fits = target->dtype == CVR_I64 && target->rank + 1 == x->rank && target->shape[0] == x->shape[0];
    for (uint32_t i = 2; fits && i < x->rank; i++) fits = target->shape[i - 1] == x->shape[i];
    if (!fits)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "%s: the target must be i64 with the input's shape without its axis of classes", op);
    if (!weight || (weight->dtype == CVR_F32 && weight->rank == 1 && weight->shape[0] == x->shape[1])) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: the weight must have one f32 for each of the %lld classes", op,
                    (long long)x->shape[1]);
}

/* Channels are innermost in ranks 2 and 4. */
loss_scores loss_scores_of(const cvr_tensor *x) {
    loss_scores s = {.n = x->shape[0], .positions = 1, .classes = x->shape[1]};
    for (uint32_t i = 2; i < x->rank; i++) s.positions *= x->shape[i];
    s.step = x->rank == 4 ? 1 : s.positions;
    s.position_step = x->rank == 4 ? s.classes : 1;
    return s;
}

double loss_log_sum_exp(const float *x, const loss_scores *s) {
    double max = -INFINITY, sum = 0;
    for (int64_t c = 0; c < s->classes; c++) max = x[c * s->step] > max ? x[c * s->step] : max;
    for (int64_t c = 0; c < s->classes; c++) sum += exp(x[c * s->step] - max);
    return max + log(sum);
}

double loss_normaliser(const float *x, const loss_scores *s) {
    return s->classes > 1 ? loss_log_sum_exp(x, s) : log1p(exp(-fabs((double)*x))) + (*x > 0 ? *x : 0);
}

int32_t loss_check_targets(const char *op, const cvr_kernel_args *a, int64_t ignore_index, cvr_error *err) {
    const cvr_tensor *const x = a->inputs[0], *const target = a->inputs[1];
    const int64_t n = cvr_numel(target->rank, target->shape), classes = x->shape[1] > 1 ? x->shape[1] : 2;
    for (int64_t p = 0; p < n; p++) {
        const int64_t t = ((const int64_t *)target->data)[p];
        if (t != ignore_index && (t < 0 || t >= classes))
            return cvr_fail(
                err, CVR_ERR_INVALID,
                "%s: target %lld at position %lld, but there are %lld classes (0 to %lld); check the labels", op,
                (long long)t, (long long)p, (long long)classes, (long long)classes - 1);
    }
    return CVR_OK;
}
