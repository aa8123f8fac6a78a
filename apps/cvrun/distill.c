/* cvrun distill: trains a run's network further, under a teacher. */
#include "compress_json.h"
#include "cvrun.h"
#include "measured_side.h"
#include "run_folder.h"

typedef struct distilling {
    char *origin; /* the run that is trained further */
    char folder[4096];
    measured_side before, after;
} distilling;

/* ---- measuring ---- */

static int32_t write_json(const distilling *d, cvr_config *c, bool print, cvr_error *err) {
    cvr_text t = {0};
    cvr_text_add(&t, "{\n  \"method\": ");
    cvr_text_add_json(&t, cvr_config_get(c, "distill", "method", NULL));
    cvr_text_add(&t, ",\n  \"teacher\": ");
    cvr_text_add_json(&t, cvr_config_get(c, "distill", "teacher", NULL));
    cvr_text_add(&t, ",\n");
    measured_side_json(&t, "before", &d->before);
    cvr_text_add(&t, ",\n");
    measured_side_json(&t, "after", &d->after);
    cvr_text_add(&t, "\n}\n");
    return compress_json_write(d->folder, &t, print, err);
}

static int32_t measure(distilling *d, cvr_session *s, bool json, cvr_error *err) {
    const arguments there = {.path = d->folder};
    cvr_session *student = NULL;
    CVR_TRY(measure_origin(d->folder, d->origin, &d->before, err));
    int32_t status = try_session(&there, CVR_FOR_EVALUATION, &student, err);
    if (status == CVR_OK) status = measure_side(student, d->folder, &d->after, err);
    cvr_session_close(&student);
    CVR_TRY(status);
    CVR_TRY(write_json(d, cvr_session_config(s), json, err));
    if (json) return CVR_OK;
    measured_sides_print(&d->before, &d->after);
    print_text("%s\n", d->folder);
    return CVR_OK;
}

/* ---- training ---- */

static int32_t train_there(distilling *d, cvr_session *s, bool resumes, cvr_error *err) {
    const cvr_train_options o = {.folder = d->folder, .resume = resumes};
    cvr_train_result result;
    if (*cvr_config_get(cvr_session_config(s), "distill", "teacher", NULL) == '\0')
        return cvr_fail(err, CVR_ERR_USAGE, "there is no teacher; say teacher=RUN_DIR");
    if (!resumes) CVR_TRY(run_folder_beside(d->origin, "distilled", d->folder, sizeof d->folder, err));
    const int32_t status = train_in_folder(s, &o, &result, err);
    if (status != CVR_OK && status != CVR_ERR_NUMERIC && !resumes) run_folder_discard(d->folder);
    return status;
}

/* The run's recipe, from its weights; the teacher's hash is of the one before, if there was one. */
static int32_t begin(const arguments *a, distilling *d, cvr_error *err) {
    static const char *const names[] = {"weights/best.safetensors", "weights/last.safetensors"};
    arguments there = *a;
    cvr_text weights = {0}, name = {0};
    char *recipe = cvr_fs_join(a->path, "config.ini"), *file = NULL;
    cvr_session *s = NULL;
    int32_t status;
    d->origin = cvr_fs_absolute(".", a->path);
    for (size_t i = 0; d->origin && i < 2 && (!file || !cvr_fs_exists(file)); i++) {
        cvr_free(file);
        file = cvr_fs_join(d->origin, names[i]);
    }
    if (!file || !recipe) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    if (!cvr_fs_exists(file))
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE, "%s: has no weights yet; train it with cvrun train --resume %s",
                             d->origin, d->origin));
    const char *slash = strrchr(d->origin, '/');
    cvr_text_add(&weights, "model.weights=%s", file);
    cvr_text_add(&name, "run.name=%s-distilled", slash ? slash + 1 : d->origin);
    if (weights.failed || name.failed) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    if (there.n_settings + 3 > sizeof there.settings / sizeof *there.settings)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE, "too many settings"));
    memmove(there.settings + 3, there.settings, there.n_settings * sizeof *there.settings); /* the user's win */
    there.settings[0] = weights.s;
    there.settings[1] = name.s;
    there.settings[2] = "distill.sha256=";
    there.n_settings += 3;
    there.path = recipe;
    CVR_TRY_OUT(try_session(&there, CVR_FOR_TRAINING | CVR_FROM_RUN, &s, err));
    CVR_TRY_OUT(train_there(d, s, false, err));
    status = measure(d, s, a->json, err);
