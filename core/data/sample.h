/* Samples on their way from the data set to a batch; internal to core/data. */
#ifndef CVR_SAMPLE_H
#define CVR_SAMPLE_H

#include <cvr/batches.h>
#include <stdatomic.h>

#define SAMPLE_MOST_FIELDS 16u
#define SAMPLE_MOST_BLOCKS 64u
#define SAMPLE_MOST_KINDS 64u
#define SAMPLE_MOST_PARTNERS 64u
#define SAMPLE_MOST_TRIES 20

/* What all samples of some batches have in common. It does not change once it is open. */
typedef struct pipeline {
    cvr_batches_options o;
    const cvr_field_kind *kinds[SAMPLE_MOST_KINDS]; /* those of the data, the transforms and the wants */
    size_t n_kinds;
    size_t normalises, batch_first; /* places of the transform that normalises, and of the first for whole batches */
    size_t parts;                   /* transforms at the beginning that work part by part */
    int64_t count, n_samples;       /* that there are, once and for all; that are used */
    const char *path;               /* of a picture that is outside any data set */
    atomic_int_fast64_t skipped;
    atomic_int_fast64_t told_empty; /* pictures whose empty boxes were told */
    atomic_uchar *warned; /* by sample: whether its file has been warned of (1: by its decoder, 2: as bad, 4: for boxes
                             that are empty); NULL: nobody keeps count */
} pipeline;

/* `o->dataset` NULL: pictures outside any data set. Refuses what can be known not to work. */
int32_t pipeline_open(pipeline *p, const cvr_batches_options *o, cvr_error *err);
/* Whether an epoch, from 0, is one of the last, which do without transforms that say `closes`: train.close_mosaic. */
static inline bool pipeline_is_closing(const pipeline *p, int64_t epoch) {
    return p->o.closes && epoch >= p->o.closes_at;
}
/* Index in the data of the i-th sample that is used. */
int64_t pipeline_sample(const pipeline *p, int64_t i);
const cvr_field_kind *pipeline_kind(const pipeline *p, const char *name);
/* Says in the error where sample `index` comes from; returns the error's code. */
int32_t pipeline_fail_at(const pipeline *p, int64_t index, int32_t status, cvr_error *err);

/* Memory is kept from sample to sample: after the first few, nothing is allocated. */
typedef struct arena_sample {
    cvr_sample sample;
    const pipeline *pipeline;
    cvr_origin origin;
    cvr_field fields[SAMPLE_MOST_FIELDS];
    cvr_field *pointers[SAMPLE_MOST_FIELDS];
    struct {
        char *memory;
        uint64_t bytes, used;
    } blocks[SAMPLE_MOST_BLOCKS];
    uint32_t n_blocks;
} arena_sample;

/* arena.c */
void sample_init(arena_sample *s, const pipeline *p);
void sample_reset(arena_sample *s, int64_t index);
void sample_free(arena_sample *s);

/* One thread's samples: the first `used` are being made, one for the sake of the other. */
typedef struct workbench {
    cvr_batches *owner;
    pipeline *pipeline;
    arena_sample header, **samples;
    size_t n, used, capacity;
    bool looks; /* it makes samples to look at them: those that are bad are neither counted nor told */
} workbench;
void workbench_free(workbench *w);
int32_t workbench_take(workbench *w, arena_sample **out, cvr_error *err);
/* A sample with a picture of this shape and no pixels, until the next: for make_params, which only looks. */
cvr_sample *workbench_header(workbench *w, int64_t height, int64_t width, int64_t channels);

/* Which sample is made. `branch` is 0, or tells the partners of samples apart: their random numbers are their own.
 * Those of whole batches are drawn in a branch, too, by the batch's position in place of the index. */
#define BRANCH_BATCHES 0x62617463u
typedef struct sample_place {
    int64_t index, epoch;
    uint64_t branch;
    size_t variant; /* 0: made by the options' `transforms`; v: by `variants[v - 1]` */
} sample_place;
/* The transform at `place` with the settings that make this sample. */
const cvr_transform *sample_step(const pipeline *p, sample_place at, size_t place);
/* Reads a sample and applies the transforms before `end`. The error names the sample. */
int32_t sample_make_this(workbench *w, arena_sample *s, sample_place at, size_t end, cvr_error *err);
/* After a failure: whether it is passed over (skip_bad). It is then counted and warned of, once a file, `err` is clear,
 * and `at` is the next sample of the data set. */
bool sample_pass_over(workbench *w, sample_place *at, int64_t tries, cvr_error *err);
/* The sample, or where that is passed over the next good one. */
int32_t sample_make(workbench *w, arena_sample *s, sample_place at, size_t end, cvr_error *err);
/* The same with a picture from outside the data. */
int32_t sample_show(workbench *w, arena_sample *s, const cvr_image *image, size_t end, cvr_error *err);
/* The transforms from `first` to before `end`. */
int32_t sample_transform(workbench *w, arena_sample *s, sample_place at, size_t first, size_t end, cvr_error *err);
/* empty_boxes.c: drops objects whose boxes have no width or no height, and tells of those that data has. */
int32_t sample_drop_empty_boxes(arena_sample *s, int64_t *dropped, cvr_error *err);
void sample_tell_empty_boxes(pipeline *p, int64_t index, int64_t n);
/* Fails unless a picture of 1 to 4 channels is there. */
int32_t check_picture(const arena_sample *s, cvr_error *err);
/* The field of this name, or NULL. */
const cvr_field *sample_field(const arena_sample *s, const char *name);
/* What the transform at `place` draws: by seed, epoch, sample and place. */
int32_t sample_draw(const pipeline *p, const cvr_sample *s, sample_place at, size_t place, double *params,
                    cvr_error *err);
/* Fails where the transform does not know what to do with a field of this kind. */
int32_t transform_takes(const cvr_transform *t, const cvr_field_kind *kind, cvr_error *err);
/* Puts the transform's name before its message; returns `status`. */
int32_t transform_failed(const cvr_transform *t, int32_t status, cvr_error *err);

#endif
