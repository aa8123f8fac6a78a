/*
 * The reporter "tables": results.csv (a row an epoch), steps.csv (a row a step), per_class.csv (a row a class, of the
 * last validation), summary.json. steps.csv grows at its end; a run that resumes cuts it back to the step that it goes
 * on from.
 */
#include "reports.h"
#include "results_table.h"
#include <math.h>
#include <stdlib.h>

/* Between the two: a column for each named loss, where there are several. */
#define STEPS_BEGIN "step,epoch,loss"
#define STEPS_END ",lr,images_per_s,data_wait_fraction\n"
/* Rows wait for a flush up to this many bytes, or this long, so that a slow run can be watched. */
#define STEPS_BUFFER (1u << 20)
#define STEPS_SECONDS 10.0

typedef struct tables {
    const cvr_host *host;
    results_table results;
    int32_t results_changed, steps_begun;
    char steps_path[REPORT_PATH], summary_path[REPORT_PATH];
    char class_path[REPORT_PATH];
    text header;         /* of steps.csv; empty until the first step or what the file has */
    text steps;          /* rows that are not in the file yet */
    uint64_t steps_size; /* of the file, up to its last whole row */
    double steps_written;
    text per_class; /* the whole file; empty where there is nothing to write */
    report_classes classes;
    text absent; /* JSON: how many classes have no number, by metric; empty where nothing was told of classes */
    char *task, *model, *precision, *version, *protocol; /* protocol: NULL where there is none */
    int64_t params;
    uint64_t seed, planned_memory_bytes;
} tables;

static void tables_close(void *self) {
    tables *const t = self;
    const cvr_host *const host = t->host;
    char *const texts[] = {t->task, t->model, t->precision, t->version, t->protocol};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i]) host->free(host, texts[i]);
    }
    results_close(&t->results);
    text_close(&t->header);
    text_close(&t->steps);
    text_close(&t->per_class);
    text_close(&t->absent);
    report_classes_free(&t->classes, host);
    host->free(host, t);
}

/* Where the rows of the steps up to `last` end: whole lines that begin with a number. */
static uint64_t kept_bytes(const text *file, uint64_t at, int64_t last) {
    while (at < file->n) {
        const char *const row = file->bytes + at;
        const char *const newline = memchr(row, '\n', file->n - at);
        if (!newline || *row < '1' || *row > '9' || strtoll(row, NULL, 10) > last) break;
        at += (uint64_t)(newline - row) + 1;
    }
    return at;
}

/* Bytes of the header, with its end; 0 where it is not one that cvrun wrote. */
static uint64_t header_bytes(const text *file) {
    const char *const newline = memchr(file->bytes, '\n', file->n);
    const uint64_t n = newline ? (uint64_t)(newline - file->bytes) + 1 : 0, begin = strlen(STEPS_BEGIN),
                   end = strlen(STEPS_END);
    return n >= begin + end && memcmp(file->bytes, STEPS_BEGIN, begin) == 0 &&
                   memcmp(file->bytes + n - end, STEPS_END, end) == 0
               ? n
               : 0;
}

static int32_t is_cut_header(const text *file) {
    const uint64_t begin = strlen(STEPS_BEGIN);
    return !memchr(file->bytes, '\n', file->n) &&
           memcmp(file->bytes, STEPS_BEGIN, file->n < begin ? file->n : begin) == 0;
}

/* Cutting is one call that needs no room, so that it also works on a full disk. */
static int32_t cut_steps(tables *t, int64_t last, cvr_error *err) {
    text file;
    int32_t exists;
    text_open(&file, t->host);
    int32_t status;
    CVR_TRY_OUT(report_read(t->steps_path, &file, &exists, err));
    const uint64_t header = file.n ? header_bytes(&file) : 0;
    if (header) {
        text_add(&t->header, file.bytes, header);
        t->steps_size = kept_bytes(&file, header, last);
    } else if (file.n && !is_cut_header(&file)) {
        status = cvr_fail(err, CVR_ERR_FORMAT, "not a table of steps that cvrun wrote; move it away and resume again");
        CVR_TRY_OUT(report_fail_at(err, t->steps_path, status));
    }
    if (exists && t->steps_size < file.n) CVR_TRY_OUT(report_cut(t->steps_path, t->steps_size, err));
out:
    text_close(&file);
    return status;
}

static int32_t keep_info(tables *t, const cvr_run_info *info, cvr_error *err) {
    t->task = report_copy(t->host, info->task);
    t->model = report_copy(t->host, info->model);
    t->precision = report_copy(t->host, info->precision);
    t->version = report_copy(t->host, info->version);
    t->params = info->params;
    t->seed = info->seed;
    t->planned_memory_bytes = info->planned_memory_bytes;
    if (info->protocol) t->protocol = report_copy(t->host, info->protocol);
    if (!t->task || !t->model || !t->precision || !t->version || (info->protocol && !t->protocol)) {
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a report");
    }
    return CVR_OK;
}

