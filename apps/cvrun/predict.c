/* cvrun predict: pictures in, predictions.json and predictions.csv out. */
#include "cvrun.h"
#include "predict_raw.h"
#include "predict_sources.h"
#include "run_folder.h"
#include <cvr/used_names.h>
#include <sys/stat.h>

typedef struct prediction {
    cvr_prediction_sink sink;
    cvr_text json, csv;
    size_t n;
    const char *path;
    int64_t width, height;
    const path_list *sources; /* which nothing may replace */
    bool quiet;
    const char *parent, *name; /* of the folder that predictions go to: predict.out without a name, or the first free */
    char folder[1024];         /* "": not made yet */
    bool disk_failed;          /* something could not be written: not the picture's fault */
    cvr_used_names
        files; /* that tasks have written: two pictures may have one name but for its ending, or the folder */
    char file[256];
    raw_results raw;
} prediction;

/* predict.out, or runs/predict/NAME with the first number that is free: made when there is something to put in. */
static int32_t make_folder(prediction *p, cvr_error *err) {
    if (*p->folder) return CVR_OK;
    int32_t status = CVR_OK;
    if (p->name)
        status = run_folder_first_free(p->parent, p->name, p->folder, sizeof p->folder, err);
    else if ((size_t)snprintf(p->folder, sizeof p->folder, "%s", p->parent) < sizeof p->folder)
        status = cvr_fs_mkdirs(p->folder, err);
    else
        status = cvr_fail(err, CVR_ERR_USAGE, "predict.out: a path of over %zu bytes", sizeof p->folder - 1);
    p->disk_failed = p->disk_failed || status != CVR_OK;
    return status;
}

/* ---- what comes out ---- */

static void on_begin(void *ctx, const char *path, int64_t width, int64_t height) {
    prediction *p = ctx;
    p->path = path;
    p->width = width;
    p->height = height;
}

static void on_json(const cvr_prediction_sink *s, const char *text) {
    prediction *p = s->ctx;
    cvr_text_add(&p->json, "%s\n  {\"file\": ", p->n++ ? "," : "");
    cvr_text_add_json(&p->json, p->path);
    cvr_text_add(&p->json, ", \"width\": %lld, \"height\": %lld, %s}", (long long)p->width, (long long)p->height, text);
}

/* Quoted as RFC 4180 has it. */
static void on_csv(const cvr_prediction_sink *s, const char *text) {
    prediction *p = s->ctx;
    cvr_text_add(&p->csv, "\"");
    for (const char *c = p->path; *c; c++) cvr_text_add(&p->csv, *c == '"' ? "\"\"" : "%c", *c);
    cvr_text_add(&p->csv, "\",%lld,%lld,%s\n", (long long)p->width, (long long)p->height, text);
}

static void on_text(const cvr_prediction_sink *s, const char *text) {
    prediction *p = s->ctx;
    if (!p->quiet) print_line(stdout, "%s: %s", p->path, text);
}

