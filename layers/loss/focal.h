/* What the files of the focal losses share. */
#ifndef CVR_LAYERS_LOSS_FOCAL_H
#define CVR_LAYERS_LOSS_FOCAL_H

#include "loss_family.h"
#include <cvr/plugin/ops/loss_math.h>

int32_t loss_focal_run(const cvr_kernel_args *a, cvr_error *err);
int32_t loss_focal_backward_run(const cvr_kernel_args *a, cvr_error *err);
int32_t loss_sigmoid_focal_run(const cvr_kernel_args *a, cvr_error *err);
int32_t loss_sigmoid_focal_backward_run(const cvr_kernel_args *a, cvr_error *err);

#endif
