/* What the packs of bf16 products prepare operands with, beside cpu_micro (gemm.h): tiles multiply pairs of neighbours
 * in k. gemm_bf16_pack.c. */
#ifndef CVR_BACKENDS_CPU_GEMM_BF16_H
#define CVR_BACKENDS_CPU_GEMM_BF16_H

#include "gemm.h"

/* A panel of B is (k/2, columns, 2), zeros past the n-th column and beside an odd last k. */
#define CPU_PAIR 2

/* Rows of a transposition: one at a time is a vector of bf16. */
#define CPU_TRANSPOSE_ROWS 32

/* to[c * to_step + t] = rows[t][c] for `n` <= CPU_TRANSPOSE_ROWS rows and c < columns. */
void cpu_bf16_transpose(uint16_t *to, int64_t to_step, const uint16_t *const *rows, int64_t n, int64_t columns);
/* Panels as gemm.h has them, `listed` of rows[k] + at for an even number of k: from bf16; */
void cpu_bf16_pack_rows(uint16_t *to, const uint16_t *from, int64_t from_step, int64_t k, int64_t n);
void cpu_bf16_pack_listed(uint16_t *to, const uint16_t *const *rows, int64_t at, int64_t k, int64_t n);
void cpu_bf16_pack_transposed(uint16_t *to, const uint16_t *from, int64_t from_step, int64_t k, int64_t n);

/* From f32, rounded to nearest even: the high part. */
void cpu_high_transpose(uint16_t *to, int64_t to_step, const float *const *rows, int64_t n, int64_t columns);
void cpu_high_pack_rows(uint16_t *to, const float *from, int64_t from_step, int64_t k, int64_t n);
void cpu_high_pack_listed(uint16_t *to, const float *const *rows, int64_t at, int64_t k, int64_t n);
void cpu_high_pack_transposed(uint16_t *to, const float *from, int64_t from_step, int64_t k, int64_t n);
void cpu_high_copy(uint16_t *to, const float *from, int64_t n);

/* From f32, what the high part leaves: the low part. Of what is not finite it is a NaN. */
void cpu_low_transpose(uint16_t *to, int64_t to_step, const float *const *rows, int64_t n, int64_t columns);
void cpu_low_pack_rows(uint16_t *to, const float *from, int64_t from_step, int64_t k, int64_t n);
void cpu_low_pack_listed(uint16_t *to, const float *const *rows, int64_t at, int64_t k, int64_t n);
void cpu_low_pack_transposed(uint16_t *to, const float *from, int64_t from_step, int64_t k, int64_t n);

/* Both parts at once. */
void cpu_split_copy(uint16_t *high, uint16_t *low, const float *from, int64_t n);

#endif
