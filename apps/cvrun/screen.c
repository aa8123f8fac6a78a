/* A run as people like to watch it: what it is, a bar for the epoch, a row for each that is done. */
#include "screen.h"
#include "cvrun.h"
#include <math.h>

static struct {
    cvr_session *session;
    progress bar;
    bool first_step_done;
    int metrics_width; /* letters of the columns of metrics below the last header; -1: there was none yet */
    char best_metric[64];
    int64_t steps_per_epoch, epochs;
    double data_seconds; /* before the first step */
    int64_t steps;       /* of this process */
    /* of the epoch: */
    int64_t epoch, samples;
    double loss_sum;
    char epoch_text[48];
    /* the same, of which the first step of all is no part, in which devices compile their kernels: */
    int64_t timed_steps, timed_samples;
    double seconds, wait;
} screen;

static int32_t screen_open(const cvr_run_info *run, void **self, cvr_error *err) {
    cvr_session_info i;
    char a[64], b[64], c[64], d[64];
    (void)err;
    *self = &screen;
    cvr_session_describe(screen.session, &i);
    screen.steps_per_epoch = i.steps_per_epoch;
    screen.epochs = i.epochs;
    screen.data_seconds = i.data_seconds;
    screen.metrics_width = -1;
    (void)snprintf(screen.best_metric, sizeof screen.best_metric, "%s", run->best_metric);
    progress_start(&screen.bar, screen.epoch_text);
    print_text("%s: %s, input %lld x %lld x %lld, %s\n", i.model, human_many(i.params, "parameter", a),
               (long long)i.channels, (long long)i.height, (long long)i.width, human_many(i.n_classes, "class", b));
    print_text("data: %s to train on, %s to validate; %s of %s, batch %lld\n",
               human_many(i.train_samples, "picture", a), human_count(i.val_samples, b),
               human_many(i.epochs, "epoch", c), human_many(i.steps_per_epoch, "step", d), (long long)i.batch);
    print_backend(&i);
    print_text("planned memory: %s (parameters and state %s, arena %s)\n", cvr_bytes_text(i.planned_bytes, a),
               cvr_bytes_text(i.store_bytes, b), cvr_bytes_text(i.arena_bytes, c));
    print_text("run folder: %s\n", run->folder);
    if (run->resume_step > 0) print_text("going on after step %s\n", human_count(run->resume_step, d));
    fflush(stdout);
    return CVR_OK;
}

static void tell_first_step(const cvr_step_event *e) {
    if (screen.first_step_done) return;
    screen.first_step_done = true;
    const double reading = screen.data_seconds + e->data_seconds, all = cvr_now() - program_start;
    cvr_log(CVR_LOG_INFO, "first step done %.0f ms after the start; the data took %.0f ms to read before",
            1e3 * (all - reading), 1e3 * reading);
}

static void start_timing(void) {
    screen.timed_steps = screen.timed_samples = 0;
    screen.seconds = screen.wait = 0;
}

static void count_step(const cvr_step_event *e) {
    if (e->epoch != screen.epoch) {
        screen.epoch = e->epoch;
        screen.samples = 0;
        screen.loss_sum = 0;
        (void)snprintf(screen.epoch_text, sizeof screen.epoch_text, "epoch %lld/%lld", (long long)e->epoch,
                       (long long)screen.epochs);
        start_timing();
    }
    if (screen.steps++ == 1) start_timing();
    screen.samples += e->samples;
    screen.loss_sum += e->loss * (double)e->samples;
    screen.timed_steps++;
    screen.timed_samples += e->samples;
    screen.seconds += e->seconds;
    screen.wait += e->data_seconds;
}

static int32_t screen_step(void *self, const cvr_step_event *e, cvr_error *err) {
    char text[160], left[32], speed[32];
    (void)self;
    (void)err;
    tell_first_step(e);
    count_step(e);
    if (!progress_due(&screen.bar, false)) return CVR_OK;
    const int64_t place = (e->step - 1) % screen.steps_per_epoch + 1;
    const double rest = screen.seconds / (double)screen.timed_steps * (double)(screen.steps_per_epoch - place);
    (void)snprintf(text, sizeof text, "loss %.4f  %s left  %s images/s  lr %.4g  data wait %.0f %%",
                   screen.loss_sum / (double)screen.samples, human_seconds(rest, left),
                   human_speed((double)screen.timed_samples / screen.seconds, speed), e->lr,
                   100 * screen.wait / screen.seconds);
    progress_show(&screen.bar, (double)place / (double)screen.steps_per_epoch, text);
    return CVR_OK;
}

