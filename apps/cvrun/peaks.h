/* What a device can do at most, measured. */
#ifndef CVRUN_PEAKS_H
#define CVRUN_PEAKS_H

#include <cvr/program.h>

#define PEAK_F32 1u
#define PEAK_BF16 2u
#define PEAK_BANDWIDTH 4u

typedef struct peak_request {
    cvr_plugins *plugins;
    cvr_device *device;
    const cvr_threadpool *pool; /* all of its threads work */
    uint32_t what;              /* PEAK_* */
    double seconds;             /* for each */
} peak_request;

/* Multiply-adds count twice. 0 where it was not asked for, or the device has no kernel of its own for it. */
typedef struct device_peaks {
    double f32, bf16; /* operations a second from registers; bf16: products of bf16 that are added in f32 */
    double bandwidth; /* bytes a second, read and written by a copy that is larger than the caches */
} device_peaks;
/* By the ops peak_multiply_add and peak_copy: the fastest run of each, since what others do only makes it slower. */
int32_t measure_peaks(const peak_request *r, device_peaks *out, cvr_error *err);

#endif
