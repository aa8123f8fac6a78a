/* A node with made-up inputs on the device, to time plans and to compare them with the device kernel. */
#ifndef CUDA_TRIAL_H
#define CUDA_TRIAL_H

#include "choose.h"

#define TRIAL_TENSORS 12u

typedef struct trial {
    const library_place *place;
    const library_node *node;
    cvr_tensor tensors[TRIAL_TENSORS]; /* inputs, then outputs */
    const cvr_tensor *inputs[TRIAL_TENSORS];
    cvr_tensor *outputs[TRIAL_TENSORS];
    void *workspace;
    uint64_t workspace_size;
    uint8_t *host;   /* what is uploaded, again and again */
    float *expected; /* samples of all outputs as the device kernel made them; NULL before trial_plain */
    uint64_t n_expected;
} trial;

/* Memory for the tensors and for a workspace of so many bytes; inputs are filled. trial_close() in any case. */
int32_t trial_open(trial *t, const library_place *place, const library_node *node, uint64_t workspace, cvr_error *err);
void trial_close(trial *t);

/* Runs the device kernel, keeps what it made, and says how long it took. */
int32_t trial_plain(trial *t, double *seconds, cvr_error *err);

/* How long a plan takes, after it has run once. */
int32_t trial_time(trial *t, const library_opened *l, const library_candidate *c, double *seconds, cvr_error *err);

/* Runs a plan once and compares. CVR_ERR_NUMERIC where it gives other numbers than the device kernel, beyond what
 * rounding can do: the message says which. */
int32_t trial_compare(trial *t, const library_opened *l, const library_candidate *c, cvr_error *err);

#endif
