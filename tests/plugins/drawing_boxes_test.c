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
    } sizes[] = {{64, 64, 10, 1}, {20, 300, 2, 1}, {640, 480, 1, 1}, {1600, 1200, 1, 2}};
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

/* Boxes at one place, each with its plate: none lies on another. */
Test(drawing_boxes, plates_keep_off_each_other) {
    drawn_box boxes[6];
    for (int k = 0; k < 6; k++)
        boxes[k] = (drawn_box){.xyxy = {300, 200, 420, 300}, .klass = k, .score = 0.9 - 0.1 * k, .name = "zebra"};
    canvas c = draw(640, 480, boxes, 6);
    const box all = {0, 0, 640, 480};
    for (int k = 0; k < 6; k++) /* 10 letters on 78 x 16, which take a fifth of it */
        cr_expect_gt(count(&c, all, object_colour(k)), 78 * 16 * 7 / 10, "the plate of class %d is hidden", k);
    canvas_close(&c);
}

/* Twelve in a corner, where there are fewer places: a plate is to be read, or not there, and then the legend is. */
Test(drawing_boxes, plates_are_whole_or_left_out) {
    drawn_box boxes[12];
    int plates = 0;
    for (int k = 0; k < 12; k++)
        boxes[k] = (drawn_box){.xyxy = {610, 460, 632, 474}, .klass = k, .score = 0.9 - 0.05 * k, .name = "zebra"};
    canvas c = draw(640, 480, boxes, 12);
    for (int k = 0; k < 12; k++) { /* 10 letters on 78 x 16, and the box's lines */
        const int64_t n = count(&c, (box){0, 0, 640, 480}, object_colour(k));
        cr_expect(n < 150 || n > 78 * 16 * 7 / 10, "%lld pixels of plate %d are hidden", (long long)(78 * 16 - n), k);
        plates += n > 150;
    }
    cr_expect(plates >= 4 && plates < 12, "%d plates", plates);
    cr_expect_gt(c.image.height, 480, "nothing names the others");
    canvas_close(&c);
}

/* Where there is but one class, plates have the score alone, and the truth has none; the legend has the name. */
Test(drawing_boxes, one_class_needs_no_name) {
    drawn_box b = {.xyxy = {100, 100, 200, 200}, .score = 0.5, .name = "zebra", .unnamed = 1};
    const box above = {0, 0, 640, 98};
    canvas c = draw(640, 480, &b, 1);
    const int64_t plate = 480 * 640 - count(&c, (box){0, 0, 640, 480}, grey) - 104 * 104 + 98 * 98;
    cr_expect(plate >= 35 * 14 && plate <= 35 * 16, "%lld pixels", (long long)plate); /* "0.50" */
    cr_expect_gt(c.image.height, 480);
    canvas_close(&c);
    b.score = -1;
    c = draw(640, 480, &b, 1);
    cr_expect_eq(count(&c, above, grey), 98 * 640, "a plate without a word");
    cr_expect_gt(c.image.height, 480);
    canvas_close(&c);
}

/* In the corners a plate has to go elsewhere; it is whole all the same. */
Test(drawing_boxes, plates_stay_inside) {
    static const double corners[4][2] = {{0, 0}, {630, 0}, {0, 470}, {630, 470}};
    for (int i = 0; i < 4; i++) {
        const double x = corners[i][0], y = corners[i][1];
        const drawn_box b = {.xyxy = {x, y, x + 10, y + 10}, .klass = 1, .score = -1, .name = "zebra"};
        canvas c = draw(640, 480, &b, 1);
        const int64_t letters = count(&c, (box){0, 0, 640, 480}, CANVAS_PAPER);
        cr_expect_gt(count(&c, (box){0, 0, 640, 480}, object_colour(1)) + letters, (5 * 7 - 1 + 8) * 16 - 1);
        cr_expect(letters > 60 && letters < 200, "%lld pixels of letters", (long long)letters);
        canvas_close(&c);
    }
}

