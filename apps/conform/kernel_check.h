/*
 * The kernels under test, on one launch: each against the reference kernel or the op's decomposition, twice, with one
 * thread and with several, in place and not, between guard bytes and guard pages, and with what it prepares. They are
 * called on the host, or a device launches them.
 */
#ifndef CVR_KERNEL_CHECK_H
#define CVR_KERNEL_CHECK_H

#include "conform.h"
#include "kernel_results.h"
#include "layer_case.h"
#include <sys/types.h>

typedef struct tested_kernel {
    const cvr_kernel_desc *desc;
    const cvr_op_desc *op;
    conform_row *row;
} tested_kernel;

typedef struct kernel_check {
    conform_board *board;
    cvr_plugins *plugins;
    tested_kernel kernels[CONFORM_MOST_ROWS];
    size_t n;
    const cvr_threadpool *one, *many;
    const case_machine *plain; /* the reference backend, for decompositions */
    const cvr_device *device;  /* the one under test; NULL: kernels are called on the host */
    check_bench bench, host;   /* bench: the device's; host: where plain functions run */
    bool positive;             /* inputs lie in 0..1: a NaN that a kernel makes of them is an error */
    uint32_t low;              /* CVR_BF16 or CVR_F16: activations have that type, or were rounded to it on the way */
    bool refused;              /* the reference kernel fails on this launch, on numbers that are none of the op's */
    bool failed;               /* a kernel has failed since this was set to false */
    int output;                /* the file that standard output and error are sent to */
    off_t printed;             /* what had been printed, and how many threads there were, at the last look */
    size_t threads;
} kernel_check;

/* A check_observe_fn over a kernel_check. Failures go to the board; an error says that the launch is to be left out. */
int32_t kernel_check_launch(void *ctx, const cvr_launch *l, cvr_error *err);
/* The same for launches whose tensors lie on the device. */
int32_t kernel_check_on_device(void *ctx, const cvr_launch *l, cvr_error *err);
/* Takes what is printed and running now for granted. */
void kernel_check_look(kernel_check *k);
/* Whether some kernel under test computes this op. */
bool kernel_check_has(const kernel_check *k, const cvr_op_desc *op);

/* kernel_reference.c: the results of the op's reference kernel on the launch's inputs; *which NULL: none takes them. */
int32_t kernel_reference(kernel_check *k, const cvr_launch *l, kernel_results *out, const cvr_kernel_desc **which,
                         cvr_error *err);
/* kernel_decomposed.c: the results of what the op decomposes into. CVR_ERR_UNSUPPORTED: it does not. */
int32_t kernel_decomposed(const kernel_check *k, const cvr_op_desc *op, const cvr_kernel_args *a, kernel_results *out,
                          cvr_error *err);

#endif
