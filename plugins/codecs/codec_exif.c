/*
 * EXIF orientation: tag 0x0112 of the first TIFF directory in a JPEG's APP1 segment (Exif 2.32, 4.6.4) or in a WebP's
 * EXIF chunk. Nothing else of EXIF is looked at, and no offset is trusted.
 */
#include "codec_exif.h"

#define TAG_ORIENTATION 0x0112u
#define TYPE_SHORT 3u

typedef struct tiff {
    const uint8_t *bytes;
    uint64_t n;
    int32_t big;
} tiff;

static uint32_t u16_at(const tiff *t, uint64_t at) {
    const uint32_t a = t->bytes[at], b = t->bytes[at + 1];
    return t->big ? a << 8 | b : b << 8 | a;
}

static uint32_t u32_at(const tiff *t, uint64_t at) {
    const uint32_t a = u16_at(t, at), b = u16_at(t, at + 2);
    return t->big ? a << 16 | b : b << 16 | a;
}

int32_t exif_orientation(const uint8_t *bytes, uint64_t n) {
    if (n >= 6 && memcmp(bytes, "Exif\0\0", 6) == 0) {
        bytes += 6;
        n -= 6;
    }
    if (n < 8) return 1;
    tiff t = {bytes, n, bytes[0] == 'M'};
    if (memcmp(t.bytes, t.big ? "MM" : "II", 2) != 0 || u16_at(&t, 2) != 42) return 1;
    const uint64_t dir = u32_at(&t, 4);
    if (dir < 8 || dir > t.n || t.n - dir < 2) return 1;
    const uint64_t entries = u16_at(&t, dir);
    /* An entry: tag, type, count, value; 12 bytes. */
    for (uint64_t i = 0; i < entries; i++) {
        const uint64_t at = dir + 2 + 12 * i;
        if (at + 12 > t.n) return 1;
        if (u16_at(&t, at) != TAG_ORIENTATION) continue;
        const uint32_t value = u16_at(&t, at + 8);
        return u16_at(&t, at + 2) == TYPE_SHORT && u32_at(&t, at + 4) == 1 && value >= 1 && value <= 8 ? (int32_t)value
                                                                                                       : 1;
    }
    return 1;
}

/* Upright pixel (x, y) comes from (a x + b y + c, d x + e y + f), in units of the stored picture. */
void exif_upright(uint8_t *to, const uint8_t *from, int64_t width, int64_t height, int64_t channels,
                  int32_t orientation) {
    const int32_t swap = exif_swaps_sides(orientation);
    /* 2: mirrored; 3: turned by 180; 4: upside down; 5: transposed; 6: to be turned right; 7: transversed; 8: left. */
    const int32_t flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const int32_t flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const int64_t out_w = swap ? height : width, out_h = swap ? width : height;
    for (int64_t y = 0; y < out_h; y++) {
        for (int64_t x = 0; x < out_w; x++) {
            const int64_t u = swap ? y : x, v = swap ? x : y;
            const int64_t sx = flip_x ? width - 1 - u : u, sy = flip_y ? height - 1 - v : v;
            memcpy(to, from + (sy * width + sx) * channels, (size_t)channels);
            to += channels;
        }
    }
}
