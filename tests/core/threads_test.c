/*
 * The pool and the batches under many threads: every task once, the same batches whatever the number of workers. A
 * plain program, because Criterion does not start under the thread sanitizer, and that is where this test matters most.
 */
#define _GNU_SOURCE /* cpu_set_t */
#include <cvr/batches.h>
#include <cvr/config.h>
#include <cvr/plugins.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

static cvr_error err;

static void check(bool holds, const char *what, int64_t where) {
    if (holds) return;
    fprintf(stderr, "FAILED: %s (%lld) %s\n", what, (long long)where, err.message);
    exit(1);
}

static void good(int32_t status) {
    check(status == CVR_OK, "an unexpected error", status);
}

/* ---- pool ---- */

typedef struct tally {
    const cvr_threadpool *pool;
    atomic_int runs[1000];
    atomic_int inner;
    int64_t sum[8];
} tally;

static void inner_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)task, (void)worker;
    atomic_fetch_add(&((tally *)ctx)->inner, 1);
}

static void count_task(void *ctx, uint64_t task, uint32_t worker) {
    tally *t = ctx;
    check(worker < t->pool->n_workers, "a worker that is none", worker);
    atomic_fetch_add(&t->runs[task], 1);
    t->sum[worker] += (int64_t)task; /* each worker has its own */
    if (task % 100 == 0) t->pool->run(t->pool, 3, inner_task, t);
}

static void pool_runs_every_task_once(void) {
    cvr_error_init(&err);
    for (uint32_t workers = 1; workers <= 8; workers++) {
        cvr_threadpool *pool;
        good(cvr_pool_create(&pool, workers, &err));
        for (int round = 0; round < 50; round++) {
            tally t = {.pool = pool};
            const uint64_t n = (uint64_t)(round * 20 + 1);
            int64_t sum = 0;
            pool->run(pool, n, count_task, &t);
            for (uint64_t i = 0; i < 1000; i++)
                check(atomic_load(&t.runs[i]) == (i < n), "a task ran not once", (int64_t)i);
            for (int w = 0; w < 8; w++) sum += t.sum[w];
            check(sum == (int64_t)(n * (n - 1) / 2), "the workers' sums", sum);
            check(atomic_load(&t.inner) == (int)((n + 99) / 100) * 3, "tasks within tasks", (int64_t)n);
        }
        cvr_pool_destroy(&pool);
        check(pool == NULL, "destroy does not null", workers);
    }
}

/* ---- pinning ---- */

static int cpus_of_this_thread(void) {
    cpu_set_t set;
    check(sched_getaffinity(0, sizeof set, &set) == 0, "the system's affinity", 0);
    return CPU_COUNT(&set);
}

typedef struct pinned {
    atomic_int cpus[8], here;
    int workers;
} pinned;

/* One task a worker: it waits for the others, so that none of them does two. */
static void count_cpus_task(void *ctx, uint64_t task, uint32_t worker) {
    pinned *p = ctx;
    (void)task;
    atomic_store(&p->cpus[worker], cpus_of_this_thread());
    atomic_fetch_add(&p->here, 1);
    while (atomic_load(&p->here) < p->workers) sched_yield();
}

/* A thread that the pinned main one starts, as data threads are. */
static void *count_free_cpus(void *out) {
    ((int *)out)[0] = cpus_of_this_thread();
    cvr_thread_unpin();
    ((int *)out)[1] = cpus_of_this_thread();
    return NULL;
}

