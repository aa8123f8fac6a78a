/* How Darknet's boxes are written in ONNX: cells and anchors are constants. Words and formulas as in ops/yolo.h. */
#include "yolo_family.h"

#include <cvr/plugin/formats/onnx.h>
#include <cvr/plugin/ops/yolo.h>

/* x as (N,h,w,A,5+K) */
typedef struct yolo_map {
    cvr_onnx_value x;
    cvr_onnx_dim pictures;
    int64_t height, width, anchors, columns;
} yolo_map;

static int32_t spread(const cvr_onnx *o, yolo_map *m, cvr_error *err) {
    static const int64_t perm[5] = {0, 3, 4, 1, 2};
    const cvr_type *t = o->type(o, o->inputs[0]);
    cvr_onnx_value split = 0;
    m->pictures = cvr_onnx_axis(o, o->inputs[0], 0);
    m->anchors = ((const cvr_yolo_attrs *)o->attrs)->n_anchors / 2;
    m->columns = t->shape[1] / m->anchors;
    m->height = t->shape[2];
    m->width = t->shape[3];
    const cvr_onnx_dim dims[5] = {m->pictures, cvr_onnx_size(m->anchors), cvr_onnx_size(m->columns),
                                  cvr_onnx_size(m->height), cvr_onnx_size(m->width)};
    m->x = 0;
    CVR_TRY(cvr_onnx_reshape(o, o->inputs[0], dims, 5, &split, err));
    return cvr_onnx_transpose(o, split, perm, 5, &m->x, err);
}

/* Numbers along one axis of (1,h,w,A,1). */
static int32_t along(const cvr_onnx *o, uint32_t axis, int64_t n, const float *numbers, cvr_onnx_value *out,
                     cvr_error *err) {
    int64_t shape[5] = {1, 1, 1, 1, 1};
    cvr_type t;
    shape[axis] = n;
    cvr_type_set(&t, CVR_F32, 5, shape);
    return o->constant(o, &t, numbers, out, err);
}

static int32_t maybe_sigmoid(const cvr_onnx *o, cvr_onnx_value x, cvr_onnx_value *out, cvr_error *err) {
    *out = x;
    if (((const cvr_yolo_attrs *)o->attrs)->new_coords) return CVR_OK;
    *out = 0;
    return cvr_onnx_emit1(o, "Sigmoid", x, out, err);
}

/* (cell + z * s(t) - (z - 1) / 2) / cells * side of the picture, along x (k = 0) or y */
static int32_t centre(const cvr_onnx *o, const yolo_map *m, int64_t k, cvr_onnx_value *out, cvr_error *err) {
    const cvr_yolo_attrs *a = o->attrs;
    const int64_t cells = k == 0 ? m->width : m->height;
    const double pixels = (double)a->size[1 - k] / (double)cells;
    float *first = o->host->alloc(o->host, (uint64_t)cells * sizeof *first, 64);
    cvr_onnx_value t = 0, inside, way = 0, from;
    if (!first) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (int64_t i = 0; i < cells; i++) first[i] = (float)(((double)i - (a->scale_x_y - 1) / 2) * pixels);
    const int32_t status = along(o, k == 0 ? 2 : 1, cells, first, &from, err);
    o->host->free(o->host, first);
    CVR_TRY(status);
    CVR_TRY(cvr_onnx_slice(o, m->x, 4, k, k + 1, 1, &t, err));
    CVR_TRY(maybe_sigmoid(o, t, &inside, err));
    CVR_TRY(cvr_onnx_with(o, "Mul", inside, a->scale_x_y * pixels, &way, err));
    *out = 0;
    return cvr_onnx_emit2(o, "Add", way, from, out, err);
}

/* Half of exp(t) * anchor, or of (2 t)^2 * anchor */
static int32_t half_side(const cvr_onnx *o, const yolo_map *m, int64_t k, cvr_onnx_value *out, cvr_error *err) {
    const cvr_yolo_attrs *a = o->attrs;
    float halves[CVR_YOLO_MOST_ANCHORS];
    cvr_onnx_value t = 0, growth = 0, sides;
    for (int64_t i = 0; i < m->anchors; i++) halves[i] = (float)(a->anchors[2 * i + k] * (a->new_coords ? 2 : 0.5));
    CVR_TRY(along(o, 3, m->anchors, halves, &sides, err));
    CVR_TRY(cvr_onnx_slice(o, m->x, 4, k + 2, k + 3, 1, &t, err));
    if (a->new_coords)
        CVR_TRY(cvr_onnx_emit2(o, "Mul", t, t, &growth, err));
    else
        CVR_TRY(cvr_onnx_emit1(o, "Exp", t, &growth, err));
    *out = 0;
    return cvr_onnx_emit2(o, "Mul", growth, sides, out, err);
}

static int32_t write_scores(const cvr_onnx *o, const yolo_map *m, cvr_error *err) {
    const cvr_onnx_attr last = cvr_onnx_int("axis", 4);
    cvr_onnx_value object = 0, sure, classes = 0, each, scores = 0, out = o->outputs[1];
    cvr_onnx_dim dims[CVR_MAX_RANK];
    CVR_TRY(cvr_onnx_slice(o, m->x, 4, 4, 5, 1, &object, err));
    CVR_TRY(maybe_sigmoid(o, object, &sure, err));
    CVR_TRY(cvr_onnx_slice(o, m->x, 4, 5, m->columns, 1, &classes, err));
    if (((const cvr_yolo_attrs *)o->attrs)->softmax) {
        each = 0;
        CVR_TRY(cvr_onnx_emit(o, "Softmax", &classes, 1, &last, 1, &each, err));
    } else {
        CVR_TRY(maybe_sigmoid(o, classes, &each, err));
    }
    CVR_TRY(cvr_onnx_emit2(o, "Mul", each, sure, &scores, err));
    return cvr_onnx_reshape(o, scores, dims, cvr_onnx_axes(o, out, dims), &out, err);
}

static int32_t write(const cvr_onnx *o, cvr_error *err) {
    const cvr_onnx_attr last = cvr_onnx_int("axis", 4);
    cvr_onnx_value ends[4] = {0}, boxes = 0, out = o->outputs[0];
    cvr_onnx_dim dims[CVR_MAX_RANK];
    yolo_map m;
    CVR_TRY(spread(o, &m, err));
    for (int64_t k = 0; k < 2; k++) {
        cvr_onnx_value middle, half;
        CVR_TRY(centre(o, &m, k, &middle, err));
        CVR_TRY(half_side(o, &m, k, &half, err));
        CVR_TRY(cvr_onnx_emit2(o, "Sub", middle, half, &ends[k], err));
        CVR_TRY(cvr_onnx_emit2(o, "Add", middle, half, &ends[k + 2], err));
    }
    CVR_TRY(cvr_onnx_emit(o, "Concat", ends, 4, &last, 1, &boxes, err));
    CVR_TRY(cvr_onnx_reshape(o, boxes, dims, cvr_onnx_axes(o, out, dims), &out, err));
    return write_scores(o, &m, err);
}

const cvr_onnx_trait yolo_boxes_onnx = {sizeof yolo_boxes_onnx, write};
