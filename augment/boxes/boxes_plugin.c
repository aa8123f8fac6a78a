/*
 * The transforms for pictures with objects, as one plugin.
 */
#include "../transforms.h"

static const cvr_augment_desc *const transforms[] = {
    &transform_random_iou_crop,      &transform_random_zoom_out,    &transform_random_shortest_size,
    &transform_fixed_size_crop,      &transform_simple_copy_paste,  &transform_sanitize_bounding_boxes,
    &transform_clamp_bounding_boxes, &transform_letterbox,          &transform_mosaic,
    &transform_mixup_boxes,          &transform_random_jitter_crop,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    for (size_t i = 0; i < sizeof transforms / sizeof transforms[0]; i++)
        CVR_TRY(r->add(r, CVR_KIND_AUGMENT, transforms[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("augment_boxes", "0.1.0", "", load)
