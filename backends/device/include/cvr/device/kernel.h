/*
 * The dialect of device kernels: what glslang, nvcc and a C17 compiler all understand, so that a kernel is written once
 * and runs by Vulkan, by CUDA and, for tests, on the host (docs/add-a-kernel.md).
 *
 * A kernel is a file NAME.k:
 *
 *     #include "cvr/device/kernel.h"
 *     #include "my_params.h"           struct of parameters, by PARAMS; C code that fills it includes it, too
 *     #define TYPE k.v[0]              one of the 8 numbers that are known when code is specialised
 *     KERNEL(my_params) {              the body of one thread: `p` are the parameters, `k` the constants
 *         const u32 i = group_number() * GROUP + local_id();
 *         if (i < p.n) store(p.y, i, TYPE, 2.0f * load(p.x, i, TYPE));
 *     }
 *
 * A kernel that needs more than 8 constants says `#define CONSTANTS 96` before it includes this.
 *
 * Memory is named by 64-bit addresses, which are numbers: there are no pointers. Everything else is functions:
 *
 *     FN                      before every function        EXACT   before a float whose value is rounded step by step
 *     PARAMS_OF(my_params) p, PASS_CONSTANTS k             parameters of functions that get p and k handed on
 *     OUT, INOUT              before an array parameter that is written
 *     UNROLL                  before a loop with a fixed count; UNROLL_KNOWN: with one that constants tell
 *     shared T name[n];       memory of the group, at file scope
 *     u32 i32 u64 f32         types, and conversions: u64(i) * n
 *     local_id()              number of the thread in its group, 0 .. GROUP - 1
 *     group_number()          number of the group in the grid, which `groups` of cvr_dispatch shapes as it likes
 *     barrier()               all threads of the group; what they wrote to shared memory is seen by all
 *     subgroup_size()         threads that run in step: a power of two
 *     shuffle_xor(v, m)       v of the thread whose number is this one's ^ m, m < subgroup_size(); all threads call it
 *     load_f32 load_u32 load_u16 load_u8 load_u64 (address, i), store_... (address, i, v): element i behind an address
 *     load4_u32 load2_u32, store4_u32 store2_u32: as many at once; address and i make a multiple of their size
 *     bits_of(f), float_of(u), fma(a, b, c), sqrt_f, floor_f, rint_f, abs_f, div_f, mul_hi(a, b)
 *
 * sqrt_f and div_f are rounded correctly everywhere, rint_f rounds ties to even. Where a thread reads what another one
 * wrote there is a barrier between; threads of a group leave a kernel together, and reach every barrier together.
 */
#ifndef CVR_DEVICE_KERNEL_H
#define CVR_DEVICE_KERNEL_H

#define GROUP 256u /* threads of every group */

#ifndef CONSTANTS
#define CONSTANTS 8
#endif

#if defined(CVR_DEVICE_GLSL)
#include "cvr/device/kernel.glsl.h"
#elif defined(__CUDACC__)
#include "cvr/device/kernel.cuda.h"
#else
#include "cvr/device/kernel.host.h"
#endif

#include "cvr/device/scalar.h"

#endif
