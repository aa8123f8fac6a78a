/*
 * The micro-kernels of AVX-512: up to 14 x 32. Of the 32 registers, 28 hold sums (14 rows of two vectors of 16 floats),
 * 2 hold a row of B, and 1 holds the broadcast element of A (gemm_tile.h has the loops).
 */
#include "gemm_tile.h"

TILE_HEIGHT(1)
TILE_HEIGHT(2)
TILE_HEIGHT(3)
TILE_HEIGHT(4)
TILE_HEIGHT(5)
TILE_HEIGHT(6)
TILE_HEIGHT(7)
TILE_HEIGHT(8)
TILE_HEIGHT(9)
TILE_HEIGHT(10)
TILE_HEIGHT(11)
TILE_HEIGHT(12)
TILE_HEIGHT(13)
TILE_HEIGHT(14)

/* [by_column][vectors - 1][m - 1] */
static void (*const tile_of[2][2][14])(const cpu_tile *t) = {
    {{tile_1x1_0, tile_2x1_0, tile_3x1_0, tile_4x1_0, tile_5x1_0, tile_6x1_0, tile_7x1_0, tile_8x1_0, tile_9x1_0,
      tile_10x1_0, tile_11x1_0, tile_12x1_0, tile_13x1_0, tile_14x1_0},
     {tile_1x2_0, tile_2x2_0, tile_3x2_0, tile_4x2_0, tile_5x2_0, tile_6x2_0, tile_7x2_0, tile_8x2_0, tile_9x2_0,
      tile_10x2_0, tile_11x2_0, tile_12x2_0, tile_13x2_0, tile_14x2_0}},
    {{tile_1x1_1, tile_2x1_1, tile_3x1_1, tile_4x1_1, tile_5x1_1, tile_6x1_1, tile_7x1_1, tile_8x1_1, tile_9x1_1,
      tile_10x1_1, tile_11x1_1, tile_12x1_1, tile_13x1_1, tile_14x1_1},
     {tile_1x2_1, tile_2x2_1, tile_3x2_1, tile_4x2_1, tile_5x2_1, tile_6x2_1, tile_7x2_1, tile_8x2_1, tile_9x2_1,
      tile_10x2_1, tile_11x2_1, tile_12x2_1, tile_13x2_1, tile_14x2_1}},
};

static void by_row(const cpu_tile *t) {
    tile_of[0][t->n > VEC][t->m - 1](t);
}

static void by_column(const cpu_tile *t) {
    tile_of[1][t->n > VEC][t->m - 1](t);
}

const cpu_micro_table cpu_micro = {
    14, 2 * VEC, sizeof(float), 0, by_row, by_column, cpu_pack_transposed, cpu_pack_rows, NULL};
