/* The process that does the jobs. */
#define _DEFAULT_SOURCE
#include "conform_backend.h"
#include <unistd.h>

static void no_log(void *ctx, uint32_t level, const char *text) {
    (void)ctx, (void)level, (void)text;
}

static int32_t open_machine(worker *w, case_machine *m, cvr_threadpool *pool, cvr_error *err) {
    (void)snprintf(m->label, sizeof m->label, "reference/1");
    m->plugins = w->plugins;
    m->pool = pool;
    return cvr_device_open(&m->device, w->plugins, &(cvr_device_choice){.backend = "reference"}, pool, err);
}

/* Where the plugin has taken the place of another: it is then the last of as many as before. */
static void note_replaced(const worker *w, const char *file, size_t before) {
    const size_t n = cvr_plugins_count(w->plugins);
    const cvr_plugin_info *last = cvr_plugins_info(w->plugins, n - 1);
    const char *id = w->ids[w->n_ids - 1];
    bool again = false; /* given twice */
    for (size_t i = 0; i + 1 < w->n_ids; i++) again = again || strcmp(w->ids[i], id) == 0;
    if (n != before || again || last->line || strcmp(last->id, id) != 0) return;
    (void)snprintf(w->board->replaced, sizeof w->board->replaced,
                   "plugin %s: %s is tried, and not the one that a manifest lists", id, file);
}

static int32_t open_all(worker *w, cvr_error *err) {
    cvr_threadpool *one, *many;
    CVR_TRY(cvr_plugins_open(&w->plugins, NULL, 0, err));
    for (size_t i = 0; i < w->o->n_files; i++) {
        board_doing(w->board, NULL, "while %s was loaded", w->o->files[i]);
        const size_t before = cvr_plugins_count(w->plugins);
        CVR_TRY(cvr_plugins_add(w->plugins, w->o->files[i], &w->ids[w->n_ids++], err));
        note_replaced(w, w->o->files[i], before);
    }
    CVR_TRY(cvr_pool_create(&one, 1, err));
    CVR_TRY(cvr_pool_create(&many, 3, err));
    CVR_TRY(open_machine(w, &w->plain, one, err));
    w->check.board = w->board;
    w->check.plugins = w->plugins;
    w->check.one = one;
    w->check.many = many;
    w->check.plain = &w->plain;
    w->check.host.plugins = w->plugins;
    if (w->o->backend) {
        CVR_TRY(backend_open(w, one, err));
        kernel_check_look(&w->check);
        return backend_find_targets(w, err);
    }
    CVR_TRY(open_machine(w, &w->watched, one, err));
    const check_bench bench = {.plugins = w->plugins}; /* kernels are checked by us */
    CVR_TRY(check_device_observed(w->watched.device, &bench, kernel_check_launch, &w->check, err));
    kernel_check_look(&w->check);
    return worker_find_targets(w, err);
}

/* All draws of one target after each other; where a backend is tried, which may end before all is done, a draw of each
 * before the next. */
static void do_job(worker *w, uint64_t job) {
    const uint64_t draws = w->o->draws;
    if (!w->o->backend)
        worker_do(w, &w->targets[job / draws], job % draws);
    else if (job == 0)
        backend_memory_job(w);
    else
        worker_do(w, &w->targets[(job - 1) % w->n_targets], (job - 1) / w->n_targets);
}

_Noreturn void conform_work(const conform_options *o, conform_board *b, uint64_t first, int output) {
    static worker w;
    w.o = o;
    w.board = b;
    w.check.output = output;
    (void)dup2(output, 1);
    (void)dup2(output, 2);
    cvr_set_log(no_log, NULL);
    cvr_error_init(&b->fatal);
    if (open_all(&w, &b->fatal) != CVR_OK) {
        b->done = true;
        _exit(1);
    }
    b->n_jobs = w.n_targets * o->draws + (o->backend != NULL);
    b->ready = true;
    for (b->job = first; b->job < b->n_jobs && !b->stopped; b->job++) {
        b->started = cvr_now();
        do_job(&w, b->job);
        b->stopped = b->end > 0 && cvr_now() > b->end && b->job + 1 < b->n_jobs;
    }
    b->done = true;
    _exit(0);
}
