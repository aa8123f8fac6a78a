/*
 * cvr_task_desc.merge_tiles of the task "detect": what several tiles have seen is there once, in pixels of the picture,
 * whatever was done to the tiles; what one tile has seen stays as it was.
 */
#include <criterion/criterion.h>
#include <cvr/session.h>
#include <math.h>
#include <stdlib.h>

#define D 4     /* findings of a tile */
#define MOST 12 /* tiles */
#define SIDE 4  /* of masks */

typedef struct keys {
    double conf, iou;
    int64_t max_det;
} keys;

static cvr_plugins *plugins;
static const cvr_task_desc *task;
static keys attrs;
static cvr_task_info info;
static cvr_error err = CVR_ERROR_INIT;

static void open_task(void) {
    static const char *const names[] = {"cat", "dog", "owl"};
    const void *desc;
    cr_assert_eq(cvr_plugins_open(&plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_plugins_find(plugins, CVR_KIND_TASK, "detect", &desc, &err), CVR_OK, "%s", err.message);
    task = desc;
    attrs = (keys){0.25, 1, 300};
    info = (cvr_task_info){.struct_size = sizeof info,
                           .host = cvr_plugins_host(plugins),
                           .n_classes = 3,
                           .class_names = names,
                           .predict_attrs = &attrs};
}
static void close_task(void) {
    cvr_plugins_close(&plugins);
}
TestSuite(tiles, .init = open_task, .fini = close_task);

/* ---- tiles of a picture, and what a perfect network says of them ---- */

typedef struct scene {
    int64_t width, height, n;
    double edges[MOST][4], scale; /* of the canvas that a tile is brought to */
    float boxes[MOST][D][4], scores[MOST][D], masks[MOST][D][SIDE * SIDE];
    int64_t labels[MOST][D];
    cvr_origin origin[MOST], whole;
    bool with_masks;
} scene;

static void start(scene *s, int64_t width, int64_t height, double scale) {
    memset(s, 0, sizeof *s);
    s->width = width;
    s->height = height;
    s->scale = scale;
    for (int i = 0; i < MOST * D; i++) (&s->labels[0][0])[i] = -1;
}

static void add_tile(scene *s, double x1, double y1, double x2, double y2) {
    const double edges[4] = {x1, y1, x2, y2}, g = s->scale, geometry[9] = {g, 0, -g * x1, 0, g, -g * y1, 0, 0, 1};
    cvr_origin *o = &s->origin[s->n];
    memcpy(s->edges[s->n++], edges, sizeof edges);
    *o = (cvr_origin){.struct_size = sizeof *o, .height = s->height, .width = s->width};
    memcpy(o->geometry, geometry, sizeof geometry);
}

/* In one tile, in pixels of the picture. */
static void put(scene *s, int tile, int64_t klass, double score, double x1, double y1, double x2, double y2) {
    const double *e = s->edges[tile], box[4] = {x1, y1, x2, y2};
    int at = 0;
    while (s->labels[tile][at] >= 0) at++;
    for (int k = 0; k < 4; k++) s->boxes[tile][at][k] = (float)((box[k] - e[k & 1]) * s->scale);
    s->scores[tile][at] = (float)score;
    s->labels[tile][at] = klass;
    for (int i = 0; i < SIDE * SIDE; i++) s->masks[tile][at][i] = 1;
}

/* In every tile, as much of it as is there, if that is a third or more. */
static void put_seen(scene *s, int64_t klass, double score, double x1, double y1, double x2, double y2) {
    for (int t = 0; t < s->n; t++) {
        const double *e = s->edges[t], a = fmax(x1, e[0]), b = fmax(y1, e[1]), c = fmin(x2, e[2]), d = fmin(y2, e[3]);
        if (c > a && d > b && (c - a) * (d - b) > 0.2 * (x2 - x1) * (y2 - y1))
            put(s, t, klass, score - 0.01 * t, a, b, c, d);
    }
}

typedef struct answer {
    float boxes[MOST * D][4], scores[MOST * D], masks[MOST * D][SIDE * SIDE];
    int64_t labels[MOST * D];
    int n;
} answer;

static cvr_named_tensor tensor(const char *name, uint32_t dtype, void *data, int64_t n, int64_t rows, int64_t last) {
    return (cvr_named_tensor){
        sizeof(cvr_named_tensor),
        name,
        "",
        {sizeof(cvr_tensor), dtype, last ? 3 : 2, {n, rows, last ? last : 1, 1, 1, 1}, {0}, 0, data},
        NULL};
}

static int32_t merge(scene *s, uint32_t predicts, answer *a) {
    const cvr_named_tensor from[] = {tensor("boxes", CVR_F32, s->boxes, s->n, D, 4),
                                     tensor("scores", CVR_F32, s->scores, s->n, D, 0),
                                     tensor("labels", CVR_I64, s->labels, s->n, D, 0),
                                     tensor("masks", CVR_F32, s->masks, s->n, D, SIDE * SIDE)},
                           to[] = {tensor("boxes", CVR_F32, a->boxes, 1, s->n * D, 4),
                                   tensor("scores", CVR_F32, a->scores, 1, s->n * D, 0),
                                   tensor("labels", CVR_I64, a->labels, 1, s->n * D, 0),
                                   tensor("masks", CVR_F32, a->masks, 1, s->n * D, SIDE * SIDE)};
    const cvr_named_tensor *const in[] = {&from[0], &from[1], &from[2], &from[3]}, *const out[] = {&to[0], &to[1],
                                                                                                   &to[2], &to[3]};
    const cvr_origin *origins[MOST], *whole[1] = {&s->whole};
    for (int i = 0; i < s->n; i++) origins[i] = &s->origin[i];
    const uint32_t n = s->with_masks ? 4 : 3;
    const cvr_batch_view found = {sizeof found, s->n, n, 0, in, origins}, merged = {sizeof merged, 1, n, 0, out, whole};
    const cvr_tiles tiles = {sizeof tiles, &found, &s->edges[0][0], predicts, 0};
    memset(a, 0x55, sizeof *a);
    const int32_t status = task->merge_tiles(&info, &tiles, &merged, &err);
    a->n = 0;
    while (status == CVR_OK && a->n < s->n * D && a->labels[a->n] >= 0) a->n++;
    for (int i = a->n; status == CVR_OK && i < s->n * D; i++) cr_assert_eq(a->labels[i], -1);
    return status;
}

static void expect_box(const answer *a, int i, int64_t klass, double x1, double y1, double x2, double y2) {
    const double box[4] = {x1, y1, x2, y2};
    cr_assert_lt(i, a->n, "%d boxes", a->n);
    cr_expect_eq(a->labels[i], klass);
    for (int k = 0; k < 4; k++)
        cr_expect_float_eq(a->boxes[i][k], box[k], 0.01, "box %d, side %d: %g, not %g", i, k, (double)a->boxes[i][k],
                           box[k]);
}

/* 2 x 2 tiles of 100 with 20 in common, enlarged */
static void grid(scene *s) {
    start(s, 180, 180, 2.5);
    for (int i = 0; i < 4; i++) add_tile(s, i % 2 * 80, i / 2 * 80, i % 2 * 80 + 100, i / 2 * 80 + 100);
}

/* ---- tests ---- */

Test(tiles, each_object_is_found_once) {
    scene s;
    answer a;
    grid(&s);
    put_seen(&s, 0, 0.9, 10, 10, 40, 30);    /* in one tile */
    put_seen(&s, 1, 0.8, 85, 20, 96, 35);    /* whole in two */
    put_seen(&s, 2, 0.7, 84, 84, 97, 98);    /* whole in all four */
    put_seen(&s, 0, 0.6, 88, 120, 130, 150); /* whole in one, cut in another */
    cr_assert_eq(merge(&s, 1, &a), CVR_OK, "%s", err.message);
    cr_assert_eq(a.n, 4, "%d boxes", a.n);
    expect_box(&a, 0, 0, 10, 10, 40, 30);
    expect_box(&a, 1, 1, 85, 20, 96, 35);
    expect_box(&a, 2, 2, 84, 84, 97, 98);
    expect_box(&a, 3, 0, 88, 120, 130, 150);
}

Test(tiles, parts_of_what_is_larger_than_the_overlap_are_joined) {
    scene s;
    answer a;
    grid(&s);
    put_seen(&s, 0, 0.9, 40, 20, 150, 50);  /* across two tiles */
    put_seen(&s, 1, 0.8, 50, 60, 140, 150); /* across all four */
    cr_assert_eq(merge(&s, 1, &a), CVR_OK, "%s", err.message);
    cr_assert_eq(a.n, 2, "%d boxes", a.n);
    expect_box(&a, 0, 0, 40, 20, 150, 50);
    expect_box(&a, 1, 1, 50, 60, 140, 150);
    /* of another class, or of another height, they are two */
    grid(&s);
    put(&s, 0, 0, 0.9, 40, 20, 100, 50);
    put(&s, 1, 1, 0.8, 80, 20, 150, 50);
    put(&s, 2, 0, 0.7, 40, 130, 100, 170);
    put(&s, 3, 0, 0.6, 80, 120, 150, 135);
    cr_assert_eq(merge(&s, 1, &a), CVR_OK, "%s", err.message);
    cr_assert_eq(a.n, 4, "%d boxes", a.n);
}

Test(tiles, an_object_over_a_whole_row_is_one) {
    scene s;
    answer a;
    start(&s, 260, 100, 1);
    for (int i = 0; i < 3; i++) add_tile(&s, i * 80, 0, i * 80 + 100, 100);
    put_seen(&s, 2, 0.5, 12, 40, 250, 60);
    cr_assert_eq(merge(&s, 1, &a), CVR_OK, "%s", err.message);
    cr_assert_eq(a.n, 1, "%d boxes", a.n);
    expect_box(&a, 0, 2, 12, 40, 250, 60);
}

Test(tiles, a_tile_keeps_what_it_has) {
    scene s;
    answer a;
    grid(&s);
    put(&s, 0, 0, 0.9, 10, 10, 50, 50); /* the network has left both */
    put(&s, 0, 0, 0.8, 12, 10, 50, 50);
    put(&s, 0, 0, 0.2, 5, 60, 9, 70);
    cr_assert_eq(merge(&s, 1, &a), CVR_OK, "%s", err.message);
    cr_assert_eq(a.n, 2); /* predict.conf */
    cr_assert_eq(merge(&s, 0, &a), CVR_OK, "%s", err.message);
    cr_assert_eq(a.n, 3); /* to be measured: all count */
    cr_expect_float_eq(a.scores[2], 0.2f, 1e-6f);
}

Test(tiles, the_tile_that_sees_all_of_it_tells) {
    scene s;
    answer a;
    grid(&s);
    put(&s, 0, 0, 0.9, 82, 20, 100, 40); /* cut at 100 */
    put(&s, 1, 0, 0.6, 82, 20, 112, 40);
    cr_assert_eq(merge(&s, 1, &a), CVR_OK, "%s", err.message);
    cr_assert_eq(a.n, 1, "%d boxes", a.n);
    expect_box(&a, 0, 0, 82, 20, 112, 40);
    attrs.iou = 0.9; /* predict.iou: other boxes overlap by less */
    grid(&s);
    put(&s, 0, 0, 0.9, 82, 20, 96, 40);
    put(&s, 1, 0, 0.6, 84, 20, 96, 40);
    cr_assert_eq(merge(&s, 1, &a), CVR_OK, "%s", err.message);
    cr_assert_eq(a.n, 2, "%d boxes", a.n);
}

/* A sleeve looks like a trouser leg. */
Test(tiles, a_part_may_look_like_something_else) {
    scene s;
    answer a;
    grid(&s);
    put(&s, 0, 1, 0.8, 86, 20, 100, 40); /* cut at 100 */
    put(&s, 1, 0, 0.6, 86, 18, 120, 42);
    put(&s, 1, 2, 0.5, 90, 25, 98, 35); /* whole, and of the same tile */
    cr_assert_eq(merge(&s, 1, &a), CVR_OK, "%s", err.message);
    cr_assert_eq(a.n, 2, "%d boxes", a.n);
    expect_box(&a, 0, 0, 86, 18, 120, 42);
    expect_box(&a, 1, 2, 90, 25, 98, 35);
}

/* So large that the tile that has all of it takes it for cut on both sides. */
Test(tiles, an_object_that_fills_its_tile_is_one) {
    scene s;
    answer a;
    start(&s, 260, 100, 1);
    for (int i = 0; i < 3; i++) add_tile(&s, i * 80, 0, i * 80 + 100, 100);
    put(&s, 0, 2, 0.9, 82, 40, 100, 60);
    put(&s, 1, 2, 0.6, 82, 40, 178, 60);
    put(&s, 2, 2, 0.8, 160, 40, 178, 60);
    cr_assert_eq(merge(&s, 1, &a), CVR_OK, "%s", err.message);
    cr_assert_eq(a.n, 1, "%d boxes", a.n);
    expect_box(&a, 0, 2, 82, 40, 178, 60);
}

Test(tiles, masks_go_with_their_boxes) {
    scene s;
    answer a;
    grid(&s);
    s.with_masks = true;
    put(&s, 0, 0, 0.9, 10, 10, 40, 30);
    s.masks[0][0][3] = 0.25f;
    put(&s, 0, 1, 0.8, 20, 40, 100, 60); /* left: above all of it, right: below nothing */
    put(&s, 1, 1, 0.7, 80, 40, 180, 60);
    for (int i = 0; i < SIDE * SIDE; i++) s.masks[0][1][i] = i < SIDE * SIDE / 2, s.masks[1][0][i] = 0;
    cr_assert_eq(merge(&s, 1, &a), CVR_OK, "%s", err.message);
    cr_assert_eq(a.n, 2, "%d boxes", a.n);
    expect_box(&a, 1, 1, 20, 40, 180, 60);
    cr_expect_float_eq(a.masks[0][3], 0.25f, 0);
    /* the hull is 160 wide, of which the left half is the first part's: two of four columns, and the upper half of them
     */
    for (int i = 0; i < SIDE * SIDE; i++)
        cr_expect_float_eq(a.masks[1][i], i % SIDE < SIDE / 2 && i < SIDE * SIDE / 2 ? 1 : 0, 0, "mask, %d", i);
}

Test(tiles, what_no_network_may_say) {
    scene s;
    answer a;
    grid(&s);
    put(&s, 3, 3, 0.9, 100, 100, 120, 120);
    cr_assert_eq(merge(&s, 1, &a), CVR_ERR_INVALID);
    cr_assert_str_eq(err.message, "the network found class 3; there are 3");
    grid(&s);
    put(&s, 3, 1, 0.9, NAN, 100, 120, 120);
    cr_assert_eq(merge(&s, 1, &a), CVR_ERR_NUMERIC);
    grid(&s);
    cr_assert_eq(merge(&s, 1, &a), CVR_OK);
    cr_assert_eq(a.n, 0);
}

/* As many boxes in one place as a network may give with no least score: the best 1000 of a tile are held against each
 * other. */
Test(tiles, many_boxes_in_one_place) {
    enum { MANY = 60000 };
    static float boxes[2][MANY][4], scores[2][MANY], merged_boxes[2 * MANY][4], merged_scores[2 * MANY];
    static int64_t labels[2][MANY], merged_labels[2 * MANY];
    static scene s;
    start(&s, 180, 100, 1);
    add_tile(&s, 0, 0, 100, 100);
    add_tile(&s, 80, 0, 180, 100);
    for (int t = 0; t < 2; t++) {
        for (int i = 0; i < MANY; i++) {
            const float box[4] = {t ? 4 : 84, 10, t ? 15 : 95, 20};
            memcpy(boxes[t][i], box, sizeof box);
            scores[t][i] = 1e-6f * (float)(i * 7919 % MANY + 1);
        }
    }
    attrs.conf = 0;
    const cvr_named_tensor from[] = {tensor("boxes", CVR_F32, boxes, 2, MANY, 4),
                                     tensor("scores", CVR_F32, scores, 2, MANY, 0),
                                     tensor("labels", CVR_I64, labels, 2, MANY, 0)},
                           to[] = {tensor("boxes", CVR_F32, merged_boxes, 1, 2 * MANY, 4),
                                   tensor("scores", CVR_F32, merged_scores, 1, 2 * MANY, 0),
                                   tensor("labels", CVR_I64, merged_labels, 1, 2 * MANY, 0)};
    const cvr_named_tensor *const in[] = {&from[0], &from[1], &from[2]}, *const out[] = {&to[0], &to[1], &to[2]};
    const cvr_origin *origins[2] = {&s.origin[0], &s.origin[1]}, *whole[1] = {&s.whole};
    const cvr_batch_view found = {sizeof found, 2, 3, 0, in, origins}, merged = {sizeof merged, 1, 3, 0, out, whole};
    const cvr_tiles tiles = {sizeof tiles, &found, &s.edges[0][0], 1, 0};
    cr_assert_eq(task->merge_tiles(&info, &tiles, &merged, &err), CVR_OK, "%s", err.message);
    int64_t n = 0;
    while (n < 2 * MANY && merged_labels[n] >= 0) n++;
    cr_expect_eq(n, 1000, "%lld: the second tile has seen what the first has", (long long)n);
    cr_expect_float_eq(merged_scores[0], 1e-6 * MANY, 1e-6);
}
