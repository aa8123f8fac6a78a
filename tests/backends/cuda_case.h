/* What the tests of the backend `cuda` share: the stand-in for the driver, and devices on it. */
#ifndef CUDA_CASE_H
#define CUDA_CASE_H

#include "cuda/cuda_device.h"
#include "support/cuda_standin/standin_control.h"
#include "support/small_net.h"

/* The stand-in, loaded before the backend looks for libcuda.so.1. */
cuda_standin_control *standin(void);
int32_t cuda_try_open(small_net *n, const cuda_keys *keys);
void cuda_open(small_net *n, const cuda_keys *keys);

#endif
