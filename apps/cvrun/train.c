/* cvrun train */
#include "cvrun.h"
#include <stdlib.h>
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
    bool header_shown;
    int64_t steps_per_epoch, epochs;
} screen;

static void on_start(void *ctx, const char *folder, const cvr_session_info *i, int64_t from_step) {
    screen *s = ctx;
    char a[32], b[32], c[32], d[32];
    s->steps_per_epoch = i->steps_per_epoch;
    s->epochs = i->epochs;
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
        for (uint32_t i = 1; i < e->n_metrics; i++) printf(" %9s", e->names[i]);
        printf(" %9s %9s %11s %10s\n", "lr", "images/s", "data wait", "time");
        s->header_shown = true;
    }
    printf("%6lld %12.4f", (long long)e->epoch, e->values[0]);
    for (uint32_t i = 1; i < e->n_metrics; i++) printf(" %9.4f", e->values[i]);
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

static int run_train(const arguments *a) {
    cvr_error err;
    cvr_session *session;
    cvr_swap swaps[16];
    char names[16][64];
    cvr_train_result result;
    screen s = {0};
    int status = parse_swaps(a, swaps, names);
    if (status != EXIT_OK) return status;
    catch_signals();
    arguments with_folder = *a;
    if (a->resume) with_folder.path = a->resume;
    status = open_session(&with_folder, CVR_FOR_TRAINING, &session);
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
    cvr_error_init(&err);
    const int32_t rc = cvr_train(session, &o, &result, &err);
    progress_clear(&s.bar);
    if (rc != CVR_OK) {
        status = report_error(&err);
    } else if (result.already_finished) {
        printf("%s has finished its %lld epochs already; train.epochs=N extends it\n", result.folder,
               (long long)result.epochs);
    } else {
        char seconds[32];
        printf("\n%lld epochs in %s, %.0f images/s", (long long)result.epochs, human_seconds(result.seconds, seconds),
               result.images_per_second);
        if (result.best_epoch)
            printf("; best %s %.4f in epoch %lld", result.best_metric, result.best_value, (long long)result.best_epoch);
        printf("\nrun folder: %s\n", result.folder);
    }
    cvr_session_close(&session);
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
