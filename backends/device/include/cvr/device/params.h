/*
 * How a struct of parameters is declared, so that C code which fills it and kernels that read it share one text:
 *
 *     PARAMS(my_params) {
 *         u64 x, y;    addresses first
 *         u32 n;       then fields of 4 bytes
 *     };
 *
 * STRUCT declares a part of one. With both, a field lies where C puts it, as nothing needs padding.
 */
#ifndef CVR_DEVICE_PARAMS_H
#define CVR_DEVICE_PARAMS_H

#if defined(CVR_DEVICE_GLSL)
#define PARAMS(name) layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer name
#define STRUCT(name) struct name
#else
#ifndef __CUDACC__
#include <stdint.h>
#endif
#ifdef __cplusplus
#define PARAMS(name) struct name
#else
#define PARAMS(name)                                                                                                   \
    typedef struct name name;                                                                                          \
    struct name
#endif
#define STRUCT PARAMS
typedef uint32_t u32;
typedef int32_t i32;
typedef uint64_t u64;
typedef float f32;
#endif

#endif
