/*
 * The two halves of the PNG codec.
 */
#ifndef CVR_PNG_CODEC_H
#define CVR_PNG_CODEC_H

#include "../codec_pixels.h"
#include <png.h>

/* What libpng's callbacks and both halves work on. libpng leaves by longjmp: everything that has to be freed is here.
 */
typedef struct png_job {
    const cvr_host *host;
    cvr_error *err;
    int32_t status;
    int32_t warned;
    const cvr_picture_job *asked; /* reading */
    const uint8_t *bytes;
    uint64_t n, at;
    cvr_sink_fn sink; /* writing */
    void *sink_ctx;
    png_structp png;
    png_infop info;
    png_bytep *rows;
    uint8_t *scratch;
} png_job;

void png_job_error(png_structp png, png_const_charp text);
void png_job_warning(png_structp png, png_const_charp text);
void *png_job_alloc(png_structp png, png_alloc_size_t bytes);
void png_job_free(png_structp png, void *p);

int32_t png_codec_decode(const cvr_host *host, const cvr_picture_job *asked, cvr_error *err);
int32_t png_codec_encode(const cvr_host *host, const cvr_image *image, cvr_sink_fn sink, void *sink_ctx,
                         cvr_error *err);

#endif
