/* cvrun predict: pictures in, predictions.json and predictions.csv out. */
#include "cvrun.h"
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

typedef struct file_list {
    const cvr_image_service *images; /* knows the endings of their names */
    char **paths;
    size_t n, capacity;
} file_list;

typedef struct prediction {
    cvr_prediction_sink sink;
    cvr_text json, csv;
    size_t n;
    const char *path;
    int64_t width, height;
    bool quiet;
    const char *folder;
    char file[1024];
    float *raw; /* all outputs, one after the other */
    size_t raw_n, raw_row;
    cvr_type raw_type;
    bool raw_failed;
} prediction;

/* ---- which files ---- */

static bool add_path(file_list *l, char *path) {
    char **more = cvr_grow(l->paths, l->n, &l->capacity, sizeof *more);
    if (!more || !path) {
        cvr_free(path);
        return false;
    }
    l->paths = more;
    more[l->n++] = path;
    return true;
}

static bool add_folder(file_list *l, const char *folder, int depth) {
    DIR *d = depth < 64 ? opendir(folder) : NULL;
    bool good = true;
    if (!d) return depth < 64 ? false : true;
    for (struct dirent *e; good && (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        char *path = cvr_fs_join(folder, e->d_name);
        if (path && cvr_fs_is_folder(path)) {
            good = add_folder(l, path, depth + 1);
            cvr_free(path);
        } else if (l->images->is_picture(l->images, e->d_name)) {
            good = add_path(l, path);
        } else {
            cvr_free(path);
        }
    }
    closedir(d);
    return good;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int32_t list_files(file_list *l, const char *source, cvr_error *err) {
    if (!*source)
        return cvr_fail(err, CVR_ERR_USAGE, "what shall I look at? Give predict.source=PATH, a picture or a folder");
    const bool folder = cvr_fs_is_folder(source);
    if (!(folder ? add_folder(l, source, 0) : add_path(l, cvr_strdup(source))))
        return cvr_fail(err, CVR_ERR_IO, "cannot list %s", source);
    if (l->n) qsort(l->paths, l->n, sizeof *l->paths, by_bytes);
    return l->n ? CVR_OK : cvr_fail(err, CVR_ERR_USAGE, "there is no picture in %s", source);
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
    if (!p->quiet) printf("%s: %s\n", p->path, text);
}

static int32_t on_file(const cvr_prediction_sink *s, const char *suffix, const void *bytes, uint64_t n,
                       const char **name, cvr_error *err) {
    prediction *p = s->ctx;
    const char *slash = strrchr(p->path, '/'), *base = slash ? slash + 1 : p->path, *dot = strrchr(base, '.');
    char path[2100];
    const int stem = (int)(dot && dot != base ? dot - base : (int)strlen(base));
    if (!suffix || !*suffix || strchr(suffix, '/') || stem + strlen(suffix) > 255)
        return cvr_fail(err, CVR_ERR_PLUGIN, "the task names a file `%.200s`, which is no ending of a file's name",
                        suffix ? suffix : "");
    (void)snprintf(p->file, sizeof p->file, "%.*s%s", stem, base, suffix);
    (void)snprintf(path, sizeof path, "%s/%s", p->folder, p->file);
    if (name) *name = p->file;
    return cvr_fs_write(path, bytes, n, err);
}

static void on_raw(void *ctx, const char *name, const cvr_type *type, const void *output) {
    prediction *p = ctx;
    if (strcmp(name, "output") != 0 || type->dtype != CVR_F32) return;
    const size_t n = (size_t)cvr_numel(type->rank, type->shape);
    float *more = cvr_calloc(p->raw_n + n, sizeof *more);
    if (!more || (p->raw_n && n != p->raw_row)) {
        cvr_free(more);
        p->raw_failed = true;
        return;
    }
    if (p->raw_n) memcpy(more, p->raw, p->raw_n * sizeof *more);
    memcpy(more + p->raw_n, output, n * sizeof *more);
    cvr_free(p->raw);
    p->raw = more;
    p->raw_n += n;
    p->raw_row = n;
    p->raw_type = *type;
}

static int32_t to_writer(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    return cvr_writer_put(ctx, bytes, n, err);
}

/* raw.safetensors: `output`, f32, logical order, in the order of the files. */
static int32_t write_raw(cvr_session *s, const prediction *p, const char *folder, cvr_error *err) {
    const void *desc;
    cvr_writer w;
    cvr_weight all = {.struct_size = sizeof all,
                      .name = "output",
                      .dtype = CVR_F32,
                      .rank = p->raw_type.rank,
                      .data = p->raw,
                      .bytes = p->raw_n * sizeof(float)};
    const cvr_weight *one = &all;
    if (p->raw_failed)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the outputs differ in size, so they fit in no one tensor; set val.crop_size");
    for (uint32_t i = 1; i < all.rank; i++) all.shape[i] = p->raw_type.shape[i];
    all.shape[0] = (int64_t)(p->raw_n / p->raw_row);
    char *path = cvr_fs_join(folder, "raw.safetensors");
    int32_t status;
    if (!path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    CVR_TRY_OUT(cvr_plugins_find(cvr_session_plugins(s), CVR_KIND_WEIGHTS, "safetensors", &desc, err));
    CVR_TRY_OUT(cvr_writer_open(&w, path, err));
    const cvr_weights_desc *format = desc;
    status = format->write(cvr_plugins_host(cvr_session_plugins(s)), &one, 1, NULL, 0, to_writer, &w, err);
    if (status == CVR_OK)
        status = cvr_writer_commit(&w, false, err);
    else
        cvr_writer_abandon(&w);
out:
    cvr_free(path);
    return status;
}

static int32_t write_file(const char *folder, const char *name, const cvr_text *text, cvr_error *err) {
    char *path = cvr_fs_join(folder, name);
    if (!path || text->failed) {
        cvr_free(path);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    const int32_t status = cvr_fs_write(path, text->s, text->n, err);
    cvr_free(path);
    return status;
}

/* predict.out, or runs/predict/NAME with the first number that is free. */
static int32_t make_folder(const char *out, const char *name, char *folder, size_t size, cvr_error *err) {
    if (*out) {
        (void)snprintf(folder, size, "%s", out);
        return cvr_fs_mkdirs(out, err);
    }
    for (int i = 1; i < 100000; i++) {
        if (i == 1)
            (void)snprintf(folder, size, "runs/predict/%s", name);
        else
            (void)snprintf(folder, size, "runs/predict/%s%d", name, i);
        if (!cvr_fs_exists(folder)) return cvr_fs_mkdirs(folder, err);
    }
    return cvr_fail(err, CVR_ERR_IO, "runs/predict is full of %s; clear it out, or give predict.out=DIR", name);
}

static int32_t write_all(cvr_session *s, prediction *p, const char *folder, cvr_error *err) {
    cvr_text_add(&p->json, "\n]\n");
    CVR_TRY(write_file(folder, "predictions.json", &p->json, err));
    CVR_TRY(write_file(folder, "predictions.csv", &p->csv, err));
    if (predict_section->raw && p->raw) CVR_TRY(write_raw(s, p, folder, err));
    return CVR_OK;
}

static int32_t predict(cvr_session *s, const arguments *a, prediction *p, char *folder, size_t size, size_t *bad,
                       cvr_error *err) {
    const predict_settings *settings = predict_section;
    file_list files = {0};
    char name[128];
    const char *slash = strrchr(a->path, '/'), *base = slash && slash[1] ? slash + 1 : a->path;
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(base, "./"),
                   *base == '.' || *base == '/' ? "predict" : base);
    const cvr_predict_options o = {.sink = &p->sink, .begin = on_begin, .raw = settings->raw ? on_raw : NULL, .ctx = p};
    int32_t status;
    p->folder = folder;
    CVR_TRY_OUT(cvr_plugins_image_service(cvr_session_plugins(s), &files.images, err));
    CVR_TRY_OUT(list_files(&files, settings->source, err));
    CVR_TRY_OUT(make_folder(settings->out, *name ? name : "predict", folder, size, err));
    for (size_t i = 0; i < files.n; i++) {
        cvr_error one;
        cvr_error_init(&one);
        const int32_t rc = cvr_predict_file(s, files.paths[i], &o, &one);
        if (rc != CVR_OK && rc != CVR_ERR_FORMAT && rc != CVR_ERR_IO) {
            *err = one;
            CVR_TRY_OUT(rc);
        } else if (rc != CVR_OK) {
            (void)report_error(&one);
            ++*bad;
        }
    }
    CVR_TRY_OUT(write_all(s, p, folder, err));
out:
    for (size_t i = 0; i < files.n; i++) cvr_free(files.paths[i]);
    cvr_free(files.paths);
    return status;
}

static int run_predict(const arguments *a) {
    cvr_error err;
    cvr_session *session;
    arguments settings = *a;
    char folder[1024], source[1100];
    size_t bad = 0;
    for (size_t i = 0; i < settings.n_settings; i++) { /* source=PATH is short for predict.source=PATH */
        if (strncmp(settings.settings[i], "source=", 7) != 0) continue;
        (void)snprintf(source, sizeof source, "predict.%s", settings.settings[i]);
        settings.settings[i] = source;
    }
    int status = open_session(&settings, CVR_FOR_PREDICTION, &session);
    if (status != EXIT_OK) return status;
    prediction p = {.quiet = a->json};
    p.sink = (cvr_prediction_sink){sizeof p.sink, &p, on_json, on_csv, on_text, on_file};
    cvr_error_init(&err);
    cvr_text_add(&p.json, "[");
    cvr_text_add(&p.csv, "file,width,height,%s\n", cvr_session_task(session)->csv_header);
    if (predict(session, a, &p, folder, sizeof folder, &bad, &err) != CVR_OK)
        status = report_error(&err);
    else if (a->json)
        fputs(p.json.s, stdout);
    else
        printf("%zu pictures; predictions are in %s\n", p.n, folder);
    if (status == EXIT_OK && bad) status = EXIT_FAILED;
    cvr_text_clear(&p.json);
    cvr_text_clear(&p.csv);
    cvr_free(p.raw);
    cvr_session_close(&session);
    return status;
}

const command predict_command = {
    .name = "predict",
    .usage = "RECIPE.ini|RUN_DIR source=PATH [key=value ...]",
    .summary = "look at pictures, or folders of them",
    .help = "Writes predictions.json and predictions.csv to runs/predict/NAME or predict.out=DIR, and prints where.\n"
            "predict.raw=yes also writes the network's raw outputs to raw.safetensors. A run folder stands for its "
            "best weights.\n"
            "A picture that cannot be read is named and passed over; the exit status is then 1. --json prints "
            "predictions.json.\n",
    .run = run_predict,
    .needs_path = true,
};
