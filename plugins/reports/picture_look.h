/*
 * How a picture of a batch looks to a person: as it was before `(x - mean) / std`, at the size that it is to have on a
 * sheet; and classes of its pixels as colours laid over it.
 */
#ifndef CVR_REPORTS_PICTURE_LOOK_H
#define CVR_REPORTS_PICTURE_LOOK_H

#include "../drawing/class_colours.h"
#include "report_file.h"
#include <cvr/plugin/reporter.h>

typedef struct picture_look {
    const cvr_host *host;
    int64_t n_channels;
    double *mean, *std;
} picture_look;

int32_t picture_look_open(picture_look *p, const cvr_run_info *info, cvr_error *err);
void picture_look_close(picture_look *p);

/* The first field of a kind, or NULL. */
const cvr_tensor *batch_kind(const cvr_batch_view *b, const char *kind);
/* Of a batch's pictures: (N, C, H, W), u8 or f32, and not empty; NULL where there are none such. */
const cvr_tensor *batch_image(const cvr_batch_view *b);
/* The classes of its pixels: (N, H, W) i64. */
const cvr_tensor *batch_mask(const cvr_batch_view *b);
/* What the network says of each pixel, for masks of this size: (N, classes, H, W) f32; NULL where it does not. */
const cvr_tensor *batch_pixel_scores(const cvr_batch_view *outputs, int64_t n_classes, const cvr_tensor *mask);

/* Picture i of a batch: of its canvas the part that is no padding. */
typedef struct batch_picture {
    const cvr_tensor *image; /* NULL: there is none */
    int64_t i, height, width;
} batch_picture;
batch_picture batch_picture_at(const cvr_batch_view *b, int64_t i);

/* Mean of a picture over the part of it that pixel (x, y) of a view of this size shows. Three channels are RGB, of any
 * other number the first is shown, grey. */
typedef struct view_size {
    int64_t height, width;
} view_size;
colour picture_pixel(const picture_look *p, const batch_picture *from, view_size size, int64_t x, int64_t y);
/* All of it, with a frame around it. */
void picture_draw(canvas *c, const picture_look *p, const batch_picture *from, box at);

#define PICTURE_IGNORED 255 /* the number of a pixel that does not count */
typedef struct picture_legend {
    const report_classes *classes;
    colour (*colour_of)(int64_t klass);
    const uint8_t *seen; /* (256): 1 for classes, and for PICTURE_IGNORED, that are to be explained */
} picture_legend;
/* Returns its height; with `c` NULL that is all. */
int64_t picture_legend_draw(canvas *c, const picture_legend *l, box area);

#endif
