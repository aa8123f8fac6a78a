/*
 * Batches made ahead of the step: a ring of slots, filled in order of position by threads that take a few samples at a
 * time. The position alone decides what a batch holds.
 */
#include "ring.h"

#define SAMPLES_AT_A_TIME 8
#define MOST_SAMPLES (INT64_C(1) << 34)

/* ---- which sample ---- */

/* The order of an epoch: Fisher-Yates from (seed, epoch). Two are kept, since making runs ahead into the next epoch. */
const int64_t *batches_order(cvr_batches *b, int64_t epoch) {
    permutation *p = &b->orders[epoch & 1];
    if (p->epoch == epoch) return p->order;
    for (int64_t i = 0; i < b->pipeline.n_samples; i++) p->order[i] = i;
    cvr_rng r;
    cvr_rng_start(&r, cvr_rng_mix(cvr_rng_mix(b->pipeline.o.seed, 0x73687566ull), (uint64_t)epoch), 0);
    for (int64_t i = b->pipeline.n_samples - 1; b->pipeline.o.shuffle && i > 0; i--) {
        const int64_t k = (int64_t)cvr_rng_below(&r, (uint64_t)i + 1), t = p->order[i];
        p->order[i] = p->order[k];
        p->order[k] = t;
    }
    if (b->pipeline.o.arrange)
        b->pipeline.o.arrange(b->pipeline.o.sampler, epoch, b->pipeline.n_samples, b->pipeline.o.batch, p->order);
    p->epoch = epoch;
    return p->order;
}

static int64_t batch_size(const cvr_batches *b, int64_t position) {
    const int64_t first = position % b->per_epoch * b->pipeline.o.batch, left = b->pipeline.n_samples - first;
    return left < b->pipeline.o.batch ? left : b->pipeline.o.batch;
}

/* ---- the ring ---- */

/* Points a slot at a batch. Under the lock. */
static void open_slot(cvr_batches *b, slot *s, int64_t position) {
    const int64_t *order = batches_order(b, position / b->per_epoch);
    s->position = position;
    s->n = batch_size(b, position);
    s->taken = s->done = 0;
    s->whole = false;
    s->error_at = s->n;
    for (int64_t i = 0; i < s->n; i++)
        s->origins[i].index = pipeline_sample(&b->pipeline, order[position % b->per_epoch * b->pipeline.o.batch + i]);
}

/* The slot with the earliest samples to make, or NULL. Under the lock. The slot before `next` is the caller's. */
static slot *find_work(cvr_batches *b) {
    for (int64_t p = b->next; p < b->end && p < b->next + RING_DEPTH - 1; p++) {
        slot *s = &b->slots[p % RING_DEPTH];
        if (s->position != p) {
            if (s->position >= 0 && s->done < s->taken) return NULL; /* its last samples are still being made */
            open_slot(b, s, p);
        }
        if (s->taken < s->n) return s;
    }
    return NULL;
}

static void failed_at(slot *s, int64_t i, const cvr_error *err) {
    if (i >= s->error_at) return;
    s->error = *err;
    if (s->error.code == CVR_OK) s->error.code = CVR_ERR_PLUGIN; /* a plugin that failed and did not say why */
    s->error_at = i;
}

/* Makes some samples of a slot, and the whole of it after the last. Called and returns with the lock held. */
static void do_work(cvr_batches *b, slot *s, workbench *w) {
    const int64_t first = s->taken, last = first + SAMPLES_AT_A_TIME < s->n ? first + SAMPLES_AT_A_TIME : s->n;
    const int64_t epoch = s->position / b->per_epoch, position = s->position % b->per_epoch;
    cvr_error err = CVR_ERROR_INIT;
    int64_t failed = -1;
    s->taken = last;
    b->busy++;
    pthread_mutex_unlock(&b->lock);
    for (int64_t i = first; i < last && failed < 0; i++) {
        if (slot_make(s, &b->layout, w, i, epoch, &err) != CVR_OK) failed = i;
    }
    pthread_mutex_lock(&b->lock);
    if (failed >= 0) failed_at(s, failed, &err);
    s->done += last - first;
    if (s->done == s->n) {
        if (s->error_at == s->n) {
            pthread_mutex_unlock(&b->lock);
            const int32_t status = slot_finish(s, &b->layout, w, epoch, position, &err);
            pthread_mutex_lock(&b->lock);
            if (status != CVR_OK) failed_at(s, 0, &err);
        }
        s->whole = true;
    }
    b->busy--;
    /* Only what someone may wait for: a whole batch, or that all threads are idle. */
    if (s->whole || b->busy == 0) pthread_cond_broadcast(&b->ready);
}

