/*
 * Samples of 1 to 16 bits to grey or RGB of 8, as PIL has them: of 16 bits the high byte, fewer than 8 scaled to the
 * whole range, CMYK without a profile, alpha dropped.
 */
#include "tiff_codec.h"

/* Sample `at` of a row, as it is; of 16 bits, which libtiff leaves in the machine's order, the high byte. */
static uint32_t sample(const uint8_t *row, int64_t at, uint32_t bits) {
    uint16_t wide;
    if (bits == 8) return row[at];
    if (bits == 16) {
        memcpy(&wide, row + 2 * at, sizeof wide);
        return wide >> 8;
    }
    const int64_t bit = at * bits;
    return (uint32_t)(row[bit / 8] >> (8 - bits - bit % 8)) & ((1u << bits) - 1);
}

/* Sample s of pixel x, scaled to 8 bits. */
static uint32_t level(const tiff_layout *l, const tiff_row *row, int64_t x, uint32_t s) {
    const uint32_t v = sample(row->planes[s], x * row->step + (l->planes ? 0 : s), l->bits);
    return l->bits < 8 ? v * (255 / ((1u << l->bits) - 1)) : v;
}

static void convert_grey(const tiff_layout *l, const tiff_row *row, uint8_t *to, int64_t n) {
    for (int64_t x = 0; x < n; x++) {
        const uint32_t v = level(l, row, x, 0);
        to[x] = (uint8_t)(l->inverted ? 255 - v : v);
    }
}

static void convert_palette(const tiff_layout *l, const tiff_row *row, uint8_t *to, int64_t n) {
    for (int64_t x = 0; x < n; x++) memcpy(to + 3 * x, l->palette[sample(row->planes[0], x * row->step, l->bits)], 3);
}

static void convert_rgb(const tiff_layout *l, const tiff_row *row, uint8_t *to, int64_t n) {
    if (l->bits == 8 && l->samples == 3 && !l->planes) {
        memcpy(to, row->planes[0], (size_t)(3 * n));
        return;
    }
    for (int64_t x = 0; x < n; x++) {
        for (uint32_t s = 0; s < 3; s++) to[3 * x + s] = (uint8_t)level(l, row, x, s);
    }
}

/* Colours that were multiplied by alpha: divided by it again, at most 255; black where nothing is seen. */
static void convert_premultiplied(const tiff_layout *l, const tiff_row *row, uint8_t *to, int64_t n) {
    for (int64_t x = 0; x < n; x++) {
        const uint32_t alpha = level(l, row, x, 3);
        for (uint32_t s = 0; s < 3; s++) {
            const uint32_t v = level(l, row, x, s), whole = alpha ? v * 255 / alpha : 0;
            to[3 * x + s] = (uint8_t)(whole > 255 ? 255 : whole);
        }
    }
}

/* R = (255 - K) - C (255 - K) / 255, rounded. */
static void convert_cmyk(const tiff_layout *l, const tiff_row *row, uint8_t *to, int64_t n) {
    for (int64_t x = 0; x < n; x++) {
        const uint32_t light = 255 - level(l, row, x, 3);
        for (uint32_t s = 0; s < 3; s++) {
            const uint32_t t = level(l, row, x, s) * light + 128;
            to[3 * x + s] = (uint8_t)(light - (((t >> 8) + t) >> 8));
        }
    }
}

/* Indices and numbers; those of 16 bits must fit into 8. */
static int32_t convert_numbers(const tiff_layout *l, const tiff_row *row, uint8_t *to, int64_t n, cvr_error *err) {
    for (int64_t x = 0; x < n; x++) {
        uint16_t v = 0;
        if (l->bits == 16)
            memcpy(&v, row->planes[0] + 2 * x * row->step, sizeof v);
        else
            v = (uint16_t)sample(row->planes[0], x * row->step, l->bits);
        if (v > 255) return codec_refuse_number("tiff", v, err);
        to[x] = (uint8_t)v;
    }
    return CVR_OK;
}

int32_t tiff_convert_row(const tiff_layout *l, const tiff_row *row, uint8_t *to, int64_t n, cvr_error *err) {
    if (l->numbers) return convert_numbers(l, row, to, n, err);
    switch (l->colours) {
    case TIFF_COLOURS_GREY: convert_grey(l, row, to, n); break;
    case TIFF_COLOURS_PALETTE: convert_palette(l, row, to, n); break;
    case TIFF_COLOURS_CMYK: convert_cmyk(l, row, to, n); break;
    default: (l->premultiplied ? convert_premultiplied : convert_rgb)(l, row, to, n);
    }
    return CVR_OK;
}
