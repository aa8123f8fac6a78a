/*
 * Attributes of the calibration ops, version 1 (plugin "layer_peak"): the most that a machine can do, as kernels that
 * do nothing else reach it. No network has them; `cvrun bench` and conv_bench time them to know what 100 % is.
 *
 * peak_multiply_add  x (B,16,32) -> y (B,16,16) f32
 *     y[b] = links * x[b] x[b]^T, as `links` products, each of which is computed and added: 2 * 16 * 16 * 32 operations
 *     a product and block. A kernel may take them in any order, but leaves none out. A block is what one tile of a
 *     matrix unit holds (AMX: 16 rows of 64 bytes); vectors take it in rows. x may be bf16, sums are f32.
 * peak_copy          x -> y like x: y = x, reading and writing memory
 */
#ifndef CVR_PLUGIN_OPS_PEAK_H
#define CVR_PLUGIN_OPS_PEAK_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_PEAK_ROWS 16
#define CVR_PEAK_DEPTH 32

typedef struct cvr_peak_multiply_add_attrs {
    int64_t links; /* >= 1 */
} cvr_peak_multiply_add_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_peak_multiply_add_attrs) == 8, "cvr_peak_multiply_add_attrs has padding");

#endif
