/*
 * Online hard example mining (Shrivastava et al., 2016; for segmentation Wu, Shen, van den Hengel, 2016): cross entropy
 * over the positions that the network is not yet sure of, as HRNet's and mmsegmentation's code choose them. The op
 * marks the easy ones as ignored; cross_entropy does the rest. Formulas in ops/loss.h.
 */
#include "loss_family.h"
#include <cvr/plugin/ops/loss_math.h>

static const cvr_attr_desc thresh_attr = CVR_ATTR_INIT(
    FLOAT, "thresh", "0.7", "a position counts where its class's probability is below this", CVR_ATTR_BETWEEN(0, 1));
static const cvr_attr_desc kept_attr = CVR_ATTR_INIT(
    INT, "min_kept", "100000", "positions of a batch that count at least, the hardest of them", CVR_ATTR_AT_LEAST(1));
static const cvr_attr_desc *const attrs_[] = {&thresh_attr, &kept_attr, &loss_ignore_attr};

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(loss_check_classes("hard_targets", a, err));
    if (a->inputs[0]->shape[1] < 2)
        return cvr_fail(err, CVR_ERR_INVALID, "hard_targets: one class has no softmax; give at least two");
    *a->outputs[0] = *a->inputs[1];
    return CVR_OK;
}

static uint64_t workspace(const cvr_signature *sig) {
    const cvr_tensor *const target = sig->inputs[1];
    return (uint64_t)cvr_numel(target->rank, target->shape) * sizeof(float);
}

/* p: (positions) the probability of the target; ignored ones are left out of `n`, which it returns. */
static int64_t probabilities(const cvr_kernel_args *a, int64_t ignore_index, float *p) {
    const loss_scores s = loss_scores_of(a->inputs[0]);
    const int64_t *target = a->inputs[1]->data;
    int64_t n = 0;
    for (int64_t i = 0; i < s.n * s.positions; i++) {
        const float *x = (const float *)a->inputs[0]->data + loss_position_at(&s, i);
        if (target[i] != ignore_index) p[n++] = (float)exp(x[target[i] * s.step] - loss_log_sum_exp(x, &s));
    }
    return n;
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_hard_targets_attrs *attrs = a->attrs;
    const int64_t *target = a->inputs[1]->data, all = cvr_numel(a->inputs[1]->rank, a->inputs[1]->shape);
    int64_t *out = a->outputs[0]->data, below = 0;
    float *p = a->workspace, bound = -1;
    CVR_TRY(loss_check_targets("hard_targets", a, attrs->ignore_index, err));
    const int64_t n = probabilities(a, attrs->ignore_index, p), kept = attrs->min_kept < n ? attrs->min_kept : n;
    for (int64_t i = 0; i < n; i++) below += p[i] < attrs->thresh;
    if (below < kept) bound = cvr_kth_smallest(p, n, kept);
    for (int64_t i = 0, k = 0; i < all; i++) {
        out[i] = target[i];
        if (target[i] == attrs->ignore_index) continue;
        if (p[k] >= attrs->thresh && p[k] > bound) out[i] = attrs->ignore_index; /* not one that is no number */
        k++;
    }
    return CVR_OK;
}

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                     cvr_error *err) {
    const cvr_hard_targets_attrs *const a = attrs;
    cvr_value hard[3] = {in[0], CVR_NONE, n_in > 2 ? in[2] : CVR_NONE};
    char settings[64];
    (void)snprintf(settings, sizeof settings, "ignore_index=%lld", (long long)a->ignore_index);
    CVR_TRY(cvr_emit(b, "hard_targets", attrs, sizeof *a, in, 2, &hard[1], err));
    const cvr_layer_call call = {.struct_size = sizeof call,
                                 .layer = "cross_entropy",
                                 .name = "entropy",
                                 .settings = settings,
                                 .inputs = hard,
                                 .outputs = out,
                                 .n_inputs = n_in,
                                 .n_outputs = 1};
    return b->layer(b, &call, err);
}

static double flops(const cvr_infer_args *a) {
    return 4.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "hard_targets",
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = sizeof attrs_ / sizeof *attrs_,
            .attrs = attrs_,
            .infer = infer,
            .flops = flops,
            .doc = "targets, of which those that the network is sure of are ignored"},
     .reference = {sizeof(cvr_cpu_fn), run},
     .workspace = workspace},
};

static const cvr_layer_desc layers[] = {
    LOSS_LAYER("ohem", attrs_, build,
               "cross entropy of the hard positions alone; inputs: logits, indices of classes, optionally "
               "weights"),
};

const loss_family loss_ohem = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
