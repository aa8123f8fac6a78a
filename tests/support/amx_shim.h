/*
 * AMX's tile registers as plain C, for tests on machines without them: the instructions that gemm_amx.c and int8_amx.c
 * use, under the names of their intrinsics, with the semantics of Intel's Software Developer's Manual, volume 2
 * (LDTILECFG, TILELOADD, TILESTORED, TILEZERO, TILERELEASE, TDPBF16PS, TDPBUSD). What would fault there ends the
 * process here, with a line that says why. Include after <immintrin.h>.
 */
#ifndef CVR_TEST_AMX_SHIM_H
#define CVR_TEST_AMX_SHIM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHIM_REGISTERS 8
#define SHIM_ROWS 16
#define SHIM_ROW_BYTES 64

typedef struct shim_register {
    int rows, row_bytes; /* 0: not configured */
    _Alignas(64) uint8_t data[SHIM_ROWS][SHIM_ROW_BYTES];
} shim_register;

typedef struct shim_unit {
    int configured;
    shim_register registers[SHIM_REGISTERS];
} shim_unit;

static _Thread_local shim_unit shim_state;

/* What is slow under sanitizers, and stays within registers whose shapes are checked. */
#define SHIM_PLAIN __attribute__((no_sanitize("address", "undefined")))

static inline void shim_need(int holds, const char *what) {
    if (holds) return;
    (void)fprintf(stderr, "amx_shim: %s\n", what);
    abort();
}

/* 64 bytes: palette, start_row, 14 reserved, 16 of 16 bits: bytes of a row, 16 of 8 bits: rows. */
static inline void shim_loadconfig(const void *from) {
    uint8_t c[64];
    memcpy(c, from, sizeof c);
    shim_need(c[0] == 1, "a palette that is not 1");
    shim_need(c[1] == 0, "a start_row that is not 0");
    for (int i = 2; i < 16; i++) shim_need(c[i] == 0, "a reserved byte that is not 0");
    memset(&shim_state, 0, sizeof shim_state);
    for (int i = 0; i < 16; i++) {
        const int row_bytes = c[16 + 2 * i] | c[17 + 2 * i] << 8, rows = c[48 + i];
        shim_need(i < SHIM_REGISTERS || (!row_bytes && !rows), "a shape for a register past the eighth");
        shim_need(row_bytes <= SHIM_ROW_BYTES && rows <= SHIM_ROWS, "a shape larger than a register");
        shim_need(!row_bytes == !rows, "rows without bytes, or bytes without rows");
        if (i >= SHIM_REGISTERS) continue;
        shim_state.registers[i].rows = rows;
        shim_state.registers[i].row_bytes = row_bytes;
    }
    shim_state.configured = 1;
}

static inline void shim_release(void) {
    memset(&shim_state, 0, sizeof shim_state);
}

static inline shim_register *shim_get(int which) {
    shim_unit *const unit = &shim_state; /* once: a thread's data is looked up by a call */
    shim_need(unit->configured, "a tile instruction without a configuration");
    shim_need(which >= 0 && which < SHIM_REGISTERS, "a register that does not exist");
    shim_need(unit->registers[which].rows > 0, "a register without a shape");
    return &unit->registers[which];
}

static inline void shim_zero(int which) {
    shim_register *r = shim_get(which);
    memset(r->data, 0, sizeof r->data);
}

/* Bytes and rows past the shape become 0. */
static inline void shim_loadd(int which, const void *from, long step) {
    shim_register *r = shim_get(which);
    memset(r->data, 0, sizeof r->data);
    for (int i = 0; i < r->rows; i++) memcpy(r->data[i], (const uint8_t *)from + i * step, (size_t)r->row_bytes);
}

static inline void shim_stored(int which, void *to, long step) {
    const shim_register *r = shim_get(which);
    for (int i = 0; i < r->rows; i++) memcpy((uint8_t *)to + i * step, r->data[i], (size_t)r->row_bytes);
}

