/* What the files of lovasz_loss share. */
#ifndef CVR_LAYERS_LOSS_LOVASZ_H
#define CVR_LAYERS_LOSS_LOVASZ_H

#include "loss_family.h"
#include <cvr/plugin/ops/loss_math.h>

int32_t loss_lovasz_run(const cvr_kernel_args *a, cvr_error *err);
int32_t loss_lovasz_backward_run(const cvr_kernel_args *a, cvr_error *err);
uint64_t loss_lovasz_workspace(const cvr_signature *sig);

#endif
