/* A launch whose tensors are to be others: in other memory, or of another type. */
#ifndef CVR_LAUNCH_COPY_H
#define CVR_LAUNCH_COPY_H

#include <cvr/plugin/backend.h>

typedef struct launch_copy {
    cvr_launch launch;
    cvr_kernel_args args;
    cvr_tensor tensors[2 * CVR_MAX_IO]; /* inputs, and the outputs behind them */
    const cvr_tensor *in[CVR_MAX_IO];
    cvr_tensor *out[CVR_MAX_IO];
    void *data[CVR_MAX_IO]; /* memory of its own, of inputs; NULL: none */
} launch_copy;

/* Tensor i of a launch, the outputs behind the inputs; NULL: absent. */
const cvr_tensor *launch_tensor(const cvr_kernel_args *a, uint32_t i);
/* The same launch with tensors of its own, which lie where the given ones do. */
void launch_copy_begin(launch_copy *c, const cvr_launch *l);
/* Gives input i memory of its own, 64-byte aligned; contents are undefined. */
int32_t launch_copy_give(launch_copy *c, uint32_t i, uint64_t bytes, cvr_error *err);
void launch_copy_clear(launch_copy *c);

#endif
