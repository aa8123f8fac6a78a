/*
 * NVIDIA's libraries as kernels of the backend `cuda`: cuDNN for convolutions, cuBLASLt for dense products. This is all
 * that the backend's runtime has to know of them.
 *
 * The runtime opens the libraries when it opens a device, and registers their kernels beside the device kernels, which
 * have a lower priority. A library that is not installed, or does not work on the device, is told in one line and its
 * kernels say that they are not there; the device kernels then compute.
 *
 * When a program is planned, a kernel's `supports` looks for a plan of the library for that node. Where the runtime
 * lends a lab, the plans are timed on the device, the fastest one is compared with the device kernel, and the choice is
 * kept by "cvr.host.tuning/1". Without one the library's own first choice is taken. A node's plan is made once and kept
 * until the device is closed, so `supports`, `workspace` and `launch` of the same node are look-ups after that.
 */
#ifndef CUDA_LIBRARIES_H
#define CUDA_LIBRARIES_H

#include <cvr/plugin/cuda.h>
#include <cvr/plugin/plugin.h>

/*
 * Where plans are tried before a program uses them: the open device, while nothing else runs on it. Its context is
 * current, and is the device's primary one, which is the context that cuDNN uses.
 */
typedef struct cuda_lab {
    void *ctx;
    int32_t (*alloc)(void *ctx, uint64_t bytes, void **address, cvr_error *err);
    void (*free)(void *ctx, void *address);
    /* Both are done when they return. */
    int32_t (*upload)(void *ctx, void *to, const void *from, uint64_t bytes, cvr_error *err);
    int32_t (*download)(void *ctx, void *to, const void *from, uint64_t bytes, cvr_error *err);
    /* Calls `enqueue` so many times with the same stream, waits for all of it, and says how many seconds of the device
     * one took. */
    int32_t (*run)(void *ctx, int32_t (*enqueue)(void *work, void *stream, cvr_error *err), void *work,
                   uint32_t repeats, double *seconds, cvr_error *err);
    /* A recorder that enqueues what it is given on `stream` at once, also while that is captured; lives until the
     * device is closed. It is how plans call device kernels, for casts say. */
    const cvr_recorder *(*recorder)(void *ctx, void *stream);
} cuda_lab;

/*
 * A device has been opened. `info` is what the backend's `info` gives: signatures and arguments of kernels point to it,
 * and it is how they find what was opened here. Both live until cuda_libraries_close. The log gets a line for each
 * library that is not used; CVR_ERR_NOMEM is the only error.
 */
int32_t cuda_libraries_open(const cvr_host *host, const cvr_device_info *info, const cuda_lab *lab, cvr_error *err);

/*
 * The same for a device that is not there: plans can be made for it, but not run. `json` is cuDNN's description of a
 * device (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, cuDNN 9.8 or newer). For tests.
 */
int32_t cuda_libraries_describe(const cvr_host *host, const cvr_device_info *info, const char *json, cvr_error *err);

/* Frees the plans. Programs that used them have been discarded. */
void cuda_libraries_close(const cvr_device_info *info);

/* Registers the kernels of all libraries, for the backend `cuda`. */
int32_t cuda_libraries_add_kernels(const cvr_registrar *r, cvr_error *err);

#endif
