/*
 * Random cases on two machines: a backend's kernels against the reference, the same bits from one thread and from
 * three, and the same bits whether or not results are computed in place.
 */
#ifndef CVR_TEST_AGREE_H
#define CVR_TEST_AGREE_H

#include "draw.h"

/*
 * |a - b| <= relative (|b| + max |b|), as in golden_test.c, and what case_distance_in adds. In bf16 the reference
 * rounds each node's result once, and AGREE_LOW is six units in the last place, of which kernels that round weights to
 * bf16, as the reference does not, take two.
 */
#define AGREE_F32 1e-5
#define AGREE_LOW 0x1.8p-6

typedef struct agree_what {
    const char *backend, *isa; /* as machine_open has them */
    const char *family;        /* of cases: what their files' names begin with; "" is all */
    bool low;                  /* bf16 programs */
    double relative;
} agree_what;

/* Every draw, training and evaluation; returns how many there was something to complain about. */
size_t agree_all(const agree_what *what);

#endif
