/*
 * YOLO's labels: a text file a picture, a line an object; and the files that say where pictures and names are,
 * data.yaml (Ultralytics, Roboflow) or Darknet's .data.
 */
#ifndef CVR_YOLO_H
#define CVR_YOLO_H

#include "../boxes/box_data.h"

#define YOLO_MOST_CLASSES 65536
#define YOLO_PATH 4096

/* What a file about the data says; text is owned by it. */
typedef struct yolo_plan {
    const cvr_host *host;
    char path[YOLO_PATH]; /* data.yaml's `path`, "" where it has none */
    char base[YOLO_PATH]; /* the folder that paths count from */
    char *splits[2];      /* of each split: paths, each NUL-terminated, "" behind the last; NULL: it says none */
    uint64_t splits_n[2], splits_room[2];
    name_table names;
    char names_file[YOLO_PATH]; /* Darknet: the file of names */
    int64_t n_classes;          /* nc, classes; -1: nothing is said */
    int32_t darknet;
} yolo_plan;

void yolo_plan_free(yolo_plan *p);
int32_t yolo_plan_add(yolo_plan *p, uint32_t split, const char *path, cvr_error *err);
/* Errors name file and line. */
int32_t yolo_yaml_read(yolo_plan *p, const char *path, cvr_error *err);
int32_t yolo_darknet_read(yolo_plan *p, const char *path, cvr_error *err);

/* Outlines of rows with more than a box, as the data set's `own`. */
typedef struct yolo_own {
    const cvr_host *host;
    float *corners; /* x, y in shares of the picture */
    uint64_t n, room;
} yolo_own;

/* The rows of a picture's label file. `n_classes` -1: any class is taken. A file that is not there says that there is
 * nothing: `missing` is counted up. */
int32_t yolo_label_read(box_data *d, uint64_t picture, int64_t n_classes, int64_t *highest, uint64_t *missing,
                        cvr_error *err);
int32_t yolo_shape(const box_data *d, const box_object *o, int64_t height, int64_t width, rle *out, cvr_error *err);
int32_t yolo_create(const cvr_dataset_args *args, box_data **out, cvr_error *err);

/* The description that lies in data.root under a usual name; "": none does. */
int32_t yolo_usual_plan(const char *root, char file[YOLO_PATH], cvr_error *err);
/* yolo_guess.c */
int32_t yolo_guess(const cvr_guess_args *g, cvr_propose_fn each, void *ctx, int32_t *sure, cvr_error *err);

#endif
