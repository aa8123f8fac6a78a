/* Boxes clipped to their pictures: torchvision.ops.clip_boxes_to_image, each picture with its own size. */
#include "detect_family.h"

/* boxes (N,A,4*K), size (N,2): height, width -> the same */
static int32_t clip_infer(const cvr_infer_args *a, cvr_error *err) {
    static const int64_t any[3] = {-1, -1, -1};
    const cvr_type *boxes = a->inputs[0];
    CVR_TRY(detect_check("clip_boxes", a, 0, CVR_F32, 3, any, err));
    const int64_t size[2] = {boxes->shape[0], 2};
    if (boxes->shape[2] % 4)
        return cvr_fail(err, CVR_ERR_INVALID, "clip_boxes: the boxes are %s; the last axis is no multiple of 4",
                        cvr_shape_of(boxes).text);
    cvr_type_set(a->outputs[0], CVR_F32, 3, boxes->shape);
    return detect_check("clip_boxes", a, 1, CVR_F32, 2, size, err);
}

/* min(max(x, 0), side); NaN stays. */
static int32_t clip_run(const cvr_kernel_args *a, cvr_error *err) {
    const float *box = a->inputs[0]->data, *size = a->inputs[1]->data;
    const int64_t *shape = a->inputs[0]->shape, row = shape[1] * shape[2];
    float *out = a->outputs[0]->data;
    (void)err;
    for (int64_t i = 0; i < shape[0] * row; i++) {
        const float side = size[i / row * 2 + (i % 2 == 0)], x = box[i] < 0 ? 0 : box[i];
        out[i] = x > side ? side : x;
    }
    return CVR_OK;
}

static double clip_flops(const cvr_infer_args *a) {
    return 2.0 * (double)cvr_numel(3, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "clip_boxes",
            .version = 1,
            .trait = detect_clip_traits,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .infer = clip_infer,
            .flops = clip_flops,
            .doc = "boxes clipped to their pictures"},
     .reference = {sizeof(cvr_cpu_fn), clip_run},
     .inplace = 1},
};

const detect_family detect_clip_boxes = DETECT_FAMILY(ops);
