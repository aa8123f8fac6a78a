/* Darknet's layers of boxes as ops: checks, gradient, reference kernels, descriptors. Meanings are in ops/yolo.h,
 * formulas in ops/yolo_math.h. The plugin "layer_yolo". */
#include "yolo_family.h"

#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/reference.h>
#include <cvr/plugin/ops/yolo_math.h>

#define COUNT(list_) (sizeof(list_) / sizeof *(list_))
#define SIZE CVR_ATTR(INT, "size", NULL, "height,width of the picture", .count = 2, CVR_ATTR_BETWEEN(1, 1 << 20))
#define SCALE CVR_ATTR(FLOAT, "scale_x_y", "1", "how far a centre may leave its cell", CVR_ATTR_BETWEEN(0.01, 100))
#define NEW_COORDS CVR_ATTR(BOOL, "new_coords", "no", "a sigmoid stands in front, and sides are squares")
#define SHARE(name_, default_, doc_) CVR_ATTR(FLOAT, name_, default_, doc_, CVR_ATTR_BETWEEN(0, 1))
#define WEIGHT(name_) CVR_ATTR(FLOAT, name_, "1", "weight of this loss", CVR_ATTR_AT_LEAST(0))
#define ANCHORS(doc_)                                                                                                  \
    CVR_ATTR(FLOATS, "anchors", NULL, doc_, .count = 2 * CVR_YOLO_MOST_ANCHORS, CVR_ATTR_BETWEEN(1e-6, 1e6))

static const cvr_attr_desc *const boxes_attrs[] = {
    SIZE,
    ANCHORS("widths and heights, pixels"),
    SCALE,
    NEW_COORDS,
    CVR_ATTR(BOOL, "softmax", "no", "classes exclude each other"),
};
static const cvr_attr_desc *const loss_attrs[] = {
    SIZE,
    ANCHORS("widths and heights of all of the network, pixels"),
    CVR_ATTR(INTS, "mask", NULL, "which of them are this layer's", .count = CVR_YOLO_MOST_ANCHORS,
             CVR_ATTR_BETWEEN(0, CVR_YOLO_MOST_ANCHORS - 1)),
    SCALE,
    NEW_COORDS,
    SHARE("ignore_thresh", "0.5", "a box with a larger IoU is no background"),
    SHARE("iou_thresh", "1", "anchors with a larger IoU of shapes have the object, too"),
    CVR_ATTR(CHOICE, "box", "squares", "the loss of boxes", .choices = "squares|giou|diou|ciou"),
    WEIGHT("box_weight"),
    WEIGHT("objectness_weight"),
    WEIGHT("class_weight"),
    CVR_ATTR(FLOAT, "max_delta", "1e9", "largest number of the box's gradient", CVR_ATTR_AT_LEAST(1e-6)),
    SHARE("label_smooth", "0", "how far the classes' targets are moved to one half"),
};

/* ---- shapes ---- */

static int32_t check(const char *op, const char *what, const cvr_type *t, uint32_t dtype, uint32_t rank,
                     const int64_t *shape, cvr_error *err) {
    int fits = t->dtype == dtype && t->rank == rank;
    for (uint32_t i = 0; fits && i < rank; i++) fits = shape[i] < 0 || shape[i] == t->shape[i];
    return fits ? CVR_OK
                : cvr_fail(err, CVR_ERR_INVALID, "%s: %s: %s %s is not what belongs to the map", op, what,
                           cvr_dtype_name(t->dtype), cvr_shape_of(t).text);
}

/* Of a map; rows (N, P) come out. */
static int32_t check_map(const char *op, const cvr_type *x, int64_t each, int64_t rows[2], cvr_error *err) {
    static const int64_t any[4] = {-1, -1, -1, -1};
    CVR_TRY(check(op, "x", x, CVR_F32, 4, any, err));
    if (each < 1 || x->shape[1] % each != 0 || x->shape[1] / each < 6)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "%s: x %s: %lld anchors have 5 numbers each and one for each class, which do not fit its "
                        "channels",
                        op, cvr_shape_of(x).text, (long long)each);
    rows[0] = x->shape[0];
    rows[1] = x->shape[2] * x->shape[3] * each;
    return rows[1] <= INT32_MAX
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_INVALID, "%s: x %s has too many anchors", op, cvr_shape_of(x).text);
}

