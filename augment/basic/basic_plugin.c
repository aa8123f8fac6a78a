/*
 * The transforms of sizes and types, as one plugin.
 */
#include "../transforms.h"

static const cvr_augment_desc *const transforms[] = {&transform_resize, &transform_center_crop, &transform_pad,
                                                     &transform_to_tensor, &transform_normalize};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    int32_t status = CVR_OK;
    (void)host;
    for (size_t i = 0; i < sizeof transforms / sizeof transforms[0] && status == CVR_OK; i++) {
        status = r->add(r, CVR_KIND_AUGMENT, transforms[i], err);
    }
    return status;
}

CVR_DEFINE_PLUGIN("augment_basic", "0.1.0", "", load)
