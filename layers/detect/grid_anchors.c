/* Anchors on a grid (Ren et al., "Faster R-CNN", 2015), as torchvision's AnchorGenerator lays them. */
#include "detect_family.h"

#define MOST_CELLS ((int64_t)1 << 40)

static const cvr_attr_desc *const grid_attrs[] = {
    CVR_ATTR(FLOATS, "sizes", NULL, "side of the square that has an anchor's area, in pixels", .count = CVR_ANCHOR_MOST,
             CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOATS, "ratios", "1", "height / width", .count = CVR_ANCHOR_MOST, CVR_ATTR_AT_LEAST(0)),
};

/* image (N,C,H,W), map (N,c,h,w) -> (h*w*S*R,4) */
static int32_t grid_infer(const cvr_infer_args *a, cvr_error *err) {
    static const int64_t any[4] = {-1, -1, -1, -1};
    const cvr_grid_anchors_attrs *attrs = a->attrs;
    const cvr_type *map = a->inputs[1];
    CVR_TRY(detect_check("grid_anchors", a, 0, a->inputs[0]->dtype, 4, any, err));
    CVR_TRY(detect_check("grid_anchors", a, 1, map->dtype, 4, any, err));
    if (attrs->n_sizes < 1 || attrs->n_ratios < 1)
        return cvr_fail(err, CVR_ERR_INVALID, "grid_anchors: it needs a size and a ratio");
    for (int64_t i = 0; i < attrs->n_sizes; i++)
        if (!(attrs->sizes[i] > 0)) return cvr_fail(err, CVR_ERR_INVALID, "grid_anchors: sizes must be above 0");
    for (int64_t i = 0; i < attrs->n_ratios; i++)
        if (!(attrs->ratios[i] > 0)) return cvr_fail(err, CVR_ERR_INVALID, "grid_anchors: ratios must be above 0");
    const int64_t cells = map->shape[2] * map->shape[3];
    if (cells < 1 || cells > MOST_CELLS)
        return cvr_fail(err, CVR_ERR_INVALID, "grid_anchors: the map is %s", cvr_shape_of(map).text);
    const int64_t shape[2] = {cells * attrs->n_sizes * attrs->n_ratios, 4};
    cvr_type_set(a->outputs[0], CVR_F32, 2, shape);
    return CVR_OK;
}

static int32_t grid_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_grid_anchors_attrs *attrs = a->attrs;
    const int64_t *image = a->inputs[0]->shape, *map = a->inputs[1]->shape;
    const int64_t per_cell = attrs->n_sizes * attrs->n_ratios, down = image[2] / map[2], right = image[3] / map[3];
    float cell[CVR_ANCHOR_MOST * CVR_ANCHOR_MOST * 4], *out = a->outputs[0]->data;
    (void)err;
    cvr_cell_anchors(attrs, cell);
    for (int64_t y = 0; y < map[2]; y++)
        for (int64_t x = 0; x < map[3]; x++)
            for (int64_t k = 0; k < per_cell; k++, out += 4) {
                out[0] = (float)(x * right) + cell[4 * k];
                out[1] = (float)(y * down) + cell[4 * k + 1];
                out[2] = (float)(x * right) + cell[4 * k + 2];
                out[3] = (float)(y * down) + cell[4 * k + 3];
            }
    return CVR_OK;
}

static int32_t grid_write(const cvr_onnx *o, cvr_error *err) {
    return detect_write_constant(o, grid_run, err);
}

static const cvr_onnx_trait grid_onnx = {sizeof grid_onnx, grid_write};
CVR_DEFINE_TRAITS(grid_traits, {CVR_TRAIT_ONNX, &grid_onnx}, {CVR_TRAIT_AXES, &detect_map_axes},
                  {CVR_TRAIT_PRECISION, &cvr_precision_none})

static double grid_flops(const cvr_infer_args *a) {
    return (double)cvr_numel(2, a->outputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "grid_anchors",
            .version = 1,
            .trait = grid_traits,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 2,
            .attrs = grid_attrs,
            .infer = grid_infer,
            .flops = grid_flops,
            .doc = "anchors of every size and ratio at each cell of a map (Ren et al., 2015)"},
     .reference = {sizeof(cvr_cpu_fn), grid_run},
     .flags = CVR_KERNEL_BF16},
};

const detect_family detect_grid_anchors = DETECT_FAMILY(ops);