/* Denormals count as zeros, whatever the thread's mode. */
SHIM_PLAIN static inline float shim_flushed(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = bits & 0x7F800000u ? bits : bits & 0x80000000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

SHIM_PLAIN static inline float shim_bf16(const uint8_t *at) {
    uint16_t half;
    uint32_t bits;
    float x;
    memcpy(&half, at, sizeof half);
    bits = (uint32_t)half << 16;
    memcpy(&x, &bits, sizeof x);
    return shim_flushed(x);
}

#define SHIM_COLUMNS (SHIM_ROW_BYTES / 4)

/* A register's pairs as numbers: of row k, the first of each pair, then the second. */
typedef struct shim_pairs {
    float of[SHIM_ROWS][2][SHIM_COLUMNS];
} shim_pairs;

SHIM_PLAIN static inline void shim_pairs_of(shim_pairs *to, const shim_register *r) {
    for (int k = 0; k < r->rows; k++)
        for (int half = 0; half < 2; half++)
            for (int n = 0; n < SHIM_COLUMNS; n++) to->of[k][half][n] = shim_bf16(r->data[k] + 4 * n + 2 * half);
}

/* One row of TDPBF16PS: the first of each pair and the second are summed apart, by fused multiply-adds, then added. */
SHIM_PLAIN static inline void shim_dot_row(float *c, int columns, const uint8_t *a, int pairs, const shim_pairs *b) {
    float sums[2][SHIM_COLUMNS] = {{0}};
    for (int k = 0; k < pairs; k++)
        for (int half = 0; half < 2; half++) {
            const float x = shim_bf16(a + 4 * k + 2 * half);
            for (int n = 0; n < SHIM_COLUMNS; n++)
                sums[half][n] = shim_flushed(__builtin_fmaf(x, b->of[k][half][n], sums[half][n]));
        }
    for (int n = 0; n < columns; n++) c[n] = shim_flushed(shim_flushed(c[n]) + shim_flushed(sums[0][n] + sums[1][n]));
}

static inline void shim_dpbf16ps(int to, int first, int second) {
    shim_register *c = shim_get(to);
    const shim_register *a = shim_get(first), *b = shim_get(second);
    shim_need(to != first && to != second && first != second, "one register as two operands");
    shim_need(a->row_bytes % 4 == 0 && b->row_bytes % 4 == 0 && c->row_bytes % 4 == 0, "rows of half a pair");
    shim_need(c->rows == a->rows, "sums and first operand differ in rows");
    shim_need(c->row_bytes == b->row_bytes, "sums and second operand differ in columns");
    shim_need(a->row_bytes / 4 == b->rows, "pairs of the first operand differ from rows of the second");
    shim_pairs pairs;
    shim_pairs_of(&pairs, b);
    for (int m = 0; m < c->rows; m++)
        shim_dot_row((float *)(void *)c->data[m], c->row_bytes / 4, a->data[m], a->row_bytes / 4, &pairs);
}

/* TDPBUSD: four products of u8 by i8 each, added up without saturation. */
SHIM_PLAIN static inline void shim_dpbusd(int to, int first, int second) {
    shim_register *c = shim_get(to);
    const shim_register *a = shim_get(first), *b = shim_get(second);
    shim_need(to != first && to != second && first != second, "one register as two operands");
    shim_need(a->row_bytes % 4 == 0 && b->row_bytes % 4 == 0 && c->row_bytes % 4 == 0, "rows of a part of four");
    shim_need(c->rows == a->rows, "sums and first operand differ in rows");
    shim_need(c->row_bytes == b->row_bytes, "sums and second operand differ in columns");
    shim_need(a->row_bytes / 4 == b->rows, "fours of the first operand differ from rows of the second");
    for (int m = 0; m < c->rows; m++)
        for (int n = 0; n < c->row_bytes / 4; n++) {
            uint32_t sum;
            memcpy(&sum, c->data[m] + 4 * n, sizeof sum);
            for (int k = 0; k < a->row_bytes; k++)
                sum += (uint32_t)((int32_t)a->data[m][k] * (int32_t)(int8_t)b->data[k / 4][4 * n + k % 4]);
            memcpy(c->data[m] + 4 * n, &sum, sizeof sum);
        }
}

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#undef _tile_dpbusd
#define _tile_loadconfig shim_loadconfig
#define _tile_release shim_release
#define _tile_zero shim_zero
#define _tile_loadd shim_loadd
#define _tile_stored shim_stored
#define _tile_dpbf16ps shim_dpbf16ps
#define _tile_dpbusd shim_dpbusd

#endif
