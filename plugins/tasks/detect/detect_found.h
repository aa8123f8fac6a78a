/* What a network found on one picture, in that picture's own pixels. */
#ifndef CVR_DETECT_FOUND_H
#define CVR_DETECT_FOUND_H

#include "coco_ap.h"
#include "host_array.h"

/* Names of the results: (N, D, 4) f32 in pixels of the canvas, (N, D) f32, (N, D) i64 with -1 for none, and where there
 * are masks (N, D, side * side) f32. */
#define DETECT_BOXES "boxes"
#define DETECT_SCORES "scores"
#define DETECT_LABELS "labels"
#define DETECT_MASKS "masks"

/* Boxes have as many digits as a file of results gets: what a program reads there is what was measured here. */
#define DETECT_DIGITS 4 /* behind the point */

/* Which detections are wanted. */
typedef struct detect_filter {
    int64_t n_classes;
    double least_score; /* those below are left out */
    double iou;         /* of two of a class with a larger IoU the one of the lower score is left out; 1: none is */
    int64_t most;       /* the best of them; 0: all */
    int32_t masks;      /* 1: their masks, too, where the network says them */
} detect_filter;

/* Used again for the next picture; start with {.host = host}. */
typedef struct detect_found {
    const cvr_host *host;
    host_array rows; /* coco_found, in the network's order */
    host_array runs; /* uint32_t: of all masks */
    rle mask;
    double back[9];        /* from the canvas to the picture */
    int64_t height, width; /* of the picture */
    int32_t has_masks;
} detect_found;

int32_t detect_found_read(detect_found *d, const detect_filter *f, const cvr_batch_view *outputs, int64_t row,
                          cvr_error *err);
void detect_found_free(detect_found *d);

static inline const coco_found *detect_found_rows(const detect_found *d) {
    return d->rows.data;
}

/* The inverse of a matrix as cvr_origin.geometry. */
int32_t detect_inverse(double out[9], const double m[9], cvr_error *err);
/* x, y, width, height of where a box x1, y1, x2, y2 comes to lie, within a picture of this size, not rounded. */
void detect_map_box(double out[4], const double m[9], const float xyxy[4], int64_t height, int64_t width);

#endif
