/* What the files of overlap_loss share. */
#ifndef CVR_LAYERS_LOSS_OVERLAP_H
#define CVR_LAYERS_LOSS_OVERLAP_H

#include "loss_family.h"
#include <cvr/plugin/ops/loss_math.h>

int32_t loss_overlap_run(const cvr_kernel_args *a, cvr_error *err);
int32_t loss_overlap_backward_run(const cvr_kernel_args *a, cvr_error *err);
uint64_t loss_overlap_workspace(const cvr_signature *sig);

#endif
