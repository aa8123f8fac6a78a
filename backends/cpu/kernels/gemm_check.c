/*
 * Whether cpu_micro computes what gemm.h says, on the machine at hand: a few tiles against plain C, once a process. For
 * tables whose instructions few machines have: kernels say no to everything, and that is logged once, rather than train
 * on wrong numbers.
 *
 * Operands are small integers, so that sums are exact in any order and must be equal.
 */
#include "gemm_bf16.h"

#include <pthread.h>

#define STEPS 2
#define DEPTH 72 /* of a step, at most */
#define SEEN 999 /* what c has before */

#define CHECK_FAILS "this machine's tiles differ from plain C (%lld x %lld, k = %lld)"
#define CHECK_WHERE (long long)wrong->m, (long long)wrong->n, (long long)wrong->k

typedef struct check_shape {
    int64_t m, n, k;
    int64_t gap_at, gap; /* rows from here on lie that much further away: unevenly, if this is not 0 */
    int64_t kind;        /* 0: to bf16, 1: to f32 with init, 2: added to f32 */
} check_shape;

/* Full tiles, tails of m, n and k, odd k, k in several chunks. */
static const check_shape shapes[] = {
    {32, 32, 64, 0, 0, 1}, {28, 32, 56, 14, 3, 0}, {17, 9, 33, 5, 40, 2}, {1, 1, 1, 0, 0, 1},    {12, 17, 7, 0, 0, 0},
    {32, 31, 70, 3, 1, 2}, {16, 16, 32, 0, 0, 0},  {31, 32, 34, 0, 0, 1}, {20, 20, 48, 0, 0, 2},
};

/* One tile's operands. */
typedef struct check_data {
    uint16_t a[STEPS][CPU_TILE_ROWS_MAX * DEPTH + 64]; /* rows DEPTH apart, and the gap */
    float b[STEPS][DEPTH * CPU_TILE_COLUMNS_MAX];      /* (k, columns) */
    uint16_t panels[STEPS][DEPTH * CPU_TILE_COLUMNS_MAX];
    float init[CPU_TILE_COLUMNS_MAX];
    float c[CPU_TILE_ROWS_MAX * CPU_TILE_COLUMNS_MAX]; /* or bf16 */
    int64_t a_rows[CPU_TILE_ROWS_MAX], c_rows[CPU_TILE_ROWS_MAX];
} check_data;

/* Integers from -8 to 8 that look drawn. */
static float number(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (float)((int32_t)(*seed >> 8) % 17 - 8);
}

static void fill(check_data *d, const check_shape *s) {
    uint32_t seed = (uint32_t)(s->m * 1000 + s->n * 10 + s->k);
    for (int64_t i = 0; i < s->m; i++) {
        d->a_rows[i] = i * DEPTH + (i >= s->gap_at ? s->gap : 0);
        d->c_rows[i] = i * CPU_TILE_COLUMNS_MAX;
    }
    for (int64_t j = 0; j < CPU_TILE_COLUMNS_MAX; j++) d->init[j] = number(&seed);
    for (int64_t u = 0; u < STEPS; u++) {
        /* What lies beside a row must not be taken for a part of it. */
        for (uint64_t i = 0; i < sizeof d->a[u] / sizeof *d->a[u]; i++) d->a[u][i] = cvr_bf16_of_f32(SEEN);
        for (int64_t i = 0; i < s->m; i++)
            for (int64_t k = 0; k < s->k; k++) d->a[u][d->a_rows[i] + k] = cvr_bf16_of_f32(number(&seed));
        for (int64_t i = 0; i < s->k * s->n; i++) d->b[u][i] = number(&seed);
        cpu_micro.pack_rows(d->panels[u], d->b[u], s->n, s->k, s->n);
    }
    for (int64_t i = 0; i < CPU_TILE_ROWS_MAX * CPU_TILE_COLUMNS_MAX; i++) d->c[i] = SEEN;
}

static void run(check_data *d, const check_shape *s) {
    const cpu_step steps[STEPS] = {{0, 0, s->k}, {d->a[1] - d->a[0], d->panels[1] - d->panels[0], s->k}};
    const cpu_tile t = {.a = d->a,
                        .b = d->panels,
                        .c = d->c,
                        .a_rows = d->a_rows,
                        .c_rows = d->c_rows,
                        .steps = steps,
                        .init = s->kind == 1 ? d->init : NULL,
                        .n_steps = STEPS,
                        .a_k = 1,
                        .b_k = cpu_micro.columns,
                        .m = s->m,
                        .n = s->n,
                        .add = s->kind == 2,
                        .c_float = s->kind != 0};
    cpu_micro.by_row(&t);
}

/* Result (i,j) as it should be. */
static float plain(const check_data *d, const check_shape *s, int64_t i, int64_t j) {
    float sum = s->kind == 1 ? d->init[j] : s->kind == 2 ? SEEN : 0;
    for (int64_t u = 0; u < STEPS; u++)
        for (int64_t k = 0; k < s->k; k++) sum += cvr_f32_of_bf16(d->a[u][d->a_rows[i] + k]) * d->b[u][k * s->n + j];
    return s->kind == 0 ? cvr_f32_of_bf16(cvr_bf16_of_f32(sum)) : sum;
}

static int agrees(const check_shape *s) {
    check_data d;
    fill(&d, s);
    run(&d, s);
    const uint16_t *low = (const uint16_t *)(const void *)d.c;
    for (int64_t i = 0; i < s->m; i++)
        for (int64_t j = 0; j < s->n; j++) {
            const float c = s->kind == 0 ? cvr_f32_of_bf16(low[d.c_rows[i] + j]) : d.c[d.c_rows[i] + j];
            if (c != plain(&d, s, i, j)) return 0;
        }
    return 1;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const check_shape *wrong; /* the first that differs */

static void check_all(void) {
    char text[200];
    for (uint64_t i = 0; i < sizeof shapes / sizeof *shapes && !wrong; i++)
        if (!agrees(&shapes[i])) wrong = &shapes[i];
    cpu_tiles_done();
    if (!wrong) return;
    (void)snprintf(text, sizeof text, "%s is not used: " CHECK_FAILS, CVR_PACK_NAME, CHECK_WHERE);
    cpu_pack_host->log(cpu_pack_host, CVR_LOG_WARNING, text);
}

int32_t cpu_micro_works(cvr_error *reason) {
    (void)pthread_once(&once, check_all);
    if (!wrong) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, CHECK_FAILS, CHECK_WHERE);
}
