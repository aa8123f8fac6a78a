/* Panels of counts: a histogram, and a map of where something lies. */
#ifndef CVR_REPORTS_HISTOGRAM_H
#define CVR_REPORTS_HISTOGRAM_H

#include "../drawing/canvas.h"

#define HISTOGRAM_TICKS 8

typedef struct histogram {
    box area; /* of the canvas, the labels included */
    const char *title, *x_name;
    const int64_t *counts; /* of `n` bins */
    int64_t n;
    /* Labels of the x axis: at[i] is in bins, 0 the left edge of the first and n the right edge of the last. */
    double at[HISTOGRAM_TICKS];
    char label[HISTOGRAM_TICKS][16];
    uint32_t n_ticks;
} histogram;
void histogram_draw(canvas *c, const histogram *h);

/* `counts` of side x side cells, row by row from the top, over the whole of a picture. */
typedef struct heat_map {
    box area;
    const char *title, *x_name;
    const int64_t *counts;
    int64_t side;
} heat_map;
void heat_map_draw(canvas *c, const heat_map *m);

/* From the paper's colour to a deep blue; a small share is still to be seen. */
colour report_shade(double share);

#endif
