/*
 * Run lengths: polygons, strings, areas, boxes, IoU, union and intersection against pycocotools'
 * (tests/parity/rle_masks.py), pixels there and back, and runs that are none.
 */
#include "../../plugins/rle/rle.h"
#include "../support/test_host.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#define MOST 64

static test_host host;
static cvr_error err;

static void load(void) {
    test_host_init(&host);
    cvr_error_init(&err);
}

static void unload(void) {
    cr_expect_eq(host.live, 0, "memory was left behind");
}

TestSuite(rle, .init = load, .fini = unload);

static rle empty(void) {
    return (rle){.host = &host.host};
}

/* ---- the golden file ---- */

typedef struct golden_mask {
    int64_t height, width;
    uint64_t n_points;
    double xy[2 * MOST];
    char string[4096];
    double area, box[4];
    rle r;
} golden_mask;

static FILE *golden;

static void open_golden(void) {
    golden = fopen(CVR_GOLDEN_DIR "/rle.txt", "r");
    cr_assert(golden);
}

static double number(void) {
    double x;
    cr_assert_eq(fscanf(golden, "%lf", &x), 1);
    return x;
}

static void string(char *s) {
    cr_assert_eq(fscanf(golden, "%4095s", s), 1);
}

static void read_mask(golden_mask *m) {
    m->height = (int64_t)number();
    m->width = (int64_t)number();
    m->n_points = (uint64_t)number();
    cr_assert_leq(m->n_points, MOST);
    for (uint64_t i = 0; i < 2 * m->n_points; i++) m->xy[i] = number();
    string(m->string);
    m->area = number();
    for (int i = 0; i < 4; i++) m->box[i] = number();
    m->r = empty();
}

static void expect_string(const rle *r, const char *want, const char *what, int i) {
    char *const s = malloc(rle_string_room(r->n));
    const uint64_t n = rle_to_string(rle_seen(r), s);
    cr_expect_eq(n, strlen(want));
    cr_expect_str_eq(s, want, "%s %d", what, i);
    free(s);
}

/* Through a string and through pixels, and back. */
static void expect_same_again(const golden_mask *m, int i) {
    uint8_t *const pixels = malloc((size_t)(m->height * m->width));
    rle again = empty();
    cr_assert_eq(rle_from_string(&again, m->height, m->width, m->string, strlen(m->string), &err), CVR_OK, "%s",
                 err.message);
    expect_string(&again, m->string, "from the string", i);
    rle_to_bitmap(rle_seen(&again), m->height, m->width, pixels);
    cr_assert_eq(rle_from_bitmap(&again, m->height, m->width, pixels, m->width, &err), CVR_OK);
    expect_string(&again, m->string, "from pixels", i);
    free(pixels);
    rle_free(&again);
}

static void check_mask(golden_mask *m, int i) {
    double box[4];
    cr_assert_eq(rle_from_polygon(&m->r, m->height, m->width, m->xy, m->n_points, &err), CVR_OK, "%s", err.message);
    expect_string(&m->r, m->string, "polygon", i);
    cr_expect_eq((double)rle_area(rle_seen(&m->r)), m->area);
    rle_box(rle_seen(&m->r), m->height, box);
    for (int k = 0; k < 4; k++) cr_expect_eq(box[k], m->box[k], "box of %d: %g, not %g", i, box[k], m->box[k]);
    expect_same_again(m, i);
}

static void check_pair(const golden_mask *masks) {
    const int i = (int)number(), k = (int)number();
    const rle_view a = rle_seen(&masks[i].r), b = rle_seen(&masks[k].r);
    const double iou = number(), crowd = number();
    char both[4096];
    rle r = empty();
    cr_expect_eq(rle_iou(a, b, 0), iou, "%d and %d: %g, not %g", i, k, rle_iou(a, b, 0), iou);
    cr_expect_eq(rle_iou(a, b, 1), crowd);
    string(both);
    cr_assert_eq(rle_union(&r, a, b, &err), CVR_OK);
    expect_string(&r, both, "union", i);
    string(both);
    cr_assert_eq(rle_intersect(&r, a, b, &err), CVR_OK);
    expect_string(&r, both, "intersection", i);
    rle_free(&r);
}

