/*
 * Reading PNG (ISO/IEC 15948) with libpng: every bit depth and colour type to 8 bits, alpha dropped, as PIL's
 * convert("RGB") has it.
 */
#include "png_codec.h"
#include <setjmp.h>

/* Deflate cannot do better than 1032 to 1. */
#define MAX_RATIO 1100

static void read_bytes(png_structp png, png_bytep to, size_t n) {
    png_job *const job = png_get_io_ptr(png);
    if (n > job->n - job->at) png_error(png, "the file ends too early");
    memcpy(to, job->bytes + job->at, n);
    job->at += n;
}

/* The same for the numbers that a grey picture or a palette's has in its file. Returns their bytes: 1, or 2 where they
 * are 16 bits, high byte first. */
static int32_t set_numbers(png_job *job, int32_t depth) {
    if (depth < 8) png_set_packing(job->png);
    png_set_strip_alpha(job->png);
    return depth == 16 ? 2 : 1;
}

/* Sets libpng up so that rows come out as 8-bit grey or RGB; returns the bytes of a pixel: 1 or 3. */
static int32_t set_transforms(png_job *job, uint32_t channels) {
    const int32_t type = png_get_color_type(job->png, job->info), depth = png_get_bit_depth(job->png, job->info);
    const int32_t grey = !(type & PNG_COLOR_MASK_COLOR);
    if (codec_wants_numbers(job->asked) && (grey || type == PNG_COLOR_TYPE_PALETTE)) return set_numbers(job, depth);
    if (depth == 16) png_set_strip_16(job->png);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(job->png);
    if (grey && depth < 8) png_set_expand_gray_1_2_4_to_8(job->png);
    png_set_strip_alpha(job->png);
    if (grey && channels == 3) png_set_gray_to_rgb(job->png);
    return grey && channels != 3 ? 1 : 3;
}

/* Raw bytes that the compressed stream has to give, and whether the file could hold them. Then the bytes that their
 * pixels take in memory, `each` a pixel, which the file must be worth. */
static int32_t check_size(const png_job *job, int64_t each) {
    const int64_t width = png_get_image_width(job->png, job->info), height = png_get_image_height(job->png, job->info);
    const int64_t bits = (int64_t)png_get_bit_depth(job->png, job->info) * png_get_channels(job->png, job->info);
    const int64_t raw = height * ((width * bits + 7) / 8 + 1), memory = width * height * each;
    CVR_TRY(codec_check_size("png", width, height, raw, job->asked, MAX_RATIO, job->err));
    return codec_check_memory("png", width, height, memory, job->asked, MAX_RATIO, job->err);
}

/* Everything before the pixels. Leaves by longjmp to the caller's frame where the bytes are not PNG. */
static void read_header(png_job *job) {
    png_set_read_fn(job->png, job, read_bytes);
    png_set_user_limits(job->png, CODEC_MAX_SIDE, CODEC_MAX_SIDE);
    png_set_chunk_malloc_max(job->png, 8u << 20);
    png_set_chunk_cache_max(job->png, 128);
    png_read_info(job->png, job->info);
}

static int32_t out_of_memory(const png_job *job) {
    return cvr_fail(job->err, CVR_ERR_NOMEM, "png: out of memory for a picture");
}

/* `pixels`: (H,W,from) u8, all of it at once because an interlaced picture comes in seven passes. */
static int32_t read_rows(png_job *job, uint8_t *pixels, int64_t height, int64_t row_bytes) {
    job->rows = job->host->alloc(job->host, (uint64_t)height * sizeof *job->rows, sizeof(void *));
    if (!job->rows) return out_of_memory(job);
    for (int64_t y = 0; y < height; y++) job->rows[y] = pixels + y * row_bytes;
    png_read_image(job->png, job->rows);
    png_read_end(job->png, NULL);
    return CVR_OK;
}

/* numbers: (n) of 16 bits, high byte first */
static int32_t narrow(const png_job *job, uint8_t *to, const uint8_t *numbers, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (numbers[2 * i]) return codec_refuse_number("png", numbers[2 * i] * 256u + numbers[2 * i + 1], job->err);
        to[i] = numbers[2 * i + 1];
    }
    return CVR_OK;
}

static int32_t decode(png_job *job) {
    const cvr_picture_job *const q = job->asked;
    read_header(job);
    const int64_t width = png_get_image_width(job->png, job->info), height = png_get_image_height(job->png, job->info);
    const int64_t from = set_transforms(job, (uint32_t)q->channels), /* bytes of a pixel */
        to = q->channels ? (int64_t)q->channels
             : from == 2 ? 1
                         : from;
    CVR_TRY(check_size(job, from == to ? to : from + to));
    (void)png_set_interlace_handling(job->png);
    png_read_update_info(job->png, job->info);
    if ((int64_t)png_get_rowbytes(job->png, job->info) != width * from) png_error(job->png, "unexpected row size");
    uint8_t *const data = q->alloc(q->alloc_ctx, (uint64_t)(width * height * to));
    if (!data) return out_of_memory(job);
    uint8_t *pixels = data;
    if (from != to) pixels = job->scratch = job->host->alloc(job->host, (uint64_t)(width * height * from), 64);
    if (!pixels) return out_of_memory(job);
    CVR_TRY(read_rows(job, pixels, height, width * from));
    if (from == 2) CVR_TRY(narrow(job, data, pixels, width * height));
    if (from == 3 && to == 1) codec_luma(data, pixels, width * height);
    q->out->width = width;
    q->out->height = height;
    q->out->channels = to;
    q->out->data = data;
    return CVR_OK;
}

/* The frame that libpng's errors come back to; it changes no local after setjmp. */
static int32_t guarded(png_job *job) {
    if (setjmp(png_jmpbuf(job->png))) return job->status;
    return decode(job);
}

/* Always the whole picture: PNG has no part that can be read without what is before it. */
int32_t png_codec_decode(const cvr_host *host, const cvr_picture_job *asked, cvr_error *err) {
    png_job job = {
        .host = host, .err = err, .asked = asked, .bytes = asked->bytes, .n = asked->n, .status = CVR_ERR_FORMAT};
    int32_t status = CVR_ERR_NOMEM;
    job.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &job, png_job_error, png_job_warning, &job, png_job_alloc,
                                       png_job_free);
    if (job.png) job.info = png_create_info_struct(job.png);
    status = job.info ? guarded(&job) : out_of_memory(&job);
    if (job.png) png_destroy_read_struct(&job.png, &job.info, NULL);
    if (job.rows) host->free(host, job.rows);
    if (job.scratch) host->free(host, job.scratch);
    return status;
}
