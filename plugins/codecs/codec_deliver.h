/*
 * The last step of the codecs that decode whole pictures: channels and orientation.
 */
#ifndef CVR_CODEC_DELIVER_H
#define CVR_CODEC_DELIVER_H

#include "codec_exif.h"
#include "codec_pixels.h"

/* What a codec that decodes whole pictures hands over: the pixels as they were stored, and how they are wanted. */
typedef struct codec_stored {
    const char *codec; /* its name */
    uint8_t *pixels;   /* (height,width,channels) u8 */
    int64_t width, height, channels;
    int32_t orientation; /* EXIF's, 1: upright */
} codec_stored;

/* Fills job->out with the stored picture upright and in the channels that the job asks for. */
int32_t codec_deliver(const cvr_host *host, const codec_stored *stored, const cvr_picture_job *job, cvr_error *err);

#endif
