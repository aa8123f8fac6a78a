/*
 * The body of every f32 micro-kernel (see gemm.h), on the vectors of cpu_vec.h: c (m,n) = [c +] [init +] sum over steps
 * and k of A (m,k) B (k,n).
 *
 * Loop order: steps, then k (four at a time), then the rows of A, then the vectors of B's row. For each k the row of B
 * is loaded once, as one or two vectors; an element of A is broadcast to a vector and multiplied by both; so there are
 * m * vectors multiply-adds for m + vectors loads. The accumulators of all m rows stay in registers over all steps and
 * k, and c is written once at the end. `m` and `vectors` are constants wherever the body is inlined, or the compiler
 * could not keep the accumulators in registers.
 *
 * A comes by row (element (i,k) at a_rows[i] + k) or by column (at k * a_k + i). B's rows are b_k apart. While the loop
 * multiplies, it prefetches the cache lines of `ahead` into the second-level cache, and, unless c is streamed, c's.
 */
#ifndef CVR_BACKENDS_CPU_GEMM_TILE_H
#define CVR_BACKENDS_CPU_GEMM_TILE_H

#include "cpu_vec.h"
#include "gemm.h"

/* What is constant in an instance. */
typedef struct tile_kind {
    int m, vectors;
    int by_column; /* layout of A */
    int part;      /* the last vector may have fewer than VEC columns */
} tile_kind;

TILE_INLINE vec tile_b(const float *b, int v, tile_kind kind, vec_part tail) {
    return kind.part && v == kind.vectors - 1 ? vec_load_part(b + v * VEC, tail) : vec_load(b + v * VEC);
}

/* Rows of B that the first-level cache is asked for ahead: panels are too long to stay there between two tiles. */
#define TILE_B_AHEAD 16

/* acc += A[:,k] B[k,:] */
TILE_INLINE void tile_rank1(vec acc[][2], const cpu_tile *t, const float *a, const float *b, tile_kind kind,
                            vec_part tail) {
    vec bv[2];
    TILE_UNROLL
    for (int v = 0; v < kind.vectors; v++) __builtin_prefetch(b + TILE_B_AHEAD * t->b_k + v * VEC);
    TILE_UNROLL
    for (int v = 0; v < kind.vectors; v++) bv[v] = tile_b(b, v, kind, tail);
    TILE_UNROLL
    for (int i = 0; i < kind.m; i++) {
        const vec x = vec_set1(kind.by_column ? a + i : a + t->a_rows[i]);
        TILE_UNROLL
        for (int v = 0; v < kind.vectors; v++) acc[i][v] = vec_fma(x, bv[v], acc[i][v]);
    }
}

TILE_INLINE void tile_sum(vec acc[][2], const cpu_tile *t, tile_kind kind, vec_part tail) {
    const int64_t a_k = kind.by_column ? t->a_k : 1, b_k = t->b_k;
    const void *const *ahead = t->ahead, *const *end = ahead + t->n_ahead;
    for (int64_t s = 0; s < t->n_steps; s++) {
        const float *a = (const float *)t->a + t->steps[s].a, *b = (const float *)t->b + t->steps[s].b;
        int64_t k = t->steps[s].k;
        for (; k >= 4; k -= 4) {
            if (ahead < end) {
                TILE_UNROLL
                for (int u = 0; u < CPU_AHEAD; u++) __builtin_prefetch(ahead[u], 0, 2);
                ahead += CPU_AHEAD;
            }
            TILE_UNROLL
            for (int u = 0; u < 4; u++) tile_rank1(acc, t, a + u * a_k, b + u * b_k, kind, tail);
            a += 4 * a_k;
            b += 4 * b_k;
        }
        for (; k > 0; k--) {
            tile_rank1(acc, t, a, b, kind, tail);
            a += a_k;
            b += b_k;
        }
    }
}

/* cpu_tile_finish: of one column of vectors at a time, whose scale and shift stay in registers. */
TILE_INLINE void tile_finish(vec acc[][2], const cpu_tile *t, tile_kind kind, vec_part tail) {
    const cpu_tile_finish *f = t->finish;
    const vec lo = vec_set1(&f->lo), hi = vec_set1(&f->hi);
    TILE_UNROLL
    for (int v = 0; v < kind.vectors; v++) {
        const vec scale = vec_load(f->scale + v * VEC), shift = vec_load(f->shift + v * VEC);
        TILE_UNROLL
        for (int i = 0; i < kind.m; i++) {
            vec x = vec_fma(acc[i][v], scale, shift);
            if (f->residual) x = vec_add(x, tile_b(f->residual + t->c_rows[i], v, kind, tail));
            acc[i][v] = vec_clamp(x, lo, hi);
        }
    }
}

TILE_INLINE void tile_run(const cpu_tile *t, tile_kind kind) {
    vec acc[CPU_TILE_ROWS_MAX][2];
    if (!t->stream) {
        TILE_UNROLL
        for (int i = 0; i < kind.m; i++) {
            TILE_UNROLL
            for (int v = 0; v < kind.vectors; v++) __builtin_prefetch((float *)t->c + t->c_rows[i] + v * VEC, 1);
        }
    }
    const vec_part tail = vec_part_of(t->n - (kind.vectors - 1) * VEC);
    TILE_UNROLL
    for (int v = 0; v < kind.vectors; v++) {
        const int cut = kind.part && v == kind.vectors - 1;
        vec first = vec_zero();
        if (!t->add && t->init) first = cut ? vec_load_part(t->init + v * VEC, tail) : vec_load(t->init + v * VEC);
        TILE_UNROLL
        for (int i = 0; i < kind.m; i++) acc[i][v] = first;
    }
    tile_sum(acc, t, kind, tail);
    if (t->add) {
        TILE_UNROLL
        for (int i = 0; i < kind.m; i++) {
            const float *c = (const float *)t->c + t->c_rows[i];
            TILE_UNROLL
            for (int v = 0; v < kind.vectors; v++) acc[i][v] = vec_add(acc[i][v], tile_b(c, v, kind, tail));
        }
    }
    if (!kind.by_column && t->finish) tile_finish(acc, t, kind, tail);
    TILE_UNROLL
    for (int i = 0; i < kind.m; i++) {
        float *c = (float *)t->c + t->c_rows[i];
        TILE_UNROLL
        for (int v = 0; v < kind.vectors; v++, c += VEC) {
            const int cut = kind.part && v == kind.vectors - 1;
            if (cut)
                vec_store_part(c, acc[i][v], tail);
            else if (t->stream)
                vec_stream(c, acc[i][v]);
            else
                vec_store(c, acc[i][v]);
        }
    }
}

/* Whole vectors need no masks, which cost something without AVX-512. */
TILE_INLINE void tile_pick(const cpu_tile *t, int m, int vectors, int by_column) {
    if (t->n == vectors * VEC)
        tile_run(t, (tile_kind){m, vectors, by_column, 0});
    else
        tile_run(t, (tile_kind){m, vectors, by_column, 1});
}

/* The one-line functions of a height: TILE_HEIGHT(7) makes tile_7x1_0, tile_7x2_0 (by row), tile_7x1_1, tile_7x2_1. */
#define TILE_ONE(m, vectors, by_column)                                                                                \
    static void tile_##m##x##vectors##_##by_column(const cpu_tile *t) {                                                \
        tile_pick(t, m, vectors, by_column);                                                                           \
    }
#define TILE_HEIGHT(m) TILE_ONE(m, 1, 0) TILE_ONE(m, 2, 0) TILE_ONE(m, 1, 1) TILE_ONE(m, 2, 1)

#endif
