/*
 * The transforms of colour, as one plugin.
 */
#include "../transforms.h"

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    static const cvr_augment_desc *const transforms[] = {&transform_color_jitter, &transform_random_photometric_distort,
                                                         &transform_grayscale,    &transform_gaussian_blur,
                                                         &transform_random_hsv,   &transform_random_hsv_scale};
    (void)host;
    for (size_t i = 0; i < sizeof transforms / sizeof transforms[0]; i++)
        CVR_TRY(r->add(r, CVR_KIND_AUGMENT, transforms[i], err));
    for (size_t i = 0; i < RANDOM_COLOURS; i++) CVR_TRY(r->add(r, CVR_KIND_AUGMENT, &transform_random_colour[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("augment_colour", "0.1.0", "", load)
