/*
 * The policies, as one plugin.
 */
#include "../transforms.h"

static const cvr_augment_desc *const transforms[] = {&transform_trivial_augment_wide, &transform_rand_augment,
                                                     &transform_auto_augment, &transform_aug_mix};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    for (size_t i = 0; i < sizeof transforms / sizeof transforms[0]; i++)
        CVR_TRY(r->add(r, CVR_KIND_AUGMENT, transforms[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("augment_auto", "0.1.0", "", load)
