/* What boxes.c and box_plates.c share. */
#ifndef CVR_DRAWING_BOXES_PARTS_H
#define CVR_DRAWING_BOXES_PARTS_H

#include "boxes.h"

#define BOX_WORDS 96

/* An object that is to be seen, on the canvas. */
typedef struct shown_box {
    const drawn_box *of;
    box area;      /* its outer edge, inside the picture */
    int64_t line;  /* width of its lines */
    double size;   /* area.width * area.height */
    int64_t index; /* in the caller's list */
} shown_box;

typedef struct shown_boxes {
    const cvr_host *host;
    box picture;
    int64_t scale;
    int64_t n;
    shown_box *each; /* from the largest to the smallest */
} shown_boxes;

/* Of letters and lines for a picture that is shown in this size. */
int64_t boxes_scale(int64_t width, int64_t height);

/* Draws the plates; returns how many objects have none, or one that had no room for the name; -1 where memory is out.
 */
int64_t box_plates_draw(canvas *c, const shown_boxes *s);

#endif
