/* What a batch is made of: columns, one after the other, each with its memory; internal to core/data. */
#ifndef CVR_LAYOUT_H
#define CVR_LAYOUT_H

#include "sample.h"

#define LAYOUT_MOST_COLUMNS 48u
#define LAYOUT_MOST_CANVASES 64u

typedef enum column_kind {
    COLUMN_FIELD,       /* the image, and then the fields that are wanted */
    COLUMN_COUNT,       /* rows of a ragged axis: (N) i64 */
    COLUMN_SIZE,        /* height and width of each picture on its canvas: (N, 2) f32 */
    COLUMN_PARAMS,      /* what a transform that the device does has drawn: (N, numbers) f32 */
    COLUMN_BATCH_PARAMS /* for the whole batch: (numbers) f32 */
} column_kind;

typedef struct column {
    column_kind is;
    char name[96];
    const cvr_field_kind *kind; /* COLUMN_FIELD */
    uint32_t dtype;             /* in the batch */
    uint32_t rank;
    /* Of one sample's part, axes in a sample's order; at most: a ragged axis has the most rows, a picture's sides are
     * the pitch's. */
    int64_t shape[4];
    bool softened;    /* one i64 in a sample, a share for each class in the batch */
    bool ragged;      /* axis 0 is */
    bool inner;       /* rank 3 that is not interleaved: in the batch's memory axis 0 lies innermost */
    int32_t count;    /* column of its axis's counts; -1: none */
    size_t place;     /* COLUMN_..PARAMS: of the transform */
    const char *axis; /* COLUMN_COUNT */
    uint64_t bytes;   /* of one sample's part; COLUMN_BATCH_PARAMS: of all */
} column;

typedef struct layout {
    column columns[LAYOUT_MOST_COLUMNS];
    size_t n, n_fields;
    cvr_canvas canvases[LAYOUT_MOST_CANVASES]; /* largest first */
    size_t n_canvases;
    cvr_canvas pitch; /* sides that hold every canvas: how far apart rows and samples are until a batch is whole */
    int64_t channels;
    bool on_device; /* pictures travel as u8, and the device normalises them */
    bool have_targets;
    uint8_t pad[4]; /* of the channels of a u8 picture: the level that is nearest to 0 once it is normalised */
    size_t end;     /* transforms before this place are done on each sample, on the host */
} layout;

/* From the first sample: columns, canvases, how many rows. */
int32_t layout_open(layout *l, workbench *w, cvr_error *err);
/* The columns alone, from a sample that has come to the transform that normalises; it is taken further. */
int32_t layout_learn(layout *l, workbench *w, arena_sample *s, cvr_error *err);
/* canvases.c */
int32_t layout_canvases(layout *l, workbench *w, const cvr_field *image, cvr_error *err);
/* A canvas for a picture of its own: rounded up as the options want it. */
cvr_canvas canvas_of(const cvr_batches_options *o, int64_t height, int64_t width);
/* The smallest canvas that holds a size, or NULL. */
const cvr_canvas *layout_canvas(const layout *l, int64_t height, int64_t width);
/* Sets the pitch and the bytes of every column. */
int32_t layout_measure(layout *l, cvr_canvas pitch, cvr_error *err);
/* Element type and shape of a column for `n` samples. */
void column_type(const column *c, int64_t n, cvr_canvas canvas, cvr_type *type);

/* collate.c */
/* Copies a sample into place i of the columns' memory; `size` gets its picture's. */
int32_t collate(const layout *l, const pipeline *p, const arena_sample *s, int64_t i, void *const *memory,
                cvr_canvas *size, cvr_error *err);
/* Moves rows of n samples together, from the pitch to a canvas. */
void collate_canvas(const layout *l, int64_t n, cvr_canvas canvas, void *const *memory);

#endif
