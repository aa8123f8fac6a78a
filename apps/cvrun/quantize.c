/* cvrun quantize: a network of 8-bit integers from a trained run, and what that costs and brings. */
#include "compress_json.h"
#include "cvrun.h"
#include "measured_side.h"
#include "run_folder.h"
#include <stdlib.h>

typedef struct quantizing {
    compress_notes notes;
    measured_side before, after;
    cvr_compress_result result;
    char folder[4096], origin[4096];
} quantizing;

/* ---- the new folder ---- */

/* Settings of training that follows, lines `section.key = value`; cut apart in place. */
static size_t add_lines(char *text, cvr_setting *to, size_t n) {
    for (char *line = text, *next; *line && n < MOST_INSTEAD; line = next) {
        char *end = strchr(line, '\n'), *dot = strchr(line, '.'), *equals = strchr(line, '=');
        next = end ? end + 1 : line + strlen(line);
        if (end) *end = '\0';
        if (!dot || !equals || dot > equals) continue;
        *dot = '\0';
        for (char *c = equals; c > dot && (*c == '=' || *c == ' '); c--) *c = '\0';
        to[n++] = (cvr_setting){.section = line, .key = dot + 1, .value = equals + 1 + (equals[1] == ' ')};
    }
    return n;
}

/* The weights that training goes on from. */
static char *weights_of(const char *run) {
    char *best = cvr_fs_join(run, "weights/best.safetensors");
    if (best && cvr_fs_exists(best)) return best;
    cvr_free(best);
    return cvr_fs_join(run, "weights/last.safetensors");
}

static int32_t write_config(cvr_session *s, const char *run, quantizing *q, cvr_error *err) {
    char network[64], *real = realpath(run, NULL), *weights = weights_of(real ? real : run);
    const char *slash = strrchr(q->folder, '/');
    cvr_setting instead[MOST_INSTEAD] = {
        {.section = "compressed", .key = "by", .value = q->result.by},
        {.section = "compressed", .key = "plan", .value = CVR_PLAN_FILE},
        {.section = "compressed", .key = "origin", .value = real ? real : run},
        {.section = "run", .key = "name", .value = slash ? slash + 1 : q->folder},
        {.section = "model", .key = "weights", .value = weights ? weights : ""},
        {.section = "model", .key = "head", .value = "keep"},
    };
    const size_t n = q->result.trains ? add_lines(q->result.settings, instead, 6) : 4;
    const int32_t status = run_folder_begin(s, q->folder, instead, n, network, err);
    cvr_free(weights);
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
    cvr_text_add(t, ",\n  ");
    compress_notes_json(t, &q->notes);
    cvr_text_add(t, "\n}\n");
}

static int32_t write_json(const quantizing *q, bool print, cvr_error *err) {
    cvr_text t = {0};
    describe(q, &t);
    return compress_json_write(q->folder, &t, print, err);
}

static void print_table(const quantizing *q) {
    const measured_side *b = &q->after;
    measured_sides_print(&q->before, b);
    print_text("%lld of %lld nodes run on integers", (long long)b->one.int8_nodes, (long long)b->one.nodes);
    if (q->result.of)
        print_text("; calibrated on %lld of %lld training pictures", (long long)q->result.pictures,
                   (long long)q->result.of);
    print_text("\n");
    compress_notes_print(&q->notes);
}

/* ---- the command ---- */

/* Training that the method wants, in the new folder. */
static int32_t finetune(const arguments *there, bool resume, quantizing *q, cvr_error *err) {
    cvr_session *s = NULL;
    cvr_train_result result;
    const cvr_train_options o = {.folder = q->folder, .resume = resume};
    int32_t status = try_session(there, CVR_FOR_TRAINING | CVR_TO_FINETUNE, &s, err);
    if (status == CVR_OK) status = train_in_folder(s, &o, &result, err);
    cvr_session_close(&s);
    return status;
}

/* The new folder with what quantisation alone makes. */
static int32_t compress(const arguments *a, quantizing *q, cvr_error *err) {
    cvr_session *s = NULL;
    int32_t status = try_session(a, CVR_FOR_COMPRESSION, &s, err);
    if (status == CVR_OK) status = measure_side(s, a->path, &q->before, err);
    if (status == CVR_OK) status = run_folder_beside(a->path, "quantized", q->folder, sizeof q->folder, err);
    const cvr_compress_options o = {.folder = q->folder, .note = compress_notes_take, .ctx = &q->notes};
    if (status == CVR_OK) status = cvr_session_compress(s, &o, &q->result, err);
    if (status == CVR_OK) status = write_config(s, a->path, q, err);
    if (status != CVR_OK && *q->folder) run_folder_discard(q->folder);
    cvr_session_close(&s);
    return status;
}

