/* cvrun val */
#include "cvrun.h"
#include "run_folder.h"
#include "screen.h"
#include <math.h>

#define MOST_ROWS 60 /* classes that get a line on the terminal */
#define MOST_NAMED 8 /* absent classes that are named */

static double of_class(const cvr_metrics *m, int64_t klass, size_t column) {
    return m->per_class[(size_t)klass * m->n_columns + column];
}

/* Classes without this number: they are in none of the data, and no mean has them. */
static int64_t absent(const cvr_metrics *m, size_t column) {
    int64_t n = 0;
    for (int64_t k = 0; k < m->n_classes; k++) n += isnan(of_class(m, k, column));
    return n;
}

/* ---- JSON, which has no number for what does not exist ---- */

static void add_number(cvr_text *t, const char *name, double value) {
    cvr_text_add_json(t, name);
    cvr_text_add(t, isfinite(value) ? ": %.9g" : ": null", value);
}

static void add_classes(cvr_text *t, const cvr_metrics *m, const cvr_session_info *i) {
    cvr_text_add(t, ", \"per_class\": [");
    for (int64_t k = 0; k < m->n_classes; k++) {
        cvr_text_add(t, "%s{\"name\": ", k ? ", " : "");
        cvr_text_add_json(t, i->class_names ? i->class_names[k] : "");
        for (size_t c = 0; c < m->n_columns; c++) {
            cvr_text_add(t, ", ");
            add_number(t, m->columns[c], of_class(m, k, c));
        }
        cvr_text_add(t, "}");
    }
    cvr_text_add(t, "], \"absent_classes\": {");
    for (size_t c = 0; c < m->n_columns; c++) {
        cvr_text_add(t, "%s", c ? ", " : "");
        add_number(t, m->columns[c], (double)absent(m, c));
    }
    cvr_text_add(t, "}");
}

static void print_json(const cvr_metrics *m, const cvr_session_info *i, const char *saved) {
    cvr_text t = {0};
    cvr_text_add(&t, "{\"samples\": %lld, \"skipped\": %lld, \"seconds\": %.3f", (long long)m->samples,
                 (long long)m->skipped, m->seconds);
    if (i->protocol) {
        cvr_text_add(&t, ", \"protocol\": ");
        cvr_text_add_json(&t, i->protocol);
    }
    if (*saved) {
        cvr_text_add(&t, ", \"saved\": ");
        cvr_text_add_json(&t, saved);
    }
    for (size_t k = 0; k < m->n; k++) {
        cvr_text_add(&t, ", ");
        add_number(&t, m->names[k], m->values[k]);
    }
    if (m->n_columns) add_classes(&t, m, i);
    cvr_text_add(&t, "}\n");
    if (t.s) print_page(t.s);
    cvr_text_clear(&t);
}

/* ---- for people ---- */

static void print_row(const cvr_metrics *m, const cvr_session_info *i, int64_t k, int width) {
    char name[64];
    (void)snprintf(name, sizeof name, "%.60s", i->class_names ? i->class_names[k] : "");
    print_text("  %-*s", width, name);
    for (size_t c = 0; c < m->n_columns; c++) {
        const double v = of_class(m, k, c);
        const int room = (int)strlen(m->columns[c]) > 9 ? (int)strlen(m->columns[c]) : 9;
        if (isnan(v))
            print_text(" %*s", room, "-");
        else
            print_text(" %*.4f", room, v);
    }
    print_text("\n");
}

/* A line a class, as far as they fit. */
static void print_classes(const cvr_metrics *m, const cvr_session_info *i) {
    int width = 5;
    if (!m->n_columns || m->n_classes > MOST_ROWS) return;
    for (int64_t k = 0; k < m->n_classes && i->class_names; k++) {
        const size_t n = strlen(i->class_names[k]);
        width = (int)(n > 60 ? 60 : n) > width ? (int)(n > 60 ? 60 : n) : width;
    }
    print_text("\n  %-*s", width, "class");
    for (size_t c = 0; c < m->n_columns; c++) print_text(" %9s", m->columns[c]);
    print_text("\n");
    for (int64_t k = 0; k < m->n_classes; k++) print_row(m, i, k, width);
    print_text("\n");
}

static bool same_classes(const cvr_metrics *m, size_t a, size_t b) {
    for (int64_t k = 0; k < m->n_classes; k++)
        if (isnan(of_class(m, k, a)) != isnan(of_class(m, k, b))) return false;
    return true;
}

/* A mean over classes says little where nobody knows how many of them it has. Metrics that lack the same classes share
 * a line, which stands where the first of them comes. */
