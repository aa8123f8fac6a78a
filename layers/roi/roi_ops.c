/*
 * The plugin "layer_roi": what a region of interest looks like on feature maps, or on the mask of its object (He et
 * al., "Mask R-CNN", 2017; torchvision.ops.roi_align and MultiScaleRoIAlign). Formulas in ops/detect.h.
 */
#include "roi_family.h"
#include <cvr/plugin/ops/check.h>

#define MOST_SIDE 1024 /* bins of one axis */

static const cvr_attr_desc output_size_attr =
    CVR_ATTR_INIT(INT, "output_size", NULL, "bins: height, width", .count = 2, CVR_ATTR_BETWEEN(1, MOST_SIDE));
static const cvr_attr_desc sampling_attr =
    CVR_ATTR_INIT(INT, "sampling_ratio", "2", "samples of a bin along each axis; less than 1: one a pixel",
                  CVR_ATTR_BETWEEN(-1, 256));
static const cvr_attr_desc aligned_attr =
    CVR_ATTR_INIT(BOOL, "aligned", "no", "a pixel's centre is at .5: half a pixel less");
static const cvr_attr_desc scales_attr = CVR_ATTR_INIT(
    FLOATS, "scales", NULL, "size of each map over the picture's, the finest first", .count = CVR_ROI_MOST_MAPS);
static const cvr_attr_desc *const align_attrs[] = {&output_size_attr, &sampling_attr, &aligned_attr, &scales_attr};
static const cvr_attr_desc *const backward_attrs[] = {
    &output_size_attr,
    &sampling_attr,
    &aligned_attr,
    &scales_attr,
    CVR_ATTR(INT, "level", "0", "which of the maps", CVR_ATTR_BETWEEN(0, CVR_ROI_MOST_MAPS - 1)),
    CVR_ATTR(INT, "size", NULL, "height, width of the map", .count = 2, CVR_ATTR_AT_LEAST(1)),
};
static const cvr_attr_desc *const mask_attrs[] = {
    CVR_ATTR(INT, "size", "28", "bins of each axis", CVR_ATTR_BETWEEN(1, MOST_SIDE)),
};

static int32_t check_scales(const cvr_roi_align_attrs *attrs, int64_t n, cvr_error *err) {
    if (attrs->n_scales != n)
        return cvr_fail(err, CVR_ERR_INVALID, "roi_align: %lld scales for %lld maps; give one for each",
                        (long long)attrs->n_scales, (long long)n);
    for (int64_t i = 0; i < n; i++)
        if (!(attrs->scales[i] > 0 && attrs->scales[i] < 1e6) || (i && attrs->scales[i] > attrs->scales[i - 1]))
            return cvr_fail(err, CVR_ERR_INVALID, "roi_align: scales are above 0, the largest first");
    return CVR_OK;
}

/* rois (N,R,4) f32, and count (N) i32 where it is there */
static int32_t check_rois(const char *op, const cvr_type *rois, const cvr_type *count, cvr_error *err) {
    if (rois->dtype != CVR_F32 || rois->rank != 3 || rois->shape[2] != 4)
        return cvr_fail(err, CVR_ERR_INVALID, "%s: the rois are %s %s; they must be f32, (N,R,4)", op,
                        cvr_dtype_name(rois->dtype), cvr_shape_of(rois).text);
    if (count && (count->dtype != CVR_I32 || count->rank != 1 || count->shape[0] != rois->shape[0]))
        return cvr_fail(err, CVR_ERR_INVALID, "%s: the count is %s %s; it must be i32, (N) with N %lld", op,
                        cvr_dtype_name(count->dtype), cvr_shape_of(count).text, (long long)rois->shape[0]);
    return CVR_OK;
}

static int32_t align_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_roi_align_attrs *attrs = a->attrs;
    const cvr_type *rois = a->inputs[0], *first = a->inputs[2];
    CVR_TRY(check_rois("roi_align", rois, a->inputs[1], err));
    CVR_TRY(check_scales(attrs, (int64_t)a->n_inputs - 2, err));
    for (uint32_t i = 2; i < a->n_inputs; i++) {
        const cvr_type *map = a->inputs[i];
        if (map->dtype != CVR_F32 || map->rank != 4 || map->shape[0] != rois->shape[0] ||
            map->shape[1] != first->shape[1] || map->shape[2] > INT32_MAX || map->shape[3] > INT32_MAX)
            return cvr_fail(err, CVR_ERR_INVALID,
                            "roi_align: map %u is %s %s; it must be f32, (N,C,h,w), with N %lld as the rois and the C "
                            "of the first map",
                            i - 2, cvr_dtype_name(map->dtype), cvr_shape_of(map).text, (long long)rois->shape[0]);
    }
    const int64_t shape[4] = {rois->shape[0] * rois->shape[1], first->shape[1], attrs->output_size[0],
                              attrs->output_size[1]};
    cvr_type_set(a->outputs[0], CVR_F32, 4, shape);
    return CVR_OK;
}

/* grad, rois, [count] */
static int32_t align_backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_roi_align_backward_attrs *attrs = a->attrs;
    const cvr_type *grad = a->inputs[0], *rois = a->inputs[1];
    CVR_TRY(check_rois("roi_align_backward", rois, a->n_inputs > 2 ? a->inputs[2] : NULL, err));
    CVR_TRY(check_scales(&attrs->forward, attrs->forward.n_scales, err));
    if (attrs->level >= attrs->forward.n_scales)
        return cvr_fail(err, CVR_ERR_INVALID, "roi_align_backward: level %lld of %lld", (long long)attrs->level,
                        (long long)attrs->forward.n_scales);
    if (grad->dtype != CVR_F32 || grad->rank != 4 || grad->shape[0] != rois->shape[0] * rois->shape[1] ||
        grad->shape[2] != attrs->forward.output_size[0] || grad->shape[3] != attrs->forward.output_size[1])
        return cvr_fail(err, CVR_ERR_INVALID,
                        "roi_align_backward: the gradient is %s %s; it must have the shape of roi_align's output",
                        cvr_dtype_name(grad->dtype), cvr_shape_of(grad).text);
    const int64_t shape[4] = {rois->shape[0], grad->shape[1], attrs->size[0], attrs->size[1]};
    cvr_type_set(a->outputs[0], CVR_F32, 4, shape);
    return CVR_OK;
}

