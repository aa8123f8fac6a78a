/*
 * rand_augment (torchvision v2 RandAugment; Cubuk et al., "RandAugment: Practical automated data augmentation with a
 * reduced search space", 2020): several ops of one strength. params: a choice each (auto_ops.h).
 */
#include "../transforms.h"
#include "auto_ops.h"

typedef struct rand_augment_attrs {
    int64_t num_ops, magnitude, num_magnitude_bins;
    auto_look look;
} rand_augment_attrs;

static auto_space space_of(const rand_augment_attrs *a) {
    return (auto_space){auto_space_rand, sizeof auto_space_rand / sizeof *auto_space_rand, a->num_magnitude_bins};
}

static int32_t check(const void *self, cvr_error *err) {
    const rand_augment_attrs *const a = self;
    return a->magnitude < a->num_magnitude_bins
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_USAGE, "rand_augment: magnitude = %lld; it is below num_magnitude_bins, %lld",
                          (long long)a->magnitude, (long long)a->num_magnitude_bins);
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const rand_augment_attrs *const a = self;
    const auto_space space = space_of(a);
    (void)s, (void)err;
    for (int64_t i = 0; i < CVR_AUGMENT_PARAMS; i++)
        params[i] = i < a->num_ops ? auto_draw(&space, a->magnitude, rng) : 0;
    return CVR_OK;
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const rand_augment_attrs *const a = self;
    const auto_space space = space_of(a);
    return auto_do_all(s, &space, &a->look, params, a->num_ops, err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(INT, "num_ops", "2", "ops, one after the other", CVR_ATTR_BETWEEN(0, CVR_AUGMENT_PARAMS)),
    CVR_ATTR(INT, "magnitude", "9", "strength of all of them, below num_magnitude_bins", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(INT, "num_magnitude_bins", "31", "steps from the weakest to the strongest", CVR_ATTR_BETWEEN(2, 1000)),
    CVR_ATTR(CHOICE, "interpolation", "nearest", "how pixels are found between pixels", .choices = INTERPOLATION_MODES),
    &auto_fill_attr,
};

const cvr_augment_desc transform_rand_augment = {
    .struct_size = sizeof transform_rand_augment,
    .name = "rand_augment",
    .doc = "Some of fourteen changes of colour or geometry, of one strength",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = CVR_AUGMENT_PARAMS,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .moves = 1,
    .check = check,
    .make_params = make_params,
    .apply = apply,
};
