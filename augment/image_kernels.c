/*
 * The loops over u8 pixels in plain C: 16-bit weights, 32-bit sums, rounded to u8. And the choice of a table.
 */
#include "image_kernels.h"

static uint8_t to_u8(int32_t v, int32_t bits) {
    v >>= bits;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

void image_column_plain(uint8_t *to, const uint8_t *from, int64_t channels, const image_axis *a, int64_t x) {
    const int16_t *const w = a->fixed + x * a->taps;
    for (int64_t c = 0; c < channels; c++) {
        const uint8_t *const p = from + a->first[x] * channels + c;
        int32_t sum = 1 << (a->bits - 1);
        for (int64_t k = 0; k < a->count[x]; k++) sum += w[k] * p[k * channels];
        to[x * channels + c] = to_u8(sum, a->bits);
    }
}

/* Values [at, n) of an output row. */
void image_rows_plain(uint8_t *to, const uint8_t *from, const image_rows *r, int64_t at) {
    for (int64_t i = at; i < r->n; i++) {
        int32_t sum = 1 << (r->bits - 1);
        for (int64_t k = 0; k < r->count; k++) sum += r->w[k] * from[k * r->row + i];
        to[i] = to_u8(sum, r->bits);
    }
}

static void columns(const image_columns *c) {
    for (int64_t y = 0; y < c->rows; y++) {
        for (int64_t x = 0; x < c->axis->out; x++)
            image_column_plain(c->to + y * c->to_row, c->from + y * c->from_row, c->channels, c->axis, x);
    }
}

static void rows(uint8_t *to, const uint8_t *from, const image_rows *r) {
    image_rows_plain(to, from, r, 0);
}

static void reverse(uint8_t *to, const uint8_t *from, int64_t n, uint64_t pixel_bytes) {
    const uint8_t *f = from + (uint64_t)(n - 1) * pixel_bytes;
    for (int64_t i = 0; i < n; i++, to += pixel_bytes, f -= pixel_bytes) memcpy(to, f, pixel_bytes);
}

/* For the AVX-512 table, which needs most: for 16 values the index of 64 bytes and a vector of weights a pair of taps.
 */
uint64_t image_columns_scratch(const image_axis *a, int64_t channels) {
    return (uint64_t)((a->out * channels + 15) / 16) * 64 * (uint64_t)(1 + a->taps / 2);
}

const image_kernels image_kernels_plain = {"plain", columns, rows, reverse};

const image_kernels *image_kernels_at(size_t i) {
    const image_kernels *all[3] = {&image_kernels_plain};
    size_t n = 1;
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx2")) all[n++] = &image_kernels_avx2;
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni"))
        all[n++] = &image_kernels_avx512;
#endif
    return i < n ? all[i] : NULL;
}

const image_kernels *image_kernels_best(void) {
    size_t n = 1;
    while (image_kernels_at(n)) n++;
    return image_kernels_at(n - 1);
}
