/* Fuzz target: plugins/codecs/png. Of four inputs three have the checksums of their chunks made right. */
#include "../../plugins/codecs/png/png_codec.h"
#include "fuzz.h"
#include <stdlib.h>
#include <zlib.h>

static uint32_t big_u32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void mend_sums(uint8_t *f, size_t n) {
    for (size_t at = 8; at + 12 <= n;) {
        const uint32_t length = big_u32(f + at);
        if (length > n - at - 12) return;
        const uLong sum = crc32(0, f + at + 4, length + 4);
        for (int i = 0; i < 4; i++) f[at + 8 + length + (size_t)i] = (uint8_t)(sum >> 8 * (3 - i));
        at += 12 + length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    static const uint32_t channels[] = {0, 1, 3};
    const uint64_t number = fuzz_number(bytes, n);
    uint8_t *const file = malloc(n ? n : 1);
    fuzz_block block = {NULL, 0};
    fuzz_host h;
    cvr_error err = CVR_ERROR_INIT;
    cvr_image image = {.struct_size = sizeof image};
    fuzz_check(file != NULL, "out of memory");
    if (n) memcpy(file, bytes, n);
    if (number % 4) mend_sums(file, n);
    fuzz_host_init(&h, 1u << 28);
    const cvr_picture_job job = {sizeof job, file,   n, channels[number / 4 % 3], fuzz_alloc_one, &block,
                                 NULL,       &image, 0, number / 16 % 2};
    const int32_t status = png_codec_decode(&h.host, &job, &err);
    fuzz_check_error(status, &err);
    fuzz_check(h.live == 0, "%lld blocks were left behind", (long long)h.live);
    fuzz_check(h.used + block.n <= (80u << 20) + 2200 * n, "%llu bytes for a file of %zu",
               (unsigned long long)(h.used + block.n), n);
    if (status == CVR_OK) {
        fuzz_check(image.data == block.p && (uint64_t)(image.width * image.height * image.channels) == block.n,
                   "a picture that is not what was allocated");
        fuzz_touch(image.data, block.n);
    }
    free(block.p);
    free(file);
    return 0;
}
