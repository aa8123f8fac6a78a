/*
 * The micro-kernel family that convolution and dense layers stand on: a batch-reduce GEMM of one register tile,
 * c (m,n) = [init +] sum over steps s, k of A_s (m,k) B_s (k,n) (Georganas et al., "High-Performance Deep Learning via
 * a Single Building Block", 2019). A convolution's tile is one call: its taps are the steps, so no im2col exists.
 *
 * Elements of A are broadcast, rows of B are loaded as vectors. The rows of A and c lie wherever a table of offsets
 * says, so that a tile of pixels may run over image rows, over images, or over every second pixel; this costs a few
 * scalar loads beside the m*n/16 multiply-adds of each k, and no one has to copy what is already there.
 *
 * Every pack of kernels has one table, `cpu_micro`, from gemm_avx512.c, gemm_avx2.c, gemm_portable.c or, in pairs of k,
 * gemm_avx512_bf16.c and gemm_amx.c; what calls it (conv2d_*.c, dense.c) knows nothing of instruction sets. Operands
 * are `void *` in units of the table's element type.
 */
#ifndef CVR_BACKENDS_CPU_GEMM_H
#define CVR_BACKENDS_CPU_GEMM_H

#include "kernels.h"

#include <cvr/plugin/bf16.h>

/*
 * Loops whose arrays are to be registers; functions whose arguments are to be constants. Not under a sanitizer, whose
 * checks of every unrolled access take gcc most of the time of a whole build.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TILE_INLINE static inline
#define TILE_UNROLL
#else
#define TILE_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define TILE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TILE_UNROLL _Pragma("GCC unroll 16")
#endif
#endif

/*
 * What a pack's tensors are, and what it multiplies. Weights, biases and their gradients are f32 everywhere.
 *
 *                     activations   operands of a product (scratch, panels)
 *                     f32           f32
 *   CVR_PACK_BF16     bf16          bf16
 *   CVR_PACK_BF16X3   f32           bf16 in two parts: high = bf16(x), low = bf16(x - high), which keep 16 bits of x.
 *                                   A product is three: high high + high low + low high, each a step of its own.
 *
 * CPU_BF16: products of bf16. CPU_LOW: activations of bf16. CPU_PARTS: of an operand's element.
 */
#if defined(CVR_PACK_BF16)
#define CPU_BF16 1
#define CPU_LOW 1
#define CPU_PARTS 1
#define CPU_TYPE CVR_BF16
#define CPU_PRODUCT_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)
#define CPU_LOW_SUPPORTS(f) f
typedef uint16_t cpu_element, cpu_operand;
#elif defined(CVR_PACK_BF16X3)
#define CPU_BF16 1
#define CPU_LOW 0
#define CPU_PARTS 2
#define CPU_TYPE CVR_F32
#define CPU_PRODUCT_FLAGS CPU_KERNEL_FLAGS
#define CPU_LOW_SUPPORTS(f) f
typedef float cpu_element;
typedef uint16_t cpu_operand;
#else
#define CPU_BF16 0
#define CPU_LOW 0
#define CPU_PARTS 1
#define CPU_TYPE CVR_F32
#define CPU_PRODUCT_FLAGS CPU_KERNEL_FLAGS
#define CPU_LOW_SUPPORTS(f) NULL
typedef float cpu_element, cpu_operand;
#endif

/* An activation as a number. */
static inline float cpu_float(cpu_element x) {
#if CPU_LOW
    return cvr_f32_of_bf16(x);
#else
    return x;
#endif
}

/* A number as an operand; in two parts, the high one. */
static inline cpu_operand cpu_rounded(float x) {
#if CPU_BF16
    return cvr_bf16_of_f32(x);
#else
    return x;
#endif
}

/* `supports` of the packs of bf16 products: which types tensors have. */
int32_t cpu_bf16_supports_sum(const cvr_signature *sig, cvr_error *reason);
int32_t cpu_bf16_supports_dense(const cvr_signature *sig, cvr_error *reason);

/* Of the largest tile of any table that this pack may have. */
#ifdef CVR_PACK_AMX
#define CPU_AMX 1
#define CPU_TILE_ROWS_MAX 32
#else
#define CPU_AMX 0
#define CPU_TILE_ROWS_MAX 14
#endif
#define CPU_TILE_COLUMNS_MAX 32

/* One A_s and B_s: offsets from the tile's a and b in elements, and how many k. */
typedef struct cpu_step {
    int64_t a, b, k;
} cpu_step;

/* Steps of one product. */
#define CPU_PRODUCTS (CPU_PARTS > 1 ? 3 : 1)

