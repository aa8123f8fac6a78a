/* The data of a session: its splits, the transforms of each, and what is known of the classes. */
#ifndef CVR_RUN_DATA_H
#define CVR_RUN_DATA_H

#include "run_settings.h"
#include "sample_cache.h"
#include <cvr/batches.h>

typedef struct class_names {
    char **names;
    int64_t n;
} class_names;

/* One split of the data. */
typedef struct split {
    const cvr_dataset_desc *desc;
    void *self; /* the open data set */
    bool present;
    sample_cache *cache;       /* before it, with data.cache=ram; else NULL */
    cvr_transform *transforms; /* ordered by stage; their attributes are the split's own */
    size_t n_transforms, capacity;
    cvr_batches *batches;
    int64_t skipped;           /* of `batches`, before those that were begun last */
    struct features *features; /* batches are made of these; NULL: of the pictures */
} split;

/* sampler.c: pictures that an epoch has, where it is not each of them once, and which of them share a batch. */
typedef struct sampler {
    uint64_t seed;
    int64_t repeat, n;         /* how often each stands in a row; pictures of an epoch */
    int64_t n_classes;         /* that have pictures */
    int64_t *by_class, *first; /* numbers of pictures, class by class; where a class begins; NULL: not balanced */
    int64_t n_groups;          /* of pictures with like aspect ratios; 0: any share a batch */
    uint8_t *group;            /* (n) */
    int64_t *scratch;          /* (n) */
} sampler;

/* multi_scale.c: a list of training's transforms for each size. */
#define MOST_SIDES 32
typedef struct multi_scale {
    int64_t sides[MOST_SIDES];
    split lists[MOST_SIDES]; /* only their transforms are of use */
    const cvr_transform *transforms[MOST_SIDES];
    size_t n;
} multi_scale;

typedef struct run_data {
    split splits[2];        /* CVR_SPLIT_TRAIN, CVR_SPLIT_VAL */
    cvr_batches *untouched; /* validation's, whose pictures and masks have their own size; NULL: not wanted */
    cvr_batches *pictures;  /* for prediction; NULL: none */
    bool probes;            /* batches are for computing features: all made as validation makes them, in order */
    cvr_task_info task;
    class_names classes; /* of the network */
    sampler sampler;
    multi_scale multi_scale;
    float *class_weights; /* train.class_weights; NULL: none */
    int64_t channels;
    double seconds;                 /* that opening it took */
    atomic_int_fast64_t cache_left; /* bytes that both splits' caches may still take */
} run_data;

/* What the sides of a picture have to be multiples of: the model's word, where the task pads. */
int64_t data_stride(const settings *s);
/* Sizes that pictures may have before they are padded, where a task says something of each pixel and looks at them one
 * by one; and programs that are kept for them. */
#define MOST_VIEWS 64u

/* An error of a sample's file gets what can be done about it; the status. */
int32_t data_suggest_skip(const settings *s, int32_t status, cvr_error *err);

/* transforms.c: those of both splits, from [augment] and the task's pipeline. */
int32_t data_make_transforms(run_data *d, const settings *s, cvr_plugins *p, cvr_error *err);
/* Training's alone, for pictures of data.img_size. */
int32_t data_train_transforms(const cvr_task_info *info, split *to, const settings *s, cvr_plugins *p, cvr_error *err);
void data_free_transforms(split *s);
int32_t multi_scale_open(run_data *d, const settings *s, cvr_plugins *p, cvr_error *err);
void multi_scale_options(const run_data *d, const settings *s, cvr_batches_options *o);
int32_t multi_scale_check(const run_data *d, const settings *s, cvr_error *err);
void multi_scale_close(run_data *d);
/* Whether the size of training's pictures is given beside data.img_size: by a line of [augment], or, where there are
 * none, by [val]. */
bool data_size_is_given(const run_data *d, const settings *s);
/* Opens the splits, and learns of the classes. */
int32_t data_open_splits(run_data *d, const settings *s, cvr_plugins *p, bool trains, bool evaluates, cvr_error *err);
/* Opens the splits and makes their batches. `evaluates`: validation data is wanted whatever val.interval says. */
int32_t data_open(run_data *d, const settings *s, cvr_plugins *p, bool trains, bool evaluates, cvr_error *err);
/* Puts the size of training's pictures into the settings, where they said none. */
void data_settle_size(const run_data *d, settings *s);
/* Makes the batches anew, where train.batch has changed. */
int32_t data_open_batches(run_data *d, const settings *s, cvr_plugins *p, bool trains, bool evaluates, cvr_error *err);
/* Batches of single pictures, made as validation makes them. */
int32_t data_open_pictures(run_data *d, const settings *s, cvr_plugins *p, cvr_error *err);
/* For evaluation in tiles: validation's samples as the data has them, and batches of single pictures. */
int32_t data_open_for_tiles(run_data *d, const settings *s, cvr_plugins *p, cvr_error *err);
void data_close(run_data *d);
/* What the batches of a split are made by. */
void data_batch_options(const run_data *d, const settings *s, cvr_plugins *p, uint32_t which, cvr_batches_options *o);

/* train.sampler and train.repeat; after the classes are known. */
int32_t sampler_open(run_data *d, const settings *s, cvr_error *err);
void sampler_options(const run_data *d, const settings *s, cvr_batches_options *o);
/* aspect_groups.c: data.aspect_groups. The second puts pictures of one group into each batch. */
int32_t aspect_groups_open(run_data *d, const settings *s, cvr_error *err);
void aspect_groups_arrange(const sampler *p, int64_t n, int64_t batch, int64_t *order);
void aspect_groups_close(sampler *p);
/* train.class_weights */
int32_t sampler_class_weights(run_data *d, const settings *s, cvr_error *err);
void sampler_close(run_data *d);

/* features.c: where batches of a split come from. */
typedef struct features features;
void features_destroy(features **f);
int32_t split_begin(split *s, int64_t epoch, int64_t first, cvr_error *err);
int32_t split_next(split *s, cvr_batch *out, cvr_error *err);
/* As cvr_batches_peek; features are on no disk, and have none. */
bool split_peek(const split *s, cvr_batch *out);
int64_t split_samples(const split *s);
int64_t split_per_epoch(const split *s);
int64_t split_skipped(const split *s);

/* class_names.c */
void class_names_clear(class_names *c);
int32_t class_names_read(class_names *c, const char *path, cvr_error *err);
/* data.names, "a,b,c": a name for each, and no name twice. */
int32_t class_names_split(class_names *c, const char *text, cvr_error *err);
/* The class of this name, looked for at `likely` first; -1: there is none. */
int64_t class_names_find(const class_names *c, const char *name, int64_t likely);
bool class_names_same(const class_names *a, const class_names *b);
/* Whether they are only "0", "1", ..., as of data that has no names. */
bool class_names_are_numbers(const class_names *c);
/* "a,b,c", shortened where that is too long. */
const char *class_names_list(const class_names *c, char *to, size_t size);

/* classes.c: settles which classes the network has, and under which numbers each split gives them. */
int32_t data_open_classes(run_data *d, const settings *s, cvr_plugins *p, bool trains, cvr_error *err);
void data_close_classes(run_data *d);
/* The classes of a file of weights: of published weights their own, else what a classes.txt beside it says; none where
 * there is none. */
int32_t data_weights_classes(const settings *s, const char *weights, class_names *c, cvr_error *err);

/* mapped_data.c: class i of the split's data, of n, is from now on the network's class to[i]. */
int32_t split_map_classes(split *sp, const int64_t *to, int64_t n, const cvr_task_info *task, cvr_error *err);

#endif
