/*
 * The codec "webp".
 */
#include "webp_codec.h"

static int32_t probe(const uint8_t *bytes, uint64_t n) {
    return n >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0;
}

static const cvr_codec_desc codec = {
    .struct_size = sizeof codec,
    .name = "webp",
    .doc = "WebP, lossy and lossless, of an animation the first frame; EXIF orientation is applied",
    .extensions = ".webp",
    .probe = probe,
    .decode = webp_codec_decode,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_CODEC, &codec, err);
}

CVR_DEFINE_PLUGIN("codec_webp", "0.1.0", "", load)
