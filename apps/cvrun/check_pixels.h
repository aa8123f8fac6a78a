/* Of data with masks: how many pixels each class has, and in how many pictures it is. */
#ifndef CVRUN_CHECK_PIXELS_H
#define CVRUN_CHECK_PIXELS_H

#include "cvrun.h"

/* Counts by split and class; the place behind the last class is for pixels that do not count. */
typedef struct pixel_counts {
    int64_t n_classes;
    int64_t *pixels[2], *pictures[2];
    int64_t ignored_pictures; /* whose masks are ignored as a whole */
    bool any;                 /* there was a mask */
} pixel_counts;

int32_t pixel_counts_init(pixel_counts *c, int64_t n_classes, cvr_error *err);
void pixel_counts_free(pixel_counts *c);
/* Counts the sample's mask, if it has one. `name` is what the picture is called, for a line about it. */
void pixel_counts_add(pixel_counts *c, uint32_t split, const cvr_sample *s, const char *name);
/* A line a class, and what looks wrong about all of them; nothing where there was no mask. */
void pixel_counts_print(const pixel_counts *c, const bool has[2], const char *const *class_names);

#endif
