/*
 * The headers of a BMP file: Microsoft's BITMAPCOREHEADER (12 bytes), BITMAPINFOHEADER (40) and its extensions (52, 56,
 * 108 and 124), and OS/2's of 16 and 64 bytes, whose fields beyond the 16th byte are as the others'.
 */
#include "bmp_codec.h"

#define FILE_HEADER 14u

static uint32_t u16_at(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32_at(const uint8_t *p) {
    return u16_at(p) | u16_at(p + 2) << 16;
}

int32_t bmp_damaged(const char *what, cvr_error *err) {
    return cvr_fail(err, CVR_ERR_FORMAT, "bmp: %s; the file is damaged, make it anew", what);
}

static int32_t unsupported(cvr_error *err, const bmp_header *h) {
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "bmp: %u bits a pixel with compression %u are not read; save it as PNG",
                    (unsigned)h->bits, (unsigned)h->compression);
}

/* A mask is a stretch of ones. */
static int32_t set_channel(bmp_channel *c, uint32_t mask, cvr_error *err) {
    *c = (bmp_channel){0, 0};
    if (mask == 0) return CVR_OK;
    while (!(mask >> c->shift & 1)) c->shift++;
    c->top = mask >> c->shift;
    return c->top & (c->top + 1) ? bmp_damaged("a colour mask with holes", err) : CVR_OK;
}

/* Masks stand behind a header of 40 bytes, and inside of a longer one, which is the same place. */
static int32_t read_masks(const uint8_t *bytes, uint64_t n, bmp_header *h, cvr_error *err) {
    static const uint32_t rgb15[3] = {0x7c00, 0x3e0, 0x1f}, rgb24[3] = {0xff0000, 0xff00, 0xff};
    const int32_t given = h->compression != BMP_RGB;
    if (given && n < FILE_HEADER + 40 + 12) return bmp_damaged("the file ends too early", err);
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t usual = h->bits == 16 ? rgb15[i] : rgb24[i],
                       mask = given ? u32_at(bytes + FILE_HEADER + 40 + 4 * i) : usual;
        CVR_TRY(set_channel(&h->channel[i], h->bits == 16 ? mask & 0xffff : mask, err));
    }
    return CVR_OK;
}

/* As PIL tells pictures whose palette says nothing: equal steps of grey from black on. */
static int32_t is_grey(const bmp_header *h) {
    for (uint32_t i = 0; i < h->n_colours; i++) {
        const uint8_t *const c = h->palette[i];
        const uint32_t want = h->n_colours == 2 ? 255 * i : i;
        if (c[0] != want || c[1] != want || c[2] != want) return 0;
    }
    return 1;
}

/* Blue, green, red, and in all but the oldest headers a byte of nothing. */
static int32_t read_palette(const uint8_t *bytes, uint64_t n, uint64_t at, uint32_t each, bmp_header *h,
                            cvr_error *err) {
    if (n < at || (n - at) / each < h->n_colours) return bmp_damaged("the file ends too early", err);
    for (uint32_t i = 0; i < h->n_colours; i++) {
        const uint8_t *const c = bytes + at + (uint64_t)i * each;
        for (int k = 0; k < 3; k++) h->palette[i][k] = c[2 - k];
    }
    h->grey = is_grey(h);
    return CVR_OK;
}

static int32_t check_kind(const bmp_header *h, cvr_error *err) {
    const uint32_t bits = h->bits, c = h->compression;
    const int32_t plain =
                      c == BMP_RGB && (bits == 1 || bits == 4 || bits == 8 || bits == 16 || bits == 24 || bits == 32),
                  runs = (c == BMP_RLE8 && bits == 8) || (c == BMP_RLE4 && bits == 4),
                  masks = (c == BMP_BITFIELDS || c == BMP_ALPHABITFIELDS) && (bits == 16 || bits == 32);
    return plain || runs || masks ? CVR_OK : unsupported(err, h);
}

/* The header's own fields; returns the size of a palette entry in `each`, and the colours that it declares. */
static void read_fields(const uint8_t *p, uint32_t size, bmp_header *h, uint32_t *each, uint32_t *colours) {
    *each = size == 12 ? 3 : 4;
    if (size == 12) {
        h->width = (int64_t)u16_at(p + 4);
        h->height = (int64_t)u16_at(p + 6);
        h->bits = u16_at(p + 10);
        return;
    }
    h->width = (int32_t)u32_at(p + 4);
    h->height = (int32_t)u32_at(p + 8);
    h->top_down = h->height < 0;
    if (h->top_down) h->height = -h->height;
    h->bits = u16_at(p + 14);
    if (size == 16) return;
    h->compression = u32_at(p + 16);
    *colours = u32_at(p + 32);
}

int32_t bmp_read_header(const uint8_t *bytes, uint64_t n, bmp_header *h, cvr_error *err) {
    uint32_t each = 4, colours = 0;
    memset(h, 0, sizeof *h);
    if (n < FILE_HEADER + 4) return bmp_damaged("the file ends too early", err);
    const uint32_t size = u32_at(bytes + FILE_HEADER);
    if (size != 12 && size != 16 && size != 40 && size != 52 && size != 56 && size != 64 && size != 108 && size != 124)
        return bmp_damaged("a header of a length that is not known", err);
    if (n - FILE_HEADER < size) return bmp_damaged("the file ends too early", err);
    h->pixels = u32_at(bytes + 10);
    read_fields(bytes + FILE_HEADER, size, h, &each, &colours);
    CVR_TRY(check_kind(h, err));
    if (h->bits == 16 || h->bits == 32) return read_masks(bytes, n, h, err);
    if (h->bits > 8) return CVR_OK;
    h->n_colours = colours ? colours : 1u << h->bits;
    if (h->n_colours > 256) return bmp_damaged("a palette of more than 256 colours", err);
    return read_palette(bytes, n, FILE_HEADER + size, each, h, err);
}
