/*
 * The codec "bmp".
 */
#include "bmp_codec.h"

static int32_t probe(const uint8_t *bytes, uint64_t n) {
    return n >= 18 && bytes[0] == 'B' && bytes[1] == 'M' && bytes[14] <= 124 && !bytes[15] && !bytes[16] && !bytes[17];
}

static const cvr_codec_desc codec = {
    .struct_size = sizeof codec,
    .name = "bmp",
    .doc = "Windows and OS/2 bitmaps, 1 to 32 bits, RLE4 and RLE8",
    .extensions = ".bmp.dib",
    .probe = probe,
    .decode = bmp_codec_decode,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_CODEC, &codec, err);
}

CVR_DEFINE_PLUGIN("codec_bmp", "0.1.0", "", load)
