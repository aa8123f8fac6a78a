/* The driver and its devices, calls that are to fail, and how functions are found. See standin.h. */
#include "standin.h"
#include <stdlib.h>
#include <unistd.h>

__attribute__((visibility("default"))) cuda_standin_control cuda_standin = {
    .devices = 1, .version = 13000, .arch = 90, .memory = UINT64_C(4) << 30, .fail_with = CUDA_ERROR_LAUNCH_FAILED};

static CUresult lost;

/* There is one context, and calls that need it are refused without it. */
struct CUctx_st {
    uint64_t retained;
};
static struct CUctx_st context;

/* The driver does not outlive a fork: in the child nothing works. */
static bool is_forked(void) {
    static pid_t started;
    if (!started) started = getpid();
    return started != getpid();
}

CUresult standin_call(const char *name) {
    cuda_standin_control *c = &cuda_standin;
    if (is_forked()) return CUDA_ERROR_NOT_INITIALIZED;
    if (++c->calls == c->fail_call) {
        (void)snprintf(c->failed, sizeof c->failed, "%s", name);
        if (cuda_status((CUresult)c->fail_with) == CVR_ERR_DEVICE) standin_lose((CUresult)c->fail_with);
        return (CUresult)c->fail_with;
    }
    return lost;
}

void standin_lose(CUresult why) {
    if (context.retained) lost = why;
}
bool standin_is_lost(void) {
    return lost != CUDA_SUCCESS;
}

/* ---- what the environment says ---- */

typedef struct word {
    const char *name;
    uint64_t *value;
} word;

