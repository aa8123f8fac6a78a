/*
 * The spaces of the policies: which ops, and how strong they are (torchvision v2 _AUGMENTATION_SPACE).
 */
#include "auto_ops.h"
#include <math.h>

#define TRANSLATE_SHARE (150.0 / 331.0)

#define GEOMETRY(shear, x, y, x_of, y_of, degrees)                                                                     \
    {&auto_shear_x, shear, 0, AUTO_NUMBER, 1}, {&auto_shear_y, shear, 0, AUTO_NUMBER, 1},                              \
        {&auto_translate_x, x, 0, x_of, 1}, {&auto_translate_y, y, 0, y_of, 1}, {                                      \
        &auto_rotate, degrees, 0, AUTO_NUMBER, 1                                                                       \
    }
#define FACTORS(most)                                                                                                  \
    {&auto_brightness, most, 0, AUTO_NUMBER, 1}, {&auto_color, most, 0, AUTO_NUMBER, 1},                               \
        {&auto_contrast, most, 0, AUTO_NUMBER, 1}, {                                                                   \
        &auto_sharpness, most, 0, AUTO_NUMBER, 1                                                                       \
    }
#define LEVELS(bits, by)                                                                                               \
    {&auto_posterize, bits, by, AUTO_BITS, 0}, {&auto_solarize, 0, 0, AUTO_FALLING, 0},                                \
        {&auto_autocontrast, 0, 0, AUTO_NONE, 0}, {                                                                    \
        &auto_equalize, 0, 0, AUTO_NONE, 0                                                                             \
    }

const auto_entry auto_space_rand[14] = {
    {&auto_identity, 0, 0, AUTO_NONE, 0},
    GEOMETRY(0.3, TRANSLATE_SHARE, TRANSLATE_SHARE, AUTO_WIDTH, AUTO_HEIGHT, 30),
    FACTORS(0.9),
    LEVELS(8, 4),
};
const auto_entry auto_space_wide[14] = {
    {&auto_identity, 0, 0, AUTO_NONE, 0},
    GEOMETRY(0.99, 32, 32, AUTO_NUMBER, AUTO_NUMBER, 135),
    FACTORS(0.99),
    LEVELS(8, 6),
};
const auto_entry auto_space_auto[14] = {
    GEOMETRY(0.3, TRANSLATE_SHARE, TRANSLATE_SHARE, AUTO_WIDTH, AUTO_HEIGHT, 30),
    FACTORS(0.9),
    LEVELS(8, 4),
    {&auto_invert, 0, 0, AUTO_NONE, 0},
};
/* aug_mix all_ops=no takes the first nine. */
const auto_entry auto_space_mix[13] = {
    GEOMETRY(0.3, 1.0 / 3.0, 1.0 / 3.0, AUTO_WIDTH, AUTO_HEIGHT, 30),
    LEVELS(4, 4),
    FACTORS(0.9),
};

/* torch.linspace in f32: from either end to the middle, one rounding a number. */
static double linspace(float start, float end, int64_t n, int64_t i) {
    const float step = (end - start) / (float)(n - 1);
    return i < n / 2 ? (float)((double)start + (double)step * (double)i)
                     : (float)((double)end - (double)step * (double)(n - 1 - i));
}

double auto_magnitude(const auto_entry *e, int64_t bin, int64_t bins, const image *im) {
    switch (e->kind) {
    case AUTO_NUMBER: return linspace(0, (float)e->most, bins, bin);
    case AUTO_WIDTH: return linspace(0, (float)(e->most * (double)im->w), bins, bin);
    case AUTO_HEIGHT: return linspace(0, (float)(e->most * (double)im->h), bins, bin);
    case AUTO_BITS: return rintf((float)e->most - (float)bin / (float)((double)(bins - 1) / e->by));
    case AUTO_FALLING: return linspace(1, 0, bins, bin);
    default: return 0;
    }
}
