/* See cuda_driver.h. */
#include "cuda_driver.h"
#include <dlfcn.h>
#include <stdlib.h>

/* The oldest driver that has all of CUDA_FUNCTIONS is that of CUDA 12.4. */
#define OLD "the driver is older than CUDA 12.4: it lacks %s; install a newer one from NVIDIA"

static int32_t does_not_start(CUresult r, const char *call, cvr_error *err) {
    const char *remedy = cuda_remedy(r);
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "cuda: the driver does not start: %s gives %s (%d); %s", call,
                    cuda_result_name(r), (int)r, *remedy ? remedy : "`nvidia-smi` may tell why");
}

static int32_t no_device(cvr_error *err) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    if (!visible) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "cuda: the driver finds no NVIDIA GPU on this machine");
    return cvr_fail(
        err, CVR_ERR_UNSUPPORTED,
        "cuda: the driver finds no NVIDIA GPU among those that CUDA_VISIBLE_DEVICES (`%.60s`) leaves visible", visible);
}

static int32_t find_functions(cuda_driver *d, PFN_cuGetProcAddress_v12000 get, cvr_error *err) {
    CUdriverProcAddressQueryResult found;
#define X(name_, version_)                                                                                             \
    {                                                                                                                  \
        void *symbol = NULL;                                                                                           \
        const CUresult r = get("cu" #name_, &symbol, version_, CU_GET_PROC_ADDRESS_DEFAULT, &found);                   \
        if (r == CUDA_ERROR_STUB_LIBRARY) return does_not_start(r, "cuGetProcAddress", err);                           \
        if (r != CUDA_SUCCESS || !symbol) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "cuda: " OLD, "cu" #name_);        \
        memcpy(&d->name_, &symbol, sizeof symbol);                                                                     \
    }
    CUDA_FUNCTIONS(X)
#undef X
    return CVR_OK;
}

static int32_t start(const cuda_driver *d, cvr_error *err) {
    const CUresult r = d->Init(0);
    if (r == CUDA_SUCCESS) return CVR_OK;
    return r == CUDA_ERROR_NO_DEVICE ? no_device(err) : does_not_start(r, "cuInit", err);
}

int32_t cuda_driver_load(cuda_driver *d, cvr_error *err) {
    PFN_cuGetProcAddress_v12000 get;
    void *handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "cuda: libcuda.so.1 cannot be loaded (%.300s); install NVIDIA's driver for the GPU", dlerror());
    void *symbol = dlsym(handle, "cuGetProcAddress_v2");
    if (!symbol) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "cuda: " OLD, "cuGetProcAddress_v2");
    memcpy(&get, &symbol, sizeof symbol);
    CVR_TRY(find_functions(d, get, err));
    return start(d, err);
}

