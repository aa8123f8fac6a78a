/*
 * Batches: samples of a data set, through the transforms, into the memory that a step reads. Threads make them ahead of
 * the step. What a batch holds depends on the seed, the epoch and its place only, never on the threads.
 */
#ifndef CVR_BATCHES_H
#define CVR_BATCHES_H

#include <cvr/plugins.h>
#include <cvr/program.h>

#pragma GCC visibility push(default)

/* A transform and its settings; both borrowed. */
typedef struct cvr_transform {
    const cvr_augment_desc *desc;
    const void *attrs;
} cvr_transform;

/* A size of pictures for which a program is planned. */
typedef struct cvr_canvas {
    int64_t height, width;
} cvr_canvas;

typedef struct cvr_batches_options {
    cvr_plugins *plugins; /* knows the field kinds */
    const cvr_dataset_desc *dataset;
    const void *self;                /* the open data set */
    const cvr_transform *transforms; /* ordered by stage; one of them normalises */
    size_t n_transforms;
    const cvr_want *const *wants; /* fields beside the image that batches have */
    size_t n_wants;
    int64_t n_classes;
    int64_t batch;        /* samples of a batch; the last may have fewer */
    int64_t limit;        /* use only this many samples, evenly spread; 0: all */
    int64_t most_rows;    /* data.max_boxes: rows that a ragged axis is padded to; 0: found by a scan of the data */
    int64_t shapes;       /* data.shapes: most canvases; 0 or 1: all pictures have one size */
    int64_t stride;       /* sides of a canvas are multiples of it; 0 or 1: any */
    bool pads;            /* pictures of a batch may differ in size, and are padded */
    bool without_targets; /* the wanted fields may be missing, and are then not there in any batch */
    bool shuffle, drop_last, skip_bad;
    bool leave_out; /* with skip_bad, a bad sample makes its batch smaller; else the next good one takes its place */
    bool in_parts;  /* a step takes a batch in parts: the host does what works on a whole batch */
    bool run_ahead; /* go on into the next epoch */
    bool closes;    /* transforms that say so (cvr_augment_desc.closes) are left out from epoch closes_at (from 0) on */
    bool whole;     /* decode whole pictures, also where a part would do: finds damage anywhere in a file */
    bool reduced;   /* let decoders shrink pictures that a transform shrinks anyway: faster, other pixels */
    uint32_t workers; /* 0: made when asked for, by the caller */
    int64_t closes_at;
    /* train.multi_scale: the transforms with other settings, n_transforms of them each; one of these lists, drawn for
     * every variant_every batches, is taken in place of `transforms`, but not in the epochs that closes_at begins.
     * 0: none. All pictures of a variant have one size. */
    const cvr_transform *const *variants;
    size_t n_variants;
    int64_t variant_every;
    uint64_t seed;
    /* Puts other samples into an epoch, or them in another order: changes n numbers from 0 to n - 1, where a number may
     * then stand more than once, with random numbers of its own each time. A pure function of what it is given; NULL:
     * none. */
    void (*arrange)(const void *sampler, int64_t epoch, int64_t n, int64_t batch, int64_t *order);
    const void *sampler;
    const char *size_hint; /* what to do when pictures differ in size, for the message */
} cvr_batches_options;

/* Fields in `view`: the image first, as the device gets it (u8, or f32 where the host normalises); the wanted fields;
 * the count of each ragged axis, named AXIS_count; where pictures are padded "image_size" (N, 2) f32, the height and
 * width of each; the drawn parameters of transforms that the device does. Each is an
 * input of the program under its name. */
typedef struct cvr_batch {
    cvr_batch_view view; /* n is 0 past the end of an epoch */
    cvr_canvas canvas;
    double wait_seconds; /* how long the caller was kept waiting */
} cvr_batch;

typedef struct cvr_batches cvr_batches;

/* Makes one sample to learn the pictures' size, and scans the data for what is ragged. Everything in the options must
 * outlive the batches. */
int32_t cvr_batches_create(cvr_batches **out, const cvr_batches_options *o, cvr_error *err);
void cvr_batches_destroy(cvr_batches **b);
/* The canvases that batches can have, largest first; at least one. */
size_t cvr_batches_canvases(const cvr_batches *b, const cvr_canvas **out);
int64_t cvr_batches_channels(const cvr_batches *b);
/* False where the options allowed missing targets and the data has none. */
bool cvr_batches_have_targets(const cvr_batches *b);
int64_t cvr_batches_samples(const cvr_batches *b);
int64_t cvr_batches_per_epoch(const cvr_batches *b);
/* Samples of the last, smaller batch of an epoch; 0 where all are whole. */
int64_t cvr_batches_remainder(const cvr_batches *b);
/* Starts, or starts over, at a batch of an epoch (both from 0). */
int32_t cvr_batches_begin(cvr_batches *b, int64_t epoch, int64_t first, cvr_error *err);
/* The next batch in order; it stays until the next call. */
int32_t cvr_batches_next(cvr_batches *b, cvr_batch *out, cvr_error *err);
/* What the next call will give, where it is made already. */
bool cvr_batches_peek(cvr_batches *b, cvr_batch *out);
/* Block i of the memory that batches are in, which stays where it is until destroy. False: there are no more. */
bool cvr_batches_block(const cvr_batches *b, size_t i, void **memory, uint64_t *bytes);
/* Bad samples left out so far. */
int64_t cvr_batches_skipped(const cvr_batches *b);

/*
 * The inputs of a program for such batches: adds each field of a batch of `n` samples on `canvas` to the graph as an
 * input, with its counts, and the ops of the transforms that the device does. `image`: f32, normalised, as networks
 * read it; the other fields are found by cvr_graph_input_value. `with_targets`: the wanted fields too.
 */
typedef struct cvr_batch_inputs {
    int64_t n;
    cvr_canvas canvas;
    bool with_targets;
} cvr_batch_inputs;
int32_t cvr_batches_inputs(const cvr_batches *b, cvr_graph *g, const cvr_batch_inputs *what, cvr_value *image,
                           cvr_error *err);

/* Makes one sample, from the whole of its picture, and throws it away: is it good? With `like`, which was made from
 * these options: is it good for its batches? */
int32_t cvr_batches_try(const cvr_batches_options *o, const cvr_batches *like, int64_t index, cvr_error *err);
/*
 * Pictures outside any data set, for prediction: batches without targets of one picture each, made by show(). The
 * options' data set is not looked at; `channels` is what pictures are decoded to. Each picture has a canvas of its own;
 * what the batches' inputs are is known once the first is shown.
 */
int32_t cvr_batches_open_pictures(cvr_batches **out, const cvr_batches_options *o, int64_t channels, cvr_error *err);
int32_t cvr_batches_show(cvr_batches *b, const cvr_image *image, const char *path, cvr_batch *out, cvr_error *err);

#pragma GCC visibility pop
#endif
