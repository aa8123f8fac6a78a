/*
 * Reading BMP: palettes of 1, 4 and 8 bits, 16, 24 and 32 bits, rows from the bottom or from the top. Alpha is dropped.
 * Channels of fewer than 8 bits are scaled as PIL does it: v * 255 / top, rounded down.
 */
#include "bmp_codec.h"

/* The pixels are 24 bits in memory; a run of 255 takes two bytes, and a move skips 255 rows. */
#define MAX_RATIO 1100

typedef struct bmp_job {
    const cvr_picture_job *asked;
    const cvr_host *host;
    cvr_error *err;
    bmp_header h;
    uint8_t *indices; /* of a compressed picture: (height,width) u8 */
    uint8_t *pixels;  /* (height,width,channels) u8 */
    int64_t channels;
} bmp_job;

static int32_t is_compressed(const bmp_header *h) {
    return h->compression == BMP_RLE8 || h->compression == BMP_RLE4;
}

static uint32_t index_at(const uint8_t *row, int64_t x, uint32_t bits) {
    const int64_t bit = x * bits;
    return (uint32_t)(row[bit / 8] >> (8 - bits - bit % 8)) & ((1u << bits) - 1);
}

static int32_t row_of_palette(const bmp_job *job, uint8_t *to, const uint8_t *row, uint32_t bits) {
    for (int64_t x = 0; x < job->h.width; x++) {
        const uint32_t i = index_at(row, x, bits);
        if (i >= job->h.n_colours) return bmp_damaged("a colour that is not in its palette", job->err);
        if (codec_wants_numbers(job->asked)) {
            to[x] = (uint8_t)i;
            continue;
        }
        memcpy(to + x * job->channels, job->h.palette[i], (size_t)job->channels);
    }
    return CVR_OK;
}

static void row_of_24(const bmp_job *job, uint8_t *to, const uint8_t *row) {
    for (int64_t x = 0; x < job->h.width; x++) {
        for (int k = 0; k < 3; k++) to[3 * x + k] = row[3 * x + 2 - k];
    }
}

static void row_of_masks(const bmp_job *job, uint8_t *to, const uint8_t *row) {
    const uint32_t bytes = job->h.bits / 8;
    for (int64_t x = 0; x < job->h.width; x++) {
        const uint8_t *const p = row + x * bytes;
        uint32_t v = (uint32_t)p[0] | (uint32_t)p[1] << 8;
        if (bytes == 4) v |= (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        for (int k = 0; k < 3; k++) {
            const bmp_channel c = job->h.channel[k];
            to[3 * x + k] = c.top ? (uint8_t)((uint64_t)(v >> c.shift & c.top) * 255 / c.top) : 0;
        }
    }
}

static int32_t convert_row(const bmp_job *job, uint8_t *to, const uint8_t *row) {
    if (job->h.bits <= 8) return row_of_palette(job, to, row, job->indices ? 8 : job->h.bits);
    if (job->h.bits == 24)
        row_of_24(job, to, row);
    else
        row_of_masks(job, to, row);
    return CVR_OK;
}

/* Rows begin at multiples of 4 bytes. */
static int64_t row_bytes(const bmp_header *h) {
    return (h->width * h->bits + 31) / 32 * 4;
}

/* What the file must hold, or be worth: all rows, or half a hundredth of what runs become. */
static int32_t check_size(const bmp_job *job) {
    const bmp_header *const h = &job->h;
    const int64_t memory = h->width * h->height * (2 * job->channels + 1);
    CVR_TRY(codec_check_size("bmp", h->width, h->height, 0, job->asked, 1, job->err));
    if (h->pixels > job->asked->n) return bmp_damaged("the file ends too early", job->err);
    if (is_compressed(h))
        return codec_check_memory("bmp", h->width, h->height, memory, job->asked, MAX_RATIO, job->err);
    return (uint64_t)(row_bytes(h) * h->height) > job->asked->n - h->pixels
               ? bmp_damaged("the file ends too early", job->err)
               : CVR_OK;
}

static int32_t read_rows(bmp_job *job) {
    const bmp_header *const h = &job->h;
    const uint8_t *from = job->asked->bytes + h->pixels;
    int64_t stride = row_bytes(h), bottom_up = !h->top_down;
    const int64_t size = h->width * h->height;
    job->pixels = job->host->alloc(job->host, (uint64_t)(size * job->channels), 64);
    if (is_compressed(h)) job->indices = job->host->alloc(job->host, (uint64_t)size, 64);
    if (!job->pixels || (is_compressed(h) && !job->indices))
        return cvr_fail(job->err, CVR_ERR_NOMEM, "bmp: out of memory for a picture");
    if (job->indices) {
        CVR_TRY(bmp_read_runs(h, from, job->asked->n - h->pixels, job->indices, job->err));
        from = job->indices;
        stride = h->width;
        bottom_up = 0;
    }
    for (int64_t y = 0; y < h->height; y++) {
        const int64_t stored = bottom_up ? h->height - 1 - y : y;
        CVR_TRY(convert_row(job, job->pixels + y * h->width * job->channels, from + stored * stride));
    }
    return CVR_OK;
}

static int32_t decode(bmp_job *job) {
    CVR_TRY(bmp_read_header(job->asked->bytes, job->asked->n, &job->h, job->err));
    job->channels = job->h.grey || (job->h.bits <= 8 && codec_wants_numbers(job->asked)) ? 1 : 3;
    CVR_TRY(check_size(job));
    CVR_TRY(read_rows(job));
    const codec_stored stored = {"bmp", job->pixels, job->h.width, job->h.height, job->channels, 1};
    return codec_deliver(job->host, &stored, job->asked, job->err);
}

/* Always the whole picture. */
int32_t bmp_codec_decode(const cvr_host *host, const cvr_picture_job *asked, cvr_error *err) {
    bmp_job job = {.host = host, .err = err, .asked = asked};
    const int32_t status = decode(&job);
    if (job.indices) host->free(host, job.indices);
    if (job.pixels) host->free(host, job.pixels);
    return status;
}
