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

/* A list of classes with their colours: what stands below a picture whose colours mean classes. */
typedef struct legend_entry {
    int64_t klass;
    const char *words;
} legend_entry;
/* Draws it in columns from (area.x, area.y) on, no further than area.width; returns the height that it takes. With `c`
 * NULL it is only measured. */
int64_t class_legend(canvas *c, box area, const legend_entry *entries, int64_t n);

#endif
