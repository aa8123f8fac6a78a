/*
 * Rows of f32 or bf16 as f32, so that a kernel has one body for both: f32 is read and written where it is, bf16 goes
 * through a buffer, CPU_ROW elements at a time, and is rounded to nearest even when it is stored.
 */
#ifndef CVR_BACKENDS_CPU_ROWS_H
#define CVR_BACKENDS_CPU_ROWS_H

#include "cpu_loops.h"

#define CPU_ROW 512 /* two inputs and an output take 6 KiB of a core's first cache */

/* n elements from element `at` on, to read. */
static inline const float *cpu_row_read(const void *data, int bf16, int64_t at, int64_t n, float *buffer) {
    const uint16_t *half = (const uint16_t *)data + at;
    if (!bf16) return (const float *)data + at;
    for (int64_t k = 0; k < n; k++) buffer[k] = cvr_f32_of_bf16(half[k]);
    return buffer;
}

/* Where a row's results go, until cpu_row_store() brings them home. */
static inline float *cpu_row_space(void *data, int bf16, int64_t at, float *buffer) {
    return bf16 ? buffer : (float *)data + at;
}

static inline void cpu_row_store(void *data, int bf16, int64_t at, int64_t n, const float *row) {
    uint16_t *half = (uint16_t *)data + at;
    for (int64_t k = 0; bf16 && k < n; k++) half[k] = cvr_bf16_of_f32(row[k]);
}

/* A single element. */
static inline float cpu_row_at(const void *data, int bf16, int64_t at) {
    return bf16 ? cvr_f32_of_bf16(((const uint16_t *)data)[at]) : ((const float *)data)[at];
}

static inline void cpu_row_put(void *data, int bf16, int64_t at, float value) {
    if (bf16)
        ((uint16_t *)data)[at] = cvr_bf16_of_f32(value);
    else
        ((float *)data)[at] = value;
}

/* All inputs and output 0 have one floating-point type, f32 or bf16. */
static inline int32_t cpu_rows_supports(const cvr_signature *sig, cvr_error *reason) {
    const uint32_t dtype = sig->outputs[0]->dtype;
    int one = dtype == CVR_F32 || dtype == CVR_BF16;
    for (uint32_t i = 0; i < sig->n_inputs; i++) one = one && sig->inputs[i]->dtype == dtype;
    return one ? CVR_OK : cvr_fail(reason, CVR_ERR_UNSUPPORTED, "tensors of other or several element types");
}

/* The first n inputs and output 0 have one floating-point type, f32 or bf16; the other inputs, where present, are f32.
 */
static inline int32_t cpu_rows_first_supports(const cvr_signature *sig, uint32_t n, cvr_error *reason) {
    const uint32_t dtype = sig->outputs[0]->dtype;
    int one = dtype == CVR_F32 || dtype == CVR_BF16;
    for (uint32_t i = 0; i < sig->n_inputs; i++)
        one = one && (!sig->inputs[i] || sig->inputs[i]->dtype == (i < n ? dtype : (uint32_t)CVR_F32));
    return one ? CVR_OK : cvr_fail(reason, CVR_ERR_UNSUPPORTED, "tensors of other or several element types");
}

#endif
