/* The class of the object that each row stands for. */
#include "detect_loss_family.h"

static const cvr_attr_desc *const attrs_[] = {
    CVR_ATTR(INT, "offset", "0", "added to the object's class"),
    CVR_ATTR(INT, "background", "0", "class of a row without an object"),
    CVR_ATTR(INT, "ignore", "-100", "class of a row that counts for nothing"),
};

/* match (N,A) i32, box_labels (N,M) i64 -> (N,A) i64 */
static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *match = a->inputs[0], *labels = a->inputs[1];
    CVR_TRY(detect_check("class_targets", "match", match, CVR_I32, 2, "(N,A)", err));
    CVR_TRY(detect_check("class_targets", "box_labels", labels, CVR_I64, 2, "(N,M)", err));
    CVR_TRY(detect_check_axis("class_targets", "box_labels", labels, 0, match->shape[0], err));
    cvr_type_set(a->outputs[0], CVR_I64, 2, match->shape);
    return CVR_OK;
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_class_targets_attrs *attrs = a->attrs;
    const cvr_tensor *match = a->inputs[0], *labels = a->inputs[1];
    const int64_t rows = match->shape[1], objects = labels->shape[1];
    const int32_t *m = match->data;
    int64_t *y = a->outputs[0]->data;
    CVR_TRY(cvr_detect_check_matches("class_targets", match, objects, err));
    for (int64_t i = 0; i < match->shape[0] * rows; i++)
        y[i] = cvr_class_target(attrs, m[i], (const int64_t *)labels->data + i / rows * objects);
    return CVR_OK;
}

DETECT_TRAITS(traits, cvr_precision_none, 2)

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "class_targets",
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = DETECT_COUNT(attrs_),
            .attrs = attrs_,
            .infer = infer,
            .doc = "the class of the object that each row is matched to",
            .trait = traits},
     .reference = {sizeof(cvr_cpu_fn), run}},
};

const detect_loss_family detect_class_targets = {ops, DETECT_COUNT(ops)};
