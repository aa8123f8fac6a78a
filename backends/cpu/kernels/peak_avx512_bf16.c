/* Products of bf16 at most (cvr/plugin/ops/peak.h), by vdpbf16ps: pairs of neighbours in a row, two products a lane. */
#include "cpu_loops.h"
#include "cpu_peak.h"

#include <immintrin.h>

#define ROWS 8 /* sums side by side: an instruction a cycle, six to eight cycles each */

/* sum[i] += a[i] . b, `links` times */
PEAK_INLINE void add_links(__m512 *sum, const __m512i *a, __m512i b, int64_t links) {
    for (int64_t link = 0; link < links; link++) {
        PEAK_UNROLL
        for (int i = 0; i < ROWS; i++) sum[i] = _mm512_dpbf16_ps(sum[i], (__m512bh)a[i], (__m512bh)b);
    }
}

/* y (ROWS,16) of (16,16): x (ROWS,16) has the pairs of those rows, columns (16,16) all pairs, transposed. */
static void peak_piece(float *y, const int32_t *x, const int32_t *columns, int64_t links) {
    __m512 sum[ROWS];
    __m512i a[ROWS];
    PEAK_UNROLL
    for (int i = 0; i < ROWS; i++) sum[i] = _mm512_setzero_ps();
    for (int k = 0; k < PEAK_PAIRS; k++) {
        PEAK_UNROLL
        for (int i = 0; i < ROWS; i++) a[i] = _mm512_set1_epi32(x[i * PEAK_PAIRS + k]);
        add_links(sum, a, _mm512_loadu_si512(columns + k * CVR_PEAK_ROWS), links);
    }
    PEAK_UNROLL
    for (int i = 0; i < ROWS; i++) _mm512_storeu_ps(y + i * CVR_PEAK_ROWS, sum[i]);
}

void cpu_peak_block(float *y, const int32_t *x, const int32_t *columns, int64_t links) {
    for (int i = 0; i < CVR_PEAK_ROWS; i += ROWS) peak_piece(y + i * CVR_PEAK_ROWS, x + i * PEAK_PAIRS, columns, links);
}
