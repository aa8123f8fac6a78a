/*
 * The task "segment": exact metrics from small confusion matrices, of all and of each class; pixels that do not count;
 * masks brought back to the size of their picture; and what it refuses.
 */
#include <criterion/criterion.h>
#include <cvr/session.h>
#include <math.h>
#include <stdlib.h>

static cvr_error err;

typedef struct results {
    double pixel_accuracy, mean_accuracy, miou, dice;
    int n;
} results;

static void keep(void *ctx, const char *name, double value) {
    results *r = ctx;
    r->n++;
    if (strcmp(name, "pixel_accuracy") == 0) r->pixel_accuracy = value;
    if (strcmp(name, "mean_accuracy") == 0) r->mean_accuracy = value;
    if (strcmp(name, "miou") == 0) r->miou = value;
    if (strcmp(name, "dice") == 0) r->dice = value;
}

static void keep_class(void *ctx, int64_t k, const char *name, double value) {
    double(*const all)[3] = ctx;
    all[k][strcmp(name, "accuracy") == 0 ? 0 : strcmp(name, "iou") == 0 ? 1 : 2] = value;
}

typedef struct segment {
    cvr_plugins *plugins;
    const cvr_task_desc *task;
    cvr_task_info info;
    void *metrics;
} segment;

static void open_segment(segment *s, int64_t n_classes) {
    static const char *const names[] = {"sky", "\"sea\"", "land", "none"};
    const cvr_image_service *images;
    const void *desc;
    cvr_error_init(&err);
    cr_assert_eq(cvr_plugins_open(&s->plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_plugins_image_service(s->plugins, &images, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_plugins_find(s->plugins, CVR_KIND_TASK, "segment", &desc, &err), CVR_OK, "%s", err.message);
    s->task = desc;
    s->info = (cvr_task_info){.struct_size = sizeof s->info,
                              .host = cvr_plugins_host(s->plugins),
                              .n_classes = n_classes,
                              .class_names = names};
    cr_assert_eq(s->task->metrics_open(&s->info, &s->metrics, &err), CVR_OK, "%s", err.message);
}

static void close_segment(segment *s) {
    s->task->metrics_close(s->metrics);
    cvr_plugins_close(&s->plugins);
}

/* One picture of 2 x 3 pixels with its mask; `scores` NULL: its metrics are updated. */
static int32_t tell(segment *s, int64_t n_classes, const float *logits, const int64_t *mask, double *scores) {
    const cvr_named_tensor output = {
        sizeof output,
        "output",
        "",
        {sizeof(cvr_tensor), CVR_F32, 4, {1, n_classes, 2, 3, 1, 1}, {0}, n_classes, (void *)(uintptr_t)logits},
        NULL};
    const cvr_named_tensor target = {
        sizeof target,
        "mask",
        CVR_FIELD_MASK,
        {sizeof(cvr_tensor), CVR_I64, 3, {1, 2, 3, 1, 1, 1}, {0}, 0, (void *)(uintptr_t)mask},
        NULL};
    const cvr_named_tensor *const results[] = {&output}, *const wanted[] = {&target};
    const cvr_batch_view outputs = {.struct_size = sizeof outputs, .n = 1, .n_fields = 1, .fields = results};
    const cvr_batch_view targets = {.struct_size = sizeof targets, .n = 1, .n_fields = mask ? 1 : 0, .fields = wanted};
    const cvr_task_batch batch = {sizeof batch, &outputs, &targets};
    if (scores) return s->task->scores(&s->info, &batch, scores, &err);
    return s->task->metrics_update(s->metrics, &batch, &err);
}

/* Logits (N,H,W,C) in memory. `mask` NULL: there are no targets. */
static int32_t update_of(segment *s, int64_t n_classes, const float *logits, const int64_t *mask) {
    return tell(s, n_classes, logits, mask, NULL);
}
static int32_t update(segment *s, const float *logits, const int64_t *mask) {
    return tell(s, 3, logits, mask, NULL);
}
static int32_t score_of(segment *s, const float *logits, const int64_t *mask, double *score) {
    return tell(s, 3, logits, mask, score);
}

/* Predictions 0 1 1 / 2 0 (tie of 0 and 2: the first) 0 */
static const float logits[18] = {5, 1, 1, 0, 2, 1, 0, 2, 1, -3, -2, -1, 4, 1, 4, 9, 1, 1};

Test(segment, metrics) {
    segment s;
    results r = {.n = 0};
    double classes[3][3];
    static const int64_t mask[6] = {0, 1, 0, 2, 255, 0}, other[6] = {255, 255, 255, 255, 255, 255};
    open_segment(&s, 3);
    cr_assert_eq(update(&s, logits, mask), CVR_OK, "%s", err.message);
    cr_assert_eq(update(&s, logits, other), CVR_OK, "%s", err.message);
    s.task->metrics_result(s.metrics, keep, &r);
    /* class 0: right 2 of truth 3, predicted 2; class 1: right 1, truth 1, predicted 2; class 2: right 1 of 1 */
    cr_assert_float_eq(r.pixel_accuracy, 4.0 / 5, 1e-12);
    cr_assert_float_eq(r.mean_accuracy, (2.0 / 3 + 1 + 1) / 3, 1e-12);
    cr_assert_float_eq(r.miou, (2.0 / 3 + 1.0 / 2 + 1) / 3, 1e-12);
    cr_assert_float_eq(r.dice, (4.0 / 5 + 2.0 / 3 + 1) / 3, 1e-12);
    static const uint64_t matrix[9] = {2, 1, 0, 0, 1, 0, 0, 0, 1};
    cr_assert_arr_eq(s.task->metrics_matrix(s.metrics), matrix, sizeof matrix);
    s.task->metrics_per_class(s.metrics, keep_class, classes);
    cr_assert_float_eq(classes[0][0], 2.0 / 3, 1e-12);
    cr_assert_float_eq(classes[1][1], 1.0 / 2, 1e-12);
    cr_assert_float_eq(classes[2][2], 1, 1e-12);
    close_segment(&s);
}

/* A class that is nowhere does not count, and has no numbers of its own; without any pixel everything is 0. */
Test(segment, absent_classes) {
    segment s;
    results r = {.n = 0};
    double classes[3][3];
    static const int64_t mask[6] = {0, 255, 255, 255, 0, 0};
    open_segment(&s, 3);
    cr_assert_eq(update(&s, logits, NULL), CVR_OK, "%s", err.message);
    s.task->metrics_result(s.metrics, keep, &r);
    cr_assert(r.n == 4 && r.pixel_accuracy == 0 && r.miou == 0);
    cr_assert_eq(update(&s, logits, mask), CVR_OK, "%s", err.message);
    s.task->metrics_result(s.metrics, keep, &r);
    cr_assert_eq(r.pixel_accuracy, 1);
    cr_assert_eq(r.miou, 1);
    s.task->metrics_per_class(s.metrics, keep_class, classes);
    cr_assert(isnan(classes[1][0]) && isnan(classes[2][1]) && classes[0][2] == 1);
    close_segment(&s);
}

/* The notes' example: nine pixels in three pictures, the fourth class nowhere. IoU .5 .5 .33333, its mean over the
 * three .44444, pixels .625. */
Test(segment, the_mean_leaves_out_what_is_absent) {
    segment s;
    results r = {.n = 0};
    double classes[4][3];
    static const int64_t truth[12] = {0, 0, 1, 1, 2, 2, 255, 0, 1, 255, 255, 255},
                         said[12] = {0, 1, 1, 1, 0, 2, 2, 0, 2, 0, 0, 0};
    static const uint64_t matrix[16] = {2, 1, 0, 0, 0, 2, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0};
    open_segment(&s, 4);
    for (int half = 0; half < 2; half++) {
        float scores[6 * 4] = {0};
        for (int i = 0; i < 6; i++) scores[4 * i + said[6 * half + i]] = 1;
        cr_assert_eq(update_of(&s, 4, scores, truth + 6 * half), CVR_OK, "%s", err.message);
    }
    s.task->metrics_result(s.metrics, keep, &r);
    s.task->metrics_per_class(s.metrics, keep_class, classes);
    cr_assert_arr_eq(s.task->metrics_matrix(s.metrics), matrix, sizeof matrix);
    cr_expect_float_eq(r.miou, 4.0 / 9, 1e-12);
    cr_expect_float_eq(r.pixel_accuracy, 0.625, 1e-12);
    cr_expect_float_eq(classes[2][1], 1.0 / 3, 1e-12);
    cr_expect(isnan(classes[3][0]) && isnan(classes[3][1]) && isnan(classes[3][2]));
    close_segment(&s);
}

/* Of each picture by itself: pixels that do not count change nothing, and without any there is no score. */
Test(segment, scores_of_pictures) {
    segment s;
    double score = 0;
    static const int64_t mask[6] = {0, 1, 0, 2, 255, 0}, none[6] = {255, 255, 255, 255, 255, 255};
    open_segment(&s, 3);
    cr_assert_str_eq(s.task->score_name, "iou");
    cr_assert_eq(score_of(&s, logits, mask, &score), CVR_OK, "%s", err.message);
    cr_expect_float_eq(score, (2.0 / 3 + 1.0 / 2 + 1) / 3, 1e-12);
    cr_assert_eq(score_of(&s, logits, none, &score), CVR_OK, "%s", err.message);
    cr_expect(isnan(score));
    close_segment(&s);
}

Test(segment, refuses) {
    segment s;
    static const int64_t mask[6] = {0, 1, 3, 2, 255, 0};
    open_segment(&s, 3);
    cr_assert_eq(update(&s, logits, mask), CVR_ERR_INVALID);
    cr_assert(strstr(err.message, "class 3"), "%s", err.message);
    close_segment(&s);
}

/* ---- prediction ---- */

typedef struct told {
    cvr_prediction_sink sink;
    char json[1024], csv[256];
    uint8_t *png, *overlay;
    uint64_t n, overlay_n;
} told;

static void on_json(const cvr_prediction_sink *s, const char *text) {
    (void)snprintf(((told *)s->ctx)->json, 1024, "%s", text);
}
static void on_csv(const cvr_prediction_sink *s, const char *text) {
    told *t = s->ctx;
    const size_t n = strlen(t->csv);
    (void)snprintf(t->csv + n, sizeof t->csv - n, "%s;", text);
}
static void on_line(const cvr_prediction_sink *s, const char *text) {
    (void)s, (void)text;
}
static int32_t on_file(const cvr_prediction_sink *s, const char *suffix, const void *bytes, uint64_t n,
                       const char **name, cvr_error *e) {
    told *t = s->ctx;
    (void)e;
    const bool mask = strcmp(suffix, "_mask.png") == 0;
    cr_assert(mask || strcmp(suffix, "_overlay.png") == 0, "%s", suffix);
    uint8_t *const copy = malloc(n);
    memcpy(copy, bytes, n);
    *(mask ? &t->png : &t->overlay) = copy;
    *(mask ? &t->n : &t->overlay_n) = n;
    if (name) *name = mask ? "x_mask.png" : "x_overlay.png";
    return CVR_OK;
}

static void *plain_alloc(void *ctx, uint64_t bytes) {
    (void)ctx;
    return malloc(bytes);
}

/* A picture of 4 x 8 whose right half was doubled in its height and narrowed to 3 columns would be nobody's; this one
 * was 4 x 6, halved to 2 x 3, and of it the network saw 2 x 3 pixels moved right by one: the first column is cut off.
 */
Test(segment, masks_have_the_size_of_the_picture) {
    segment s;
    uint8_t pixels[4 * 8 * 3];
    const cvr_image picture = {sizeof picture, 8, 4, 3, pixels, NULL};
    told t = {.sink = {sizeof t.sink, &t, on_json, on_csv, on_line, on_file, &picture}};
    const cvr_image_service *images;
    cvr_image shown = {.struct_size = sizeof shown};
    const cvr_named_tensor output = {
        sizeof output,
        "output",
        "",
        {sizeof(cvr_tensor), CVR_F32, 4, {1, 3, 2, 3, 1, 1}, {0}, 3, (void *)(uintptr_t)logits},
        NULL};
    const cvr_named_tensor *const results[] = {&output};
    const cvr_origin origin = {
        .struct_size = sizeof origin, .height = 4, .width = 8, .geometry = {0.5, 0, -1, 0, 0.5, 0, 0, 0, 1}};
    const cvr_origin *const origins[] = {&origin};
    const cvr_batch_view outputs = {
        .struct_size = sizeof outputs, .n = 1, .n_fields = 1, .fields = results, .origins = origins};
    /* 0 1 1 / 2 0 0, bilinear between the logits; what was cut off is 255, VOC's near white */
    static const int classes[4][8] = {{255, 255, 0, 0, 1, 1, 1, 1},
                                      {255, 255, 0, 0, 0, 1, 0, 0},
                                      {255, 255, 2, 2, 2, 0, 0, 0},
                                      {255, 255, 2, 2, 2, 0, 0, 0}};
    static const uint8_t colours[3][3] = {{0, 0, 0}, {128, 0, 0}, {0, 128, 0}}, none[3] = {224, 224, 192};
    open_segment(&s, 3);
    for (int i = 0; i < 32; i++) memcpy(pixels + 3 * i, (const uint8_t[]){200, 100, 50}, 3);
    cr_assert_eq(s.task->predict(&s.info, &outputs, 0, &t.sink, &err), CVR_OK, "%s", err.message);
    cr_expect_str_eq(t.csv, "0,\"sky\",0.541667;1,\"\"\"sea\"\"\",0.208333;2,\"land\",0.250000;");
    cr_expect(
        strstr(t.json, "\"mask\": \"x_mask.png\", \"classes\": [{\"index\": 0, \"name\": \"sky\", \"share\": 0.5416"),
        "%s", t.json);
    cr_expect(strstr(t.json, "\"name\": \"\\\"sea\\\"\""), "%s", t.json);
    cr_assert_eq(cvr_plugins_image_service(s.plugins, &images, &err), CVR_OK);
    cr_assert_eq(images->decode(images, t.png, t.n, 3, plain_alloc, NULL, &shown, &err), CVR_OK, "%s", err.message);
    cr_assert(shown.height == 4 && shown.width == 8);
    for (int i = 0; i < 32; i++) {
        const uint8_t *want = classes[i / 8][i % 8] == 255 ? none : colours[classes[i / 8][i % 8]];
        cr_expect(memcmp(shown.data + 3 * i, want, 3) == 0, "pixel %d: %d %d %d", i, shown.data[3 * i],
                  shown.data[3 * i + 1], shown.data[3 * i + 2]);
    }
    free(shown.data);
    free(t.png);
    /* the overlay: 40 times as large; the middle of class 1 is half its colour and half the picture's grey of 124, its
     * edge all of it; a legend below */
    cr_assert_eq(images->decode(images, t.overlay, t.overlay_n, 3, plain_alloc, NULL, &shown, &err), CVR_OK, "%s",
                 err.message);
    cr_assert(shown.width == 320 && shown.height > 160 + 3 * 12);
    const uint8_t *const inside = shown.data + 20 * 320 * 3 + (6 * 40 + 20) * 3, *const edge = inside - 6 * 40;
    cr_expect(inside[0] == 126 && inside[1] == 62 && inside[2] == 62, "%d %d %d", inside[0], inside[1], inside[2]);
    cr_expect(edge[0] == 128 && edge[1] == 0 && edge[2] == 0, "%d %d %d", edge[0], edge[1], edge[2]);
    free(shown.data);
    free(t.overlay);
    close_segment(&s);
}
