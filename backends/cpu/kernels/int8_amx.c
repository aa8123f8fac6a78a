/*
 * The micro-kernels of AMX: a tile of 16 pixels by up to 64 filters is up to four tile registers of 16 x 16 sums in
 * i32. TDPBUSD multiplies 16 pixels, of 64 u8 each, by 64 x 16 i8: 32,768 operations an instruction.
 *
 * Taps and fours of channels are one sequence, since a panel of weights has them so: 16 fours at a time, whose bytes
 * are copied from where each pixel's tap lies to a small buffer, and what is left at the end in registers of its own
 * shape. A panel's row has the filters of all its vectors, so that a register of weights is loaded with a stride.
 *
 * As in gemm_amx.c, a thread remembers what its registers are configured for, and a task releases them at its end.
 */
#include "int8_zmm.h"

#ifdef CVR_AMX_SHIM
#include "support/amx_shim.h"
#endif

#define PIXELS 16
#define FOURS 16     /* of a chunk */
#define ROW_BYTES 64 /* of every full register */
#define VECTORS 4

/* Tile registers. The instructions have their numbers in them, hence macros; 0 to 3 are sums. */
#define X_FULL 4
#define W_FULL 5
#define X_REST 6
#define W_REST 7

/* What the registers are configured for; no pixels: they are released. */
typedef struct int8_shape {
    int32_t pixels, rest; /* fours of the last chunk, 0: it is full */
} int8_shape;

static _Thread_local int8_shape configured;

/* What LDTILECFG reads. */
typedef struct int8_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} int8_config;

/* gcc 12 knows of no memory that a tile is loaded from: what was written to `p` is to be there, and stay until here. */
static inline void settle(const void *p) {
    __asm__ volatile("" : : "r"(p) : "memory");
}

static void set_register(int8_config *c, int which, int32_t rows, int32_t row_bytes) {
    c->rows[which] = (uint8_t)(row_bytes ? rows : 0);
    c->row_bytes[which] = (uint16_t)(rows ? row_bytes : 0);
}

static void configure(int32_t pixels, int32_t rest) {
    int8_config c = {.palette = 1};
    if (configured.pixels == pixels && configured.rest == rest) return;
    for (int v = 0; v < VECTORS; v++) set_register(&c, v, pixels, ROW_BYTES);
    set_register(&c, X_FULL, pixels, ROW_BYTES);
    set_register(&c, W_FULL, FOURS, ROW_BYTES);
    set_register(&c, X_REST, pixels, 4 * rest);
    set_register(&c, W_REST, rest, ROW_BYTES);
    settle(&c);
    _tile_loadconfig(&c);
    settle(&c);
    configured = (int8_shape){pixels, rest};
}

static void done(void) {
    if (!configured.pixels) return;
    _tile_release();
    configured = (int8_shape){0, 0};
}

/* The bytes of `fours` of the sequence, from number `first` on, of all pixels of the tile. */
INT8_INLINE void gather(const int8_tile *t, int64_t first, int64_t fours, uint8_t *to) {
    int64_t tap = first / t->quads, at = first % t->quads;
    for (int64_t filled = 0; filled < fours; tap++, at = 0) {
        const int64_t n = cpu_min(t->quads - at, fours - filled);
        const __mmask64 mask = n >= FOURS ? ~(__mmask64)0 : ((__mmask64)1 << (4 * n)) - 1;
        const uint8_t *const *x = t->x + tap * INT8_BLOCK;
        for (int32_t i = 0; i < t->m; i++)
            _mm512_mask_storeu_epi8(to + i * ROW_BYTES + 4 * filled, mask,
                                    _mm512_maskz_loadu_epi8(mask, x[i] + 4 * at));
        filled += n;
    }
}

