/*
 * Average precision against pycocotools' COCOeval (tests/parity/coco_ap.py): the check set with its traps, and made-up
 * sets of boxes and of masks; VOC's in both forms; what there is of nothing; and pictures in any order.
 */
#include "../../plugins/tasks/detect/voc_ap.h"
#include "detect_sets.h"
#include "support/test_host.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#define SETS 50

static test_host h;
static cvr_error err;

static coco_ap *open_ap(int64_t n_classes, const int64_t most[COCO_MOSTS], int32_t masks) {
    coco_settings s = {&h.host, n_classes, {most[0], most[1], most[2]}, masks};
    coco_ap *c;
    cr_assert_eq(coco_open(&c, &s, &err), CVR_OK, "%s", err.message);
    return c;
}

static void add(coco_ap *c, const coco_picture *p) {
    cr_assert_eq(coco_add(c, p, &err), CVR_OK, "%s", err.message);
}

/* ---- pycocotools' numbers ---- */

/* Of the line NAME KIND; as many as it has. */
static int golden(const char *name, const char *kind, double numbers[16]) {
    FILE *const f = fopen(CVR_GOLDEN_DIR "/coco_ap.txt", "r");
    char line[512], is[32], of[32];
    int n = 0, at;
    cr_assert(f);
    while (n == 0 && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%31s %31s%n", is, of, &at) != 2 || strcmp(is, name) != 0 || strcmp(of, kind) != 0) continue;
        for (char *p = line + at, *end; n < 16; p = end, n++) {
            numbers[n] = strtod(p, &end);
            if (end == p) break;
        }
    }
    (void)fclose(f);
    cr_assert(n > 0, "%s %s is in no line", name, kind);
    return n;
}

static void agree(const coco_ap *c, const char *name, const char *kind) {
    double expected[16], stats[COCO_STATS];
    cr_assert_geq(golden(name, kind, expected), COCO_STATS);
    coco_stats(c, stats);
    for (int i = 0; i < COCO_STATS; i++)
        cr_expect_float_eq(stats[i], expected[i], 1e-9, "%s %s: number %d is %.12g, pycocotools has %.12g", name, kind,
                           i, stats[i], expected[i]);
}

/* ---- the check set: pictures 7, 3, 5; classes 1, 4, 9 are 0, 1, 2 here ---- */

#define OBJECT(id_, class_, x_, y_, w_, h_, crowd_)                                                                    \
    { .id = id_, .klass = class_, .box = {x_, y_, w_, h_}, .area = (w_) * (h_), .crowd = crowd_ }
#define FOUND(class_, x_, y_, w_, h_, score_)                                                                          \
    {                                                                                                                  \
        .klass = class_, .score = score_, .box = { x_, y_, w_, h_ }                                                    \
    }

static void count_check_set(coco_ap *c, int64_t first_id) {
    const coco_truth of7[] = {OBJECT(6, 1, 20, 20, 50, 20, 0), OBJECT(7, 1, 20, 45, 50, 20, 0)},
                     of3[] = {OBJECT(first_id, 0, 10, 10, 40, 40, 0), OBJECT(2, 0, 60, 60, 20, 30, 0),
                              OBJECT(3, 1, 100, 100, 90, 99, 0)},
                     of5[] = {OBJECT(4, 0, 0, 0, 100, 100, 1), OBJECT(5, 0, 120, 120, 30, 30, 0)};
    const coco_found in7[] = {FOUND(1, 22, 21, 50, 20, .7), FOUND(1, 20, 20, 50, 45, .9), FOUND(2, 0, 0, 10, 10, .9)},
                     in3[] = {FOUND(0, 12, 10, 40, 40, .9), FOUND(0, 11, 11, 40, 40, .8), FOUND(0, 60, 62, 20, 30, .6),
                              FOUND(1, 95, 105, 90, 90, .7)},
                     in5[] = {FOUND(0, 10, 10, 30, 30, .85), FOUND(0, 120, 118, 30, 30, .6),
                              FOUND(0, 150, 20, 20, 20, .6)};
    const coco_picture pictures[] = {{7, in7, of7, 3, 2}, {3, in3, of3, 4, 3}, {5, in5, of5, 3, 2}};
    for (int i = 0; i < 3; i++) add(c, &pictures[i]);
    coco_count(c);
}

Test(detect_ap, check_set) {
    const int64_t most[] = {1, 10, 100};
    double classes[16];
    test_host_init(&h);
    coco_ap *const c = open_ap(3, most, 0);
    count_check_set(c, 1);
    agree(c, "check", "box");
    (void)golden("check", "class", classes);
    for (int64_t k = 0; k < 3; k++)
        cr_expect_float_eq(coco_class_ap(c, k, -1), classes[k], 1e-9, "class %lld: %.12g", (long long)k,
                           coco_class_ap(c, k, -1));
    cr_expect_eq(coco_id_zero(c), 0);
    cr_expect_float_eq(coco_class_ar(c, 1, 0), 2. / 3, 1e-9, "%.12g", coco_class_ar(c, 1, 0));
    cr_expect_eq(coco_class_ar(c, 2, -1), -1);
    coco_close(c);
    cr_expect_eq(h.live, 0);
}

/* pycocotools takes an object with the id 0 for one that was not found. */
Test(detect_ap, id_zero) {
    const int64_t most[] = {1, 10, 100};
    test_host_init(&h);
    coco_ap *const c = open_ap(3, most, 0);
    count_check_set(c, 0);
    agree(c, "id0", "box");
    cr_expect_eq(coco_id_zero(c), 1);
    coco_close(c);
}

