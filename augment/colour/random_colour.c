/*
 * Transforms of colour that are done with probability p, each one function of adjust.h (torchvision v2 RandomGrayscale,
 * RandomPosterize, RandomSolarize, RandomAdjustSharpness, RandomAutocontrast, RandomEqualize, RandomInvert). params:
 * [0] 1 where it is done.
 */
#include "../transforms.h"
#include "adjust.h"

/* Settings: of all but the first kind `p` comes second. */
typedef struct chance_attrs {
    double p;
} chance_attrs;

typedef struct amount_attrs {
    double amount; /* threshold, sharpness_factor */
    double p;
} amount_attrs;

typedef struct bits_attrs {
    int64_t bits;
    double p;
} bits_attrs;

static int32_t draw(double p, cvr_rng *rng, double *params) {
    params[0] = draw_chance(rng, p);
    return CVR_OK;
}

static int32_t chance_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    (void)s, (void)err;
    return draw(((const chance_attrs *)self)->p, rng, params);
}

static int32_t amount_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    (void)s, (void)err;
    return draw(((const amount_attrs *)self)->p, rng, params);
}

static int32_t bits_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    (void)s, (void)err;
    return draw(((const bits_attrs *)self)->p, rng, params);
}

/* Does `f` to the picture where it was drawn. */
static int32_t change(const double *params, cvr_sample *s, void (*f)(const image *im), cvr_error *err) {
    image im;
    if (params[0] == 0) return CVR_OK;
    CVR_TRY(image_own(s, &im, err));
    f(&im);
    return CVR_OK;
}

static int32_t grayscale_apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    image im;
    (void)self;
    CVR_TRY(image_get(s, &im, NULL, err));
    CVR_TRY(adjust_check_channels(&im, "random_grayscale", err));
    return change(params, s, adjust_grey, err);
}

static int32_t invert_apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    (void)self;
    return change(params, s, levels_invert, err);
}

static int32_t autocontrast_apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    (void)self;
    return change(params, s, levels_autocontrast, err);
}

static int32_t equalize_apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    (void)self;
    return change(params, s, levels_equalize, err);
}

static int32_t posterize_apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    image im;
    if (params[0] == 0) return CVR_OK;
    CVR_TRY(image_own(s, &im, err));
    levels_posterize(&im, ((const bits_attrs *)self)->bits);
    return CVR_OK;
}

static int32_t solarize_apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const double threshold = ((const amount_attrs *)self)->amount;
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    if (threshold > (im.dtype == CVR_U8 ? 255 : 1))
        return cvr_fail(err, CVR_ERR_USAGE, "random_solarize: threshold = %g on a picture of 0 to %d", threshold,
                        im.dtype == CVR_U8 ? 255 : 1);
    if (params[0] == 0) return CVR_OK;
    CVR_TRY(image_own(s, &im, err));
    levels_solarize(&im, threshold);
    return CVR_OK;
}

static int32_t sharpness_apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    image im;
    if (params[0] == 0) return CVR_OK;
    CVR_TRY(image_own(s, &im, err));
    CVR_TRY(adjust_check_channels(&im, "random_adjust_sharpness", err));
    return adjust_sharpness(s, &im, ((const amount_attrs *)self)->amount, err);
}

static const cvr_attr_desc half_attr = CVR_ATTR_INIT(FLOAT, "p", "0.5", "probability", CVR_ATTR_PLACE_BETWEEN(0, 1));
static const cvr_attr_desc tenth_attr = CVR_ATTR_INIT(FLOAT, "p", "0.1", "probability", CVR_ATTR_PLACE_BETWEEN(0, 1));
static const cvr_attr_desc *const chance_schema[] = {&half_attr};
static const cvr_attr_desc *const grayscale_schema[] = {&tenth_attr};
static const cvr_attr_desc *const posterize_schema[] = {
    CVR_ATTR(INT, "bits", NULL, "bits that are kept", CVR_ATTR_PLACE_BETWEEN(0, 8)), &half_attr};
static const cvr_attr_desc *const solarize_schema[] = {
    CVR_ATTR(FLOAT, "threshold", NULL, "values from here on are inverted; 0 to 255, or to 1 after to_tensor",
             CVR_ATTR_PLACE_BETWEEN(0, 255)),
    &half_attr};
static const cvr_attr_desc *const sharpness_schema[] = {
    CVR_ATTR(FLOAT, "sharpness_factor", NULL, "0 blurs, 1 leaves the picture, 2 doubles its sharpness",
             CVR_ATTR_PLACE_AT_LEAST(0)),
    &half_attr};

#define COLOUR(name_, doc_, schema_, params_, apply_)                                                                  \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_augment_desc), .name = name_, .doc = doc_,                                           \
        .n_attrs = sizeof schema_ / sizeof *schema_, .n_params = 1, .attrs = schema_, .stage = CVR_STAGE_SAMPLE,       \
        .make_params = params_, .apply = apply_                                                                        \
    }

const cvr_augment_desc transform_random_colour[RANDOM_COLOURS] = {
    COLOUR("random_grayscale", "Grey in as many channels, with probability p", grayscale_schema, chance_params,
           grayscale_apply),
    COLOUR("random_posterize", "Only the highest bits of each value, with probability p", posterize_schema, bits_params,
           posterize_apply),
    COLOUR("random_solarize", "Values from a threshold on inverted, with probability p", solarize_schema, amount_params,
           solarize_apply),
    COLOUR("random_adjust_sharpness", "Sharper or blurred, with probability p", sharpness_schema, amount_params,
           sharpness_apply),
    COLOUR("random_autocontrast", "Each channel spread over the whole range, with probability p", chance_schema,
           chance_params, autocontrast_apply),
    COLOUR("random_equalize", "Each channel's histogram evened out, with probability p", chance_schema, chance_params,
           equalize_apply),
    COLOUR("random_invert", "The negative, with probability p", chance_schema, chance_params, invert_apply),
};
