/*
 * The transforms of geometry, as one plugin.
 */
#include "../transforms.h"

static const cvr_augment_desc *const transforms[] = {&transform_random_horizontal_flip,
                                                     &transform_random_vertical_flip,
                                                     &transform_random_rotation,
                                                     &transform_random_resized_crop,
                                                     &transform_random_crop,
                                                     &transform_random_affine,
                                                     &transform_random_perspective,
                                                     &transform_elastic_transform,
                                                     &transform_random_resize,
                                                     &transform_scale_jitter};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    for (size_t i = 0; i < sizeof transforms / sizeof transforms[0]; i++)
        CVR_TRY(r->add(r, CVR_KIND_AUGMENT, transforms[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("augment_geometry", "0.1.0", "", load)
