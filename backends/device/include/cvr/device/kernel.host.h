/*
 * The dialect on the host: threads are fibres, which the backend `emu` switches between (emu.h). Each kernel is a
 * translation unit of its own, entry.host.c.
 */
#ifndef CVR_DEVICE_KERNEL_HOST_H
#define CVR_DEVICE_KERNEL_HOST_H

#include "cvr/device/emu.h"
#include "cvr/device/params.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Conversions. The names without brackets are types. */
#define u32(x) ((uint32_t)(x))
#define i32(x) ((int32_t)(x))
#define u64(x) ((uint64_t)(x))
#define f32(x) ((float)(x))

#define FN __attribute__((unused)) static inline
#define EXACT
#define OUT
#define INOUT
#define UNROLL
#define UNROLL_KNOWN
#define shared static

/* What runs this kernel now: there is one group at a time. */
static cvr_emu_machine *cvr_emu;

typedef struct constants {
    u32 v[CONSTANTS];
} constants;

#define PARAMS_OF(type) const type
#define PASS_CONSTANTS const constants
#define KERNEL(params_)                                                                                                \
    typedef params_ kernel_params;                                                                                     \
    static void kernel(const params_ p, const constants k)

FN u32 local_id(void) {
    return cvr_emu->thread;
}
FN u32 group_number(void) {
    return cvr_emu->group;
}
FN u32 subgroup_size(void) {
    return cvr_emu->subgroup;
}
FN f32 shuffle_xor(f32 v, u32 mask) {
    return cvr_emu->shuffle_xor(cvr_emu, v, mask);
}
/* The number tells one barrier in the text from another. */
#define barrier() cvr_emu->barrier(cvr_emu, __COUNTER__)

/* ---- memory ---- */

#define CVR_ACCESS(name, type)                                                                                         \
    FN type load_##name(u64 a, u64 i) {                                                                                \
        type v;                                                                                                        \
        memcpy(&v, (const char *)(uintptr_t)a + i * sizeof v, sizeof v);                                               \
        return v;                                                                                                      \
    }                                                                                                                  \
    FN void store_##name(u64 a, u64 i, type v) {                                                                       \
        memcpy((char *)(uintptr_t)a + i * sizeof v, &v, sizeof v);                                                     \
    }
CVR_ACCESS(f32, float)
CVR_ACCESS(u8, uint8_t)
CVR_ACCESS(u16, uint16_t)
CVR_ACCESS(u32, uint32_t)
CVR_ACCESS(u64, uint64_t)

FN void load4_u32(u64 a, u64 i, u32 v[4]) {
    memcpy(v, (const uint32_t *)(uintptr_t)a + i, 16);
}
FN void load2_u32(u64 a, u64 i, u32 v[2]) {
    memcpy(v, (const uint32_t *)(uintptr_t)a + i, 8);
}
FN void store4_u32(u64 a, u64 i, const u32 v[4]) {
    memcpy((uint32_t *)(uintptr_t)a + i, v, 16);
}
FN void store2_u32(u64 a, u64 i, const u32 v[2]) {
    memcpy((uint32_t *)(uintptr_t)a + i, v, 8);
}

/* ---- numbers ---- */

FN u32 bits_of(f32 x) {
    u32 bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
FN f32 float_of(u32 bits) {
    f32 x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
#define fma(a, b, c) fmaf(a, b, c)
#define sqrt_f sqrtf
#define floor_f floorf
#define rint_f rintf
#define abs_f fabsf
FN f32 div_f(f32 a, f32 b) {
    return a / b;
}
FN u32 mul_hi(u32 a, u32 b) {
    return (u32)((u64)a * b >> 32);
}

#endif
