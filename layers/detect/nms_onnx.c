/*
 * How nms is written in ONNX. Boxes of each group are moved apart, as torchvision's batched_nms does it for few boxes,
 * and NonMaxSuppression looks at all of them as one class. With CVR_NMS_LOOP each group is a class of its own. What is
 * kept, a list over the batch, is brought back into rows of one length.
 */
#include "detect_family.h"

#include <cvr/plugin/formats/onnx.h>

#define NOWHERE (-1e30) /* a score below all that count */

/* Moved apart, boxes lose digits: one that is as large as a thousand pictures, which nothing forbids in a network that
 * decodes without a bound, leaves none to the others. Rows must name their groups for this, or there would be a score
 * for each row in each class of each row. */
static int32_t by_class(const cvr_onnx *o) {
    return ((const cvr_nms_attrs *)o->attrs)->method == CVR_NMS_LOOP && o->n_inputs > 2 && o->inputs[2];
}

static int32_t both(const cvr_onnx *o, cvr_onnx_value *test, cvr_onnx_value more, cvr_error *err) {
    const cvr_onnx_value before = *test;
    *test = 0;
    return cvr_onnx_emit2(o, "And", before, more, test, err);
}

/* A number of each box: (N,P) */
static int32_t column(const cvr_onnx *o, int64_t k, cvr_onnx_value *out, cvr_error *err) {
    const cvr_onnx_attr axis = cvr_onnx_int("axis", 2);
    cvr_onnx_value in[2] = {o->inputs[0], 0};
    CVR_TRY(cvr_onnx_number(o, CVR_I64, (double)k, &in[1], err));
    *out = 0;
    return cvr_onnx_emit(o, "Gather", in, 2, &axis, 1, out, err);
}

/* `test`, and the box's side along an axis is not too small */
static int32_t large_enough(const cvr_onnx *o, int64_t axis, cvr_onnx_value *test, cvr_error *err) {
    cvr_onnx_value from, to, side = 0, more = 0;
    CVR_TRY(column(o, axis, &from, err));
    CVR_TRY(column(o, axis + 2, &to, err));
    CVR_TRY(cvr_onnx_emit2(o, "Sub", to, from, &side, err));
    CVR_TRY(cvr_onnx_with(o, "GreaterOrEqual", side, ((const cvr_nms_attrs *)o->attrs)->min_size, &more, err));
    return both(o, test, more, err);
}

/* 0, 1, ..., n - 1, or modulo `groups`, (1,n) of `dtype` */
static int32_t counting(const cvr_onnx *o, int64_t n, int64_t groups, uint32_t dtype, cvr_onnx_value *out,
                        cvr_error *err) {
    const int64_t shape[2] = {1, n};
    cvr_type t;
    float *numbers = o->host->alloc(o->host, (uint64_t)n * sizeof *numbers, 64);
    if (!numbers) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++) {
        const int32_t whole = (int32_t)(groups ? i % groups : i);
        if (dtype == CVR_F32)
            numbers[i] = (float)whole;
        else
            memcpy(&numbers[i], &whole, sizeof whole);
    }
    cvr_type_set(&t, dtype, 2, shape);
    const int32_t status = o->constant(o, &t, numbers, out, err);
    o->host->free(o->host, numbers);
    return status;
}

/* Which rows are looked at: (N,P) bool */
static int32_t candidates(const cvr_onnx *o, cvr_onnx_value groups, cvr_onnx_value *out, cvr_error *err) {
    const cvr_nms_attrs *a = o->attrs;
    const int64_t rows = o->type(o, o->inputs[1])->shape[1];
    cvr_onnx_value more = 0;
    *out = 0;
    CVR_TRY(cvr_onnx_with(o, a->inclusive ? "GreaterOrEqual" : "Greater", o->inputs[1], a->score_threshold, out, err));
    for (int64_t axis = 0; axis < 2; axis++) CVR_TRY(large_enough(o, axis, out, err));
    if (o->n_inputs > 3 && o->inputs[3]) { /* rows before `valid` (N) */
        cvr_onnx_value place, valid = 0;
        CVR_TRY(counting(o, rows, 0, CVR_I32, &place, err));
        CVR_TRY(cvr_onnx_squeeze(o, "Unsqueeze", o->inputs[3], 1, &valid, err));
        CVR_TRY(cvr_onnx_emit2(o, "Less", place, valid, &more, err));
        CVR_TRY(both(o, out, more, err));
    }
    if (a->background && a->n_groups && !(o->n_inputs > 2 && o->inputs[2])) {
        cvr_onnx_value object = 0;
        CVR_TRY(cvr_onnx_with(o, "Greater", groups, 0, &object, err));
        CVR_TRY(both(o, out, object, err));
    }
    return CVR_OK;
}

