/*
 * One panel of curves: title, legend, axes with ticks, grid, lines.
 */
#ifndef CVR_REPORTS_PLOT_H
#define CVR_REPORTS_PLOT_H

#include "../drawing/canvas.h"

#define PLOT_SERIES 6

/* y[i * stride] over x[i * stride]. The line crosses an empty cell; it breaks where a value was computed and is not
 * finite (results_is_nan, or infinite). */
typedef struct plot_series {
    const char *name;
    const double *y;
    colour ink;
} plot_series;

typedef struct plot {
    box area; /* of the canvas, the labels included */
    const char *title;
    const double *x;
    double bound; /* no axis goes past it where no value does; 0: there is none */
    uint64_t n, stride;
    int32_t from_zero; /* the axis begins at 0 */
    int32_t late; /* the first points do not stretch the axis: what is far above the later ones is marked at its top */
    uint32_t n_series;
    plot_series series[PLOT_SERIES];
} plot;

void plot_draw(canvas *c, const plot *p);

/* Ticks of an axis: `first` + i * `step` for i < n, all within the axis's begin..end. */
typedef struct plot_axis {
    double begin, end, first, step;
    uint32_t n;
} plot_axis;

/* An axis that holds low..high, with about `wanted` ticks at multiples of 1, 2 or 5 times a power of ten. */
plot_axis plot_choose_axis(double low, double high, uint32_t wanted, double least_step);
void plot_tick_label(char label[32], double value, double step);

#endif
