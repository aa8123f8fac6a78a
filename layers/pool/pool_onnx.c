/*
 * How pools are written in ONNX. Where ceil_mode makes a window more, the file says so by padding at the end: ONNX's
 * own ceil_mode keeps a last window that lies in the padding alone, and counts otherwise.
 */
#include "pool_family.h"

#include <cvr/plugin/formats/onnx.h>

/* pads (top, left, bottom, right) by which windows over x make y; `more` gets what they are over `padding` at the end.
 */
static void find_pads(const cvr_onnx *o, const int64_t *kernel, const int64_t *stride, const int64_t *padding,
                      const int64_t *dilation, int64_t pads[4], int64_t more[2]) {
    const cvr_type *x = o->type(o, o->inputs[0]), *y = o->type(o, o->outputs[0]);
    for (int i = 0; i < 2; i++) {
        const int64_t reach = (y->shape[2 + i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1;
        const int64_t over = reach - x->shape[2 + i] - 2 * padding[i];
        more[i] = over > 0 ? over : 0;
        pads[i] = padding[i];
        pads[2 + i] = padding[i] + more[i];
    }
}

/* The index of the winners is for gradients alone. */
static int32_t write_max(const cvr_onnx *o, cvr_error *err) {
    const cvr_max_pool2d_attrs *a = o->attrs;
    int64_t pads[4], more[2];
    find_pads(o, a->kernel_size, a->stride, a->padding, a->dilation, pads, more);
    const cvr_onnx_attr attrs[4] = {cvr_onnx_ints("dilations", a->dilation, 2),
                                    cvr_onnx_ints("kernel_shape", a->kernel_size, 2), cvr_onnx_ints("pads", pads, 4),
                                    cvr_onnx_ints("strides", a->stride, 2)};
    return cvr_onnx_op(o, "MaxPool", attrs, 4, err);
}

static int32_t emit_average(const cvr_onnx *o, cvr_onnx_value x, const int64_t *kernel, const int64_t *stride,
                            const int64_t pads[4], int64_t count_pads, cvr_onnx_value *out, cvr_error *err) {
    const cvr_onnx_attr attrs[4] = {cvr_onnx_int("count_include_pad", count_pads),
                                    cvr_onnx_ints("kernel_shape", kernel, 2), cvr_onnx_ints("pads", pads, 4),
                                    cvr_onnx_ints("strides", stride, 2)};
    return cvr_onnx_emit(o, "AveragePool", &x, 1, attrs, 4, out, err);
}

/* x with zeros around it */
static int32_t emit_padded(const cvr_onnx *o, const int64_t padding[2], cvr_onnx_value *out, cvr_error *err) {
    const int64_t pads[8] = {0, 0, padding[0], padding[1], 0, 0, padding[0], padding[1]};
    cvr_onnx_value in[2] = {o->inputs[0], 0};
    CVR_TRY(cvr_onnx_i64s(o, pads, 8, &in[1], err));
    return cvr_onnx_emit(o, "Pad", in, 2, NULL, 0, out, err);
}

static int32_t write_average(const cvr_onnx *o, cvr_error *err) {
    static const int64_t one[2] = {1, 1};
    const cvr_avg_pool2d_attrs *a = o->attrs;
    cvr_onnx_value x = o->inputs[0], out = o->outputs[0], mean = 0;
    int64_t pads[4], more[2];
    find_pads(o, a->kernel_size, a->stride, a->padding, one, pads, more);
    if (a->divisor_override) { /* the whole window's mean, times its size: its sum */
        const double size = (double)a->kernel_size[0] * (double)a->kernel_size[1];
        CVR_TRY(emit_average(o, x, a->kernel_size, a->stride, pads, 1, &mean, err));
        return cvr_onnx_with(o, "Mul", mean, size / (double)a->divisor_override, &out, err);
    }
    const int64_t beyond[4] = {0, 0, more[0], more[1]};
    const int32_t apart = a->count_include_pad && (more[0] || more[1]); /* padding counts, what lies past it does not */
    if (!apart) return emit_average(o, x, a->kernel_size, a->stride, pads, a->count_include_pad, &out, err);
    x = 0;
    CVR_TRY(emit_padded(o, a->padding, &x, err));
    return emit_average(o, x, a->kernel_size, a->stride, beyond, 0, &out, err);
}

/* (to, from), or with `transposed` (from, to): row p has 1 / n where x's n elements p * from / to up to
 * ceil((p + 1) * from / to) are averaged. */
static int32_t emit_matrix(const cvr_onnx *o, int64_t to, int64_t from, int transposed, cvr_onnx_value *out,
                           cvr_error *err) {
    const int64_t shape[2] = {transposed ? from : to, transposed ? to : from};
    float *m = o->host->alloc(o->host, (uint64_t)(to * from) * sizeof *m, 64);
    cvr_type t;
    if (!m) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (int64_t p = 0; p < to; p++) {
        const int64_t first = p * from / to, end = ((p + 1) * from + to - 1) / to;
        for (int64_t i = 0; i < from; i++)
            m[transposed ? i * to + p : p * from + i] = i >= first && i < end ? 1.0f / (float)(end - first) : 0;
    }
    cvr_type_set(&t, CVR_F32, 2, shape);
    const int32_t status = o->constant(o, &t, m, out, err);
    o->host->free(o->host, m);
    return status;
}

static int32_t write_adaptive(const cvr_onnx *o, cvr_error *err) {
    static const int64_t none[4];
    const int64_t *size = ((const cvr_adaptive_avg_pool2d_attrs *)o->attrs)->size;
    const int64_t *in = &o->type(o, o->inputs[0])->shape[2], window[2] = {in[0] / size[0], in[1] / size[1]};
    cvr_onnx_value out = o->outputs[0], rows, columns, half = 0;
    if (size[0] == 1 && size[1] == 1) return cvr_onnx_op(o, "GlobalAveragePool", NULL, 0, err);
    if (in[0] % size[0] == 0 && in[1] % size[1] == 0)
        return emit_average(o, o->inputs[0], window, window, none, 0, &out, err);
    CVR_TRY(emit_matrix(o, size[0], in[0], 0, &rows, err));
    CVR_TRY(emit_matrix(o, size[1], in[1], 1, &columns, err));
    CVR_TRY(cvr_onnx_emit2(o, "MatMul", rows, o->inputs[0], &half, err));
    return cvr_onnx_emit2(o, "MatMul", half, columns, &out, err);
}

static const void *max_on_integers(const char *name) {
    static const cvr_int8_trait int8 = {
        .struct_size = sizeof int8, .op = "max_pool2d_int8", .activations = 1, .flags = CVR_INT8_SAME};
    return strcmp(name, CVR_TRAIT_INT8) == 0 ? &int8 : cvr_traits_mixed_recompute(name);
}

static const void *average_on_integers(const char *name) {
    static const cvr_int8_trait int8 = {.struct_size = sizeof int8, .op = "avg_pool2d_int8", .activations = 1};
    return strcmp(name, CVR_TRAIT_INT8) == 0 ? &int8 : cvr_traits_mixed_recompute(name);
}

static const void *adaptive_on_integers(const char *name) {
    static const cvr_int8_trait int8 = {.struct_size = sizeof int8, .op = "adaptive_avg_pool2d_int8", .activations = 1};
    return strcmp(name, CVR_TRAIT_INT8) == 0 ? &int8 : cvr_traits_mixed_recompute(name);
}

/* y, and where each of its elements came from */
static void tie_max(const cvr_axes *a) {
    cvr_axes_tie_channels(a);
    cvr_axes_tie(a, 0, 1, CVR_AXES_OUTPUT + 1, 1);
}
static const cvr_axes_trait max_axes = {sizeof max_axes, tie_max, NULL, 0};

CVR_ONNX_AXES_TRAITS(pool_max_traits, write_max, max_axes, max_on_integers)
CVR_ONNX_AXES_TRAITS(pool_avg_traits, write_average, cvr_axes_channels, average_on_integers)
CVR_ONNX_AXES_TRAITS(pool_adaptive_traits, write_adaptive, cvr_axes_channels, adaptive_on_integers)
