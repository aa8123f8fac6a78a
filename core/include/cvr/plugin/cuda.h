/*
 * "cuda.launch/1": the payload of a kernel for the backend `cuda` that is launched by a library, or by code of its own,
 * so that there is no module to hand over (cuda.fatbin/1, device.h).
 */
#ifndef CVR_PLUGIN_CUDA_H
#define CVR_PLUGIN_CUDA_H

#include "kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * `launch` puts the node's work on `stream` (a CUstream) and returns; the device's context is current in the calling
 * thread. It is called in each of the first replays, then once while the stream is captured into a graph, which is what
 * later replays run. So it does the same each time, and what it loads or allocates it does when it is first called; it
 * never waits for the device. The context goes when a run leaves the backend, and is another one when the run comes
 * back: what belongs to a context (modules, memory, handles of libraries) cannot be kept for the process.
 */
typedef struct cvr_cuda_launch {
    uint64_t struct_size;
    int32_t (*launch)(const cvr_kernel_args *a, void *stream, cvr_error *err);
} cvr_cuda_launch;
#define CVR_PAYLOAD_CUDA_LAUNCH "cuda.launch/1"

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_cuda_launch) == 16, "cvr_cuda_launch has padding");

#endif
