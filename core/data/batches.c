/*
 * Batches made ahead of the step: a ring of slots, filled in order of position by threads that take a few samples at a
 * time. The position alone decides what a batch holds.
 */
#include "sample.h"
#include <cvr/plugins.h>
#include <pthread.h>
#include <stdatomic.h>

#define RING_DEPTH 4
#define SAMPLES_AT_A_TIME 8
#define MOST_WORKERS 64u
#define MOST_BAD_IN_A_ROW 20

typedef struct slot {
    int64_t position; /* of the batch that it holds or is being made; -1: free */
    int64_t n, taken, done;
    float *images;
    int64_t *labels, *indices;
    cvr_error error;
    int64_t error_at; /* lowest sample that failed; n: none */
} slot;

typedef struct permutation {
    int64_t epoch;
    int64_t *order;
} permutation;

struct cvr_batches {
    cvr_batches_options o;
    int64_t n_samples, per_epoch, height, width, channels;
    int64_t target_size; /* numbers of a sample's target: 1, or height * width */
    slot slots[RING_DEPTH];
    permutation orders[2];
    pthread_mutex_t lock;
    pthread_cond_t work, ready;
    pthread_t threads[MOST_WORKERS];
    arena_sample *scratch[MOST_WORKERS + 1];
    uint32_t n_threads;
    bool stop;
    int64_t next, end; /* positions: the caller's next, and where making stops */
    int64_t busy;      /* threads at work */
    atomic_int_fast64_t skipped;
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
    for (int64_t i = 0; i < b->n_samples; i++) p->order[i] = i;
    cvr_rng r;
    cvr_rng_start(&r, cvr_rng_mix(cvr_rng_mix(b->o.seed, 0x73687566ull), (uint64_t)epoch), 0);
    for (int64_t i = b->n_samples - 1; b->o.shuffle && i > 0; i--) {
        const int64_t k = (int64_t)cvr_rng_below(&r, (uint64_t)i + 1), t = p->order[i];
        p->order[i] = p->order[k];
        p->order[k] = t;
    }
    p->epoch = epoch;
    return p->order;
}

/* With a limit, every (count / limit)-th sample, so that data sorted by class keeps all of its classes. */
static int64_t spread(const cvr_batches *b, int64_t i) {
    const int64_t count = b->o.dataset->count(b->o.self);
    return (int64_t)((double)i * ((double)count / (double)b->n_samples));
}

static int64_t batch_size(const cvr_batches *b, int64_t position) {
    const int64_t first = position % b->per_epoch * b->o.batch, left = b->n_samples - first;
    return left < b->o.batch ? left : b->o.batch;
}

/* ---- making a sample ---- */

static int32_t check_size(const cvr_batches *b, const cvr_field *f, int64_t index, cvr_error *err) {
    if (f->shape[0] == b->height && f->shape[1] == b->width && f->shape[2] == b->channels) return CVR_OK;
    char name[512];
    b->o.dataset->describe(b->o.self, index, name, sizeof name);
    cvr_fail(err, CVR_ERR_INVALID, "the picture is %lldx%lld with %lld channels, the first was %lldx%lld with %lld; %s",
             (long long)f->shape[1], (long long)f->shape[0], (long long)f->shape[2], (long long)b->width,
             (long long)b->height, (long long)b->channels, b->o.size_hint);
    return cvr_fail_at(err, name, 0, CVR_ERR_INVALID);
}

/* The sample's target as i64: its label (-1: it has none), or its mask. */
static int32_t copy_target(const cvr_batches *b, const arena_sample *s, int64_t index, int64_t *to, cvr_error *err) {
    if (b->o.target_kind != CVR_FIELD_MASK) {
        const cvr_field *label = cvr_sample_find(&s->sample, CVR_FIELD_LABEL);
        *to = label && label->dtype == CVR_I64 ? *(const int64_t *)label->data : -1;
        return CVR_OK;
    }
    const cvr_field *mask = cvr_sample_find(&s->sample, CVR_FIELD_MASK); /* (H, W) */
    if (mask && mask->dtype == CVR_U8 && mask->rank == 2 && mask->shape[0] == b->height && mask->shape[1] == b->width) {
        const uint8_t *classes = mask->data;
        for (int64_t i = 0; i < b->target_size; i++) to[i] = classes[i];
        return CVR_OK;
    }
    char name[512];
    b->o.dataset->describe(b->o.self, index, name, sizeof name);
    if (mask)
        cvr_fail(err, CVR_ERR_INVALID, "the mask has not the size of its picture, %lldx%lld", (long long)b->width,
                 (long long)b->height);
    else
        cvr_fail(err, CVR_ERR_INVALID,
                 "there is no mask: this task needs one for each picture; choose another data.format");
    return cvr_fail_at(err, name, 0, CVR_ERR_INVALID);
}

