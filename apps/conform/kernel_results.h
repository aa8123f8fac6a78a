/* What a kernel wrote: outputs, and the inputs that its op updates, each in memory order. */
#ifndef CVR_KERNEL_RESULTS_H
#define CVR_KERNEL_RESULTS_H

#include "check_launch.h"

typedef struct kernel_results {
    uint8_t *data[2 * CVR_MAX_IO]; /* NULL: not one of them */
    uint64_t bytes[2 * CVR_MAX_IO];
    uint32_t dtype[2 * CVR_MAX_IO];
    uint32_t n, n_inputs;
} kernel_results;

/* Of the last run of the bench. */
int32_t kernel_results_take(kernel_results *r, const check_bench *b, uint64_t mutates, cvr_error *err);
void kernel_results_clear(kernel_results *r);
/* The first block in which not all bits are the same, or -1. */
int64_t kernel_results_differ(const kernel_results *a, const kernel_results *b);
/* How far they are apart: the largest |a - b| / (|b| + max |b|), infinity where it is no number of one or of another
 * type; *bad is the block that exceeds `relative` by more than `absolute`, or -1. */
double kernel_results_distance(const kernel_results *a, const kernel_results *b, double relative, double absolute,
                               int64_t *bad);
/* What rounding of sums may come to: 2^-22 (2^-9 where values are bf16 or `rounded` to it) sqrt(terms) times the
 * product of the inputs' largest magnitudes. */
double kernel_rounding(const cvr_kernel_args *a, bool rounded, bool *low);

#endif
