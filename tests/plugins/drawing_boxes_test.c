/*
 * Objects over a picture: where lines, plates and masks lie, whatever the size of the picture, and that nothing that a
 * network may say of a picture leads outside of it. Letters of other alphabets.
 */
#include "../../plugins/drawing/boxes.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static cvr_error error;
static int64_t allocations_left, live;

static void *give(const cvr_host *host, uint64_t bytes, uint64_t align) {
    (void)host;
    (void)align;
    if (allocations_left-- <= 0) return NULL;
    live++;
    return malloc(bytes);
}

static void take(const cvr_host *host, void *p) {
    (void)host;
    live--;
    free(p);
}

static const cvr_host host = {.struct_size = sizeof host, .alloc = give, .free = take};

static void begin(void) {
    cvr_error_init(&error);
    allocations_left = INT64_MAX;
    live = 0;
}

static void finish(void) {
    cr_expect_eq(live, 0, "%lld blocks were not freed", (long long)live);
}

TestSuite(drawing_boxes, .init = begin, .fini = finish);

#define GREY 90

/* A grey picture with boxes over it. */
static canvas draw(int64_t width, int64_t height, const drawn_box *boxes, int64_t n) {
    canvas c;
    uint8_t *const pixels = malloc((size_t)(width * height));
    const cvr_image picture = {
        .struct_size = sizeof picture, .width = width, .height = height, .channels = 1, .data = pixels};
    memset(pixels, GREY, (size_t)(width * height));
    cr_assert_eq(boxes_picture(&c, &host, &picture, boxes, n, &error), CVR_OK, "%s", error.message);
    free(pixels);
    return c;
}

static int32_t is_colour(const canvas *c, int64_t x, int64_t y, colour ink) {
    const uint8_t *const p = c->image.data + (y * c->image.width + x) * 3;
    return p[0] == ink.r && p[1] == ink.g && p[2] == ink.b;
}

static int64_t count(const canvas *c, box area, colour ink) {
    int64_t n = 0;
    for (int64_t y = area.y; y < area.y + area.height; y++)
        for (int64_t x = area.x; x < area.x + area.width; x++) n += is_colour(c, x, y, ink);
    return n;
}

static const colour grey = {GREY, GREY, GREY};

/* ---- boxes and plates ---- */

/* Of any size of picture: lines on the box's edges, a plate that is as wide as its letters say and inside. */
Test(drawing_boxes, lines_and_plates_grow_with_the_picture) {
    static const struct {
        int64_t width, height, grow, scale;
    } sizes[] = {{64, 64, 10, 1}, {20, 300, 2, 1}, {640, 480, 1, 1}, {1600, 1200, 1, 2}, {4000, 3000, 1, 5}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t w = sizes[i].width, h = sizes[i].height, grow = sizes[i].grow, k = sizes[i].scale;
        const drawn_box b = {
            .xyxy = {(double)w / 4, (double)h / 4, (double)w / 2, (double)h / 2}, .score = 0.5, .name = "ox"};
        canvas c = draw(w, h, &b, 1);
        const int64_t left = w / 4 * grow, top = h / 4 * grow, bottom = h / 2 * grow;
        const colour ink = object_colour(0);
        cr_expect(c.image.width == w * grow && c.image.height == h * grow);
        for (int64_t y = top; y < bottom; y++)
            cr_assert(is_colour(&c, left, y, ink), "no line at %lld, %lld of %lld", (long long)left, (long long)y,
                      (long long)w);
        const int64_t wide = w < 64 ? 0 : (7 * 7 - 1 + 8) * k; /* "ox 0.50" */
        const box plate = {left - k, top - 17 * k, wide, 16 * k};
        const int64_t letters = count(&c, plate, (colour){0, 0, 0}) + count(&c, plate, CANVAS_PAPER);
        cr_expect_eq(count(&c, plate, ink) + letters, wide * 16 * k, "no plate above the box");
        cr_expect(wide == 0 || (letters > 40 * k * k && letters < wide * 8 * k), "no letters on it");
        const box inside = {left + 2 * k, top + 18 * k, w < 64 ? 1 : 8, bottom - top - 20 * k};
        cr_expect_eq(count(&c, inside, grey), inside.width * inside.height, "something is drawn inside");
        canvas_close(&c);
    }
}
