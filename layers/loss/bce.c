/* Binary cross entropy of logits: torch.nn.BCEWithLogitsLoss. Formulas in ops/loss.h. */
#include "loss_family.h"

static const cvr_attr_desc *const attrs_[] = {&loss_reduction_attr};

/* One element, or one a channel in a shape that PyTorch would broadcast. */
static int32_t check_pos_weight(const cvr_type *x, const cvr_type *w, cvr_error *err) {
    if (!w) return CVR_OK;
    const int one = cvr_numel(w->rank, w->shape) == 1 && w->rank <= x->rank;
    const int two = x->rank == 2 && w->rank == 1 && w->shape[0] == x->shape[1];
    const int four = x->rank == 4 && w->rank == 3 && w->shape[0] == x->shape[1] && w->shape[1] * w->shape[2] == 1;
    if (w->dtype == CVR_F32 && (one || two || four)) return CVR_OK;
    return cvr_fail(
        err, CVR_ERR_INVALID,
        "bce_with_logits: pos_weight must be f32 with one element, or (C) for (N, C), or (C, 1, 1) for (N, C, "
        "H, W)");
}

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    const int32_t status = loss_check_pair(a->inputs[0], a->inputs[1], err);
    cvr_type_set(a->outputs[0], CVR_F32, 0, NULL);
    return status == CVR_OK ? check_pos_weight(a->inputs[0], a->n_inputs > 2 ? a->inputs[2] : NULL, err) : status;
}

static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(loss_check_pair(a->inputs[0], a->inputs[1], err));
    CVR_TRY(check_pos_weight(a->inputs[0], a->inputs[2], err));
    *a->outputs[0] = *a->inputs[0];
    return loss_check_scalar(a->inputs[3], err);
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit_loss_backward(b, a, "bce_with_logits_backward", sizeof(cvr_loss_attrs), 3, err);
}

/* pos_weight of the element at `i` of memory: channels are innermost in ranks 2 and 4. */
static double pos_weight_at(const cvr_kernel_args *a, int64_t i) {
    if (a->n_inputs < 3 || !a->inputs[2]) return 1;
    const cvr_tensor *w = a->inputs[2];
    return ((const float *)w->data)[i % cvr_numel(w->rank, w->shape)];
}

/* l = (1-y) * x + (1 + (w-1) * y) * log(1 + exp(-x)) */
static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_loss_attrs *attrs = a->attrs;
    const float *x = a->inputs[0]->data, *y = a->inputs[1]->data;
    const int64_t n = cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
    double total = 0;
    for (int64_t i = 0; i < n; i++) {
        const double softplus = log1p(exp(-fabs((double)x[i]))) + (x[i] < 0 ? -x[i] : 0);
        total += (1 - (double)y[i]) * x[i] + (1 + (pos_weight_at(a, i) - 1) * y[i]) * softplus;
    }
    *(float *)a->outputs[0]->data = (float)(total / loss_divisor(attrs->reduction, a->inputs[0]));
    return CVR_OK;
}

/* dx = g * ((1-y) - (1 + (w-1) * y) * (1 - sigmoid(x))) */
static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_loss_attrs *attrs = a->attrs;
    const float *x = a->inputs[0]->data, *y = a->inputs[1]->data;
    const double g = *(const float *)a->inputs[3]->data / loss_divisor(attrs->reduction, a->inputs[0]);
    float *dx = a->outputs[0]->data;
    const int64_t n = cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
    for (int64_t i = 0; i < n; i++) {
        const double other = 1 / (1 + exp((double)x[i])); /* 1 - sigmoid(x) */
        dx[i] = (float)(g * ((1 - (double)y[i]) - (1 + (pos_weight_at(a, i) - 1) * y[i]) * other));
    }
    return CVR_OK;
}

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                     cvr_error *err) {
    return cvr_emit(b, "bce_with_logits", attrs, sizeof(cvr_loss_attrs), in, n_in, out, err);
}

static double flops(const cvr_infer_args *a) {
    return 8.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "bce_with_logits",
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 3,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = attrs_,
            .optional = 4,
            .infer = infer,
            .grad = grad,
            .flops = flops,
            .doc = "mean or sum of -(w * y * log sigmoid(x) + (1-y) * log(1 - sigmoid(x)))"},
     .reference = {sizeof(cvr_cpu_fn), run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "bce_with_logits_backward",
            .version = 1,
            .min_inputs = 4,
            .max_inputs = 4,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = attrs_,
            .optional = 4,
            .infer = backward_infer,
            .flops = flops,
            .doc = "dx = g * ((1-y) - (1 + (w-1) * y) * (1 - sigmoid(x)))"},
     .reference = {sizeof(cvr_cpu_fn), backward_run},
     .inplace = 3},
};

static const cvr_layer_desc layers[] = {
    LOSS_LAYER("bce_with_logits", attrs_, build, "inputs: logits, targets in 0..1, optionally pos_weight"),
};

const loss_family loss_bce = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
