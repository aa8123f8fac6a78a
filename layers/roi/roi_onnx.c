/* How roi_align is written in ONNX: RoiAlign of every map, of which each roi takes that of its level. */
#include "roi_family.h"

#include <cvr/plugin/formats/onnx.h>
#include <math.h>

/* rois (N,R,4) as (N*R,4) */
typedef struct rois {
    cvr_onnx_value boxes, picture; /* picture (N*R) i64: whose roi it is */
    cvr_onnx_value counts;         /* (N,R): 1, as many as there are */
} rois;

/* A sum of ones down the pictures counts them, whatever their number. */
static int32_t number_pictures(const cvr_onnx *o, rois *r, cvr_error *err) {
    const cvr_onnx_dim each[2] = {cvr_onnx_axis(o, o->inputs[0], 0), cvr_onnx_axis(o, o->inputs[0], 1)},
                       all = {each[0].size * each[1].size, each[0].per_picture * each[1].size};
    cvr_onnx_value one, zero, shape = 0, sum[2] = {0, 0}, numbers = 0, less = 0;
    CVR_TRY(cvr_onnx_number(o, CVR_I64, 1, &one, err));
    CVR_TRY(cvr_onnx_number(o, CVR_I64, 0, &zero, err));
    CVR_TRY(cvr_onnx_shape(o, each, 2, &shape, err));
    CVR_TRY(cvr_onnx_emit2(o, "Expand", one, shape, &r->counts, err));
    sum[0] = r->counts;
    sum[1] = zero;
    CVR_TRY(cvr_onnx_emit(o, "CumSum", sum, 2, NULL, 0, &numbers, err));
    CVR_TRY(cvr_onnx_emit2(o, "Sub", numbers, one, &less, err));
    return cvr_onnx_reshape(o, less, &all, 1, &r->picture, err);
}

static int32_t list_rois(const cvr_onnx *o, rois *r, cvr_error *err) {
    const cvr_onnx_dim rows = cvr_onnx_axis(o, o->outputs[0], 0), dims[2] = {rows, cvr_onnx_size(4)};
    memset(r, 0, sizeof *r);
    CVR_TRY(cvr_onnx_reshape(o, o->inputs[0], dims, 2, &r->boxes, err));
    return number_pictures(o, r, err);
}

static int32_t align(const cvr_onnx *o, const rois *r, uint32_t level, cvr_onnx_value *out, cvr_error *err) {
    const cvr_roi_align_attrs *a = o->attrs;
    const cvr_onnx_value in[3] = {o->inputs[2 + level], r->boxes, r->picture};
    const cvr_onnx_attr attrs[6] = {
        cvr_onnx_string("mode", "avg"),
        cvr_onnx_int("output_height", a->output_size[0]),
        cvr_onnx_int("output_width", a->output_size[1]),
        cvr_onnx_int("sampling_ratio", a->sampling_ratio < 1 ? 0 : a->sampling_ratio),
        cvr_onnx_float("spatial_scale", a->scales[level]),
        cvr_onnx_string("coordinate_transformation_mode", a->aligned ? "half_pixel" : "output_half_pixel")};
    if (o->opset < 16 && a->aligned)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "aligned rois need export.opset=16 or later");
    return cvr_onnx_emit(o, "RoiAlign", in, 3, attrs, o->opset < 16 ? 5 : 6, out, err);
}

/* x op a number */
static int32_t with(const cvr_onnx *o, const char *type, cvr_onnx_value *x, double number, cvr_error *err) {
    const cvr_onnx_value from = *x;
    *x = 0;
    return cvr_onnx_with(o, type, from, number, x, err);
}

static int32_t apply(const cvr_onnx *o, const char *type, cvr_onnx_value *x, cvr_error *err) {
    const cvr_onnx_value from = *x;
    *x = 0;
    return cvr_onnx_emit1(o, type, from, x, err);
}

