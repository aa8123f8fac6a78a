/*
 * Batches made ahead of the step: a ring of slots, filled in order of position by threads that take a few samples at a
 * time. The position alone decides what a batch holds.
 */
#include "slot.h"
#include <pthread.h>

#define RING_DEPTH 4
#define SAMPLES_AT_A_TIME 8
#define MOST_WORKERS 64u

typedef struct permutation {
    int64_t epoch;
    int64_t *order;
} permutation;

struct cvr_batches {
    pipeline pipeline;
    layout layout;
    int64_t per_epoch;
    slot slots[RING_DEPTH];
    permutation orders[2];
    pthread_mutex_t lock;
    pthread_cond_t work, ready;
    pthread_t threads[MOST_WORKERS];
    workbench benches[MOST_WORKERS + 1];
    uint32_t n_threads;
    bool stop;
    int64_t next, end; /* positions: the caller's next, and where making stops */
    int64_t busy;      /* threads at work */
};

typedef struct worker_arg {
    cvr_batches *b;
    uint32_t worker;
} worker_arg;

/* ---- which sample ---- */

/* The order of an epoch: Fisher-Yates from (seed, epoch). Two are kept, since making runs ahead into the next epoch. */
static const int64_t *order_of(cvr_batches *b, int64_t epoch) {
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
    const int64_t *order = order_of(b, position / b->per_epoch);
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
    s->error_at = i;
}

/* Makes some samples of a slot, and the whole of it after the last. Called and returns with the lock held. */
static void do_work(cvr_batches *b, slot *s, uint32_t worker) {
    const int64_t first = s->taken, last = first + SAMPLES_AT_A_TIME < s->n ? first + SAMPLES_AT_A_TIME : s->n;
    const int64_t epoch = s->position / b->per_epoch, position = s->position % b->per_epoch;
    cvr_error err = CVR_ERROR_INIT;
    int64_t failed = -1;
    s->taken = last;
    b->busy++;
    pthread_mutex_unlock(&b->lock);
    for (int64_t i = first; i < last && failed < 0; i++) {
        if (slot_make(s, &b->layout, &b->benches[worker], i, epoch, &err) != CVR_OK) failed = i;
    }
    pthread_mutex_lock(&b->lock);
    if (failed >= 0) failed_at(s, failed, &err);
    s->done += last - first;
    if (s->done == s->n) {
        if (s->error_at == s->n) {
            pthread_mutex_unlock(&b->lock);
            const int32_t status = slot_finish(s, &b->layout, &b->benches[worker], epoch, position, &err);
            pthread_mutex_lock(&b->lock);
            if (status != CVR_OK) failed_at(s, 0, &err);
        }
        s->whole = true;
    }
    b->busy--;
    /* Only what someone may wait for: a whole batch, or that all threads are idle. */
    if (s->whole || b->busy == 0) pthread_cond_broadcast(&b->ready);
}

static void *make_batches(void *arg) {
    const worker_arg a = *(worker_arg *)arg;
    cvr_free(arg);
    cvr_thread_unpin();
    pthread_mutex_lock(&a.b->lock);
    while (!a.b->stop) {
        slot *s = find_work(a.b);
        if (s)
            do_work(a.b, s, a.worker);
        else
            pthread_cond_wait(&a.b->work, &a.b->lock);
    }
    pthread_mutex_unlock(&a.b->lock);
    return NULL;
}

int32_t cvr_batches_next(cvr_batches *b, cvr_batch *out, cvr_error *err) {
    const double start = cvr_now();
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&b->lock);
    if (b->next >= b->end) {
        pthread_mutex_unlock(&b->lock);
        return CVR_OK;
    }
    slot *s = &b->slots[b->next % RING_DEPTH];
    while (s->position != b->next || !s->whole) {
        slot *mine = b->n_threads ? NULL : find_work(b);
        if (mine) {
            do_work(b, mine, 0);
        } else {
            pthread_cond_broadcast(&b->work);
            pthread_cond_wait(&b->ready, &b->lock);
        }
    }
    b->next++; /* frees the slot that the caller had until now */
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    if (s->error_at < s->n) {
        *err = s->error;
        return err->code;
    }
    slot_view(s, &b->layout, out);
    out->wait_seconds = cvr_now() - start;
    return CVR_OK;
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

static int32_t allocate(cvr_batches *b, cvr_error *err) {
    for (int i = 0; i < RING_DEPTH; i++) CVR_TRY(slot_allocate(&b->slots[i], &b->layout, b->pipeline.o.batch, err));
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
        worker_arg *a = cvr_calloc(1, sizeof *a);
        if (!a) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        *a = (worker_arg){b, i + 1};
        if (pthread_create(&b->threads[i], NULL, make_batches, a) != 0) {
            cvr_free(a);
            return cvr_fail(err, CVR_ERR_NOMEM, "cannot start data thread %u; lower data.workers", i + 1);
        }
        b->n_threads++;
    }
    return CVR_OK;
}

static int32_t new_batches(cvr_batches **out, cvr_error *err) {
    cvr_batches *b = *out = cvr_calloc(1, sizeof *b);
    if (!b) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->work, NULL);
    pthread_cond_init(&b->ready, NULL);
    for (size_t i = 0; i <= MOST_WORKERS; i++) b->benches[i].pipeline = &b->pipeline;
    for (int i = 0; i < RING_DEPTH; i++) b->slots[i].position = -1;
    return CVR_OK;
}

