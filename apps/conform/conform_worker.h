/* The process that does the jobs, from within: conform_targets.c finds them, conform_jobs.c does one, conform_work.c
 * all. */
#ifndef CVR_CONFORM_WORKER_H
#define CVR_CONFORM_WORKER_H

#include "draw.h"
#include "kernel_check.h"
#include "placement.h"

typedef enum job_kind { JOB_OP, JOB_LAYER, JOB_LINE } job_kind;

/* `draws` jobs each. */
typedef struct target {
    job_kind kind;
    const char *name;
    const cvr_op_desc *op;
    const cvr_layer_desc *layer;
    case_line line;
    bool own; /* of a plugin under test, not only computed by one */
} target;

typedef struct worker {
    const conform_options *o;
    conform_board *board;
    cvr_plugins *plugins;
    const char *ids[64];
    size_t n_ids;
    target *targets;
    size_t n_targets, capacity;
    kernel_check check;
    /* watched: its launches are checked, and go to the kernels under test; the device where a backend is tried */
    case_machine plain, watched;
    case_line *lines;
    size_t n_lines;
    bool lows[2];          /* some kernel takes bf16; f16 */
    placement_probe probe; /* of the device under test */
} worker;

int32_t worker_add_kernel(worker *w, const cvr_op_desc *op, const cvr_kernel_desc *k, cvr_error *err);
int32_t worker_add_target(worker *w, const target *t, cvr_error *err);
/* Of the lines that were read; then puts all targets in order. */
int32_t worker_add_lines(worker *w, cvr_error *err);
/* All that the plugins under test register, and the lines of the files of cases. */
int32_t worker_find_targets(worker *w, cvr_error *err);
/* A case of a target; slot: which of its draws. */
void worker_do(worker *w, const target *t, uint64_t slot);
/* A row that says of an op or a layer how many cases there were. */
conform_row *worker_row(const worker *w, const target *t);

#endif
