/*
 * The micro-kernels of AVX2 with FMA: up to 6 x 16. Of the 16 registers, 12 hold sums (6 rows of two vectors of eight
 * floats), 2 hold a row of B, and 1 holds the broadcast element of A (gemm_tile.h has the loops).
 */
#include "gemm_tile.h"

TILE_HEIGHT(1)
TILE_HEIGHT(2)
TILE_HEIGHT(3)
TILE_HEIGHT(4)
TILE_HEIGHT(5)
TILE_HEIGHT(6)

/* [by_column][vectors - 1][m - 1] */
static void (*const tile_of[2][2][6])(const cpu_tile *t) = {
    {{tile_1x1_0, tile_2x1_0, tile_3x1_0, tile_4x1_0, tile_5x1_0, tile_6x1_0},
     {tile_1x2_0, tile_2x2_0, tile_3x2_0, tile_4x2_0, tile_5x2_0, tile_6x2_0}},
    {{tile_1x1_1, tile_2x1_1, tile_3x1_1, tile_4x1_1, tile_5x1_1, tile_6x1_1},
     {tile_1x2_1, tile_2x2_1, tile_3x2_1, tile_4x2_1, tile_5x2_1, tile_6x2_1}},
};

static void by_row(const cpu_tile *t) {
    tile_of[0][t->n > VEC][t->m - 1](t);
}

static void by_column(const cpu_tile *t) {
    tile_of[1][t->n > VEC][t->m - 1](t);
}

const cpu_micro_table cpu_micro = {
    6, 2 * VEC, sizeof(float), 0, by_row, by_column, cpu_pack_transposed, cpu_pack_rows, NULL};