Test(rle, is_what_pycocotools_makes) {
    static golden_mask masks[MOST];
    open_golden();
    const int n = (int)number();
    cr_assert(n > 40 && n <= MOST);
    for (int i = 0; i < n; i++) {
        read_mask(&masks[i]);
        check_mask(&masks[i], i);
    }
    const int pairs = (int)number();
    cr_assert_gt(pairs, 20);
    for (int i = 0; i < pairs; i++) check_pair(masks);
    for (int i = 0; i < n; i++) rle_free(&masks[i].r);
    (void)fclose(golden);
}

/* ---- runs that are none ---- */

static void expect_bad(int32_t status, const char *says) {
    cr_expect_neq(status, CVR_OK, "it should have said '%s'", says);
    cr_expect(strstr(err.message, says), "'%s' does not say '%s'", err.message, says);
    cvr_error_init(&err);
}

static int32_t counts(rle *r, int64_t a, int64_t b, int64_t c) {
    const int64_t all[3] = {a, b, c};
    return rle_from_counts(r, 4, 3, all, 3, &err);
}

Test(rle, numbers_that_are_no_runs_are_refused) {
    rle r = empty();
    expect_bad(counts(&r, 5, -1, 8), "run 2 of a mask has -1 pixels");
    expect_bad(counts(&r, 5, 4, 4), "more pixels than its picture");
    expect_bad(counts(&r, 5, 4, 2), "1 pixels fewer");
    expect_bad(counts(&r, INT64_MAX, INT64_MAX, 2), "more pixels");
    cr_expect_eq(counts(&r, 5, 4, 3), CVR_OK);
    cr_expect_eq(rle_area(rle_seen(&r)), 4);
    expect_bad(rle_from_counts(&r, 1 << 20, 1 << 20, NULL, 0, &err), "no size of a picture");
    expect_bad(rle_from_counts(&r, 0, 5, NULL, 0, &err), "no size of a picture");
    rle_free(&r);
}

Test(rle, strings_that_are_no_runs_are_refused) {
    rle r = empty();
    expect_bad(rle_from_string(&r, 4, 3, "\x01", 1, &err), "no run lengths after number 0");
    expect_bad(rle_from_string(&r, 4, 3, "P", 1, &err), "no run lengths");         /* another group must follow */
    expect_bad(rle_from_string(&r, 4, 3, "PPPPPPPP0", 9, &err), "no run lengths"); /* more bits than any has */
    expect_bad(rle_from_string(&r, 4, 3, "O", 1, &err), "run 1 of a mask has -1 pixels"); /* a sign */
    expect_bad(rle_from_string(&r, 4, 3, "", 0, &err), "12 pixels fewer");
    cr_expect_eq(rle_from_string(&r, 4, 3, "<", 1, &err), CVR_OK);
    cr_expect_eq(rle_area(rle_seen(&r)), 0);
    rle_free(&r);
}

Test(rle, corners_that_are_none_are_refused) {
    const double two[4] = {0, 0, 1, 1}, far[6] = {0, 0, 1, 1, 1e9, 0}, none[6] = {0, 0, 1, 1, (double)NAN, 0};
    double round_and_round[512];
    rle r = empty();
    expect_bad(rle_from_polygon(&r, 4, 3, two, 2, &err), "2 corners");
    expect_bad(rle_from_polygon(&r, 4, 3, far, 3, &err), "corner at 1e+09");
    expect_bad(rle_from_polygon(&r, 4, 3, none, 3, &err), "corner at nan");
    for (int i = 0; i < 512; i++) round_and_round[i] = i / 2 % 2 ? 1e8 : -1e8;
    expect_bad(rle_from_polygon(&r, 4, 3, round_and_round, 256, &err), "pixels around");
    rle_free(&r);
}
