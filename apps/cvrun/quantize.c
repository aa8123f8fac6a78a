/* cvrun quantize: a network of 8-bit integers from a trained run, and what that costs and brings. */
#include "cvrun.h"
#include "measured_side.h"
#include "run_folder.h"
#include <stdlib.h>

#define MOST_NOTES 4096

typedef struct note {
    char *what, *text;
} note;

typedef struct quantizing {
    note *notes;
    size_t n, capacity;
    measured_side before, after;
    cvr_compress_result result;
    char folder[4096];
} quantizing;

/* ---- notes ---- */

static void take_note(void *ctx, const char *what, const char *text) {
    quantizing *q = ctx;
    note *more = q->n < MOST_NOTES ? cvr_grow(q->notes, q->n, &q->capacity, sizeof *more) : NULL;
    if (!more) return;
    q->notes = more;
    more[q->n] = (note){cvr_strdup(what), cvr_strdup(text)};
    if (more[q->n].what && more[q->n].text) q->n++;
}

/* ---- the new folder ---- */

static int32_t write_config(cvr_session *s, const char *run, const quantizing *q, cvr_error *err) {
    char network[64], *real = realpath(run, NULL);
    const char *slash = strrchr(q->folder, '/');
    const cvr_setting instead[] = {
        {.section = "compressed", .key = "by", .value = q->result.by},
        {.section = "compressed", .key = "plan", .value = CVR_PLAN_FILE},
        {.section = "compressed", .key = "origin", .value = real ? real : run},
        {.section = "run", .key = "name", .value = slash ? slash + 1 : q->folder},
    };
    const int32_t status = run_folder_begin(s, q->folder, instead, sizeof instead / sizeof *instead, network, err);
    free(real);
    return status;
}

/* ---- what came of it ---- */

static void describe(const quantizing *q, cvr_text *t) {
    cvr_text_add(t, "{\n  \"method\": ");
    cvr_text_add_json(t, q->result.by);
    cvr_text_add(t, ",\n  \"calibration\": {\"split\": \"train\", \"pictures\": %lld, \"of\": %lld},\n",
                 (long long)q->result.pictures, (long long)q->result.of);
    measured_side_json(t, "before", &q->before);
    cvr_text_add(t, ",\n");
    measured_side_json(t, "after", &q->after);
    cvr_text_add(t, ",\n  \"notes\": [");
    for (size_t i = 0; i < q->n; i++) {
        cvr_text_add(t, "%s\n    {", i ? "," : "");
        cvr_text_add_json(t, q->notes[i].what);
        cvr_text_add(t, ": ");
        cvr_text_add_json(t, q->notes[i].text);
        cvr_text_add(t, "}");
    }
    cvr_text_add(t, "%s]\n}\n", q->n ? "\n  " : "");
}

static int32_t write_json(const quantizing *q, bool print, cvr_error *err) {
    cvr_text t = {0};
    char *path = cvr_fs_join(q->folder, "compress.json");
    describe(q, &t);
    const int32_t status =
        path && !t.failed ? cvr_fs_write(path, t.s, t.n, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (status == CVR_OK && print) print_page(t.s);
    cvr_text_clear(&t);
    cvr_free(path);
    return status;
}

static void print_table(const quantizing *q) {
    const measured_side *b = &q->after;
    measured_sides_print(&q->before, b);
    print_text("%lld of %lld nodes run on integers; calibrated on %lld of %lld training pictures\n",
               (long long)b->one.int8_nodes, (long long)b->one.nodes, (long long)q->result.pictures,
               (long long)q->result.of);
    for (size_t i = 0; i < q->n; i++) print_text("  %s: %s\n", q->notes[i].what, q->notes[i].text);
}

/* ---- the command ---- */

static int32_t quantize(arguments *a, quantizing *q, cvr_error *err) {
    cvr_session *s = NULL;
    arguments there = {.path = q->folder};
    int32_t status = try_session(a, CVR_FOR_COMPRESSION, &s, err);
    if (status == CVR_OK) status = measure_side(s, a->path, &q->before, err);
    if (status == CVR_OK) status = run_folder_beside(a->path, "quantized", q->folder, sizeof q->folder, err);
    const cvr_compress_options o = {.folder = q->folder, .note = take_note, .ctx = q};
    if (status == CVR_OK) status = cvr_session_compress(s, &o, &q->result, err);
    if (status == CVR_OK) status = write_config(s, a->path, q, err);
    if (status != CVR_OK && *q->folder) run_folder_discard(q->folder);
    cvr_session_close(&s);
    CVR_TRY(status);
    status = try_session(&there, CVR_FOR_EVALUATION, &s, err);
    if (status == CVR_OK) status = measure_side(s, q->folder, &q->after, err);
    cvr_session_close(&s);
    return status;
}

static int run_quantize(const arguments *given) {
    arguments a = *given;
    cvr_error err = CVR_ERROR_INIT;
    quantizing q = {0};
    cvr_text own[sizeof a.settings / sizeof *a.settings] = {{0}};
    int32_t status = take_own_settings(&a, "quant", own, &err);
    if (status == CVR_OK && (!a.path || !cvr_fs_is_folder(a.path)))
        status =
            cvr_fail(&err, CVR_ERR_USAGE, "%s is not a run folder; train first: cvrun train", a.path ? a.path : "that");
    if (status == CVR_OK) status = quantize(&a, &q, &err);
    if (status == CVR_OK) status = write_json(&q, a.json, &err);
    if (status == CVR_OK && !a.json) print_table(&q);
    if (status == CVR_OK && !a.json) print_text("%s\n", q.folder);
    for (size_t i = 0; i < q.n; i++) {
        cvr_free(q.notes[i].what);
        cvr_free(q.notes[i].text);
    }
    cvr_free(q.notes);
    measured_side_clear(&q.before);
    measured_side_clear(&q.after);
    for (size_t i = 0; i < a.n_settings; i++) cvr_text_clear(&own[i]);
    return status == CVR_OK ? EXIT_OK : report_error(&err);
}

const command quantize_command = {
    .name = "quantize",
    .usage = "RUN_DIR [method=ptq] [key=value ...]",
    .summary = "a network of 8-bit integers from a trained run",
    .help =
        "Makes RUN_DIR-quantized, which val, predict and export take, and prints what it costs and brings; the same "
        "is in its compress.json. Keys of [quant] need no section: method, pictures, observer, skip, keep, "
        "bias_correction.\n",
    .run = run_quantize,
    .needs_path = true,
};
