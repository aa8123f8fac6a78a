/*
 * What the transforms of objects share: the boxes of a sample, and which of its objects stay.
 */
#ifndef CVR_AUGMENT_BOX_ROWS_H
#define CVR_AUGMENT_BOX_ROWS_H

#include "../image_move.h"

/* xyxy: (n, 4) */
typedef struct box_rows {
    int64_t n;
    float *xyxy;
} box_rows;

/* The sample's boxes; `transform` is for the message where there are none, or where they are no boxes. */
int32_t box_rows_get(const cvr_sample *s, const char *transform, box_rows *out, cvr_error *err);
/* A flag for each of n objects, all 1, in the sample's memory. */
int32_t box_rows_flags(cvr_sample *s, int64_t n, uint8_t **keep, cvr_error *err);
/* Keeps the objects whose flag is set, in every field that has a row for each. */
int32_t box_rows_keep(cvr_sample *s, const uint8_t *keep, int64_t n, cvr_error *err);
/* Drops the objects whose boxes have no width or no height. */
int32_t box_rows_drop_empty(cvr_sample *s, cvr_error *err);
/* Holds the boxes of every field inside the picture. */
void box_rows_clamp(const cvr_sample *s, int64_t height, int64_t width);

/* The rows of `to` and then those of `from`, in new memory of `s`, whose field `to` is. */
int32_t box_rows_append(cvr_sample *s, cvr_field *to, const cvr_field *from, cvr_error *err);

static inline int32_t box_is_empty(const float *b) {
    return !(b[2] > b[0] && b[3] > b[1]);
}

#endif
