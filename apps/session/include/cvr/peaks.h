/* What a device can do at most, measured: `precision=auto` decides by it, and tools that measure compare with it. */
#ifndef CVR_PEAKS_H
#define CVR_PEAKS_H

#include <cvr/program.h>

#pragma GCC visibility push(default)

#define CVR_PEAK_F32 1u
#define CVR_PEAK_BF16 2u
#define CVR_PEAK_BANDWIDTH 4u

typedef struct cvr_peak_request {
    cvr_plugins *plugins;
    cvr_device *device;
    const cvr_threadpool *pool; /* all of its threads work */
    uint32_t what;              /* CVR_PEAK_* */
    double seconds;             /* for each */
} cvr_peak_request;

/* Multiply-adds count twice. 0 where it was not asked for, or the device has no kernel of its own for it. */
typedef struct cvr_peaks {
    double f32, bf16; /* operations a second from registers; bf16: products of bf16 that are added in f32 */
    double bandwidth; /* bytes a second, read and written by a copy that is larger than the caches */
    const char *f32_isa, *bf16_isa; /* of the kernels that multiplied; NULL: none */
} cvr_peaks;
/* By the ops peak_multiply_add and peak_copy: the fastest run of each, since what others do only makes it slower. */
int32_t cvr_measure_peaks(const cvr_peak_request *r, cvr_peaks *out, cvr_error *err);
/* Measures again, and keeps the larger of each figure. */
int32_t cvr_raise_peaks(const cvr_peak_request *r, cvr_peaks *best, cvr_error *err);

#pragma GCC visibility pop
#endif
