/*
 * A picture that is looked at in several views, and the one answer that is made of them: for tasks that say something
 * of each pixel (cvr_task_desc.dense).
 */
#ifndef CVR_VIEWS_H
#define CVR_VIEWS_H

#include "network.h"

/* Memory that only grows. */
typedef struct view_memory {
    void *data;
    uint64_t bytes;
} view_memory;

typedef struct views {
    view_memory input, scaled, sum, times, total, row; /* times: how often each pixel was in a window */
    int64_t channels;                                  /* of the answer */
    cvr_named_tensor output;                           /* of the answer, and what a task gets to see of it: */
    const cvr_named_tensor *fields[1];
    const cvr_origin *origins[1];
} views;

/* What the answer is to be brought to: the part `height` x `width` of a canvas; the rest of it is 0. */
typedef struct view_target {
    int64_t height, width;
    cvr_canvas canvas;
    const cvr_origin *origin;
} view_target;

/* The part of the canvas that the picture of a batch of one takes: the rest was padded. */
cvr_canvas views_picture_size(const cvr_batch *b);
/* The sizes for which programs are planned: `i` from 0 on, for pictures on this canvas; false past the last. */
bool views_canvas(const settings *s, cvr_canvas picture, size_t i, cvr_canvas *out);
/* Looks at the picture of `b`, a batch of one, as the settings say. `out` lives until the next time. */
int32_t views_run(views *v, run_network *n, const cvr_batch *b, const view_target *to, cvr_batch_view *out,
                  cvr_error *err);
void views_free(views *v);

#endif
