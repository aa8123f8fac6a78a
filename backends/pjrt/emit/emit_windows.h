/* Sliding windows that f32 and 8-bit integers share. */
#ifndef PJRT_EMIT_WINDOWS_H
#define PJRT_EMIT_WINDOWS_H

#include "../hlo.h"
#include <cvr/plugin/ops/conv.h>
#include <cvr/plugin/ops/pool.h>

/* conv2d without bias, in the type of x and weight; `y`: the result's type (emit_conv.c). */
hlo_value windows_convolve(hlo *h, const cvr_conv2d_attrs *a, hlo_value x, hlo_value weight, hlo_value y);
/* Its gradient with respect to x, and conv_transpose2d; likewise. */
hlo_value windows_transposed(hlo *h, const cvr_conv2d_attrs *a, hlo_value grad, hlo_value weight, hlo_value result);
/* Sums over the windows of an average, as many as y has positions (emit_pool.c). */
hlo_value windows_sums(hlo *h, const cvr_avg_pool2d_attrs *a, hlo_value x, hlo_value y);
/* How many elements of axis i, of `in`, count in the window at position p. */
int64_t windows_counted(const cvr_avg_pool2d_attrs *a, int i, int64_t in, int64_t p);

#endif
