/*
 * Products of u8 by i8 in i32, requantised to u8 (<cvr/plugin/ops/quant.h>): what the files int8_* share. Sums of whole
 * numbers do not depend on their order, so every instruction set and every number of threads gives the same bits.
 *
 * A convolution is a product of pixels by filters. Activations stay as they lie (NHWC): a tile of pixels has a pointer
 * for each pixel and tap, a tap being `quads` groups of four neighbouring bytes. Weights are packed by panels of up to
 * 64 filters:
 *     panel: [tap][quad][filter of the panel][4]
 * so that one instruction multiplies four bytes of a pixel, the same for all lanes, with four of 16 filters.
 */
#ifndef CVR_BACKENDS_CPU_INT8_H
#define CVR_BACKENDS_CPU_INT8_H

#include "cpu_loops.h"

#include <cvr/plugin/ops/quant.h>

#define INT8_LANES 16 /* filters of a vector */
#define INT8_PANEL 64 /* most filters of a panel */
#define INT8_BLOCK 48 /* pixels whose pointers are made at once: a multiple of every tile's height */

/* One tile: `m` pixels by `vectors` * 16 filters, of which the first `n` are stored. */
typedef struct int8_tile {
    const uint8_t *const *x; /* tap t of pixel i: x[t * INT8_BLOCK + i] */
    const int8_t *weights;   /* the panel */
    int64_t taps, quads;
    const int32_t *bias;  /* with what x's zero point contributes taken out */
    const float *scale;   /* what sums are multiplied with */
    uint8_t *const *y;    /* where pixel i's first filter goes */
    int32_t *const *sums; /* NULL, or instead of y: where the sums of pixel i go, of all filters of the panel */
    int64_t n;
    int32_t zero; /* y's zero point */
    int32_t m;
} int8_tile;

/* One output pixel of a convolution of one channel a group: y[i] of n channels from sum over taps of x[t][i] * weights,
 * which lie by fours of taps: [four of taps][place of the channel][4]. Taps past the last one have weight 0 and any
 * readable x. */
typedef struct int8_pixel {
    const uint8_t *const *x; /* tap t: x[t] */
    const int8_t *weights;
    int64_t quads;       /* fours of taps */
    const int32_t *bias; /* by place, as is scale; with what x's zero point contributes taken out */
    const float *scale;
    uint8_t *y;
    int64_t n, channels; /* channels: n, in whole 64s */
    int32_t zero;        /* y's zero point */
} int8_pixel;

/* The instruction set's own part. */
typedef struct int8_micro {
    int32_t rows[4];      /* tallest tile of 1, 2, 3, 4 vectors; divides INT8_BLOCK */
    int32_t even, unused; /* 1: tiles of one height are as good as of another, and pixels are cut evenly */
    void (*tile)(const int8_tile *t, int32_t vectors);
    void (*depthwise)(const int8_pixel *d);
    /* The first of n sums of two u8 that fill whole vectors: returns how many; NULL: none. */
    int64_t (*add)(const cvr_add_int8 *k, const uint8_t *a, const uint8_t *b, uint8_t *y, int64_t n);
    void (*done)(void); /* at the end of a task that ran tiles; NULL: nothing */
} int8_micro;
extern const int8_micro cpu_int8_micro;

/* Where a channel's weights, bias and scale lie, for depthwise(): of each 64 channels those that interleaving bytes
 * within lanes of 128 bits brings together, 0..3, 16..19, 32..35, 48..51, then 4..7, 20..23 and so on. */
static inline int64_t int8_depthwise_place(int64_t channel) {
    return channel / 64 * 64 + channel % 16 / 4 * 16 + channel % 64 / 16 * 4 + channel % 4;
}

#define INT8_INLINE static inline __attribute__((always_inline))

/* acc * scale, rounded, as a u8 */
INT8_INLINE uint8_t int8_requantise(int32_t acc, float scale, int32_t zero) {
    return cvr_requant_round((float)acc * scale, zero);
}

/* A convolution, as its signature says; linear layers are ones of 1 x 1 over 1 x 1 pictures, and a transposed one is
 * several, whose results lie between one another (int8_transpose.c). */
typedef struct int8_conv {
    cvr_requant q;
    int64_t n, size[2], out[2], kernel[2], stride[2], padding[2], dilation[2];
    int64_t groups, c, k;               /* channels of a group, in and out */
    int64_t whole[2], first[2], gap[2]; /* y's rows and columns; where result 0 goes, and how far apart results are */
    int64_t w_first, w_filter, w_row, w_column, w_channel; /* where weights lie in memory, by steps */
    int64_t padded;                                        /* c, rounded up to fours */
    int64_t taps, quads;                                   /* of a tile */
    int32_t copies, merges; /* x is copied, so that channels come in fours; with its padding, a row of taps in one */
    int64_t panels;         /* of a group */
    int64_t k_padded;       /* k, rounded up to vectors */
} int8_conv;

/* int8_conv.c: what follows from the fields above; `merges` as far as it is allowed. */
void int8_settle(int8_conv *c, int32_t merges);
/* Bytes of what int8_conv_run needs beside the packed weights, for a convolution and x, of which `workers` do parts. */
uint64_t int8_conv_workspace(const int8_conv *c, uint32_t workers);
/* y of x, or without x the copy of it that an earlier call with the same workspace has made. */
void int8_conv_run(const int8_conv *c, const void *packed, const uint8_t *x, uint8_t *y, char *workspace,
                   const cvr_threadpool *pool);

/* Bytes, rounded up to whole cache lines. */
static inline uint64_t int8_line_up(uint64_t bytes) {
    return (bytes + 63) / 64 * 64;
}

/* int8_pack.c: packed weights, biases, scales, in this order. */
uint64_t int8_packed_bytes(const int8_conv *c);
typedef struct int8_packed {
    int8_t *weights; /* group by group, panel by panel */
    int32_t *bias;   /* (groups, k_padded) */
    float *scale;
} int8_packed;
int8_packed int8_packed_of(const int8_conv *c, void *memory);
void int8_pack(const int8_conv *c, const cvr_kernel_args *a, void *memory);
/* Filters of a panel, whole vectors. */
static inline int64_t int8_panel_width(const int8_conv *c, int64_t panel) {
    return cpu_min(INT8_PANEL, c->k_padded - panel * INT8_PANEL);
}

/* int8_depthwise.c: one channel a group. */
int32_t int8_is_depthwise(const int8_conv *c);
uint64_t int8_depthwise_bytes(const int8_conv *c);
void int8_depthwise_pack(const int8_conv *c, const cvr_kernel_args *a, void *memory);
uint64_t int8_depthwise_workspace(const int8_conv *c, uint32_t workers);
void int8_depthwise_run(const int8_conv *c, const cvr_kernel_args *a, const void *packed, char *workspace);

#endif
