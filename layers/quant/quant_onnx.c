/* How quantize and dequantize are written in ONNX. Zero points are always written: a Gemm whose weight has none is not
 * computed in integers by ONNX Runtime. */
#include "quant_family.h"

#include <cvr/plugin/formats/onnx.h>
#include <cvr/plugin/trait.h>

/* n zero points of an element type, or one without an axis (n 0) */
static int32_t emit_zeros(const cvr_onnx *o, uint32_t dtype, int64_t zero, int64_t n, cvr_onnx_value *out,
                          cvr_error *err) {
    const uint64_t size = cvr_dtype_size(dtype), bytes = size * (uint64_t)(n ? n : 1);
    uint8_t *data = o->host->alloc(o->host, bytes, 64);
    cvr_type t;
    if (!data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(data, 0, bytes);
    if (size == 1) memset(data, (int)(uint8_t)zero, bytes);
    cvr_type_set(&t, dtype, n ? 1 : 0, &n);
    const int32_t status = o->constant(o, &t, data, out, err);
    o->host->free(o->host, data);
    return status;
}

static int32_t write_quantize(const cvr_onnx *o, cvr_error *err) {
    const cvr_quantize_attrs *a = o->attrs;
    cvr_onnx_value in[3] = {o->inputs[0], 0, 0}, out = o->outputs[0];
    CVR_TRY(cvr_onnx_f32(o, a->scale, &in[1], err));
    CVR_TRY(emit_zeros(o, (uint32_t)a->dtype, a->zero, 0, &in[2], err));
    return cvr_onnx_emit(o, "QuantizeLinear", in, 3, NULL, 0, &out, err);
}

static int32_t write_dequantize(const cvr_onnx *o, cvr_error *err) {
    const cvr_dequantize_attrs *a = o->attrs;
    const cvr_type *q = o->type(o, o->inputs[0]);
    const cvr_onnx_attr axis = cvr_onnx_int("axis", a->axis);
    cvr_onnx_value in[3] = {o->inputs[0], 0, 0}, out = o->outputs[0];
    const int rows = o->n_inputs > 1 && o->inputs[1] != 0;
    if (rows)
        in[1] = o->inputs[1];
    else
        CVR_TRY(cvr_onnx_f32(o, a->scale, &in[1], err));
    CVR_TRY(emit_zeros(o, q->dtype, a->zero, rows ? q->shape[a->axis] : 0, &in[2], err));
    return cvr_onnx_emit(o, "DequantizeLinear", in, 3, &axis, (uint32_t)rows, &out, err);
}

CVR_ONNX_TRAITS(quant_quantize_traits, write_quantize, cvr_traits_mixed_f32)
/* Of stored weights it is written as it stands, not as the numbers that it makes. */
CVR_ONNX_TRAITS(quant_dequantize_traits, write_dequantize, cvr_traits_stored)
