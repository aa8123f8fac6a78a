/* Fuzz target: backends/vulkan/vulkan_spirv.c and vulkan_cache.c, which look at bytes before a driver gets them. */
#include "fuzz.h"
#include "vulkan_pipelines.h"
#include "vulkan_spirv.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static const uint32_t threads[3] = {64, 1, 1};
    static const uint8_t uuid[VK_UUID_SIZE] = {0};
    const cvr_code code = {sizeof code, bytes, n};
    cvr_error err = CVR_ERROR_INIT;
    const int32_t status = vulkan_spirv_check(&code, "main", threads, "f16 bf16 i64", &err);
    fuzz_check_error(status, &err);
    fuzz_check(status == CVR_OK || err.code == status, "status %d with an error of %d", status, err.code);
    fuzz_check(!vulkan_cache_fits(bytes, n, 1, 2, uuid) || n >= 32, "a header in %zu bytes", n);
    return 0;
}
