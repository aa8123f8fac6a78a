/* SSD's default boxes (Liu et al., "SSD: Single Shot MultiBox Detector", 2016), as torchvision's DefaultBoxGenerator
 * lays them. */
#include "detect_family.h"

#define MOST_CELLS ((int64_t)1 << 40)

static const cvr_attr_desc *const default_attrs[] = {
    CVR_ATTR(FLOAT, "scale", NULL, "side of the square box, a share of the picture", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOAT, "next_scale", NULL, "scale of the next map", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOATS, "ratios", "2", "width / height, each with its inverse", .count = CVR_ANCHOR_MOST,
             CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(INT, "step", "0", "pixels from cell to cell; 0: the map decides", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(BOOL, "clip", "yes", "sides are at most the picture's"),
};

/* image (N,C,H,W), map (N,c,h,w) -> (h*w*(2+2R),4) */
static int32_t default_infer(const cvr_infer_args *a, cvr_error *err) {
    static const int64_t any[4] = {-1, -1, -1, -1};
    const cvr_default_boxes_attrs *attrs = a->attrs;
    const cvr_type *map = a->inputs[1];
    CVR_TRY(detect_check("default_boxes", a, 0, a->inputs[0]->dtype, 4, any, err));
    CVR_TRY(detect_check("default_boxes", a, 1, map->dtype, 4, any, err));
    for (int64_t i = 0; i < attrs->n_ratios; i++)
        if (!(attrs->ratios[i] > 0)) return cvr_fail(err, CVR_ERR_INVALID, "default_boxes: ratios must be above 0");
    const int64_t cells = map->shape[2] * map->shape[3];
    if (cells < 1 || cells > MOST_CELLS)
        return cvr_fail(err, CVR_ERR_INVALID, "default_boxes: the map is %s", cvr_shape_of(map).text);
    const int64_t shape[2] = {cells * (2 + 2 * attrs->n_ratios), 4};
    cvr_type_set(a->outputs[0], CVR_F32, 2, shape);
    return CVR_OK;
}

static int32_t default_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_default_boxes_attrs *attrs = a->attrs;
    const int64_t *image = a->inputs[0]->shape, *map = a->inputs[1]->shape;
    const float height = (float)image[2], width = (float)image[3];
    const float fy = cvr_default_cells(attrs->step, image[2], map[2]);
    const float fx = cvr_default_cells(attrs->step, image[3], map[3]);
    float side[CVR_DEFAULT_MOST][2], *out = a->outputs[0]->data;
    const int64_t per_cell = cvr_default_sides(attrs, side);
    (void)err;
    for (int64_t i = 0; i < map[2] * map[3]; i++) {
        const float x = ((float)(i % map[3]) + 0.5f) / fx, y = ((float)(i / map[3]) + 0.5f) / fy;
        for (int64_t k = 0; k < per_cell; k++, out += 4) {
            out[0] = (x - 0.5f * side[k][0]) * width;
            out[1] = (y - 0.5f * side[k][1]) * height;
            out[2] = (x + 0.5f * side[k][0]) * width;
            out[3] = (y + 0.5f * side[k][1]) * height;
        }
    }
    return CVR_OK;
}

static int32_t default_write(const cvr_onnx *o, cvr_error *err) {
    return detect_write_constant(o, default_run, err);
}

static const cvr_onnx_trait default_onnx = {sizeof default_onnx, default_write};
CVR_DEFINE_TRAITS(default_traits, {CVR_TRAIT_ONNX, &default_onnx}, {CVR_TRAIT_AXES, &detect_map_axes},
                  {CVR_TRAIT_PRECISION, &cvr_precision_none})

static double default_flops(const cvr_infer_args *a) {
    return 3.0 * (double)cvr_numel(2, a->outputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "default_boxes",
            .version = 1,
            .trait = default_traits,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 5,
            .attrs = default_attrs,
            .infer = default_infer,
            .flops = default_flops,
            .doc = "SSD's boxes at each cell of a map (Liu et al., 2016)"},
     .reference = {sizeof(cvr_cpu_fn), default_run},
     .flags = CVR_KERNEL_BF16},
};

const detect_family detect_default_boxes = DETECT_FAMILY(ops);
