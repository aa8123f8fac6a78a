/*
 * The codec "jpeg".
 */
#include "jpeg_codec.h"

static int32_t probe(const uint8_t *bytes, uint64_t n) {
    return n >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

static const cvr_codec_desc codec = {
    .struct_size = sizeof codec,
    .name = "jpeg",
    .doc = "JPEG, grey, YCbCr, CMYK and YCCK, baseline and progressive; EXIF orientation is applied",
    .extensions = ".jpg.jpeg",
    .probe = probe,
    .decode = jpeg_codec_decode,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_CODEC, &codec, err);
}

CVR_DEFINE_PLUGIN("codec_jpeg", "0.1.0", "", load)
