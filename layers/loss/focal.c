/*
 * The two focal losses (Lin et al., "Focal Loss for Dense Object Detection", 2017): of a softmax, and of each class by
 * itself (torchvision.ops.sigmoid_focal_loss; over several classes as segmentation_models.pytorch takes it). They are
 * not the same number. Formulas in ops/loss.h.
 */
#include "focal.h"

static const cvr_attr_desc alpha_attr = CVR_ATTR_INIT(
    FLOAT, "alpha", "0.25", "weight of what is the class; 1 - alpha of all else; -1: none", CVR_ATTR_BETWEEN(-1, 1));
static const cvr_attr_desc gamma_attr =
    CVR_ATTR_INIT(FLOAT, "gamma", "2", "how much less what is easy counts; 0: as much", CVR_ATTR_BETWEEN(0, 100));
static const cvr_attr_desc *const op_attrs[] = {&alpha_attr, &gamma_attr, &loss_ignore_attr};
static const cvr_attr_desc *const softmax_attrs[] = {&gamma_attr, &loss_ignore_attr};

typedef struct softmax_settings {
    double gamma;
    int64_t ignore_index;
} softmax_settings;

static int32_t focal_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *target = a->inputs[1];
    CVR_TRY(loss_check_classes("focal_loss", a, err));
    if (a->inputs[0]->shape[1] < 2)
        return cvr_fail(err, CVR_ERR_INVALID, "focal_loss: one class has no softmax; use sigmoid_focal");
    cvr_type_set(a->outputs[0], CVR_F32, 0, NULL);
    cvr_type_set(a->outputs[1], CVR_F32, target->rank, target->shape);
    cvr_type_set(a->outputs[2], CVR_F32, 0, NULL);
    return CVR_OK;
}

/* x, target, [weight], lse, norm, grad */
static int32_t focal_backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *target = a->inputs[1], *lse = a->inputs[3];
    CVR_TRY(loss_check_classes("focal_loss_backward", a, err));
    CVR_TRY(loss_check_scalar(a->inputs[4], err));
    CVR_TRY(loss_check_scalar(a->inputs[5], err));
    *a->outputs[0] = *a->inputs[0];
    if (lse->dtype == CVR_F32 && lse->rank == target->rank && memcmp(lse->shape, target->shape, sizeof lse->shape) == 0)
        return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "focal_loss_backward: lse must have the target's shape, f32");
}

static int32_t sigmoid_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(loss_check_classes("sigmoid_focal_loss", a, err));
    cvr_type_set(a->outputs[0], CVR_F32, 0, NULL);
    cvr_type_set(a->outputs[1], CVR_F32, 0, NULL);
    return CVR_OK;
}

/* x, target, [weight], norm, grad */
static int32_t sigmoid_backward_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(loss_check_classes("sigmoid_focal_loss_backward", a, err));
    CVR_TRY(loss_check_scalar(a->inputs[3], err));
    CVR_TRY(loss_check_scalar(a->inputs[4], err));
    *a->outputs[0] = *a->inputs[0];
    return CVR_OK;
}

static int32_t focal_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit_loss_backward(b, a, "focal_loss_backward", sizeof(cvr_focal_attrs), 3, err);
}

static int32_t sigmoid_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit_loss_backward(b, a, "sigmoid_focal_loss_backward", sizeof(cvr_focal_attrs), 3, err);
}

static int32_t build_focal(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                           cvr_error *err) {
    const softmax_settings *const s = attrs;
    const cvr_focal_attrs a = {-1, s->gamma, s->ignore_index};
    return loss_emit(b, "focal_loss", &a, sizeof a, in, n_in, 3, out, err);
}

static int32_t build_sigmoid(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in,
                             cvr_value *out, cvr_error *err) {
    return loss_emit(b, "sigmoid_focal_loss", attrs, sizeof(cvr_focal_attrs), in, n_in, 2, out, err);
}

/* An exponential and a power an element. */
static double flops(const cvr_infer_args *a) {
    return 8.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

#define FOCAL_OP(name_, min_, max_, n_out_, infer_, grad_, run_, inplace_, doc_)                                       \
    {                                                                                                                  \
        .op = {.struct_size = sizeof(cvr_op_desc),                                                                     \
               .name = name_,                                                                                          \
               .version = 1,                                                                                           \
               .min_inputs = min_,                                                                                     \
               .max_inputs = max_,                                                                                     \
               .n_outputs = n_out_,                                                                                    \
               .n_attrs = 3,                                                                                           \
               .attrs = op_attrs,                                                                                      \
               .optional = 4,                                                                                          \
               .infer = infer_,                                                                                        \
               .grad = grad_,                                                                                          \
               .flops = flops,                                                                                         \
               .doc = doc_},                                                                                           \
        .reference = {sizeof(cvr_cpu_fn), run_}, .inplace = inplace_                                                   \
    }

static const cvr_reference_op ops[] = {
    FOCAL_OP("focal_loss", 2, 3, 3, focal_infer, focal_grad, loss_focal_run, 0,
             "mean of -(1 - p)^gamma * log p, p = softmax(x)[target], with class weights"),
    FOCAL_OP("focal_loss_backward", 6, 6, 1, focal_backward_infer, NULL, loss_focal_backward_run, 1,
             "dx_c = grad / norm * s * ([c = target] - p_c)"),
    FOCAL_OP("sigmoid_focal_loss", 2, 3, 2, sigmoid_infer, sigmoid_grad, loss_sigmoid_focal_run, 0,
             "each class against all others, -a * (1 - q)^gamma * log q; the mean over positions and classes"),
    FOCAL_OP("sigmoid_focal_loss_backward", 5, 5, 1, sigmoid_backward_infer, NULL, loss_sigmoid_focal_backward_run, 1,
             "the gradient of sigmoid_focal_loss"),
};

static const cvr_layer_desc layers[] = {
    LOSS_LAYER("focal", softmax_attrs, build_focal,
               "focal loss of a softmax; inputs: logits, indices of classes, optionally weights"),
    LOSS_LAYER("sigmoid_focal", op_attrs, build_sigmoid,
               "focal loss of each class against all others; inputs as focal has them"),
};

const loss_family loss_focal = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