/* floor(4 + log2(sqrt(area) / 224) + 1e-6), clamped, from 0: (N*R,1) */
static int32_t find_levels(const cvr_onnx *o, const rois *r, cvr_onnx_value *out, cvr_error *err) {
    const cvr_roi_align_attrs *a = o->attrs;
    const double least = -log2(a->scales[0]), most = -log2(a->scales[a->n_scales - 1]);
    cvr_onnx_value side[2] = {0, 0}, x = 0;
    for (int64_t k = 0; k < 2; k++) {
        cvr_onnx_value from = 0, to = 0;
        CVR_TRY(cvr_onnx_slice(o, r->boxes, 1, k, k + 1, 1, &from, err));
        CVR_TRY(cvr_onnx_slice(o, r->boxes, 1, k + 2, k + 3, 1, &to, err));
        CVR_TRY(cvr_onnx_emit2(o, "Sub", to, from, &side[k], err));
    }
    CVR_TRY(cvr_onnx_emit2(o, "Mul", side[0], side[1], &x, err));
    CVR_TRY(apply(o, "Sqrt", &x, err));
    CVR_TRY(with(o, "Div", &x, 224, err));
    CVR_TRY(apply(o, "Log", &x, err));
    CVR_TRY(with(o, "Div", &x, log(2), err));
    CVR_TRY(with(o, "Add", &x, 4 + 1e-6, err));
    CVR_TRY(apply(o, "Floor", &x, err));
    CVR_TRY(with(o, "Max", &x, least, err));
    CVR_TRY(with(o, "Min", &x, most, err));
    CVR_TRY(with(o, "Sub", &x, least, err));
    *out = x;
    return CVR_OK;
}

/* (N*R,1) as (N*R,1,1,1) */
static int32_t widen(const cvr_onnx *o, cvr_onnx_value x, cvr_onnx_value *out, cvr_error *err) {
    static const int64_t axes[2] = {2, 3};
    cvr_onnx_value in[2] = {x, 0};
    CVR_TRY(cvr_onnx_i64s(o, axes, 2, &in[1], err));
    return cvr_onnx_emit(o, "Unsqueeze", in, 2, NULL, 0, out, err);
}

/* Rois at and past `count` (N) are 0: a sum of ones along a picture's rois numbers them from 1. */
static int32_t put_counted(const cvr_onnx *o, const rois *r, cvr_onnx_value x, cvr_error *err) {
    const cvr_onnx_dim rows[2] = {cvr_onnx_axis(o, o->outputs[0], 0), cvr_onnx_size(1)};
    cvr_onnx_value along, sum[2], number = 0, wide = 0, count = 0, test = 0, flat = 0, tests = 0, zero,
                                  out = o->outputs[0];
    CVR_TRY(cvr_onnx_number(o, CVR_I64, 1, &along, err));
    sum[0] = r->counts;
    sum[1] = along;
    CVR_TRY(cvr_onnx_emit(o, "CumSum", sum, 2, NULL, 0, &number, err));
    CVR_TRY(cvr_onnx_cast(o, o->inputs[1], CVR_ONNX_TYPE_I64, &wide, err));
    CVR_TRY(cvr_onnx_squeeze(o, "Unsqueeze", wide, 1, &count, err));
    CVR_TRY(cvr_onnx_emit2(o, "LessOrEqual", number, count, &test, err));
    CVR_TRY(cvr_onnx_reshape(o, test, rows, 2, &flat, err));
    CVR_TRY(widen(o, flat, &tests, err));
    CVR_TRY(cvr_onnx_f32(o, 0, &zero, err));
    return cvr_onnx_emit3(o, "Where", tests, x, zero, &out, err);
}

static int32_t write(const cvr_onnx *o, cvr_error *err) {
    const cvr_roi_align_attrs *a = o->attrs;
    const int32_t counted = o->inputs[1] != 0;
    cvr_onnx_value levels = 0, x = 0, out = o->outputs[0];
    rois r;
    CVR_TRY(list_rois(o, &r, err));
    if (a->n_scales > 1) CVR_TRY(find_levels(o, &r, &levels, err));
    for (uint32_t i = 0; i < (uint32_t)a->n_scales; i++) {
        cvr_onnx_value aligned = 0, test = 0, tests = 0, chosen = 0;
        CVR_TRY(align(o, &r, i, &aligned, err));
        if (i > 0) {
            CVR_TRY(cvr_onnx_with(o, "Equal", levels, i, &test, err));
            CVR_TRY(widen(o, test, &tests, err));
            CVR_TRY(cvr_onnx_emit3(o, "Where", tests, aligned, x, &chosen, err));
        }
        x = i > 0 ? chosen : aligned;
    }
    return counted ? put_counted(o, &r, x, err) : cvr_onnx_emit1(o, "Identity", x, &out, err);
}

CVR_ONNX_AXES_TRAITS(roi_align_traits, write, cvr_axes_channels, cvr_traits_mixed)
