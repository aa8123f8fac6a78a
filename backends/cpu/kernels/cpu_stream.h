/*
 * Results past the caches. A plain store first reads its line from memory; a result that is too large to be found in a
 * cache by whoever reads it next need not pay for that. Such stores are not ordered with others: a task that made some
 * ends with cpu_stream_end(), before the pool tells anybody that it is done.
 */
#ifndef CVR_BACKENDS_CPU_STREAM_H
#define CVR_BACKENDS_CPU_STREAM_H

#include "cpu_vec.h"

#define CPU_STREAM_BYTES 8388608 /* a good part of a third-level cache */
#define CPU_STREAM_LINE 64

static inline int cpu_stream_aligned(const void *p) {
    return (uintptr_t)p % CPU_STREAM_LINE == 0;
}

/* Whether `bytes` of results that nothing has read are better streamed. */
static inline int cpu_streams(const void *to, int64_t bytes) {
    return bytes >= CPU_STREAM_BYTES && cpu_stream_aligned(to);
}

/* Where either is not whole lines: an ordinary copy. */
static inline void cpu_stream_copy(void *to, const void *from, int64_t bytes) {
    if (!cpu_stream_aligned(to) || bytes % CPU_STREAM_LINE != 0) {
        memcpy(to, from, (size_t)bytes);
        return;
    }
    const int64_t n = bytes / (int64_t)sizeof(float);
    for (int64_t i = 0; i < n; i += VEC) vec_stream((float *)to + i, vec_load((const float *)from + i));
}

static inline void cpu_stream_end(void) {
#if defined(__AVX2__)
    _mm_sfence();
#endif
}

#endif
