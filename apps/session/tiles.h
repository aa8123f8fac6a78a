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

/* What is kept of a picture until the next; start with {0}. */
typedef struct tiles {
    int64_t side;   /* of a tile, pixels of the picture */
    double overlap; /* share of it that two neighbours have in common */
    int64_t rows, columns, n, at_once;
    cvr_canvas canvas;   /* that a tile comes to lie on */
    double *edges;       /* (n, 4): x1, y1, x2, y2 */
    cvr_origin *origins; /* n of them; of the batch that is being made, the picture's in front of the network */
    const cvr_origin **origin_views;
    uint8_t *pixels; /* of one tile */
    tile_stack batch, found, merged;
} tiles;

/* What to look at, and who wants to know. */
typedef struct tiles_job {
    const settings *set;
    run_network *net;
    const run_data *data;
    const cvr_image *picture;
    const cvr_origin *origin; /* the picture's */
    const char *path;
    bool predicts;
    /* Opens the network, where it is not open yet, with its first program. */
    int32_t (*open)(void *ctx, const program_key *key, cvr_error *err);
    void *ctx;
} tiles_job;

/* Whether tiles can be had at all; CVR_ERR_USAGE says why not. */
int32_t tiles_check(const settings *s, int64_t side, double overlap, cvr_error *err);
/* Looks at the picture in tiles of `side`; the merged findings live until the next time. */
int32_t tiles_run(tiles *t, const tiles_job *job, cvr_batch_view *out, cvr_error *err);
void tiles_free(tiles *t);

#endif