static int32_t check_pairs(const char *op, int64_t n, cvr_error *err) {
    return n % 2 == 0 ? CVR_OK
                      : cvr_fail(err, CVR_ERR_INVALID, "%s: anchors has %lld numbers; each has a width and a height",
                                 op, (long long)n);
}

static int32_t boxes_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_yolo_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    int64_t rows[2];
    CVR_TRY(check_pairs("yolo_boxes", attrs->n_anchors, err));
    CVR_TRY(check_map("yolo_boxes", x, attrs->n_anchors / 2, rows, err));
    cvr_type_set(a->outputs[0], CVR_F32, 3, (const int64_t[]){rows[0], rows[1], 4});
    cvr_type_set(a->outputs[1], CVR_F32, 3,
                 (const int64_t[]){rows[0], rows[1], x->shape[1] / (attrs->n_anchors / 2) - 5});
    return CVR_OK;
}

/* x, boxes (N,M,4), box_labels (N,M) i64, counts (N) i64 */
static int32_t check_loss(const char *op, const cvr_infer_args *a, int64_t rows[2], cvr_error *err) {
    const cvr_yolo_loss_attrs *attrs = a->attrs;
    CVR_TRY(check_pairs(op, attrs->n_anchors, err));
    for (int64_t i = 0; i < attrs->n_mask; i++)
        if (attrs->mask[i] >= attrs->n_anchors / 2)
            return cvr_fail(err, CVR_ERR_INVALID, "%s: mask names anchor %lld of %lld", op, (long long)attrs->mask[i],
                            (long long)(attrs->n_anchors / 2));
    CVR_TRY(check_map(op, a->inputs[0], attrs->n_mask, rows, err));
    CVR_TRY(check(op, "boxes", a->inputs[1], CVR_F32, 3, (const int64_t[]){rows[0], -1, 4}, err));
    CVR_TRY(check(op, "box_labels", a->inputs[2], CVR_I64, 2, (const int64_t[]){rows[0], a->inputs[1]->shape[1]}, err));
    return check(op, "counts", a->inputs[3], CVR_I64, 1, rows, err);
}

static int32_t loss_infer(const cvr_infer_args *a, cvr_error *err) {
    int64_t rows[2];
    CVR_TRY(check_loss("yolo_loss", a, rows, err));
    for (int i = 0; i < 3; i++) cvr_type_set(a->outputs[i], CVR_F32, 0, NULL);
    cvr_type_set(a->outputs[3], CVR_I32, 2, rows);
    return CVR_OK;
}

static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    int64_t rows[2];
    CVR_TRY(check_loss("yolo_loss_backward", a, rows, err));
    CVR_TRY(check("yolo_loss_backward", "match", a->inputs[4], CVR_I32, 2, rows, err));
    for (int i = 5; i < 8; i++)
        if (a->inputs[i]) CVR_TRY(check("yolo_loss_backward", "a gradient", a->inputs[i], CVR_F32, 0, rows, err));
    *a->outputs[0] = *a->inputs[0];
    return CVR_OK;
}

static int32_t loss_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value *in = a->inputs, *g = a->grad_outputs;
    const cvr_value all[8] = {in[0], in[1], in[2], in[3], a->outputs[3], g[0], g[1], g[2]};
    if (!a->needs[0] || (!g[0] && !g[1] && !g[2])) return CVR_OK;
    return cvr_emit(b, "yolo_loss_backward", a->attrs, sizeof(cvr_yolo_loss_attrs), all, 8, &a->grad_inputs[0], err);
}

/* ---- reference kernels ---- */

static int32_t boxes_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_yolo_attrs *attrs = a->attrs;
    const cvr_yolo_map m =
        cvr_yolo_map_of(a->inputs[0], attrs->size, attrs->n_anchors / 2, attrs->scale_x_y, attrs->new_coords);
    float *box = a->outputs[0]->data, *score = a->outputs[1]->data;
    (void)err;
    for (int64_t i = 0; i < a->inputs[0]->shape[0] * m.rows; i++) {
        cvr_yolo_box(&m, i % m.rows, m.x + i * m.columns, &attrs->anchors[2 * (i % m.each)], box + 4 * i);
        cvr_yolo_scores(&m, m.x + i * m.columns, attrs->softmax, score + i * (m.columns - 5));
    }
    return CVR_OK;
}

