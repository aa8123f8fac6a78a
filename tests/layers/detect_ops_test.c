/*
 * What golden_test cannot hold of the ops of object detection: the large sets of boxes of SSD, numbers that make no
 * sense, and what must be refused. detect_kernels_test.c has the rest of this program.
 */
#include "detect_case.h"
#include <math.h>

static const char *const backends[] = {"reference", "cpu"};

/* ---- the boxes of SSD300 and SSDlite320 ---- */

typedef struct box_map {
    int64_t cells;
    const char *settings;
} box_map;

static const box_map ssd300[] = {
    {38, "scale=0.07 next_scale=0.15 ratios=2 step=8"},    {19, "scale=0.15 next_scale=0.33 ratios=2,3 step=16"},
    {10, "scale=0.33 next_scale=0.51 ratios=2,3 step=32"}, {5, "scale=0.51 next_scale=0.69 ratios=2,3 step=64"},
    {3, "scale=0.69 next_scale=0.87 ratios=2 step=100"},   {1, "scale=0.87 next_scale=1.05 ratios=2 step=300"}};
static const box_map ssdlite320[] = {
    {20, "scale=0.2 next_scale=0.35 ratios=2,3"}, {10, "scale=0.35 next_scale=0.5 ratios=2,3"},
    {5, "scale=0.5 next_scale=0.65 ratios=2,3"},  {3, "scale=0.65 next_scale=0.8 ratios=2,3"},
    {2, "scale=0.8 next_scale=0.95 ratios=2,3"},  {1, "scale=0.95 next_scale=1 ratios=2,3"}};

/* All boxes of six maps; the first and the last box are checked. */
static void expect_boxes(const box_map *maps, int64_t side, int64_t boxes, const float *first, const float *last) {
    case_machine m = detect_machine("reference", NULL, 1);
    int64_t n = 0;
    for (int k = 0; k < 6; k++) {
        layer_case c = detect_case("default_boxes", "%s", maps[k].settings);
        case_result r;
        cvr_error err = CVR_ERROR_INIT;
        detect_add(&c, CVR_U8, 4, DETECT_SHAPE(1, 1, side, side), NULL);
        detect_add(&c, CVR_F32, 4, DETECT_SHAPE(1, 1, maps[k].cells, maps[k].cells), NULL);
        cr_assert_eq(case_result_of(&m, &c, &r, &err), CVR_OK, "%s", err.message);
        const int64_t rows = r.all[0].type.shape[0];
        const float *box = r.all[0].data;
        for (int i = 0; i < 4 && k == 0; i++) cr_expect_float_eq(box[i], first[i], 1e-4, "box 0, %d: %g", i, box[i]);
        for (int i = 0; i < 4 && k == 5; i++)
            cr_expect_float_eq(box[4 * (rows - 1) + i], last[i], 1e-3, "last box, %d: %g", i, box[4 * (rows - 1) + i]);
        n += rows;
        case_result_clear(&r);
        layer_case_clear(&c);
    }
    machine_close(&m);
    cr_assert_eq(n, boxes, "%lld boxes", (long long)n);
}

Test(detect, default_boxes_of_ssd) {
    expect_boxes(ssd300, 300, 8732, (const float[]){-6.5f, -6.5f, 14.5f, 14.5f},
                 (const float[]){57.7226f, 0, 242.2774f, 300});
    expect_boxes(ssdlite320, 320, 3234, (const float[]){-24, -24, 40, 40},
                 (const float[]){72.2428f, 0, 247.7572f, 320});
}

/* ---- what must be refused ---- */

static void expect_refusal(layer_case *c, const char *says) {
    for (size_t b = 0; b < 2; b++) {
        case_machine m = detect_machine(backends[b], NULL, 2);
        case_result r;
        cvr_error err = CVR_ERROR_INIT;
        cr_expect_neq(case_result_of(&m, c, &r, &err), CVR_OK, "%s: %s %s was taken", m.label, c->layer, c->settings);
        cr_expect_not_null(strstr(err.message, says), "%s: %s: the message is: %s", m.label, c->layer, err.message);
        case_result_clear(&r);
        machine_close(&m);
    }
    layer_case_clear(c);
}