/* Makes sample `i` of a slot. With skip_bad, a bad one's place is taken by the next good one of the data set. */
static int32_t make_one(cvr_batches *b, arena_sample *s, slot *to, int64_t i, cvr_error *err) {
    const int64_t epoch = to->position / b->per_epoch, count = b->o.dataset->count(b->o.self);
    int64_t index = to->indices[i];
    int32_t status = CVR_OK;
    for (int tries = 0; tries < MOST_BAD_IN_A_ROW; tries++) {
        status = sample_make(s, &b->o, (sample_place){index, epoch}, err);
        if (status == CVR_OK || !b->o.skip_bad) break;
        atomic_fetch_add(&b->skipped, 1);
        cvr_log(CVR_LOG_WARNING, "%s: %s; skipped", err->file, err->message);
        cvr_error_init(err);
        index = (index + 1) % count;
    }
    if (status != CVR_OK) return status;
    const cvr_field *image = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE);
    status = check_size(b, image, index, err);
    if (status == CVR_OK) status = copy_target(b, s, index, to->labels + i * b->target_size, err);
    if (status != CVR_OK) return status;
    sample_normalise(image, &b->o, to->images + i * b->height * b->width * b->channels);
    to->indices[i] = index;
    return CVR_OK;
}

/* ---- the ring ---- */