static void print_absent(const cvr_metrics *m, const cvr_session_info *i, size_t column) {
    const int64_t n = absent(m, column);
    int64_t named = 0;
    for (size_t c = 0; c < column; c++)
        if (same_classes(m, c, column)) return;
    if (n == 0) return;
    print_text("left out of mean %s", m->columns[column]);
    for (size_t c = column + 1; c < m->n_columns; c++)
        if (same_classes(m, c, column)) print_text(", %s", m->columns[c]);
    print_text(": %lld of %lld classes, which are nowhere", (long long)n, (long long)m->n_classes);
    for (int64_t k = 0; k < m->n_classes && i->class_names && named < MOST_NAMED; k++)
        if (isnan(of_class(m, k, column))) print_text("%s%s", named++ ? ", " : ": ", i->class_names[k]);
    print_text(n > named && named ? ", ...\n" : "\n");
}

static void print_metrics(const cvr_metrics *m, const cvr_session_info *i, const char *saved) {
    char many[64], speed[32];
    int width = 8;
    print_classes(m, i);
    for (size_t k = 0; k < m->n; k++) width = (int)strlen(m->names[k]) > width ? (int)strlen(m->names[k]) : width;
    for (size_t k = 0; k < m->n; k++) {
        if (isnan(m->values[k]))
            print_text("%-*s %s\n", width, m->names[k], screen_no_number(m->names[k]));
        else
            print_text("%-*s %.4f\n", width, m->names[k], m->values[k]);
    }
    if (i->protocol) print_text("measured on: %s\n", i->protocol);
    for (size_t c = 0; c < m->n_columns; c++) print_absent(m, i, c);
    print_text("%s, %s images/s\n", human_many(m->samples, "picture", many),
               human_speed(m->seconds > 0 ? (double)m->samples / m->seconds : 0, speed));
    if (m->skipped) print_text("left out: %s that cannot be used\n", human_many(m->skipped, "picture", many));
    if (*saved) print_text("results are in %s\n", saved);
}

/* Where val.save writes: the folder `val` of a run; of a recipe the first of runs/val/NAME that is free. */
static int32_t saved_folder(cvr_session *s, const arguments *a, const cvr_session_info *i, char path[1024],
                            cvr_error *err) {
    char name[256];
    path[0] = '\0';
    if (!i->saves_results) return CVR_OK;
    run_folder_name_of(s, a->path, name, sizeof name);
    if (!a->path || !cvr_fs_is_folder(a->path))
        return run_folder_first_free("runs/val", *name ? name : "val", path, 1024, err);
    if ((size_t)snprintf(path, 1024, "%s/val", a->path) < 1024) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE, "%.200s...: too long for a folder's path", a->path);
}

static int run_val(const arguments *a) {
    cvr_error err;
    cvr_session *session;
    cvr_session_info info;
    cvr_metrics m = {0};
    progress bar;
    char saved[1024];
    int status = open_session(a, CVR_FOR_EVALUATION, &session);
    if (status != EXIT_OK) return status;
    cvr_error_init(&err);
    cvr_session_describe(session, &info);
    if (!a->json) print_backend(&info);
    progress_start(&bar, "validation");
    int32_t rc = saved_folder(session, a, &info, saved, &err);
    const cvr_evaluate_options how = {.progress = progress_count,
                                      .ctx = &bar,
                                      .save = *saved ? saved : NULL,
                                      .tile = predict_section->tile,
                                      .overlap = predict_section->overlap};
    if (rc == CVR_OK) rc = cvr_evaluate(session, &how, &m, &err);
    progress_clear(&bar);
    cvr_session_describe(session, &info);
    if (rc != CVR_OK)
        status = report_error(&err);
    else
        (a->json ? print_json : print_metrics)(&m, &info, saved);
    cvr_metrics_clear(&m);
    cvr_session_close(&session);
    return status;
}

const command val_command = {
    .name = "val",
    .usage = "RECIPE.ini|RUN_DIR|model=NAME data=PATH [key=value ...]",
    .summary = "evaluate weights on the validation split",
    .help = "A run folder stands for its best weights, else its last. weights=FILE gives others. --json prints JSON.\n"
            "val.save=yes writes what the network says of every picture for other programs: to RUN_DIR/val, or to "
            "runs/val/NAME of a recipe.\n"
            "Without a recipe: cvrun val data=my-data model=yolox_s weights=yolox_s.pth\n",
    .run = run_val,
    .needs_path = true,
};
