/*
 * The host's thread pool. Every worker has a share of a job's tasks, one after the other, and helps the next worker
 * when it is through with its own: kernels number their tasks along the memory, so that what a worker wrote in one job
 * it finds in its own caches in the next, and yet a slow thread does not keep the others waiting. A worker that wakes
 * too late for a job simply misses it.
 *
 * Shares are gone through upwards and downwards by turns: what is larger than the caches is then found there in part,
 * as a job begins where the one before it ended. No result may depend on any of this.
 */
#define _GNU_SOURCE /* cpu_set_t */
#include "calls.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define POOL_MOST_WORKERS 256u
#define POOL_SPINS 4000

/* How many of a worker's tasks have been taken; each in a cache line of its own. */
typedef struct pool_share {
    atomic_uint_fast64_t taken;
    uint64_t unused[7];
} pool_share;

typedef struct pool {
    cvr_threadpool table; /* first: the table's ctx leads back here */
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    atomic_uint_fast64_t generation; /* of jobs; changes under the lock */
    atomic_uint inside;              /* workers at work on the job; rises under the lock */
    pool_share shares[POOL_MOST_WORKERS];
    uint64_t n_tasks;
    bool down;
    cvr_task_fn fn;
    void *task_ctx;
    const struct call *call; /* what the job is done for */
    bool open, stop;
    bool pinned;
    uint32_t sleeping, n_threads;
    pthread_t threads[POOL_MOST_WORKERS];
} pool;

typedef struct worker_start {
    pool *p;
    uint32_t worker;
} worker_start;

static _Thread_local bool inside_task;

static inline void pause_cpu(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* What is left of the `owner`'s share. */
static void work_on(pool *p, uint32_t owner, uint32_t worker) {
    const uint64_t each = p->n_tasks / p->table.n_workers, more = p->n_tasks % p->table.n_workers;
    const uint64_t first = owner * each + (owner < more ? owner : more), n = each + (owner < more);
    for (;;) {
        const uint64_t k = atomic_fetch_add(&p->shares[owner].taken, 1);
        if (k >= n) return;
        p->fn(p->task_ctx, first + (p->down ? n - 1 - k : k), worker);
    }
}

static void work(pool *p, uint32_t worker) {
    inside_task = true;
    for (uint32_t i = 0; i < p->table.n_workers; i++) work_on(p, (worker + i) % p->table.n_workers, worker);
    inside_task = false;
}

static void *worker_main(void *arg) {
    const worker_start start = *(worker_start *)arg;
    pool *p = start.p;
    cvr_free(arg);
    uint64_t seen = 0;
    for (;;) {
        for (int i = 0; i < POOL_SPINS && atomic_load(&p->generation) == seen; i++) pause_cpu();
        pthread_mutex_lock(&p->lock);
        while (!p->stop && !(p->open && atomic_load(&p->generation) != seen)) {
            p->sleeping++;
            pthread_cond_wait(&p->wake, &p->lock);
            p->sleeping--;
        }
        if (p->stop) break;
        seen = atomic_load(&p->generation);
        atomic_fetch_add(&p->inside, 1);
        pthread_mutex_unlock(&p->lock);
        calls_adopt(p->call);
        work(p, start.worker);
        calls_drop(p->call);
        if (atomic_fetch_sub(&p->inside, 1) == 1) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void pool_run(const cvr_threadpool *table, uint64_t n_tasks, cvr_task_fn fn, void *task_ctx) {
    pool *p = table->ctx;
    if (n_tasks <= 1 || inside_task || p->n_threads == 0) {
        for (uint64_t i = 0; i < n_tasks; i++) fn(task_ctx, i, 0);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->fn = fn;
    p->task_ctx = task_ctx;
    p->call = calls_current();
    p->n_tasks = n_tasks;
    p->down = !p->down;
    for (uint32_t i = 0; i < table->n_workers; i++) atomic_store(&p->shares[i].taken, 0);
    p->open = true;
    atomic_fetch_add(&p->generation, 1);
    if (p->sleeping) pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    work(p, 0);
    for (int i = 0; i < POOL_SPINS && atomic_load(&p->inside); i++) pause_cpu();
    pthread_mutex_lock(&p->lock);
    p->open = false;
    while (atomic_load(&p->inside)) pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

int32_t cvr_pool_create(cvr_threadpool **out, uint32_t n_workers, cvr_error *err) {
    if (n_workers < 1) n_workers = 1;
    if (n_workers > POOL_MOST_WORKERS) n_workers = POOL_MOST_WORKERS;
    pool *p = cvr_calloc(1, sizeof *p);
    if (!p) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    p->table = (cvr_threadpool){sizeof p->table, p, n_workers, 0, pool_run};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    *out = &p->table;
    for (uint32_t i = 1; i < n_workers; i++) {
        worker_start *start = cvr_calloc(1, sizeof *start);
        if (start) *start = (worker_start){p, i};
        if (!start || pthread_create(&p->threads[p->n_threads], NULL, worker_main, start) != 0) {
            cvr_free(start);
            cvr_pool_destroy(out);
            return cvr_fail(err, CVR_ERR_NOMEM, "cannot start thread %u of %u; lower backend.threads", i + 1,
                            n_workers);
        }
        p->n_threads++;
    }
    return CVR_OK;
}

/* ---- pinning ---- */

/* What the process could use before a pool was pinned: who starts a thread hands it its own one CPU. */
static cpu_set_t free_cpus;
static atomic_bool any_pinned;

/* The k-th CPU of the set alone. */
static cpu_set_t nth_cpu(const cpu_set_t *set, uint32_t k) {
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, set) && k-- == 0) CPU_SET(cpu, &one);
    return one;
}

int32_t cvr_pool_pin(cvr_threadpool *table, cvr_error *err) {
    pool *p = table->ctx;
    if (atomic_load(&any_pinned)) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "another pool is pinned");
    if (sched_getaffinity(0, sizeof free_cpus, &free_cpus) != 0)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "the system does not tell which CPUs this process may use");
    if ((uint32_t)CPU_COUNT(&free_cpus) < table->n_workers)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "%u threads, and %d CPUs that this process may use", table->n_workers,
                        CPU_COUNT(&free_cpus));
    for (uint32_t i = 0; i < table->n_workers; i++) {
        const cpu_set_t one = nth_cpu(&free_cpus, i);
        (void)pthread_setaffinity_np(i ? p->threads[i - 1] : pthread_self(), sizeof one, &one);
    }
    p->pinned = true;
    atomic_store(&any_pinned, true);
    return CVR_OK;
}

void cvr_thread_unpin(void) {
    if (atomic_load(&any_pinned)) (void)pthread_setaffinity_np(pthread_self(), sizeof free_cpus, &free_cpus);
}

void cvr_pool_destroy(cvr_threadpool **table) {
    if (!*table) return;
    pool *p = (*table)->ctx;
    if (p->pinned) {
        cvr_thread_unpin();
        atomic_store(&any_pinned, false);
    }
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < p->n_threads; i++) pthread_join(p->threads[i], NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->done);
    cvr_free(p);
    *table = NULL;
}
