/*
 * The loops over u8 pixels, one table an instruction set. All tables give the same bytes: integers have no rounding to
 * disagree on.
 */
#ifndef CVR_AUGMENT_IMAGE_KERNELS_H
#define CVR_AUGMENT_IMAGE_KERNELS_H

#include "image_axis.h"

/* Columns: from (rows, W, C) with rows `from_row` apart to (rows, axis->out, C) with rows `to_row` apart. Reads nothing
 * at or past `end`, of the memory that holds `from`. */
typedef struct image_columns {
    uint8_t *to;
    const uint8_t *from, *end;
    int64_t to_row, from_row, rows, channels;
    const image_axis *axis;
    void *table; /* scratch of image_columns_scratch() bytes, 64-byte aligned */
} image_columns;
uint64_t image_columns_scratch(const image_axis *a, int64_t channels);

/* One output row of `n` values from `count` input rows that lie `row` apart, with weights w, zero past `count` to the
 * next multiple of four, and 2^bits. from: (count, row) u8, to: (n) u8 */
typedef struct image_rows {
    const int16_t *w;
    int64_t count, row, n;
    int32_t bits;
} image_rows;

typedef struct image_kernels {
    const char *name;
    void (*columns)(const image_columns *c);
    void (*rows)(uint8_t *to, const uint8_t *from, const image_rows *r);
    /* Copies `n` pixels in reverse order. */
    void (*reverse)(uint8_t *to, const uint8_t *from, int64_t n, uint64_t pixel_bytes);
} image_kernels;

/* The fastest that this machine runs. */
const image_kernels *image_kernels_best(void);
/* Every table that this machine runs, slowest first; NULL past the end. */
const image_kernels *image_kernels_at(size_t i);

extern const image_kernels image_kernels_plain;
#if defined(__x86_64__) && defined(__GNUC__)
extern const image_kernels image_kernels_avx2, image_kernels_avx512;
#endif

/* Output column x of one row, channel by channel; and sums to levels. What the tables fall back on at edges. */
void image_column_plain(uint8_t *to, const uint8_t *from, int64_t channels, const image_axis *a, int64_t x);
void image_rows_plain(uint8_t *to, const uint8_t *from, const image_rows *r, int64_t at);

#endif
