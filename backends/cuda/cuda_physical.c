/* What a device can do. See cuda_device.h. */
#include "cuda_device.h"

/* Words for `isa`: sm_80 says that the device is that or later, sm_90a that it is that very one. */
static void tell_features(cuda_physical *p) {
    static const uint32_t archs[] = {75, 80, 86, 89, 90, 100, 120};
    size_t n = (size_t)snprintf(p->features, sizeof p->features, "f16 bf16 i8 i16 i64 f64 subgroup_arithmetic");
    const uint32_t arch = p->info.arch;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (archs[i] <= arch) n += (size_t)snprintf(p->features + n, sizeof p->features - n, " sm_%u", archs[i]);
    if (arch >= 80) n += (size_t)snprintf(p->features + n, sizeof p->features - n, " tf32");
    if (arch >= 90) (void)snprintf(p->features + n, sizeof p->features - n, " sm_%ua", arch);
}

static int32_t read_number(const cuda_physical *p, const cuda_driver *cu, CUdevice_attribute which, uint32_t *out,
                           cvr_error *err) {
    int v = 0;
    CVR_TRY(cuda_check(cu->DeviceGetAttribute(&v, which, p->handle), "cuDeviceGetAttribute", err));
    *out = v > 0 ? (uint32_t)v : 0;
    return CVR_OK;
}

static int32_t read_numbers(cuda_physical *p, const cuda_driver *cu, cvr_error *err) {
    cvr_device_info *i = &p->info;
    uint32_t major, minor;
    CVR_TRY(read_number(p, cu, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &major, err));
    CVR_TRY(read_number(p, cu, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &minor, err));
    CVR_TRY(read_number(p, cu, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, &i->multiprocessors, err));
    CVR_TRY(read_number(p, cu, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, &i->shared_bytes, err));
    CVR_TRY(read_number(p, cu, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, &i->group_threads, err));
    CVR_TRY(read_number(p, cu, CU_DEVICE_ATTRIBUTE_WARP_SIZE, &i->subgroup_min, err));
    i->subgroup_max = i->subgroup_min;
    i->arch = 10 * major + minor;
    return CVR_OK;
}

static int32_t read_texts(cuda_physical *p, const cuda_driver *cu, cvr_error *err) {
    CUuuid uuid;
    int version = 0, n;
    CVR_TRY(cuda_check(cu->DeviceGetName(p->name, sizeof p->name, p->handle), "cuDeviceGetName", err));
    CVR_TRY(cuda_check(cu->DeviceGetUuid(&uuid, p->handle), "cuDeviceGetUuid", err));
    CVR_TRY(cuda_check(cu->DriverGetVersion(&version), "cuDriverGetVersion", err));
    (void)snprintf(p->driver, sizeof p->driver, "CUDA %d.%d", version / 1000, version % 1000 / 10);
    n = snprintf(p->uuid, sizeof p->uuid, "GPU-"); /* as nvidia-smi writes it */
    for (int i = 0; i < 16; i++)
        n += snprintf(p->uuid + n, sizeof p->uuid - (size_t)n, "%s%02x",
                      i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", (unsigned)(uint8_t)uuid.bytes[i]);
    return CVR_OK;
}

int32_t cuda_physical_read(cuda_physical *p, const cuda_driver *cu, int64_t index, cvr_error *err) {
    size_t memory = 0;
    *p = (cuda_physical){.info = {.struct_size = sizeof p->info,
                                  .name = p->name,
                                  .driver = p->driver,
                                  .uuid = p->uuid,
                                  .features = p->features,
                                  .alignment = CUDA_ALIGNMENT}};
    CVR_TRY(cuda_check(cu->DeviceGet(&p->handle, (int)index), "cuDeviceGet", err));
    CVR_TRY(cuda_check(cu->DeviceTotalMem(&memory, p->handle), "cuDeviceTotalMem", err));
    p->info.memory = p->info.max_allocation = memory;
    CVR_TRY(read_numbers(p, cu, err));
    CVR_TRY(read_texts(p, cu, err));
    tell_features(p);
    if (p->info.arch >= CUDA_ARCH_LEAST) return CVR_OK;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                    "cuda: %s has compute capability %u.%u; the kernels here need %u.%u (Turing) or later", p->name,
                    p->info.arch / 10, p->info.arch % 10, CUDA_ARCH_LEAST / 10, CUDA_ARCH_LEAST % 10);
}
