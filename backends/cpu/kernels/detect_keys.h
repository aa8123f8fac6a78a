/*
 * Sorting and selecting by score on the CPU. A key is what cvr_score_key makes of a score and a row: its upper word
 * rises as the score falls. All here look at the upper words alone and keep equal ones in the order in which they
 * stand, so lists that are written in rising order of row come out sorted by score, then by row. O(n) each.
 */
#ifndef CVR_BACKENDS_CPU_DETECT_KEYS_H
#define CVR_BACKENDS_CPU_DETECT_KEYS_H

#include "cpu_loops.h"

/* Sorts n keys; `other` has room for n. */
void cpu_keys_sort(uint64_t *keys, uint64_t *other, int64_t n);

/* Moves the k smallest of n keys to the front, in the order in which they stood; returns how many there are, k or n. */
int64_t cpu_keys_select(uint64_t *keys, int64_t n, int64_t k);

/* NULL where the input is absent. */
static inline const void *detect_optional(const cvr_kernel_args *a, uint32_t i) {
    return i < a->n_inputs && a->inputs[i] ? a->inputs[i]->data : NULL;
}

/* The boxes of picture n, of (rows,4) for all or (N,rows,4). */
static inline const float *detect_picture(const cvr_tensor *boxes, int64_t n) {
    return (const float *)boxes->data + (boxes->rank == 3 ? n * boxes->shape[1] * boxes->shape[2] : 0);
}

/* The reference's message for a count that cannot be. */
static inline int32_t detect_check_count(const char *op, int64_t n, int64_t count, int64_t most, cvr_error *err) {
    if (count >= 0 && count <= most) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: picture %lld has %lld rows that count; there are %lld", op, (long long)n,
                    (long long)count, (long long)most);
}

#endif
