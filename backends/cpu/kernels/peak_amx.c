/* Products of bf16 at most (cvr/plugin/ops/peak.h), by AMX: a block is a tile register, whose sums take turns in four.
 */
#include "cpu_loops.h"
#include "cpu_peak.h"

#include <immintrin.h>

#ifdef CVR_AMX_SHIM
#include "support/amx_shim.h"
#endif

#define SUMS 4 /* an instruction waits for the one before it that adds to the same sums */
#define REGISTERS 6
#define A 4
#define B 5
#define ROW_BYTES 64

/* What LDTILECFG reads: all registers are whole. */
typedef struct peak_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} peak_config;

static void configure(void) {
    peak_config c = {.palette = 1};
    for (int i = 0; i < REGISTERS; i++) {
        c.row_bytes[i] = ROW_BYTES;
        c.rows[i] = CVR_PEAK_ROWS;
    }
    __asm__ volatile("" : : "r"(&c) : "memory");
    _tile_loadconfig(&c);
}

/* sums (4,16,16), together links * x x^T, of x (16,32) and its pairs transposed (16,16) */
static void multiply(float *sums, const int32_t *x, const int32_t *columns, int64_t links) {
    __asm__ volatile("" : : "r"(x), "r"(columns) : "memory");
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(A, x, ROW_BYTES);
    _tile_loadd(B, columns, ROW_BYTES);
    int64_t link = 0;
    for (; link + SUMS <= links; link += SUMS) {
        _tile_dpbf16ps(0, A, B);
        _tile_dpbf16ps(1, A, B);
        _tile_dpbf16ps(2, A, B);
        _tile_dpbf16ps(3, A, B);
    }
    for (; link < links; link++) _tile_dpbf16ps(0, A, B);
    _tile_stored(0, sums, ROW_BYTES);
    _tile_stored(1, sums + 256, ROW_BYTES);
    _tile_stored(2, sums + 512, ROW_BYTES);
    _tile_stored(3, sums + 768, ROW_BYTES);
    __asm__ volatile("" : : "r"(sums) : "memory");
}

void cpu_peak_block(float *y, const int32_t *x, const int32_t *columns, int64_t links) {
    float sums[SUMS * CVR_PEAK_ROWS * CVR_PEAK_ROWS];
    configure();
    multiply(sums, x, columns, links);
    _tile_release();
    for (int i = 0; i < CVR_PEAK_ROWS * CVR_PEAK_ROWS; i++)
        y[i] = (sums[i] + sums[256 + i]) + (sums[512 + i] + sums[768 + i]);
}
