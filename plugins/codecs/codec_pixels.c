/*
 * Grey and RGB, and the sizes that a codec believes.
 */
#include "codec_pixels.h"

void codec_luma(uint8_t *grey, const uint8_t *rgb, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const uint32_t r = rgb[3 * i], g = rgb[3 * i + 1], b = rgb[3 * i + 2];
        grey[i] = (uint8_t)((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16);
    }
}

void codec_repeat(uint8_t *rgb, const uint8_t *grey, int64_t n) {
    for (int64_t i = 0; i < n; i++) rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = grey[i];
}

int32_t codec_refuse_lossy(const char *codec, const cvr_picture_job *job, cvr_error *err) {
    if (!job->exact) return CVR_OK;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                    "%s: a mask in a format that smears its values; make it anew and save it as PNG", codec);
}

int32_t codec_refuse_number(const char *codec, uint32_t number, cvr_error *err) {
    return cvr_fail(
        err, CVR_ERR_UNSUPPORTED,
        "%s: a mask of 16 bits with the value %u, where classes are 0 to 254; are these numbers of objects? "
        "Save the classes, in 8 bits",
        codec, (unsigned)number);
}

int32_t codec_check_size(const char *codec, int64_t width, int64_t height, int64_t raw, const cvr_picture_job *job,
                         int64_t ratio, cvr_error *err) {
    const uint64_t bytes = job ? job->n : 0, limit = job ? job->max_pixels : UINT64_MAX,
                   most = limit ? limit : CVR_MAX_PIXELS;
    if (width < 1 || height < 1 || width > CODEC_MAX_SIDE || height > CODEC_MAX_SIDE) {
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "%s: a picture of %lld x %lld; sides of 1 to %d are read, scale it down", codec,
                        (long long)width, (long long)height, CODEC_MAX_SIDE);
    }
    if ((uint64_t)(width * height) > most) {
        return cvr_fail(err, CVR_ERR_FORMAT,
                        "%s: a picture of %lld x %lld, more than %llu pixels; scale it down, or raise data.max_pixels",
                        codec, (long long)width, (long long)height, (unsigned long long)most);
    }
    /* Divided rather than multiplied, so that nothing overflows. */
    if (job && (uint64_t)(raw / ratio) > bytes) {
        return cvr_fail(
            err, CVR_ERR_FORMAT,
            "%s: %llu bytes cannot hold the %lld x %lld picture that they declare; the file is damaged or made "
            "to do harm, remove it",
            codec, (unsigned long long)bytes, (long long)width, (long long)height);
    }
    return CVR_OK;
}

int32_t codec_check_memory(const char *codec, int64_t width, int64_t height, int64_t memory, const cvr_picture_job *job,
                           int64_t ratio, cvr_error *err) {
    return memory <= CODEC_FREE_BYTES ? CVR_OK : codec_check_size(codec, width, height, memory, job, ratio, err);
}