static int32_t check_counts(cvr_batches *b, cvr_error *err) {
    const int64_t n = b->pipeline.n_samples, batch = b->pipeline.o.batch;
    if (n == 0) return cvr_fail(err, CVR_ERR_INVALID, "there is not one picture in the data; check data.root");
    b->per_epoch = b->pipeline.o.drop_last ? n / batch : (n + batch - 1) / batch;
    return b->per_epoch
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_USAGE, "drop_last leaves no batch of %lld from %lld pictures; lower train.batch",
                          (long long)batch, (long long)n);
}

int32_t cvr_batches_create(cvr_batches **out, const cvr_batches_options *o, cvr_error *err) {
    int32_t status;
    CVR_TRY(new_batches(out, err));
    cvr_batches *b = *out;
    CVR_TRY_OUT(pipeline_open(&b->pipeline, o, err));
    CVR_TRY_OUT(check_counts(b, err));
    CVR_TRY_OUT(layout_open(&b->layout, &b->benches[0], err));
    b->benches[0].looks = false;
    CVR_TRY_OUT(allocate(b, err));
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
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->work);
    pthread_cond_destroy(&b->ready);
    cvr_free(b);
    *batches = NULL;
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

/* ---- the inputs of a program ---- */

static int32_t add_input(const column *c, cvr_graph *g, const cvr_batch_inputs *what, cvr_value *out, cvr_error *err) {
    cvr_type type;
    column_type(c, what->n, what->canvas, &type);
    return cvr_graph_input(g, c->name, &type, out, err);
}

/* What the device does of the transforms, each with the numbers that were drawn for it. */
static int32_t emit_transforms(const cvr_batches *b, cvr_graph *g, const cvr_batch_inputs *what, cvr_value *image,
                               cvr_error *err) {
    const layout *l = &b->layout;
    const cvr_builder *builder = cvr_graph_builder(g);
    const cvr_batches_options *o = &b->pipeline.o;
    size_t next = l->n_fields;
    while (next < l->n && l->columns[next].is == COLUMN_COUNT) next++;
    for (size_t i = b->pipeline.normalises; i < o->n_transforms; i++) {
        const cvr_transform *t = &o->transforms[i];
        cvr_value params = CVR_NONE;
        if (next < l->n && l->columns[next].place == i) CVR_TRY(add_input(&l->columns[next++], g, what, &params, err));
        const int32_t status = t->desc->emit(builder, t->attrs, params, *image, image, err);
        if (status != CVR_OK) return transform_failed(t, status, err);
    }
    return CVR_OK;
}

int32_t cvr_batches_inputs(const cvr_batches *b, cvr_graph *g, const cvr_batch_inputs *what, cvr_value *image,
                           cvr_error *err) {
    const layout *l = &b->layout;
    cvr_value ignored;
    CVR_TRY(add_input(&l->columns[0], g, what, image, err));
    for (size_t i = 1; what->with_targets && i < l->n && l->columns[i].is <= COLUMN_COUNT; i++)
        CVR_TRY(add_input(&l->columns[i], g, what, &ignored, err));
    return l->on_device ? emit_transforms(b, g, what, image, err) : CVR_OK;
}

/* ---- single samples ---- */

int32_t cvr_batches_try(const cvr_batches_options *o, int64_t index, cvr_error *err) {
    cvr_batches *b;
    arena_sample *s;
    cvr_batches_options all = *o;
    int32_t status;
    all.whole = true;
    all.skip_bad = false;
    CVR_TRY(new_batches(&b, err));
    CVR_TRY_OUT(pipeline_open(&b->pipeline, &all, err));
    CVR_TRY_OUT(workbench_take(&b->benches[0], &s, err));
    CVR_TRY_OUT(sample_make(&b->benches[0], s, (sample_place){index, 0, 0}, b->pipeline.batch_first, err));
out:
    cvr_batches_destroy(&b);
    return status;
}

int32_t cvr_batches_open_pictures(cvr_batches **out, const cvr_batches_options *o, int64_t channels, cvr_error *err) {
    cvr_batches_options one = *o;
    int32_t status;
    one.dataset = NULL;
    one.n_wants = 0;
    one.batch = 1;
    one.limit = 0;
    CVR_TRY(new_batches(out, err));
    cvr_batches *b = *out;
    CVR_TRY_OUT(pipeline_open(&b->pipeline, &one, err));
    b->layout.channels = channels;
out:
    if (status != CVR_OK) cvr_batches_destroy(out);
    return status;
}

int32_t cvr_batches_show(cvr_batches *b, const cvr_image *image, const char *path, cvr_batch *out, cvr_error *err) {
    workbench *w = &b->benches[0];
    layout *l = &b->layout;
    slot *s = &b->slots[0];
    arena_sample *from;
    w->used = 0;
    b->pipeline.path = path;
    CVR_TRY(workbench_take(w, &from, err));
    CVR_TRY(sample_show(w, from, image, b->pipeline.normalises, err));
    if (l->n == 0)
        CVR_TRY(layout_learn(l, w, from, err));
    else
        CVR_TRY(sample_transform(w, from, (sample_place){0}, b->pipeline.normalises, l->end, err));
    const cvr_field *f = cvr_sample_find(&from->sample, CVR_FIELD_IMAGE);
    l->canvases[0] = canvas_of(&b->pipeline.o, f->shape[0], f->shape[1]);
    l->n_canvases = 1;
    CVR_TRY(layout_measure(l, l->canvases[0], err));
    CVR_TRY(slot_allocate(s, l, 1, err));
    s->n = 1;
    CVR_TRY(slot_put(s, l, w, from, 0, 0, err));
    CVR_TRY(slot_finish(s, l, w, 0, 0, err));
    *out = (cvr_batch){.wait_seconds = 0};
    slot_view(s, l, out);
    return CVR_OK;
}
