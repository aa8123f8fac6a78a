/*
 * The WebP codec.
 */
#ifndef CVR_WEBP_CODEC_H
#define CVR_WEBP_CODEC_H

#include "../codec_deliver.h"

int32_t webp_codec_decode(const cvr_host *host, const cvr_picture_job *asked, cvr_error *err);

#endif
