/*
 * The task "multilabel": metrics against scikit-learn's (tests/parity/multilabel.py), however the pictures come in
 * batches; what there is of nothing; a logit that is no number; and predictions of several classes, of one, and of a
 * threshold.
 */
#include <criterion/criterion.h>
#include <cvr/session.h>
#include <math.h>
#include <stdlib.h>

#define MOST 64

/* The keys of [train], as the task's schema has them. */
typedef struct keys {
    double label_smoothing;
    int64_t smooth_dense;
    const char *pos_weight;
    double threshold, aux_weight;
} keys;

typedef struct multilabel {
    cvr_plugins *plugins;
    const cvr_task_desc *task;
    cvr_task_info info;
    keys attrs;
    void *metrics;
} multilabel;

static cvr_error err;

static void open_task(multilabel *m, int64_t n_classes, double threshold) {
    static const char *const names[] = {"cat", "\"dog\"", "owl", "3", "4", "5"};
    const void *desc;
    cvr_error_init(&err);
    cr_assert_eq(cvr_plugins_open(&m->plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_plugins_find(m->plugins, CVR_KIND_TASK, "multilabel", &desc, &err), CVR_OK, "%s", err.message);
    m->task = desc;
    m->attrs = (keys){.pos_weight = "", .threshold = threshold};
    m->info = (cvr_task_info){.struct_size = sizeof m->info,
                              .host = cvr_plugins_host(m->plugins),
                              .attrs = &m->attrs,
                              .n_classes = n_classes,
                              .class_names = names};
    cr_assert_eq(m->task->metrics_open(&m->info, &m->metrics, &err), CVR_OK, "%s", err.message);
}

static void close_task(multilabel *m) {
    m->task->metrics_close(m->metrics);
    cvr_plugins_close(&m->plugins);
}

static cvr_named_tensor rows_of(const char *name, const char *kind, const float *data, int64_t n, int64_t classes) {
    return (cvr_named_tensor){
        sizeof(cvr_named_tensor),
        name,
        kind,
        {sizeof(cvr_tensor), CVR_F32, 2, {n, classes, 1, 1, 1, 1}, {0}, 0, (void *)(uintptr_t)data},
        NULL};
}

/* logits, shares: (n, classes) */
static void update(multilabel *m, const float *logits, const float *shares, int64_t n) {
    const cvr_named_tensor output = rows_of("output", "", logits, n, m->info.n_classes);
    const cvr_named_tensor label = rows_of("label", CVR_FIELD_LABEL, shares, n, m->info.n_classes);
    const cvr_named_tensor *const results[] = {&output}, *const wanted[] = {&label};
    const cvr_batch_view outputs = {.struct_size = sizeof outputs, .n = n, .n_fields = 1, .fields = results};
    const cvr_batch_view targets = {.struct_size = sizeof targets, .n = n, .n_fields = 1, .fields = wanted};
    const cvr_task_batch batch = {sizeof batch, &outputs, &targets};
    cr_assert_eq(m->task->metrics_update(m->metrics, &batch, &err), CVR_OK, "%s", err.message);
}

typedef struct results {
    double map, f1, f1_macro;
    int n;
} results;

static void keep(void *ctx, const char *name, double value) {
    results *r = ctx;
    r->n++;
    if (strcmp(name, "map") == 0) r->map = value;
    if (strcmp(name, "f1") == 0) r->f1 = value;
    if (strcmp(name, "f1_macro") == 0) r->f1_macro = value;
}

static void keep_class(void *ctx, int64_t k, const char *name, double value) {
    double(*const all)[3] = ctx;
    all[k][strcmp(name, "ap") == 0 ? 0 : strcmp(name, "f1") == 0 ? 1 : 2] = value;
}

static results results_of(const multilabel *m) {
    results r = {NAN, NAN, NAN, 0};
    m->task->metrics_result(m->metrics, keep, &r);
    return r;
}

/* ---- scikit-learn's numbers ---- */

typedef struct golden {
    int n, classes;
    float logits[MOST * 8], shares[MOST * 8];
    double ap[8], f1[8], map, micro, macro;
} golden;

static double number(FILE *f) {
    double x = 0;
    cr_assert_eq(fscanf(f, "%lf", &x), 1);
    return x;
}

static void read_golden(golden *g) {
    FILE *f = fopen(CVR_GOLDEN_DIR "/multilabel.txt", "r");
    cr_assert(f);
    g->n = (int)number(f);
    g->classes = (int)number(f);
    cr_assert(g->n > 0 && g->n <= MOST && g->classes == 6);
    for (int i = 0; i < g->n; i++) {
        for (int k = 0; k < g->classes; k++) g->logits[i * g->classes + k] = (float)number(f);
        for (int k = 0; k < g->classes; k++) g->shares[i * g->classes + k] = (float)number(f);
    }
    for (int k = 0; k < g->classes; k++) {
        g->ap[k] = number(f);
        g->f1[k] = number(f);
    }
    g->map = number(f);
    g->micro = number(f);
    g->macro = number(f);
    (void)fclose(f);
}

Test(multilabel, metrics_are_those_of_scikit_learn) {
    static golden g;
    read_golden(&g);
    for (int batch = 1; batch <= g.n; batch += 5) {
        multilabel m;
        double classes[6][3];
        open_task(&m, g.classes, 0.5);
        for (int i = 0; i < g.n; i += batch)
            update(&m, g.logits + i * g.classes, g.shares + i * g.classes, g.n - i < batch ? g.n - i : batch);
        m.task->metrics_per_class(m.metrics, keep_class, classes);
        const results r = results_of(&m);
        cr_assert_float_eq(r.map, g.map, 1e-12);
        cr_assert_float_eq(r.f1, g.micro, 1e-12);
        cr_assert_float_eq(r.f1_macro, g.macro, 1e-12);
        for (int k = 0; k < g.classes; k++) {
            double positives = 0;
            for (int i = 0; i < g.n; i++) positives += (double)g.shares[i * g.classes + k];
            cr_assert_eq(classes[k][2], positives);
            if (positives > 0) cr_assert_float_eq(classes[k][0], g.ap[k], 1e-12);
            if (positives > 0) cr_assert_float_eq(classes[k][1], g.f1[k], 1e-12);
            if (positives == 0) cr_assert(isnan(classes[k][0]) && isnan(classes[k][1]));
        }
        close_task(&m);
    }
}

/* All names are told of nothing; more pictures after a result count, too. */
Test(multilabel, of_nothing_and_then_more) {
    multilabel m;
    static const float logits[] = {-1, 1, 3}, shares[] = {1, 0, 1}, broken[] = {NAN, 2, 2};
    open_task(&m, 3, 0.5);
    results r = results_of(&m);
    cr_assert(r.n == 3 && r.map == 0 && r.f1 == 0 && r.f1_macro == 0);
    update(&m, logits, shares, 1);
    r = results_of(&m);
    cr_assert_eq(r.map, 1);
    cr_assert_eq(r.f1, 0.5);
    /* Class 0: its second positive, whose logit is no number, comes last of two: still all right. Class 2: the score of
     * 3 right, that of 2, too. */
    update(&m, broken, shares, 1);
    r = results_of(&m);
    cr_assert_eq(r.map, 1);
    cr_assert_float_eq(r.f1, 2.0 * 2 / (4 + 4), 1e-12);
    /* A negative before the one that is no number: (1/1 + 2/3) / 2 for class 0. */
    static const float third[] = {-5, 0, 0}, none[] = {0, 0, 1};
    update(&m, third, none, 1);
    cr_assert_float_eq(results_of(&m).map, ((1 + 2.0 / 3) / 2 + 1) / 2, 1e-12);
    close_task(&m);
}

/* ---- predictions ---- */

typedef struct told {
    cvr_prediction_sink sink;
    char json[1024], csv[512], line[256];
} told;

static void on_json(const cvr_prediction_sink *s, const char *text) {
    (void)snprintf(((told *)s->ctx)->json, 1024, "%s", text);
}
static void on_csv(const cvr_prediction_sink *s, const char *text) {
    told *t = s->ctx;
    const size_t at = strlen(t->csv);
    (void)snprintf(t->csv + at, sizeof t->csv - at, "%s\n", text);
}
static void on_line(const cvr_prediction_sink *s, const char *text) {
    (void)snprintf(((told *)s->ctx)->line, 256, "%s", text);
}

static void predict(const multilabel *m, const float *logits, told *t) {
    const cvr_named_tensor output = rows_of("output", "", logits, 1, m->info.n_classes);
    const cvr_named_tensor *const results[] = {&output};
    const cvr_batch_view outputs = {.struct_size = sizeof outputs, .n = 1, .n_fields = 1, .fields = results};
    *t = (told){.sink = {sizeof t->sink, t, on_json, on_csv, on_line, NULL}};
    cr_assert_eq(m->task->predict(&m->info, &outputs, 0, &t->sink, &err), CVR_OK, "%s", err.message);
}

Test(multilabel, predictions) {
    multilabel m;
    told t;
    static const float some[] = {0, 2, -1}, none[] = {-3, -2, -4}, broken[] = {0, INFINITY, 0};
    open_task(&m, 3, 0.5);
    predict(&m, some, &t);
    cr_expect_str_eq(t.json, "\"top\": [{\"index\": 1, \"name\": \"\\\"dog\\\"\", \"prob\": 0.880797}, "
                             "{\"index\": 0, \"name\": \"cat\", \"prob\": 0.500000}]");
    cr_expect_str_eq(t.csv, "1,\"\"\"dog\"\"\",0.880797\n0,\"cat\",0.500000\n");
    cr_expect_str_eq(t.line, "\"dog\" 88.1 %, cat 50.0 %");
    predict(&m, none, &t);
    cr_expect_str_eq(t.csv, "1,\"\"\"dog\"\"\",0.119203\n");
    m.attrs.threshold = 0.04; /* of -3 it is 0.047, of -4 0.018 */
    predict(&m, none, &t);
    cr_expect_str_eq(t.csv, "1,\"\"\"dog\"\"\",0.119203\n0,\"cat\",0.047426\n");
    const cvr_named_tensor output = rows_of("output", "", broken, 1, 3);
    const cvr_named_tensor *const results[] = {&output};
    const cvr_batch_view outputs = {.struct_size = sizeof outputs, .n = 1, .n_fields = 1, .fields = results};
    cr_expect_eq(m.task->predict(&m.info, &outputs, 0, &t.sink, &err), CVR_ERR_NUMERIC);
    close_task(&m);
}
