/*
 * The task "detect" on results that a network might give: metrics against pycocotools' however the pictures are
 * resized; the results that are saved give the same numbers again; objects from the batch where the data does not tell;
 * what is taken for what, and curves; predictions; and what no network may say.
 */
#include "../../plugins/tasks/detect/coco_ap.h"
#include <criterion/criterion.h>
#include <cvr/session.h>
#include <math.h>
#include <stdlib.h>

#define D 6 /* detections of a picture */
#define N 3 /* pictures */

/* The keys of [predict], as the task's schema has them. */
typedef struct keys {
    double conf, iou;
    int64_t max_det;
} keys;

typedef struct detect {
    cvr_plugins *plugins;
    const cvr_task_desc *task;
    cvr_task_info info;
    keys attrs;
    void *metrics;
    int32_t told; /* the annotations are; else CVR_ERR_NOTFOUND */
} detect;

static cvr_error err;

/* ---- the check set: pictures 7, 3, 5; COCO's classes 1, 4, 9 ---- */

typedef struct annotation {
    int picture; /* 0, 1, 2: with the ids 7, 3, 5 */
    cvr_object object;
} annotation;

#define OBJECT(picture_, id_, class_, x_, y_, w_, h_, flags_)                                                          \
    {                                                                                                                  \
        picture_, {                                                                                                    \
            .struct_size = sizeof(cvr_object), .id = id_, .klass = class_, .box = {x_, y_, w_, h_},                    \
            .area = (w_) * (h_), .flags = flags_                                                                       \
        }                                                                                                              \
    }
static const annotation annotations[] = {
    OBJECT(1, 1, 0, 10, 10, 40, 40, 0),   OBJECT(1, 2, 0, 60, 60, 20, 30, 0),
    OBJECT(1, 3, 1, 100, 100, 90, 99, 0), OBJECT(2, 4, 0, 0, 0, 100, 100, CVR_OBJECT_CROWD),
    OBJECT(2, 5, 0, 120, 120, 30, 30, 0), OBJECT(0, 6, 1, 20, 20, 50, 20, 0),
    OBJECT(0, 7, 1, 20, 45, 50, 20, 0),   OBJECT(0, 8, -1, 20, 45, 50, 20, 0), /* a class that the network has not */
};
#define N_ANNOTATIONS (sizeof annotations / sizeof *annotations)
static const int64_t ids[N] = {7, 3, 5};
static const double expected[COCO_STATS] = {.505280528053, .638201320132, .638201320132, .576732673267, .625, NAN,
                                            .266666666667, .65,           .65,           .575,          .8,   NAN};
static const char *const stat_names[COCO_STATS] = {"map", "map50", "map75", "map_small", "map_medium", "map_large",
                                                   "ar1", "ar10",  "ar100", "ar_small",  "ar_medium",  "ar_large"};

static int32_t tell_objects(void *data, int64_t index, cvr_object_fn each, void *ctx, cvr_error *e) {
    const detect *const d = data;
    if (!d->told) return cvr_fail(e, CVR_ERR_NOTFOUND, "nobody knows");
    for (size_t i = 0; i < N_ANNOTATIONS; i++)
        if (annotations[i].picture == index) CVR_TRY(each(ctx, &annotations[i].object, e));
    return CVR_OK;
}

static int64_t tell_id(void *data, int64_t klass) {
    static const int64_t categories[] = {1, 4, 9};
    (void)data;
    return categories[klass];
}

