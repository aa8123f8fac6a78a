/*
 * The rules of the plugin ABI, and the few types that every other header needs.
 *
 * Every struct that crosses the boundary begins with `struct_size`, has no implicit padding, grows only at its tail and
 * uses fixed-width fields. A field that came later is read through CVR_HAS. Pointers that the host gives are borrowed
 * for the call, unless their comment says otherwise; no memory crosses the boundary to be freed on the other side.
 */
#ifndef CVR_PLUGIN_ABI_H
#define CVR_PLUGIN_ABI_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* While the major is 0 the minor must match exactly; from 1.0 on, `min_host_minor <= host minor`. See docs/abi.md. */
#define CVR_ABI_MAJOR 0u
#define CVR_ABI_MINOR 3u

#if defined(__GNUC__)
#define CVR_EXPORT __attribute__((visibility("default")))
#define CVR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CVR_EXPORT
#define CVR_PRINTF(fmt, args)
#endif

#ifdef __cplusplus
#define CVR_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
#define CVR_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif

/* True where the struct at `p`, as its maker compiled it, reaches past the end of `field`. */
#define CVR_HAS(p, field) ((p)->struct_size >= (uint64_t)((const char *)(&(p)->field + 1) - (const char *)(p)))

/* Status of every function that can fail: CVR_OK or one of these. The error says the rest. */
#define CVR_OK 0
#define CVR_ERR_INVALID 1     /* a value that makes no sense where it stands: shapes, attributes, settings */
#define CVR_ERR_NOMEM 2       /* out of memory */
#define CVR_ERR_IO 3          /* the operating system refused: a missing file, a full disk */
#define CVR_ERR_FORMAT 4      /* the bytes of a file are not what its format says */
#define CVR_ERR_NOTFOUND 5    /* a name that nobody provides */
#define CVR_ERR_UNSUPPORTED 6 /* right, but not something that this part can do */
#define CVR_ERR_PLUGIN 7      /* a plugin broke its contract; the message names it */
#define CVR_ERR_NUMERIC 8     /* a loss that is not finite */
#define CVR_ERR_INTERRUPTED 9 /* a signal; everything is saved */
#define CVR_ERR_USAGE 10      /* the user's settings are wrong: exit status 2 */
#define CVR_ERR_DEVICE 11     /* a device was lost, or did not finish in time: nothing works on it any more */

/* Owned by the caller. `file` and `line` (0: none) say where the user has to look; `message` says what is wrong and
 * what to do. */
typedef struct cvr_error {
    uint64_t struct_size;
    int32_t code;
    uint32_t line;
    char file[512];
    char message[1024];
} cvr_error;

/* An error before anything went wrong: `cvr_error err = CVR_ERROR_INIT;`. The function is for one that is used again.
 */
#define CVR_ERROR_INIT                                                                                                 \
    {                                                                                                                  \
        sizeof(cvr_error), CVR_OK, 0, {0}, {                                                                           \
            0                                                                                                          \
        }                                                                                                              \
    }

static inline void cvr_error_init(cvr_error *err) {
    memset(err, 0, sizeof *err);
    err->struct_size = sizeof *err;
}

/* Fills `err` (which may be NULL) and returns `code`, so that a failure is one statement: return cvr_fail(err, ...). */
static inline int32_t cvr_fail(cvr_error *err, int32_t code, const char *format, ...) CVR_PRINTF(3, 4);
static inline int32_t cvr_fail(cvr_error *err, int32_t code, const char *format, ...) {
    if (err) {
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(err->message, sizeof err->message, format, ap);
        va_end(ap);
        err->code = code;
        err->line = 0;
        err->file[0] = '\0';
    }
    return code;
}

/* Says where the trouble is; for callers who know the file that a callee could not know. Keeps a place that is already
 * there. */
static inline int32_t cvr_fail_at(cvr_error *err, const char *file, uint32_t line, int32_t code) {
    if (err && err->file[0] == '\0') {
        (void)snprintf(err->file, sizeof err->file, "%.511s", file);
        err->line = line;
    }
    return code;
}

/*
 * The one idiom for leaving early. A function that does five things in order reads like five lines:
 *     CVR_TRY(first(x, err));
 *     CVR_TRY(second(x, err));
 * Where something has to be given back on every way out, the function has `int32_t status` and one label `out`, and
 * says CVR_TRY_OUT instead.
 */