static int32_t loss_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t pictures = a->inputs[0]->shape[0];
    const cvr_yolo_map m = cvr_yolo_loss_map(a);
    double sum[3] = {0, 0, 0};
    CVR_TRY(cvr_yolo_check("yolo_loss", a, &m, err));
    for (int64_t n = 0; n < pictures; n++) {
        const cvr_yolo_objects o = cvr_yolo_objects_of(a, n);
        const float *x = m.x + n * m.rows * m.columns;
        int32_t *match = (int32_t *)a->outputs[3]->data + n * m.rows;
        double loss[3];
        cvr_yolo_match(a->attrs, &m, x, &o, match);
        cvr_yolo_losses(a->attrs, &m, x, &o, match, loss);
        for (int i = 0; i < 3; i++) sum[i] += loss[i];
    }
    for (int i = 0; i < 3; i++) *(float *)a->outputs[i]->data = (float)(sum[i] / (double)pictures);
    return CVR_OK;
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t pictures = a->inputs[0]->shape[0];
    const cvr_yolo_map m = cvr_yolo_loss_map(a);
    double factor[3];
    CVR_TRY(cvr_yolo_check("yolo_loss_backward", a, &m, err));
    CVR_TRY(cvr_detect_check_matches("yolo_loss_backward", a->inputs[4], a->inputs[1]->shape[1], err));
    for (int i = 0; i < 3; i++)
        factor[i] = a->inputs[5 + i] ? *(const float *)a->inputs[5 + i]->data / (double)pictures : 0;
    for (int64_t n = 0; n < pictures; n++) {
        const cvr_yolo_objects o = cvr_yolo_objects_of(a, n);
        const int64_t at = n * m.rows * m.columns;
        cvr_yolo_gradient(a->attrs, &m, m.x + at, &o, (const int32_t *)a->inputs[4]->data + n * m.rows, factor,
                          (float *)a->outputs[0]->data + at);
    }
    return CVR_OK;
}

/* A few operations for each number. */
static double flops(const cvr_infer_args *a) {
    return 8.0 * (double)cvr_numel(4, a->inputs[0]->shape);
}

/* ---- descriptors ---- */

static const cvr_counts_trait padded = {sizeof(cvr_counts_trait), 1u << 1 | 1u << 2, 0};
CVR_DEFINE_TRAITS(boxes_traits, {CVR_TRAIT_PRECISION, &cvr_precision_none}, {CVR_TRAIT_ONNX, &yolo_boxes_onnx})
CVR_DEFINE_TRAITS(loss_traits, {CVR_TRAIT_PRECISION, &cvr_precision_none}, {CVR_TRAIT_COUNTS, &padded})
CVR_DEFINE_TRAITS(backward_traits, {CVR_TRAIT_PRECISION, &cvr_precision_first}, {CVR_TRAIT_COUNTS, &padded})

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "yolo_boxes",
            .version = 1,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 2,
            .n_attrs = COUNT(boxes_attrs),
            .attrs = boxes_attrs,
            .infer = boxes_infer,
            .flops = flops,
            .doc = "boxes and scores of what Darknet's [yolo] or [region] reads",
            .trait = boxes_traits},
     .reference = {sizeof(cvr_cpu_fn), boxes_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "yolo_loss",
            .version = 1,
            .min_inputs = 4,
            .max_inputs = 4,
            .n_outputs = 4,
            .n_attrs = COUNT(loss_attrs),
            .attrs = loss_attrs,
            .infer = loss_infer,
            .grad = loss_grad,
            .flops = flops,
            .doc = "losses of boxes, objectness and classes of Darknet's [yolo] (Redmon and Farhadi, 2018)",
            .trait = loss_traits},
     .reference = {sizeof(cvr_cpu_fn), loss_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "yolo_loss_backward",
            .version = 1,
            .min_inputs = 8,
            .max_inputs = 8,
            .n_outputs = 1,
            .n_attrs = COUNT(loss_attrs),
            .attrs = loss_attrs,
            .optional = 1u << 5 | 1u << 6 | 1u << 7,
            .infer = backward_infer,
            .flops = flops,
            .doc = "the gradient of yolo_loss",
            .trait = backward_traits},
     .reference = {sizeof(cvr_cpu_fn), backward_run}},
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return cvr_add_reference_ops(r, ops, COUNT(ops), err);
}

CVR_DEFINE_PLUGIN("layer_yolo", "0.1.0", "", load)
