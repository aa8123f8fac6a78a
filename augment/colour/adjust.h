/*
 * The four adjustments that color_jitter is made of (torchvision v2 functional adjust_*). Each works in place on a
 * dense picture of 1 or 3 channels, u8 or f32.
 */
#ifndef CVR_AUGMENT_ADJUST_H
#define CVR_AUGMENT_ADJUST_H

#include "../image_view.h"

void adjust_brightness(const image *im, float factor);
void adjust_contrast(const image *im, float factor);
void adjust_saturation(const image *im, float factor);
/* factor: a share of the colour circle, -0.5 to 0.5 */
void adjust_hue(const image *im, float factor);

#endif
