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
 * corrected with whole numbers, which are exact everywhere, and without branches, which take drivers long to compile.
 * Denormal numbers are left to the driver.
 *
 * a / b: mantissas p and q of 24 bits, n = p / q * 2^23, which has 24 bits, and what is left of p * 2^23. That is a few
 * times q, so 32 bits of it are enough.
 */
f32 div_f(f32 a, f32 b) {
    const u32 x = bits_of(a), y = bits_of(b), ex = x >> 23u & 0xffu, ey = y >> 23u & 0xffu;
    const u32 m = (x & 0x7fffffu) | 0x800000u, q = (y & 0x7fffffu) | 0x800000u, less = m < q ? 1u : 0u, p = m << less;
    const i32 e = i32(ex) - i32(ey) + 127 - i32(less);
    const bool usual = ex - 1u < 254u && ey - 1u < 254u && e > 0 && e < 255;
    u32 n = u32(f32(p) / f32(q) * 8388608.0f);
    i32 rest = i32((p << 23u) - n * q);
    i32 more = i32(floor(f32(rest) / f32(q)));
    n += u32(more), rest -= more * i32(q);
    more = rest < 0 ? -1 : rest >= i32(q) ? 1 : 0;
    n += u32(more), rest = 2 * (rest - more * i32(q)) - i32(q);
    n += rest > 0 || (rest == 0 && (n & 1u) != 0u) ? 1u : 0u;
    return usual ? float_of(((x ^ y) & 0x80000000u) + (u32(e - 1) << 23u) + n) : a / b;
}
/* n = the root of p * 2^23, where p is the mantissa that goes with an even exponent. (n + 1)^2 = n^2 + 2 n + 1. */
f32 sqrt_f(f32 a) {
    const u32 x = bits_of(a), ex = x >> 23u, odd = (ex & 1u) ^ 1u, p = ((x & 0x7fffffu) | 0x800000u) << odd;
    u32 n = u32(sqrt(f32(p) * 8388608.0f));
    i32 rest = i32((p << 23u) - n * n);
    i32 more = i32(floor(f32(rest) / f32(2u * n)));
    rest -= more * (i32(2u * n) + more), n += u32(more);
    more = rest < 0 ? -1 : rest > i32(2u * n) ? 1 : 0;
    rest -= more * (i32(2u * n) + more), n += u32(more);
    n += rest > i32(n) ? 1u : 0u;
    return ex - 1u < 254u ? float_of((((ex - odd + 127u) >> 1u) - 1u << 23u) + n) : sqrt(a);
}
u32 mul_hi(u32 a, u32 b) {
    u32 high, low;
    umulExtended(a, b, high, low);
    return high;
}

#endif