/* Its first number is that of 100 detections, whatever was asked for. */
Test(detect_ap, most_50) {
    const int64_t most[] = {1, 10, 50};
    test_host_init(&h);
    coco_ap *const c = open_ap(3, most, 0);
    count_check_set(c, 1);
    agree(c, "most50", "box");
    coco_close(c);
}

/* ---- made-up sets ---- */

static void check_set(const detect_set *s, const char *name, int32_t masks, int backwards) {
    coco_ap *const c = open_ap(s->n_classes, s->most, masks);
    for (uint64_t i = 0; i < s->n_pictures; i++) {
        add(c, &s->pictures[backwards ? s->n_pictures - 1 - i : i]);
        if (i == 1) coco_count(c); /* in between, too */
    }
    coco_count(c);
    agree(c, name, masks ? "mask" : "box");
    coco_close(c);
}

static void check_voc(const detect_set *s, const char *name) {
    double expected[16], voc07, voc10;
    voc_ap *v;
    cr_assert_eq(golden(name, "box", expected), COCO_STATS + 2);
    cr_assert_eq(voc_open(&v, &h.host, s->n_classes, &err), CVR_OK, "%s", err.message);
    for (uint64_t i = 0; i < s->n_pictures; i++)
        cr_assert_eq(voc_add(v, &s->pictures[i], &err), CVR_OK, "%s", err.message);
    voc_count(v);
    voc_means(v, &voc07, &voc10);
    voc_close(v);
    if (isnan(expected[COCO_STATS])) {
        cr_expect(isnan(voc07) && isnan(voc10));
        return;
    }
    cr_expect_float_eq(voc07, expected[COCO_STATS], 1e-9, "set %s: VOC07 %.12g", name, voc07);
    cr_expect_float_eq(voc10, expected[COCO_STATS + 1], 1e-9, "set %s: VOC10 %.12g", name, voc10);
}

Test(detect_ap, made_up_sets) {
    detect_set *const s = malloc(sizeof *s);
    char name[8];
    test_host_init(&h);
    for (uint64_t seed = 0; seed < SETS; seed++) {
        (void)snprintf(name, sizeof name, "%d", (int)seed);
        detect_set_make(s, seed);
        check_set(s, name, 0, seed % 2);
        check_set(s, name, 1, seed % 3 == 0);
        check_voc(s, name);
        detect_set_free(s);
    }
    free(s);
    cr_expect_eq(h.live, 0);
}

/* ---- nothing ---- */

Test(detect_ap, nothing) {
    const int64_t most[] = {1, 10, 100};
    double stats[COCO_STATS], voc07, voc10;
    voc_ap *v;
    test_host_init(&h);
    coco_ap *const c = open_ap(2, most, 0);
    coco_count(c);
    coco_stats(c, stats);
    for (int i = 0; i < COCO_STATS; i++) cr_expect_eq(stats[i], -1);
    const coco_truth one = OBJECT(1, 0, 1, 1, 5, 5, 0), other = OBJECT(2, 7, 1, 1, 5, 5, 0);
    const coco_picture missed = {1, NULL, &one, 0, 1}, foreign = {2, NULL, &other, 0, 1};
    add(c, &missed);
    add(c, &foreign);
    coco_count(c);
    cr_expect_eq(coco_class_ap(c, 0, -1), 0);
    cr_expect_eq(coco_class_ap(c, 1, -1), -1);
    cr_expect_eq(coco_recall(c, 0, 0, 0, 2), 0);
    cr_expect_eq(coco_recall(c, 0, 0, 3, 2), -1, "there is no large object");
    cr_expect_eq(coco_precision(c, 0, 0, 0, 0, 2), 0);
    coco_close(c);
    cr_assert_eq(voc_open(&v, &h.host, 2, &err), CVR_OK);
    voc_count(v);
    voc_means(v, &voc07, &voc10);
    cr_expect(isnan(voc07) && isnan(voc10));
    voc_close(v);
}

/* Difficult objects are neither found nor missed; the +1 of whole pixels decides. */
Test(detect_ap, voc_rules) {
    double voc07, voc10;
    voc_ap *v;
    test_host_init(&h);
    coco_truth objects[] = {OBJECT(1, 0, 10, 10, 9, 9, 0), OBJECT(2, 0, 50, 50, 9, 9, 0)};
    /* 10 x 10 pixels each: 10 x 5 pixels are half of them, which is not over 0.5 */
    const coco_found found[] = {FOUND(0, 10, 10, 9, 4, .9), FOUND(0, 10, 10, 9, 5, .8), FOUND(0, 50, 50, 9, 9, .7),
                                FOUND(0, 10, 10, 9, 9, .6)};
    const coco_picture p = {1, found, objects, 4, 2};
    objects[1].ignored = 1;
    cr_assert_eq(voc_open(&v, &h.host, 1, &err), CVR_OK);
    cr_assert_eq(voc_add(v, &p, &err), CVR_OK);
    voc_count(v);
    voc_class(v, 0, &voc07, &voc10);
    cr_expect_float_eq(voc10, 0.5, 1e-12, "%.12g", voc10); /* wrong, right, neither, wrong: found twice */
    cr_expect_float_eq(voc07, 0.5, 1e-12, "%.12g", voc07);
    voc_close(v);
}
