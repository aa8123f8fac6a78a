/* Fuzz target: plugins/codecs/bmp. */
#include "../../plugins/codecs/bmp/bmp_codec.h"
#include "fuzz_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    fuzz_codec(bmp_codec_decode, bytes, n);
    return 0;
}
