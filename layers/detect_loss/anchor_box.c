/* The loss of boxes: how far the deltas of the rows with an object are from what leads to it. */
#include "detect_loss_family.h"
#include <cvr/plugin/ops/box_loss_math.h>

static const cvr_attr_desc *const attrs_[] = {
    CVR_ATTR(CHOICE, "kind", "smooth_l1", "of the deltas, or of the boxes' overlap",
             .choices = "smooth_l1|giou|diou|ciou|squared_iou"),
    CVR_ATTR(CHOICE, "coder", "center", "what the deltas say: centre and sides, or distances of the four sides",
             .choices = "center|ltrb|center_open"),
    CVR_ATTR(FLOAT, "weights", "1", "of dx, dy, dw, dh", .count = 4, CVR_ATTR_AT_LEAST(1e-6)),
    CVR_ATTR(FLOAT, "beta", "1", "smooth_l1: where the parabola ends; 0: nowhere", CVR_ATTR_AT_LEAST(0)),
    &detect_norm_attr,
};

/* deltas (N,A,4*K), anchors, boxes, match, [label (N,A) i64] */
static int32_t check(const char *op, const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *deltas = a->inputs[0], *label = a->n_inputs > 4 ? a->inputs[4] : NULL;
    CVR_TRY(detect_check(op, "deltas", deltas, CVR_F32, 3, "(N,A,4*K)", err));
    CVR_TRY(detect_check_rows(op, a->inputs[1], a->inputs[2], a->inputs[3], deltas->shape[0], deltas->shape[1], err));
    if (!label) return detect_check_axis(op, "deltas without labels", deltas, 2, 4, err);
    if (deltas->shape[2] % 4 != 0 || deltas->shape[2] < 4)
        return cvr_fail(err, CVR_ERR_INVALID, "%s: deltas: %s; axis 2 must have four numbers for each class", op,
                        cvr_shape_of(deltas).text);
    CVR_TRY(detect_check(op, "label", label, CVR_I64, 2, "(N,A)", err));
    CVR_TRY(detect_check_axis(op, "label", label, 0, deltas->shape[0], err));
    return detect_check_axis(op, "label", label, 1, deltas->shape[1], err);
}

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check("anchor_box_loss", a, err));
    return detect_set_loss(a);
}

/* deltas, anchors, boxes, match, [label], norm, grad */
static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check("anchor_box_loss_backward", a, err));
    return detect_set_gradient("anchor_box_loss_backward", a, 5, err);
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit_loss_backward(b, a, "anchor_box_loss_backward", sizeof(cvr_anchor_box_loss_attrs), 5, err);
}

static const int64_t *labels_of(const cvr_kernel_args *a) {
    return a->n_inputs > 4 && a->inputs[4] ? a->inputs[4]->data : NULL;
}

static int32_t check_numbers(const char *op, const cvr_kernel_args *a, cvr_error *err) {
    const int64_t *label = labels_of(a), classes = a->inputs[0]->shape[2] / 4;
    const int32_t *match = a->inputs[3]->data;
    CVR_TRY(cvr_detect_check_matches(op, a->inputs[3], a->inputs[2]->shape[1], err));
    for (int64_t i = 0; label && i < cvr_numel(2, a->inputs[3]->shape); i++)
        if (match[i] >= 0 && (label[i] < 0 || label[i] >= classes))
            return cvr_fail(err, CVR_ERR_INVALID, "%s: label %lld, but there are deltas for %lld classes", op,
                            (long long)label[i], (long long)classes);
    return CVR_OK;
}

/* Where the four deltas of a row are. */
static int64_t delta_at(const cvr_kernel_args *a, const int64_t *label, int64_t row) {
    return row * a->inputs[0]->shape[2] + (label ? 4 * label[row] : 0);
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_anchor_box_loss_attrs *attrs = a->attrs;
    const cvr_detect_rows r = cvr_detect_rows_of(a->inputs[1], a->inputs[2], a->inputs[3]);
    const int64_t *label = labels_of(a);
    float *norm = a->outputs[1]->data;
    double loss = 0, slope[4];
    CVR_TRY(check_numbers("anchor_box_loss", a, err));
    cvr_detect_match_norm(attrs->norm, a->inputs[3], norm);
    for (int64_t n = 0, row = 0; n < r.n; n++) {
        double sum = 0;
        for (const int64_t end = row + r.rows; row < end; row++)
            if (r.match[row] >= 0)
                sum += cvr_box_row_loss(attrs, (const float *)a->inputs[0]->data + delta_at(a, label, row),
                                        cvr_detect_anchor(&r, row), cvr_detect_object(&r, row), slope);
        loss += sum * cvr_detect_share(norm[n]);
    }
    *(float *)a->outputs[0]->data = (float)loss;
    return CVR_OK;
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_anchor_box_loss_attrs *attrs = a->attrs;
    const cvr_detect_rows r = cvr_detect_rows_of(a->inputs[1], a->inputs[2], a->inputs[3]);
    const int64_t *label = labels_of(a);
    const float *norm = a->inputs[5]->data;
    float *d = a->outputs[0]->data;
    CVR_TRY(check_numbers("anchor_box_loss_backward", a, err));
    memset(d, 0, (size_t)cvr_numel(3, a->outputs[0]->shape) * sizeof *d);
    for (int64_t row = 0; row < r.n * r.rows; row++) {
        double slope[4];
        if (r.match[row] < 0) continue;
        const int64_t at = delta_at(a, label, row);
        const double scale = detect_scalar(a, 6) * cvr_detect_share(norm[row / r.rows]);
        (void)cvr_box_row_loss(attrs, (const float *)a->inputs[0]->data + at, cvr_detect_anchor(&r, row),
                               cvr_detect_object(&r, row), slope);
        for (int i = 0; i < 4; i++) d[at + i] = (float)(scale * slope[i]);
    }
    return CVR_OK;
}

/* Rows with an object are few, how few is not known. */
static double flops(const cvr_infer_args *a) {
    return (double)cvr_numel(3, a->inputs[0]->shape);
}

DETECT_TRAITS(traits, cvr_precision_none, 4)
DETECT_TRAITS(backward_traits, cvr_precision_first, 4)

static const cvr_reference_op ops[] = {
    {DETECT_LOSS("anchor_box_loss", 4, 5, 2,
                 "smooth L1 of deltas, or GIoU, DIoU, CIoU, IoU^2 of boxes, of the rows with an object",
                 DETECT_ATTRS(attrs_), .optional = 16, .trait = traits)},
    {DETECT_LOSS_BACKWARD("anchor_box_loss_backward", 7, "the gradient of anchor_box_loss", DETECT_ATTRS(attrs_),
                          .optional = 16, .trait = backward_traits)},
};

const detect_loss_family detect_box_loss = {ops, DETECT_COUNT(ops)};