/* Three rows, two objects, and a count that cannot be. */
static void refuse_count(int64_t count) {
    layer_case c = detect_case("match_boxes", "high=0.5 low=0.5");
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(3, 4), NULL);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 4), NULL);
    detect_list(&c, CVR_I64, int64_t, 1, count);
    expect_refusal(&c, "there are 2");
    c = detect_case("match_points", "level_ends=3");
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(3, 4), NULL);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 4), NULL);
    detect_list(&c, CVR_I64, int64_t, 1, count);
    expect_refusal(&c, "there are 2");
    c = detect_case("box_iou", " ");
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(3, 4), NULL);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 4), NULL);
    detect_list(&c, CVR_I64, int64_t, 1, count);
    expect_refusal(&c, "there are 2");
    c = detect_case("append_rows", " ");
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 3, 4), NULL);
    detect_list(&c, CVR_I32, int32_t, 1, 1);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 4), NULL);
    detect_list(&c, CVR_I64, int64_t, 1, count);
    expect_refusal(&c, "there are 2");
}

/* Two cells, and room for two objects of three classes. */
static void refuse_sim_ota(int64_t count, int64_t label, const char *says) {
    layer_case c = detect_case("sim_ota", " ");
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 3), NULL);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 1), NULL);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 4), NULL);
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(2, 4), NULL);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 4), NULL);
    detect_add(&c, CVR_I64, 2, DETECT_SHAPE(1, 2), (const int64_t[]){0, label});
    detect_list(&c, CVR_I64, int64_t, 1, count);
    expect_refusal(&c, says);
}

Test(detect, objects_that_sim_ota_refuses) {
    refuse_sim_ota(3, 0, "has 3 objects; there is room for 2");
    refuse_sim_ota(-1, 0, "has -1 objects");
    refuse_sim_ota(2, 3, "has class 3, but there are 3");
    refuse_sim_ota(2, -1, "has class -1");
}

static void refuse_valid(int32_t valid) {
    layer_case c = detect_case("nms", "iou_threshold=0.5 max_out=2");
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 3, 4), NULL);
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(1, 3), NULL);
    detect_add(&c, CVR_I32, 2, DETECT_SHAPE(1, 3), NULL);
    detect_list(&c, CVR_I32, int32_t, 1, valid);
    expect_refusal(&c, "there are 3");
    c = detect_case("match_boxes", "high=0.5 low=0.5");
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(3, 4), NULL);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 4), NULL);
    detect_list(&c, CVR_I64, int64_t, 1, 2);
    detect_list(&c, CVR_I32, int32_t, 1, valid);
    expect_refusal(&c, "there are 3");
    c = detect_case("append_rows", " ");
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 3, 4), NULL);
    detect_list(&c, CVR_I32, int32_t, 1, valid);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 4), NULL);
    detect_list(&c, CVR_I64, int64_t, 1, 0);
    expect_refusal(&c, "there are 3");
    c = detect_case("cut_match", " ");
    detect_add(&c, CVR_I32, 2, DETECT_SHAPE(1, 3), NULL);
    detect_list(&c, CVR_I32, int32_t, 1, valid);
    expect_refusal(&c, "there are 3");
}

Test(detect, counts_that_cannot_be) {
    static const int64_t counts[] = {3, -1, INT64_MAX, INT64_MIN};
    static const int32_t valid[] = {4, -1, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; i++) refuse_count(counts[i]);
    for (int i = 0; i < 4; i++) refuse_valid(valid[i]);
}

Test(detect, rows_that_are_not_there) {
    static const int32_t rows[] = {3, INT32_MAX};
    for (int i = 0; i < 2; i++)
        for (int shared = 0; shared < 2; shared++) {
            layer_case c = detect_case("gather_rows", "shared=%s", shared ? "yes" : "no");
            const int64_t shape[3] = {1, 3, 4};
            const int32_t index[2] = {0, rows[i]};
            detect_add(&c, CVR_F32, shared ? 2 : 3, shared ? shape + 1 : shape, NULL);
            detect_add(&c, CVR_I32, 2, DETECT_SHAPE(1, 2), index);
            expect_refusal(&c, "of 3");
        }
}

