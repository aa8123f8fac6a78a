/* What a network reads of pictures, made on its device: the plugin "layer_image". Formulas in ops/image.h. */
#include "image_family.h"

#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/image.h>
#include <cvr/plugin/ops/reference.h>

static const cvr_attr_desc *const normalize_attrs[] = {
    CVR_ATTR(FLOAT, "mean", NULL, "mean of each channel, in 0..1", .count = 4),
    CVR_ATTR(FLOAT, "std", NULL, "standard deviation of each channel", .count = 4),
};

static int32_t normalize_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0];
    if (x->dtype != CVR_U8 || x->rank != 4 || x->shape[1] > 4)
        return cvr_fail(err, CVR_ERR_INVALID, "normalize_pixels: the input is %s; it must be u8, (N,C,H,W), C <= 4",
                        cvr_shape_of(x).text);
    cvr_type_set(a->outputs[0], CVR_F32, 4, x->shape);
    return CVR_OK;
}

static int32_t normalize_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_normalize_pixels_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0];
    const uint8_t *from = x->data;
    float *to = a->outputs[0]->data;
    (void)err;
    for (int64_t i = 0; i < cvr_numel(x->rank, x->shape); i++) {
        const int64_t c = i % x->shape[1];
        to[i] = ((float)from[i] / 255.0f - (float)attrs->mean[c]) / (float)attrs->std[c];
    }
    return CVR_OK;
}

static int32_t mix_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0], *params = a->inputs[1];
    if (x->dtype != CVR_F32 || x->rank != 4)
        return cvr_fail(err, CVR_ERR_INVALID, "batch_mix: the input is %s; it must be f32, (N,C,H,W)",
                        cvr_shape_of(x).text);
    if (params->dtype != CVR_F32 || params->rank != 1 || params->shape[0] != 6)
        return cvr_fail(err, CVR_ERR_INVALID, "batch_mix: the numbers are %s; they must be f32, (6)",
                        cvr_shape_of(params).text);
    *a->outputs[0] = *x;
    return CVR_OK;
}

static int32_t mix_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    const int64_t n = x->shape[0], channels = x->shape[1], height = x->shape[2], width = x->shape[3];
    const cvr_batch_mix m = cvr_batch_mix_of(a->inputs[1]->data, height, width);
    const float *from = x->data;
    float *to = a->outputs[0]->data;
    (void)err;
    for (int64_t i = 0; i < n * height * width * channels; i++) {
        const int64_t column = i / channels % width, row = i / channels / width % height;
        const int64_t picture = i / channels / width / height, p = (picture + n - 1) % n - picture;
        const float other = from[i + p * height * width * channels];
        const int inside = row >= m.top && row < m.bottom && column >= m.left && column < m.right;
        to[i] = from[i];
        if (m.mode == CVR_BATCH_MIX_MIXUP) {
            const float own = from[i] * m.own, more = other * m.other;
            to[i] = more + own;
        } else if (m.mode == CVR_BATCH_MIX_CUTMIX && inside) {
            to[i] = other;
        }
    }
    return CVR_OK;
}

static double flops(const cvr_infer_args *a) {
    return 3.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "normalize_pixels",
            .trait = image_normalize_traits,
            .version = 1,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 2,
            .attrs = normalize_attrs,
            .infer = normalize_infer,
            .flops = flops,
            .doc = "(x / 255 - mean) / std, channel by channel, of u8"},
     .reference = {sizeof(cvr_cpu_fn), normalize_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "batch_mix",
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .infer = mix_infer,
            .flops = flops,
            .doc = "pictures mixed with the one before each in the batch: mixup and cutmix"},
     .reference = {sizeof(cvr_cpu_fn), mix_run}},
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return cvr_add_reference_ops(r, ops, sizeof ops / sizeof *ops, err);
}

CVR_DEFINE_PLUGIN("layer_image", "0.1.0", "", load)
