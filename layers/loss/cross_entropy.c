/*
 * Cross entropy of class scores with class indices, or with a share for each class: torch.nn.CrossEntropyLoss. Formulas
 * in ops/loss.h.
 */
#include "loss_family.h"
#include <cvr/plugin/ops/activation.h>
#include <cvr/plugin/ops/arith.h>

static const cvr_attr_desc smoothing_attr = CVR_ATTR_INIT(
    FLOAT, "label_smoothing", "0", "share of the target that is spread over all classes", CVR_ATTR_BETWEEN(0, 1));
static const cvr_attr_desc *const attrs_[] = {&smoothing_attr, &loss_ignore_attr, &loss_reduction_attr};

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *target = a->inputs[1];
    CVR_TRY(loss_check_classes("cross_entropy", a, err));
    cvr_type_set(a->outputs[0], CVR_F32, 0, NULL);
    cvr_type_set(a->outputs[1], CVR_F32, target->rank, target->shape);
    cvr_type_set(a->outputs[2], CVR_F32, 0, NULL);
    return CVR_OK;
}

/* x, target, [weight], lse, norm, grad */
static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *target = a->inputs[1], *lse = a->inputs[3];
    CVR_TRY(loss_check_classes("cross_entropy", a, err));
    CVR_TRY(loss_check_scalar(a->inputs[4], err));
    CVR_TRY(loss_check_scalar(a->inputs[5], err));
    *a->outputs[0] = *a->inputs[0];
    if (lse->dtype == CVR_F32 && lse->rank == target->rank && memcmp(lse->shape, target->shape, sizeof lse->shape) == 0)
        return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "cross_entropy_backward: lse must have the target's shape, f32");
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit_loss_backward(b, a, "cross_entropy_backward", sizeof(cvr_cross_entropy_attrs), 3, err);
}

/* ---- shares instead of indices: a composition of other ops ---- */

/* scale * sum of x, a scalar */
static int32_t scaled_sum(const cvr_builder *b, cvr_value x, double scale, cvr_value *out, cvr_error *err) {
    const cvr_reduce_attrs all = {.n_dim = 0};
    const cvr_expand_attrs scalar = {.shape = {1, 1, 1, 1, 1, 1}, .scale = scale};
    CVR_TRY(cvr_emit(b, "sum", &all, sizeof all, &x, 1, out, err));
    return cvr_emit(b, "expand", &scalar, sizeof scalar, out, 1, out, err);
}

static int32_t check_shares(const cvr_type *x, const cvr_type *target, const cvr_type *weight, cvr_error *err) {
    if (x->dtype != CVR_F32 || x->rank < 2 || x->rank > 4 || x->rank != target->rank ||
        memcmp(x->shape, target->shape, sizeof x->shape) != 0)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "cross_entropy: a target of shares must be f32 with the input's shape, (N, C), (N, C, L) or "
                        "(N, C, H, W)");
    if (weight && (x->rank != 2 || weight->dtype != CVR_F32 || weight->rank != 1 || weight->shape[0] != x->shape[1]))
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "cross_entropy: shares with class weights are for (N, C), with one f32 for each class");
    return CVR_OK;
}

static int32_t to_f32(const cvr_builder *b, cvr_value v, cvr_value *out, cvr_error *err) {
    const cvr_cast_attrs attrs = {CVR_F32};
    *out = v;
    return b->type(b, v)->dtype == CVR_F32 ? CVR_OK : cvr_emit(b, "cast", &attrs, sizeof attrs, &v, 1, out, err);
}

/* l = - sum over c of w_c * ((1-s) * t_c + s / C) * log_softmax(x)_c; the mean is over positions, whatever the weights
 */
static int32_t build_shares(const cvr_builder *b, const cvr_cross_entropy_attrs *a, const cvr_value *in,
                            cvr_value weight, cvr_value *out, cvr_error *err) {
    const cvr_softmax_attrs classes = {.dim = 1};
    cvr_value scores, shares, log, weighted, even;
    CVR_TRY(to_f32(b, in[0], &scores, err));
    CVR_TRY(to_f32(b, in[1], &shares, err));
    const cvr_type *x = b->type(b, scores);
    CVR_TRY(check_shares(x, b->type(b, shares), b->type(b, weight), err));
    const double positions = (double)cvr_numel(x->rank, x->shape) / (double)x->shape[1];
    const double scale = a->reduction == CVR_LOSS_MEAN ? -1 / positions : -1;
    CVR_TRY(cvr_emit(b, "log_softmax", &classes, sizeof classes, &scores, 1, &log, err));
    if (weight != CVR_NONE) {
        const cvr_value both[2] = {log, weight};
        CVR_TRY(cvr_emit(b, "mul_broadcast", NULL, 0, both, 2, &log, err));
    }
    const cvr_value product[2] = {log, shares};
    CVR_TRY(cvr_emit(b, "mul", NULL, 0, product, 2, &weighted, err));
    CVR_TRY(scaled_sum(b, weighted, scale * (1 - a->label_smoothing), out, err));
    if (a->label_smoothing == 0) return CVR_OK;
    CVR_TRY(scaled_sum(b, log, scale * a->label_smoothing / (double)x->shape[1], &even, err));
    const cvr_value sum[2] = {*out, even};
    return cvr_emit(b, "add", NULL, 0, sum, 2, out, err);
}

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                     cvr_error *err) {
    const cvr_type *target = b->type(b, in[1]);
    if (target && (target->dtype == CVR_F32 || target->dtype == CVR_BF16))
        return build_shares(b, attrs, in, n_in > 2 ? in[2] : CVR_NONE, out, err);
    return loss_emit(b, "cross_entropy", attrs, sizeof(cvr_cross_entropy_attrs), in, n_in, 3, out, err);
}

/* An exponential, two additions and a subtraction an element. */
static double flops(const cvr_infer_args *a) {
    return 4.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "cross_entropy",
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 3,
            .n_outputs = 3,
            .n_attrs = 3,
            .attrs = attrs_,
            .optional = 4,
            .infer = infer,
            .grad = grad,
            .flops = flops,
            .doc = "mean or sum of -log softmax(x)[target], with class weights and label smoothing"},
     .reference = {sizeof(cvr_cpu_fn), loss_cross_entropy_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "cross_entropy_backward",
            .version = 1,
            .min_inputs = 6,
            .max_inputs = 6,
            .n_outputs = 1,
            .n_attrs = 3,
            .attrs = attrs_,
            .optional = 4,
            .infer = backward_infer,
            .flops = flops,
            .doc = "dx = grad / norm * (softmax(x) - one_hot(target)), with class weights and label smoothing"},
     .reference = {sizeof(cvr_cpu_fn), loss_cross_entropy_backward_run},
     .inplace = 1},
};

static const cvr_layer_desc layers[] = {
    LOSS_LAYER("cross_entropy", attrs_, build,
               "inputs: scores (N, C, ...), class indices (N, ...) or shares (N, C, ...), optionally a weight for "
               "each class"),
};

const loss_family loss_cross_entropy = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
