/*
 * From a picture as it was stored to the picture that was asked for: upright, grey or RGB.
 */
#include "codec_deliver.h"

static void convert(uint8_t *to, const uint8_t *from, int64_t n, int64_t to_channels, int64_t from_channels) {
    if (to_channels == from_channels) memcpy(to, from, (size_t)(n * to_channels));
    if (to_channels > from_channels) codec_repeat(to, from, n);
    if (to_channels < from_channels) codec_luma(to, from, n);
}

int32_t codec_deliver(const cvr_host *host, const codec_stored *stored, const cvr_picture_job *job, cvr_error *err) {
    const int64_t from = stored->channels, to = job->channels ? (int64_t)job->channels : from,
                  n = stored->width * stored->height;
    const int32_t turn = stored->orientation, swap = exif_swaps_sides(turn);
    uint8_t *const data = job->alloc(job->alloc_ctx, (uint64_t)(n * to)), *turned = NULL;
    const uint8_t *pixels = stored->pixels;
    if (data && turn != 1) turned = host->alloc(host, (uint64_t)(n * from), 64);
    if (!data || (turn != 1 && !turned))
        return cvr_fail(err, CVR_ERR_NOMEM, "%s: out of memory for a picture", stored->codec);
    if (turned) {
        exif_upright(turned, stored->pixels, stored->width, stored->height, from, turn);
        pixels = turned;
    }
    convert(data, pixels, n, to, from);
    if (turned) host->free(host, turned);
    job->out->width = swap ? stored->height : stored->width;
    job->out->height = swap ? stored->width : stored->height;
    job->out->channels = to;
    job->out->data = data;
    return CVR_OK;
}
