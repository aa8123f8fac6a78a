/*
 * A small canvas: 8-bit RGB pixels, rectangles, antialiased lines and discs, text. Everything is clipped to the canvas.
 */
#ifndef CVR_DRAWING_CANVAS_H
#define CVR_DRAWING_CANVAS_H

#include <cvr/plugin/host.h>

#define CANVAS_FONT_ROWS 12   /* of a letter; the capitals take the first CANVAS_CAPITAL of them */
#define CANVAS_CAPITAL 9      /* height of a capital */
#define CANVAS_LETTER_WIDTH 7 /* from one letter to the next */

typedef struct canvas {
    const cvr_host *host;
    cvr_image image; /* 3 channels */
} canvas;

typedef struct colour {
    uint8_t r, g, b;
} colour;

typedef struct point {
    double x, y; /* pixel (0, 0) covers 0..1 of both */
} point;

typedef struct box {
    int64_t x, y, width, height;
} box;

#define CANVAS_INK ((colour){45, 50, 60})
#define CANVAS_FAINT ((colour){120, 126, 138})
#define CANVAS_GRID ((colour){228, 231, 236})
#define CANVAS_PAPER ((colour){255, 255, 255})

/* All of it the colour of the paper. */
int32_t canvas_open(canvas *c, const cvr_host *host, int64_t width, int64_t height, cvr_error *err);
void canvas_close(canvas *c);

/* `alpha` in 0..1: how much of the pixel gets the colour. */
void canvas_blend(canvas *c, int64_t x, int64_t y, colour ink, double alpha);
void canvas_fill(canvas *c, box area, colour ink);
void canvas_frame(canvas *c, box area, colour ink);
/* With round ends. */
void canvas_line(canvas *c, point a, point b, double width, colour ink);
void canvas_disc(canvas *c, point centre, double radius, colour ink);

/* 1 where the letter has ink; `x` in 0..5, `y` in 0..11. Whatever is not printable ASCII looks like '?'. */
int32_t canvas_font_dot(char c, int32_t x, int32_t y);

typedef struct canvas_text_style {
    colour ink;
    uint32_t upwards; /* 1: from bottom to top */
    uint32_t bold;
} canvas_text_style;

/* UTF-8; (x, y) is the upper left corner of the first letter; of an upward text the lower left one. */
void canvas_text(canvas *c, int64_t x, int64_t y, const char *text, canvas_text_style style);
/* The same in letters `scale` times as large. */
void canvas_text_large(canvas *c, int64_t x, int64_t y, const char *text, canvas_text_style style, int64_t scale);
int64_t canvas_text_width(const char *text);
/* How many letters are drawn for a text. */
int64_t canvas_letters(const char *text);
/* Whether all of a text can be drawn, and there is any: where it is not, a number may say more. */
int32_t canvas_can_draw(const char *text);
/* At most `letters` letters of `text` and `room` - 1 bytes, the last two dots where it was cut. */
void canvas_cut(char *out, uint64_t room, const char *text, int64_t letters);

/* A text letter by letter: 0 at its end. `second` is 0 at first. */
typedef struct canvas_reader {
    const char *text;
    char second; /* of two letters that stand for one character */
} canvas_reader;
typedef struct canvas_letter {
    char base, accent; /* printable ASCII; a sign of canvas_letters.c, blank for none */
} canvas_letter;
int32_t canvas_next_letter(canvas_reader *r, canvas_letter *out);
/* 1 where it has ink; `x` in 0..5, `y` in -3..11, where an accent of a tall letter is above 0. */
int32_t canvas_letter_dot(canvas_letter letter, int32_t x, int32_t y);

#endif
