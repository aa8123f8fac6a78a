/*
 * The micro-kernels of AMX: up to 32 x 32, as 2 x 2 tile registers of 16 x 16 sums in f32. TDPBF16PS multiplies 16 rows
 * of A, up to 16 pairs of k each, by a (pairs, 16 columns, 2) part of a panel of B: 16,384 operations an instruction.
 *
 * Rows of A are loaded where they lie if they are evenly spaced, which pixels of an image row, or channels' planes,
 * are; otherwise, and at the end of k, they are copied to a small buffer with zeros beside them. Garbage times zero
 * will not do, since it may be a NaN. k goes in even chunks, so that 56 is 28 + 28 without such an end.
 *
 * Configuring the registers costs some 200 cycles, a quarter of a small tile. A thread therefore remembers what they
 * are configured for, and a task releases them at its end (cpu_tiles_done), not every call: released they cost nothing
 * when the system switches threads, and the core can sleep.
 */
#include "gemm_bf16.h"

#include <immintrin.h>

#ifdef CVR_AMX_SHIM
#include "support/amx_shim.h"
#endif

#define HALF 16 /* rows, or columns, of a tile register */
#define PAIRS_MAX 16
#define PAIR_BYTES ((int64_t)(CPU_PAIR * sizeof(uint16_t)))
#define REGISTER_BYTES (HALF * (int64_t)sizeof(float)) /* of a row */
#define B_HALF (HALF * CPU_PAIR)                       /* elements from a panel's first half of columns to its second */

/* Tile registers. The instructions have their numbers in them, hence macros. */
#define C_00 0
#define C_01 1
#define C_10 2
#define C_11 3
#define A_0 4
#define A_1 5
#define B_0 6
#define B_1 7

/* What the registers are configured for: rows of A's two halves (0: there is none), pairs of k in a chunk. */
typedef struct amx_shape {
    int64_t rows[2], pairs;
} amx_shape;

static _Thread_local amx_shape configured;

/* What LDTILECFG reads. */
typedef struct amx_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} amx_config;

/* gcc 12 knows of no memory that a tile is loaded from: what was written to `p` is to be there, and stay until here. */
static inline void settle(const void *p) {
    __asm__ volatile("" : : "r"(p) : "memory");
}

static void set_register(amx_config *c, int which, int64_t rows, int64_t row_bytes) {
    c->rows[which] = (uint8_t)rows;
    c->row_bytes[which] = (uint16_t)(rows ? row_bytes : 0);
}

static void configure(const amx_shape *s) {
    amx_config c = {.palette = 1};
    if (memcmp(s, &configured, sizeof *s) == 0) return;
    set_register(&c, C_00, s->rows[0], REGISTER_BYTES);
    set_register(&c, C_01, s->rows[0], REGISTER_BYTES);
    set_register(&c, C_10, s->rows[1], REGISTER_BYTES);
    set_register(&c, C_11, s->rows[1], REGISTER_BYTES);
    set_register(&c, A_0, s->rows[0], s->pairs * PAIR_BYTES);
    set_register(&c, A_1, s->rows[1], s->pairs * PAIR_BYTES);
    set_register(&c, B_0, s->pairs, REGISTER_BYTES);
    set_register(&c, B_1, s->pairs, REGISTER_BYTES);
    settle(&c);
    _tile_loadconfig(&c);
    settle(&c);
    configured = *s;
}

static void done(void) {
    if (!configured.rows[0]) return;
    _tile_release();
    configured = (amx_shape){.pairs = 0};
}

/* ---- one call ---- */

/* Rows of A that one register takes. */
typedef struct amx_rows {
    const int64_t *at; /* offsets of its rows */
    int64_t n;
    int64_t step; /* elements from one to the next, where they are even */
    int even;
} amx_rows;

/* Rows from the first on that are evenly spaced. */
static int64_t even_run(const int64_t *at, int64_t n) {
    int64_t i = 1;
    while (i < n && at[i] - at[i - 1] == at[1] - at[0]) i++;
    return i;
}

static amx_rows rows_of(const int64_t *at, int64_t n) {
    return (amx_rows){at, n, n > 1 ? at[1] - at[0] : 0, n > 0 && even_run(at, n) == n};
}

/* Two registers' rows: 16 and the rest; or split where even spacing ends, so that neither has to be copied. */
static void split_rows(amx_rows half[2], const cpu_tile *t) {
    int64_t first = cpu_min(HALF, even_run(t->a_rows, t->m));
    if (t->m - first > HALF) first = HALF;
    half[0] = rows_of(t->a_rows, first);
    half[1] = rows_of(t->a_rows + first, t->m - first);
}

