/*
 * The parts of the JPEG codec.
 */
#ifndef CVR_JPEG_CODEC_H
#define CVR_JPEG_CODEC_H

#include "../codec_exif.h"
#include "../codec_pixels.h"

int32_t jpeg_codec_decode(const cvr_host *host, const cvr_picture_job *asked, cvr_error *err);

#endif
