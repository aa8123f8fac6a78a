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

int64_t class_legend(canvas *c, box area, const legend_entry *entries, int64_t n) {
    int64_t letters = 1;
    for (int64_t i = 0; i < n; i++) {
        const int64_t length = (int64_t)strlen(entries[i].words);
        letters = length > letters ? length : letters;
    }
    letters = letters > MOST_LETTERS ? MOST_LETTERS : letters;
    const int64_t fits = (area.width - SWATCH - 6) / CANVAS_LETTER_WIDTH;
    letters = letters > fits && fits > 0 ? fits : letters;
    const int64_t wide = SWATCH + 6 + letters * CANVAS_LETTER_WIDTH + GAP,
                  columns = (area.width + GAP) / wide > 0 ? (area.width + GAP) / wide : 1,
                  rows = (n + columns - 1) / columns;
    for (int64_t i = 0; c && i < n; i++) {
        const int64_t x = area.x + i / rows * wide, y = area.y + i % rows * LINE;
        char label[MOST_LETTERS + 1];
        canvas_cut(label, entries[i].words, letters);
        canvas_fill(c, (box){x, y, SWATCH, SWATCH}, class_colour(entries[i].klass));
        canvas_frame(c, (box){x, y, SWATCH, SWATCH}, CANVAS_FAINT);
        canvas_text(c, x + SWATCH + 6, y + 1, label, (canvas_text_style){CANVAS_INK, 0, 0});
    }
    return rows * LINE;
}
