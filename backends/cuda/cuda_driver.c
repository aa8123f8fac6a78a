/* See cuda_driver.h. */
#include "cuda_driver.h"
#include <dlfcn.h>

/* The oldest driver that has all of CUDA_FUNCTIONS is that of CUDA 12.4. */
#define OLD "the driver is older than CUDA 12.4: it lacks %s; install a newer one from NVIDIA"

static int32_t find_functions(cuda_driver *d, PFN_cuGetProcAddress_v12000 get, cvr_error *err) {
    CUdriverProcAddressQueryResult found;
#define X(name_, version_)                                                                                             \
    {                                                                                                                  \
        void *symbol = NULL;                                                                                           \
        if (get("cu" #name_, &symbol, version_, CU_GET_PROC_ADDRESS_DEFAULT, &found) != CUDA_SUCCESS || !symbol)       \
            return cvr_fail(err, CVR_ERR_UNSUPPORTED, "cuda: " OLD, "cu" #name_);                                      \
        memcpy(&d->name_, &symbol, sizeof symbol);                                                                     \
    }
    CUDA_FUNCTIONS(X)
#undef X
    return CVR_OK;
}

static int32_t start(const cuda_driver *d, cvr_error *err) {
    const CUresult r = d->Init(0);
    if (r == CUDA_SUCCESS) return CVR_OK;
    if (r == CUDA_ERROR_NO_DEVICE)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "cuda: the driver finds no NVIDIA GPU on this machine");
    return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                    "cuda: the driver does not start: cuInit gives %s (%d); `nvidia-smi` may tell why",
                    cuda_result_name(r), (int)r);
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
        NAME(CUDA_ERROR_NOT_PERMITTED);
        NAME(CUDA_ERROR_NOT_SUPPORTED);
        NAME(CUDA_ERROR_SYSTEM_NOT_READY);
        NAME(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
        NAME(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        NAME(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        NAME(CUDA_ERROR_EXTERNAL_DEVICE);
        NAME(CUDA_ERROR_UNKNOWN);
    default: return "an error";
    }
#undef NAME
}

int32_t cuda_status(CUresult r) {
    switch (r) {
    case CUDA_SUCCESS: return CVR_OK;
    case CUDA_ERROR_OUT_OF_MEMORY: return CVR_ERR_NOMEM;
    case CUDA_ERROR_DEINITIALIZED:
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
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
    case CUDA_ERROR_EXTERNAL_DEVICE:
    case CUDA_ERROR_UNKNOWN: return CVR_ERR_DEVICE;
    default: return CVR_ERR_UNSUPPORTED;
    }
}

int32_t cuda_check(CUresult r, const char *call, cvr_error *err) {
    const int32_t status = cuda_status(r);
    return status == CVR_OK ? CVR_OK
                            : cvr_fail(err, status, "cuda: %s gives %s (%d)", call, cuda_result_name(r), (int)r);
}
