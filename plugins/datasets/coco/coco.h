/*
 * COCO's annotations of instances (https://cocodataset.org/#format-data): one JSON file a split with the lists images,
 * annotations and categories, in any order.
 */
#ifndef CVR_COCO_H
#define CVR_COCO_H

#include "../boxes/box_data.h"

typedef struct coco_category {
    int64_t id;
    int64_t klass;
    uint64_t name; /* in the data's text */
} coco_category;

/* What the data set has beside box_data, as its `own`. */
typedef struct coco_own {
    const cvr_host *host;
    coco_category *categories; /* by id */
    uint64_t n, room;
    int fd; /* of the annotations, for outlines; -1: none are wanted */
} coco_own;

/* Reads a file. Pictures' paths are file names until coco_set_folder(). `as_is`: classes are ids less 1, else ranks
 * among the ids. */
int32_t coco_read_file(box_data *d, const char *path, int32_t as_is, cvr_error *err);
/* Opens the file for outlines. */
int32_t coco_open_outlines(box_data *d, const char *path, cvr_error *err);
/* box_data.shape: polygons or run lengths. */
int32_t coco_shape(const box_data *d, const box_object *o, int64_t height, int64_t width, rle *out, cvr_error *err);
/* The same of the JSON text itself. */
int32_t coco_shape_text(const cvr_host *host, const char *json, uint64_t n, int64_t height, int64_t width, rle *out,
                        cvr_error *err);

/* box_data.own and what goes with it. */
int32_t coco_create(const cvr_dataset_args *args, box_data **out, cvr_error *err);

#endif
