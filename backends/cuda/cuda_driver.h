/*
 * The functions of CUDA's driver that this backend calls. libcuda.so.1, which comes with the driver, is opened when the
 * backend is asked for a device, so that a machine without it runs everything else. The runtime library (cudart) is not
 * used.
 */
#ifndef CUDA_DRIVER_H
#define CUDA_DRIVER_H

#include <cuda.h>
#include <cudaTypedefs.h>

#include <cvr/plugin/plugin.h>

/* X(name, version) for each: cuNAME as it is called since CUDA `version` (12040 is 12.4). */
#define CUDA_FUNCTIONS(X)                                                                                              \
    X(Init, 2000)                                                                                                      \
    X(DriverGetVersion, 2020)                                                                                          \
    X(DeviceGetCount, 2000)                                                                                            \
    X(DeviceGet, 2000)                                                                                                 \
    X(DeviceGetName, 2000)                                                                                             \
    X(DeviceGetUuid, 11040)                                                                                            \
    X(DeviceTotalMem, 3020)                                                                                            \
    X(DeviceGetAttribute, 2000)                                                                                        \
    X(DevicePrimaryCtxRetain, 7000)                                                                                    \
    X(DevicePrimaryCtxRelease, 11000)                                                                                  \
    X(CtxSetCurrent, 4000)                                                                                             \
    X(MemAlloc, 3020)                                                                                                  \
    X(MemFree, 3020)                                                                                                   \
    X(MemGetInfo, 3020)                                                                                                \
    X(MemHostAlloc, 2020)                                                                                              \
    X(MemFreeHost, 2000)                                                                                               \
    X(MemHostRegister, 6050)                                                                                           \
    X(MemHostUnregister, 4000)                                                                                         \
    X(MemcpyHtoDAsync, 3020)                                                                                           \
    X(MemcpyDtoHAsync, 3020)                                                                                           \
    X(MemcpyDtoDAsync, 3020)                                                                                           \
    X(MemsetD32Async, 3020)                                                                                            \
    X(StreamCreate, 2000)                                                                                              \
    X(StreamDestroy, 4000)                                                                                             \
    X(StreamSynchronize, 2000)                                                                                         \
    X(StreamWaitEvent, 3020)                                                                                           \
    X(StreamBeginCapture, 10010)                                                                                       \
    X(StreamEndCapture, 10000)                                                                                         \
    X(GraphInstantiateWithFlags, 11040)                                                                                \
    X(GraphLaunch, 10000)                                                                                              \
    X(GraphExecDestroy, 10000)                                                                                         \
    X(GraphDestroy, 10000)                                                                                             \
    X(EventCreate, 2000)                                                                                               \
    X(EventDestroy, 4000)                                                                                              \
    X(EventRecord, 2000)                                                                                               \
    X(EventQuery, 2000)                                                                                                \
    X(EventSynchronize, 2000)                                                                                          \
    X(EventElapsedTime, 2000)                                                                                          \
    X(ModuleLoadData, 2000)                                                                                            \
    X(ModuleUnload, 2000)                                                                                              \
    X(ModuleGetFunction, 2000)                                                                                         \
    X(FuncLoad, 12040)                                                                                                 \
    X(FuncGetParamInfo, 12040)                                                                                         \
    X(FuncSetAttribute, 9000)                                                                                          \
    X(LaunchKernel, 4000)

#define CUDA_MEMBER(name, version) PFN_cu##name##_v##version name;
typedef struct cuda_driver {
    CUDA_FUNCTIONS(CUDA_MEMBER)
} cuda_driver;
#undef CUDA_MEMBER

/* Opens libcuda.so.1, which stays open, finds the functions and initialises the driver. A failure says what to install.
 */
int32_t cuda_driver_load(cuda_driver *d, cvr_error *err);

/* "CUDA_ERROR_OUT_OF_MEMORY" */
const char *cuda_result_name(CUresult r);
/* What to do about it, or "" where there is nothing to say. */
const char *cuda_remedy(CUresult r);
/* CVR_OK, CVR_ERR_NOMEM, CVR_ERR_DEVICE where nothing works on the device any more, or CVR_ERR_UNSUPPORTED. */
int32_t cuda_status(CUresult r);
/* CVR_OK for CUDA_SUCCESS, else an error that names the call. */
int32_t cuda_check(CUresult r, const char *call, cvr_error *err);

#endif