static int32_t tables_open(const cvr_run_info *info, void **self, cvr_error *err) {
    tables *const t = report_calloc(info->host, sizeof *t);
    if (!t) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a report");
    t->host = info->host;
    text_open(&t->header, info->host);
    t->steps_written = report_now();
    text_open(&t->steps, info->host);
    text_open(&t->per_class, info->host);
    text_open(&t->absent, info->host);
    int32_t status;
    CVR_TRY_OUT(results_open(&t->results, info, err));
    CVR_TRY_OUT(report_path(t->steps_path, info->folder, "steps.csv", err));
    CVR_TRY_OUT(report_path(t->summary_path, info->folder, "summary.json", err));
    CVR_TRY_OUT(report_path(t->class_path, info->folder, "per_class.csv", err));
    CVR_TRY_OUT(report_classes_copy(&t->classes, t->host, info->n_classes, info->class_names, err));
    CVR_TRY_OUT(keep_info(t, info, err));
    if (info->resume_step == 0) CVR_TRY_OUT(report_set_aside(t->host, t->steps_path, err));
    if (info->resume_step >= 0) CVR_TRY_OUT(cut_steps(t, info->resume_step, err));
    if (info->resume_step >= 0) CVR_TRY_OUT(results_write(&t->results, err));
out:
    if (status != CVR_OK) {
        tables_close(t);
        return status;
    }
    *self = t;
    return CVR_OK;
}

static int32_t write_steps(tables *t, cvr_error *err) {
    t->steps_written = report_now();
    if (t->steps.n == 0) return text_check(&t->steps, err);
    CVR_TRY(report_append(t->steps_path, t->steps_size, &t->steps, err));
    t->steps_size += t->steps.n;
    t->steps.n = 0;
    return CVR_OK;
}

/* The header once the losses are known; what a file has already must be the same. */
static int32_t begin_steps(tables *t, const cvr_step_event *e, cvr_error *err) {
    text header;
    text_open(&header, t->host);
    text_put(&header, STEPS_BEGIN);
    for (uint32_t i = 0; i < e->n_losses && e->n_losses > 1; i++) {
        text_put(&header, ",loss_");
        text_put(&header, e->loss_names[i]);
    }
    text_put(&header, STEPS_END);
    int32_t status;
    CVR_TRY_OUT(text_check(&header, err));
    if (t->header.n == 0) {
        text_add(&t->header, header.bytes, header.n);
        text_add(&t->steps, header.bytes, header.n);
    } else if (t->header.n != header.n || memcmp(t->header.bytes, header.bytes, header.n) != 0) {
        status = cvr_fail(err, CVR_ERR_FORMAT, "it has other losses than this run; move it away and resume again");
        CVR_TRY_OUT(report_fail_at(err, t->steps_path, status));
    }
out:
    text_close(&header);
    return status;
}

static void put_cell(text *t, double v) {
    text_put(t, ",");
    text_number(t, v);
}

static int32_t tables_step(void *self, const cvr_step_event *e, cvr_error *err) {
    tables *const t = self;
    if (!t->steps_begun) CVR_TRY(begin_steps(t, e, err));
    t->steps_begun = 1;
    text_int(&t->steps, e->step);
    text_put(&t->steps, ",");
    text_int(&t->steps, e->epoch);
    put_cell(&t->steps, e->loss);
    for (uint32_t i = 0; i < e->n_losses && e->n_losses > 1; i++) put_cell(&t->steps, e->losses[i]);
    put_cell(&t->steps, e->lr);
    put_cell(&t->steps, e->images_per_s);
    put_cell(&t->steps, e->data_wait_fraction);
    text_put(&t->steps, "\n");
    const int32_t waits = t->steps.n < STEPS_BUFFER && report_now() - t->steps_written < STEPS_SECONDS;
    return waits ? text_check(&t->steps, err) : write_steps(t, err);
}

/* A row a class; what a class has not is an empty cell. */
static void put_per_class(tables *t, const cvr_epoch_event *e) {
    char name[REPORT_NAME];
    t->per_class.n = 0;
    text_put(&t->per_class, "class");
    for (uint32_t k = 0; k < e->n_columns; k++) {
        text_put(&t->per_class, ",");
        text_cell(&t->per_class, e->columns[k]);
    }
    text_put(&t->per_class, "\n");
    for (int64_t i = 0; i < t->classes.n; i++) {
        report_class_name(&t->classes, i, name);
        text_cell(&t->per_class, name);
        for (uint32_t k = 0; k < e->n_columns; k++) put_cell(&t->per_class, e->per_class[i * e->n_columns + k]);
        text_put(&t->per_class, "\n");
    }
}

