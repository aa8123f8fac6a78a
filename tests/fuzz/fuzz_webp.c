/* Fuzz target: plugins/codecs/webp. */
#include "../../plugins/codecs/webp/webp_codec.h"
#include "fuzz_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    fuzz_codec(webp_codec_decode, bytes, n);
    return 0;
}
