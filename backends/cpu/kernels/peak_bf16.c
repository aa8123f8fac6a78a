/* Products of bf16 at most (cvr/plugin/ops/peak.h), by vdpbf16ps: pairs of neighbours in a row, two products a lane. */
#include "cpu_loops.h"
#include "peak.h"

#include <immintrin.h>

#define PAIRS (CVR_PEAK_DEPTH / 2)
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
    for (int k = 0; k < PAIRS; k++) {
        PEAK_UNROLL
        for (int i = 0; i < ROWS; i++) a[i] = _mm512_set1_epi32(x[i * PAIRS + k]);
        add_links(sum, a, _mm512_loadu_si512(columns + k * CVR_PEAK_ROWS), links);
    }
    PEAK_UNROLL
    for (int i = 0; i < ROWS; i++) _mm512_storeu_ps(y + i * CVR_PEAK_ROWS, sum[i]);
}

static void block_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const cvr_kernel_args *a = ctx;
    const int64_t links = ((const cvr_peak_multiply_add_attrs *)a->attrs)->links;
    float *y = (float *)a->outputs[0]->data + task * CVR_PEAK_ROWS * CVR_PEAK_ROWS;
    int32_t x[CVR_PEAK_ROWS * PAIRS], columns[PAIRS * CVR_PEAK_ROWS];
    memcpy(x, (const char *)a->inputs[0]->data + task * sizeof x, sizeof x);
    for (int k = 0; k < PAIRS; k++)
        for (int i = 0; i < CVR_PEAK_ROWS; i++) columns[k * CVR_PEAK_ROWS + i] = x[i * PAIRS + k];
    for (int i = 0; i < CVR_PEAK_ROWS; i += ROWS) peak_piece(y + i * CVR_PEAK_ROWS, x + i * PAIRS, columns, links);
}

static int32_t multiply_add_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    cvr_kernel_args copy = *a;
    cpu_run(a->pool, a->inputs[0]->shape[0], block_task, &copy);
    return CVR_OK;
}

static int32_t multiply_add_supports(const cvr_signature *sig, cvr_error *reason) {
    if (sig->inputs[0]->dtype == CVR_BF16) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "multiplies bf16 alone");
}

static const cpu_kernel kernels[] = {
    {"peak_multiply_add", multiply_add_run, NULL, multiply_add_supports, 0, CPU_KERNEL_FLAGS | CVR_KERNEL_LOW_PRECISION,
     1},
};
const cpu_kernel_table cpu_peak_bf16_kernels = {kernels, sizeof kernels / sizeof *kernels};
