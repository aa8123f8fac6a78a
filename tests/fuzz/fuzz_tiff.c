/* Fuzz target: plugins/codecs/tiff. */
#include "../../plugins/codecs/tiff/tiff_codec.h"
#include "fuzz_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    fuzz_codec(tiff_codec_decode, bytes, n);
    return 0;
}
