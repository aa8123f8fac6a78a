/*
 * Pixels, lines and text of the canvas. A line covers a pixel by the distance of the pixel's centre from it.
 */
#include "canvas.h"
#include <math.h>

int32_t canvas_open(canvas *c, const cvr_host *host, int64_t width, int64_t height, cvr_error *err) {
    const uint64_t bytes = (uint64_t)(width * height * 3);
    c->host = host;
    c->image = (cvr_image){.struct_size = sizeof c->image,
                           .width = width,
                           .height = height,
                           .channels = 3,
                           .data = host->alloc(host, bytes, 64)};
    if (!c->image.data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a picture of the report");
    memset(c->image.data, 255, bytes);
    return CVR_OK;
}

void canvas_close(canvas *c) {
    if (c->image.data) c->host->free(c->host, c->image.data);
    c->image.data = NULL;
}

static uint8_t mix(uint8_t below, uint8_t above, double alpha) {
    return (uint8_t)(below + (above - below) * alpha + 0.5);
}

void canvas_blend(canvas *c, int64_t x, int64_t y, colour ink, double alpha) {
    if (x < 0 || y < 0 || x >= c->image.width || y >= c->image.height || !(alpha > 0)) return;
    uint8_t *const p = c->image.data + (y * c->image.width + x) * 3;
    const double a = alpha < 1 ? alpha : 1;
    p[0] = mix(p[0], ink.r, a);
    p[1] = mix(p[1], ink.g, a);
    p[2] = mix(p[2], ink.b, a);
}

void canvas_fill(canvas *c, box area, colour ink) {
    const int64_t left = area.x > 0 ? area.x : 0, top = area.y > 0 ? area.y : 0;
    const int64_t right = area.x + area.width < c->image.width ? area.x + area.width : c->image.width;
    const int64_t bottom = area.y + area.height < c->image.height ? area.y + area.height : c->image.height;
    for (int64_t y = top; y < bottom; y++) {
        uint8_t *p = c->image.data + (y * c->image.width + left) * 3;
        for (int64_t x = left; x < right; x++) {
            *p++ = ink.r;
            *p++ = ink.g;
            *p++ = ink.b;
        }
    }
}

void canvas_frame(canvas *c, box area, colour ink) {
    canvas_fill(c, (box){area.x, area.y, area.width, 1}, ink);
    canvas_fill(c, (box){area.x, area.y + area.height - 1, area.width, 1}, ink);
    canvas_fill(c, (box){area.x, area.y + 1, 1, area.height - 2}, ink);
    canvas_fill(c, (box){area.x + area.width - 1, area.y + 1, 1, area.height - 2}, ink);
}

static int64_t within(double v, int64_t end) {
    if (!(v > 0)) return 0;
    return v < (double)end ? (int64_t)v : end;
}

/* Distance of p from the segment a-b. */
static double distance(point p, point a, point b) {
    const double dx = b.x - a.x, dy = b.y - a.y, length2 = dx * dx + dy * dy;
    double t = length2 > 0 ? ((p.x - a.x) * dx + (p.y - a.y) * dy) / length2 : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

void canvas_line(canvas *c, point a, point b, double width, colour ink) {
    const double reach = width / 2 + 0.5;
    const int64_t top = within(fmin(a.y, b.y) - reach, c->image.height);
    const int64_t bottom = within(fmax(a.y, b.y) + reach + 1, c->image.height);
    const int64_t left = within(fmin(a.x, b.x) - reach, c->image.width);
    const int64_t right = within(fmax(a.x, b.x) + reach + 1, c->image.width);
    for (int64_t y = top; y < bottom; y++) {
        for (int64_t x = left; x < right; x++) {
            canvas_blend(c, x, y, ink, reach - distance((point){(double)x + 0.5, (double)y + 0.5}, a, b));
        }
    }
}

void canvas_disc(canvas *c, point centre, double radius, colour ink) {
    canvas_line(c, centre, centre, 2 * radius, ink);
}

/* A gap of one pixel on the right, which bold ink would close: the legs of an m. */
static int32_t is_narrow(canvas_letter letter, int32_t x, int32_t y) {
    return x + 2 < CANVAS_LETTER_WIDTH - 1 && !canvas_letter_dot(letter, x + 1, y) &&
           canvas_letter_dot(letter, x + 2, y);
}

#define ABOVE 3 /* rows over a tall letter that its accent may take */

/* One letter `along` pixels of its own from where the text begins. */
static void draw_letter(canvas *c, point from, int64_t along, canvas_letter letter, canvas_text_style style,
                        int64_t scale) {
    const int64_t x = (int64_t)from.x, y = (int64_t)from.y;
    for (int32_t row = -ABOVE; row < CANVAS_FONT_ROWS; row++) {
        for (int32_t column = 0; column < CANVAS_LETTER_WIDTH - 1; column++) {
            if (!canvas_letter_dot(letter, column, row)) continue;
            const int64_t wide = style.bold && !style.upwards && !is_narrow(letter, column, row) ? 2 : 1;
            if (style.upwards)
                canvas_fill(c, (box){x + row * scale, y - (along + column) * scale, scale, scale}, style.ink);
            else
                canvas_fill(c, (box){x + (along + column) * scale, y + row * scale, wide * scale, scale}, style.ink);
        }
    }
}

void canvas_text_large(canvas *c, int64_t x, int64_t y, const char *text, canvas_text_style style, int64_t scale) {
    const int64_t advance = CANVAS_LETTER_WIDTH + (style.bold ? 1 : 0);
    canvas_reader r = {text, '\0'};
    canvas_letter letter;
    for (int64_t at = 0; canvas_next_letter(&r, &letter); at += advance)
        draw_letter(c, (point){(double)x, (double)y}, at, letter, style, scale);
}

void canvas_text(canvas *c, int64_t x, int64_t y, const char *text, canvas_text_style style) {
    canvas_text_large(c, x, y, text, style, 1);
}
