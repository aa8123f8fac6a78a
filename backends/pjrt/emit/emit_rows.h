/* Choosing among the rows of a picture (emit_rows.c). */
#ifndef PJRT_EMIT_ROWS_H
#define PJRT_EMIT_ROWS_H

#include "../hlo.h"

/* u32 that grow as the scores fall: 0 and -0 are equal, NaN is the largest. */
hlo_value rows_falling_key(hlo *h, hlo_value score);
/* The first place along an axis where `is` holds, i32; the last place where it holds nowhere. */
hlo_value rows_first(hlo *h, hlo_value is, uint32_t axis);
/*
 * (N,A): which rows are taken of those where `is` holds: the ones with the smallest numbers (N,A) u64, below 2^40,
 * equal ones by row, at most `most` of a picture, which is a scalar or (N) i32. taken (N): how many they are.
 */
hlo_value rows_smallest(hlo *h, hlo_value numbers, hlo_value is, hlo_value most, hlo_value *taken);

#endif
