/*
 * Masks as run lengths, the way COCO stores them: the pixels of a picture of height x width column by column, as the
 * lengths of runs outside, inside, outside, ... (the first may be 0). The same numbers, to the bit, as pycocotools has
 * (https://github.com/cocodataset/cocoapi), for masks, polygons and boxes.
 */
#ifndef CVR_RLE_H
#define CVR_RLE_H

#include <cvr/plugin/plugin.h>

/* A mask that somebody else keeps. */
typedef struct rle_view {
    const uint32_t *runs;
    uint64_t n;
} rle_view;

/* A mask in memory of its own, that grows and is used again: start with {.host = host}, end with rle_free(). */
typedef struct rle {
    const cvr_host *host;
    uint32_t *runs;
    uint64_t n, room;
} rle;

void rle_free(rle *r);
static inline rle_view rle_seen(const rle *r) {
    return (rle_view){r->runs, r->n};
}

/* ---- making them: `r` gets a new content; after an error it is not to be used ---- */

/* Numbers as a file has them: they must be 0 or more, and their sum height * width. */
int32_t rle_from_counts(rle *r, int64_t height, int64_t width, const int64_t *counts, uint64_t n, cvr_error *err);
/* COCO's compressed string, of n bytes; the same is checked. */
int32_t rle_from_string(rle *r, int64_t height, int64_t width, const char *s, uint64_t n, cvr_error *err);
/* mask: height rows of width pixels, `stride` apart; what is not 0 is inside. */
int32_t rle_from_bitmap(rle *r, int64_t height, int64_t width, const uint8_t *mask, int64_t stride, cvr_error *err);
/* xy: x, y of n_points corners. What is outside of the picture is cut off. */
int32_t rle_from_polygon(rle *r, int64_t height, int64_t width, const double *xy, uint64_t n_points, cvr_error *err);
/* The pixels that are in one or the other; in both. `r` is neither a nor b. */
int32_t rle_union(rle *r, rle_view a, rle_view b, cvr_error *err);
int32_t rle_intersect(rle *r, rle_view a, rle_view b, cvr_error *err);
int32_t rle_copy(rle *r, rle_view from, cvr_error *err);

/* ---- what they are made into ---- */

/* mask: (height, width) u8, gets 0 and 1. The runs are of that size. */
void rle_to_bitmap(rle_view r, int64_t height, int64_t width, uint8_t *mask);
/* The compressed string, with a NUL behind it; `s` has rle_string_room(n) bytes. Returns its length. */
static inline uint64_t rle_string_room(uint64_t n) {
    return 7 * n + 1;
}
uint64_t rle_to_string(rle_view r, char *s);

/* ---- what is asked of them ---- */

uint64_t rle_area(rle_view r);
/* x, y, width, height of the smallest box around it; all 0 of an empty mask. */
void rle_box(rle_view r, int64_t height, double box[4]);
uint64_t rle_common(rle_view a, rle_view b);
/* Intersection over union; of a crowd over the area of what was found alone (pycocotools.mask.iou). 0: nothing is in
 * common. */
double rle_iou(rle_view found, rle_view truth, int32_t crowd);

#endif
