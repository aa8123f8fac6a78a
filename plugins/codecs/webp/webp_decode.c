/*
 * Reading WebP (RFC 9649) with libwebp: lossy and lossless, alpha dropped. Of an animation the first frame, on a canvas
 * that is black where the frame does not reach, as PIL shows it.
 */
#include "webp_codec.h"
#include <webp/decode.h>
#include <webp/demux.h>

/* Lossless WebP spends no bit at all on pixels that are all alike. Photographs stay far below this ratio. */
#define MAX_RATIO 1100
/* Bytes of a pixel while it is decoded: RGB, and what libwebp's lossless decoder keeps of it. */
#define BYTES_A_PIXEL 8
#define RIFF_HEADER 12
#define WEBP_LOSSLESS 2 /* WebPBitstreamFeatures.format */

typedef struct webp_job {
    const cvr_host *host;
    cvr_error *err;
    const cvr_picture_job *asked;
    WebPDemuxer *demuxer;
    WebPIterator frame; /* the first */
    int32_t has_frame;
    uint8_t *canvas; /* (height,width,3) u8 */
    int64_t width, height;
} webp_job;

static int32_t damaged(const webp_job *job, const char *what) {
    return cvr_fail(job->err, CVR_ERR_FORMAT, "webp: %s; the file is damaged, make it anew", what);
}

/* libwebp decodes what is there of a file that was cut: its own length, in the RIFF header, tells. */
static int32_t check_length(const webp_job *job) {
    const uint8_t *const b = job->asked->bytes;
    if (job->asked->n < RIFF_HEADER) return damaged(job, "the file ends too early");
    const uint64_t length = (uint64_t)b[4] | (uint64_t)b[5] << 8 | (uint64_t)b[6] << 16 | (uint64_t)b[7] << 24;
    return length + 8 > job->asked->n ? damaged(job, "the file ends too early") : CVR_OK;
}

static int32_t find_frame(webp_job *job) {
    const WebPData data = {job->asked->bytes, (size_t)job->asked->n};
    CVR_TRY(check_length(job));
    job->demuxer = WebPDemux(&data);
    if (!job->demuxer) return damaged(job, "not a whole WebP file");
    job->width = WebPDemuxGetI(job->demuxer, WEBP_FF_CANVAS_WIDTH);
    job->height = WebPDemuxGetI(job->demuxer, WEBP_FF_CANVAS_HEIGHT);
    const int64_t memory = job->width * job->height;
    CVR_TRY(codec_check_size("webp", job->width, job->height, 0, job->asked, 1, job->err));
    CVR_TRY(
        codec_check_memory("webp", job->width, job->height, memory * BYTES_A_PIXEL, job->asked, MAX_RATIO, job->err));
    job->has_frame = WebPDemuxGetFrame(job->demuxer, 1, &job->frame);
    if (!job->has_frame || !job->frame.complete) return damaged(job, "no whole frame");
    const WebPIterator *const f = &job->frame;
    if (f->x_offset < 0 || f->y_offset < 0 || f->width < 1 || f->height < 1 || f->x_offset > job->width - f->width ||
        f->y_offset > job->height - f->height)
        return damaged(job, "a frame that lies outside of the picture");
    return CVR_OK;
}

/* The frame's pixels, at their place on the canvas. */
static int32_t decode_frame(webp_job *job) {
    const WebPIterator *const f = &job->frame;
    const uint64_t size = (uint64_t)(job->width * job->height * 3);
    const int64_t stride = job->width * 3, first = f->y_offset * stride + (int64_t)f->x_offset * 3;
    WebPBitstreamFeatures features;
    job->canvas = job->host->alloc(job->host, size, 64);
    if (!job->canvas) return cvr_fail(job->err, CVR_ERR_NOMEM, "webp: out of memory for a picture");
    if (f->width < job->width || f->height < job->height) memset(job->canvas, 0, size);
    /* The frame's own header counts, and must say what the container says. */
    if (WebPGetFeatures(f->fragment.bytes, f->fragment.size, &features) != VP8_STATUS_OK ||
        features.width != f->width || features.height != f->height)
        return damaged(job, "a frame of another size than the picture says");
    if (features.format != WEBP_LOSSLESS) CVR_TRY(codec_refuse_lossy("webp", job->asked, job->err));
    if (!WebPDecodeRGBInto(f->fragment.bytes, f->fragment.size, job->canvas + first, (size_t)(size - (uint64_t)first),
                           (int)stride))
        return damaged(job, "its pixels cannot be decoded");
    return CVR_OK;
}

static int32_t orientation(const webp_job *job) {
    WebPChunkIterator chunk;
    int32_t turn = 1;
    if (!(WebPDemuxGetI(job->demuxer, WEBP_FF_FORMAT_FLAGS) & EXIF_FLAG)) return turn;
    if (WebPDemuxGetChunk(job->demuxer, "EXIF", 1, &chunk)) {
        turn = exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    return turn;
}

static int32_t decode(webp_job *job) {
    CVR_TRY(find_frame(job));
    CVR_TRY(decode_frame(job));
    const codec_stored stored = {"webp", job->canvas, job->width, job->height, 3, orientation(job)};
    return codec_deliver(job->host, &stored, job->asked, job->err);
}

/* Always the whole picture. */
int32_t webp_codec_decode(const cvr_host *host, const cvr_picture_job *asked, cvr_error *err) {
    webp_job job = {.host = host, .err = err, .asked = asked};
    const int32_t status = decode(&job);
    if (job.has_frame) WebPDemuxReleaseIterator(&job.frame);
    if (job.demuxer) WebPDemuxDelete(job.demuxer);
    if (job.canvas) host->free(host, job.canvas);
    return status;
}
