/*
 * Random cases on several machines: a backend's kernels against the reference, the same bits from one thread and from
 * three, and the same bits whether or not results are computed in place. The reference computes each case once,
 * however many instruction sets are held against it.
 */
#ifndef CVR_TEST_AGREE_H
#define CVR_TEST_AGREE_H

#include "each_draw.h"

/*
 * |a - b| <= relative (|b| + max |b|), as in golden_test.c, and what case_distance_in adds. In bf16 the reference
 * rounds each node's result once, and AGREE_LOW is six units in the last place, of which kernels that round weights to
 * bf16, as the reference does not, take two. bf16x3 leaves out low low, up to 2^-18 |a||b|, and rounds both low parts,
 * up to 2^-18 |a||b| each; with sums in f32 it keeps AGREE_BF16X3 of the sum of |a||b|. One product is off by up to
 * 2^-8.
 */
#define AGREE_F32 1e-5
#define AGREE_LOW 0x1.8p-6
#define AGREE_BF16X3 0x1p-15

#define AGREE_MOST_ISAS 4u
#define AGREE_ALL NULL /* what the machine has */

typedef struct agree_what {
    const char *backend; /* as machine_open has it, as are the instruction sets */
    const char *isas[AGREE_MOST_ISAS];
    uint32_t n_isas;
    const char *family; /* of cases: what their files' names begin with; "" is all */
    const char *folder; /* of the cases, under tests/; NULL: layers/cases */
    const void *attrs;  /* the backend's own settings, packed; NULL: its defaults */
    bool strict;        /* no node may run on the host */
    bool low;           /* bf16 programs */
    uint32_t math;      /* CVR_MATH_* */
    double relative;
    bool by_terms; /* where results are sums of products: of the sum of |a||b|, element by element, in place of |b| */
} agree_what;

/* Every draw, training and evaluation; returns how many there was something to complain about. */
size_t agree_all(const agree_what *what);

#endif