/* (N,P) or (1,P) f32, 0 where all are one group: *out is then 0 */
static int32_t groups_of(const cvr_onnx *o, cvr_onnx_value *out, cvr_error *err) {
    const cvr_nms_attrs *a = o->attrs;
    *out = 0;
    if (o->n_inputs > 2 && o->inputs[2]) return cvr_onnx_cast(o, o->inputs[2], CVR_ONNX_TYPE_F32, out, err);
    return a->n_groups ? counting(o, o->type(o, o->inputs[1])->shape[1], a->n_groups, CVR_F32, out, err) : CVR_OK;
}

/* boxes + group * (largest coordinate of the candidates + 1): (N,P,4) */
static int32_t move_apart(const cvr_onnx *o, cvr_onnx_value groups, cvr_onnx_value test, cvr_onnx_value *out,
                          cvr_error *err) {
    static const int64_t axes[2] = {1, 2};
    cvr_onnx_value tests = 0, zero, seen = 0, most = 0, step = 0, rows = 0, by = 0;
    *out = o->inputs[0];
    if (!groups || by_class(o)) return CVR_OK;
    *out = 0;
    CVR_TRY(cvr_onnx_squeeze(o, "Unsqueeze", test, 2, &tests, err));
    CVR_TRY(cvr_onnx_f32(o, 0, &zero, err));
    CVR_TRY(cvr_onnx_emit3(o, "Where", tests, o->inputs[0], zero, &seen, err));
    CVR_TRY(cvr_onnx_reduce(o, "ReduceMax", 18, seen, axes, 2, 1, &most, err));
    CVR_TRY(cvr_onnx_with(o, "Add", most, 1, &step, err));
    CVR_TRY(cvr_onnx_squeeze(o, "Unsqueeze", groups, 2, &rows, err));
    CVR_TRY(cvr_onnx_emit2(o, "Mul", rows, step, &by, err));
    return cvr_onnx_emit2(o, "Add", o->inputs[0], by, out, err);
}

/* 0, 1, ..., the largest group: (G,1) i32 */
static int32_t number_groups(const cvr_onnx *o, cvr_onnx_value *out, cvr_error *err) {
    static const int64_t axes[2] = {0, 1};
    cvr_onnx_value most = 0, some = 0, end = 0, zero, one, range[3], numbers = 0;
    CVR_TRY(cvr_onnx_number(o, CVR_I32, 0, &zero, err));
    CVR_TRY(cvr_onnx_number(o, CVR_I32, 1, &one, err));
    CVR_TRY(cvr_onnx_reduce(o, "ReduceMax", 18, o->inputs[2], axes, 2, 0, &most, err));
    CVR_TRY(cvr_onnx_emit2(o, "Max", most, zero, &some, err));
    CVR_TRY(cvr_onnx_emit2(o, "Add", some, one, &end, err));
    range[0] = zero;
    range[1] = end;
    range[2] = one;
    CVR_TRY(cvr_onnx_emit(o, "Range", range, 3, NULL, 0, &numbers, err));
    return cvr_onnx_squeeze(o, "Unsqueeze", numbers, 1, out, err);
}

/* Scores with a row for each class: (N,1,P), or (N,G,P), NOWHERE in all but the row's own group */
static int32_t classes_of(const cvr_onnx *o, cvr_onnx_value scores, cvr_onnx_value *out, cvr_error *err) {
    cvr_onnx_value numbers = 0, groups = 0, test = 0, rows = 0, low;
    if (!by_class(o)) return cvr_onnx_squeeze(o, "Unsqueeze", scores, 1, out, err);
    CVR_TRY(number_groups(o, &numbers, err));
    CVR_TRY(cvr_onnx_squeeze(o, "Unsqueeze", o->inputs[2], 1, &groups, err));
    CVR_TRY(cvr_onnx_emit2(o, "Equal", groups, numbers, &test, err));
    CVR_TRY(cvr_onnx_squeeze(o, "Unsqueeze", scores, 1, &rows, err));
    CVR_TRY(cvr_onnx_f32(o, NOWHERE, &low, err));
    return cvr_onnx_emit3(o, "Where", test, rows, low, out, err);
}

