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
    bool own;   /* of a plugin under test, not only computed by one */
    bool emits; /* not asked for: its programs may launch what is, since its gradient emits it */
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
    bool emitters;         /* targets are sought that only emit what is asked for */
    bool looked, awaits;   /* of worker_awaits: its answer, once it was asked */
    bool gradients;        /* some op that is registered has one: it may emit ops that have none */
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

/* ---- ops that only gradients emit, such as softmax_backward ---- */

/* Whether an op is asked for by name that has no gradient: it may be a part of another's, which hands it what that made
 * on its way forward, so that only programs of such ops and of layers have real cases of it. */
bool worker_wants_emitters(const worker *w);
/* Whether only gradients emit the op, as far as one can tell: it has none, where others have one. Cases that are drawn
 * of it have inputs of one shape, and its shape rule need not refuse others. */
bool worker_is_emitted(const worker *w, const cvr_op_desc *op);
/* Whether it is such an op, and programs have launched it, so that none of its cases need be drawn. */
bool worker_has_programs(const worker *w, const cvr_op_desc *op);
/* Whether lines and layers have left out such an op that is asked for, so that it needs the programs of ops that are
 * not; of the first time that one of these has a turn. */
bool worker_awaits(worker *w);
/* Whether cases of an op are programs too: those of its own ops, and of ops whose gradients may emit what is tried. */
bool worker_is_for_programs(const worker *w, const target *t);
/* Whether an op that is asked for by name is in the program of a case. */
int32_t worker_launches_asked(const worker *w, const layer_case *c, bool *asked, cvr_error *err);

#endif