static void open_task(detect *d, const char *const *reads, uint32_t n_reads) {
    static const char *const names[] = {"cat", "\"dog\"", "owl"};
    const cvr_image_service *images;
    const void *desc;
    cvr_error_init(&err);
    cr_assert_eq(cvr_plugins_open(&d->plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_plugins_find(d->plugins, CVR_KIND_TASK, "detect", &desc, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_plugins_image_service(d->plugins, &images, &err), CVR_OK, "%s", err.message);
    d->task = desc;
    d->attrs = (keys){0.25, 1, 300};
    d->told = 1;
    d->info = (cvr_task_info){.struct_size = sizeof d->info,
                              .host = cvr_plugins_host(d->plugins),
                              .n_classes = 3,
                              .class_names = names,
                              .data = d,
                              .objects = tell_objects,
                              .class_id = tell_id,
                              .predict_attrs = &d->attrs,
                              .reads = reads,
                              .n_reads = n_reads};
    cr_assert_eq(d->task->metrics_open(&d->info, &d->metrics, &err), CVR_OK, "%s", err.message);
}

static void close_task(detect *d) {
    d->task->metrics_close(d->metrics);
    cvr_plugins_close(&d->plugins);
}

/* ---- a batch ---- */

typedef struct batch {
    float boxes[N][D][4], scores[N][D];
    int64_t labels[N][D];
    float truth[N][3][4];
    int64_t truth_labels[N][3], counts[N];
    cvr_tensor count;
    cvr_named_tensor result[3], field[2];
    const cvr_named_tensor *results[3], *fields[2];
    cvr_origin origin[N];
    const cvr_origin *origins[N];
    cvr_batch_view outputs, targets;
    cvr_task_batch task;
} batch;

static cvr_named_tensor tensor(const char *name, uint32_t dtype, void *data, int64_t rows, int64_t last) {
    return (cvr_named_tensor){
        sizeof(cvr_named_tensor),
        name,
        name,
        {sizeof(cvr_tensor), dtype, last ? 3 : 2, {N, rows, last ? last : 1, 1, 1, 1}, {0}, 0, data},
        NULL};
}

/* Picture i is stretched by sx and sy, another way each. */
static void place(const cvr_origin *o, const double xywh[4], float xyxy[4]) {
    const double *const g = o->geometry;
    xyxy[0] = (float)(xywh[0] * g[0] + g[2]);
    xyxy[1] = (float)(xywh[1] * g[4] + g[5]);
    xyxy[2] = (float)((xywh[0] + xywh[2]) * g[0] + g[2]);
    xyxy[3] = (float)((xywh[1] + xywh[3]) * g[4] + g[5]);
}

static void put_found(batch *b, int picture, int klass, double x, double y, double w, double h, double score) {
    const double box[4] = {x, y, w, h};
    int at = 0;
    while (b->labels[picture][at] >= 0) at++;
    place(&b->origin[picture], box, b->boxes[picture][at]);
    b->scores[picture][at] = (float)score;
    b->labels[picture][at] = klass;
}

static void put_truth(batch *b, const annotation *a) {
    const int64_t at = b->counts[a->picture];
    if (a->object.klass < 0 || a->object.flags) return;
    place(&b->origin[a->picture], a->object.box, b->truth[a->picture][at]);
    b->truth_labels[a->picture][at] = a->object.klass;
    b->counts[a->picture]++;
}

static void make_batch(batch *b) {
    static const double scales[N][4] = {{1, 1, 0, 0}, {1.5, 2.25, 0, 0}, {0.5, 0.75, 3, -2}};
    memset(b, 0, sizeof *b);
    memset(b->labels, -1, sizeof b->labels);
    for (int i = 0; i < N; i++) {
        const double *const s = scales[i];
        b->origin[i] = (cvr_origin){
            sizeof(cvr_origin), i, ids[i], "/data/a.b.jpg", 200, 200, {s[0], 0, s[2], 0, s[1], s[3], 0, 0, 1}};
        b->origins[i] = &b->origin[i];
    }
    put_found(b, 1, 0, 12, 10, 40, 40, .9);
    put_found(b, 1, 0, 11, 11, 40, 40, .8);
    put_found(b, 1, 1, 95, 105, 90, 90, .7);
    put_found(b, 1, 0, 60, 62, 20, 30, .6);
    put_found(b, 2, 0, 10, 10, 30, 30, .85);
    put_found(b, 2, 0, 120, 118, 30, 30, .6);
    put_found(b, 2, 0, 150, 20, 20, 20, .6);
    put_found(b, 0, 1, 20, 20, 50, 45, .9);
    put_found(b, 0, 2, 0, 0, 10, 10, .9);
    put_found(b, 0, 1, 22, 21, 50, 20, .7);
    for (size_t i = 0; i < N_ANNOTATIONS; i++) put_truth(b, &annotations[i]);
    b->result[0] = tensor("boxes", CVR_F32, b->boxes, D, 4);
    b->result[1] = tensor("scores", CVR_F32, b->scores, D, 0);
    b->result[2] = tensor("labels", CVR_I64, b->labels, D, 0);
    b->field[0] = tensor("boxes", CVR_F32, b->truth, 3, 4);
    b->field[1] = tensor("box_labels", CVR_I64, b->truth_labels, 3, 0);
    b->count = (cvr_tensor){sizeof(cvr_tensor), CVR_I64, 1, {N, 1, 1, 1, 1, 1}, {0}, 0, b->counts};
    b->field[0].counts = b->field[1].counts = &b->count;
    for (int i = 0; i < 3; i++) b->results[i] = &b->result[i];
    for (int i = 0; i < 2; i++) b->fields[i] = &b->field[i];
    b->outputs = (cvr_batch_view){sizeof b->outputs, N, 3, 0, b->results, b->origins};
    b->targets = (cvr_batch_view){sizeof b->targets, N, 2, 0, b->fields, b->origins};
    b->task = (cvr_task_batch){sizeof b->task, &b->outputs, &b->targets};
}

static void update(detect *d, const batch *b) {
    cr_assert_eq(d->task->metrics_update(d->metrics, &b->task, &err), CVR_OK, "%s", err.message);
}

/* ---- metrics ---- */

typedef struct metrics {
    int n;
    char names[64][32];
    double values[64];
} metrics;

static void keep(void *ctx, const char *name, double value) {
    metrics *const m = ctx;
    (void)snprintf(m->names[m->n], 32, "%s", name);
    m->values[m->n++] = value;
}

static metrics metrics_of(const detect *d) {
    metrics m = {.n = 0};
    d->task->metrics_result(d->metrics, keep, &m);
    return m;
}

static double metric(const metrics *m, const char *name) {
    for (int i = 0; i < m->n; i++)
        if (strcmp(m->names[i], name) == 0) return m->values[i];
    cr_assert_fail("there is no metric %s", name);
    return 0;
}

static void agree(const metrics *m, const double *with) {
    for (int i = 0; i < COCO_STATS; i++) {
        const double v = metric(m, stat_names[i]);
        cr_expect(isnan(with[i]) ? isnan(v) : fabs(v - with[i]) < 1e-9, "%s is %.12g, not %.12g", stat_names[i], v,
                  with[i]);
    }
}

static void keep_class(void *ctx, int64_t k, const char *name, double value) {
    double(*const all)[3] = ctx;
    if (strcmp(name, "ap") == 0) all[k][0] = value;
    if (strcmp(name, "recall") == 0) all[k][1] = value;
    if (strcmp(name, "precision") == 0) all[k][2] = value;
}

Test(detect, metrics) {
    detect d;
    batch b;
    double classes[3][3];
    open_task(&d, NULL, 0);
    make_batch(&b);
    const metrics nothing = metrics_of(&d);
    for (int i = 0; i < nothing.n; i++) cr_expect(isnan(nothing.values[i]), "%s", nothing.names[i]);
    update(&d, &b);
    const metrics m = metrics_of(&d);
    cr_assert_eq(m.n, nothing.n);
    for (int i = 0; i < m.n; i++) cr_expect_str_eq(m.names[i], nothing.names[i]);
    agree(&m, expected);
    d.task->metrics_per_class(d.metrics, keep_class, classes);
    cr_expect_float_eq(classes[0][0], .70099009901, 1e-9);
    cr_expect_float_eq(classes[1][0], .309570957096, 1e-9);
    cr_expect(isnan(classes[2][0]) && isnan(classes[2][1]) && isnan(classes[2][2]));
    close_task(&d);
}

static uint64_t taken; /* bytes */
static void *(*host_alloc)(const cvr_host *host, uint64_t bytes, uint64_t alignment);
static void *count_alloc(const cvr_host *host, uint64_t bytes, uint64_t alignment) {
    taken += bytes;
    return host_alloc(host, bytes, alignment);
}

/* Of 65536 classes the two that have objects give the numbers that they gave among three, and take what they took. */
Test(detect, classes_without_objects_take_no_memory) {
    detect d;
    batch b;
    open_task(&d, NULL, 0);
    d.task->metrics_close(d.metrics);
    cvr_host counting = *d.info.host;
    host_alloc = counting.alloc;
    counting.alloc = count_alloc;
    d.info.host = &counting;
    d.info.n_classes = 65536;
    cr_assert_eq(d.task->metrics_open(&d.info, &d.metrics, &err), CVR_OK, "%s", err.message);
    make_batch(&b);
    update(&d, &b);
    const metrics m = metrics_of(&d);
    agree(&m, expected);
    cr_expect_null(d.task->metrics_matrix(d.metrics));
    cr_expect_lt(taken, 65536u * 256u, "%llu bytes", (unsigned long long)taken);
    close_task(&d);
}

/* Without annotations the batch's fields are the truth: no crowd is known, and its detection is wrong. */
Test(detect, truth_of_the_batch) {
    detect d;
    batch b;
    open_task(&d, NULL, 0);
    d.told = 0;
    make_batch(&b);
    update(&d, &b);
    const metrics m = metrics_of(&d);
    cr_expect(metric(&m, "map50") < expected[COCO_AP50] && metric(&m, "map50") > 0.5);
    cr_expect_float_eq(metric(&m, "ar100"), expected[COCO_AR_LAST], 1e-9);
    close_task(&d);
}

static void check_curve(const cvr_curve *c, int64_t *pr) {
    cr_assert(c->n > 1);
    for (uint32_t i = 0; i < c->n; i++) {
        cr_assert(c->x[i] >= 0 && c->x[i] <= 1 && c->y[i] >= 0 && c->y[i] <= 1);
        cr_assert(i == 0 || c->x[i] > c->x[i - 1]);
    }
    if (strcmp(c->name, "pr") == 0) *pr |= INT64_C(1) << (c->klass + 1);
    if (strcmp(c->name, "pr") == 0 && c->klass < 0) cr_expect_float_eq(c->value, expected[COCO_AP50], 1e-9);
    if (strcmp(c->name, "recall") != 0 || c->klass != 0) return;
    /* Three objects: found at .9 and, from .6 on, all. */
    cr_expect_float_eq(c->y[850], 1. / 3, 1e-12);
    cr_expect_float_eq(c->y[600], 1, 1e-12);
    cr_expect_eq(c->y[901], 0);
}

Test(detect, matrix_and_curves) {
    /* rows: cat, dog, owl, background. The crowd's detection counts for nothing. */
    static const uint64_t matrix[] = {3, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 2, 1, 1, 0};
    const cvr_curve *const *curves;
    detect d;
    batch b;
    double scores[N];
    int64_t pr = 0;
    open_task(&d, NULL, 0);
    make_batch(&b);
    update(&d, &b);
    cr_expect_str_eq(d.task->matrix_extra, "background");
    const uint64_t *const counts = d.task->metrics_matrix(d.metrics);
    for (int i = 0; i < 16; i++)
        cr_expect_eq(counts[i], matrix[i], "cell %d: %d, not %d", i, (int)counts[i], (int)matrix[i]);
    const uint32_t n = d.task->metrics_curves(d.metrics, &curves);
    cr_expect_eq(n, 3 * 4, "of all, and of the two classes with objects");
    for (uint32_t i = 0; i < n; i++) check_curve(curves[i], &pr);
    cr_expect_eq(pr, 7);
    cr_assert_eq(d.task->scores(&d.info, &b.task, scores, &err), CVR_OK);
    cr_expect_float_eq(scores[0], 2. * 1 / (2 + 3), 1e-12);
    cr_expect_float_eq(scores[1], 2. * 3 / (3 + 4), 1e-12);
    cr_expect_float_eq(scores[2], 2. * 1 / (1 + 2), 1e-12);
    close_task(&d);
}

/* A class of which nothing is found has a precision of 0 at every confidence. */
Test(detect, what_is_never_found_has_no_precision) {
    const cvr_curve *const *curves;
    detect d;
    batch b;
    int64_t seen = 0;
    open_task(&d, NULL, 0);
    make_batch(&b);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < D; k++) b.labels[i][k] = b.labels[i][k] == 1 ? 0 : b.labels[i][k];
    update(&d, &b);
    const uint32_t n = d.task->metrics_curves(d.metrics, &curves);
    for (uint32_t i = 0; i < n; i++) {
        if (curves[i]->klass != 1 || strcmp(curves[i]->name, "precision") != 0) continue;
        for (uint32_t k = 0; k < curves[i]->n; k++) cr_expect_eq(curves[i]->y[k], 0);
        cr_expect_eq(curves[i]->value, 0);
        seen++;
    }
    cr_expect_eq(seen, 1);
    close_task(&d);
}

/* A dog that is seen exactly where the cat is takes nothing from the cat that is seen less exactly. */
Test(detect, an_object_that_was_found_is_not_confused) {
    detect d;
    batch b;
    double scores[N];
    open_task(&d, NULL, 0);
    make_batch(&b);
    put_found(&b, 2, 1, 120, 120, 30, 30, .4);
    update(&d, &b);
    const uint64_t *const counts = d.task->metrics_matrix(d.metrics);
    cr_expect_eq(counts[0], 3, "cats taken for cats");
    cr_expect_eq(counts[1], 0, "cats taken for dogs");
    cr_expect_eq(counts[13], 2, "dogs where nothing is");
    cr_assert_eq(d.task->scores(&d.info, &b.task, scores, &err), CVR_OK);
    cr_expect_float_eq(scores[2], 2. * 1 / (1 + 3), 1e-12);
    close_task(&d);
}

/* ---- results for others ---- */

typedef struct told {
    cvr_prediction_sink sink;
    int n;
    char json[32][512], csv[1024], line[256], files[2][32], text[512];
    int n_files;
} told;

static void on_json(const cvr_prediction_sink *s, const char *text) {
    told *const t = s->ctx;
    (void)snprintf(t->json[t->n++], 512, "%s", text);
}
static void on_csv(const cvr_prediction_sink *s, const char *text) {
    told *const t = s->ctx;
    const size_t at = strlen(t->csv);
    (void)snprintf(t->csv + at, sizeof t->csv - at, "%s\n", text);
}
static void on_line(const cvr_prediction_sink *s, const char *text) {
    (void)snprintf(((told *)s->ctx)->line, 256, "%s", text);
}
static int32_t on_file(const cvr_prediction_sink *s, const char *suffix, const void *bytes, uint64_t n,
                       const char **name, cvr_error *e) {
    told *const t = s->ctx;
    (void)e, (void)name;
    (void)snprintf(t->files[t->n_files++], 32, "%s", suffix);
    if (strcmp(suffix, ".txt") == 0) (void)snprintf(t->text, sizeof t->text, "%.*s", (int)n, (const char *)bytes);
    return CVR_OK;
}

static void listen_to(told *t) {
    *t = (told){.sink = {sizeof t->sink, t, on_json, on_csv, on_line, on_file, NULL}};
}

/* As a stranger's program reads them. */
static int read_back(const told *t, int64_t picture, coco_found *found) {
    int n = 0;
    for (int i = 0; i < t->n; i++) {
        long long id, category;
        double b[4], score;
        cr_assert_eq(
            sscanf(t->json[i],
                   "{\"image_id\": %lld, \"category_id\": %lld, \"bbox\": [%lf, %lf, %lf, %lf], \"score\": %lf", &id,
                   &category, &b[0], &b[1], &b[2], &b[3], &score),
            7, "%s", t->json[i]);
        if (id != picture) continue;
        found[n++] = (coco_found){.klass = category == 1   ? 0
                                           : category == 4 ? 1
                                                           : 2,
                                  .score = score,
                                  .box = {b[0], b[1], b[2], b[3]}};
    }
    return n;
}

/* Boxes that are nothing round: what is read back gives the very numbers that were told. */
Test(detect, saved_results_are_what_was_measured) {
    const coco_settings set = {NULL, 3, {1, 10, 100}, 0};
    coco_settings settings = set;
    detect d;
    batch b;
    told t;
    coco_ap *again;
    double stats[COCO_STATS];
    open_task(&d, NULL, 0);
    make_batch(&b);
    for (int i = 0; i < N * D * 4; i++) (&b.boxes[0][0][0])[i] *= 1 + 0.0034567f * (float)(i % 17);
    update(&d, &b);
    const metrics m = metrics_of(&d);
    listen_to(&t);
    for (int i = 0; i < N; i++)
        cr_assert_eq(d.task->save(&d.info, &b.task, i, &t.sink, &err), CVR_OK, "%s", err.message);
    cr_expect_eq(t.n, 10);
    cr_expect_str_eq(d.task->save_list, "predictions.json");
    settings.host = d.info.host;
    cr_assert_eq(coco_open(&again, &settings, &err), CVR_OK, "%s", err.message);
    for (int i = 0; i < N; i++) {
        coco_found found[32];
        coco_truth truth[4];
        const int n = read_back(&t, ids[i], found);
        uint64_t k = 0;
        for (size_t a = 0; a < N_ANNOTATIONS; a++) {
            const cvr_object *const o = &annotations[a].object;
            if (annotations[a].picture == i && o->klass >= 0)
                truth[k++] = (coco_truth){.id = o->id,
                                          .klass = o->klass,
                                          .box = {o->box[0], o->box[1], o->box[2], o->box[3]},
                                          .area = o->area,
                                          .crowd = o->flags != 0};
        }
        const coco_picture p = {ids[i], found, truth, (uint64_t)n, k};
        cr_assert_eq(coco_add(again, &p, &err), CVR_OK);
    }
    coco_count(again);
    coco_stats(again, stats);
    for (int i = 0; i < COCO_STATS; i++)
        if (stats[i] < 0) stats[i] = NAN;
    cr_expect(fabs(stats[COCO_AP] - expected[COCO_AP]) > 1e-6, "the boxes were moved");
    agree(&m, stats);
    coco_close(again);
    close_task(&d);
}

/* ---- masks ---- */

/* A mask of 2 x 2 probabilities in each box; the object's mask is its whole box. */
Test(detect, masks) {
    static const char *const reads[] = {"masks"};
    static float masks[N][D][4];
    detect d;
    batch b;
    told t;
    open_task(&d, reads, 1);
    make_batch(&b);
    for (int i = 0; i < N * D * 4; i++) (&masks[0][0][0])[i] = 1;
    cvr_named_tensor mask = tensor("masks", CVR_F32, masks, D, 4);
    const cvr_named_tensor *const results[] = {&b.result[0], &b.result[1], &b.result[2], &mask};
    b.outputs.fields = results;
    b.outputs.n_fields = 4;
    d.told = 0; /* no annotation has a mask here: boxes are measured, masks cannot be */
    update(&d, &b);
    const metrics m = metrics_of(&d);
    cr_expect(metric(&m, "map50") > 0.5);
    cr_expect(isnan(metric(&m, "mask_map")));
    listen_to(&t);
    cr_assert_eq(d.task->save(&d.info, &b.task, 2, &t.sink, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(t.n, 3);
    cr_expect(strstr(t.json[0], ", \"segmentation\": {\"size\": [200, 200], \"counts\": \""), "%s", t.json[0]);
    mask.tensor.shape[2] = 3;
    cr_expect_eq(d.task->metrics_update(d.metrics, &b.task, &err), CVR_ERR_INVALID);
    cr_expect(strstr(err.message, "squares"), "%s", err.message);
    close_task(&d);
}

/* The mask of a box with whole corners in a picture of 200 x 200: its runs, and how many. */
static uint32_t box_runs(const double box[4], uint32_t runs[512]) {
    const uint32_t x = (uint32_t)box[0], y = (uint32_t)box[1], w = (uint32_t)box[2], h = (uint32_t)box[3];
    uint32_t n = 0;
    runs[n++] = 200 * x + y;
    for (uint32_t i = 0; i < w; i++) {
        runs[n++] = h;
        runs[n++] = i + 1 < w ? 200 - h : 200 * (200 - x - w) + 200 - y - h;
    }
    return n;
}

static int32_t tell_masks(void *data, int64_t index, cvr_object_fn each, void *ctx, cvr_error *e) {
    uint32_t runs[512];
    (void)data;
    for (size_t i = 0; i < N_ANNOTATIONS; i++) {
        cvr_object o = annotations[i].object;
        if (annotations[i].picture != index) continue;
        o.n_runs = box_runs(o.box, runs);
        o.runs = runs;
        CVR_TRY(each(ctx, &o, e));
    }
    return CVR_OK;
}

/* Certain of every pixel, a mask is its box and the pixels that it touches: where boxes are right, masks are, too. */
Test(detect, masks_are_measured) {
    static const char *const reads[] = {"masks"};
    static float masks[N][D][28 * 28];
    detect d;
    batch b;
    open_task(&d, reads, 1);
    d.task->metrics_close(d.metrics);
    d.info.objects = tell_masks;
    cr_assert_eq(d.task->metrics_open(&d.info, &d.metrics, &err), CVR_OK, "%s", err.message);
    make_batch(&b);
    for (int i = 0; i < N * D * 28 * 28; i++) (&masks[0][0][0])[i] = 1;
    const cvr_named_tensor mask = tensor("masks", CVR_F32, masks, D, 28 * 28);
    const cvr_named_tensor *const results[] = {&b.result[0], &b.result[1], &b.result[2], &mask};
    b.outputs.fields = results;
    b.outputs.n_fields = 4;
    update(&d, &b);
    const metrics m = metrics_of(&d);
    agree(&m, expected);
    cr_expect_float_eq(metric(&m, "mask_map50"), metric(&m, "map50"), 1e-9, "%.12g", metric(&m, "mask_map50"));
    cr_expect(fabs(metric(&m, "mask_map") - metric(&m, "map")) < 0.1, "%.12g", metric(&m, "mask_map"));
    cr_expect_float_eq(metric(&m, "mask_ar1"), metric(&m, "ar1"), 0.1);
    close_task(&d);
}

/* ---- predictions ---- */

static void predict(const detect *d, const batch *b, int row, told *t) {
    listen_to(t);
    cr_assert_eq(d->task->predict(&d->info, &b->outputs, row, &t->sink, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(t->n, 1);
}

Test(detect, predictions) {
    detect d;
    batch b;
    told t;
    open_task(&d, NULL, 0);
    make_batch(&b);
    predict(&d, &b, 0, &t);
    cr_expect_str_eq(t.json[0],
                     "\"boxes\": [{\"index\": 1, \"name\": \"\\\"dog\\\"\", \"score\": 0.900000, \"xyxy\": [20.00, "
                     "20.00, 70.00, 65.00]}, {\"index\": 2, \"name\": \"owl\", \"score\": 0.900000, \"xyxy\": [0.00, "
                     "0.00, 10.00, 10.00]}, {\"index\": 1, \"name\": \"\\\"dog\\\"\", \"score\": 0.700000, \"xyxy\": "
                     "[22.00, 21.00, 72.00, 41.00]}]");
    cr_expect_str_eq(t.csv, "1,\"\"\"dog\"\"\",0.900000,20.00,20.00,70.00,65.00\n2,\"owl\",0.900000,0.00,0.00,10.00,"
                            "10.00\n1,\"\"\"dog\"\"\",0.700000,22.00,21.00,72.00,41.00\n");
    cr_expect_str_eq(t.line, "3 objects: 2 \"dog\", 1 owl");
    cr_expect_eq(t.n_files, 1, "no picture was given to draw on");
    cr_expect_str_eq(t.files[0], ".txt");
    cr_expect_str_eq(t.text,
                     "1 0.225 0.2125 0.25 0.225 0.9\n2 0.025 0.025 0.05 0.05 0.9\n1 0.235 0.155 0.25 0.1 0.7\n");
    d.attrs.conf = 0.8;
    predict(&d, &b, 0, &t);
    cr_expect_str_eq(t.line, "2 objects: 1 \"dog\", 1 owl");
    d.attrs = (keys){0.25, 0.3, 300}; /* the dogs overlap with an IoU of 0.4 */
    predict(&d, &b, 0, &t);
    cr_expect_str_eq(t.line, "2 objects: 1 \"dog\", 1 owl");
    d.attrs = (keys){0.25, 1, 1};
    predict(&d, &b, 0, &t);
    cr_expect_str_eq(t.line, "1 object: 1 \"dog\"");
    d.attrs.conf = 0.95;
    predict(&d, &b, 0, &t);
    cr_expect_str_eq(t.line, "no objects");
    cr_expect_str_eq(t.json[0], "\"boxes\": []");
    cr_expect_str_eq(t.csv, "");
    cr_expect_eq(t.n_files, 1);
    cr_expect_str_eq(t.text, "");
    close_task(&d);
}

Test(detect, a_picture_with_its_boxes) {
    static uint8_t pixels[200 * 200 * 3];
    const cvr_image picture = {
        .struct_size = sizeof picture, .width = 200, .height = 200, .channels = 3, .data = pixels};
    detect d;
    batch b;
    told t;
    open_task(&d, NULL, 0);
    make_batch(&b);
    listen_to(&t);
    t.sink.picture = &picture;
    cr_assert_eq(d.task->predict(&d.info, &b.outputs, 1, &t.sink, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(t.n_files, 2);
    cr_expect_str_eq(t.files[1], "_boxes.png");
    close_task(&d);
}

/* ---- what no network may say ---- */

static void refused(const detect *d, const batch *b, int32_t status, const char *words) {
    told t;
    listen_to(&t);
    cvr_error_init(&err);
    cr_expect_eq(d->task->metrics_update(d->metrics, &b->task, &err), status);
    cr_expect(strstr(err.message, words), "%s", err.message);
    cr_expect_eq(d->task->predict(&d->info, &b->outputs, 0, &t.sink, &err), status);
    cr_expect_eq(d->task->save(&d->info, &b->task, 0, &t.sink, &err), status);
}

Test(detect, broken_results) {
    detect d;
    batch b;
    open_task(&d, NULL, 0);
    make_batch(&b);
    b.outputs.n_fields = 2;
    refused(&d, &b, CVR_ERR_INVALID, "no results");
    make_batch(&b);
    b.result[0].tensor.shape[2] = 5;
    refused(&d, &b, CVR_ERR_INVALID, "no results");
    make_batch(&b);
    b.labels[0][0] = 3;
    refused(&d, &b, CVR_ERR_INVALID, "found class 3; there are 3");
    make_batch(&b);
    b.boxes[0][1][2] = INFINITY;
    refused(&d, &b, CVR_ERR_NUMERIC, "not finite");
    make_batch(&b);
    b.scores[0][1] = NAN;
    refused(&d, &b, CVR_ERR_NUMERIC, "not finite");
    make_batch(&b);
    b.origin[0].geometry[0] = 0;
    refused(&d, &b, CVR_ERR_INVALID, "cannot be undone");
    close_task(&d);
}
