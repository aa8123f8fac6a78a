/*
 * The Lovasz loss of IoU (Berman, Triki, Blaschko: "The Lovasz-Softmax loss", 2018): softmax over classes that stand in
 * the target, sums over the whole batch; with one class the hinge form. Formulas in ops/loss.h.
 */
#include "lovasz.h"

static const cvr_attr_desc *const attrs_[] = {&loss_ignore_attr};

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(loss_check_classes("lovasz_loss", a, err));
    if (cvr_numel(a->inputs[1]->rank, a->inputs[1]->shape) > UINT32_MAX)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "lovasz_loss: at most 2^32 - 1 positions; use a smaller batch");
    cvr_type_set(a->outputs[0], CVR_F32, 0, NULL);
    *a->outputs[1] = *a->inputs[0];
    return CVR_OK;
}

/* slope, grad */
static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(loss_check_scalar(a->inputs[1], err));
    *a->outputs[0] = *a->inputs[0];
    return a->inputs[0]->dtype == CVR_F32
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_INVALID, "lovasz_loss_backward: the slope must be f32");
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit_loss_backward(b, a, "lovasz_loss_backward", 0, 0, err);
}

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                     cvr_error *err) {
    return loss_emit(b, "lovasz_loss", attrs, sizeof(cvr_lovasz_attrs), in, n_in, 2, out, err);
}

/* Two exponentials and a sort of four passes. */
static double flops(const cvr_infer_args *a) {
    return 24.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static double backward_flops(const cvr_infer_args *a) {
    return (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "lovasz_loss",
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 3,
            .n_outputs = 2,
            .n_attrs = 1,
            .attrs = attrs_,
            .optional = 4,
            .infer = infer,
            .grad = grad,
            .flops = flops,
            .doc = "the Lovasz extension of the Jaccard loss, over a softmax, or of one class by its hinge"},
     .reference = {sizeof(cvr_cpu_fn), loss_lovasz_run},
     .workspace = loss_lovasz_workspace},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "lovasz_loss_backward",
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .infer = backward_infer,
            .flops = backward_flops,
            .doc = "dx = grad * slope"},
     .reference = {sizeof(cvr_cpu_fn), loss_lovasz_backward_run},
     .inplace = 1},
};

static const cvr_layer_desc layers[] = {
    LOSS_LAYER("lovasz", attrs_, build,
               "Lovasz-Softmax, with one class the Lovasz hinge; inputs: logits, indices of classes, optionally "
               "weights"),
};

const loss_family loss_lovasz = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