/* Points a slot at a batch. Under the lock. */
static void open_slot(cvr_batches *b, slot *s, int64_t position) {
    const int64_t *order = order_of(b, position / b->per_epoch);
    s->position = position;
    s->n = batch_size(b, position);
    s->taken = s->done = 0;
    s->error_at = s->n;
    for (int64_t i = 0; i < s->n; i++) s->indices[i] = spread(b, order[position % b->per_epoch * b->o.batch + i]);
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

/* Makes some samples of a slot. Called and returns with the lock held. */
static void do_work(cvr_batches *b, slot *s, uint32_t worker) {
    const int64_t first = s->taken, last = first + SAMPLES_AT_A_TIME < s->n ? first + SAMPLES_AT_A_TIME : s->n;
    cvr_error err;
    s->taken = last;
    b->busy++;
    pthread_mutex_unlock(&b->lock);
    int64_t failed = -1;
    for (int64_t i = first; i < last && failed < 0; i++) {
        cvr_error_init(&err);
        if (make_one(b, b->scratch[worker], s, i, &err) != CVR_OK) failed = i;
    }
    pthread_mutex_lock(&b->lock);
    if (failed >= 0 && failed < s->error_at) {
        s->error = err;
        s->error_at = failed;
    }
    s->done += last - first;
    b->busy--;
    /* Only what someone may wait for: a whole batch, or that all threads are idle. */
    if (s->done == s->n || b->busy == 0) pthread_cond_broadcast(&b->ready);
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
    while (s->position != b->next || s->done < s->n) {
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
    *out = (cvr_batch){s->n, b->height, b->width, b->channels, s->images, s->labels, s->indices, cvr_now() - start};
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
    b->end = b->o.run_ahead ? INT64_MAX / 2 : (epoch + 1) * b->per_epoch;
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    return CVR_OK;
}

/* ---- life ---- */

static int32_t allocate(cvr_batches *b, cvr_error *err) {
    const size_t picture = (size_t)(b->height * b->width * b->channels);
    for (int i = 0; i < RING_DEPTH; i++) {
        slot *s = &b->slots[i];
        s->position = -1;
        s->images = cvr_alloc_aligned((size_t)b->o.batch * picture * sizeof(float), 64);
        s->labels = cvr_calloc((size_t)(b->o.batch * b->target_size), sizeof *s->labels);
        s->indices = cvr_calloc((size_t)b->o.batch, sizeof *s->indices);
        if (!s->images || !s->labels || !s->indices)
            return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for batches of %lld; lower train.batch",
                            (long long)b->o.batch);
    }
    for (int i = 0; i < 2; i++) {
        b->orders[i].epoch = -1;
        b->orders[i].order = cvr_calloc((size_t)b->n_samples, sizeof(int64_t));
        if (!b->orders[i].order) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    return CVR_OK;
}

static int32_t start_workers(cvr_batches *b, cvr_error *err) {
    const uint32_t wanted = b->o.workers < MOST_WORKERS ? b->o.workers : MOST_WORKERS;
    for (uint32_t i = 0; i < wanted; i++) {
        worker_arg *a = cvr_calloc(1, sizeof *a);
        b->scratch[i + 1] = cvr_calloc(1, sizeof *b->scratch[0]);
        if (!a || !b->scratch[i + 1]) {
            cvr_free(a);
            return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        }
        sample_init(b->scratch[i + 1]);
        *a = (worker_arg){b, i + 1};
        if (pthread_create(&b->threads[i], NULL, make_batches, a) != 0) {
            cvr_free(a);
            return cvr_fail(err, CVR_ERR_NOMEM, "cannot start data thread %u; lower data.workers", i + 1);
        }
        b->n_threads++;
    }
    return CVR_OK;
}

/* One sample tells the size of all. */
static int32_t learn_size(cvr_batches *b, cvr_error *err) {
    int64_t index = 0;
    int32_t status = sample_make(b->scratch[0], &b->o, (sample_place){index, 0}, err);
    while (status != CVR_OK && b->o.skip_bad && ++index < MOST_BAD_IN_A_ROW && index < b->n_samples) {
        cvr_error_init(err);
        status = sample_make(b->scratch[0], &b->o, (sample_place){index, 0}, err);
    }
    if (status != CVR_OK) return status;
    const cvr_field *f = cvr_sample_find(&b->scratch[0]->sample, CVR_FIELD_IMAGE);
    b->height = f->shape[0];
    b->width = f->shape[1];
    b->channels = f->shape[2];
    b->target_size = b->o.target_kind == CVR_FIELD_MASK ? b->height * b->width : 1;
    return CVR_OK;
}

int32_t cvr_batches_create(cvr_batches **out, const cvr_batches_options *o, cvr_error *err) {
    cvr_batches *b = cvr_calloc(1, sizeof *b);
    *out = NULL;
    if (!b || !(b->scratch[0] = cvr_calloc(1, sizeof *b->scratch[0]))) {
        cvr_free(b);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    b->o = *o;
    sample_init(b->scratch[0]);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->work, NULL);
    pthread_cond_init(&b->ready, NULL);
    const int64_t count = o->dataset->count(o->self);
    b->n_samples = o->limit > 0 && o->limit < count ? o->limit : count;
    b->per_epoch = o->drop_last ? b->n_samples / o->batch : (b->n_samples + o->batch - 1) / o->batch;
    int32_t status = CVR_OK;
    if (b->n_samples == 0)
        status = cvr_fail(err, CVR_ERR_INVALID, "there is not one picture in the data; check data.root");
    else if (b->per_epoch == 0)
        status = cvr_fail(err, CVR_ERR_USAGE, "drop_last leaves no batch of %lld from %lld pictures; lower train.batch",
                          (long long)o->batch, (long long)b->n_samples);
    if (status == CVR_OK) status = learn_size(b, err);
    if (status == CVR_OK) status = allocate(b, err);
    if (status == CVR_OK) status = start_workers(b, err);
    if (status != CVR_OK) cvr_batches_destroy(&b);
    *out = b;
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
    for (uint32_t i = 0; i <= MOST_WORKERS; i++) {
        if (b->scratch[i]) sample_free(b->scratch[i]);
        cvr_free(b->scratch[i]);
    }
    for (int i = 0; i < RING_DEPTH; i++) {
        cvr_free(b->slots[i].images);
        cvr_free(b->slots[i].labels);
        cvr_free(b->slots[i].indices);
    }
    for (int i = 0; i < 2; i++) cvr_free(b->orders[i].order);
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->work);
    pthread_cond_destroy(&b->ready);
    cvr_free(b);
    *batches = NULL;
}

void cvr_batches_shape(const cvr_batches *b, int64_t shape[4]) {
    shape[0] = b->o.batch;
    shape[1] = b->channels;
    shape[2] = b->height;
    shape[3] = b->width;
}

int64_t cvr_batches_samples(const cvr_batches *b) {
    return b->n_samples;
}
int64_t cvr_batches_per_epoch(const cvr_batches *b) {
    return b->per_epoch;
}
int64_t cvr_batches_remainder(const cvr_batches *b) {
    return b->o.drop_last ? 0 : b->n_samples % b->o.batch;
}
int64_t cvr_batches_skipped(const cvr_batches *b) {
    return atomic_load(&((cvr_batches *)(uintptr_t)b)->skipped);
}