static void *make_batches(void *bench) {
    workbench *w = bench;
    cvr_batches *b = w->owner;
    cvr_thread_unpin();
    pthread_mutex_lock(&b->lock);
    while (!b->stop) {
        slot *s = find_work(b);
        if (s)
            do_work(b, s, w);
        else
            pthread_cond_wait(&b->work, &b->lock);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* The next slot in which anything is left, or NULL at the end. Called and returns with the lock held. */
static slot *next_slot(cvr_batches *b) {
    while (b->next < b->end) {
        slot *s = &b->slots[b->next % RING_DEPTH];
        while (s->position != b->next || !s->whole) {
            slot *mine = b->n_threads ? NULL : find_work(b);
            if (mine) {
                do_work(b, mine, &b->benches[0]);
            } else {
                pthread_cond_broadcast(&b->work);
                pthread_cond_wait(&b->ready, &b->lock);
            }
        }
        b->next++; /* frees the slot that the caller had until now */
        pthread_cond_broadcast(&b->work);
        if (s->kept || s->error_at < s->n) return s;
    }
    return NULL;
}

int32_t cvr_batches_next(cvr_batches *b, cvr_batch *out, cvr_error *err) {
    const double start = cvr_now();
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&b->lock);
    const slot *s = next_slot(b);
    pthread_mutex_unlock(&b->lock);
    if (!s) return CVR_OK;
    if (s->error_at < s->n) {
        *err = s->error;
        return err->code;
    }
    slot_view(s, &b->layout, out);
    out->wait_seconds = cvr_now() - start;
    return CVR_OK;
}

bool cvr_batches_peek(cvr_batches *b, cvr_batch *out) {
    pthread_mutex_lock(&b->lock);
    const slot *s = &b->slots[b->next % RING_DEPTH];
    const bool made = b->next < b->end && s->position == b->next && s->whole && s->kept && s->error_at == s->n;
    pthread_mutex_unlock(&b->lock);
    memset(out, 0, sizeof *out);
    if (made) slot_view(s, &b->layout, out);
    return made;
}

int32_t cvr_batches_begin(cvr_batches *b, int64_t epoch, int64_t first, cvr_error *err) {
    if (epoch < 0 || first < 0 || first > b->per_epoch)
        return cvr_fail(err, CVR_ERR_INVALID, "batch %lld of epoch %lld does not exist", (long long)first,
                        (long long)epoch);
    pthread_mutex_lock(&b->lock);
    b->next = b->end = 0; /* nothing new is begun while the old is let go */
    while (b->busy) pthread_cond_wait(&b->ready, &b->lock);
    for (int i = 0; i < RING_DEPTH; i++) b->slots[i].position = -1;
    b->next = epoch * b->per_epoch + first;
    b->end = b->pipeline.o.run_ahead ? INT64_MAX / 2 : (epoch + 1) * b->per_epoch;
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    return CVR_OK;
}

/* ---- life ---- */

/* What is kept for each sample: its place in the order of two epochs, and whether it was warned of. */
static int32_t allocate_orders(cvr_batches *b, cvr_error *err) {
    b->pipeline.warned = cvr_calloc((size_t)b->pipeline.count, 1);
    if (!b->pipeline.warned) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (int i = 0; i < 2; i++) {
        b->orders[i].epoch = -1;
        b->orders[i].order = cvr_calloc((size_t)b->pipeline.n_samples, sizeof(int64_t));
        if (!b->orders[i].order) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    return CVR_OK;
}

static int32_t start_workers(cvr_batches *b, cvr_error *err) {
    const uint32_t asked = b->pipeline.o.workers, wanted = asked < MOST_WORKERS ? asked : MOST_WORKERS;
    for (uint32_t i = 0; i < wanted; i++) {
        if (pthread_create(&b->threads[i], NULL, make_batches, &b->benches[i + 1]) != 0)
            return cvr_fail(err, CVR_ERR_NOMEM, "cannot start data thread %u; lower data.workers", i + 1);
        b->n_threads++;
    }
    return CVR_OK;
}

int32_t batches_new(cvr_batches **out, cvr_error *err) {
    cvr_batches *b = *out = cvr_calloc(1, sizeof *b);
    if (!b) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->work, NULL);
    pthread_cond_init(&b->ready, NULL);
    for (size_t i = 0; i <= MOST_WORKERS; i++) b->benches[i] = (workbench){.owner = b, .pipeline = &b->pipeline};
    for (int i = 0; i < RING_DEPTH; i++) b->slots[i].position = -1;
    return CVR_OK;
}

static int32_t check_counts(cvr_batches *b, cvr_error *err) {
    const int64_t n = b->pipeline.n_samples, batch = b->pipeline.o.batch;
    if (n < 1) return cvr_fail(err, CVR_ERR_INVALID, "there is not one picture in the data; check data.root");
    if (n > MOST_SAMPLES)
        return cvr_fail(err, CVR_ERR_PLUGIN, "%s says that it has %lld pictures", b->pipeline.o.dataset->name,
                        (long long)n);
    b->per_epoch = n / batch + (!b->pipeline.o.drop_last && n % batch != 0);
    return b->per_epoch
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_USAGE, "drop_last leaves no batch of %lld from %lld pictures; lower train.batch",
                          (long long)batch, (long long)n);
}