/* Three hundred objects: lines of one pixel, few plates, and the number of objects below. */
Test(drawing_boxes, a_crowd_is_still_to_be_seen) {
    static drawn_box boxes[300];
    for (int i = 0; i < 300; i++) {
        const double x = i % 20 * 31 + 4, y = i / 20 * 31 + 4;
        boxes[i] = (drawn_box){.xyxy = {x, y, x + 20, y + 20}, .score = 0.3 + i / 500.0, .name = "tree"};
    }
    canvas c = draw(640, 480, boxes, 300);
    const int64_t visible = count(&c, (box){0, 0, 640, 480}, grey);
    cr_expect_gt(visible, 640 * 480 * 7 / 10, "%lld pixels of the picture are left", (long long)visible);
    cr_expect_gt(c.image.height, 480, "nothing says how many trees there are");
    cr_expect_gt(count(&c, (box){0, 480, 640, c.image.height - 480}, object_colour(0)), 60,
                 "nor what colour they have");
    canvas_close(&c);
}

/* ---- whatever a network says ---- */

static int32_t is_untouched(const drawn_box *b) {
    canvas c = draw(640, 480, b, 1);
    const int32_t all_grey = count(&c, (box){0, 0, 640, 480}, grey) == 640 * 480;
    canvas_close(&c);
    return all_grey;
}

Test(drawing_boxes, what_is_no_box_is_left_out) {
    static const double none[][4] = {{NAN, 0, 10, 10},    {0, 0, INFINITY, 10}, {20, 20, 10, 30},    {20, 20, 30, 10},
                                     {-50, -50, -1, 100}, {641, 20, 1e300, 40}, {0, -INFINITY, 9, 9}};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        drawn_box b = {.score = 1, .name = "x"};
        memcpy(b.xyxy, none[i], sizeof b.xyxy);
        cr_expect(is_untouched(&b), "box %zu", i);
    }
    static const double some[][4] = {
        {10, 10, 10, 10}, {-1e300, -1e300, 1e300, 1e300}, {640, 480, 700, 700}, {5, 5, 5, 400}};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        drawn_box b = {.score = NAN, .klass = INT64_MAX, .name = "", .mask = NULL};
        memcpy(b.xyxy, some[i], sizeof b.xyxy);
        cr_expect(!is_untouched(&b), "box %zu", i);
    }
}

/* ---- masks ---- */

/* The left half of the box, as bytes and as runs. */
Test(drawing_boxes, masks_have_colour_and_outline) {
    static uint8_t mask[640 * 480];
    uint32_t runs[2 * 50 + 1] = {100 * 480 + 100};
    for (int y = 100; y < 200; y++) memset(mask + y * 640 + 100, 1, 50);
    for (int i = 0; i < 50; i++) {
        runs[2 * i + 1] = 100;
        runs[2 * i + 2] = 380;
    }
    drawn_box b = {.xyxy = {100, 100, 200, 200}, .klass = 3, .score = 0.5, .name = "cat", .mask = mask};
    canvas c = draw(640, 480, &b, 1);
    const colour ink = object_colour(3);
    cr_expect(is_colour(&c, 149, 150, ink), "the outline");
    const uint8_t *const p = c.image.data + (150 * 640 + 125) * 3;
    cr_expect(abs(p[0] - (int)(0.62 * GREY + 0.38 * ink.r + 0.5)) <= 1, "inside: %d", p[0]);
    cr_expect(is_colour(&c, 175, 150, grey), "outside");
    b.mask = NULL;
    b.runs = runs;
    b.n_runs = 101;
    canvas same = draw(640, 480, &b, 1);
    cr_expect_eq(memcmp(c.image.data, same.image.data, 640 * 480 * 3), 0, "runs are another mask");
    canvas_close(&same);
    const drawn_box twice[2] = {b, b};
    same = draw(640, 480, twice, 2);
    cr_expect_eq(memcmp(c.image.data + (150 * 640 + 120) * 3, same.image.data + (150 * 640 + 120) * 3, 9), 0,
                 "two masks cover the picture more than one");
    canvas_close(&same);
    canvas_close(&c);
    static uint32_t wild[3] = {5, UINT32_MAX, UINT32_MAX};
    b.runs = wild;
    b.n_runs = 3;
    canvas_close((c = draw(640, 480, &b, 1), &c));
}

