/* How the last steps of a detector are written in ONNX. Words and shapes as in ops/detections.h. */
#include "detections_family.h"

#include <cvr/plugin/formats/onnx.h>
#include <cvr/plugin/ops/detections.h>

/* yes where index >= 0, else -1 */
static int32_t unless_negative(const cvr_onnx *o, cvr_onnx_value index, cvr_onnx_value yes, cvr_onnx_value *out,
                               cvr_error *err) {
    cvr_onnx_value zero, none, test = 0;
    CVR_TRY(cvr_onnx_number(o, CVR_I32, 0, &zero, err));
    CVR_TRY(cvr_onnx_number(o, CVR_I32, -1, &none, err));
    CVR_TRY(cvr_onnx_emit2(o, "GreaterOrEqual", index, zero, &test, err));
    return cvr_onnx_emit3(o, "Where", test, yes, none, out, err);
}

static int32_t write_split(const cvr_onnx *o, cvr_error *err) {
    static const char *const types[2] = {"Div", "Mod"};
    cvr_onnx_value columns, out[2] = {o->outputs[0], o->outputs[1]};
    CVR_TRY(cvr_onnx_number(o, CVR_I32, (double)((const cvr_split_index_attrs *)o->attrs)->columns, &columns, err));
    for (int i = 0; i < 2; i++) {
        cvr_onnx_value part = 0;
        CVR_TRY(cvr_onnx_emit2(o, types[i], o->inputs[0], columns, &part, err));
        CVR_TRY(unless_negative(o, o->inputs[0], part, &out[i], err));
    }
    return CVR_OK;
}

static int32_t write_pick(const cvr_onnx *o, cvr_error *err) {
    const cvr_onnx_attr axis = cvr_onnx_int("axis", 1);
    cvr_onnx_value in[2] = {o->inputs[0], 0}, zero, picked = 0, label = 0, out = o->outputs[0];
    CVR_TRY(cvr_onnx_number(o, CVR_I32, 0, &zero, err));
    if (o->n_inputs < 2) {
        CVR_TRY(unless_negative(o, in[0], in[0], &label, err));
        return cvr_onnx_cast(o, label, CVR_ONNX_TYPE_I64, &out, err);
    }
    CVR_TRY(cvr_onnx_emit2(o, "Max", o->inputs[1], zero, &in[1], err));
    CVR_TRY(cvr_onnx_emit(o, "GatherElements", in, 2, &axis, 1, &picked, err));
    CVR_TRY(unless_negative(o, o->inputs[1], picked, &label, err));
    return cvr_onnx_cast(o, label, CVR_ONNX_TYPE_I64, &out, err);
}

/* sqrt(sigmoid(x) * sigmoid(y)) */
static int32_t write_joint(const cvr_onnx *o, cvr_error *err) {
    cvr_onnx_value x = 0, y = 0, product = 0, out = o->outputs[0];
    CVR_TRY(cvr_onnx_emit1(o, "Sigmoid", o->inputs[0], &x, err));
    CVR_TRY(cvr_onnx_emit1(o, "Sigmoid", o->inputs[1], &y, err));
    CVR_TRY(cvr_onnx_emit2(o, "Mul", x, y, &product, err));
    return cvr_onnx_emit1(o, "Sqrt", product, &out, err);
}

/* The largest sigmoid is the largest number's. */
static int32_t write_best(const cvr_onnx *o, cvr_error *err) {
    const cvr_onnx_attr arg[2] = {cvr_onnx_int("axis", 2), cvr_onnx_int("keepdims", 0)};
    const int64_t last = 2;
    cvr_onnx_value most = 0, sure = 0, object = 0, row = 0, place = 0, score = o->outputs[0], class_ = o->outputs[1];
    CVR_TRY(cvr_onnx_reduce(o, "ReduceMax", 18, o->inputs[0], &last, 1, 0, &most, err));
    CVR_TRY(cvr_onnx_emit1(o, "Sigmoid", most, &sure, err));
    CVR_TRY(cvr_onnx_squeeze(o, "Squeeze", o->inputs[1], 2, &row, err));
    CVR_TRY(cvr_onnx_emit1(o, "Sigmoid", row, &object, err));
    CVR_TRY(cvr_onnx_emit2(o, "Mul", sure, object, &score, err));
    CVR_TRY(cvr_onnx_emit(o, "ArgMax", o->inputs, 1, arg, 2, &place, err));
    return cvr_onnx_cast(o, place, CVR_ONNX_TYPE_I32, &class_, err);
}

CVR_ONNX_TRAITS(detections_split_traits, write_split, cvr_onnx_alone)
CVR_ONNX_TRAITS(detections_pick_traits, write_pick, cvr_onnx_alone)
CVR_ONNX_TRAITS(detections_joint_traits, write_joint, cvr_onnx_alone)
CVR_ONNX_TRAITS(detections_best_traits, write_best, cvr_onnx_alone)
