/*
 * The loops of u8 resampling: 16-bit weights, 32-bit sums, rounded to u8. Every x86-64 has SSE2, whose pmaddwd takes
 * two taps of four channels at once; other machines run the plain loops. Both give the same bytes: integers have no
 * rounding to disagree on.
 */
#include "image_axis.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static uint8_t to_u8(int32_t v, int32_t bits) {
    v >>= bits;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* Output column x, channel by channel. */
static void column(uint8_t *to, const uint8_t *from, int64_t channels, const image_axis *a, int64_t x) {
    const int16_t *const w = a->fixed + x * a->taps;
    for (int64_t c = 0; c < channels; c++) {
        const uint8_t *const p = from + a->first[x] * channels + c;
        int32_t sum = 1 << (a->bits - 1);
        for (int64_t k = 0; k < a->count[x]; k++) sum += w[k] * p[k * channels];
        to[x * channels + c] = to_u8(sum, a->bits);
    }
}

/* Values [at, n) of an output row. */
static void rows_from(uint8_t *to, const uint8_t *from, const image_rows *r, int64_t at) {
    for (int64_t i = at; i < r->n; i++) {
        int32_t sum = 1 << (r->bits - 1);
        for (int64_t k = 0; k < r->count; k++) sum += r->w[k] * from[k * r->row + i];
        to[i] = to_u8(sum, r->bits);
    }
}

#if defined(__SSE2__)

/* The weights w[0] and w[1] in every 32 bits. */
static __m128i weight_pair(const int16_t *w) {
    int32_t two;
    memcpy(&two, w, sizeof two);
    return _mm_set1_epi32(two);
}

/* Sums to u8 with saturation, in the low 4 bytes. */
static int32_t pack4(__m128i sum, __m128i shift) {
    const __m128i words = _mm_packs_epi32(_mm_sra_epi32(sum, shift), _mm_setzero_si128());
    return _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
}

/* An output pixel of three channels. Pairs of pixels are read as 8 bytes, 2 more than they have: the caller knows that
 * those are there. Returns r, g, b in the low bytes. */
static int32_t column_rgb(const uint8_t *p, const int16_t *w, int64_t count, int32_t bits) {
    const __m128i zero = _mm_setzero_si128();
    __m128i sum = _mm_set1_epi32(1 << (bits - 1));
    for (int64_t k = 0; k < count; k += 2, p += 6) {
        /* r0 g0 b0 r1 g1 b1 . .  ->  r0 r1 g0 g1 b0 b1 . . */
        const __m128i px = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)(const void *)p), zero);
        const __m128i pairs = _mm_unpacklo_epi16(px, _mm_srli_si128(px, 6));
        sum = _mm_add_epi32(sum, _mm_madd_epi16(pairs, weight_pair(w + k)));
    }
    return pack4(sum, _mm_cvtsi32_si128(bits));
}

static void columns_rgb(uint8_t *to, const uint8_t *from, const image_axis *a) {
    for (int64_t x = 0; x < a->out; x++) {
        const int64_t pairs = (a->count[x] + 1) / 2;
        /* Near the end of the row the 8 bytes, and then the fourth of the output, are not there. */
        if (3 * a->first[x] + 6 * pairs + 2 > 3 * a->in || x + 1 == a->out) {
            column(to, from, 3, a, x);
            continue;
        }
        const int32_t rgb = column_rgb(from + 3 * a->first[x], a->fixed + x * a->taps, a->count[x], a->bits);
        memcpy(to + 3 * x, &rgb, 4);
    }
}

/* Sixteen values of an output row. */
static void rows_16(uint8_t *to, const uint8_t *p, const image_rows *r) {
    const __m128i zero = _mm_setzero_si128(), half = _mm_set1_epi32(1 << (r->bits - 1)),
                  shift = _mm_cvtsi32_si128(r->bits);
    __m128i s0 = half, s1 = half, s2 = half, s3 = half;
    for (int64_t k = 0; k < r->count; k += 2, p += 2 * r->row) {
        const uint8_t *const q = k + 1 < r->count ? p + r->row : p; /* its weight is 0 */
        const __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p),
                      b = _mm_loadu_si128((const __m128i *)(const void *)q);
        const __m128i lo = _mm_unpacklo_epi8(a, b), hi = _mm_unpackhi_epi8(a, b), w = weight_pair(r->w + k);
        s0 = _mm_add_epi32(s0, _mm_madd_epi16(_mm_unpacklo_epi8(lo, zero), w));
        s1 = _mm_add_epi32(s1, _mm_madd_epi16(_mm_unpackhi_epi8(lo, zero), w));
        s2 = _mm_add_epi32(s2, _mm_madd_epi16(_mm_unpacklo_epi8(hi, zero), w));
        s3 = _mm_add_epi32(s3, _mm_madd_epi16(_mm_unpackhi_epi8(hi, zero), w));
    }
    const __m128i w0 = _mm_packs_epi32(_mm_sra_epi32(s0, shift), _mm_sra_epi32(s1, shift));
    const __m128i w1 = _mm_packs_epi32(_mm_sra_epi32(s2, shift), _mm_sra_epi32(s3, shift));
    _mm_storeu_si128((__m128i *)(void *)to, _mm_packus_epi16(w0, w1));
}

void image_rows_u8(uint8_t *to, const uint8_t *from, const image_rows *r) {
    int64_t at = 0;
    for (; at + 16 <= r->n; at += 16) rows_16(to + at, from + at, r);
    rows_from(to, from, r, at);
}

#else

static void columns_rgb(uint8_t *to, const uint8_t *from, const image_axis *a) {
    for (int64_t x = 0; x < a->out; x++) column(to, from, 3, a, x);
}

void image_rows_u8(uint8_t *to, const uint8_t *from, const image_rows *r) {
    rows_from(to, from, r, 0);
}

#endif

void image_columns_u8(uint8_t *to, const uint8_t *from, int64_t channels, const image_axis *a) {
    if (channels == 3) {
        columns_rgb(to, from, a);
        return;
    }
    for (int64_t x = 0; x < a->out; x++) column(to, from, channels, a, x);
}
