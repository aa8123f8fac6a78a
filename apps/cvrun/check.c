/* cvrun check */
#include "cvrun.h"

typedef struct checking {
    progress bar;
    int64_t done, total, bad;
} checking;

/* Every sample is made from its whole file. */
static int32_t check_split(checking *c, const cvr_batches_options *o, cvr_error *err) {
    const int64_t n = o->dataset->count(o->self);
    for (int64_t i = 0; i < n; i++) {
        cvr_error why = CVR_ERROR_INIT;
        const int32_t status = cvr_batches_try(o, i, &why);
        if (status == CVR_ERR_NOMEM) return cvr_fail(err, status, "%s", why.message);
        if (status != CVR_OK) {
            c->bad++;
            progress_clear(&c->bar);
            print_line(stdout, "%s: %s", why.file, why.message);
        }
        progress_count(&c->bar, ++c->done, c->total);
    }
    return CVR_OK;
}

static int32_t check_data(checking *c, cvr_session *s, cvr_error *err) {
    cvr_batches_options o[2];
    bool present[2];
    progress_start(&c->bar);
    for (uint32_t i = 0; i < 2; i++) {
        present[i] = cvr_session_batch_options(s, i, &o[i]);
        c->total += present[i] ? o[i].dataset->count(o[i].self) : 0;
    }
    for (uint32_t i = 0; i < 2; i++)
        if (present[i]) CVR_TRY(check_split(c, &o[i], err));
    return CVR_OK;
}

static int run_check(const arguments *a) {
    cvr_error err = CVR_ERROR_INIT;
    cvr_session *session;
    checking c = {.bad = 0};
    int status = open_session(a, CVR_FOR_TRAINING | CVR_FOR_EVALUATION, &session);
    if (status != EXIT_OK) return status;
    const int32_t rc = check_data(&c, session, &err);
    progress_clear(&c.bar);
    if (rc != CVR_OK) {
        status = report_error(&err);
    } else {
        cvr_session_info i;
        cvr_session_describe(session, &i);
        printf("%s: %lld training and %lld validation pictures, %lld classes: %lld bad\n", a->path,
               (long long)i.train_samples, (long long)i.val_samples, (long long)i.n_classes, (long long)c.bad);
        if (c.bad) status = EXIT_FAILED;
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
