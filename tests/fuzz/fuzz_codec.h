/*
 * What the fuzz targets of picture codecs have in common.
 */
#ifndef CVR_FUZZ_CODEC_H
#define CVR_FUZZ_CODEC_H

#include "fuzz.h"

typedef int32_t (*fuzz_decode_fn)(const cvr_host *host, const cvr_picture_job *job, cvr_error *err);

/* Decodes the input, in a number of channels that depends on it, and checks status, message, memory and size. */
void fuzz_codec(fuzz_decode_fn decode, const uint8_t *bytes, size_t n);

#endif