Test(detect, shapes_that_do_not_fit) {
    layer_case c = detect_case("top_k", "k=4");
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(2, 3), NULL);
    expect_refusal(&c, "k is 4");
    c = detect_case("decode_boxes", " ");
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 3, 6), NULL);
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(3, 4), NULL);
    expect_refusal(&c, "no multiple of 4");
    c = detect_case("encode_boxes", "weights=1,1,0,1");
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 3, 4), NULL);
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(3, 4), NULL);
    expect_refusal(&c, "weights[2] is 0");
    c = detect_case("match_boxes", "high=0.3 low=0.5");
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(3, 4), NULL);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 4), NULL);
    detect_list(&c, CVR_I64, int64_t, 1, 2);
    expect_refusal(&c, "above high");
    c = detect_case("match_points", "level_ends=2,1,3");
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(3, 4), NULL);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 4), NULL);
    detect_list(&c, CVR_I64, int64_t, 1, 2);
    expect_refusal(&c, "must rise");
    c = detect_case("match_points", "level_ends=2");
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(3, 4), NULL);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 4), NULL);
    detect_list(&c, CVR_I64, int64_t, 1, 2);
    expect_refusal(&c, "there are 3 anchors");
    c = detect_case("grid_anchors", "sizes=0");
    detect_add(&c, CVR_U8, 4, DETECT_SHAPE(1, 1, 8, 8), NULL);
    detect_add(&c, CVR_F32, 4, DETECT_SHAPE(1, 1, 2, 2), NULL);
    expect_refusal(&c, "above 0");
    c = detect_case("nms", "iou_threshold=0.5 max_out=2");
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 3, 4), NULL);
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(1, 4), NULL);
    expect_refusal(&c, "input 1 is f32 (1,4); it must be f32 (1,3)");
}

/* Of sim_ota every input but the objects' must fit the classes'. */
Test(detect, shapes_that_sim_ota_refuses) {
    static const int64_t good[7][3] = {{2, 9, 3}, {2, 9, 1}, {2, 9, 4}, {9, 4, 0}, {2, 5, 4}, {2, 5, 0}, {2, 0, 0}};
    static const uint32_t rank[7] = {3, 3, 3, 2, 3, 2, 1},
                          type[7] = {CVR_F32, CVR_F32, CVR_F32, CVR_F32, CVR_F32, CVR_I64, CVR_I64};
    for (uint32_t wrong = 1; wrong < 7; wrong++) {
        char says[32];
        layer_case c = detect_case("sim_ota", " ");
        for (uint32_t i = 0; i < 7; i++) {
            int64_t shape[CVR_MAX_RANK] = {good[i][0], good[i][1], good[i][2]};
            if (i == wrong) shape[rank[i] - 1]++;
            detect_add(&c, type[i], rank[i], shape, NULL);
        }
        (void)snprintf(says, sizeof says, "sim_ota: input %u is", wrong);
        expect_refusal(&c, says);
    }
}

/* ---- numbers that are none ---- */

static void expect_numbers(layer_case *c, const int32_t *want, size_t n, const char *what) {
    for (size_t b = 0; b < 2; b++) {
        case_machine m = detect_machine(backends[b], NULL, 2);
        case_result r;
        cvr_error err = CVR_ERROR_INIT;
        cr_assert_eq(case_result_of(&m, c, &r, &err), CVR_OK, "%s: %s", m.label, err.message);
        for (size_t i = 0; i < n; i++)
            cr_expect_eq(((const int32_t *)r.all[0].data)[i], want[i], "%s: %s: number %zu is %d", m.label, what, i,
                         ((const int32_t *)r.all[0].data)[i]);
        case_result_clear(&r);
        machine_close(&m);
    }
    layer_case_clear(c);
}

#define BOXES 6
static const float strange[BOXES][4] = {{0, 0, 10, 10},       {NAN, 0, 10, 10}, {0, 0, INFINITY, INFINITY},
                                        {-INFINITY, 0, 9, 9}, {0, 0, 10, 10},   {5, 5, 5, 9}};

/* Boxes without a size that can be told are no candidates; infinite ones overlap nothing. */
Test(detect, suppression_of_strange_boxes) {
    static const float scores[BOXES] = {0.5f, 0.9f, 0.8f, 0.7f, 0.6f, NAN};
    static const int32_t want[BOXES] = {2, 3, 4, -1, -1, -1};
    for (int side = 1; side < 4; side++) {
        layer_case c = detect_case("nms", "iou_threshold=0.%d max_out=6", side);
        detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, BOXES, 4), strange);
        detect_add(&c, CVR_F32, 2, DETECT_SHAPE(1, BOXES), scores);
        expect_numbers(&c, want, BOXES, "nms");
    }
}

Test(detect, matches_of_strange_boxes) {
    static const int32_t want[BOXES] = {1, -1, -1, -1, 1, -1};
    static const float objects[2][4] = {{NAN, NAN, NAN, NAN}, {0, 0, 10, 10}};
    for (int own = 0; own < 2; own++) {
        layer_case c = detect_case("match_boxes", "high=0.7 low=0.3");
        const int64_t shape[3] = {1, BOXES, 4};
        detect_add(&c, CVR_F32, own ? 3 : 2, own ? shape : shape + 1, strange);
        detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 4), objects);
        detect_list(&c, CVR_I64, int64_t, 1, 2);
        expect_numbers(&c, want, BOXES, "match_boxes");
    }
    layer_case c = detect_case("match_points", "radius=9 level_ends=%d", BOXES);
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(BOXES, 4), strange);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 4), objects);
    detect_list(&c, CVR_I64, int64_t, 1, 2);
    expect_numbers(&c, (const int32_t[]){1, -1, -1, -1, 1, -1}, BOXES, "match_points");
}

