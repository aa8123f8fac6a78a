/* cvrun export: a trained network for another runtime, or its weights in another format. */
#include "cvrun.h"
#include <sys/stat.h>

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
    int32_t status = take_own_settings(&a, "export", own, &err);
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
    .help = "A run folder stands for its best weights, else its last. Keys of [export] need no section: format, out, "
            "batch, size, opset, preprocess, fold, decode. Prints where the file is: RUN_DIR/weights/best.onnx, or "
            "NAME.onnx of "
            "a recipe, unless out=FILE says otherwise; a file that is there is replaced.\n",
    .run = run_export,
    .needs_path = true,
};
