/* What a step costs, node by node: the profiler brackets every launch of a real training step on a real batch. */
#include "session.h"
#include <stdlib.h>

typedef struct stopwatch {
    cvr_profiler table;
    uint64_t id;             /* of the program that is watched; 0: nobody */
    double *started, *times; /* times: nodes x steps */
    size_t n_nodes;
    int64_t step, n_steps;
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
        w->times[node * (size_t)w->n_steps + (size_t)w->step] = cvr_now() - w->started[node];
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int64_t n) {
    qsort(v, (size_t)n, sizeof *v, compare_doubles);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* The recordings learn of the profiler when they are made, so the machine is built anew with it in place. */
static int32_t watched_run(cvr_session *s, entry *e, const cvr_batch *b, stopwatch *w, int64_t steps, double *whole,
                           cvr_error *err) {
    int32_t status = CVR_OK;
    for (int64_t i = -3; i < 2 * steps && status == CVR_OK; i++) {
        float loss;
        w->id = i >= steps ? cvr_program_id(e->program) : 0;
        w->step = i >= steps ? i - steps : 0;
        const double start = cvr_now();
        const entry_run run = {b->images, b->labels, s->lr, i + 3, s->run->seed, &loss};
        status = entry_step(e, &run, err);
        if (i >= 0 && i < steps) whole[i] = cvr_now() - start;
    }
    w->id = 0;
    return status;
}

int32_t cvr_session_bench(cvr_session *s, bool training, int64_t steps, cvr_bench *out, cvr_error *err) {
    cvr_batch b;
    stopwatch *watch = cvr_calloc(1, sizeof *watch);
    if (!watch || s->n_blocks == sizeof s->blocks / sizeof *s->blocks) {
        cvr_free(watch);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    s->blocks[s->n_blocks++] = watch; /* recordings keep a pointer to it */
    watch->n_steps = steps;
    watch->table = (cvr_profiler){sizeof watch->table, watch, watch_enabled, watch_begin, watch_end};
    memset(out, 0, sizeof *out);
    cvr_plugins_offer(s->plugins, CVR_SERVICE_PROFILER, &watch->table);
    double *whole = cvr_calloc((size_t)steps, sizeof *whole);
    cvr_batches *batches = s->splits[training ? CVR_SPLIT_TRAIN : CVR_SPLIT_VAL].batches;
    int32_t status = whole ? cvr_session_swap(s, s->backend_name, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (status == CVR_OK) status = cvr_batches_begin(batches, 0, 0, err);
    if (status == CVR_OK) status = cvr_batches_next(batches, &b, err);
    entry *e = status == CVR_OK ? machine_entry(training ? s->machine.train : s->machine.eval, b.n) : NULL;
    if (e) {
        watch->n_nodes = out->n = cvr_program_nodes(e->program);
        watch->started = cvr_calloc(watch->n_nodes + 1, sizeof *watch->started);
        watch->times = cvr_calloc(watch->n_nodes + 1, (size_t)steps * sizeof *watch->times);
        out->nodes = cvr_calloc(watch->n_nodes + 1, sizeof *out->nodes);
        status = watch->started && watch->times && out->nodes ? watched_run(s, e, &b, watch, steps, whole, err)
                                                              : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; status == CVR_OK && e && i < out->n; i++) {
        cvr_program_node(e->program, i, &out->nodes[i].info);
        out->nodes[i].seconds = median(watch->times + i * (size_t)steps, steps);
    }
    if (status == CVR_OK && e) {
        out->batch = b.n;
        out->step_seconds = median(whole, steps);
        out->images_per_s = (double)b.n / out->step_seconds;
    }
    cvr_plugins_offer(s->plugins, CVR_SERVICE_PROFILER, NULL);
    cvr_free(watch->started);
    cvr_free(watch->times);
    cvr_free(whole);
    return status;
}

void cvr_bench_free(cvr_bench *b) {
    cvr_free(b->nodes);
    memset(b, 0, sizeof *b);
}
