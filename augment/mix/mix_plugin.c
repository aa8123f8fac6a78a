/*
 * The transforms of whole batches, as one plugin.
 */
#include "../transforms.h"

static const cvr_augment_desc *const transforms[] = {&transform_mixup, &transform_cutmix};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    for (size_t i = 0; i < sizeof transforms / sizeof transforms[0]; i++)
        CVR_TRY(r->add(r, CVR_KIND_AUGMENT, transforms[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("augment_mix", "0.1.0", "op:batch_mix", load)
