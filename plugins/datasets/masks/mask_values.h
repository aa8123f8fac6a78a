/*
 * From what a mask's file holds to the class of each pixel.
 */
#ifndef CVR_MASK_VALUES_H
#define CVR_MASK_VALUES_H

#include "colour_table.h"

#define MASK_UNKNOWN (-1)

/* What values stand for: numbers of grey and indices of palettes, or colours where `colours` is not NULL. */
typedef struct mask_values {
    int16_t class_of[256]; /* of each number: 0 to 254, MASK_IGNORED, or MASK_UNKNOWN */
    const colour_table *colours;
    const char *table; /* the file of the colours, for messages */
    int64_t n_classes;
    const char *remedy;        /* what to do about a number that stands for nothing */
    const char *colour_remedy; /* what to do about colours where numbers are expected */
} mask_values;

/* Numbers from 0 on are the classes in their order, the others are unknown. */
void mask_values_count(mask_values *v, int64_t n_classes);

/* `image` is a mask as it was decoded, of 1 channel or 3: its pixels become (H,W) u8 classes, at the start of its own
 * memory. Errors say what is wrong with the mask and do not name it. */
int32_t mask_values_apply(const mask_values *v, cvr_image *image, cvr_error *err);

#endif
