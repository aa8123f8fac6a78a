/* Steps on a real batch, timed as a whole, and then node by node: the profiler brackets every launch. */
#include "measure.h"
#include <stdlib.h>
#include <time.h>

#define WARM_UP 3
#define LEAST_STEPS 5
#define MOST_STEPS 50
#define PHASE_SECONDS 10.0 /* as many steps as fit, once without the profiler and once with it */
#define LOADER_SECONDS 0.5
#define PEAK_SECONDS 0.3

/* ---- the profiler ---- */

typedef struct stopwatch {
    cvr_profiler table;
    uint64_t id;             /* of the program that is watched; 0: nobody */
    double *started, *times; /* times: nodes x MOST_STEPS */
    size_t n_nodes;
    int64_t step;
} stopwatch;

static int32_t watch_enabled(const cvr_profiler *p) {
    return ((stopwatch *)p->ctx)->id != 0;
}

static void watch_begin(const cvr_profiler *p, uint64_t recording, uint64_t node) {
    stopwatch *w = p->ctx;
    if (recording == w->id && node < w->n_nodes) w->started[node] = cvr_now();
}

static void watch_end(const cvr_profiler *p, uint64_t recording, uint64_t node) {
    stopwatch *w = p->ctx;
    if (recording == w->id && node < w->n_nodes)
        w->times[node * MOST_STEPS + (size_t)w->step] = cvr_now() - w->started[node];
}

