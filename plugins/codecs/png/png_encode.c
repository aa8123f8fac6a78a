/*
 * Writing PNG with libpng. Every setting that the bytes depend on is fixed here, and no time or text chunk is written.
 */
#include "png_codec.h"
#include <setjmp.h>
#include <stdbool.h>
#include <zlib.h>

static void write_bytes(png_structp png, png_bytep bytes, size_t n) {
    png_job *const job = png_get_io_ptr(png);
    const int32_t status = job->sink(job->sink_ctx, bytes, n, job->err);
    if (status == CVR_OK) return;
    job->status = status;
    png_longjmp(png, 1);
}

static void flush_nothing(png_structp png) {
    (void)png;
}

static int32_t encode(png_job *job, const cvr_image *image) {
    const bool indexed = image->channels == 1 && image->palette;
    const int32_t type = indexed                ? PNG_COLOR_TYPE_PALETTE
                         : image->channels == 1 ? PNG_COLOR_TYPE_GRAY
                                                : PNG_COLOR_TYPE_RGB;
    png_set_write_fn(job->png, job, write_bytes, flush_nothing);
    png_set_compression_level(job->png, 6);
    png_set_compression_mem_level(job->png, 8);
    png_set_compression_strategy(job->png, Z_FILTERED);
    png_set_compression_window_bits(job->png, 15);
    png_set_filter(job->png, PNG_FILTER_TYPE_BASE, PNG_ALL_FILTERS);
    png_set_IHDR(job->png, job->info, (png_uint_32)image->width, (png_uint_32)image->height, 8, type,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_BASE, PNG_FILTER_TYPE_BASE);
    png_color colours[256];
    for (int i = 0; indexed && i < 256; i++)
        colours[i] = (png_color){image->palette[3 * i], image->palette[3 * i + 1], image->palette[3 * i + 2]};
    if (indexed) png_set_PLTE(job->png, job->info, colours, 256);
    png_write_info(job->png, job->info);
    for (int64_t y = 0; y < image->height; y++) {
        png_write_row(job->png, image->data + y * image->width * image->channels);
    }
    png_write_end(job->png, job->info);
    return CVR_OK;
}

static int32_t guarded(png_job *job, const cvr_image *image) {
    if (setjmp(png_jmpbuf(job->png))) return job->status;
    return encode(job, image);
}

int32_t png_codec_encode(const cvr_host *host, const cvr_image *image, cvr_sink_fn sink, void *sink_ctx,
                         cvr_error *err) {
    png_job job = {.host = host, .err = err, .sink = sink, .sink_ctx = sink_ctx, .status = CVR_ERR_INVALID};
    if (image->channels != 1 && image->channels != 3) {
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "png: %lld channels; 1 or 3 are written", (long long)image->channels);
    }
    CVR_TRY(codec_check_size("png", image->width, image->height, 0, 0, 1, err));
    job.png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &job, png_job_error, png_job_warning, &job,
                                        png_job_alloc, png_job_free);
    if (job.png) job.info = png_create_info_struct(job.png);
    const int32_t status =
        job.info ? guarded(&job, image) : cvr_fail(err, CVR_ERR_NOMEM, "png: out of memory for a picture");
    if (job.png) png_destroy_write_struct(&job.png, &job.info);
    return status;
}
