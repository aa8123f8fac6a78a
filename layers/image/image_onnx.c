/* How pixels are normalised in ONNX: one product and one sum a pixel. */
#include "image_family.h"

#include <cvr/plugin/formats/onnx.h>
#include <cvr/plugin/ops/image.h>

/* y = x / (255 * std) - mean / std, with (1,C,1,1) of each */
static int32_t write_normalize(const cvr_onnx *o, cvr_error *err) {
    const cvr_normalize_pixels_attrs *a = o->attrs;
    const int64_t shape[4] = {1, o->type(o, o->inputs[0])->shape[1], 1, 1};
    cvr_onnx_value out = o->outputs[0], x = 0, scale, shift, scaled = 0;
    float factors[4], terms[4];
    cvr_type t;
    for (int64_t c = 0; c < shape[1] && c < 4; c++) {
        factors[c] = (float)(1 / (255 * a->std[c]));
        terms[c] = (float)(-a->mean[c] / a->std[c]);
    }
    cvr_type_set(&t, CVR_F32, 4, shape);
    CVR_TRY(cvr_onnx_cast(o, o->inputs[0], CVR_ONNX_TYPE_F32, &x, err));
    CVR_TRY(o->constant(o, &t, factors, &scale, err));
    CVR_TRY(o->constant(o, &t, terms, &shift, err));
    CVR_TRY(cvr_onnx_emit2(o, "Mul", x, scale, &scaled, err));
    return cvr_onnx_emit2(o, "Add", scaled, shift, &out, err);
}

CVR_ONNX_TRAITS(image_normalize_traits, write_normalize, cvr_onnx_alone)
