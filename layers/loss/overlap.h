/* What the files of overlap_loss share. */
#ifndef CVR_LAYERS_LOSS_OVERLAP_H
#define CVR_LAYERS_LOSS_OVERLAP_H

#include "loss_family.h"

#define OVERLAP_LEAST 1e-7 /* what a score, and what it is divided by, is held above */

/* One class: its loss, and how that moves with I and with P. */
typedef struct overlap_slope {
    double loss, by_both, by_predicted;
} overlap_slope;

overlap_slope loss_overlap_slope(const cvr_overlap_attrs *attrs, double both, double predicted, double truth);
/* mean ^ gamma; n slopes of the mean become slopes of that. */
float loss_overlap_power(const cvr_overlap_attrs *attrs, double mean, float *slopes, int64_t n);

int32_t loss_overlap_run(const cvr_kernel_args *a, cvr_error *err);
int32_t loss_overlap_backward_run(const cvr_kernel_args *a, cvr_error *err);

#endif
