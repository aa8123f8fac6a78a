/*
 * The dialect in GLSL 4.60 for Vulkan 1.3: memory by buffer addresses (GL_EXT_buffer_reference), no descriptors.
 * Parameters lie in a block of device memory whose address is the push constant; constants are specialisation constants
 * 0 to n - 1. Needed of the device: bufferDeviceAddress, scalarBlockLayout, shaderInt64, 8- and 16-bit storage, and
 * full subgroups with shuffles.
 */
#ifndef CVR_DEVICE_KERNEL_GLSL_H
#define CVR_DEVICE_KERNEL_GLSL_H

#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_shader_explicit_arithmetic_types : require
#extension GL_EXT_shader_8bit_storage : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

#include "cvr/device/params.h"

#define u32 uint
#define i32 int
#define u64 uint64_t
#define f32 float

#define FN
#define EXACT precise
#define OUT out
#define INOUT inout
#define UNROLL [[unroll]]
#define UNROLL_KNOWN [[unroll]]

layout(local_size_x = 256) in;

struct constants {
    u32 v[CONSTANTS];
};

#define PARAMS_OF(type) type
#define PASS_CONSTANTS constants
#define KERNEL(params_)                                                                                                \
    layout(push_constant) uniform kernel_root {                                                                        \
        params_ p;                                                                                                     \
    }                                                                                                                  \
    root;                                                                                                              \
    void kernel(params_ p, constants k)

u32 local_id() {
    return gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
}
u32 group_number() {
    return (gl_WorkGroupID.z * gl_NumWorkGroups.y + gl_WorkGroupID.y) * gl_NumWorkGroups.x + gl_WorkGroupID.x;
}
u32 subgroup_size() {
    return gl_SubgroupSize;
}
f32 shuffle_xor(f32 v, u32 mask) {
    return subgroupShuffleXor(v, mask);
}

/* ---- memory ---- */

layout(buffer_reference, scalar, buffer_reference_align = 4) buffer f32_at {
    float v;
};
layout(buffer_reference, scalar, buffer_reference_align = 1) buffer u8_at {
    uint8_t v;
};
layout(buffer_reference, scalar, buffer_reference_align = 2) buffer u16_at {
    uint16_t v;
};
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer u32_at {
    uint v;
};
layout(buffer_reference, scalar, buffer_reference_align = 8) buffer u64_at {
    uint64_t v;
};
layout(buffer_reference, std430, buffer_reference_align = 8) buffer u32x2_at {
    uvec2 v;
};
layout(buffer_reference, std430, buffer_reference_align = 16) buffer u32x4_at {
    uvec4 v;
};

f32 load_f32(u64 a, u64 i) {
    return f32_at(a + i * 4ul).v;
}
u32 load_u8(u64 a, u64 i) {
    return u32(u8_at(a + i).v);
}
u32 load_u16(u64 a, u64 i) {
    return u32(u16_at(a + i * 2ul).v);
}
u32 load_u32(u64 a, u64 i) {
    return u32_at(a + i * 4ul).v;
}
u64 load_u64(u64 a, u64 i) {
    return u64_at(a + i * 8ul).v;
}
void store_f32(u64 a, u64 i, f32 v) {
    f32_at(a + i * 4ul).v = v;
}
void store_u8(u64 a, u64 i, u32 v) {
    u8_at(a + i).v = uint8_t(v);
}
void store_u16(u64 a, u64 i, u32 v) {
    u16_at(a + i * 2ul).v = uint16_t(v);
}
void store_u32(u64 a, u64 i, u32 v) {
    u32_at(a + i * 4ul).v = v;
}
void store_u64(u64 a, u64 i, u64 v) {
    u64_at(a + i * 8ul).v = v;
}
void load4_u32(u64 a, u64 i, out u32 v[4]) {
    const uvec4 all = u32x4_at(a + i * 4ul).v;
    v[0] = all.x, v[1] = all.y, v[2] = all.z, v[3] = all.w;
}
void load2_u32(u64 a, u64 i, out u32 v[2]) {
    const uvec2 all = u32x2_at(a + i * 4ul).v;
    v[0] = all.x, v[1] = all.y;
}
void store4_u32(u64 a, u64 i, u32 v[4]) {
    u32x4_at(a + i * 4ul).v = uvec4(v[0], v[1], v[2], v[3]);
}
void store2_u32(u64 a, u64 i, u32 v[2]) {
    u32x2_at(a + i * 4ul).v = uvec2(v[0], v[1]);
}

/* ---- numbers ---- */

#define bits_of floatBitsToUint
#define float_of uintBitsToFloat
#define floor_f floor
#define rint_f roundEven
#define abs_f abs

/*
 * Drivers divide to within 2.5 ulp, and take square roots no more exactly; fma may be two roundings. What they give is
 * corrected with whole numbers, which are exact everywhere. Denormal numbers are left to the driver.
 *
 * a / b: mantissas of 24 bits, so that their quotient times 2^23 has 24 bits. The remainder is small, so 32 bits of it
 * are enough.
 */
f32 div_f(f32 a, f32 b) {
    const u32 x = bits_of(a), y = bits_of(b), ex = x >> 23u & 0xffu, ey = y >> 23u & 0xffu;
    u32 p = (x & 0x7fffffu) | 0x800000u;
    const u32 q = (y & 0x7fffffu) | 0x800000u, less = p < q ? 1u : 0u;
    const i32 e = i32(ex) - i32(ey) + 127 - i32(less);
    if (ex == 0u || ex == 255u || ey == 0u || ey == 255u || e <= 0 || e >= 255) return a / b;
    p <<= less;
    u32 n = u32(f32(p) / f32(q) * 8388608.0f);
    i32 rest = i32((p << 23u) - n * q);
    for (u32 i = 0u; i < 4u && rest < 0; i++) n--, rest += i32(q);
    for (u32 i = 0u; i < 4u && rest >= i32(q); i++) n++, rest -= i32(q);
    if (2 * rest > i32(q) || (2 * rest == i32(q) && (n & 1u) != 0u)) n++;
    return float_of(((x ^ y) & 0x80000000u) + (u32(e - 1) << 23u) + n);
}
/* The root of a mantissa times 2^23, whose exponent is even. */
f32 sqrt_f(f32 a) {
    const u32 x = bits_of(a), ex = x >> 23u;
    if (ex == 0u || ex >= 255u) return sqrt(a); /* negative numbers, too */
    const u32 odd = (ex & 1u) ^ 1u, p = ((x & 0x7fffffu) | 0x800000u) << odd;
    u32 n = u32(sqrt(f32(p) * 8388608.0f));
    i32 rest = i32((p << 23u) - n * n);
    for (u32 i = 0u; i < 4u && rest < 0; i++) n--, rest += i32(2u * n + 1u);
    for (u32 i = 0u; i < 4u && rest > i32(2u * n); i++) rest -= i32(2u * n + 1u), n++;
    if (rest > i32(n)) n++;
    return float_of((((ex - odd + 127u) >> 1u) - 1u << 23u) + n);
}
u32 mul_hi(u32 a, u32 b) {
    u32 high, low;
    umulExtended(a, b, high, low);
    return high;
}

#endif