/* Sums += one chunk's product; x_ and w_: its registers. */
#define MULTIPLY(x_, w_)                                                                                               \
    do {                                                                                                               \
        _tile_loadd(x_, x, ROW_BYTES);                                                                                 \
        _tile_loadd(w_, w, row);                                                                                       \
        _tile_dpbusd(0, x_, w_);                                                                                       \
        if (vectors > 1) {                                                                                             \
            _tile_loadd(w_, w + ROW_BYTES, row);                                                                       \
            _tile_dpbusd(1, x_, w_);                                                                                   \
        }                                                                                                              \
        if (vectors > 2) {                                                                                             \
            _tile_loadd(w_, w + 2 * ROW_BYTES, row);                                                                   \
            _tile_dpbusd(2, x_, w_);                                                                                   \
        }                                                                                                              \
        if (vectors > 3) {                                                                                             \
            _tile_loadd(w_, w + 3 * ROW_BYTES, row);                                                                   \
            _tile_dpbusd(3, x_, w_);                                                                                   \
        }                                                                                                              \
    } while (0)

INT8_INLINE void multiply_all(const int8_tile *t, int vectors) {
    _Alignas(64) uint8_t x[PIXELS * ROW_BYTES];
    const int64_t fours = t->taps * t->quads, row = vectors * ROW_BYTES;
    const int8_t *w = t->weights;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t first = 0; first < fours; first += FOURS, w += FOURS * row) {
        gather(t, first, cpu_min(FOURS, fours - first), x);
        settle(x);
        if (fours - first >= FOURS)
            MULTIPLY(X_FULL, W_FULL);
        else
            MULTIPLY(X_REST, W_REST);
        settle(x);
    }
}

INT8_INLINE void tile_run(const int8_tile *t, int vectors) {
    _Alignas(64) int32_t sums[PIXELS][VECTORS * INT8_LANES];
    configure(t->m, (int32_t)(t->taps * t->quads % FOURS));
    multiply_all(t, vectors);
    settle(sums);
    _tile_stored(0, sums[0], sizeof sums[0]);
    if (vectors > 1) _tile_stored(1, sums[0] + INT8_LANES, sizeof sums[0]);
    if (vectors > 2) _tile_stored(2, sums[0] + 2 * INT8_LANES, sizeof sums[0]);
    if (vectors > 3) _tile_stored(3, sums[0] + 3 * INT8_LANES, sizeof sums[0]);
    settle(sums);
    const __m512 high = _mm512_set1_ps((float)(255 - t->zero));
    const __m512i zero = _mm512_set1_epi16((short)t->zero);
    const __mmask64 mask = t->n >= INT8_PANEL ? ~(__mmask64)0 : ((__mmask64)1 << t->n) - 1;
    __m512 scale[VECTORS];
    __m512i bias[VECTORS];
    for (int v = 0; v < vectors; v++) {
        scale[v] = t->sums ? _mm512_setzero_ps() : _mm512_loadu_ps(t->scale + v * INT8_LANES);
        bias[v] = _mm512_loadu_si512(t->bias + v * INT8_LANES);
    }
    for (int32_t i = 0; i < t->m; i++) {
        __m512i acc[VECTORS];
        for (int v = 0; v < vectors; v++)
            acc[v] = _mm512_add_epi32(_mm512_load_si512(sums[i] + v * INT8_LANES), bias[v]);
        if (t->sums)
            zmm_store_sums(t->sums[i], acc, vectors);
        else
            zmm_store_row(t->y[i], acc, scale, high, zero, vectors, mask);
    }
}

static void tile(const int8_tile *t, int32_t vectors) {
    if (vectors == 1)
        tile_run(t, 1);
    else if (vectors == 2)
        tile_run(t, 2);
    else if (vectors == 3)
        tile_run(t, 3);
    else
        tile_run(t, 4);
}

const int8_micro cpu_int8_micro = {
    .rows = {PIXELS, PIXELS, PIXELS, PIXELS}, .tile = tile, .depthwise = zmm_depthwise, .add = zmm_add, .done = done};
