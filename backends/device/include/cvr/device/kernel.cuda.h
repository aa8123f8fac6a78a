/*
 * The dialect in CUDA C++. Compiled with -fmad=false, so that a * b + c is rounded twice, as everywhere; what shall be
 * fused says fma. Constants lie behind the parameters, in the kernel's argument.
 */
#ifndef CVR_DEVICE_KERNEL_CUDA_H
#define CVR_DEVICE_KERNEL_CUDA_H

#include <stdint.h>

#include "cvr/device/params.h"

#define FN static __device__ __forceinline__
#define EXACT
#define OUT
#define INOUT
#define UNROLL _Pragma("unroll")
#define UNROLL_KNOWN
#define shared static __shared__

struct constants {
    u32 v[CONSTANTS];
};

#define PARAMS_OF(type) const type &
#define PASS_CONSTANTS const constants &
#define KERNEL(params_)                                                                                                \
    typedef params_ kernel_params;                                                                                     \
    FN void kernel(const params_ &p, const constants &k)

FN u32 local_id() {
    return threadIdx.x;
}
FN u32 group_number() {
    return (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
}
FN u32 subgroup_size() {
    return 32u;
}
FN f32 shuffle_xor(f32 v, u32 mask) {
    return __shfl_xor_sync(0xffffffffu, v, mask);
}
FN void barrier() {
    __syncthreads();
}

/* ---- memory ---- */

#define CVR_ACCESS(name, type)                                                                                         \
    FN type load_##name(u64 a, u64 i) {                                                                                \
        return ((const type *)a)[i];                                                                                   \
    }                                                                                                                  \
    FN void store_##name(u64 a, u64 i, type v) {                                                                       \
        ((type *)a)[i] = v;                                                                                            \
    }
CVR_ACCESS(f32, float)
CVR_ACCESS(u8, uint8_t)
CVR_ACCESS(u16, uint16_t)
CVR_ACCESS(u32, uint32_t)
CVR_ACCESS(u64, uint64_t)

FN void load4_u32(u64 a, u64 i, u32 v[4]) {
    const uint4 all = *(const uint4 *)((const u32 *)a + i);
    v[0] = all.x, v[1] = all.y, v[2] = all.z, v[3] = all.w;
}
FN void load2_u32(u64 a, u64 i, u32 v[2]) {
    const uint2 all = *(const uint2 *)((const u32 *)a + i);
    v[0] = all.x, v[1] = all.y;
}
FN void store4_u32(u64 a, u64 i, const u32 v[4]) {
    *(uint4 *)((u32 *)a + i) = make_uint4(v[0], v[1], v[2], v[3]);
}
FN void store2_u32(u64 a, u64 i, const u32 v[2]) {
    *(uint2 *)((u32 *)a + i) = make_uint2(v[0], v[1]);
}

/* ---- numbers ---- */

FN u32 bits_of(f32 x) {
    return __float_as_uint(x);
}
FN f32 float_of(u32 bits) {
    return __uint_as_float(bits);
}
FN f32 sqrt_f(f32 x) {
    return __fsqrt_rn(x);
}
FN f32 div_f(f32 a, f32 b) {
    return __fdiv_rn(a, b);
}
FN f32 floor_f(f32 x) {
    return floorf(x);
}
FN f32 rint_f(f32 x) {
    return rintf(x);
}
FN f32 abs_f(f32 x) {
    return fabsf(x);
}
FN u32 mul_hi(u32 a, u32 b) {
    return __umulhi(a, b);
}

#endif