static void pool_pins_and_lets_go(void) {
    const int all = cpus_of_this_thread();
    const uint32_t workers = all < 8 ? (uint32_t)all : 8;
    cvr_threadpool *pool, *large;
    pinned p = {.workers = (int)workers};
    int started[2];
    pthread_t thread;
    cvr_error_init(&err);
    good(cvr_pool_create(&large, (uint32_t)all + 1, &err));
    check(cvr_pool_pin(large, &err) == CVR_ERR_UNSUPPORTED, "pins more workers than there are CPUs", all);
    check(cpus_of_this_thread() == all, "a refusal changes the CPUs", all);
    cvr_pool_destroy(&large);
    good(cvr_pool_create(&pool, workers, &err));
    good(cvr_pool_pin(pool, &err));
    pool->run(pool, workers, count_cpus_task, &p);
    for (uint32_t w = 0; w < workers; w++)
        check(atomic_load(&p.cpus[w]) == 1, "a pinned worker's CPUs", atomic_load(&p.cpus[w]));
    check(pthread_create(&thread, NULL, count_free_cpus, started) == 0, "a thread", 0);
    check(pthread_join(thread, NULL) == 0, "its end", 0);
    check(started[0] == 1 && started[1] == all, "a started thread's CPUs", started[1]);
    cvr_pool_destroy(&pool);
    check(cpus_of_this_thread() == all, "destroy gives the CPUs back", all);
}

/* ---- batches ---- */

typedef struct source {
    cvr_plugins *plugins;
    const cvr_dataset_desc *dataset;
    void *self, *attrs, *turn_attrs, *normal_attrs, *erase_attrs, *mix_attrs;
    cvr_transform transforms[4];
} source;

static void *parse(const cvr_attr_desc *const *attrs, uint32_t n, const char *text) {
    const cvr_schema schema = {attrs, n};
    void *packed;
    good(cvr_attrs_parse(&schema, text, NULL, "test", &packed, &err));
    return packed;
}

static void *add(source *s, int i, const char *name, const char *settings) {
    const void *desc;
    good(cvr_plugins_find(s->plugins, CVR_KIND_AUGMENT, name, &desc, &err));
    s->transforms[i].desc = desc;
    void *attrs = parse(s->transforms[i].desc->attrs, s->transforms[i].desc->n_attrs, settings);
    s->transforms[i].attrs = attrs;
    return attrs;
}

static void open_source(source *s) {
    const void *desc;
    cvr_error_init(&err);
    good(cvr_plugins_open(&s->plugins, NULL, 0, &err));
    good(cvr_plugins_find(s->plugins, CVR_KIND_DATASET, "fake", &desc, &err));
    s->dataset = desc;
    s->attrs = parse(s->dataset->attrs, s->dataset->n_attrs, "size=101 classes=4");
    const cvr_dataset_args args = {.struct_size = sizeof args,
                                   .host = cvr_plugins_host(s->plugins),
                                   .attrs = s->attrs,
                                   .root = "",
                                   .train = "",
                                   .val = "",
                                   .channels = 3,
                                   .img_size = 12,
                                   .seed = 5};
    good(s->dataset->open(&args, &s->self, &err));
    s->turn_attrs = add(s, 0, "random_rotation", "degrees=20");
    s->normal_attrs = add(s, 1, "normalize", "mean=0.5 std=0.25");
    s->erase_attrs = add(s, 2, "random_erasing", "value=random");
    s->mix_attrs = add(s, 3, "mixup", "");
}

static void close_source(source *s) {
    s->dataset->close(s->self);
    cvr_free(s->attrs);
    cvr_free(s->turn_attrs);
    cvr_free(s->normal_attrs);
    cvr_free(s->erase_attrs);
    cvr_free(s->mix_attrs);
    cvr_plugins_close(&s->plugins);
}

static uint64_t hash(uint64_t h, const void *bytes, size_t n) {
    for (const uint8_t *p = bytes; n; n--) h = (h ^ *p++) * 0x100000001b3ull;
    return h;
}

static const cvr_want label = {.struct_size = sizeof label, .field = "label", .kind = CVR_FIELD_LABEL};
static const cvr_want *const wants[] = {&label};

