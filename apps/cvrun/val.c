/* cvrun val */
#include "cvrun.h"
#include <math.h>

/* JSON has no number for a metric that does not exist. */
static void print_json(const cvr_metrics *m) {
    cvr_text t = {0};
    cvr_text_add(&t, "{\"samples\": %lld, \"skipped\": %lld, \"seconds\": %.3f", (long long)m->samples,
                 (long long)m->skipped, m->seconds);
    for (size_t i = 0; i < m->n; i++) {
        cvr_text_add(&t, ", ");
        cvr_text_add_json(&t, m->names[i]);
        cvr_text_add(&t, isfinite(m->values[i]) ? ": %.9g" : ": null", m->values[i]);
    }
    cvr_text_add(&t, "}\n");
    if (t.s) print_page(t.s);
    cvr_text_clear(&t);
}

static int run_val(const arguments *a) {
    cvr_error err;
    cvr_session *session;
    cvr_metrics m;
    progress bar;
    char many[64];
    int status = open_session(a, CVR_FOR_EVALUATION, &session);
    if (status != EXIT_OK) return status;
    cvr_error_init(&err);
    progress_start(&bar);
    const int32_t rc = cvr_evaluate(session, &m, progress_count, &bar, &err);
    progress_clear(&bar);
    if (rc != CVR_OK) {
        status = report_error(&err);
    } else if (a->json) {
        print_json(&m);
    } else {
        for (size_t i = 0; i < m.n; i++) print_text("%-8s %.4f\n", m.names[i], m.values[i]);
        print_text("%s, %.0f images/s\n", human_many(m.samples, "picture", many),
                   m.seconds > 0 ? (double)m.samples / m.seconds : 0);
        if (m.skipped) print_text("left out: %s that cannot be used\n", human_many(m.skipped, "picture", many));
    }
    cvr_metrics_clear(&m);
    cvr_session_close(&session);
    return status;
}

const command val_command = {
    .name = "val",
    .usage = "RECIPE.ini|RUN_DIR [key=value ...]",
    .summary = "evaluate weights on the validation split",
    .help = "A run folder stands for its best weights, else its last. weights=FILE gives others. --json prints JSON.\n",
    .run = run_val,
    .needs_path = true,
};
