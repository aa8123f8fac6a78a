/*
 * Batches: samples of a data set, through the transforms, into the memory that a step reads. Threads make them ahead of
 * the step. What a batch holds depends on the seed, the epoch and its place only, never on the threads.
 */
#ifndef CVR_BATCHES_H
#define CVR_BATCHES_H

#include <cvr/base.h>

#pragma GCC visibility push(default)

/* A transform and its settings; both borrowed. */
typedef struct cvr_transform {
    const cvr_augment_desc *desc;
    const void *attrs;
} cvr_transform;

typedef struct cvr_batches_options {
    const cvr_dataset_desc *dataset;
    const void *self; /* the open data set */
    const cvr_transform *transforms;
    size_t n_transforms;
    int64_t batch; /* samples of a batch; the last may have fewer */
    int64_t limit; /* use only this many samples, evenly spread; 0: all */
    bool shuffle, drop_last, skip_bad;
    bool run_ahead;       /* go on into the next epoch */
    bool whole;           /* decode whole pictures, also where a part would do: finds damage anywhere in a file */
    bool reduced;         /* let decoders shrink pictures that a transform shrinks anyway: faster, other pixels */
    uint32_t workers;     /* 0: made when asked for, by the caller */
    uint32_t target_kind; /* the field that is the target: CVR_FIELD_LABEL (also 0) or CVR_FIELD_MASK */
    uint64_t seed;
    double mean[4], std[4]; /* of the channels */
    const char *size_hint;  /* what to do when pictures differ in size, for the message */
} cvr_batches_options;

typedef struct cvr_batch {
    int64_t n, height, width, channels;
    const float *images;    /* (n, height, width, channels), normalised */
    const int64_t *labels;  /* (n), or masks: (n, height, width) */
    const int64_t *indices; /* n: samples of the data set */
    double wait_seconds;    /* how long the caller was kept waiting */
} cvr_batch;

typedef struct cvr_batches cvr_batches;

/* Makes one sample to learn the pictures' size. Everything in the options must outlive the batches. */
int32_t cvr_batches_create(cvr_batches **out, const cvr_batches_options *o, cvr_error *err);
void cvr_batches_destroy(cvr_batches **b);
/* Shape of a whole batch's pictures: (batch, channels, height, width). */
void cvr_batches_shape(const cvr_batches *b, int64_t shape[4]);
int64_t cvr_batches_samples(const cvr_batches *b);
int64_t cvr_batches_per_epoch(const cvr_batches *b);
/* Samples of the last, smaller batch of an epoch; 0 where all are whole. */
int64_t cvr_batches_remainder(const cvr_batches *b);
/* Starts, or starts over, at a batch of an epoch (both from 0). */
int32_t cvr_batches_begin(cvr_batches *b, int64_t epoch, int64_t first, cvr_error *err);
/* The next batch in order; it stays until the next call. Past the end of an epoch without run_ahead: n is 0. */
int32_t cvr_batches_next(cvr_batches *b, cvr_batch *out, cvr_error *err);
/* Bad samples left out so far. */
int64_t cvr_batches_skipped(const cvr_batches *b);
/* Makes one sample, from the whole of its picture, and throws it away: is it good? */
int32_t cvr_batches_try(const cvr_batches_options *o, int64_t index, cvr_error *err);
/* One picture through transforms, outside any batch: (height, width, channels) f32, normalised, in memory of cvr_alloc.
 */
int32_t cvr_picture_load(const cvr_batches_options *o, const cvr_image *image, cvr_batch *out, cvr_error *err);

#pragma GCC visibility pop
#endif