static uint64_t hash_batch(const cvr_batch *b) {
    uint64_t h = 7;
    for (uint32_t i = 0; i < b->view.n_fields; i++) {
        const cvr_tensor *t = &b->view.fields[i]->tensor;
        h = hash(h, t->data, (size_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(t->dtype));
    }
    return h;
}

/* Hashes of `n` batches from a place on. */
static void hash_batches(const source *s, uint32_t workers, int64_t first, int64_t n, uint64_t *hashes) {
    const cvr_batches_options o = {.dataset = s->dataset,
                                   .self = s->self,
                                   .plugins = s->plugins,
                                   .transforms = s->transforms,
                                   .n_transforms = 4,
                                   .wants = wants,
                                   .n_wants = 1,
                                   .n_classes = 4,
                                   .batch = 8,
                                   .shuffle = true,
                                   .run_ahead = true,
                                   .workers = workers,
                                   .seed = 9,
                                   .size_hint = ""};
    cvr_batches *b;
    cvr_batch batch;
    good(cvr_batches_create(&b, &o, &err));
    const int64_t per_epoch = cvr_batches_per_epoch(b);
    good(cvr_batches_begin(b, first / per_epoch, first % per_epoch, &err));
    for (int64_t i = 0; i < n; i++) {
        good(cvr_batches_next(b, &batch, &err));
        check(batch.view.n == ((first + i) % per_epoch == per_epoch - 1 ? cvr_batches_remainder(b) : 8),
              "the size of a batch", i);
        hashes[i] = hash_batch(&batch);
    }
    cvr_batches_destroy(&b);
}

static void batches_are_the_same_for_any_number_of_workers(void) {
    static const uint32_t workers[] = {1, 2, 8};
    source s;
    uint64_t wanted[40], got[40];
    open_source(&s);
    hash_batches(&s, 0, 0, 40, wanted);
    for (size_t w = 0; w < 3; w++) {
        hash_batches(&s, workers[w], 0, 40, got);
        for (int i = 0; i < 40; i++) check(got[i] == wanted[i], "a batch depends on the workers", i);
    }
    hash_batches(&s, 2, 17, 20, got); /* begun in mid-epoch, as a resumed run does */
    for (int i = 0; i < 20; i++) check(got[i] == wanted[17 + i], "a batch depends on where it was begun", i);
    check(wanted[0] != wanted[13], "two epochs have the same order", 0);
    close_source(&s);
}

/* Starting over while threads are at work. */
static void batches_can_be_begun_again_at_any_moment(void) {
    source s;
    uint64_t wanted[1];
    open_source(&s);
    hash_batches(&s, 0, 26, 1, wanted);
    const cvr_batches_options o = {.dataset = s.dataset,
                                   .self = s.self,
                                   .plugins = s.plugins,
                                   .transforms = s.transforms,
                                   .n_transforms = 4,
                                   .wants = wants,
                                   .n_wants = 1,
                                   .n_classes = 4,
                                   .batch = 8,
                                   .shuffle = true,
                                   .run_ahead = true,
                                   .workers = 4,
                                   .seed = 9,
                                   .size_hint = ""};
    cvr_batches *b;
    cvr_batch batch;
    good(cvr_batches_create(&b, &o, &err));
    for (int i = 0; i < 30; i++) {
        good(cvr_batches_begin(b, i % 3, i % 5, &err));
        for (int k = 0; k < i % 4; k++) good(cvr_batches_next(b, &batch, &err));
    }
    good(cvr_batches_begin(b, 2, 0, &err));
    good(cvr_batches_next(b, &batch, &err));
    const uint64_t got = hash_batch(&batch);
    check(got == wanted[0], "a batch after many beginnings", 0);
    cvr_batches_destroy(&b);
    close_source(&s);
}

int main(void) {
    pool_runs_every_task_once();
    pool_pins_and_lets_go();
    batches_are_the_same_for_any_number_of_workers();
    batches_can_be_begun_again_at_any_moment();
    printf("4 passed, 0 failed\n");
    return 0;
}
