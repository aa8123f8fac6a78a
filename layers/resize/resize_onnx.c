/* How upsample is written in ONNX: Resize, whose modes have torch.nn.functional.interpolate's formulas. */
#include "resize_family.h"

#include <cvr/plugin/formats/onnx.h>

/* (4) f32: factors of the axes; `out` stays 0 where sizes say more exactly what comes out. */
static int32_t emit_scales(const cvr_onnx *o, cvr_onnx_value *out, cvr_error *err) {
    const cvr_upsample_attrs *a = o->attrs;
    const cvr_type *x = o->type(o, o->inputs[0]);
    const int64_t n = 4;
    float scales[4] = {1, 1, 1, 1};
    cvr_type t;
    for (int i = 0; i < 2; i++) {
        if (a->scale_factor[i] > 0)
            scales[2 + i] = (float)a->scale_factor[i];
        else if (a->size[i] % x->shape[2 + i] == 0)
            scales[2 + i] = (float)(a->size[i] / x->shape[2 + i]);
        else
            return CVR_OK;
        if ((int64_t)(scales[2 + i] * (float)x->shape[2 + i]) != a->size[i]) return CVR_OK;
    }
    cvr_type_set(&t, CVR_F32, 1, &n);
    return o->constant(o, &t, scales, out, err);
}

/* x, roi (absent), scales, sizes: one of the two */
static int32_t write_upsample(const cvr_onnx *o, cvr_error *err) {
    const cvr_upsample_attrs *a = o->attrs;
    const int32_t linear = a->mode == CVR_UPSAMPLE_BILINEAR;
    const char *where = !linear ? "asymmetric" : a->align_corners ? "align_corners" : "half_pixel";
    const cvr_onnx_attr attrs[3] = {cvr_onnx_string("coordinate_transformation_mode", where),
                                    cvr_onnx_string("mode", linear ? "linear" : "nearest"),
                                    cvr_onnx_string("nearest_mode", "floor")};
    cvr_onnx_dim dims[CVR_MAX_RANK];
    cvr_onnx_value in[4] = {o->inputs[0], 0, 0, 0}, out = o->outputs[0];
    CVR_TRY(emit_scales(o, &in[2], err));
    if (!in[2]) CVR_TRY(cvr_onnx_shape(o, dims, cvr_onnx_axes(o, out, dims), &in[3], err));
    return cvr_onnx_emit(o, "Resize", in, in[2] ? 3 : 4, attrs, linear ? 2 : 3, &out, err);
}

/* What lies between pixels needs no scale of its own. */
static const void *on_integers(const char *name) {
    static const cvr_int8_trait int8 = {
        .struct_size = sizeof int8, .op = "upsample_int8", .activations = 1, .flags = CVR_INT8_SAME};
    return strcmp(name, CVR_TRAIT_INT8) == 0 ? &int8 : cvr_traits_mixed(name);
}

CVR_ONNX_AXES_TRAITS(resize_traits, write_upsample, cvr_axes_channels, on_integers)
