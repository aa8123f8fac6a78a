/* The part of a picture that the first transforms need; internal to core/data. */
#ifndef CVR_PARTS_H
#define CVR_PARTS_H

#include "sample.h"

#define PARTS_MOST_STEPS 8u

/* One sample's way from its whole picture to the last of the transforms that work part by part. Step i makes part i + 1
 * from part i; the last part is a whole picture, that the other transforms go on with. */
typedef struct part_plan {
    workbench *w;
    arena_sample *s;
    const pipeline *p;
    sample_place at;
    size_t n;    /* steps */
    bool chosen; /* whether the decoder has asked */
    cvr_part_request request;
    cvr_part parts[PARTS_MOST_STEPS + 1], given;
    double params[PARTS_MOST_STEPS][CVR_AUGMENT_PARAMS];
} part_plan;

/* Counts the steps, of the transforms before `end`. 0: there is nothing to ask a decoder for. */
void parts_begin(part_plan *p, workbench *w, arena_sample *s, sample_place at, size_t end);
/* The steps, on what the decoder gave. */
int32_t parts_apply(part_plan *p, cvr_error *err);
#endif
