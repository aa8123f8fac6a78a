/*
 * The parts of the JPEG codec.
 */
#ifndef CVR_JPEG_CODEC_H
#define CVR_JPEG_CODEC_H

#include "../codec_pixels.h"

/* The orientation (1 to 8) that an APP1 segment's TIFF directory names; 1 where it names none or is not well formed. */
int32_t exif_orientation(const uint8_t *app1, uint64_t n);

/* Orientations past 4 swap the sides. */
static inline int32_t exif_swaps_sides(int32_t orientation) {
    return orientation >= 5;
}

/* from: (height,width,channels) u8 as it was stored; to: the same picture upright, sides swapped where it says so. */
void exif_upright(uint8_t *to, const uint8_t *from, int64_t width, int64_t height, int64_t channels,
                  int32_t orientation);

int32_t jpeg_codec_decode(const cvr_host *host, const uint8_t *bytes, uint64_t n, uint32_t channels, cvr_alloc_fn alloc,
                          void *alloc_ctx, cvr_image *out, cvr_error *err);
int32_t jpeg_codec_decode_part(const cvr_host *host, const cvr_picture_job *asked, cvr_error *err);

#endif
