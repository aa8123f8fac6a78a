/*
 * A detector of a golden file as a program of its own: built, given its weights and a batch with targets, run once, and
 * all that came out read back. What the tests of detectors and `detector_run` (for tests/parity) share.
 *
 * Fields of a case: model, settings (text), classes (i64), image (N,3,H,W) u8 or f32, image_size (N,2), boxes (N,M,4),
 * box_labels (N,M) i64, counts (N) i64, perhaps masks (N,M,H,W) u8, lr (f32), perhaps closing (f32), param.NAME (f32 or
 * bf16), and perhaps capture (text): names of layers, separated by blanks.
 */
#ifndef CVR_TEST_DETECTOR_CASE_H
#define CVR_TEST_DETECTOR_CASE_H

#include "golden.h"

#define DETECTOR_MOST_RESULTS 1024

/* Logical order, as files have it. Names:
 *   boxes, scores, ...   results of the network
 *   loss_NAME            its losses
 *   layer.NAME.i         what the i-th call of a captured layer gave
 *   grad.NAME.i          in training, the gradient of that
 *   after.NAME           in training, a parameter or buffer after a step of plain SGD
 */
typedef struct detector_tensor {
    char name[200];
    cvr_type type;
    void *data;
} detector_tensor;
typedef struct detector_result {
    detector_tensor all[DETECTOR_MOST_RESULTS];
    size_t n;
} detector_result;

typedef struct detector_case {
    golden *g;
    const char *label;
    cvr_plugins *plugins;
    cvr_threadpool *pool;
    const char *backend;
    bool training;
    bool targets; /* in evaluation too: losses are wanted */
} detector_case;

/* Free with detector_clear, also after a failure. */
int32_t detector_run(const detector_case *c, detector_result *out, cvr_error *err);
/* The sum of the graph's losses, gradients, and a step of plain SGD. */
int32_t detector_add_step(cvr_plugins *plugins, cvr_graph *graph, cvr_error *err);
const detector_tensor *detector_find(const detector_result *r, const char *name);
void detector_clear(detector_result *r);

#endif