/* Pairs of a chunk: even parts of a step's k, where there are some that leave no rest. */
static int64_t chunk_pairs(int64_t k) {
    const int64_t pairs = cpu_max(1, cpu_ceil_div(k, CPU_PAIR));
    const int64_t even = cpu_ceil_div(pairs, cpu_ceil_div(pairs, PAIRS_MAX));
    return pairs % even == 0 ? even : PAIRS_MAX;
}

/* What is copied of a chunk. */
typedef struct amx_copy {
    _Alignas(64) uint16_t a[2][HALF][PAIRS_MAX * CPU_PAIR];
    _Alignas(64) uint16_t b[PAIRS_MAX][2 * B_HALF];
} amx_copy;

/* A chunk as the registers are loaded from it; steps in bytes. */
typedef struct amx_chunk {
    const uint16_t *a[2], *b;
    int64_t a_step[2], b_step;
} amx_chunk;

/* `k` elements of each row, zeros beside them. */
static void copy_a(uint16_t (*to)[PAIRS_MAX * CPU_PAIR], const amx_rows *rows, const uint16_t *a, int64_t k) {
    const __mmask32 part = (__mmask32)(0xFFFFFFFFu >> (PAIRS_MAX * CPU_PAIR - k));
    for (int64_t i = 0; i < rows->n; i++) _mm512_store_si512(to[i], _mm512_maskz_loadu_epi16(part, a + rows->at[i]));
}

static void copy_b(uint16_t (*to)[2 * B_HALF], const uint16_t *b, int64_t step, int64_t pairs) {
    for (int64_t p = 0; p < PAIRS_MAX; p++)
        for (int64_t j = 0; j < 2 * B_HALF; j += B_HALF)
            _mm512_store_si512(to[p] + j, p < pairs ? _mm512_loadu_si512(b + p * step + j) : _mm512_setzero_si512());
}

/* The chunk of `k` elements from `a` and `b` on; `whole`: as many as the registers have. */
static void chunk_of(amx_chunk *out, amx_copy *copy, const amx_rows half[2], const uint16_t *a, const uint16_t *b,
                     int64_t b_step, int64_t k, int whole) {
    for (int h = 0; h < 2 && half[h].n > 0; h++) {
        out->a[h] = a + half[h].at[0];
        out->a_step[h] = half[h].step * (int64_t)sizeof *a;
        if (whole && half[h].even) continue;
        copy_a(copy->a[h], &half[h], a, k);
        out->a[h] = copy->a[h][0];
        out->a_step[h] = sizeof copy->a[h][0];
    }
    out->b = b;
    out->b_step = b_step * (int64_t)sizeof *b;
    if (whole) return;
    copy_b(copy->b, b, b_step, cpu_ceil_div(k, CPU_PAIR));
    out->b = copy->b[0];
    out->b_step = sizeof copy->b[0];
}

/* Sums += the chunk's product. `rows` and `columns`: registers of them, constants. */
TILE_INLINE void multiply(const amx_chunk *c, int rows, int columns) {
    _tile_loadd(B_0, c->b, c->b_step);
    _tile_loadd(A_0, c->a[0], c->a_step[0]);
    _tile_dpbf16ps(C_00, A_0, B_0);
    if (columns > 1) {
        _tile_loadd(B_1, c->b + B_HALF, c->b_step);
        _tile_dpbf16ps(C_01, A_0, B_1);
    }
    if (rows > 1) {
        _tile_loadd(A_1, c->a[1], c->a_step[1]);
        _tile_dpbf16ps(C_10, A_1, B_0);
        if (columns > 1) _tile_dpbf16ps(C_11, A_1, B_1);
    }
}

TILE_INLINE void add_step(const cpu_tile *t, const cpu_step *s, const amx_rows half[2], int64_t pairs, amx_copy *copy,
                          int rows, int columns) {
    const uint16_t *a = (const uint16_t *)t->a + s->a, *b = (const uint16_t *)t->b + s->b;
    const int64_t b_step = CPU_PAIR * t->b_k;
    for (int64_t k = 0; k < s->k; k += pairs * CPU_PAIR) {
        const int64_t here = cpu_min(pairs * CPU_PAIR, s->k - k);
        amx_chunk chunk;
        chunk_of(&chunk, copy, half, a + k, b + k / CPU_PAIR * b_step, b_step, here, here == pairs * CPU_PAIR);
        settle(copy);
        multiply(&chunk, rows, columns);
        settle(copy);
    }
}

