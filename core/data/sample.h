/* A sample and its arena; internal to core/data. */
#ifndef CVR_SAMPLE_H
#define CVR_SAMPLE_H

#include <cvr/batches.h>

#define SAMPLE_MOST_FIELDS 16u
#define SAMPLE_MOST_BLOCKS 64u

/* Memory is kept from sample to sample: after the first few, nothing is allocated. */
typedef struct arena_sample {
    cvr_sample sample;
    cvr_field fields[SAMPLE_MOST_FIELDS];
    cvr_field *pointers[SAMPLE_MOST_FIELDS];
    struct {
        char *memory;
        uint64_t bytes, used;
    } blocks[SAMPLE_MOST_BLOCKS];
    uint32_t n_blocks;
} arena_sample;

void sample_init(arena_sample *s);
void sample_reset(arena_sample *s);
void sample_free(arena_sample *s);

typedef struct sample_place {
    int64_t index, epoch;
} sample_place;
/* Reads a sample and applies the transforms. The error names the sample. */
int32_t sample_make(arena_sample *s, const cvr_batches_options *o, sample_place at, cvr_error *err);
/* The random numbers of a transform: by seed, epoch, sample and place in the pipeline. */
void sample_rng(cvr_rng *rng, const cvr_batches_options *o, sample_place at, size_t place);
/* Puts the transform's name before its message; returns `status`. */
int32_t transform_failed(const cvr_transform *t, int32_t status, cvr_error *err);
/* The picture as f32, normalised: (H, W, C). */
void sample_normalise(const cvr_field *image, const cvr_batches_options *o, float *out);

#endif
