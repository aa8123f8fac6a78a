/*
 * The codec "png", and what libpng asks of its user: errors, warnings, memory.
 */
#include "png_codec.h"

void png_job_error(png_structp png, png_const_charp text) {
    png_job *const job = png_get_error_ptr(png);
    (void)cvr_fail(job->err, job->status, "png: %s; the file is damaged, make it anew", text);
    png_longjmp(png, 1);
}

/* libpng warns of the same thing again and again: the first is enough for one picture. */
void png_job_warning(png_structp png, png_const_charp text) {
    png_job *const job = png_get_error_ptr(png);
    char line[256];
    if (job->warned) return;
    job->warned = 1;
    (void)snprintf(line, sizeof line, "png: %s", text);
    job->host->log(job->host, CVR_LOG_WARNING, line);
}

/* Rows, zlib's windows and chunks are all that libpng takes memory for: none needs more. A colour profile that says it
 * is a gigabyte long is not held to png_set_chunk_malloc_max. */
#define MOST_OF_LIBPNG (16u << 20)

void *png_job_alloc(png_structp png, png_alloc_size_t bytes) {
    png_job *const job = png_get_mem_ptr(png);
    return bytes <= MOST_OF_LIBPNG ? job->host->alloc(job->host, bytes, 16) : NULL;
}

void png_job_free(png_structp png, void *p) {
    png_job *const job = png_get_mem_ptr(png);
    if (p) job->host->free(job->host, p);
}

static int32_t probe(const uint8_t *bytes, uint64_t n) {
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    return n >= sizeof signature && memcmp(bytes, signature, sizeof signature) == 0;
}

static const cvr_codec_desc codec = {
    .struct_size = sizeof codec,
    .name = "png",
    .doc = "Portable Network Graphics, 1 to 16 bits, grey, RGB, palette, interlaced",
    .extensions = ".png",
    .probe = probe,
    .decode = png_codec_decode,
    .encode = png_codec_encode,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_CODEC, &codec, err);
}

CVR_DEFINE_PLUGIN("codec_png", "0.1.0", "", load)
