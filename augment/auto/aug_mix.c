/*
 * aug_mix (torchvision v2 AugMix; Hendrycks et al., "AugMix: A Simple Data Processing Method to Improve Robustness and
 * Uncertainty", 2020): the picture blended with several chains of weak ops on it. params: [0] the share of the picture,
 * [1] to [width] those of the chains, then `depth` choices of each chain (auto_ops.h); a shorter chain has 0 at its
 * end.
 */
#include "../colour/adjust.h"
#include "../draw_gamma.h"
#include "../transforms.h"
#include "auto_ops.h"
#include <math.h>

#define BINS 10
#define MOST_DEPTH 3 /* of chains of random length */
#define PARTIAL 9    /* ops without the factors */

typedef struct aug_mix_attrs {
    int64_t severity, mixture_width, chain_depth;
    double alpha;
    int64_t all_ops;
    auto_look look;
} aug_mix_attrs;

static auto_space space_of(const aug_mix_attrs *a) {
    return (auto_space){auto_space_mix, a->all_ops ? sizeof auto_space_mix / sizeof *auto_space_mix : PARTIAL, BINS};
}

static int64_t depth_of(const aug_mix_attrs *a) {
    return a->chain_depth > 0 ? a->chain_depth : MOST_DEPTH;
}

static int32_t check(const void *self, cvr_error *err) {
    const aug_mix_attrs *const a = self;
    if (!(a->alpha > 0 && isfinite(a->alpha)))
        return cvr_fail(err, CVR_ERR_USAGE, "aug_mix: alpha = %g; it must be above 0", a->alpha);
    if (1 + a->mixture_width * (1 + depth_of(a)) > CVR_AUGMENT_PARAMS)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "aug_mix: mixture_width = %lld chains of up to %lld ops are more than %u numbers; take fewer",
                        (long long)a->mixture_width, (long long)depth_of(a), CVR_AUGMENT_PARAMS);
    return CVR_OK;
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const aug_mix_attrs *const a = self;
    const auto_space space = space_of(a);
    const int64_t depth = depth_of(a);
    double m[2];
    (void)s, (void)err;
    memset(params, 0, CVR_AUGMENT_PARAMS * sizeof *params);
    draw_dirichlet(rng, a->alpha, 2, m);
    draw_dirichlet(rng, a->alpha, (int)a->mixture_width, params + 1);
    params[0] = m[0];
    double *choice = params + 1 + a->mixture_width;
    for (int64_t i = 0; i < a->mixture_width; i++, choice += depth) {
        params[1 + i] = (float)params[1 + i] * (float)m[1];
        const int64_t n = a->chain_depth > 0 ? depth : 1 + (int64_t)cvr_rng_below(rng, MOST_DEPTH);
        for (int64_t k = 0; k < n; k++) choice[k] = auto_draw(&space, -a->severity, rng);
    }
    return CVR_OK;
}

/* sum += share * picture; sum: (H, W, C) f32 */
static void add(const image *sum, float share, const image *im) {
    float *const to = sum->data;
    for (int64_t i = 0; i < im->h * im->w * im->c; i++) {
        const float x = im->dtype == CVR_U8 ? (float)((const uint8_t *)im->data)[i] : ((const float *)im->data)[i];
        const float part = share * x;
        to[i] += part;
    }
}

/* The picture in its own type, u8 cut and not rounded. */
static int32_t settle(cvr_sample *s, const image *sum, const image *like, image *out, cvr_error *err) {
    const float *const from = sum->data;
    *out = *sum;
    if (like->dtype == CVR_F32) return CVR_OK;
    CVR_TRY(image_new(s, like, like->h, like->w, like->c, out, err));
    for (int64_t i = 0; i < like->h * like->w * like->c; i++) ((uint8_t *)out->data)[i] = (uint8_t)fminf(from[i], 255);
    return CVR_OK;
}

/* No matrix says how points moved: they are where they were, and in other places. */
static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const aug_mix_attrs *const a = self;
    const auto_space space = space_of(a);
    const image like = {.dtype = CVR_F32};
    const double *choice = params + 1 + a->mixture_width;
    image im, sum, out;
    cvr_field *field = NULL;
    CVR_TRY(image_get(s, &im, &field, err));
    CVR_TRY(adjust_check_channels(&im, "aug_mix", err));
    CVR_TRY(image_new(s, &like, im.h, im.w, im.c, &sum, err));
    memset(sum.data, 0, (uint64_t)(im.h * im.w * im.c) * sizeof(float));
    add(&sum, (float)params[0], &im);
    for (int64_t i = 0; i < a->mixture_width; i++) {
        image chain = im;
        for (int64_t k = 0; k < depth_of(a); k++) CVR_TRY(auto_do(s, &space, &a->look, *choice++, &chain, err));
        add(&sum, (float)params[1 + i], &chain);
    }
    CVR_TRY(settle(s, &sum, &im, &out, err));
    image_set(field, &out);
    return CVR_OK;
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(INT, "severity", "3", "how strong ops may be", CVR_ATTR_BETWEEN(1, BINS)),
    CVR_ATTR(INT, "mixture_width", "3", "chains that are blended", CVR_ATTR_BETWEEN(1, 15)),
    CVR_ATTR(INT, "chain_depth", "-1", "ops of a chain; -1: one to three", CVR_ATTR_BETWEEN(-1, 30)),
    CVR_ATTR(FLOAT, "alpha", "1", "of the Beta and Dirichlet distributions of the shares"),
    CVR_ATTR(BOOL, "all_ops", "yes", "brightness, color, contrast and sharpness, too"),
    CVR_ATTR(CHOICE, "interpolation", "bilinear", "how pixels are found between pixels",
             .choices = INTERPOLATION_MODES),
    &auto_fill_attr,
};

const cvr_augment_desc transform_aug_mix = {
    .struct_size = sizeof transform_aug_mix,
    .name = "aug_mix",
    .doc = "The picture blended with chains of weak changes of it",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = CVR_AUGMENT_PARAMS,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .moves = 1,
    .check = check,
    .make_params = make_params,
    .apply = apply,
};