/* By the device's own clock. */
static void watch_spent(const cvr_profiler *p, uint64_t recording, uint64_t node, double begin_s, double end_s) {
    stopwatch *w = p->ctx;
    if (recording == w->id && node < w->n_nodes) w->times[node * MOST_STEPS + (size_t)w->step] = end_s - begin_s;
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts v: v[0] is the least then. */
static double median(double *v, int64_t n) {
    qsort(v, (size_t)n, sizeof *v, compare_doubles);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* ---- steps ---- */

typedef struct bench_run {
    cvr_session *session;
    bool training;
    const cvr_program *program;
    cvr_batch batch;
    stopwatch watch;
    double times[MOST_STEPS], cpu[MOST_STEPS]; /* of whole steps: by the clock, and of all threads' processors */
    int64_t done;                              /* steps, of any kind */
} bench_run;

/* Processor time of the whole process: on a machine that others use too, it tells more than the clock does. */
static double cpu_now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int32_t one_step(bench_run *r, double *took, cvr_error *err) {
    double loss;
    const double start = cvr_now();
    CVR_TRY(cvr_session_step(r->session, r->training, &r->batch, r->done++, &loss, err));
    *took = cvr_now() - start;
    return CVR_OK;
}

/* Warms up, and sees how many steps there is time for. */
static int32_t count_steps(bench_run *r, int64_t *n, cvr_error *err) {
    double took = 1;
    for (int i = 0; i < WARM_UP; i++) CVR_TRY(one_step(r, &took, err));
    const double fit = PHASE_SECONDS / (took > 1e-9 ? took : 1e-9);
    *n = fit > MOST_STEPS ? MOST_STEPS : fit < LEAST_STEPS ? LEAST_STEPS : (int64_t)fit;
    return CVR_OK;
}

static int32_t timed_steps(bench_run *r, measurement *out, cvr_error *err) {
    stopwatch *w = &r->watch;
    double ignored;
    out->start_memory_bytes = cvr_peak_memory();
    CVR_TRY(count_steps(r, &out->steps, err));
    for (int64_t i = 0; i < out->steps; i++) {
        const double start = cpu_now();
        CVR_TRY(one_step(r, &r->times[i], err));
        r->cpu[i] = cpu_now() - start;
    }
    out->peak_memory_bytes = cvr_peak_memory();
    w->id = cvr_program_id(r->program);
    for (w->step = 0; w->step < out->steps; w->step++) CVR_TRY(one_step(r, &ignored, err));
    w->id = 0;
    out->step_seconds = median(r->times, out->steps);
    out->fastest_step_seconds = r->times[0];
    out->step_cpu_seconds = median(r->cpu, out->steps);
    return CVR_OK;
}

static int32_t watched_steps(bench_run *r, measurement *out, cvr_error *err) {
    stopwatch *w = &r->watch;
    w->n_nodes = out->n = cvr_program_nodes(r->program);
    w->started = cvr_calloc(w->n_nodes + 1, sizeof *w->started);
    w->times = cvr_calloc(w->n_nodes + 1, MOST_STEPS * sizeof *w->times);
    out->nodes = cvr_calloc(w->n_nodes + 1, sizeof *out->nodes);
    if (!w->started || !w->times || !out->nodes) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    CVR_TRY(timed_steps(r, out, err));
    for (size_t i = 0; i < out->n; i++) {
        cvr_program_node(r->program, i, &out->nodes[i].info);
        out->nodes[i].seconds = median(w->times + i * MOST_STEPS, out->steps);
        out->nodes[i].fastest_seconds = w->times[i * MOST_STEPS];
    }
    return CVR_OK;
}

/* Recordings learn of the profiler when they are made, and keep a pointer to it: they are made anew before it goes. */
static int32_t profiled_steps(bench_run *r, measurement *out, cvr_error *err) {
    cvr_plugins *plugins = cvr_session_plugins(r->session);
    cvr_error later = CVR_ERROR_INIT;
    r->watch.table =
        (cvr_profiler){sizeof r->watch.table, &r->watch, watch_enabled, watch_begin, watch_end, watch_spent};
    cvr_plugins_offer(plugins, CVR_SERVICE_PROFILER, &r->watch.table);
    int32_t status;
    CVR_TRY_OUT(cvr_session_record(r->session, err));
    CVR_TRY_OUT(watched_steps(r, out, err));
out:
    cvr_plugins_offer(plugins, CVR_SERVICE_PROFILER, NULL);
    const int32_t recorded = cvr_session_record(r->session, &later);
    cvr_free(r->watch.started);
    cvr_free(r->watch.times);
    if (status != CVR_OK || recorded == CVR_OK) return status;
    *err = later;
    return recorded;
}

/* ---- batches ---- */

static int32_t open_batches(cvr_session *s, uint32_t split, uint32_t workers, cvr_batches **out, cvr_error *err) {
    cvr_batches_options o;
    if (!cvr_session_batch_options(s, split, &o))
        return cvr_fail(err, CVR_ERR_USAGE, "the recipe has no %s data", split ? "validation" : "training");
    o.run_ahead = false;
    o.workers = workers;
    return cvr_batches_create(out, &o, err);
}

/* How fast the session's loader is while nothing else runs. */
static int32_t time_loader(cvr_session *s, uint32_t split, uint32_t workers, double *images_per_s, cvr_error *err) {
    cvr_batches *batches;
    int64_t images = 0;
    double took = 0;
    int32_t status;
    CVR_TRY(open_batches(s, split, workers, &batches, err));
    const double start = cvr_now();
    CVR_TRY_OUT(cvr_batches_begin(batches, 0, 0, err));
    while (took < LOADER_SECONDS) {
        cvr_batch b;
        CVR_TRY_OUT(cvr_batches_next(batches, &b, err));
        if (b.view.n == 0) break;
        took = cvr_now() - start;
        images += b.view.n;
    }
    *images_per_s = took > 0 ? (double)images / took : 0;
out:
    cvr_batches_destroy(&batches);
    return status;
}

/* ---- all of it ---- */

/* What the machine can do at most in the precision of the session. bf16x3 makes three products of bf16 for one. */
static double peak_of(const char *precision, const cvr_peaks *p) {
    const double thirds = p->bf16 / 3;
    if (strcmp(precision, "bf16") == 0 && p->bf16 > 0) return p->bf16;
    return strcmp(precision, "bf16x3") == 0 && thirds > p->f32 ? thirds : p->f32;
}

/* The most that is seen of each, before the steps and after them: others may be at work. Bandwidth comes last, since
 * its memory would count as the steps'. */
static int32_t see_peaks(cvr_session *s, uint32_t what, cvr_peaks *best, cvr_error *err) {
    const cvr_peak_request request = {cvr_session_plugins(s), cvr_session_device(s), cvr_session_pool(s), what,
                                      PEAK_SECONDS};
    return cvr_raise_peaks(&request, best, err);
}

/* Batches of our own, made when asked for: no thread makes others while steps are timed. */
static int32_t measure_on(bench_run *r, cvr_batches *batches, measurement *out, cvr_error *err) {
    CVR_TRY(cvr_batches_begin(batches, 0, 0, err));
    CVR_TRY(cvr_batches_next(batches, &r->batch, err));
    out->batch = r->batch.view.n;
    CVR_TRY(see_peaks(r->session, CVR_PEAK_F32 | CVR_PEAK_BF16, &out->peaks, err));
    CVR_TRY(profiled_steps(r, out, err));
    CVR_TRY(see_peaks(r->session, CVR_PEAK_F32 | CVR_PEAK_BF16 | CVR_PEAK_BANDWIDTH, &out->peaks, err));
    out->images_per_s = (double)out->batch / out->step_seconds;
    return CVR_OK;
}

int32_t measure_session(cvr_session *s, bool training, measurement *out, cvr_error *err) {
    const uint32_t split = training ? CVR_SPLIT_TRAIN : CVR_SPLIT_VAL;
    bench_run run = {.session = s, .training = training};
    cvr_session_info info;
    cvr_batches *batches;
    memset(out, 0, sizeof *out);
    cvr_session_describe(s, &info);
    run.program = training ? info.train_program : info.eval_program;
    CVR_TRY(time_loader(s, split, info.workers, &out->loader_images_per_s, err));
    CVR_TRY(open_batches(s, split, 0, &batches, err));
    const int32_t status = measure_on(&run, batches, out, err);
    out->peak = peak_of(info.precision, &out->peaks);
    cvr_batches_destroy(&batches);
    return status;
}

void measurement_clear(measurement *m) {
    cvr_free(m->nodes);
    memset(m, 0, sizeof *m);
}
