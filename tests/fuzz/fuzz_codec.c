/* The common body of the fuzz targets of picture codecs. */
#include "fuzz_codec.h"
#include <stdlib.h>

/* Twice what no file has to be worth, since a picture may be held twice, and what the file's bytes may be worth. */
#define MOST_FREE (2ull << 26)
#define MOST_A_BYTE 2200

void fuzz_codec(fuzz_decode_fn decode, const uint8_t *bytes, size_t n) {
    static const uint64_t channels[] = {0, 1, 3};
    /* A copy that ends where the file does, so that a step too far is seen. */
    uint8_t *const file = malloc(n ? n : 1);
    fuzz_block block = {NULL, 0};
    fuzz_host h;
    cvr_error err = CVR_ERROR_INIT;
    cvr_image image = {.struct_size = sizeof image};
    fuzz_check(file != NULL, "out of memory");
    if (n) memcpy(file, bytes, n);
    fuzz_host_init(&h, 1u << 28);
    const cvr_picture_job job = {sizeof job, file,   n, channels[fuzz_number(bytes, n) % 3], fuzz_alloc_one, &block,
                                 NULL,       &image, 0, fuzz_number(bytes, n) / 4 % 2};
    const int32_t status = decode(&h.host, &job, &err);
    fuzz_check_error(status, &err);
    fuzz_check(h.live == 0, "%lld blocks were left behind", (long long)h.live);
    fuzz_check(h.used + block.n <= MOST_FREE + MOST_A_BYTE * n, "%llu bytes for a file of %zu",
               (unsigned long long)(h.used + block.n), n);
    fuzz_check(h.logs <= 1, "%llu lines were logged", (unsigned long long)h.logs);
    if (status == CVR_OK) {
        fuzz_check(image.data == block.p && (uint64_t)(image.width * image.height * image.channels) == block.n,
                   "a picture that is not what was allocated");
        fuzz_touch(image.data, block.n);
    }
    free(block.p);
    free(file);
}
