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

/* How a tile's rows of A fall to two registers. */
typedef struct amx_split {
    int64_t first, second; /* rows of each */
    int even;              /* 1: within both they are as far apart as the tile's first two */
} amx_split;

/* Bit i: offset i + 1 does not follow offset i as the second follows the first. */
static uint32_t breaks_of(const int64_t *at, int64_t n) {
    const __m512i first = _mm512_set1_epi64(n > 1 ? at[1] - at[0] : 0);
    uint32_t breaks = 0;
    for (int64_t i = 0; i < n - 1; i += 8) {
        const __mmask8 part = (__mmask8)(0xFFu >> (8 - cpu_min(8, n - 1 - i)));
        const __m512i here = _mm512_maskz_loadu_epi64(part, at + i), next = _mm512_maskz_loadu_epi64(part, at + i + 1);
        breaks |= (uint32_t)_mm512_mask_cmpneq_epi64_mask(part, _mm512_sub_epi64(next, here), first) << i;
    }
    return breaks;
}

/* 16 rows and the rest; or split where even spacing ends, so that neither has to be copied. */
static amx_split split_rows(const cpu_tile *t) {
    const uint32_t breaks = breaks_of(t->a_rows, t->m);
    int64_t first = cpu_min(HALF, t->m);
    if (breaks) first = cpu_min(first, __builtin_ctz(breaks) + 1);
    if (t->m - first > HALF) first = HALF;
    return (amx_split){first, t->m - first, (breaks & ~(UINT32_C(1) << (first - 1))) == 0};
}

/* Pairs of a chunk: even parts of a step's k, where there are some that leave no rest. */
static int64_t chunk_pairs(int64_t k) {
    if (k > 0 && k % (PAIRS_MAX * CPU_PAIR) == 0) return PAIRS_MAX;
    const int64_t pairs = cpu_max(1, cpu_ceil_div(k, CPU_PAIR));
    const int64_t even = cpu_ceil_div(pairs, cpu_ceil_div(pairs, PAIRS_MAX));
    return pairs % even == 0 ? even : PAIRS_MAX;
}

/* A chunk as the registers are loaded from it; steps in bytes. The second register's rows lie `a_second` elements from
 * the first one's. */
typedef struct amx_chunk {
    const uint16_t *a, *b;
    int64_t a_second, a_step, b_step;
} amx_chunk;

/* Sums += the chunk's product. `rows` and `columns`: registers of them, constants. */
TILE_INLINE void multiply(const amx_chunk *c, int rows, int columns) {
    _tile_loadd(B_0, c->b, c->b_step);
    _tile_loadd(A_0, c->a, c->a_step);
    _tile_dpbf16ps(C_00, A_0, B_0);
    if (columns > 1) {
        _tile_loadd(B_1, c->b + B_HALF, c->b_step);
        _tile_dpbf16ps(C_01, A_0, B_1);
    }
    if (rows > 1) {
        _tile_loadd(A_1, c->a + c->a_second, c->a_step);
        _tile_dpbf16ps(C_10, A_1, B_0);
        if (columns > 1) _tile_dpbf16ps(C_11, A_1, B_1);
    }
}

/* ---- chunks that cannot be loaded from where they lie ---- */

/* What is copied of a chunk. */
typedef struct amx_copy {
    _Alignas(64) uint16_t a[2 * HALF][PAIRS_MAX * CPU_PAIR];
    _Alignas(64) uint16_t b[PAIRS_MAX][2 * B_HALF];
} amx_copy;

/* `k` elements of each row, zeros beside them. */
static void copy_a(amx_copy *to, const cpu_tile *t, const uint16_t *a, int64_t k) {
    const __mmask32 part = (__mmask32)(0xFFFFFFFFu >> (PAIRS_MAX * CPU_PAIR - k));
    for (int64_t i = 0; i < t->m; i++) _mm512_store_si512(to->a[i], _mm512_maskz_loadu_epi16(part, a + t->a_rows[i]));
}

