/* Boxes by the cells of a grid over their picture, so that one is held against those nearby alone. */
#ifndef CVR_DETECT_BOX_GRID_H
#define CVR_DETECT_BOX_GRID_H

#include "host_array.h"

/* Start with {.host = host}. */
typedef struct box_grid {
    const cvr_host *host;
    double cell[2]; /* width, height */
    int64_t columns, rows;
    int64_t *last;      /* (rows, columns): what was put there last, an index of `entries`; -1: nothing */
    host_array entries; /* a box in a cell */
} box_grid;

/* Empties it, for a picture of this size. */
int32_t box_grid_begin(box_grid *g, const double cell[2], const cvr_origin *picture, cvr_error *err);
/* `sides`: x1, y1, x2, y2. A box that has grown is added once more. */
int32_t box_grid_add(box_grid *g, int64_t box, const double sides[4], cvr_error *err);
/* Tells boxes that share a cell with these sides, among them all that touch them: in no order, each once for each time
 * that it was added. */
void box_grid_near(const box_grid *g, const double sides[4], void (*each)(void *ctx, int64_t box), void *ctx);
void box_grid_free(box_grid *g);

#endif