/* ---- letters ---- */

static canvas write_text(const char *text) {
    canvas c;
    cr_assert_eq(canvas_open(&c, &host, 80, 20, &error), CVR_OK);
    canvas_text(&c, 2, 5, text, (canvas_text_style){CANVAS_INK, 0, 0});
    return c;
}

static int32_t look_alike(const char *a, const char *b) {
    canvas x = write_text(a), y = write_text(b);
    const int32_t same = memcmp(x.image.data, y.image.data, 80 * 20 * 3) == 0;
    canvas_close(&x);
    canvas_close(&y);
    return same;
}

Test(drawing_boxes, letters_of_europe) {
    static const struct {
        const char *text;
        int64_t letters;
        int32_t can_draw;
    } texts[] = {{"", 0, 0},
                 {"  ", 2, 0},
                 {"gr\xc3\xbcn", 4, 1},
                 {"gru\xcc\x88n", 4, 1},
                 {"Stra\xc3\x9f"
                  "e",
                  7, 1},
                 {"\xc5\x81\xc3\xb3\x64\xc5\xba", 4, 1},
                 {"\xe7\x8c\xab", 1, 0},
                 {"\xf0\x9f\x90\xb1!", 2, 0},
                 {"\xff\xc3", 2, 0},
                 {"a\xe7\x8c", 3, 0}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cr_expect_eq(canvas_letters(texts[i].text), texts[i].letters, "text %zu", i);
        cr_expect_eq(canvas_can_draw(texts[i].text), texts[i].can_draw, "text %zu", i);
    }
    cr_expect(look_alike("gr\xc3\xbcn", "gru\xcc\x88n"), "composed or not, it is one letter");
    cr_expect(!look_alike("gr\xc3\xbcn", "grun"), "dots");
    cr_expect(look_alike("\xe7\x8c\xab", "?"));
    char cut[16];
    canvas_cut(cut, sizeof cut, "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6", 4);
    cr_expect_str_eq(cut, "\xc3\xa4\xc3\xb6..");
    canvas_cut(cut, 6, "\xc3\xa4\xc3\xb6\xc3\xbc", 3);
    cr_expect_str_eq(cut, "\xc3\xa4\xc3\xb6");
}

Test(drawing_boxes, colours_of_objects_differ) {
    for (int64_t i = 0; i < 80; i++)
        for (int64_t k = 0; k < i; k++) {
            const colour a = object_colour(i), b = object_colour(k);
            cr_assert(abs(a.r - b.r) + abs(a.g - b.g) + abs(a.b - b.b) > 25, "%lld and %lld", (long long)i,
                      (long long)k);
        }
}

/* ---- no memory ---- */

Test(drawing_boxes, no_memory_is_an_error_wherever_it_happens) {
    static const uint32_t runs[3] = {10, 5, 4};
    static uint8_t pixels[100 * 20];
    const cvr_image picture = {
        .struct_size = sizeof picture, .width = 100, .height = 20, .channels = 1, .data = pixels};
    drawn_box boxes[30];
    for (int i = 0; i < 30; i++) {
        boxes[i] = (drawn_box){.xyxy = {0, 0, 8, 8}, .klass = i, .score = -1};
        if (i < 3) boxes[i].runs = runs, boxes[i].n_runs = 3;
    }
    int64_t n = 0;
    for (int32_t status = CVR_ERR_NOMEM; status != CVR_OK; n++) {
        canvas c;
        allocations_left = n;
        status = boxes_picture(&c, &host, &picture, boxes, 30, &error);
        cr_assert(status == CVR_OK || status == CVR_ERR_NOMEM);
        if (status == CVR_OK) canvas_close(&c);
        cr_assert_eq(live, 0, "%lld blocks were not freed", (long long)live);
    }
    cr_expect_gt(n, 8);
}