/* A mean over classes leaves out those without a number: how many those are belongs beside it. */
static void put_absent(tables *t, const cvr_epoch_event *e) {
    t->absent.n = 0;
    text_put(&t->absent, "{");
    for (uint32_t k = 0; k < e->n_columns; k++) {
        int64_t n = 0;
        for (int64_t i = 0; i < t->classes.n; i++) n += isnan(e->per_class[i * e->n_columns + k]) != 0;
        if (k > 0) text_put(&t->absent, ", ");
        text_json(&t->absent, e->columns[k]);
        text_put(&t->absent, ": ");
        text_int(&t->absent, n);
    }
    text_put(&t->absent, "}");
}

static int32_t tables_epoch(void *self, const cvr_epoch_event *e, cvr_error *err) {
    tables *const t = self;
    t->results_changed = 1;
    if (e->per_class) put_per_class(t, e);
    if (e->per_class) put_absent(t, e);
    return results_add(&t->results, e, err);
}

static int32_t tables_flush(void *self, cvr_error *err) {
    tables *const t = self;
    CVR_TRY(write_steps(t, err));
    if (t->results_changed) CVR_TRY(results_write(&t->results, err));
    t->results_changed = 0;
    if (t->per_class.n == 0) return text_check(&t->per_class, err);
    CVR_TRY(report_replace(t->class_path, &t->per_class, err));
    t->per_class.n = 0;
    return CVR_OK;
}

static void put_key(text *s, const char *key) {
    text_put(s, s->n > 0 ? ",\n  " : "{\n  ");
    text_json(s, key);
    text_put(s, ": ");
}

static void put_text_field(text *s, const char *key, const char *value) {
    put_key(s, key);
    text_json(s, value);
}

static void put_number_field(text *s, const char *key, double value) {
    put_key(s, key);
    text_json_number(s, value);
}

static void put_count_field(text *s, const char *key, uint64_t value) {
    char digits[32];
    (void)snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    put_key(s, key);
    text_put(s, digits);
}

static void put_metrics(text *s, const cvr_end_event *e) {
    put_key(s, "metrics");
    text_put(s, "{");
    for (uint32_t i = 0; i < e->n_metrics; i++) {
        if (i > 0) text_put(s, ", ");
        text_json(s, e->names[i]);
        text_put(s, ": ");
        text_json_number(s, e->values[i]);
    }
    text_put(s, "}");
    put_key(s, "best");
    text_put(s, "{\"metric\": ");
    text_json(s, e->best_metric ? e->best_metric : "");
    text_put(s, ", \"value\": ");
    text_json_number(s, e->best_epoch > 0 ? e->best_value : NAN);
    text_put(s, ", \"epoch\": ");
    text_json_number(s, e->best_epoch > 0 ? (double)e->best_epoch : NAN);
    text_put(s, "}");
}

static int32_t write_summary(const tables *t, const cvr_end_event *e, cvr_error *err) {
    text s;
    text_open(&s, t->host);
    put_text_field(&s, "task", t->task);
    put_text_field(&s, "model", t->model);
    put_count_field(&s, "params", (uint64_t)t->params);
    put_count_field(&s, "epochs", (uint64_t)e->epochs);
    put_count_field(&s, "steps", (uint64_t)e->steps);
    put_metrics(&s, e);
    if (t->protocol) put_text_field(&s, "protocol", t->protocol);
    if (t->absent.n) {
        put_key(&s, "absent_classes");
        text_add(&s, t->absent.bytes, t->absent.n);
    }
    put_number_field(&s, "train_seconds", e->train_seconds);
    put_number_field(&s, "images_per_second", e->images_per_second);
    put_number_field(&s, "data_wait_fraction", e->data_wait_fraction);
    put_number_field(&s, "session_seconds", e->session_seconds);
    put_number_field(&s, "step_seconds", e->step_seconds);
    put_number_field(&s, "step_wait_seconds", e->step_wait_seconds);
    put_number_field(&s, "validation_seconds", e->validation_seconds);
    put_number_field(&s, "saving_seconds", e->saving_seconds);
    put_count_field(&s, "planned_memory_bytes", t->planned_memory_bytes);
    put_count_field(&s, "peak_memory_bytes", e->peak_memory_bytes);
    put_text_field(&s, "backend", e->backend ? e->backend : "");
    put_text_field(&s, "precision", t->precision);
    put_count_field(&s, "seed", t->seed);
    put_text_field(&s, "version", t->version);
    text_put(&s, "\n}\n");
    const int32_t status = report_replace(t->summary_path, &s, err);
    text_close(&s);
    return status;
}

static int32_t tables_end(void *self, const cvr_end_event *e, cvr_error *err) {
    CVR_TRY(tables_flush(self, err));
    return write_summary(self, e, err);
}

const cvr_reporter_desc reports_tables = {
    .struct_size = sizeof reports_tables,
    .name = "tables",
    .doc = "results.csv, steps.csv, per_class.csv and summary.json",
    .open = tables_open,
    .step = tables_step,
    .epoch = tables_epoch,
    .flush = tables_flush,
    .end = tables_end,
    .close = tables_close,
};
