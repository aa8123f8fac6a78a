/*
 * From a pack's activations to what it multiplies (see the table in gemm.h): the same, or in bf16x3 two parts that lie
 * `low` elements apart. Other packs do not look at `low`.
 */
#ifndef CVR_BACKENDS_CPU_CPU_OPERAND_H
#define CVR_BACKENDS_CPU_CPU_OPERAND_H

#include "gemm_bf16.h"

/* *to = x */
static inline void operand_set(cpu_operand *to, int64_t low, float x) {
    *to = cpu_rounded(x);
#if CPU_PARTS > 1
    to[low] = cpu_rounded(x - cvr_f32_of_bf16(*to));
#else
    (void)low;
#endif
}

/* to[j] = from[j] */
static inline void operand_copy(cpu_operand *to, int64_t low, const cpu_element *from, int64_t n) {
#if CPU_PARTS > 1
    cpu_split_copy(to, to + low, from, n);
#else
    (void)low;
    memcpy(to, from, (size_t)n * sizeof *to);
#endif
}

/* Few of them: not worth a call. */
static inline void operand_copy_few(cpu_operand *to, int64_t low, const cpu_element *from, int64_t n) {
#if CPU_PARTS > 1
    for (int64_t j = 0; j < n; j++) operand_set(to + j, low, from[j]);
#else
    (void)low;
    for (int64_t j = 0; j < n; j++) to[j] = from[j];
#endif
}

static inline void operand_zero(cpu_operand *to, int64_t low, int64_t n) {
    for (int64_t part = 0; part < CPU_PARTS; part++) memset(to + part * low, 0, (size_t)n * sizeof *to);
}

/* Panels of f32: weights. */
static inline void operand_pack_weight(cpu_operand *to, int64_t low, const float *from, int64_t from_step, int64_t k,
                                       int64_t n, int transposed) {
    (transposed ? cpu_micro.pack_transposed : cpu_micro.pack_rows)(to, from, from_step, k, n);
#if CPU_PARTS > 1
    (transposed ? cpu_low_pack_transposed : cpu_low_pack_rows)(to + low, from, from_step, k, n);
#else
    (void)low;
#endif
}

#if CPU_BF16
/* Panels of activations. */
static inline void operand_pack(uint16_t *to, int64_t low, const cpu_element *from, int64_t from_step, int64_t k,
                                int64_t n, int transposed) {
#if CPU_LOW
    (void)low;
    (transposed ? cpu_bf16_pack_transposed : cpu_bf16_pack_rows)(to, from, from_step, k, n);
#else
    operand_pack_weight(to, low, from, from_step, k, n, transposed);
#endif
}

/* A panel of columns from `at` on of rows that lie anywhere, an even number of them. */
static inline void operand_pack_listed(uint16_t *to, int64_t low, const cpu_element *const *rows, int64_t at, int64_t k,
                                       int64_t n) {
#if CPU_LOW
    (void)low;
    cpu_bf16_pack_listed(to, rows, at, k, n);
#else
    cpu_high_pack_listed(to, rows, at, k, n);
    cpu_low_pack_listed(to + low, rows, at, k, n);
#endif
}

static inline void operand_transpose(uint16_t *to, int64_t low, int64_t to_step, const cpu_element *const *rows,
                                     int64_t n, int64_t columns) {
#if CPU_LOW
    (void)low;
    cpu_bf16_transpose(to, to_step, rows, n, columns);
#else
    cpu_high_transpose(to, to_step, rows, n, columns);
    cpu_low_transpose(to + low, to_step, rows, n, columns);
#endif
}
#endif

#endif
