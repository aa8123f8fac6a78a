/* The reference kernels of overlap_loss: a position at a time, in double (formulas in ops/loss.h). */
#include "overlap.h"

/* Sums of one class over all positions that count. */
typedef struct overlap {
    double both, predicted, truth; /* I, P, T */
} overlap;

static overlap overlap_of(const cvr_kernel_args *a, const loss_scores *s, int64_t c, int64_t ignore_index) {
    const int64_t *target = a->inputs[1]->data;
    const float *lse = a->outputs[1]->data;
    overlap o = {0, 0, 0};
    for (int64_t p = 0; p < s->n * s->positions; p++) {
        if (target[p] == ignore_index) continue;
        const float *x = (const float *)a->inputs[0]->data + loss_position_at(s, p);
        const double q = exp(x[c * s->step] - (double)lse[p]);
        const int is = loss_is_class(target[p], c, s->classes);
        o.both += is ? q : 0;
        o.predicted += q;
        o.truth += is;
    }
    return o;
}

/* l of a class, and its slopes by I and by P; T is the target's and stays. */
overlap_slope loss_overlap_slope(const cvr_overlap_attrs *attrs, double both, double predicted, double truth) {
    if (truth == 0) return (overlap_slope){0, 0, 0};
    const double top = both + attrs->smooth;
    const double whole = top + attrs->alpha * (predicted - both) + attrs->beta * (truth - both);
    const double bottom = whole > OVERLAP_LEAST ? whole : OVERLAP_LEAST, score = top / bottom;
    const double kept = score > OVERLAP_LEAST ? score : OVERLAP_LEAST;
    /* Where the sum below is held, it does not move. */
    const double moves = whole > OVERLAP_LEAST ? score / bottom : 0;
    const double by_both = 1 / bottom - moves * (1 - attrs->alpha - attrs->beta), by_predicted = -moves * attrs->alpha;
    if (!attrs->log_loss) return (overlap_slope){1 - score, -by_both, -by_predicted};
    const double slope = score > OVERLAP_LEAST ? -1 / score : 0;
    return (overlap_slope){-log(kept), slope * by_both, slope * by_predicted};
}

float loss_overlap_power(const cvr_overlap_attrs *attrs, double mean, float *slopes, int64_t n) {
    /* The root of 0 has no slope that a number could hold. */
    const double outer = attrs->gamma == 1 ? 1 : mean > 0 ? attrs->gamma * pow(mean, attrs->gamma - 1) : 0;
    for (int64_t i = 0; i < n; i++) slopes[i] = (float)(outer * slopes[i]);
    return (float)(attrs->gamma == 1 ? mean : pow(mean > 0 ? mean : 0, attrs->gamma));
}

int32_t loss_overlap_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_overlap_attrs *attrs = a->attrs;
    const loss_scores s = loss_scores_of(a->inputs[0]);
    const float *weight = loss_optional(a, 2);
    float *lse = a->outputs[1]->data, *slopes = a->outputs[2]->data;
    double loss = 0, all = 0;
    CVR_TRY(loss_check_targets("overlap_loss", a, attrs->ignore_index, err));
    for (int64_t c = 0; c < s.classes; c++) all += loss_weight_of(weight, c);
    for (int64_t p = 0; p < s.n * s.positions; p++)
        lse[p] = (float)loss_normaliser((const float *)a->inputs[0]->data + loss_position_at(&s, p), &s);
    for (int64_t c = 0; c < s.classes; c++) {
        const overlap o = overlap_of(a, &s, c, attrs->ignore_index);
        const overlap_slope l = loss_overlap_slope(attrs, o.both, o.predicted, o.truth);
        const double share = loss_weight_of(weight, c) / all;
        loss += share * l.loss;
        slopes[c] = (float)(share * l.by_both);
        slopes[s.classes + c] = (float)(share * l.by_predicted);
    }
    *(float *)a->outputs[0]->data = loss_overlap_power(attrs, loss, slopes, 2 * s.classes);
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
