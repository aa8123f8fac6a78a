/* The memory of one batch while it is made and read; internal to core/data. */
#ifndef CVR_SLOT_H
#define CVR_SLOT_H

#include "layout.h"

typedef struct slot {
    int64_t position;             /* of the batch that it holds or is being made; -1: free */
    int64_t n, taken, done, kept; /* kept: samples of the whole batch, those aside that were left out */
    bool whole;                   /* nothing is left to do */
    void *memory[LAYOUT_MOST_COLUMNS];
    uint64_t bytes[LAYOUT_MOST_COLUMNS]; /* that the memory has */
    cvr_named_tensor tensors[LAYOUT_MOST_COLUMNS];
    const cvr_named_tensor *pointers[LAYOUT_MOST_COLUMNS];
    cvr_canvas *sizes; /* of each picture */
    cvr_origin *origins;
    const cvr_origin **origin_pointers;
    cvr_canvas canvas;
    cvr_error error;
    int64_t error_at; /* lowest sample that failed; n: none */
} slot;

/* Memory for `batch` samples; grows what is there. */
int32_t slot_allocate(slot *s, const layout *l, int64_t batch, cvr_error *err);
void slot_free(slot *s);
/* Sample i of the batch at a position. Samples that may stand more than once in an epoch are told apart by where they
 * stand. */
sample_place slot_place(const pipeline *p, int64_t position, int64_t i, int64_t index, int64_t epoch);
/* Makes sample i, whose index is in origins[i]. */
int32_t slot_make(slot *s, const layout *l, workbench *w, int64_t i, int64_t epoch, cvr_error *err);
/* A sample that is made already, into place i. */
int32_t slot_put(slot *s, const layout *l, workbench *w, const arena_sample *from, int64_t i, int64_t epoch,
                 cvr_error *err);
/* When all samples are there: the canvas, the tensors, and the transforms of whole batches. */
int32_t slot_finish(slot *s, const layout *l, workbench *w, int64_t epoch, int64_t position, cvr_error *err);
/* The batch for whoever asked. */
void slot_view(const slot *s, const layout *l, cvr_batch *out);

#endif