Test(detect, top_of_strange_numbers) {
    static const float x[6] = {NAN, -INFINITY, 0.0f, -0.0f, INFINITY, NAN};
    layer_case c = detect_case("top_k", "k=6");
    c.layer[strlen(c.layer) - 1] = '1'; /* the index */
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(1, 6), x);
    expect_numbers(&c, (const int32_t[]){4, 2, 3, 1, 0, 5}, 6, "top_k");
}

/* What is NaN is never the best, unless all of a row is. */
Test(detect, best_of_strange_scores) {
    static const float x[4][3] = {{NAN, 1, 2}, {3, NAN, 3}, {NAN, NAN, NAN}, {NAN, -INFINITY, INFINITY}};
    layer_case c = detect_case("best_class", " ");
    c.layer[strlen(c.layer) - 1] = '1'; /* the class */
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 4, 3), x);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 4, 1), (const float[]){0, 0, 0, NAN});
    expect_numbers(&c, (const int32_t[]){2, 0, 0, 2}, 4, "best_class");
}

/* Cells with a stride of 8 and centres at (4,4), (12,4), (20,4), (28,4). The first object may have the first two: one's
 * score is NaN, which no object takes; the other one's box is, which only overlaps nothing. The object that is NaN
 * takes that cell too, at a higher cost. */
Test(detect, cells_of_strange_objects) {
    static const float anchors[4][4] = {{-4, -4, 4, 4}, {4, -4, 12, 4}, {12, -4, 20, 4}, {20, -4, 28, 4}},
                       deltas[4][4] = {{0, 0, 0, 0}, {NAN, 0, 0, 0}}, scores[4][2] = {{NAN, 0}},
                       objects[2][4] = {{4, 0, 12, 8}, {NAN, NAN, NAN, NAN}};
    layer_case c = detect_case("sim_ota", " ");
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 4, 2), scores);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 4, 1), (const float[]){0, 0, 0, 0});
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 4, 4), deltas);
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(4, 4), anchors);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 2, 4), objects);
    detect_add(&c, CVR_I64, 2, DETECT_SHAPE(1, 2), (const int64_t[]){0, 1});
    detect_list(&c, CVR_I64, int64_t, 1, 2);
    expect_numbers(&c, (const int32_t[]){-1, 0, -1, -1}, 4, "sim_ota");
}

/* ---- nothing ---- */

Test(detect, no_rows_and_no_objects) {
    layer_case c = detect_case("nms", "iou_threshold=0.5 max_out=3");
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(2, 0, 4), NULL);
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(2, 0), NULL);
    expect_numbers(&c, (const int32_t[]){-1, -1, -1, -1, -1, -1}, 6, "nms");
    c = detect_case("match_boxes", "high=0.5 low=0.5 low_quality=yes each_best=yes");
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(3, 4), NULL);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 0, 4), NULL);
    detect_list(&c, CVR_I64, int64_t, 1, 0);
    expect_numbers(&c, (const int32_t[]){-1, -1, -1}, 3, "match_boxes");
    c = detect_case("match_points", "level_ends=3");
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(3, 4), NULL);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 0, 4), NULL);
    detect_list(&c, CVR_I64, int64_t, 1, 0);
    expect_numbers(&c, (const int32_t[]){-1, -1, -1}, 3, "match_points");
    c = detect_case("sim_ota", " ");
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 3, 2), NULL);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 3, 1), NULL);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 3, 4), NULL);
    detect_add(&c, CVR_F32, 2, DETECT_SHAPE(3, 4), NULL);
    detect_add(&c, CVR_F32, 3, DETECT_SHAPE(1, 0, 4), NULL);
    detect_add(&c, CVR_I64, 2, DETECT_SHAPE(1, 0), NULL);
    detect_list(&c, CVR_I64, int64_t, 1, 0);
    expect_numbers(&c, (const int32_t[]){-1, -1, -1}, 3, "sim_ota");
    c = detect_case("gather_rows", "shared=no");
    detect_add(&c, CVR_I32, 2, DETECT_SHAPE(1, 0), NULL);
    detect_add(&c, CVR_I32, 2, DETECT_SHAPE(1, 2), (const int32_t[]){-1, -2});
    expect_numbers(&c, (const int32_t[]){0, 0}, 2, "gather_rows");
}
