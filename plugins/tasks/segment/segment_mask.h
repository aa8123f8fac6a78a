/* The mask that a network predicts, brought back to the size of the picture it was given. */
#ifndef CVR_SEGMENT_MASK_H
#define CVR_SEGMENT_MASK_H

#include "../task_losses.h"

#define SEGMENT_IGNORED 255 /* in a mask: no class; in a prediction: a pixel that the network did not see */

typedef struct segment_mask {
    const cvr_host *host;
    int64_t height, width;
    uint8_t *classes;                /* (H, W) */
    uint64_t count[SEGMENT_IGNORED]; /* pixels of each class */
    uint64_t seen;                   /* pixels of any class */
} segment_mask;

/* From logits (N, classes, H, W), for one row: each pixel of the picture takes the class of the largest logit where the
 * origin's geometry puts its middle, bilinear between the network's pixels. */
int32_t segment_mask_make(segment_mask *m, const cvr_host *host, const cvr_tensor *logits, int64_t row,
                          const cvr_origin *origin, cvr_error *err);
/* As a PNG with PASCAL VOC's colours, which are indices of classes; `name` gets the file's. */
int32_t segment_mask_write(const segment_mask *m, const char *suffix, const cvr_prediction_sink *sink,
                           const char **name, cvr_error *err);
/* Any image, as a file of the prediction; `name` may be NULL. */
int32_t segment_write_png(const cvr_host *host, const cvr_image *image, const char *suffix,
                          const cvr_prediction_sink *sink, const char **name, cvr_error *err);
void segment_mask_free(segment_mask *m);

#endif
