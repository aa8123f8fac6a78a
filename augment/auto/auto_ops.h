/*
 * What the policies of augment/auto choose from: ops with a magnitude, spaces of them, and choices that were drawn.
 */
#ifndef CVR_AUGMENT_AUTO_OPS_H
#define CVR_AUGMENT_AUTO_OPS_H

#include "../image_warp.h"

/* One of the two does it; neither leaves the picture. `m` is the magnitude. */
typedef struct auto_op {
    void (*affine)(image_affine *a, double m);
    int32_t (*colour)(cvr_sample *s, const image *im, double m, cvr_error *err); /* in place */
} auto_op;

extern const auto_op auto_identity, auto_shear_x, auto_shear_y, auto_translate_x, auto_translate_y, auto_rotate;
extern const auto_op auto_brightness, auto_color, auto_contrast, auto_sharpness, auto_posterize, auto_solarize;
extern const auto_op auto_autocontrast, auto_equalize, auto_invert;

/* How a bin becomes a magnitude, the bins numbered 0 to n - 1. */
#define AUTO_NONE 0u   /* there is none */
#define AUTO_NUMBER 1u /* even steps from 0 to `most` */
#define AUTO_WIDTH 2u  /* the same of `most` widths of the picture */
#define AUTO_HEIGHT 3u
#define AUTO_BITS 4u    /* from `most` bits downwards, by `by` in all, to whole numbers */
#define AUTO_FALLING 5u /* even steps from 1 to 0 */

typedef struct auto_entry {
    const auto_op *op;
    double most, by;
    uint32_t kind;      /* AUTO_* */
    uint32_t is_signed; /* 1: the magnitude is negated in every second draw */
} auto_entry;

typedef struct auto_space {
    const auto_entry *entries;
    int64_t n, bins;
} auto_space;

/* auto_spaces.c, in torchvision's order; rand_augment's and trivial_augment_wide's bins are a setting. */
extern const auto_entry auto_space_rand[14], auto_space_wide[14], auto_space_auto[14], auto_space_mix[13];
double auto_magnitude(const auto_entry *e, int64_t bin, int64_t bins, const image *im);

/*
 * A choice as a number of params: 0 for nothing, else 1 + op * bins + bin, negative where the magnitude is negated. Ops
 * without a magnitude have bin 0.
 */
/* Draws the sign of entry `op`. */
double auto_choose(const auto_space *space, int64_t op, int64_t bin, cvr_rng *rng);
/* Draws the op, too. bin < 0: and the bin, below -bin. */
double auto_draw(const auto_space *space, int64_t bin, cvr_rng *rng);

/* What outside the picture and between pixels is. */
typedef struct auto_look {
    int64_t interpolation;
    fill_attr fill;
} auto_look;
extern const cvr_attr_desc auto_fill_attr;

/* Does what was chosen: `im` becomes the result, in new memory; its old pixels stay as they are. */
int32_t auto_do(cvr_sample *s, const auto_space *space, const auto_look *look, double choice, image *im,
                cvr_error *err);
/* Does n choices to the sample's picture, one after the other. */
int32_t auto_do_all(cvr_sample *s, const auto_space *space, const auto_look *look, const double *choices, int64_t n,
                    cvr_error *err);

#endif
