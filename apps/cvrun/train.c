/* cvrun train */
#include "cvrun.h"
#include "trace.h"
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

static volatile sig_atomic_t stop_asked;

/* The first signal asks for a clean stop; the second is for those who cannot wait. */
static void on_signal(int number) {
    if (stop_asked) _exit(128 + number);
    stop_asked = 1;
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

typedef struct screen {
    progress bar;
    cvr_session *session;
    trace trace;
    bool header_shown;
    int64_t steps_per_epoch, epochs;
} screen;

/* env.txt of the run folder: what computed, for whoever wonders later. It is no more than that, so a failure is told
 * and the run goes on. */
static void write_environment(const screen *s, const char *folder, const cvr_session_info *i) {
    const cvr_plugins *plugins = cvr_session_plugins(s->session);
    cvr_text t = {0};
    cvr_error err = CVR_ERROR_INIT;
    struct utsname system;
    cvr_text_add(&t, "cvrun %s, ABI %u.%u, compiler %s\nbackend %s: %s\n", CVRUN_VERSION, CVR_ABI_MAJOR, CVR_ABI_MINOR,
                 __VERSION__, i->backend, i->device);
    if (uname(&system) == 0) cvr_text_add(&t, "%s %s %s\n", system.sysname, system.release, system.machine);
    for (size_t k = 0; k < cvr_plugins_count(plugins); k++) {
        const cvr_plugin_info *p = cvr_plugins_info(plugins, k);
        if (p->state == CVR_PLUGIN_LOADED) cvr_text_add(&t, "plugin %s %s %s\n", p->id, p->version, p->file);
    }
    char *path = cvr_fs_join(folder, "env.txt");
    if (path && !t.failed && cvr_fs_write_unsynced(path, t.s, t.n, &err) != CVR_OK)
        cvr_log(CVR_LOG_WARNING, "%s: %s", path, err.message);
    cvr_free(path);
    cvr_text_clear(&t);
}

static void on_start(void *ctx, const char *folder, const cvr_session_info *i, int64_t from_step) {
    screen *s = ctx;
    char a[32], b[32], c[32], d[32];
    s->steps_per_epoch = i->steps_per_epoch;
    s->epochs = i->epochs;
    write_environment(s, folder, i);
    printf("%s: %s parameters, input %lld x %lld x %lld, %lld classes\n", i->model, human_count(i->params, a),
           (long long)i->channels, (long long)i->height, (long long)i->width, (long long)i->n_classes);
    printf("data: %s pictures to train on, %s to validate; %lld epochs of %lld steps, batch %lld\n",
           human_count(i->train_samples, a), human_count(i->val_samples, b), (long long)i->epochs,
           (long long)i->steps_per_epoch, (long long)i->batch);
    printf("backend %s: %s; %s\n", i->backend, i->device, i->precision);
    printf("planned memory: %s (parameters and state %s, arena %s)\n", cvr_bytes_text(i->planned_bytes, a),
           cvr_bytes_text(i->store_bytes, b), cvr_bytes_text(i->arena_bytes, c));
    printf("run folder: %s\n", folder);
    if (from_step) printf("going on after step %s\n", human_count(from_step, d));
    fflush(stdout);
}

static void on_step(void *ctx, const cvr_train_step *e) {
    screen *s = ctx;
    char text[160], left[32];
    trace_span(&s->trace, "wait for data", e->started, e->started + e->data_seconds);
    trace_span(&s->trace, "step", e->started + e->data_seconds, e->ended);
    if (!progress_due(&s->bar, false)) return;
    (void)snprintf(text, sizeof text, "epoch %lld/%lld  loss %.4f  lr %.4g  %.0f images/s  data wait %.0f %%  %s left",
                   (long long)e->epoch, (long long)s->epochs, e->loss, e->lr, e->images_per_s,
                   100 * e->data_wait_fraction, human_seconds(e->seconds_left, left));
    progress_show(&s->bar, (double)e->step_in_epoch / (double)s->steps_per_epoch, text);
}

static void on_validate(void *ctx, int64_t done, int64_t total) {
    progress_count(&((screen *)ctx)->bar, done, total);
}

static void on_epoch(void *ctx, const cvr_train_epoch *e) {
    screen *s = ctx;
    char seconds[32];
    progress_clear(&s->bar);
    if (!s->header_shown) {
        printf("\n%6s %12s", "epoch", e->names[0]);
        for (size_t i = 1; i < e->n_metrics; i++) printf(" %9s", e->names[i]);
        printf(" %9s %9s %11s %10s\n", "lr", "images/s", "data wait", "time");
        s->header_shown = true;
    }
    printf("%6lld %12.4f", (long long)e->epoch, e->values[0]);
    for (size_t i = 1; i < e->n_metrics; i++) printf(" %9.4f", e->values[i]);
    printf(" %9.4g %9.0f %9.0f %% %10s%s\n", e->lr, e->images_per_s, 100 * e->data_wait_fraction,
           human_seconds(e->seconds, seconds), e->is_best ? "  best" : "");
    fflush(stdout);
}

static int parse_swaps(const arguments *a, cvr_swap *swaps, char names[16][64]) {
    for (size_t i = 0; i < a->n_swaps; i++) {
        const char *at = strchr(a->swap_to[i], '@');
        char *end = NULL;
        const long long step = at ? strtoll(at + 1, &end, 10) : -1;
        if (!at || at == a->swap_to[i] || at - a->swap_to[i] > 63 || step < 0 || !end || *end || end == at + 1) {
            fprintf(stderr, "cvrun: error: --swap-to %s: write BACKEND@STEP, such as cuda@1000\n", a->swap_to[i]);
            return EXIT_USAGE;
        }
        (void)snprintf(names[i], 64, "%.*s", (int)(at - a->swap_to[i]), a->swap_to[i]);
        swaps[i] = (cvr_swap){names[i], step};
    }
    return EXIT_OK;
}

static void print_result(const cvr_train_result *r) {
    char seconds[32];
    if (r->already_finished) {
        printf("%s has finished its %lld epochs already; train.epochs=N extends it\n", r->folder, (long long)r->epochs);
        return;
    }
    printf("\n%lld epochs in %s, %.0f images/s", (long long)r->epochs, human_seconds(r->seconds, seconds),
           r->images_per_second);
    if (r->best_epoch) printf("; best %s %.4f in epoch %lld", r->best_metric, r->best_value, (long long)r->best_epoch);
    printf("\nrun folder: %s\n", r->folder);
}

/* The trace ends before the session does, and its failure counts where nothing else failed. */
static int32_t train_traced(screen *s, const cvr_train_options *o, cvr_train_result *result, cvr_error *err) {
    CVR_TRY(trace_open(&s->trace, log_section->trace, s->session, err));
    const int32_t status = cvr_train(s->session, o, result, err),
                  traced = trace_close(&s->trace, status == CVR_OK ? err : NULL);
    return status == CVR_OK ? traced : status;
}

static int run_train(const arguments *a) {
    cvr_error err = CVR_ERROR_INIT;
    cvr_swap swaps[16];
    char names[16][64];
    cvr_train_result result;
    screen s = {.header_shown = false};
    int status = parse_swaps(a, swaps, names);
    if (status != EXIT_OK) return status;
    catch_signals();
    arguments with_folder = *a;
    if (a->resume) with_folder.path = a->resume;
    status = open_session(&with_folder, CVR_FOR_TRAINING, &s.session);
    if (status != EXIT_OK) return status;
    progress_start(&s.bar);
    const cvr_train_options o = {.run_folder = a->resume,
                                 .swaps = swaps,
                                 .n_swaps = a->n_swaps,
                                 .stop = &stop_asked,
                                 .started = program_start,
                                 .ctx = &s,
                                 .on_start = on_start,
                                 .on_step = on_step,
                                 .on_epoch = on_epoch,
                                 .on_validate = on_validate};
    const int32_t rc = train_traced(&s, &o, &result, &err);
    progress_clear(&s.bar);
    if (rc == CVR_OK)
        print_result(&result);
    else
        status = report_error(&err);
    cvr_session_close(&s.session);
    return status;
}

const command train_command = {
    .name = "train",
    .usage = "RECIPE.ini [key=value ...]",
    .summary = "train a network",
    .help = "  cvrun train RECIPE.ini [key=value ...]              train; the run folder is runs/TASK/NAME\n"
            "  cvrun train --resume RUN_DIR [key=value ...]        go on, bit for bit, also in mid-epoch\n"
            "  cvrun train RECIPE.ini --swap-to BACKEND@STEP       move to another backend after STEP steps\n\n"
            "Short keys: epochs batch imgsz lr device workers name seed weights. Any other: section.key=value.\n"
            "Sections: run backend model net data augment train optim sched val predict; `cvrun cfg RECIPE.ini` shows "
            "every key.\n"
            "SIGINT and SIGTERM save everything and leave with status 75.\n",
    .run = run_train,
    .needs_path = true,
};