/* What is kept, as (M,2) i64: picture, row */
static int32_t suppress(const cvr_onnx *o, cvr_onnx_value boxes, cvr_onnx_value scores, cvr_onnx_value *out,
                        cvr_error *err) {
    static const int64_t picture_and_row[2] = {0, 2};
    const cvr_nms_attrs *a = o->attrs;
    const cvr_onnx_attr axis = cvr_onnx_int("axis", 1);
    const int64_t one = 1;
    cvr_onnx_value in[5] = {boxes, 0, 0, 0, 0}, kept[2] = {0, 0};
    const float iou = (float)a->iou_threshold, from = (float)NOWHERE;
    cvr_type t;
    CVR_TRY(classes_of(o, scores, &in[1], err));
    CVR_TRY(cvr_onnx_i64(o, a->max_out, &in[2], err));
    cvr_type_set(&t, CVR_F32, 1, &one);
    CVR_TRY(o->constant(o, &t, &iou, &in[3], err));
    CVR_TRY(o->constant(o, &t, &from, &in[4], err));
    CVR_TRY(cvr_onnx_emit(o, "NonMaxSuppression", in, 5, NULL, 0, &kept[0], err));
    CVR_TRY(cvr_onnx_i64s(o, picture_and_row, 2, &kept[1], err));
    return cvr_onnx_emit(o, "Gather", kept, 2, &axis, 1, out, err);
}

/* Scores of what is kept, NOWHERE elsewhere: (N,P) */
static int32_t scatter(const cvr_onnx *o, cvr_onnx_value places, cvr_onnx_value scores, cvr_onnx_value *out,
                       cvr_error *err) {
    cvr_onnx_value shape = 0, low, empty = 0, kept = 0;
    cvr_onnx_dim dims[CVR_MAX_RANK];
    CVR_TRY(cvr_onnx_shape(o, dims, cvr_onnx_axes(o, o->inputs[1], dims), &shape, err));
    CVR_TRY(cvr_onnx_f32(o, NOWHERE, &low, err));
    CVR_TRY(cvr_onnx_emit2(o, "Expand", low, shape, &empty, err));
    CVR_TRY(cvr_onnx_emit2(o, "GatherND", scores, places, &kept, err));
    return cvr_onnx_emit3(o, "ScatterND", empty, places, kept, out, err);
}

/* The best max_out of them in falling order: index (N,max_out), -1 past the last; count (N) */
static int32_t put_best(const cvr_onnx *o, cvr_onnx_value kept, cvr_error *err) {
    const cvr_nms_attrs *a = o->attrs;
    const cvr_onnx_attr by_row = cvr_onnx_int("axis", 1);
    const int64_t axis = 1;
    cvr_onnx_value in[2] = {kept, 0}, best[2] = {0, 0}, test = 0, place = 0, none, ones = 0, index = o->outputs[0],
                   count = o->outputs[1];
    CVR_TRY(cvr_onnx_i64(o, a->max_out, &in[1], err));
    const cvr_onnx_node n = {.struct_size = sizeof n,
                             .type = "TopK",
                             .inputs = in,
                             .outputs = best,
                             .attrs = &by_row,
                             .n_inputs = 2,
                             .n_outputs = 2,
                             .n_attrs = 1};
    CVR_TRY(o->node(o, &n, err));
    CVR_TRY(cvr_onnx_with(o, "Greater", best[0], NOWHERE, &test, err));
    CVR_TRY(cvr_onnx_cast(o, best[1], CVR_ONNX_TYPE_I32, &place, err));
    CVR_TRY(cvr_onnx_number(o, CVR_I32, -1, &none, err));
    CVR_TRY(cvr_onnx_emit3(o, "Where", test, place, none, &index, err));
    CVR_TRY(cvr_onnx_cast(o, test, CVR_ONNX_TYPE_I32, &ones, err));
    return cvr_onnx_reduce(o, "ReduceSum", 13, ones, &axis, 1, 0, &count, err);
}

static int32_t write(const cvr_onnx *o, cvr_error *err) {
    cvr_onnx_value groups, test, boxes, low, scores = 0, places = 0, kept = 0;
    CVR_TRY(groups_of(o, &groups, err));
    CVR_TRY(candidates(o, groups, &test, err));
    CVR_TRY(move_apart(o, groups, test, &boxes, err));
    CVR_TRY(cvr_onnx_f32(o, NOWHERE, &low, err));
    CVR_TRY(cvr_onnx_emit3(o, "Where", test, o->inputs[1], low, &scores, err));
    CVR_TRY(suppress(o, boxes, scores, &places, err));
    CVR_TRY(scatter(o, places, scores, &kept, err));
    return put_best(o, kept, err);
}

CVR_ONNX_TRAITS(detect_nms_traits, write, cvr_traits_mixed_f32)
