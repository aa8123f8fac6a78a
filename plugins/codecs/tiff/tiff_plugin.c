/*
 * The codec "tiff": the first page of a TIFF (TIFF 6.0, and BigTIFF) by libtiff.
 */
#include "tiff_codec.h"

static int32_t decode(tiff_job *job) {
    CVR_TRY(tiff_open(job));
    CVR_TRY(tiff_read_layout(job));
    CVR_TRY(tiff_read_blocks(job));
    const tiff_layout *const l = &job->layout;
    const codec_stored stored = {"tiff", job->pixels, l->width, l->height, job->channels, l->orientation};
    return codec_deliver(job->host, &stored, job->asked, job->err);
}

/* Always the whole picture. */
int32_t tiff_codec_decode(const cvr_host *host, const cvr_picture_job *asked, cvr_error *err) {
    tiff_job job = {.host = host, .err = err, .asked = asked};
    const int32_t status = decode(&job);
    if (job.tiff) TIFFClose(job.tiff);
    if (job.block) host->free(host, job.block);
    if (job.pixels) host->free(host, job.pixels);
    return status;
}

/* Byte order, then 42 or, for BigTIFF, 43. */
static int32_t probe(const uint8_t *bytes, uint64_t n) {
    if (n < 8) return 0;
    const int32_t little = memcmp(bytes, "II", 2) == 0 && (bytes[2] == 42 || bytes[2] == 43) && bytes[3] == 0,
                  big = memcmp(bytes, "MM", 2) == 0 && bytes[2] == 0 && (bytes[3] == 42 || bytes[3] == 43);
    return little || big;
}

static const cvr_codec_desc codec = {
    .struct_size = sizeof codec,
    .name = "tiff",
    .doc = "TIFF, the first page, 1 to 16 bits, grey, RGB, CMYK, palette; strips and tiles, orientation is applied",
    .extensions = ".tif.tiff",
    .probe = probe,
    .decode = tiff_codec_decode,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_CODEC, &codec, err);
}

CVR_DEFINE_PLUGIN("codec_tiff", "0.1.0", "", load)
