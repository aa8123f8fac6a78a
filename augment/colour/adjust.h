/*
 * What can be done to the colours of a picture (torchvision v2 functional), for single transforms and for policies.
 * Each works in place on a dense picture, u8 in 0..255 or f32 in 0..1; those that look at more than a channel take 1
 * or 3.
 */
#ifndef CVR_AUGMENT_ADJUST_H
#define CVR_AUGMENT_ADJUST_H

#include "../image_view.h"

/* A factor of 1 changes nothing. */
void adjust_brightness(const image *im, double factor);
void adjust_contrast(const image *im, double factor);
void adjust_saturation(const image *im, double factor);
/* 0 is a 3x3 blur, 2 twice as sharp. */
int32_t adjust_sharpness(cvr_sample *s, const image *im, double factor, cvr_error *err);
/* factor: a share of the colour circle, -0.5 to 0.5 */
void adjust_hue(const image *im, double factor);

/* Levels (levels.c): each value becomes another, whatever stands beside it. */
void levels_invert(const image *im);
/* Inverts what is at or above the threshold, which is on the picture's own scale. */
void levels_solarize(const image *im, double threshold);
/* Keeps the highest `bits` of eight. */
void levels_posterize(const image *im, int64_t bits);
/* Spreads each channel from its darkest to its brightest value over the whole range. */
void levels_autocontrast(const image *im);
/* Evens out each channel's histogram, as PIL does it. */
void levels_equalize(const image *im);
/* Grey in all channels. */
void adjust_grey(const image *im);

/* Those that look at colours: `transform` is the name for the message. */
int32_t adjust_check_channels(const image *im, const char *transform, cvr_error *err);

#endif