/* The driver's own cuGetErrorName is not asked: it may be what is missing. */
const char *cuda_result_name(CUresult r) {
#define NAME(code)                                                                                                     \
    case code: return #code
    switch (r) {
        NAME(CUDA_SUCCESS);
        NAME(CUDA_ERROR_INVALID_VALUE);
        NAME(CUDA_ERROR_OUT_OF_MEMORY);
        NAME(CUDA_ERROR_NOT_INITIALIZED);
        NAME(CUDA_ERROR_DEINITIALIZED);
        NAME(CUDA_ERROR_STUB_LIBRARY);
        NAME(CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER);
        NAME(CUDA_ERROR_DEVICE_UNAVAILABLE);
        NAME(CUDA_ERROR_NO_DEVICE);
        NAME(CUDA_ERROR_INVALID_DEVICE);
        NAME(CUDA_ERROR_INVALID_IMAGE);
        NAME(CUDA_ERROR_INVALID_CONTEXT);
        NAME(CUDA_ERROR_MAP_FAILED);
        NAME(CUDA_ERROR_NO_BINARY_FOR_GPU);
        NAME(CUDA_ERROR_ECC_UNCORRECTABLE);
        NAME(CUDA_ERROR_INVALID_PTX);
        NAME(CUDA_ERROR_NVLINK_UNCORRECTABLE);
        NAME(CUDA_ERROR_JIT_COMPILER_NOT_FOUND);
        NAME(CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
        NAME(CUDA_ERROR_JIT_COMPILATION_DISABLED);
        NAME(CUDA_ERROR_CONTAINED);
        NAME(CUDA_ERROR_INVALID_SOURCE);
        NAME(CUDA_ERROR_OPERATING_SYSTEM);
        NAME(CUDA_ERROR_INVALID_HANDLE);
        NAME(CUDA_ERROR_NOT_FOUND);
        NAME(CUDA_ERROR_NOT_READY);
        NAME(CUDA_ERROR_ILLEGAL_ADDRESS);
        NAME(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
        NAME(CUDA_ERROR_LAUNCH_TIMEOUT);
        NAME(CUDA_ERROR_CONTEXT_IS_DESTROYED);
        NAME(CUDA_ERROR_ASSERT);
        NAME(CUDA_ERROR_HARDWARE_STACK_ERROR);
        NAME(CUDA_ERROR_ILLEGAL_INSTRUCTION);
        NAME(CUDA_ERROR_MISALIGNED_ADDRESS);
        NAME(CUDA_ERROR_INVALID_ADDRESS_SPACE);
        NAME(CUDA_ERROR_INVALID_PC);
        NAME(CUDA_ERROR_LAUNCH_FAILED);
        NAME(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
        NAME(CUDA_ERROR_TENSOR_MEMORY_LEAK);
        NAME(CUDA_ERROR_NOT_PERMITTED);
        NAME(CUDA_ERROR_NOT_SUPPORTED);
        NAME(CUDA_ERROR_SYSTEM_NOT_READY);
        NAME(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
        NAME(CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE);
        NAME(CUDA_ERROR_MPS_CONNECTION_FAILED);
        NAME(CUDA_ERROR_MPS_RPC_FAILURE);
        NAME(CUDA_ERROR_MPS_SERVER_NOT_READY);
        NAME(CUDA_ERROR_MPS_CLIENT_TERMINATED);
        NAME(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        NAME(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        NAME(CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
        NAME(CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
        NAME(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
        NAME(CUDA_ERROR_EXTERNAL_DEVICE);
        NAME(CUDA_ERROR_UNKNOWN);
    default: return "an error";
    }
#undef NAME
}

const char *cuda_remedy(CUresult r) {
    switch (r) {
    case CUDA_ERROR_STUB_LIBRARY:
        return "this libcuda.so.1 is the toolkit's stub and no driver: install NVIDIA's, and take the folder of stubs "
               "out of LD_LIBRARY_PATH";
    case CUDA_ERROR_OUT_OF_MEMORY: return "other processes may hold its memory: `nvidia-smi` lists them";
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
        return "another process may have it for itself (its compute mode, in `nvidia-smi -q`)";
    case CUDA_ERROR_SYSTEM_NOT_READY:
        return "a service that it needs may not run: on machines with NVSwitch, nvidia-fabricmanager";
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
        return "libcuda.so.1 and the driver in the kernel are of different versions: restart the machine, or the "
               "container, after an update";
    case CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE:
        return "the package cuda-compat does not support this GPU: take its folder out of LD_LIBRARY_PATH";
    default: return "";
    }
}

/* Lost is what cuda.h says to leave the process in an inconsistent state, and a device or a server that is gone. */
int32_t cuda_status(CUresult r) {
    switch (r) {
    case CUDA_SUCCESS: return CVR_OK;
    case CUDA_ERROR_OUT_OF_MEMORY: return CVR_ERR_NOMEM;
    case CUDA_ERROR_DEINITIALIZED:
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_CONTAINED:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_TENSOR_MEMORY_LEAK:
    case CUDA_ERROR_MPS_RPC_FAILURE:
    case CUDA_ERROR_MPS_CLIENT_TERMINATED:
    case CUDA_ERROR_EXTERNAL_DEVICE:
    case CUDA_ERROR_UNKNOWN: return CVR_ERR_DEVICE;
    default: return CVR_ERR_UNSUPPORTED;
    }
}

int32_t cuda_check(CUresult r, const char *call, cvr_error *err) {
    const int32_t status = cuda_status(r);
    const char *remedy = cuda_remedy(r);
    if (status == CVR_OK) return CVR_OK;
    return cvr_fail(err, status, "cuda: %s gives %s (%d)%s%s", call, cuda_result_name(r), (int)r, *remedy ? "; " : "",
                    remedy);
}
