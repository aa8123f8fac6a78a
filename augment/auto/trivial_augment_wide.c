/*
 * trivial_augment_wide (torchvision v2 TrivialAugmentWide; Müller, Hutter, "TrivialAugment: Tuning-free Yet
 * State-of-the-Art Data Augmentation", 2021): one op of any strength. params: [0] the choice (auto_ops.h).
 */
#include "../transforms.h"
#include "auto_ops.h"

typedef struct trivial_augment_wide_attrs {
    int64_t num_magnitude_bins;
    auto_look look;
} trivial_augment_wide_attrs;

static auto_space space_of(const trivial_augment_wide_attrs *a) {
    return (auto_space){auto_space_wide, sizeof auto_space_wide / sizeof *auto_space_wide, a->num_magnitude_bins};
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const auto_space space = space_of(self);
    (void)s, (void)err;
    params[0] = auto_draw(&space, -space.bins, rng);
    return CVR_OK;
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const trivial_augment_wide_attrs *const a = self;
    const auto_space space = space_of(a);
    return auto_do_all(s, &space, &a->look, params, 1, err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(INT, "num_magnitude_bins", "31", "steps from the weakest to the strongest", CVR_ATTR_BETWEEN(2, 1000)),
    CVR_ATTR(CHOICE, "interpolation", "nearest", "how pixels are found between pixels", .choices = INTERPOLATION_MODES),
    &auto_fill_attr,
};

const cvr_augment_desc transform_trivial_augment_wide = {
    .struct_size = sizeof transform_trivial_augment_wide,
    .name = "trivial_augment_wide",
    .doc = "One of fourteen changes of colour or geometry, of random strength",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 1,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .moves = 1,
    .make_params = make_params,
    .apply = apply,
};
