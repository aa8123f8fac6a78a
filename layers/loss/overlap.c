/*
 * Losses of how far regions overlap: Dice (Milletari et al., "V-Net", 2016), Jaccard (Rahman, Wang, 2016) and Tversky
 * (Salehi et al., 2017; Abraham, Khan, "A Novel Focal Tversky Loss Function", 2018), as segmentation_models.pytorch
 * computes them: sums are over the whole batch. Formulas in ops/loss.h.
 */
#include "overlap.h"

static const cvr_attr_desc alpha_attr =
    CVR_ATTR_INIT(FLOAT, "alpha", "0.5", "what a false positive counts", CVR_ATTR_AT_LEAST(0));
static const cvr_attr_desc beta_attr =
    CVR_ATTR_INIT(FLOAT, "beta", "0.5", "what a false negative counts", CVR_ATTR_AT_LEAST(0));
static const cvr_attr_desc gamma_attr =
    CVR_ATTR_INIT(FLOAT, "gamma", "1", "exponent of the mean loss of the classes", CVR_ATTR_BETWEEN(0.01, 100));
static const cvr_attr_desc smooth_attr =
    CVR_ATTR_INIT(FLOAT, "smooth", "0", "added to what is divided and to what it is divided by", CVR_ATTR_AT_LEAST(0));
static const cvr_attr_desc log_attr =
    CVR_ATTR_INIT(BOOL, "log_loss", "no", "the logarithm of the score, negative, in place of 1 - score");
static const cvr_attr_desc *const op_attrs[] = {&alpha_attr,  &beta_attr, &gamma_attr,
                                                &smooth_attr, &log_attr,  &loss_ignore_attr};
static const cvr_attr_desc *const plain_attrs[] = {&smooth_attr, &log_attr, &loss_ignore_attr};

/* The settings of dice and jaccard. */
typedef struct plain_settings {
    double smooth;
    int64_t log_loss, ignore_index;
} plain_settings;

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *target = a->inputs[1];
    CVR_TRY(loss_check_classes("overlap_loss", a, err));
    const int64_t slopes[2] = {2, a->inputs[0]->shape[1]};
    cvr_type_set(a->outputs[0], CVR_F32, 0, NULL);
    cvr_type_set(a->outputs[1], CVR_F32, target->rank, target->shape);
    cvr_type_set(a->outputs[2], CVR_F32, 2, slopes);
    return CVR_OK;
}

/* x, target, lse, slopes, grad */
static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *in[2] = {a->inputs[0], a->inputs[1]}, *lse = a->inputs[2], *slopes = a->inputs[3];
    cvr_infer_args classes = *a;
    classes.inputs = in;
    classes.n_inputs = 2;
    CVR_TRY(loss_check_classes("overlap_loss_backward", &classes, err));
    CVR_TRY(loss_check_scalar(a->inputs[4], err));
    *a->outputs[0] = *in[0];
    if (lse->dtype == CVR_F32 && lse->rank == in[1]->rank && memcmp(lse->shape, in[1]->shape, sizeof lse->shape) == 0 &&
        slopes->dtype == CVR_F32 && slopes->rank == 2 && slopes->shape[0] == 2 && slopes->shape[1] == in[0]->shape[1])
        return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID,
                    "overlap_loss_backward: lse must be f32 of the target's shape, slopes f32 (2, classes)");
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit_loss_backward(b, a, "overlap_loss_backward", sizeof(cvr_overlap_attrs), 2, err);
}

/* An exponential, and what it is added to. */
static double flops(const cvr_infer_args *a) {
    return 8.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static int32_t build_dice(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                          cvr_error *err) {
    const plain_settings *const s = attrs;
    const cvr_overlap_attrs a = {0.5, 0.5, 1, s->smooth, s->log_loss, s->ignore_index};
    return loss_emit(b, "overlap_loss", &a, sizeof a, in, n_in, 3, out, err);
}

static int32_t build_jaccard(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in,
                             cvr_value *out, cvr_error *err) {
    const plain_settings *const s = attrs;
    const cvr_overlap_attrs a = {1, 1, 1, s->smooth, s->log_loss, s->ignore_index};
    return loss_emit(b, "overlap_loss", &a, sizeof a, in, n_in, 3, out, err);
}

static int32_t build_tversky(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in,
                             cvr_value *out, cvr_error *err) {
    return loss_emit(b, "overlap_loss", attrs, sizeof(cvr_overlap_attrs), in, n_in, 3, out, err);
}

static const cvr_reference_op ops[] = {
    {.op =
         {.struct_size = sizeof(cvr_op_desc),
          .name = "overlap_loss",
          .version = 1,
          .min_inputs = 2,
          .max_inputs = 3,
          .n_outputs = 3,
          .n_attrs = sizeof op_attrs / sizeof *op_attrs,
          .attrs = op_attrs,
          .optional = 4,
          .infer = infer,
          .grad = grad,
          .flops = flops,
          .doc =
              "how far classes overlap, 1 - score over the whole batch: Tversky, of which Dice and Jaccard are cases"},
     .reference = {sizeof(cvr_cpu_fn), loss_overlap_run},
     .workspace = loss_overlap_workspace},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "overlap_loss_backward",
            .version = 1,
            .min_inputs = 5,
            .max_inputs = 5,
            .n_outputs = 1,
            .n_attrs = sizeof op_attrs / sizeof *op_attrs,
            .attrs = op_attrs,
            .infer = backward_infer,
            .flops = flops,
            .doc = "dx_c = grad * p_c * (d_c - sum of p_k * d_k), d = slopes(0) * [target = c] + slopes(1)"},
     .reference = {sizeof(cvr_cpu_fn), loss_overlap_backward_run},
     .inplace = 1},
};

static const cvr_layer_desc layers[] = {
    LOSS_LAYER("dice", plain_attrs, build_dice,
               "1 - Dice score, the mean over the classes; inputs: logits, indices of classes, optionally weights"),
    LOSS_LAYER("jaccard", plain_attrs, build_jaccard,
               "1 - Jaccard score (IoU), the mean over the classes; inputs as dice has them"),
    LOSS_LAYER("tversky", op_attrs, build_tversky,
               "Dice whose false positives count alpha and false negatives beta; inputs as dice has them"),
};

const loss_family loss_overlap = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
