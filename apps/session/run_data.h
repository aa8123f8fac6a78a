/* The data of a session: its splits, the transforms of each, and what is known of the classes. */
#ifndef CVR_RUN_DATA_H
#define CVR_RUN_DATA_H

#include "run_settings.h"
#include <cvr/batches.h>

/* One split of the data. */
typedef struct split {
    void *self; /* the open data set */
    bool present;
    cvr_transform *transforms; /* ordered by stage; their attributes are the split's own */
    size_t n_transforms, capacity;
    cvr_batches *batches;
    struct features *features; /* batches are made of these; NULL: of the pictures */
} split;

typedef struct run_data {
    split splits[2];       /* CVR_SPLIT_TRAIN, CVR_SPLIT_VAL */
    cvr_batches *pictures; /* for prediction; NULL: none */
    bool probes;           /* batches are for computing features: all made as validation makes them, in order */
    cvr_task_info task;
    char **class_names;
    int64_t channels;
    double seconds; /* that opening it took */
} run_data;

/* transforms.c: those of both splits, from [augment] and the task's pipeline. */
int32_t data_make_transforms(run_data *d, const settings *s, cvr_plugins *p, cvr_error *err);
/* Opens the splits, and learns of the classes. */
int32_t data_open_splits(run_data *d, const settings *s, cvr_plugins *p, bool trains, bool evaluates, cvr_error *err);
/* Opens the splits and makes their batches. `evaluates`: validation data is wanted whatever val.interval says. */
int32_t data_open(run_data *d, const settings *s, cvr_plugins *p, bool trains, bool evaluates, cvr_error *err);
/* Batches of single pictures, made as validation makes them. */
int32_t data_open_pictures(run_data *d, const settings *s, cvr_plugins *p, cvr_error *err);
void data_close(run_data *d, const settings *s);
/* What the batches of a split are made by. */
void data_batch_options(const run_data *d, const settings *s, cvr_plugins *p, uint32_t which, cvr_batches_options *o);

/* features.c: where batches of a split come from. */
typedef struct features features;
void features_destroy(features **f);
int32_t split_begin(split *s, int64_t epoch, int64_t first, cvr_error *err);
int32_t split_next(split *s, cvr_batch *out, cvr_error *err);
int64_t split_samples(const split *s);
int64_t split_per_epoch(const split *s);
int64_t split_skipped(const split *s);

/* classes.c: how many there are, and their names: the recipe's, else the data's or the run folder's, else numbers. */
int32_t data_open_classes(run_data *d, const settings *s, cvr_plugins *p, cvr_error *err);
void data_close_classes(run_data *d);

#endif
