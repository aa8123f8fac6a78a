/* Fuzz target: backends/cuda/cuda_fatbin.c, which looks at code before the driver gets it. */
#include "cuda_device.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    const char *bad = cuda_fatbin_bad(bytes, n);
    fuzz_check(bad || n >= 16, "a fatbin in %zu bytes", n);
    fuzz_check(!bad || *bad, "no word of what is wrong with %zu bytes", n);
    return 0;
}
