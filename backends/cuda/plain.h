/* Ops as their own device kernels compute them: what plans are compared with. */
#ifndef CUDA_PLAIN_H
#define CUDA_PLAIN_H

#include "library.h"

/* `plain` and `plain_workspace` of an op that has a device kernel of its name. */
int32_t library_plain(const library_op *op, const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err);
uint64_t library_plain_workspace(const library_op *op, const cvr_signature *sig);

/* to = from, in the type of `to`, by a device kernel. Both have as many elements. */
int32_t library_cast(const cvr_tensor *from, const cvr_tensor *to, const cvr_recorder *r, cvr_error *err);

/* to = from in the channels that both have, and 0 in those that only `to` has. Type, pictures and pixels are the same.
 */
int32_t library_fit_channels(const cvr_tensor *from, const cvr_tensor *to, const cvr_recorder *r, cvr_error *err);

#endif
