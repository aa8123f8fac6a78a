/*
 * The loops over u8 pixels with AVX2: vpmaddwd takes two taps at once, of eight sums.
 */
#include "image_kernels.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))
#define ROWS 4

/* The weights w[0] and w[1] in every 32 bits. */
AVX2 static __m256i weight_pair(const int16_t *w) {
    int32_t two;
    memcpy(&two, w, sizeof two);
    return _mm256_set1_epi32(two);
}

AVX2 static __m256i load(const uint8_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* Sixteen bytes of each of two rows. */
AVX2 static __m256i load_two(const uint8_t *a, const uint8_t *b) {
    const __m128i lo = _mm_loadu_si128((const __m128i *)(const void *)a);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(lo), _mm_loadu_si128((const __m128i *)(const void *)b), 1);
}

/* Output pixel x, RGB, of four rows: one row in each half of two vectors. Reads fours of pixels as 16 bytes. */
AVX2 static void column_rgb(uint8_t *const to[ROWS], const uint8_t *const from[ROWS], const image_axis *a, int64_t x) {
    /* r0 r1 g0 g1 b0 b1 . .  of pixels 0 and 1, and of 2 and 3, widened to 16 bits; -1 makes a 0 */
    const __m256i first = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 0, -1, 3, -1, 1,
                                           -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
    const __m256i second = _mm256_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1, 6, -1, 9, -1, 7,
                                            -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const __m128i shift = _mm_cvtsi32_si128(a->bits);
    const int16_t *const w = a->fixed + x * a->taps;
    const int64_t at = 3 * a->first[x];
    __m256i s = _mm256_set1_epi32(1 << (a->bits - 1)), t = s;
    for (int64_t k = 0; k < a->count[x]; k += 4) {
        const __m256i u = load_two(from[0] + at + 3 * k, from[1] + at + 3 * k),
                      v = load_two(from[2] + at + 3 * k, from[3] + at + 3 * k);
        const __m256i w0 = weight_pair(w + k), w1 = weight_pair(w + k + 2);
        s = _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_shuffle_epi8(u, first), w0));
        t = _mm256_add_epi32(t, _mm256_madd_epi16(_mm256_shuffle_epi8(v, first), w0));
        s = _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_shuffle_epi8(u, second), w1));
        t = _mm256_add_epi32(t, _mm256_madd_epi16(_mm256_shuffle_epi8(v, second), w1));
    }
    const __m256i words = _mm256_packs_epi32(_mm256_sra_epi32(s, shift), _mm256_sra_epi32(t, shift));
    const __m256i bytes = _mm256_packus_epi16(words, words);
    const __m128i lo = _mm256_castsi256_si128(bytes), hi = _mm256_extracti128_si256(bytes, 1);
    const int32_t rgb[ROWS] = {_mm_cvtsi128_si32(lo), _mm_cvtsi128_si32(hi), _mm_extract_epi32(lo, 1),
                               _mm_extract_epi32(hi, 1)};
    for (int i = 0; i < ROWS; i++) memcpy(to[i] + 3 * x, &rgb[i], 3);
}

/* Whether column_rgb's reads of output x stay before `room` bytes. */
static int32_t fits(const image_axis *a, int64_t x, int64_t room) {
    return 3 * (a->first[x] + (a->count[x] + 3) / 4 * 4) + 4 <= room;
}

static void columns(const image_columns *c) {
    if (c->channels != 3) {
        image_kernels_plain.columns(c);
        return;
    }
    for (int64_t y = 0; y < c->rows; y += ROWS) {
        uint8_t *to[ROWS];
        const uint8_t *from[ROWS];
        /* The last four may be the same row several times. */
        for (int64_t i = 0; i < ROWS; i++) {
            const int64_t at = y + i < c->rows ? y + i : c->rows - 1;
            to[i] = c->to + at * c->to_row;
            from[i] = c->from + at * c->from_row;
        }
        for (int64_t x = 0; x < c->axis->out; x++) {
            if (fits(c->axis, x, c->end - from[ROWS - 1]))
                column_rgb(to, from, c->axis, x);
            else
                for (int i = 0; i < ROWS; i++) image_column_plain(to[i], from[i], 3, c->axis, x);
        }
    }
}

/* 32 values of an output row. */
AVX2 static void rows_32(uint8_t *to, const uint8_t *p, const image_rows *r) {
    const __m256i zero = _mm256_setzero_si256(), half = _mm256_set1_epi32(1 << (r->bits - 1));
    const __m128i shift = _mm_cvtsi32_si128(r->bits);
    __m256i s0 = half, s1 = half, s2 = half, s3 = half;
    for (int64_t k = 0; k < r->count; k += 2, p += 2 * r->row) {
        const __m256i a = load(p), b = load(k + 1 < r->count ? p + r->row : p); /* its weight is 0 */
        const __m256i lo = _mm256_unpacklo_epi8(a, b), hi = _mm256_unpackhi_epi8(a, b), w = weight_pair(r->w + k);
        s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(_mm256_unpacklo_epi8(lo, zero), w));
        s1 = _mm256_add_epi32(s1, _mm256_madd_epi16(_mm256_unpackhi_epi8(lo, zero), w));
        s2 = _mm256_add_epi32(s2, _mm256_madd_epi16(_mm256_unpacklo_epi8(hi, zero), w));
        s3 = _mm256_add_epi32(s3, _mm256_madd_epi16(_mm256_unpackhi_epi8(hi, zero), w));
    }
    const __m256i u = _mm256_packs_epi32(_mm256_sra_epi32(s0, shift), _mm256_sra_epi32(s1, shift));
    const __m256i v = _mm256_packs_epi32(_mm256_sra_epi32(s2, shift), _mm256_sra_epi32(s3, shift));
    _mm256_storeu_si256((__m256i *)(void *)to, _mm256_packus_epi16(u, v));
}

static void rows(uint8_t *to, const uint8_t *from, const image_rows *r) {
    int64_t at = 0;
    for (; at + 32 <= r->n; at += 32) rows_32(to + at, from + at, r);
    image_rows_plain(to, from, r, at);
}

/* Five pixels of RGB at a time, as 16 bytes of which the first is no part of them. */
AVX2 static void reverse(uint8_t *to, const uint8_t *from, int64_t n, uint64_t pixel_bytes) {
    const __m128i swap = _mm_setr_epi8(13, 14, 15, 10, 11, 12, 7, 8, 9, 4, 5, 6, 1, 2, 3, -1);
    int64_t done = 0;
    /* One pixel stays before what is read, and one after what is written, for the sixteenth byte. */
    for (; pixel_bytes == 3 && n - done >= 6; done += 5) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(from + 3 * (n - done - 5) - 1));
        _mm_storeu_si128((__m128i *)(void *)(to + 3 * done), _mm_shuffle_epi8(v, swap));
    }
    image_kernels_plain.reverse(to + (uint64_t)done * pixel_bytes, from, n - done, pixel_bytes);
}

const image_kernels image_kernels_avx2 = {"avx2", columns, rows, reverse};

#endif
