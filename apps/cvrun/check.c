/* cvrun check */
#include "cvrun.h"

static void on_bad(void *ctx, const char *name, const char *why) {
    progress_clear(ctx);
    printf("%s: %s\n", name, why);
}

static int run_check(const arguments *a) {
    cvr_error err;
    cvr_session *session;
    progress bar;
    int status = open_session(a, CVR_FOR_TRAINING | CVR_FOR_EVALUATION, &session);
    if (status != EXIT_OK) return status;
    cvr_error_init(&err);
    progress_start(&bar);
    const int64_t bad = cvr_session_check_data(session, on_bad, progress_count, &bar, &err);
    progress_clear(&bar);
    if (bad < 0) {
        status = report_error(&err);
    } else {
        cvr_session_info i;
        cvr_session_describe(session, &i);
        printf("%s: %lld training and %lld validation pictures, %lld classes: %lld bad\n", a->path,
               (long long)i.train_samples, (long long)i.val_samples, (long long)i.n_classes, (long long)bad);
        if (bad) status = EXIT_FAILED;
    }
    cvr_session_close(&session);
    return status;
}

const command check_command = {
    .name = "check",
    .usage = "RECIPE.ini [key=value ...]",
    .summary = "lint the recipe and read every file of the data",
    .help = "Every bad file is named, with the reason. Exit status 1 where there is one.\n",
    .run = run_check,
    .needs_path = true,
};