static void copy_b(amx_copy *to, const uint16_t *b, int64_t step, int64_t pairs) {
    for (int64_t p = 0; p < PAIRS_MAX; p++)
        for (int64_t j = 0; j < 2 * B_HALF; j += B_HALF)
            _mm512_store_si512(to->b[p] + j, p < pairs ? _mm512_loadu_si512(b + p * step + j) : _mm512_setzero_si512());
}

/* A step's `k` elements from `a` and `b` on, in copies: of the rows, and of what is less than a chunk. */
static __attribute__((noinline)) void add_copied(const cpu_tile *t, const uint16_t *a, const uint16_t *b, int64_t k,
                                                 int64_t first, int64_t chunk, int rows, int columns) {
    amx_copy copy;
    for (; k > 0; k -= chunk, a += chunk, b += chunk * t->b_k) {
        amx_chunk c = {copy.a[0], b, first * PAIRS_MAX * CPU_PAIR, sizeof copy.a[0], CPU_PAIR * t->b_k * 2};
        copy_a(&copy, t, a, cpu_min(chunk, k));
        if (k < chunk) {
            copy_b(&copy, b, CPU_PAIR * t->b_k, cpu_ceil_div(k, CPU_PAIR));
            c.b = copy.b[0];
            c.b_step = sizeof copy.b[0];
        }
        settle(&copy);
        multiply(&c, rows, columns);
        settle(&copy);
    }
}

/* ---- the sums ---- */

/* All steps. The loop over chunks writes nothing: a load that has the low 12 bits of its address in common with a store
 * not yet done waits for it, and a store is done only after all that is before it; registers would load one chunk at a
 * time. */
TILE_INLINE void add_steps(const cpu_tile *t, const amx_split *split, int64_t pairs, int rows, int columns) {
    const int64_t size = pairs * CPU_PAIR, b_chunk = pairs * CPU_PAIR * t->b_k;
    amx_chunk c = {.a_second = rows > 1 ? t->a_rows[split->first] - t->a_rows[0] : 0,
                   .a_step = t->m > 1 ? (t->a_rows[1] - t->a_rows[0]) * (int64_t)sizeof *c.a : 0,
                   .b_step = CPU_PAIR * t->b_k * (int64_t)sizeof *c.b};
    for (int64_t s = 0; s < t->n_steps; s++) {
        int64_t k = t->steps[s].k;
        c.a = (const uint16_t *)t->a + t->steps[s].a + t->a_rows[0];
        c.b = (const uint16_t *)t->b + t->steps[s].b;
        for (; split->even && k >= size; k -= size, c.a += size, c.b += b_chunk) multiply(&c, rows, columns);
        if (k > 0) add_copied(t, c.a - t->a_rows[0], c.b, k, split->first, size, rows, columns);
    }
}

/* Where the sums begin: at 0, at `first` (32) in every row, which a step of 0 bytes loads again and again, or at what c
 * holds. */
TILE_INLINE void start(const float *first, const float *second, int64_t step, int rows, int columns) {
    if (!first) {
        _tile_zero(C_00);
        if (columns > 1) _tile_zero(C_01);
        if (rows > 1) _tile_zero(C_10);
        if (rows > 1 && columns > 1) _tile_zero(C_11);
        return;
    }
    _tile_loadd(C_00, first, step);
    if (columns > 1) _tile_loadd(C_01, first + HALF, step);
    if (rows > 1) _tile_loadd(C_10, second, step);
    if (rows > 1 && columns > 1) _tile_loadd(C_11, second + HALF, step);
}

TILE_INLINE void take(float *to, float *second, int64_t step, int rows, int columns) {
    _tile_stored(C_00, to, step);
    if (columns > 1) _tile_stored(C_01, to + HALF, step);
    if (rows > 1) _tile_stored(C_10, second, step);
    if (rows > 1 && columns > 1) _tile_stored(C_11, second + HALF, step);
}

/* What a tile begins with, and where its sums go; steps in bytes. */
typedef struct amx_ends {
    const float *from;
    float *to;
    int64_t from_step, to_step;
} amx_ends;