/* A row has room for the first of many metrics and the one that counts; results.csv has them all. */
#define MOST_SHOWN 9

static bool is_part(const char *name) {
    return strncmp(name, "loss_", 5) == 0;
}

/* What is no number: of a loss that is what it has become, of any other metric it means that there is none. */
const char *screen_no_number(const char *metric) {
    const size_t n = strlen(metric);
    return is_part(metric) || (n >= 4 && strcmp(metric + n - 4, "loss") == 0) ? "nan" : "-";
}

static bool is_shown(const cvr_epoch_event *e, uint32_t metric) {
    uint32_t before = 0;
    if (e->n_metrics <= MOST_SHOWN || strcmp(e->names[metric], screen.best_metric) == 0) return true;
    for (uint32_t i = 0; i < metric; i++) before += !is_part(e->names[i]);
    return !is_part(e->names[metric]) && before < MOST_SHOWN;
}

static int column_width(const char *name) {
    return (int)strlen(name) > 9 ? (int)strlen(name) : 9;
}

/* Metrics are mostly in 0..1; a loss that diverges must not push the columns behind it away. */
static void print_metric(const char *name, double v) {
    const int width = column_width(name);
    if (isnan(v))
        printf(" %*s", width, screen_no_number(name));
    else
        printf(fabs(v) < 1000 ? " %*.4f" : " %*.3g", width, v);
}

static void print_header(const cvr_epoch_event *e) {
    print_text("\n%6s   ", "epoch");
    for (uint32_t i = 0; i < e->n_metrics; i++)
        if (is_shown(e, i)) print_text(" %9s", e->names[i]);
    print_text(" %9s %9s %11s %10s\n", "lr", "images/s", "data wait", "time");
}

/* Epochs without a validation have fewer metrics, the first ones: their other columns stay empty. The first with more
 * has a header of its own. */
static int32_t screen_epoch(void *self, const cvr_epoch_event *e, cvr_error *err) {
    char seconds[32], speed[32];
    int width = 0;
    (void)self;
    (void)err;
    progress_clear(&screen.bar);
    for (uint32_t i = 0; i < e->n_metrics; i++)
        if (is_shown(e, i)) width += 1 + column_width(e->names[i]);
    if (width > screen.metrics_width) {
        print_header(e);
        screen.metrics_width = width;
    }
    printf("%6lld   ", (long long)e->epoch);
    for (uint32_t i = 0; i < e->n_metrics; i++)
        if (is_shown(e, i)) print_metric(e->names[i], e->values[i]);
    print_text("%*s %9.4g %9s %9.0f %% %10s%s\n", screen.metrics_width - width, "", e->lr,
               human_speed(e->images_per_s, speed), 100 * e->data_wait_fraction, human_seconds(e->seconds, seconds),
               e->is_best ? "  best" : "");
    fflush(stdout);
    return CVR_OK;
}

static int32_t screen_end(void *self, const cvr_end_event *e, cvr_error *err) {
    char steps[32], validation[32], saving[32];
    const double rest = e->session_seconds - e->step_seconds - e->validation_seconds - e->saving_seconds;
    (void)self;
    (void)err;
    progress_clear(&screen.bar);
    print_text("\ntime: steps %s (%.0f %% of it waiting for data), validation %s, saving %s, the rest %.1f s\n",
               human_seconds(e->step_seconds, steps),
               e->step_seconds > 0 ? 100 * e->step_wait_seconds / e->step_seconds : 0,
               human_seconds(e->validation_seconds, validation), human_seconds(e->saving_seconds, saving),
               rest > 0 ? rest : 0);
    fflush(stdout);
    return CVR_OK;
}

static void screen_close(void *self) {
    (void)self;
    screen_clear();
}

void screen_validating(void *ctx, int64_t done, int64_t total) {
    (void)ctx;
    screen.bar.what = "validation";
    progress_count(&screen.bar, done, total);
    screen.bar.what = screen.epoch_text;
}

void screen_clear(void) {
    progress_clear(&screen.bar);
}

const cvr_reporter_desc *screen_reporter(cvr_session *s) {
    static const cvr_reporter_desc reporter = {.struct_size = sizeof reporter,
                                               .name = "screen",
                                               .doc = "the terminal",
                                               .open = screen_open,
                                               .step = screen_step,
                                               .epoch = screen_epoch,
                                               .end = screen_end,
                                               .close = screen_close};
    screen.session = s;
    return &reporter;
}