/* Every row of sums = `first` (32), or 0. A step of 0 bytes loads one row again and again. */
TILE_INLINE void start(const float *first, int rows, int columns) {
    if (!first) {
        _tile_zero(C_00);
        if (columns > 1) _tile_zero(C_01);
        if (rows > 1) _tile_zero(C_10);
        if (rows > 1 && columns > 1) _tile_zero(C_11);
        return;
    }
    _tile_loadd(C_00, first, 0);
    if (columns > 1) _tile_loadd(C_01, first + HALF, 0);
    if (rows > 1) _tile_loadd(C_10, first, 0);
    if (rows > 1 && columns > 1) _tile_loadd(C_11, first + HALF, 0);
}

/* sums (m,32): the second half's rows follow the `m` of the first. */
TILE_INLINE void take(float *sums, int64_t m, int rows, int columns) {
    const int64_t step = CPU_TILE_COLUMNS_MAX * (int64_t)sizeof *sums;
    float *second = sums + m * CPU_TILE_COLUMNS_MAX;
    _tile_stored(C_00, sums, step);
    if (columns > 1) _tile_stored(C_01, sums + HALF, step);
    if (rows > 1) _tile_stored(C_10, second, step);
    if (rows > 1 && columns > 1) _tile_stored(C_11, second + HALF, step);
}

TILE_INLINE void sum(float *sums, const cpu_tile *t, const float *first, const amx_rows half[2], int rows,
                     int columns) {
    amx_copy copy;
    const amx_shape shape = {{half[0].n, half[1].n}, chunk_pairs(t->n_steps ? t->steps[0].k : 1)};
    configure(&shape);
    start(first, rows, columns);
    for (int64_t s = 0; s < t->n_steps; s++) add_step(t, &t->steps[s], half, shape.pairs, &copy, rows, columns);
    take(sums, half[0].n, rows, columns);
}

static void sum_1x1(float *sums, const cpu_tile *t, const float *first, const amx_rows half[2]) {
    sum(sums, t, first, half, 1, 1);
}
static void sum_1x2(float *sums, const cpu_tile *t, const float *first, const amx_rows half[2]) {
    sum(sums, t, first, half, 1, 2);
}
static void sum_2x1(float *sums, const cpu_tile *t, const float *first, const amx_rows half[2]) {
    sum(sums, t, first, half, 2, 1);
}
static void sum_2x2(float *sums, const cpu_tile *t, const float *first, const amx_rows half[2]) {
    sum(sums, t, first, half, 2, 2);
}

/* [registers of rows - 1][of columns - 1] */
static void (*const sum_of[2][2])(float *sums, const cpu_tile *t, const float *first, const amx_rows half[2]) = {
    {sum_1x1, sum_1x2},
    {sum_2x1, sum_2x2},
};

/* One row of c from its sums. */
static void put_row(const cpu_tile *t, int64_t i, const float *sums) {
    for (int64_t j = 0; j < t->n; j += HALF) {
        const __mmask16 part = (__mmask16)(0xFFFFu >> (HALF - cpu_min(HALF, t->n - j)));
        const int64_t at = t->c_rows[i] + j;
        __m512 y = _mm512_load_ps(sums + j);
        if (!t->c_float) {
            _mm256_mask_storeu_epi16((uint16_t *)t->c + at, part, (__m256i)_mm512_cvtneps_pbh(y));
            continue;
        }
        float *c = (float *)t->c + at;
        if (t->add) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(part, c));
        _mm512_mask_storeu_ps(c, part, y);
    }
}

static void by_row(const cpu_tile *t) {
    _Alignas(64) float sums[CPU_TILE_ROWS_MAX * CPU_TILE_COLUMNS_MAX], first[CPU_TILE_COLUMNS_MAX] = {0};
    const int starts = !t->add && t->init;
    amx_rows half[2];
    split_rows(half, t);
    if (starts) memcpy(first, t->init, (size_t)t->n * sizeof *first);
    settle(first);
    sum_of[half[1].n > 0][t->n > HALF](sums, t, starts ? first : NULL, half);
    for (int64_t i = 0; i < t->m; i++) put_row(t, i, sums + i * CPU_TILE_COLUMNS_MAX);
}

const cpu_micro_table cpu_micro = {
    2 * HALF, 2 * HALF, sizeof(uint16_t), by_row, NULL, cpu_high_pack_transposed, cpu_high_pack_rows, done};
