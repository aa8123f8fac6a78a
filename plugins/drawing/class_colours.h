/*
 * The colours of classes: those of PASCAL VOC's development kit, whose class 0, the background, is black. A pixel of no
 * class has number 255, a pale yellow.
 */
#ifndef CVR_DRAWING_CLASS_COLOURS_H
#define CVR_DRAWING_CLASS_COLOURS_H

#include "canvas.h"

/* Of class `k`, by its lowest eight bits. */
colour class_colour(int64_t k);
/* All 256 of them, as a PNG has them. */
void class_palette(uint8_t palette[768]);

/* Of an object of class `k`: bright, and class 0 is an object, too. The 80 of them are far apart in Oklab, the first 20
 * farthest. */
colour object_colour(int64_t k);
/* What is read on a ground of this colour: black or white. */
colour ink_on(colour ground);

/* A list of classes with their colours: what stands below a picture whose colours mean classes. */
typedef struct legend_entry {
    colour ink;
    const char *words;
} legend_entry;
/* Draws it in columns from (area.x, area.y) on, no further than area.width, `scale` times the usual size; returns the
 * height that it takes. With `c` NULL it is only measured. */
int64_t class_legend(canvas *c, box area, int64_t scale, const legend_entry *entries, int64_t n);

#endif
