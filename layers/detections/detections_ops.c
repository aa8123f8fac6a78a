/* From what a detector's heads say to its results (ops/detections.h), with the reference kernels: "layer_detections".
 */
#include "detections_family.h"

#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/detections.h>
#include <cvr/plugin/ops/reference.h>
#include <math.h>

static const cvr_attr_desc *const split_attrs[] = {
    CVR_ATTR(INT, "columns", NULL, "numbers of a row", CVR_ATTR_PLACE_AT_LEAST(1))};

static int32_t check_index(const char *op, const cvr_type *t, cvr_error *err) {
    if (t->dtype == CVR_I32 && t->rank == 2) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: an index is %s of %s; it must be (N, B) of i32", op,
                    cvr_shape_of(t).text, cvr_dtype_name(t->dtype));
}

/* ---- split_index ---- */

static int32_t split_infer(const cvr_infer_args *a, cvr_error *err) {
    *a->outputs[0] = *a->outputs[1] = *a->inputs[0];
    return check_index("split_index", a->inputs[0], err);
}

static int32_t split_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const int64_t columns = ((const cvr_split_index_attrs *)a->attrs)->columns;
    const cvr_tensor *index = a->inputs[0];
    const int32_t *at = index->data;
    int32_t *row = a->outputs[0]->data, *column = a->outputs[1]->data;
    for (int64_t i = 0; i < cvr_numel(index->rank, index->shape); i++) {
        row[i] = at[i] < 0 ? -1 : (int32_t)(at[i] / columns);
        column[i] = at[i] < 0 ? -1 : (int32_t)(at[i] % columns);
    }
    return CVR_OK;
}

/* ---- pick_labels ---- */

static int32_t pick_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *group = a->inputs[0], *index = a->n_inputs > 1 && a->inputs[1] ? a->inputs[1] : group;
    cvr_type_set(a->outputs[0], CVR_I64, 2, index->shape);
    CVR_TRY(check_index("pick_labels", group, err));
    CVR_TRY(check_index("pick_labels", index, err));
    if (group->shape[0] == index->shape[0]) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "pick_labels: groups of %lld pictures, an index of %lld",
                    (long long)group->shape[0], (long long)index->shape[0]);
}

static int32_t pick_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *group = a->inputs[0], *index = a->n_inputs > 1 ? a->inputs[1] : NULL;
    const int64_t rows = group->shape[1], each = a->outputs[0]->shape[1];
    int64_t *label = a->outputs[0]->data;
    for (int64_t i = 0; i < a->outputs[0]->shape[0] * each; i++) {
        const int64_t at = index ? ((const int32_t *)index->data)[i] : i % each;
        if (at >= rows)
            return cvr_fail(err, CVR_ERR_INVALID, "pick_labels: row %lld of %lld", (long long)at, (long long)rows);
        const int64_t found = at < 0 ? -1 : ((const int32_t *)group->data)[i / each * rows + at];
        label[i] = found < 0 ? -1 : found;
    }
    return CVR_OK;
}

/* ---- joint_score ---- */

static int32_t joint_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0], *y = a->inputs[1];
    *a->outputs[0] = *x;
    if (x->dtype == CVR_F32 && y->dtype == CVR_F32 && x->rank == 3 && y->rank == 3 && x->shape[0] == y->shape[0] &&
        x->shape[1] == y->shape[1] && y->shape[2] == 1)
        return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "joint_score: %s and %s; it takes (N, A, K) and (N, A, 1) of f32",
                    cvr_shape_of(x).text, cvr_shape_of(y).text);
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static int32_t joint_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_tensor *x = a->inputs[0];
    const float *class_ = x->data, *other = a->inputs[1]->data;
    float *score = a->outputs[0]->data;
    const int64_t columns = x->shape[2], rows = x->shape[0] * x->shape[1];
    for (int64_t r = 0; r < rows; r++) {
        const double factor = sigmoid(other[r]);
        for (int64_t i = r * columns; i < (r + 1) * columns; i++) score[i] = (float)sqrt(sigmoid(class_[i]) * factor);
    }
    return CVR_OK;
}

/* ---- best_class ---- */

static int32_t best_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0], *y = a->inputs[1];
    cvr_type_set(a->outputs[0], CVR_F32, 2, x->shape);
    cvr_type_set(a->outputs[1], CVR_I32, 2, x->shape);
    if (x->dtype == CVR_F32 && y->dtype == CVR_F32 && x->rank == 3 && y->rank == 3 && x->shape[0] == y->shape[0] &&
        x->shape[1] == y->shape[1] && x->shape[2] >= 1 && x->shape[2] <= INT32_MAX && y->shape[2] == 1)
        return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "best_class: %s and %s; it takes (N, A, K) and (N, A, 1) of f32",
                    cvr_shape_of(x).text, cvr_shape_of(y).text);
}

static int32_t best_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_tensor *x = a->inputs[0];
    const float *other = a->inputs[1]->data;
    const int64_t columns = x->shape[2];
    for (int64_t r = 0; r < x->shape[0] * x->shape[1]; r++) {
        const float *row = (const float *)x->data + r * columns;
        const int32_t best = cvr_best_column(row, columns);
        ((int32_t *)a->outputs[1]->data)[r] = best;
        ((float *)a->outputs[0]->data)[r] = (float)(sigmoid(row[best]) * sigmoid(other[r]));
    }
    return CVR_OK;
}

static double best_flops(const cvr_infer_args *a) {
    return (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static double joint_flops(const cvr_infer_args *a) {
    return 6.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "split_index",
            .trait = detections_split_traits,
            .version = 1,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 2,
            .n_attrs = 1,
            .attrs = split_attrs,
            .infer = split_infer,
            .doc = "row and column of a place in rows of `columns` numbers"},
     .reference = {sizeof(cvr_cpu_fn), split_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "pick_labels",
            .trait = detections_pick_traits,
            .version = 1,
            .min_inputs = 1,
            .max_inputs = 2,
            .n_outputs = 1,
            .optional = 1u << 1,
            .infer = pick_infer,
            .doc = "classes of the rows that an index names, as i64; -1 where it names none"},
     .reference = {sizeof(cvr_cpu_fn), pick_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "joint_score",
            .trait = detections_joint_traits,
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .infer = joint_infer,
            .flops = joint_flops,
            .doc = "sqrt(sigmoid(x) * sigmoid(y)), y one number a row (FCOS)"},
     .reference = {sizeof(cvr_cpu_fn), joint_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "best_class",
            .trait = detections_best_traits,
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 2,
            .infer = best_infer,
            .flops = best_flops,
            .doc = "sigmoid(y) times the largest sigmoid(x) of a row, and which that is (YOLO)"},
     .reference = {sizeof(cvr_cpu_fn), best_run}},
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return cvr_add_reference_ops(r, ops, sizeof ops / sizeof *ops, err);
}

CVR_DEFINE_PLUGIN("layer_detections", "0.1.0", "", load)