/* Once in a process. */
static void read_environment(void) {
    static bool once;
    const word words[] = {{"devices", &cuda_standin.devices},
                          {"version", &cuda_standin.version},
                          {"arch", &cuda_standin.arch},
                          {"memory", &cuda_standin.memory},
                          {"fail_call", &cuda_standin.fail_call},
                          {"fail_with", &cuda_standin.fail_with},
                          {"fail_launch", &cuda_standin.fail_launch},
                          {"refuse_capture", &cuda_standin.refuse_capture},
                          {"idle", &cuda_standin.idle},
                          {"tell", &cuda_standin.tell}};
    const char *at = once ? NULL : getenv("CUDA_STANDIN");
    once = true;
    while (at && *at) {
        const size_t length = strcspn(at, "=");
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (strlen(words[i].name) == length && strncmp(at, words[i].name, length) == 0 && at[length])
                *words[i].value = strtoull(at + length + 1, NULL, 10);
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
}

__attribute__((destructor)) static void tell(void) {
    const cuda_standin_control *c = &cuda_standin;
    if (c->tell)
        (void)fprintf(
            stderr, "libcuda stand-in: %llu kernels, %llu graphs, %llu waits, %llu direct uploads, %llu things left\n",
            (unsigned long long)c->launches, (unsigned long long)c->graphs, (unsigned long long)c->waits,
            (unsigned long long)c->direct_uploads, (unsigned long long)c->alive);
}

/* ---- devices ---- */

static CUresult init(unsigned flags) {
    read_environment();
    STANDIN_CALL("cuInit");
    if (flags) return CUDA_ERROR_INVALID_VALUE;
    return cuda_standin.devices ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}
const PFN_cuInit_v2000 standin_Init = init;

static CUresult driver_version(int *out) {
    STANDIN_CALL("cuDriverGetVersion");
    *out = (int)cuda_standin.version;
    return CUDA_SUCCESS;
}
const PFN_cuDriverGetVersion_v2020 standin_DriverGetVersion = driver_version;

static CUresult device_count(int *out) {
    STANDIN_CALL("cuDeviceGetCount");
    *out = (int)cuda_standin.devices;
    return CUDA_SUCCESS;
}
const PFN_cuDeviceGetCount_v2000 standin_DeviceGetCount = device_count;

static CUresult device_get(CUdevice *out, int i) {
    STANDIN_CALL("cuDeviceGet");
    if (i < 0 || (uint64_t)i >= cuda_standin.devices) return CUDA_ERROR_INVALID_DEVICE;
    *out = i;
    return CUDA_SUCCESS;
}
const PFN_cuDeviceGet_v2000 standin_DeviceGet = device_get;

static CUresult device_name(char *out, int size, CUdevice device) {
    STANDIN_CALL("cuDeviceGetName");
    (void)snprintf(out, (size_t)size, "Stand-in %d", device);
    return CUDA_SUCCESS;
}
const PFN_cuDeviceGetName_v2000 standin_DeviceGetName = device_name;

static CUresult device_uuid(CUuuid *out, CUdevice device) {
    STANDIN_CALL("cuDeviceGetUuid");
    for (int i = 0; i < 16; i++) out->bytes[i] = (char)(0xA0 + i);
    out->bytes[15] = (char)device;
    return CUDA_SUCCESS;
}
const PFN_cuDeviceGetUuid_v11040 standin_DeviceGetUuid = device_uuid;

static CUresult device_memory(size_t *out, CUdevice device) {
    STANDIN_CALL("cuDeviceTotalMem");
    (void)device;
    *out = cuda_standin.memory;
    return CUDA_SUCCESS;
}
const PFN_cuDeviceTotalMem_v3020 standin_DeviceTotalMem = device_memory;

static CUresult device_attribute(int *out, CUdevice_attribute which, CUdevice device) {
    STANDIN_CALL("cuDeviceGetAttribute");
    (void)device;
    switch (which) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *out = (int)cuda_standin.arch / 10; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *out = (int)cuda_standin.arch % 10; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *out = 1; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *out = 227 << 10; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *out = 1024; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *out = 32; return CUDA_SUCCESS;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
}
const PFN_cuDeviceGetAttribute_v2000 standin_DeviceGetAttribute = device_attribute;

/* ---- the context ---- */

static CUresult retain(CUcontext *out, CUdevice device) {
    STANDIN_CALL("cuDevicePrimaryCtxRetain");
    (void)device;
    context.retained++;
    *out = &context;
    return CUDA_SUCCESS;
}
const PFN_cuDevicePrimaryCtxRetain_v7000 standin_DevicePrimaryCtxRetain = retain;

/* A context that nobody holds any more takes its error with it. */
static CUresult release(CUdevice device) {
    const CUresult r = standin_call("cuDevicePrimaryCtxRelease");
    (void)device;
    if (!context.retained) return CUDA_ERROR_INVALID_CONTEXT;
    if (--context.retained == 0) {
        standin_modules_end();
        lost = CUDA_SUCCESS;
    }
    return r;
}
const PFN_cuDevicePrimaryCtxRelease_v11000 standin_DevicePrimaryCtxRelease = release;

static CUresult set_current(CUcontext c) {
    STANDIN_CALL("cuCtxSetCurrent");
    return c == &context && context.retained ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}
const PFN_cuCtxSetCurrent_v4000 standin_CtxSetCurrent = set_current;

/* ---- finding functions ---- */

__attribute__((visibility("default"))) CUresult cuGetProcAddress_v2(const char *symbol, void **out, int version,
                                                                    cuuint64_t flags,
                                                                    CUdriverProcAddressQueryResult *found) {
    (void)flags;
    *out = NULL;
    read_environment();
    if (!cuda_standin.version) return CUDA_ERROR_STUB_LIBRARY;
#define X(name, since)                                                                                                 \
    if (strcmp(symbol, "cu" #name) == 0 && version >= since && cuda_standin.version >= since)                          \
        memcpy(out, &standin_##name, sizeof *out);
    CUDA_FUNCTIONS(X)
#undef X
    if (!*out && version >= 12000) {
        const void *function = standin_library_function(symbol);
        memcpy(out, &function, sizeof *out);
    }
    if (found) *found = *out ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *out ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