#define CVR_TRY(call)                                                                                                  \
    do {                                                                                                               \
        const int32_t cvr_try_status = (call);                                                                         \
        if (cvr_try_status != CVR_OK) return cvr_try_status;                                                           \
    } while (0)
#define CVR_TRY_OUT(call)                                                                                              \
    do {                                                                                                               \
        if ((status = (call)) != CVR_OK) goto out;                                                                     \
    } while (0)

/* Element types. */
#define CVR_F32 1u
#define CVR_F16 2u
#define CVR_BF16 3u
#define CVR_U8 4u
#define CVR_I8 5u
#define CVR_I32 6u
#define CVR_I64 7u

/* Bytes of one element; 0 for an unknown type. */
static inline uint64_t cvr_dtype_size(uint32_t dtype) {
    switch (dtype) {
    case CVR_F32:
    case CVR_I32: return 4;
    case CVR_F16:
    case CVR_BF16: return 2;
    case CVR_U8:
    case CVR_I8: return 1;
    case CVR_I64: return 8;
    default: return 0;
    }
}

static inline const char *cvr_dtype_name(uint32_t dtype) {
    switch (dtype) {
    case CVR_F32: return "f32";
    case CVR_F16: return "f16";
    case CVR_BF16: return "bf16";
    case CVR_U8: return "u8";
    case CVR_I8: return "i8";
    case CVR_I32: return "i32";
    case CVR_I64: return "i64";
    default: return "?";
    }
}

#define CVR_MAX_RANK 6u

/*
 * What is known of a value before it has memory. `shape` is logical: (N, C, H, W) for activations, (O, I, kH, kW) for
 * convolution weights; axes at and past `rank` hold 1. Rank 0 is a scalar.
 *
 * In memory a rank-4 value always has axis 1 innermost: (N, H, W, C), and (O, kH, kW, I) for weights. Every other rank
 * is row-major. `order` is all zero, or (C, H, W) for a value of rank >= 2 that came from flattening (N, C, H, W) at
 * axis 1: its axis 1 has C*H*W elements which lie in memory in the order (H, W, C). Only ops flagged CVR_OP_ORDER_FREE
 * or CVR_OP_ORDER_AWARE see such values; before any other the graph puts a node that brings the logical order back.
 */
typedef struct cvr_type {
    uint64_t struct_size;
    uint32_t dtype;
    uint32_t rank;
    int64_t shape[CVR_MAX_RANK];
    int64_t order[3];
} cvr_type;

/*
 * A value with memory. `data` is an address of the backend that runs the kernel. Rank 4: element (n, c, h, w) lies at
 * ((n * H + h) * W + w) * pixel_stride + c, in elements; pixel_stride is C unless the kernel is flagged
 * CVR_KERNEL_STRIDED, when it may be more. Other ranks: pixel_stride is 0 and the tensor is dense.
 */
typedef struct cvr_tensor {
    uint64_t struct_size;
    uint32_t dtype;
    uint32_t rank;
    int64_t shape[CVR_MAX_RANK];
    int64_t order[3];
    int64_t pixel_stride;
    void *data;
} cvr_tensor;

/* Number of elements of a shape; the host has checked that it fits. */
static inline int64_t cvr_numel(uint32_t rank, const int64_t *shape) {
    int64_t n = 1;
    for (uint32_t i = 0; i < rank; i++) n *= shape[i];
    return n;
}

/* A type with shape (d0, d1, d2, d3), of which the first `rank` count, in logical order. */
static inline void cvr_type_set(cvr_type *t, uint32_t dtype, uint32_t rank, const int64_t *shape) {
    memset(t, 0, sizeof *t);
    t->struct_size = sizeof *t;
    t->dtype = dtype;
    t->rank = rank;
    for (uint32_t i = 0; i < CVR_MAX_RANK; i++) t->shape[i] = i < rank ? shape[i] : 1;
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_error) == 8 + 4 + 4 + 512 + 1024, "cvr_error has padding");
CVR_STATIC_ASSERT(sizeof(cvr_type) == 8 + 8 + 48 + 24, "cvr_type has padding");
CVR_STATIC_ASSERT(sizeof(cvr_tensor) == 8 + 8 + 48 + 24 + 8 + sizeof(void *), "cvr_tensor has padding");

#endif
