/* A large picture in parts that overlap: predict.tile. See tiles.c. */
#ifndef CVR_TILES_H
#define CVR_TILES_H

#include "network.h"

#define MOST_TILES 4096      /* of a picture */
#define MOST_TILES_AT_ONCE 8 /* in a batch */

/* A stack of things that have a row for each tile; the fields point into memory of their own. */
typedef struct tile_stack {
    cvr_named_tensor *fields;
    const cvr_named_tensor **views;
    size_t n;
} tile_stack;

/* What is kept of a picture until the next; session_run_tiles fills it. Start with {0}. */
typedef struct tiles {
    int64_t side;   /* of a tile, pixels of the picture */
    double overlap; /* share of it that two neighbours have in common */
    int64_t rows, columns, n, at_once;
    cvr_canvas canvas;               /* that a tile comes to lie on */
    double *edges;                   /* (n, 4): x1, y1, x2, y2 */
    cvr_origin *origins;             /* n of them: the picture's, each with the way by its tile to the canvas */
    const cvr_origin **origin_views; /* n + at_once, the last tile's again where a batch has room */
    cvr_origin whole;                /* of what was merged */
    const cvr_origin *whole_view;
    uint8_t *pixels; /* of one tile */
    tile_stack batch, found, merged;
} tiles;

/* All but what to do next time: side and overlap. */
void tiles_free(tiles *t);

#endif
