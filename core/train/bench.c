/* What a step costs, node by node: the profiler brackets every launch of a real training step on a real batch. */
#include "session.h"
#include <stdlib.h>

#define WARM_UP 3
#define LEAST_STEPS 5
#define MOST_STEPS 50
#define PHASE_SECONDS 10.0 /* as many steps as fit, once without the profiler and once with it */
#define LOADER_SECONDS 0.5
#define PEAK_SECONDS 0.3

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

/* A stopwatch that lives as long as the session: recordings keep a pointer to it. */
static int32_t watch_make(cvr_session *s, stopwatch **out, cvr_error *err) {
    stopwatch *w = cvr_calloc(1, sizeof *w);
    if (!w || s->n_blocks == sizeof s->blocks / sizeof *s->blocks) {
        cvr_free(w);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    w->table = (cvr_profiler){sizeof w->table, w, watch_enabled, watch_begin, watch_end};
    s->blocks[s->n_blocks++] = *out = w;
    return CVR_OK;
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int64_t n) {
    qsort(v, (size_t)n, sizeof *v, compare_doubles);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* ---- the batch, and how fast the loader makes them ---- */

/* A batch of our own, so that no thread makes others while steps are timed. */
typedef struct held_batch {
    cvr_batch batch;
    void *images, *labels;
} held_batch;

static void held_clear(held_batch *h) {
    cvr_free(h->images);
    cvr_free(h->labels);
}

static int32_t hold(held_batch *h, const cvr_batch *b, bool masks, cvr_error *err) {
    const size_t pixels = (size_t)(b->n * b->height * b->width), images = pixels * (size_t)b->channels * sizeof(float);
    const size_t labels = (masks ? pixels : (size_t)b->n) * sizeof(int64_t);
    h->batch = *b;
    h->batch.images = h->images = cvr_alloc_aligned(images, 64);
    h->batch.labels = h->labels = cvr_alloc_aligned(labels, 64);
    if (!h->images || !h->labels) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a batch");
    memcpy(h->images, b->images, images);
    memcpy(h->labels, b->labels, labels);
    return CVR_OK;
}

/* Keeps the first batch, and makes more for a while to see how fast that goes. */
static int32_t load_batches(cvr_batches *batches, bool masks, held_batch *first, double *images_per_s, cvr_error *err) {
    int64_t images = 0;
    const double start = cvr_now();
    double took = 0;
    int32_t status = cvr_batches_begin(batches, 0, 0, err);
    while (status == CVR_OK && took < LOADER_SECONDS) {
        cvr_batch b;
        status = cvr_batches_next(batches, &b, err);
        if (status != CVR_OK || b.n == 0) break;
        took = cvr_now() - start;
        if (images == 0) status = hold(first, &b, masks, err);
        images += b.n;
    }
    *images_per_s = took > 0 ? (double)images / took : 0;
    return status;
}

static int32_t take_batch(cvr_session *s, uint32_t which, held_batch *first, double *images_per_s, cvr_error *err) {
    cvr_batches_options o;
    cvr_batches *batches;
    session_batch_options(s, which, &o);
    o.run_ahead = false;
    int32_t status = cvr_batches_create(&batches, &o, err);
    if (status != CVR_OK) return status;
    status = load_batches(batches, o.target_kind == CVR_FIELD_MASK, first, images_per_s, err);
    cvr_batches_destroy(&batches);
    return status;
}

/* ---- steps ---- */

typedef struct bench_run {
    cvr_session *session;
    entry *entry;
    const cvr_batch *batch;
    stopwatch *watch;
    double times[MOST_STEPS]; /* of whole steps */
    int64_t done;             /* steps, of any kind */
} bench_run;

static int32_t one_step(bench_run *r, double *took, cvr_error *err) {
    float loss;
    const entry_run run = {.images = r->batch->images,
                           .target = r->batch->labels,
                           .lr = r->session->lr,
                           .step = r->done++,
                           .seed = r->session->run->seed,
                           .loss = &loss};
    const double start = cvr_now();
    const int32_t status = entry_step(r->entry, &run, err);
    *took = cvr_now() - start;
    return status;
}

/* Warms up, and sees how many steps there is time for. */
static int32_t count_steps(bench_run *r, int64_t *n, cvr_error *err) {
    double took = 1;
    int32_t status = CVR_OK;
    for (int i = 0; i < WARM_UP && status == CVR_OK; i++) status = one_step(r, &took, err);
    const double fit = PHASE_SECONDS / (took > 1e-9 ? took : 1e-9);
    *n = fit > MOST_STEPS ? MOST_STEPS : fit < LEAST_STEPS ? LEAST_STEPS : (int64_t)fit;
    return status;
}

static int32_t timed_steps(bench_run *r, cvr_bench *out, cvr_error *err) {
    stopwatch *w = r->watch;
    double ignored;
    out->start_memory_bytes = cvr_peak_memory();
    int32_t status = count_steps(r, &out->steps, err);
    for (int64_t i = 0; i < out->steps && status == CVR_OK; i++) status = one_step(r, &r->times[i], err);
    out->peak_memory_bytes = cvr_peak_memory();
    w->id = cvr_program_id(r->entry->program);
    for (w->step = 0; w->step < out->steps && status == CVR_OK; w->step++) status = one_step(r, &ignored, err);
    w->id = 0;
    if (status == CVR_OK) out->step_seconds = median(r->times, out->steps);
    return status;
}

static int32_t watched_steps(bench_run *r, cvr_bench *out, cvr_error *err) {
    stopwatch *w = r->watch;
    const cvr_program *p = r->entry->program;
    w->n_nodes = out->n = cvr_program_nodes(p);
    w->started = cvr_calloc(w->n_nodes + 1, sizeof *w->started);
    w->times = cvr_calloc(w->n_nodes + 1, MOST_STEPS * sizeof *w->times);
    out->nodes = cvr_calloc(w->n_nodes + 1, sizeof *out->nodes);
    int32_t status =
        w->started && w->times && out->nodes ? timed_steps(r, out, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; status == CVR_OK && i < out->n; i++) {
        cvr_program_node(p, i, &out->nodes[i].info);
        out->nodes[i].seconds = median(w->times + i * MOST_STEPS, out->steps);
    }
    cvr_free(w->started);
    cvr_free(w->times);
    return status;
}

/* ---- all of it ---- */

/* What the machine can do at most in the precision of the session. bf16x3 makes three products of bf16 for one. */
static double peak_of(const machine *m, const cvr_peaks *p) {
    const double thirds = p->bf16 / 3;
    if (m->precision == PRECISION_BF16 && p->bf16 > 0) return p->bf16;
    return m->precision == PRECISION_BF16X3 && thirds > p->f32 ? thirds : p->f32;
}

/* The recordings learn of the profiler when they are made, so the machine is built anew with it in place. */
static int32_t bench_machine(cvr_session *s, bool training, const cvr_batch *b, stopwatch *w, cvr_bench *out,
                             cvr_error *err) {
    cvr_plugins_offer(s->plugins, CVR_SERVICE_PROFILER, &w->table);
    int32_t status = cvr_session_swap(s, s->backend_name, err);
    entry *e = status == CVR_OK ? machine_entry(training ? s->machine.train : s->machine.eval, b->n) : NULL;
    bench_run run = {.session = s, .entry = e, .batch = b, .watch = w};
    if (status == CVR_OK && !e) status = cvr_fail(err, CVR_ERR_INVALID, "no program was planned for this batch");
    if (status == CVR_OK) status = watched_steps(&run, out, err);
    cvr_plugins_offer(s->plugins, CVR_SERVICE_PROFILER, NULL);
    return status;
}

/* The most that is seen of each, before the steps and after them: others may be at work. Bandwidth comes last, since
 * its memory would count as the steps'. */
static int32_t see_peaks(cvr_session *s, uint32_t what, cvr_peaks *best, cvr_error *err) {
    const cvr_peak_request request = {s->plugins, s->machine.device, s->pool, what, PEAK_SECONDS};
    cvr_peaks now;
    const int32_t status = cvr_device_peaks(&request, &now, err);
    if (status != CVR_OK) return status;
    if (now.f32 > best->f32) best->f32 = now.f32;
    if (now.bf16 > best->bf16) best->bf16 = now.bf16;
    if (now.bandwidth > best->bandwidth) best->bandwidth = now.bandwidth;
    return CVR_OK;
}

int32_t cvr_session_bench(cvr_session *s, bool training, cvr_bench *out, cvr_error *err) {
    const uint32_t which = training ? CVR_SPLIT_TRAIN : CVR_SPLIT_VAL;
    held_batch held = {0};
    stopwatch *watch = NULL;
    memset(out, 0, sizeof *out);
    if (!s->splits[which].batches)
        return cvr_fail(err, CVR_ERR_USAGE, "the recipe has no %s data", training ? "training" : "validation");
    int32_t status = watch_make(s, &watch, err);
    if (status == CVR_OK) status = take_batch(s, which, &held, &out->loader_images_per_s, err);
    if (status == CVR_OK) status = see_peaks(s, CVR_PEAK_F32 | CVR_PEAK_BF16, &out->peaks, err);
    if (status == CVR_OK) status = bench_machine(s, training, &held.batch, watch, out, err);
    if (status == CVR_OK) status = see_peaks(s, CVR_PEAK_F32 | CVR_PEAK_BF16 | CVR_PEAK_BANDWIDTH, &out->peaks, err);
    out->peak = peak_of(&s->machine, &out->peaks);
    out->batch = held.batch.n;
    if (status == CVR_OK) out->images_per_s = (double)out->batch / out->step_seconds;
    out->workers = (uint32_t)s->data->workers;
    held_clear(&held);
    return status;
}

void cvr_bench_free(cvr_bench *b) {
    cvr_free(b->nodes);
    memset(b, 0, sizeof *b);
}
