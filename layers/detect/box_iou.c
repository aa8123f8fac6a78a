/* Intersection over union of all pairs of boxes: torchvision.ops.box_iou. */
#include "detect_family.h"

/* a (N,A,4) or (A,4), b (N,M,4), [counts (N) i64] -> (N,A,M) */
static int32_t iou_infer(const cvr_infer_args *a, cvr_error *err) {
    static const int64_t many[3] = {-1, -1, 4};
    const cvr_type *b = a->inputs[1];
    CVR_TRY(detect_check("box_iou", a, 1, CVR_F32, 3, many, err));
    CVR_TRY(detect_check_anchors("box_iou", a, 0, b->shape[0], -1, err));
    if (detect_given(a, 2)) CVR_TRY(detect_check("box_iou", a, 2, CVR_I64, 1, b->shape, err));
    const int64_t shape[3] = {b->shape[0], a->inputs[0]->shape[a->inputs[0]->rank - 2], b->shape[1]};
    cvr_type_set(a->outputs[0], CVR_F32, 3, shape);
    return CVR_OK;
}

static int32_t iou_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t *shape = a->outputs[0]->shape;
    float *out = a->outputs[0]->data;
    for (int64_t n = 0; n < shape[0]; n++) {
        const float *first = detect_picture(a->inputs[0], n), *second = detect_picture(a->inputs[1], n);
        int64_t count;
        CVR_TRY(detect_count("box_iou", detect_optional(a, 2), n, shape[2], &count, err));
        for (int64_t i = 0; i < shape[1]; i++)
            for (int64_t k = 0; k < shape[2]; k++) {
                const float *p = first + 4 * i, *q = second + 4 * k;
                *out++ = k < count ? cvr_box_iou(p, cvr_box_area(p), q, cvr_box_area(q)) : 0;
            }
    }
    return CVR_OK;
}

static double iou_flops(const cvr_infer_args *a) {
    return 12.0 * (double)cvr_numel(3, a->outputs[0]->shape);
}

static const cvr_counts_trait iou_counts = {sizeof iou_counts, 1u << 1, 0};
CVR_DEFINE_TRAITS(iou_traits, {CVR_TRAIT_PRECISION, &cvr_precision_none}, {CVR_TRAIT_COUNTS, &iou_counts})

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "box_iou",
            .version = 1,
            .trait = iou_traits,
            .min_inputs = 2,
            .max_inputs = 3,
            .n_outputs = 1,
            .optional = 1u << 2,
            .infer = iou_infer,
            .flops = iou_flops,
            .doc = "intersection / union of all pairs of boxes"},
     .reference = {sizeof(cvr_cpu_fn), iou_run}},
};

const detect_family detect_box_iou = DETECT_FAMILY(ops);
