/* One kernel on one launch, whose tensors lie in the host's memory: what is known of it, and what it is asked before it
 * runs. */
#ifndef CVR_KERNEL_ASK_H
#define CVR_KERNEL_ASK_H

#include "kernel_check.h"

typedef struct verification {
    kernel_check *k;
    const tested_kernel *t;
    check_bench *bench; /* where it runs: the device's, or the host's */
    cvr_kernel_args args;
    cvr_launch launch;
    cvr_signature sig;
    cvr_tensor shapes[2 * CVR_MAX_IO];
    const cvr_tensor *in[CVR_MAX_IO], *out[CVR_MAX_IO];
} verification;

/* A kernel without a row is no kernel under test: it runs on the host. */
void verification_begin(verification *v, kernel_check *k, const tested_kernel *t, const cvr_launch *l);
/* Whether the kernel takes the launch (`does`), and how much workspace it wants; each is asked twice and has to answer
 * alike. */
int32_t verification_ask(verification *v, const cvr_threadpool *pool, bool prepared, bool *does, cvr_error *err);
/* The same of one of its callbacks that tell a number of bytes. */
int32_t verification_ask_size(const verification *v, uint64_t (*ask)(const cvr_signature *), const char *what,
                              uint64_t *size, cvr_error *err);

/* kernel_check.c: runs it on the launch, with its tensors between guard bytes, and takes nothing. */
int32_t verification_run(const verification *v, cvr_error *err);
/* kernel_idle.c: an update that says how it is told to do nothing (cvr/plugin/idle.h) is told so, with gradients that
 * are no numbers; all that it mutates has to stay as it was. */
int32_t verification_idle(verification *v, cvr_error *err);

#endif
