/* Colours of classes, and their legend. */
#include "class_colours.h"

#define SWATCH 11 /* side of the square of colour */
#define LINE 17
#define GAP 18 /* between columns */
#define MOST_LETTERS 40

/* The bits of the number go to R, G and B in turn, three at a time, each time to the next lower bit of them. */
colour class_colour(int64_t k) {
    uint8_t rgb[3] = {0, 0, 0};
    for (int bit = 0; bit < 8; bit++) rgb[bit % 3] |= (uint8_t)((k >> bit & 1) << (7 - bit / 3));
    return (colour){rgb[0], rgb[1], rgb[2]};
}

void class_palette(uint8_t palette[768]) {
    for (int64_t k = 0; k < 256; k++) {
        const colour c = class_colour(k);
        palette[3 * k] = c.r;
        palette[3 * k + 1] = c.g;
        palette[3 * k + 2] = c.b;
    }
}

/* Chosen one after the other, each the farthest from those before it, among bright and saturated colours at first. */
static const uint32_t object_colours[80] = {
    0xFF3C3C, 0x1E90FF, 0x3CC850, 0xFFA500, 0xE100FF, 0xF0A5F0, 0x4BF0FF, 0xFF0FA5, 0x965AFF, 0xD2E100,
    0x96961E, 0x00FF00, 0xC35AC3, 0xFF8796, 0x96F0A5, 0xD2690F, 0x1EC3A5, 0xA596FF, 0x00B4E1, 0xFF78FF,
    0x007869, 0x1E3CFF, 0xB40F5A, 0x695A96, 0x875A00, 0x9600C3, 0x008700, 0xFFE196, 0xB46978, 0x0069C3,
    0xB42D00, 0xA5C3FF, 0xB4C369, 0x691EF0, 0x7887C3, 0xFFB496, 0xB40096, 0xD29669, 0xC387C3, 0x0096A5,
    0x3CA55A, 0x695AD2, 0xF069B4, 0xE13C78, 0x69780F, 0xA500FF, 0x3CF078, 0x964B78, 0x3C3CA5, 0xFFD2F0,
    0x2D5A1E, 0x781E87, 0xA5D2C3, 0x783C3C, 0x005A78, 0x87A587, 0xC3F0FF, 0x6900B4, 0x3C0FD2, 0xFF3CE1,
    0xD2A5B4, 0x3C69FF, 0x96785A, 0x871E5A, 0xA5FF2D, 0xFF783C, 0x964BB4, 0x96001E, 0x96A5D2, 0xD269FF,
    0x4B7896, 0x96D200, 0xD21EC3, 0xE16969, 0x693C69, 0x00E1A5, 0xFFD22D, 0x9669A5, 0x00D2E1, 0x00FFD2};

colour object_colour(int64_t k) {
    const uint32_t rgb = object_colours[k >= 0 ? k % 80 : 79];
    return (colour){(uint8_t)(rgb >> 16), (uint8_t)(rgb >> 8), (uint8_t)rgb};
}

colour ink_on(colour ground) {
    const int32_t luma = (299 * ground.r + 587 * ground.g + 114 * ground.b) / 1000;
    return luma > 128 ? (colour){0, 0, 0} : CANVAS_PAPER;
}

int64_t class_legend(canvas *c, box area, int64_t scale, const legend_entry *entries, int64_t n) {
    int64_t letters = 1;
    for (int64_t i = 0; i < n; i++) {
        const int64_t length = canvas_letters(entries[i].words);
        letters = length > letters ? length : letters;
    }
    letters = letters > MOST_LETTERS ? MOST_LETTERS : letters;
    const int64_t width = area.width / scale, fits = (width - SWATCH - 6) / CANVAS_LETTER_WIDTH;
    letters = letters > fits && fits > 0 ? fits : letters;
    const int64_t wide = SWATCH + 6 + letters * CANVAS_LETTER_WIDTH + GAP,
                  columns = (width + GAP) / wide > 0 ? (width + GAP) / wide : 1, rows = (n + columns - 1) / columns;
    for (int64_t i = 0; c && i < n; i++) {
        const int64_t x = area.x + i / rows * wide * scale, y = area.y + i % rows * LINE * scale;
        const box swatch = {x, y, SWATCH * scale, SWATCH * scale};
        char label[4 * MOST_LETTERS];
        canvas_cut(label, sizeof label, entries[i].words, letters);
        canvas_fill(c, swatch, CANVAS_FAINT);
        canvas_fill(c, (box){x + scale, y + scale, swatch.width - 2 * scale, swatch.height - 2 * scale},
                    entries[i].ink);
        canvas_text_large(c, x + (SWATCH + 6) * scale, y + scale, label, (canvas_text_style){CANVAS_INK, 0, 0}, scale);
    }
    return rows * LINE * scale;
}