TILE_INLINE void sum(const cpu_tile *t, const amx_ends *e, const amx_split *split, int rows, int columns) {
    const amx_shape shape = {{split->first, split->second}, chunk_pairs(t->n_steps ? t->steps[0].k : 1)};
    const int64_t first = split->first;
    configure(&shape);
    settle(e);
    start(e->from, e->from + first * e->from_step / (int64_t)sizeof *e->from, e->from_step, rows, columns);
    add_steps(t, split, shape.pairs, rows, columns);
    take(e->to, e->to + first * e->to_step / (int64_t)sizeof *e->to, e->to_step, rows, columns);
    settle(e->to);
}

static void sum_1x1(const cpu_tile *t, const amx_ends *e, const amx_split *split) {
    sum(t, e, split, 1, 1);
}
static void sum_1x2(const cpu_tile *t, const amx_ends *e, const amx_split *split) {
    sum(t, e, split, 1, 2);
}
static void sum_2x1(const cpu_tile *t, const amx_ends *e, const amx_split *split) {
    sum(t, e, split, 2, 1);
}
static void sum_2x2(const cpu_tile *t, const amx_ends *e, const amx_split *split) {
    sum(t, e, split, 2, 2);
}

/* [registers of rows - 1][of columns - 1] */
static void (*const sum_of[2][2])(const cpu_tile *t, const amx_ends *e, const amx_split *split) = {
    {sum_1x1, sum_1x2},
    {sum_2x1, sum_2x2},
};

/* ---- c ---- */

/* A row's 32 columns are a cache line of bf16. */
static void put_lines(const cpu_tile *t, const float *sums) {
    for (int64_t i = 0; i < t->m; i++, sums += 2 * HALF) {
        __m512i *c = (__m512i *)(void *)((uint16_t *)t->c + t->c_rows[i]);
        const __m512i line = (__m512i)_mm512_cvtne2ps_pbh(_mm512_load_ps(sums + HALF), _mm512_load_ps(sums));
        if (t->stream)
            _mm512_stream_si512(c, line);
        else
            _mm512_storeu_si512(c, line);
    }
}

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

/* Whole rows of f32 that are evenly spaced are loaded and stored as registers are. */
static int c_in_place(const cpu_tile *t) {
    return t->c_float && t->n % HALF == 0 && breaks_of(t->c_rows, t->m) == 0;
}

static void by_row(const cpu_tile *t) {
    _Alignas(64) float sums[CPU_TILE_ROWS_MAX * CPU_TILE_COLUMNS_MAX], first[CPU_TILE_COLUMNS_MAX];
    const int in_place = c_in_place(t);
    amx_ends e = {NULL, sums, 0, sizeof first};
    const amx_split split = split_rows(t);
    for (int64_t i = 0; i < t->n_ahead; i++) __builtin_prefetch(t->ahead[i], 0, 2);
    if (in_place) {
        e.to = (float *)t->c + t->c_rows[0];
        e.to_step = t->m > 1 ? (t->c_rows[1] - t->c_rows[0]) * (int64_t)sizeof *e.to : 0;
    }
    if (t->add && in_place) {
        e.from = e.to;
        e.from_step = e.to_step;
    } else if (!t->add && t->init) {
        memset(first, 0, sizeof first);
        memcpy(first, t->init, (size_t)t->n * sizeof *first);
        e.from = first;
    }
    sum_of[split.second > 0][t->n > HALF](t, &e, &split);
    if (in_place) return;
    if (!t->c_float && t->n == 2 * HALF) {
        put_lines(t, sums);
        return;
    }
    for (int64_t i = 0; i < t->m; i++) put_row(t, i, sums + i * CPU_TILE_COLUMNS_MAX);
}

const cpu_micro_table cpu_micro = {
    2 * HALF, 2 * HALF, sizeof(uint16_t), HALF, by_row, NULL, cpu_high_pack_transposed, cpu_high_pack_rows, done};