out:
    cvr_session_close(&s);
    cvr_text_clear(&weights);
    cvr_text_clear(&name);
    cvr_free(file);
    cvr_free(recipe);
    return status;
}

/* The run that these weights are of: RUN/weights/best.safetensors. */
static int32_t find_origin(distilling *d, const char *weights, cvr_error *err) {
    const char *end = strrchr(weights, '/');
    const size_t tail = sizeof "/weights" - 1, n = end ? (size_t)(end - weights) : 0;
    if (n > tail && strncmp(end - tail, "/weights", tail) == 0) d->origin = cvr_strndup(weights, n - tail);
    if (d->origin && cvr_fs_is_folder(d->origin)) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE,
                    "model.weights = %s: the run that was trained further is not there any more; go on without "
                    "comparing by cvrun train --resume",
                    weights);
}

static int32_t go_on(const arguments *a, distilling *d, cvr_error *err) {
    arguments there = *a;
    cvr_session *s = NULL;
    int32_t status;
    there.path = a->resume;
    char *folder = cvr_fs_absolute(".", a->resume);
    CVR_TRY_OUT(folder ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    (void)snprintf(d->folder, sizeof d->folder, "%s", folder);
    CVR_TRY_OUT(try_session(&there, CVR_FOR_TRAINING, &s, err));
    CVR_TRY_OUT(find_origin(d, cvr_config_get(cvr_session_config(s), "model", "weights", NULL), err));
    CVR_TRY_OUT(train_there(d, s, true, err));
    status = measure(d, s, a->json, err);
out:
    cvr_session_close(&s);
    cvr_free(folder);
    return status;
}

/* Short keys that other commands have for their own are training's here. */
static int32_t take_training_settings(arguments *a, cvr_text *own, cvr_error *err) {
    static const char *const keys[][2] = {{"epochs=", "train."}, {"batch=", "train."}, {"lr=", "optim."}};
    for (size_t i = 0; i < a->n_settings; i++)
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            if (strncmp(a->settings[i], keys[k][0], strlen(keys[k][0])) != 0) continue;
            cvr_text_add(&own[i], "%s%s", keys[k][1], a->settings[i]);
            if (own[i].failed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
            a->settings[i] = own[i].s;
        }
    return CVR_OK;
}

static int run_distill(const arguments *given) {
    arguments a = *given;
    cvr_error err = CVR_ERROR_INIT;
    distilling d = {0};
    cvr_text own[sizeof a.settings / sizeof *a.settings] = {{0}};
    int32_t status = take_training_settings(&a, own, &err);
    if (status == CVR_OK) status = take_own_settings(&a, "distill", own, &err);
    if (status == CVR_OK && (!a.path || !cvr_fs_is_folder(a.path)))
        status =
            cvr_fail(&err, CVR_ERR_USAGE, "%s is not a run folder; train first: cvrun train", a.path ? a.path : "that");
    if (status == CVR_OK) status = a.resume ? go_on(&a, &d, &err) : begin(&a, &d, &err);
    measured_side_clear(&d.before);
    measured_side_clear(&d.after);
    cvr_free(d.origin);
    for (size_t i = 0; i < a.n_settings; i++) cvr_text_clear(&own[i]);
    return status == CVR_OK ? EXIT_OK : report_error(&err);
}

const command distill_command = {
    .name = "distill",
    .usage = "RUN_DIR teacher=RUN_DIR [key=value ...]",
    .summary = "train a run's network further, under a teacher",
    .help =
        "  cvrun distill RUN_DIR teacher=RUN_DIR|FILE [method=hinton] [key=value ...]\n"
        "      Makes RUN_DIR-distilled: trained by RUN_DIR's recipe, from its weights, to say what the teacher says.\n"
        "      What that brings is printed, and in its compress.json.\n"
        "  cvrun distill --resume RUN_DIR-distilled\n"
        "      go on, bit for bit\n"
        "Keys of [distill] need no section: teacher, method, layers, precision, T, alpha. Others as for train: "
        "epochs=10 optim.lr=0.01.\n",
    .run = run_distill,
    .needs_path = true,
    .resumes = true,
};
