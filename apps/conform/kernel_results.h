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
/*
 * How far results may be apart: |a - b| <= relative * (|b| + max |b|) + absolute.
 *
 * - f32: relative 1e-5, absolute 2^-22 sqrt(n) m
 * - f16: relative 6 * 2^-11, six units in the last place; absolute 2^-12 sqrt(n) m
 * - bf16: relative 6 * 2^-8, the same; absolute 2^-9 sqrt(n) m
 *
 * n is the number of elements of the largest input, m the product of the inputs' largest magnitudes, 1 at least: what
 * the order of a sum may do. The type is the coarsest among the launch's tensors, or `rounded`: what its inputs were
 * rounded to before (0: f32). Whole numbers are equal.
 */
typedef struct kernel_tolerance {
    double relative, absolute;
} kernel_tolerance;
kernel_tolerance kernel_tolerance_of(const cvr_kernel_args *a, uint32_t rounded);
/* How far they are apart: the largest |a - b| / (|b| + max |b|), infinity where it is no number of one or of another
 * type; *bad is the first block that exceeds the tolerance, or -1. */
double kernel_results_distance(const kernel_results *a, const kernel_results *b, const kernel_tolerance *allowed,
                               int64_t *bad);

#endif