/* Writes a product's steps; a_low and b_low are where the low parts lie, relative to the high ones. */
static inline int64_t cpu_product(cpu_step *to, cpu_step high, int64_t a_low, int64_t b_low) {
    to[0] = high;
    if (CPU_PARTS == 1) return CPU_PRODUCTS;
    to[1] = (cpu_step){high.a, high.b + b_low, high.k};
    to[2] = (cpu_step){high.a + a_low, high.b, high.k};
    return CPU_PRODUCTS;
}

#define CPU_AHEAD 4         /* lines that are asked for together: many at once would keep the operands waiting */
#define CPU_LINES_AHEAD 512 /* of an operand, at most */

/* What becomes of a tile's sums while they are in registers: clamp(scale * c + shift + residual, lo, hi). */
typedef struct cpu_tile_finish {
    const float *scale, *shift; /* (columns of the table), whole vectors whatever n is */
    const float *residual;      /* element (i,j) at c_rows[i] + j, as in c; NULL: none */
    float lo, hi;
} cpu_tile_finish;

typedef struct cpu_tile {
    const void *a, *b;
    void *c;
    const int64_t *a_rows; /* (m): offset of each row of A; by_row only */
    const int64_t *c_rows; /* (m): offset of each row of c */
    const cpu_step *steps;
    const float *init; /* (n): what every row of c starts from; NULL: 0 */
    int64_t n_steps;
    int64_t a_k, b_k;              /* elements from one k to the next; by_row has a_k = 1 */
    int64_t m, n;                  /* 1 <= m <= rows, 1 <= n <= columns of the table */
    int64_t add;                   /* 1: to what c holds (init is then not looked at) */
    int64_t c_float;               /* 1: c is f32 where products are of bf16, too, as it has to be with `add` */
    int64_t stream;                /* 1: whole vectors of c, which are aligned, go past the caches (cpu_stream.h) */
    const cpu_tile_finish *finish; /* NULL: sums are stored as they are. by_row, and only where products are of f32 */
    const void *const *ahead;      /* (n_ahead, a multiple of CPU_AHEAD): lines to fetch while products are made */
    int64_t n_ahead;
} cpu_tile;

typedef struct cpu_micro_table {
    int64_t rows, columns; /* of the largest tile */
    int64_t element;       /* bytes of an operand's element */
    int64_t run;           /* rows of A that should be evenly spaced, in each half of a tile; 0: it does not matter */
    /* A_s[i,k] = a[steps[s].a + a_rows[i] + k]. */
    void (*by_row)(const cpu_tile *t);
    /* A_s[i,k] = a[steps[s].a + i + k * a_k]: a transposed operand. Not in bf16, where pairs of k lie together. */
    void (*by_column)(const cpu_tile *t);
    /* A panel of B: `to` is (k, columns), zero past the n-th column; the high part, where there are two. to[c,j] =
     * from[j * from_step + c]. */
    void (*pack_transposed)(cpu_operand *to, const float *from, int64_t from_step, int64_t k, int64_t n);
    /* to[c,j] = from[c * from_step + j] */
    void (*pack_rows)(cpu_operand *to, const float *from, int64_t from_step, int64_t k, int64_t n);
    /* What a thread's tiles hold on to is let go; NULL: nothing. */
    void (*done)(void);
} cpu_micro_table;

extern const cpu_micro_table cpu_micro;

/* The end of a task that ran tiles. */
static inline void cpu_tiles_done(void) {
    if (cpu_micro.done) cpu_micro.done();
}

/* CVR_OK, or why the table must not be used on this machine: where few machines could test it, it tests itself. */
#ifdef CVR_PACK_AMX
int32_t cpu_micro_works(cvr_error *reason);
#else
static inline int32_t cpu_micro_works(cvr_error *reason) {
    (void)reason;
    return CVR_OK;
}
#endif

/*
 * Tiles that `n` rows are split into, evenly: 32 rows at most 14 high are 11 + 11 + 10. For AMX, too: its time goes by
 * rows, and by the wait for the sum before where a tile has few, so that 20 + 20 rows are not slower than 32 + 8.
 */
static inline int64_t cpu_tiles(int64_t n) {
    return cpu_ceil_div(n, cpu_micro.rows);
}

/* Panels of columns, the last one perhaps narrower. */
static inline int64_t cpu_panels(int64_t n) {
    return cpu_ceil_div(n, cpu_micro.columns);
}

/* k of a panel, as it is packed: pairs in bf16. */
static inline int64_t cpu_depth(int64_t k) {
    return CPU_BF16 ? (k + 1) & ~INT64_C(1) : k;
}

/* The panels of f32 operands, for the tables. */
void cpu_pack_transposed(float *to, const float *from, int64_t from_step, int64_t k, int64_t n);
void cpu_pack_rows(float *to, const float *from, int64_t from_step, int64_t k, int64_t n);

#endif