/* A quantised run whose training was interrupted goes on; what there was before is its origin. */
static int32_t go_on(const arguments *a, quantizing *q, cvr_error *err) {
    CVR_TRY(measure_origin(a->path, q->origin, &q->before, err));
    (void)snprintf(q->folder, sizeof q->folder, "%s", a->path);
    return finetune(a, true, q, err);
}

static int32_t quantize(const arguments *a, quantizing *q, cvr_error *err) {
    cvr_session *s = NULL;
    arguments there = {.path = q->folder};
    if (a->resume) {
        CVR_TRY(go_on(a, q, err));
    } else {
        CVR_TRY(compress(a, q, err));
        if (q->result.trains) CVR_TRY(finetune(&there, false, q, err));
    }
    int32_t status = try_session(&there, CVR_FOR_EVALUATION, &s, err);
    if (status == CVR_OK) status = measure_side(s, q->folder, &q->after, err);
    cvr_session_close(&s);
    return status;
}

/* The run that this one was made of, by its config.ini; "": it was made of none. */
static int32_t find_origin(const char *run, quantizing *q, cvr_error *err) {
    char *path = cvr_fs_join(run, "config.ini");
    cvr_config *c = NULL;
    if (!path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = cvr_config_load(&c, path, err);
    if (status == CVR_OK) {
        const cvr_setting *origin = cvr_config_given(c, "compressed", "origin"),
                          *by = cvr_config_given(c, "compressed", "by");
        (void)snprintf(q->origin, sizeof q->origin, "%s", origin ? origin->value : "");
        (void)snprintf(q->result.by, sizeof q->result.by, "%s", by ? by->value : "");
    }
    cvr_config_destroy(&c);
    cvr_free(path);
    return status;
}

static bool names_method(const arguments *a) {
    for (size_t i = 0; i < a->n_settings; i++)
        if (strncmp(a->settings[i], "quant.method=", 13) == 0) return true;
    return false;
}

/* Another method takes the run that a quantised one was made of. */
static int32_t choose_run(arguments *a, quantizing *q, cvr_error *err) {
    if (!a->path || !cvr_fs_is_folder(a->path))
        return cvr_fail(err, CVR_ERR_USAGE, "%s is not a run folder; train first: cvrun train",
                        a->path ? a->path : "that");
    CVR_TRY(find_origin(a->path, q, err));
    if (a->resume && !*q->origin)
        return cvr_fail(err, CVR_ERR_USAGE, "%s is no quantised run; go on with: cvrun train --resume %s", a->path,
                        a->path);
    if (a->resume || !*q->origin || !names_method(a)) return CVR_OK;
    cvr_log(CVR_LOG_INFO, "%s was made of %s, which is quantised anew", a->path, q->origin);
    a->path = q->origin;
    return CVR_OK;
}

static int run_quantize(const arguments *given) {
    arguments a = *given;
    cvr_error err = CVR_ERROR_INIT;
    quantizing q = {0};
    cvr_text own[sizeof a.settings / sizeof *a.settings] = {{0}};
    int32_t status = take_own_settings(&a, "quant", own, &err);
    if (status == CVR_OK) status = choose_run(&a, &q, &err);
    if (status == CVR_OK) status = quantize(&a, &q, &err);
    if (status == CVR_OK) status = write_json(&q, a.json, &err);
    if (status == CVR_OK && !a.json) print_table(&q);
    if (status == CVR_OK && !a.json) print_text("%s\n", q.folder);
    compress_notes_clear(&q.notes);
    measured_side_clear(&q.before);
    measured_side_clear(&q.after);
    for (size_t i = 0; i < a.n_settings; i++) cvr_text_clear(&own[i]);
    return status == CVR_OK ? EXIT_OK : report_error(&err);
}

const command quantize_command = {
    .name = "quantize",
    .usage = "RUN_DIR [method=ptq|qat] [key=value ...]",
    .summary = "a network of 8-bit integers from a trained run",
    .help =
        "Makes RUN_DIR-quantized, which val, predict and export take, and prints what it costs and brings; the same "
        "is in its compress.json. Keys of [quant] need no section: method, pictures, observer, skip, keep, "
        "bias_correction; of method=qat, which trains on, epochs, lr, freeze_norm, freeze_ranges.\n"
        "  cvrun quantize --resume RUN_DIR-quantized\n"
        "      go on with that training\n",
    .run = run_quantize,
    .needs_path = true,
    .resumes = true,
};
