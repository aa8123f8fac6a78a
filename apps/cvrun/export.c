/* cvrun export: a trained network for another runtime, or its weights in another format. */
#include "cvrun.h"
#include <sys/stat.h>

/* Settings of [export] need no section here: all that are bare and are not another section's. */
static bool is_elsewhere(const char *setting) {
    static const char *const words[] = {"imgsz",   "device", "workers", "name",   "seed",
                                        "weights", "data",   "model",   "backend"};
    const size_t n = strcspn(setting, "=");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i]) == n && strncmp(words[i], setting, n) == 0) return true;
    return memchr(setting, '.', n) != NULL || !setting[n];
}

static int32_t take_settings(arguments *a, cvr_text *own, cvr_error *err) {
    for (size_t i = 0; i < a->n_settings; i++) {
        if (is_elsewhere(a->settings[i])) continue;
        cvr_text_add(&own[i], "export.%s", a->settings[i]);
        if (own[i].failed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        a->settings[i] = own[i].s;
    }
    return CVR_OK;
}

static void tell(const arguments *a, const char *path) {
    struct stat st;
    char size[32];
    const uint64_t bytes = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
    cvr_text t = {0};
    if (!a->json) {
        print_text("%s: %s\n", path, cvr_bytes_text(bytes, size));
        return;
    }
    cvr_text_add(&t, "{\"file\": ");
    cvr_text_add_json(&t, path);
    cvr_text_add(&t, ", \"bytes\": %llu}\n", (unsigned long long)bytes);
    if (t.s) print_page(t.s);
    cvr_text_clear(&t);
}

static int run_export(const arguments *given) {
    arguments a = *given;
    cvr_error err = CVR_ERROR_INIT;
    cvr_session *session = NULL;
    cvr_text own[sizeof a.settings / sizeof *a.settings] = {{0}};
    char path[4096];
    int32_t status = take_settings(&a, own, &err);
    if (status == CVR_OK) status = try_session(&a, CVR_FOR_PREDICTION, &session, &err);
    if (status == CVR_OK) status = cvr_session_export(session, path, sizeof path, &err);
    if (status == CVR_OK) tell(&a, path);
    cvr_session_close(&session);
    for (size_t i = 0; i < a.n_settings; i++) cvr_text_clear(&own[i]);
    return status == CVR_OK ? EXIT_OK : report_error(&err);
}

const command export_command = {
    .name = "export",
    .usage = "RECIPE.ini|RUN_DIR [format=onnx|safetensors] [key=value ...]",
    .summary = "a trained network for another runtime, or its weights",
    .help =
        "A run folder stands for its best weights, else its last. Keys of [export] need no section: format, out, "
        "batch, size, opset, preprocess, fold. Prints where the file is: RUN_DIR/weights/best.onnx, or NAME.onnx of "
        "a recipe, unless out=FILE says otherwise; a file that is there is replaced.\n",
    .run = run_export,
    .needs_path = true,
};
