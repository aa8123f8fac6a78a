/* quantize and dequantize: between real numbers and integers with a scale. */
#include "quant_family.h"

static const cvr_attr_desc scale = CVR_ATTR_INIT(FLOAT, "scale", NULL, "what one step of the integer stands for",
                                                 CVR_ATTR_AT_LEAST(0)),
                           zero = CVR_ATTR_INIT(INT, "zero", "0", "the integer that stands for 0",
                                                CVR_ATTR_BETWEEN(-128, 255)),
                           dtype = CVR_ATTR_INIT(INT, "dtype", NULL, "CVR_U8 or CVR_I8");
static const cvr_attr_desc axis =
    CVR_ATTR_INIT(INT, "axis", "0", "of the input, that has a scale for each index", CVR_ATTR_BETWEEN(0, 1));
static const cvr_attr_desc *const quantize_attrs[] = {&scale, &zero, &dtype};
static const cvr_attr_desc *const dequantize_attrs[] = {&scale, &zero, &axis};

int32_t quant_check_scale(const char *what, double value, cvr_error *err) {
    const float f = (float)value;
    if (f > 0 && isfinite(f) && (double)f == value) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s=%.17g must be an f32 greater than 0", what, value);
}

static int64_t lowest_of(uint32_t type) {
    return type == CVR_U8 ? 0 : -128;
}

static int32_t check_zero(int64_t z, uint32_t type, cvr_error *err) {
    const int64_t lowest = type == CVR_I32 ? 0 : lowest_of(type), highest = type == CVR_I32 ? 0 : lowest + 255;
    if (z >= lowest && z <= highest) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "zero=%lld is no %s that may stand for 0", (long long)z,
                    cvr_dtype_name(type));
}

/* x f32 -> the same shape */
static int32_t quantize_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_quantize_attrs *attrs = a->attrs;
    if (a->inputs[0]->dtype != CVR_F32 || (attrs->dtype != CVR_U8 && attrs->dtype != CVR_I8))
        return cvr_fail(err, CVR_ERR_INVALID, "quantize: from f32 to u8 or i8 only");
    CVR_TRY(quant_check_scale("scale", attrs->scale, err));
    CVR_TRY(check_zero(attrs->zero, (uint32_t)attrs->dtype, err));
    *a->outputs[0] = *a->inputs[0];
    a->outputs[0]->dtype = (uint32_t)attrs->dtype;
    return CVR_OK;
}

/* q u8, i8 or i32, [scale f32 (rows)] -> the same shape; along axis 1 of four, whose elements are neighbours */
static int32_t dequantize_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_dequantize_attrs *attrs = a->attrs;
    const cvr_type *q = a->inputs[0], *rows = a->n_inputs > 1 ? a->inputs[1] : NULL;
    if (q->dtype != CVR_U8 && q->dtype != CVR_I8 && q->dtype != CVR_I32)
        return cvr_fail(err, CVR_ERR_INVALID, "dequantize: from u8, i8 or i32 only");
    if (attrs->axis != 0 && (attrs->axis != 1 || q->rank != 4))
        return cvr_fail(err, CVR_ERR_INVALID, "dequantize: axis=%lld; it is 0, or 1 of four axes",
                        (long long)attrs->axis);
    if (rows && (rows->dtype != CVR_F32 || rows->rank != 1 || q->rank < 1 || rows->shape[0] != q->shape[attrs->axis]))
        return cvr_fail(err, CVR_ERR_INVALID, "dequantize: the scale must be f32, one for each of the %lld rows",
                        (long long)q->shape[attrs->axis]);
    if (!rows) CVR_TRY(quant_check_scale("scale", attrs->scale, err));
    CVR_TRY(check_zero(attrs->zero, q->dtype, err));
    *a->outputs[0] = *q;
    a->outputs[0]->dtype = CVR_F32;
    return CVR_OK;
}

static int32_t quantize_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_quantize_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    const int64_t n = cvr_numel(x->rank, x->shape), lowest = lowest_of(y->dtype);
    (void)err;
    for (int64_t i = 0; i < n; i++)
        ((uint8_t *)y->data)[i] = (uint8_t)cvr_quantize_one(((const float *)x->data)[i], (float)attrs->scale,
                                                            attrs->zero, lowest, lowest + 255);
    return CVR_OK;
}

static int32_t integer_at(const cvr_tensor *q, int64_t i) {
    return q->dtype == CVR_U8   ? ((const uint8_t *)q->data)[i]
           : q->dtype == CVR_I8 ? ((const int8_t *)q->data)[i]
                                : ((const int32_t *)q->data)[i];
}

static int32_t dequantize_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_dequantize_attrs *attrs = a->attrs;
    const cvr_tensor *q = a->inputs[0], *rows = a->n_inputs > 1 ? a->inputs[1] : NULL;
    const int64_t n = cvr_numel(q->rank, q->shape), n_scales = rows ? rows->shape[0] : 1,
                  neighbours = attrs->axis || !n_scales ? 1 : n / n_scales; /* in memory, that share a scale */
    float *x = a->outputs[0]->data;
    (void)err;
    for (int64_t i = 0; i < n; i++) {
        const float s = rows ? ((const float *)rows->data)[i / neighbours % n_scales] : (float)attrs->scale;
        x[i] = (float)(integer_at(q, i) - (int32_t)attrs->zero) * s;
    }
    return CVR_OK;
}

double quant_count_elements(const cvr_infer_args *a) {
    return (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

const cvr_reference_op quant_ops[QUANT_OPS] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "quantize",
            .version = 1,
            .flags = CVR_OP_ORDER_AWARE,
            .trait = quant_quantize_traits,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 3,
            .attrs = quantize_attrs,
            .infer = quantize_infer,
            .flops = quant_count_elements,
            .doc = "q = clamp(rint(x / scale) + zero) (ONNX QuantizeLinear)"},
     .reference = {sizeof(cvr_cpu_fn), quantize_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "dequantize",
            .version = 1,
            .flags = CVR_OP_ORDER_AWARE,
            .trait = quant_dequantize_traits,
            .min_inputs = 1,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 3,
            .attrs = dequantize_attrs,
            .optional = 2,
            .infer = dequantize_infer,
            .flops = quant_count_elements,
            .doc = "x = (q - zero) * scale, or scale[row] (ONNX DequantizeLinear)"},
     .reference = {sizeof(cvr_cpu_fn), dequantize_run}},
};
