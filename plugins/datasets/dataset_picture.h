/*
 * What data sets of picture files share: a file's bytes, the picture in them, and its labels as fields.
 */
#ifndef CVR_DATASET_PICTURE_H
#define CVR_DATASET_PICTURE_H

#include <cvr/plugin/plugin.h>

/* Who decodes, and to how many channels: 1, 3, or 0, as they are. */
typedef struct dataset_pictures {
    const cvr_image_service *image;
    uint32_t channels;
} dataset_pictures;

/* The host's decoder. A data set whose recipe names no number of channels gets RGB: pictures of both kinds are common.
 */
int32_t dataset_pictures_open(const cvr_dataset_args *args, dataset_pictures *out, cvr_error *err);

/* The file's bytes, in the sample's memory. Errors name the file. */
int32_t dataset_picture_read(const char *path, cvr_sample *s, uint8_t **bytes, uint64_t *n, cvr_error *err);
/* Height and width of the picture in a file, upright, by no more of it than the decoder needs. Errors name the file. */
int32_t dataset_picture_size(const dataset_pictures *p, const cvr_host *host, const char *path, int64_t *height,
                             int64_t *width, cvr_error *err);
/* Adds the field "image". */
int32_t dataset_picture_add(const dataset_pictures *p, const uint8_t *bytes, uint64_t n, cvr_sample *s, cvr_error *err);

/* cvr_dataset_desc.kind of such data: an image and a label. */
const char *dataset_picture_kind(const void *self, uint32_t i);

/* Adds the field "label": one class, (), i64. */
int32_t dataset_label_add(int64_t label, cvr_sample *s, cvr_error *err);
/* Adds the field "label": (classes) f32, all 0, for the caller to set. */
int32_t dataset_labels_add(int64_t n_classes, cvr_sample *s, float **out, cvr_error *err);

/* Makes what stands in a file fit for a message: `?` for bytes that would not print. Returns `text`. */
char *dataset_printable(char *text);

/* "dir/name", or `name` where it is absolute or `dir` is "". */
int32_t dataset_path(char *to, uint64_t size, const char *dir, const char *name, cvr_error *err);

#endif