static bool same_file(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* A picture's mask may lie beside it under the very name that a prediction gets. */
static int32_t spare_sources(const prediction *p, const char *path, cvr_error *err) {
    for (size_t i = 0; i < p->sources->n; i++) {
        const char *const slash = strrchr(p->sources->paths[i], '/');
        if (strcmp(slash ? slash + 1 : p->sources->paths[i], p->file) != 0 || !same_file(p->sources->paths[i], path))
            continue;
        cvr_fail(err, CVR_ERR_USAGE,
                 "one of the pictures to look at, which a prediction would replace; give another predict.out");
        return cvr_fail_at(err, path, 0, CVR_ERR_USAGE);
    }
    return CVR_OK;
}

static int32_t on_file(const cvr_prediction_sink *s, const char *suffix, const void *bytes, uint64_t n,
                       const char **name, cvr_error *err) {
    prediction *p = s->ctx;
    const char *slash = strrchr(p->path, '/'), *base = slash ? slash + 1 : p->path, *dot = strrchr(base, '.');
    char path[1300], stem[256];
    (void)snprintf(stem, sizeof stem, "%.*s", (int)(dot && dot != base ? dot - base : (int)strlen(base)), base);
    if (!suffix || !*suffix || strchr(suffix, '/'))
        return cvr_fail(err, CVR_ERR_PLUGIN, "the task names a file `%.200s`, which is no ending of a file's name",
                        suffix ? suffix : "");
    CVR_TRY(cvr_used_names_take(&p->files, stem, suffix, p->file, sizeof p->file, err));
    CVR_TRY(make_folder(p, err));
    (void)snprintf(path, sizeof path, "%s/%s", p->folder, p->file);
    if (name) *name = p->file;
    int32_t status = spare_sources(p, path, err);
    if (status == CVR_OK) status = cvr_fs_write(path, bytes, n, err);
    p->disk_failed = p->disk_failed || status != CVR_OK;
    return status;
}

static void on_raw(void *ctx, const char *name, const cvr_type *type, const void *output) {
    raw_add(&((prediction *)ctx)->raw, name, type, output);
}

static int32_t write_file(const char *folder, const char *name, const cvr_text *text, cvr_error *err) {
    char *path = text->failed ? NULL : cvr_fs_join(folder, name);
    const int32_t status =
        path ? cvr_fs_write(path, text->s, text->n, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    cvr_free(path);
    return status;
}

static int32_t write_all(cvr_session *s, prediction *p, cvr_error *err) {
    CVR_TRY(make_folder(p, err));
    CVR_TRY(write_file(p->folder, "predictions.json", &p->json, err));
    CVR_TRY(write_file(p->folder, "predictions.csv", &p->csv, err));
    return predict_section->raw ? raw_write(&p->raw, cvr_session_plugins(s), p->folder, err) : CVR_OK;
}

/* ---- picture after picture ---- */

/* Before the network has worked once, a failure may be the picture's or the weights': pictures of two sizes, or this
 * many of one, that fail in the same words are taken for the latter. */
#define MOST_DOUBTFUL 4

typedef struct doubt {
    cvr_error errors[MOST_DOUBTFUL];
    size_t n;
    int64_t width, height;
} doubt;

/* They were the pictures' own faults: named and passed over. */
static void settle(doubt *d, size_t *bad) {
    for (size_t i = 0; i < d->n; i++) (void)report_error(&d->errors[i]);
    *bad += d->n;
    d->n = 0;
}

/* Returns the error where it is not the picture's. */
static int32_t pass_over(const prediction *p, doubt *d, const cvr_error *why, size_t *bad, cvr_error *err) {
    if (p->n || why->code == CVR_ERR_FORMAT || why->code == CVR_ERR_IO) {
        (void)report_error(why);
        ++*bad;
        return CVR_OK;
    }
    if (d->n && strcmp(d->errors[0].message, why->message) != 0) settle(d, bad);
    if (d->n == MOST_DOUBTFUL || (d->n && (d->width != p->width || d->height != p->height))) {
        *err = d->errors[0];
        return err->code;
    }
    d->width = p->width;
    d->height = p->height;
    d->errors[d->n++] = *why;
    return CVR_OK;
}

static int32_t predict_files(cvr_session *s, const path_list *files, prediction *p, size_t *bad, cvr_error *err) {
    const cvr_predict_options o = {.sink = &p->sink,
                                   .begin = on_begin,
                                   .raw = predict_section->raw ? on_raw : NULL,
                                   .ctx = p,
                                   .pictures = predict_section->save != 0,
                                   .tile = predict_section->tile,
                                   .overlap = predict_section->overlap};
    doubt doubtful = {.n = 0};
    for (size_t i = 0; i < files->n; i++) {
        cvr_error one = CVR_ERROR_INIT;
        const int32_t status = cvr_predict_file(s, files->paths[i], &o, &one);
        if (status == CVR_OK)
            settle(&doubtful, bad);
        else if (p->disk_failed)
            return cvr_fail_at(err, one.file, 0, cvr_fail(err, one.code, "%s", one.message));
        else
            CVR_TRY(pass_over(p, &doubtful, &one, bad, err));
    }
    if (p->n == 0 && doubtful.n) *err = doubtful.errors[0];
    return p->n == 0 && doubtful.n ? err->code : CVR_OK;
}

/* Those of the command line; else the recipe's. */
static int32_t list_sources(cvr_session *s, const arguments *a, path_list *files, cvr_error *err) {
    const char *const *const given = a->sources, *recipe = predict_section->source;
    return sources_list(cvr_session_plugins(s), a->n_sources ? given : &recipe, a->n_sources ? a->n_sources : 1, files,
                        err);
}

static int32_t predict(cvr_session *s, const arguments *a, prediction *p, size_t *bad, cvr_error *err) {
    path_list files = {0};
    char name[256];
    int32_t status;
    run_folder_name_of(s, a->path, name, sizeof name);
    if (!*name) (void)snprintf(name, sizeof name, "predict");
    p->parent = *predict_section->out ? predict_section->out : "runs/predict";
    p->name = *predict_section->out ? NULL : name;
    CVR_TRY_OUT(cvr_session_check_tiles(s, predict_section->tile, predict_section->overlap, err));
    CVR_TRY_OUT(list_sources(s, a, &files, err));
    p->sources = &files;
    CVR_TRY_OUT(predict_files(s, &files, p, bad, err));
    cvr_text_add(&p->json, "\n]\n");
    if (p->n) CVR_TRY_OUT(write_all(s, p, err));
out:
    sources_clear(&files);
    return status;
}

/* source=PATH, which is short for predict.source=PATH and may stand more than once, is none of the settings. */
static void take_sources(arguments *a) {
    static const char full[] = "predict.source=";
    size_t kept = 0;
    for (size_t i = 0; i < a->n_settings; i++) {
        const char *const s = a->settings[i];
        const size_t before = strncmp(s, full, sizeof full - 1) == 0 ? sizeof full - 1
                              : strncmp(s, "source=", 7) == 0        ? 7
                                                                     : 0;
        if (before)
            a->sources[a->n_sources++] = s + before;
        else
            a->settings[kept++] = s;
    }
    a->n_settings = kept;
}

/* The device is open once a picture was looked at. */
static void print_result(cvr_session *s, const prediction *p) {
    char many[64];
    cvr_session_info info;
    cvr_session_describe(s, &info);
    print_backend(&info);
    print_line(stdout, "%s; predictions are in %s", human_many((int64_t)p->n, "picture", many), p->folder);
}

static int run_predict(const arguments *a) {
    cvr_error err;
    cvr_session *session;
    arguments settings = *a;
    size_t bad = 0;
    take_sources(&settings);
    int status = open_session(&settings, CVR_FOR_PREDICTION, &session);
    if (status != EXIT_OK) return status;
    prediction p = {.quiet = a->json};
    p.sink = (cvr_prediction_sink){
        .struct_size = sizeof p.sink, .ctx = &p, .json = on_json, .csv = on_csv, .line = on_text, .file = on_file};
    cvr_error_init(&err);
    cvr_text_add(&p.json, "[");
    cvr_text_add(&p.csv, "file,width,height,%s\n", cvr_session_task(session)->csv_header);
    if (predict(session, &settings, &p, &bad, &err) != CVR_OK)
        status = report_error(&err);
    else if (a->json)
        fputs(p.json.s, stdout);
    else if (p.n)
        print_result(session, &p);
    if (status == EXIT_OK && bad) status = EXIT_FAILED;
    cvr_text_clear(&p.json);
    cvr_text_clear(&p.csv);
    raw_clear(&p.raw);
    cvr_used_names_clear(&p.files);
    cvr_session_close(&session);
    return status;
}

const command predict_command = {
    .name = "predict",
    .usage = "RECIPE.ini|RUN_DIR|model=NAME source=PATH [key=value ...]",
    .summary = "look at pictures, or folders of them",
    .help = "source= is a picture, a folder, a .txt file that lists pictures, or a pattern such as 'photos/*.jpg'; "
            "several stand as a,b or each as a source= of its own.\n"
            "Writes predictions.json and predictions.csv to runs/predict/NAME or predict.out=DIR, and prints where.\n"
            "predict.raw=yes also writes the network's own results to raw.safetensors. A run folder stands for its "
            "best weights.\n"
            "A picture that cannot be used is named and passed over; the exit status is then 1. No link is followed "
            "twice. --json prints predictions.json.\n"
            "Without a recipe: cvrun predict model=yolox_s weights=yolox_s.pth model.num_classes=80 source=photos\n",
    .run = run_predict,
    .needs_path = true,
};