int32_t cvr_batches_create(cvr_batches **out, const cvr_batches_options *o, cvr_error *err) {
    int32_t status;
    CVR_TRY(batches_new(out, err));
    cvr_batches *b = *out;
    CVR_TRY_OUT(pipeline_open(&b->pipeline, o, err));
    CVR_TRY_OUT(check_counts(b, err));
    CVR_TRY_OUT(allocate_orders(b, err));
    CVR_TRY_OUT(layout_open(&b->layout, &b->benches[0], err));
    b->benches[0].looks = false;
    const int64_t n = b->pipeline.n_samples, most = o->batch < n ? o->batch : n;
    for (int i = 0; i < RING_DEPTH; i++) CVR_TRY_OUT(slot_allocate(&b->slots[i], &b->layout, most, err));
    CVR_TRY_OUT(start_workers(b, err));
out:
    if (status != CVR_OK) cvr_batches_destroy(out);
    return status;
}

void cvr_batches_destroy(cvr_batches **batches) {
    cvr_batches *b = *batches;
    if (!b) return;
    pthread_mutex_lock(&b->lock);
    b->stop = true;
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    for (uint32_t i = 0; i < b->n_threads; i++) pthread_join(b->threads[i], NULL);
    for (uint32_t i = 0; i <= MOST_WORKERS; i++) workbench_free(&b->benches[i]);
    for (int i = 0; i < RING_DEPTH; i++) slot_free(&b->slots[i]);
    for (int i = 0; i < 2; i++) cvr_free(b->orders[i].order);
    cvr_free(b->pipeline.warned);
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->work);
    pthread_cond_destroy(&b->ready);
    cvr_free(b);
    *batches = NULL;
}

bool cvr_batches_block(const cvr_batches *b, size_t i, void **memory, uint64_t *bytes) {
    const size_t columns = b->layout.n;
    if (!columns || i >= RING_DEPTH * columns) return false;
    const slot *s = &b->slots[i / columns];
    *memory = s->memory[i % columns];
    *bytes = s->bytes[i % columns];
    return true;
}

size_t cvr_batches_canvases(const cvr_batches *b, const cvr_canvas **out) {
    *out = b->layout.canvases;
    return b->layout.n_canvases;
}
int64_t cvr_batches_channels(const cvr_batches *b) {
    return b->layout.channels;
}
bool cvr_batches_have_targets(const cvr_batches *b) {
    return b->layout.have_targets;
}
int64_t cvr_batches_samples(const cvr_batches *b) {
    return b->pipeline.n_samples;
}
int64_t cvr_batches_per_epoch(const cvr_batches *b) {
    return b->per_epoch;
}
int64_t cvr_batches_remainder(const cvr_batches *b) {
    return b->pipeline.o.drop_last ? 0 : b->pipeline.n_samples % b->pipeline.o.batch;
}
int64_t cvr_batches_skipped(const cvr_batches *b) {
    return atomic_load(&((cvr_batches *)(uintptr_t)b)->pipeline.skipped);
}
