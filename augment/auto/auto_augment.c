/*
 * auto_augment (torchvision v2 AutoAugment): one of 25 pairs of ops, each done with a probability of its own. params:
 * [0] and [1] the choices (auto_ops.h).
 */
#include "../transforms.h"
#include "auto_ops.h"
#include "auto_policies.h"

typedef struct auto_augment_attrs {
    int64_t policy;
    auto_look look;
} auto_augment_attrs;

static const auto_space space = {auto_space_auto, sizeof auto_space_auto / sizeof *auto_space_auto, 10};

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const auto_augment_attrs *const a = self;
    const auto_pair *const pair = &auto_policies[a->policy][cvr_rng_below(rng, AUTO_PAIRS)];
    (void)s, (void)err;
    for (int i = 0; i < 2; i++) {
        const auto_try *const t = &pair->tries[i];
        params[i] = draw_chance(rng, t->tenths / 10.0) ? auto_choose(&space, t->op, t->bin, rng) : 0;
    }
    return CVR_OK;
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    return auto_do_all(s, &space, &((const auto_augment_attrs *)self)->look, params, 2, err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(CHOICE, "policy", "imagenet", "what the pairs were found on", .choices = "imagenet|cifar10|svhn",
             .flags = CVR_ATTR_POSITIONAL),
    CVR_ATTR(CHOICE, "interpolation", "nearest", "how pixels are found between pixels", .choices = INTERPOLATION_MODES),
    &auto_fill_attr,
};

const cvr_augment_desc transform_auto_augment = {
    .struct_size = sizeof transform_auto_augment,
    .name = "auto_augment",
    .doc = "One of 25 pairs of changes that a search has found",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 2,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .moves = 1,
    .make_params = make_params,
    .apply = apply,
};