static int32_t align_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value in[3] = {a->grad_outputs[0], a->inputs[0], a->inputs[1]};
    if (a->grad_outputs[0] == CVR_NONE) return CVR_OK;
    for (uint32_t i = 2; i < a->n_inputs; i++) {
        const cvr_type *map = b->type(b, a->inputs[i]);
        if (!a->needs[i]) continue;
        const cvr_roi_align_backward_attrs attrs = {
            *(const cvr_roi_align_attrs *)a->attrs, i - 2, {map->shape[2], map->shape[3]}};
        CVR_TRY(cvr_emit(b, "roi_align_backward", &attrs, sizeof attrs, in, 3, &a->grad_inputs[i], err));
    }
    return CVR_OK;
}

/* masks (N,M,H,W) u8, rois (N,R,4), match (N,R) i32 */
static int32_t mask_targets_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_mask_targets_attrs *attrs = a->attrs;
    const cvr_type *masks = a->inputs[0], *rois = a->inputs[1], *match = a->inputs[2];
    CVR_TRY(check_rois("mask_targets", rois, NULL, err));
    if (masks->dtype != CVR_U8 || masks->rank != 4 || masks->shape[0] != rois->shape[0] ||
        masks->shape[2] > INT32_MAX || masks->shape[3] > INT32_MAX)
        return cvr_fail(err, CVR_ERR_INVALID, "mask_targets: the masks are %s %s; they must be u8, (N,M,H,W)",
                        cvr_dtype_name(masks->dtype), cvr_shape_of(masks).text);
    if (match->dtype != CVR_I32 || match->rank != 2 || match->shape[0] != rois->shape[0] ||
        match->shape[1] != rois->shape[1])
        return cvr_fail(err, CVR_ERR_INVALID, "mask_targets: the match is %s %s; it must be i32, (N,R) as the rois",
                        cvr_dtype_name(match->dtype), cvr_shape_of(match).text);
    const int64_t shape[3] = {rois->shape[0], rois->shape[1], attrs->size * attrs->size};
    cvr_type_set(a->outputs[0], CVR_F32, 3, shape);
    return CVR_OK;
}

/* A sample is 4 products and 4 sums. */
static double align_flops(const cvr_infer_args *a) {
    const cvr_roi_align_attrs *attrs = a->attrs;
    const double side = attrs->sampling_ratio > 0 ? (double)attrs->sampling_ratio : 2;
    return 8 * side * side * (double)cvr_numel(4, a->outputs[0]->shape);
}

/* As much for each roi of the level. That they spread evenly over the maps is a guess. */
static double backward_flops(const cvr_infer_args *a) {
    const cvr_roi_align_backward_attrs *attrs = a->attrs;
    const double side = attrs->forward.sampling_ratio > 0 ? (double)attrs->forward.sampling_ratio : 2;
    return 8 * side * side * (double)cvr_numel(4, a->inputs[0]->shape) / (double)attrs->forward.n_scales;
}

static double mask_flops(const cvr_infer_args *a) {
    return 8 * (double)cvr_numel(3, a->outputs[0]->shape);
}

static const cvr_counts_trait masks_padded = {sizeof masks_padded, 1, 0};
CVR_DEFINE_TRAITS(mask_traits, {CVR_TRAIT_COUNTS, &masks_padded})

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "roi_align",
            .version = 1,
            .min_inputs = 3,
            .max_inputs = 2 + CVR_ROI_MOST_MAPS,
            .n_outputs = 1,
            .n_attrs = sizeof align_attrs / sizeof *align_attrs,
            .attrs = align_attrs,
            .optional = 2,
            .infer = align_infer,
            .grad = align_grad,
            .flops = align_flops,
            .doc = "rois of feature maps, each bin the mean of interpolated samples (He et al., 2017)",
            .trait = roi_align_traits},
     .reference = {sizeof(cvr_cpu_fn), roi_align_run},
     .workspace = roi_align_workspace},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "roi_align_backward",
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 3,
            .n_outputs = 1,
            .n_attrs = sizeof backward_attrs / sizeof *backward_attrs,
            .attrs = backward_attrs,
            .optional = 4,
            .infer = align_backward_infer,
            .flops = backward_flops,
            .doc = "the gradient of roi_align for one of its maps",
            .trait = cvr_traits_mixed},
     .reference = {sizeof(cvr_cpu_fn), roi_align_backward_run},
     .workspace = roi_align_backward_workspace},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "mask_targets",
            .version = 1,
            .min_inputs = 3,
            .max_inputs = 3,
            .n_outputs = 1,
            .n_attrs = sizeof mask_attrs / sizeof *mask_attrs,
            .attrs = mask_attrs,
            .infer = mask_targets_infer,
            .flops = mask_flops,
            .doc = "each roi's piece of the mask of its object",
            .trait = mask_traits},
     .reference = {sizeof(cvr_cpu_fn), roi_mask_targets_run},
     .workspace = roi_mask_targets_workspace},
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return cvr_add_reference_ops(r, ops, sizeof ops / sizeof *ops, err);
}

CVR_DEFINE_PLUGIN("layer_roi", "0.1.0", "", load)
