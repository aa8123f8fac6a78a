/*
 * EXIF orientation, for the codecs of formats that have it.
 */
#ifndef CVR_CODEC_EXIF_H
#define CVR_CODEC_EXIF_H

#include <cvr/plugin/plugin.h>

/* The orientation (1 to 8) that the TIFF directory of an EXIF block names, with or without "Exif\0\0" before it; 1
 * where it names none or is not well formed. */
int32_t exif_orientation(const uint8_t *bytes, uint64_t n);

/* Orientations past 4 swap the sides. */
static inline int32_t exif_swaps_sides(int32_t orientation) {
    return orientation >= 5;
}

/* from: (height,width,channels) u8 as it was stored; to: the same picture upright, sides swapped where it says so. */
void exif_upright(uint8_t *to, const uint8_t *from, int64_t width, int64_t height, int64_t channels,
                  int32_t orientation);

#endif
