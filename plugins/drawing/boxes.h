/*
 * Objects over a picture: boxes in the colour of their class, a plate with name and score at each, masks as a
 * translucent colour with an outline. Plates stay inside the picture and off each other where there is room; where it
 * is crowded, lines are thin, and only objects that a plate fits to without hiding others have one.
 */
#ifndef CVR_DRAWING_BOXES_H
#define CVR_DRAWING_BOXES_H

#include "class_colours.h"

typedef struct drawn_box {
    double xyxy[4]; /* pixels of the picture; a box that has a coordinate that is no number is left out */
    int64_t klass;
    double score;     /* below 0: it has none */
    const char *name; /* of the class, UTF-8; NULL: its number stands for it */
    int32_t unnamed;  /* 1: there is but one class, and the legend tells it; the plate has the score alone */
    /* What the object covers, in either form; both NULL: it has no mask.
     * mask: (height, width) of the picture, not 0 inside; looked at within the box alone.
     * runs: of the picture's height x width, column by column: how many pixels are outside, inside, outside, ... */
    const uint8_t *mask;
    const uint32_t *runs;
    uint64_t n_runs;
} drawn_box;

typedef struct boxes_view {
    box at;                /* where the picture lies on the canvas, as large as it is shown */
    int64_t height, width; /* of the picture that the boxes are of, in its own pixels */
    int64_t scale;         /* of letters and lines: 1, 2, ... times the usual; 0: by the size of `at` */
} boxes_view;

/* Draws `n` objects; `left_out` (may be NULL) gets how many of those to be seen have no plate
 * with their whole name. */
int32_t boxes_draw(canvas *c, const boxes_view *v, const drawn_box *boxes, int64_t n, int64_t *left_out,
                   cvr_error *err);

/* The colours and numbers of objects of each class that is there, below a picture: what plates do not tell. Draws
 * nothing with `c` NULL; `height` gets what it takes. `area` as class_legend has it, `scale` as above, from 1 on. */
int32_t boxes_legend(canvas *c, const cvr_host *host, box area, int64_t scale, const drawn_box *boxes, int64_t n,
                     int64_t *height, cvr_error *err);

/* A new canvas with the picture (RGB or grey), its objects and, where some have no plate, the legend below. A small
 * picture is shown larger, by a whole factor. Without an error, close it with canvas_close. */
int32_t boxes_picture(canvas *c, const cvr_host *host, const cvr_image *picture, const drawn_box *boxes, int64_t n,
                      cvr_error *err);

/* The same as the bytes of a PNG, which go to `sink`. */
int32_t boxes_png(const cvr_host *host, const cvr_image *picture, const drawn_box *boxes, int64_t n, cvr_sink_fn sink,
                  void *ctx, cvr_error *err);

#endif
