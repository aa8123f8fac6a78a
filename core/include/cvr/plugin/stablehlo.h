/*
 * Kernels for devices whose compiler takes whole programs in StableHLO (openxla.org/stablehlo): payload
 * "stablehlo.emit/1".
 *
 * Such a kernel writes text, once, when a program is recorded: the body of an MLIR function that computes the op. The
 * backend writes the function's first line and the closing brace, calls it where the op stands, and compiles the whole
 * step at once, so a kernel need not look for fusions.
 *
 * Input i, where it is present, is the argument %iI (%i0, %i1, ...). The body ends with `return` of all outputs, in
 * order, then of the new values of those inputs that the op mutates, in order. The type of a tensor has its axes in the
 * order of memory: tensor<NxHxWxCxf32> for the logical shape (N, C, H, W), row-major otherwise; element types are f32,
 * f16, bf16, ui8, i8, i32 and i64. Every other name is the kernel's own choice, as functions share none. `data` of a
 * tensor, `workspace`, `pool` and `stream` are of no use to it.
 */
#ifndef CVR_PLUGIN_STABLEHLO_H
#define CVR_PLUGIN_STABLEHLO_H

#include "abi.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cvr_kernel_args;

#define CVR_PAYLOAD_STABLEHLO_EMIT "stablehlo.emit/1"

/* Where text goes: write() appends n bytes. */
typedef struct cvr_text_sink {
    uint64_t struct_size;
    void *ctx;
    int32_t (*write)(const struct cvr_text_sink *sink, const char *text, uint64_t n, cvr_error *err);
} cvr_text_sink;

/* The payload. */
typedef struct cvr_stablehlo_emit {
    uint64_t struct_size;
    int32_t (*emit)(const struct cvr_kernel_args *a, const cvr_text_sink *sink, cvr_error *err);
} cvr_stablehlo_emit;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_text_sink) == 24, "cvr_text_sink has padding");
CVR_STATIC_ASSERT(sizeof(cvr_stablehlo_emit) == 16, "cvr_stablehlo_emit has padding");

#endif
