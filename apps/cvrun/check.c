/* cvrun check */
#include "check_report.h"

typedef struct checking {
    progress bar;
    int64_t done, total, bad;
} checking;

/* Every sample is made as training makes it, from its whole file. */
static int32_t check_split(checking *c, cvr_session *s, uint32_t split, cvr_error *err) {
    cvr_batches_options o;
    const int64_t n = cvr_session_batch_options(s, split, &o) ? check_samples(&o) : 0;
    for (int64_t i = 0; i < n; i++) {
        cvr_error why = CVR_ERROR_INIT;
        const int32_t status = cvr_session_try_sample(s, split, check_sample(&o, i), &why);
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
    progress_start(&c->bar, "checking");
    for (uint32_t i = 0; i < 2; i++) {
        cvr_batches_options o;
        if (cvr_session_batch_options(s, i, &o)) c->total += check_samples(&o);
    }
    for (uint32_t i = 0; i < 2; i++) CVR_TRY(check_split(c, s, i, err));
    progress_clear(&c->bar);
    return CVR_OK;
}

/* Where not even the first batch can be planned, each sample may still tell why; if none does, `why` is the reason. */
static int check_data_alone(const arguments *a, checking *c, cvr_error *why) {
    cvr_error err = CVR_ERROR_INIT;
    cvr_session *s;
    if (try_session(a, CVR_FOR_DATA, &s, &err) != CVR_OK) return report_error(why);
    const int32_t rc = check_data(c, s, &err);
    cvr_session_close(&s);
    if (rc != CVR_OK) return report_error(&err);
    if (c->bad == 0) return report_error(why);
    print_text("%s: %lld bad of %lld pictures\n", a->path ? a->path : "command line", (long long)c->bad,
               (long long)c->total);
    return EXIT_FAILED;
}

static int run_check(const arguments *a) {
    cvr_error err = CVR_ERROR_INIT;
    cvr_session *session;
    checking c = {.bad = 0};
    arguments lenient = *a; /* a bad first picture must not hide the others */
    int status = EXIT_OK;
    if (lenient.n_settings < sizeof lenient.settings / sizeof *lenient.settings)
        lenient.settings[lenient.n_settings++] = "data.on_error=skip";
    const int32_t opened = try_session(&lenient, CVR_FOR_TRAINING | CVR_FOR_EVALUATION, &session, &err);
    if (opened == CVR_ERR_USAGE) return report_error(&err);
    if (opened != CVR_OK) return check_data_alone(a, &c, &err);
    const int32_t rc = check_data(&c, session, &err);
    if (rc != CVR_OK) {
        status = report_error(&err);
    } else {
        cvr_session_info i;
        char train[32], val[64], classes[64];
        cvr_session_describe(session, &i);
        print_text("%s: %s training and %s, %s: %lld bad\n", a->path ? a->path : "command line",
                   human_count(i.train_samples, train), human_many(i.val_samples, "validation picture", val),
                   human_many(i.n_classes, "class", classes), (long long)c.bad);
        if (c.bad) status = EXIT_FAILED;
        if (check_report(session, &err) != CVR_OK) status = report_error(&err);
    }
    cvr_session_close(&session);
    return status;
}

const command check_command = {
    .name = "check",
    .usage = "RECIPE.ini [key=value ...]",
    .summary = "lint the recipe and read every file of the data",
    .help =
        "Every picture goes through what training does: the whole file, the transforms, the size of a "
        "batch. Every bad file is named, with the reason. Exit status 1 where there is one. Then follow "
        "the size that pictures have after the transforms, how many pictures (of masks pixels, of boxes objects) the "
        "classes have, and pictures that are there twice, within a split or in both: by the bytes of their files, or "
        "else by "
        "their pixels.\n",
    .run = run_check,
    .needs_path = true,
};
