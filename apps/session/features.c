/*
 * [probe]: what a frozen backbone makes of a picture never changes, so it is computed once, kept in memory, and batches
 * of it train and validate the head. A split's batches come from here then, and else from its pictures.
 */
#include "session_parts.h"

/* One field of all samples, row after row, in memory order. */
typedef struct kept_field {
    cvr_named_tensor tensor; /* of a batch */
    uint64_t row;            /* bytes of a sample */
    char *all;
} kept_field;

struct features {
    const settings *set;
    kept_field *fields; /* "features" first, then what the task wants */
    const cvr_named_tensor **views;
    size_t n_fields;
    int64_t n, capacity, epoch, next, skipped;
    int64_t *order;
    cvr_origin *origins;
    const cvr_origin **batch_origins;
    cvr_canvas canvas;
    bool trains, shuffles, drops_last;
    cvr_batches_options sampler; /* its `arrange`, as batches of pictures have it */
};

void features_destroy(features **features_) {
    features *f = *features_;
    if (!f) return;
    for (size_t i = 0; i < f->n_fields; i++) {
        cvr_free(f->fields[i].all);
        cvr_free(f->fields[i].tensor.tensor.data);
    }
    cvr_free(f->fields);
    cvr_free((void *)(uintptr_t)f->views);
    cvr_free(f->order);
    cvr_free(f->origins);
    cvr_free((void *)(uintptr_t)f->batch_origins);
    cvr_free(f);
    *features_ = NULL;
}

/* ---- computing them ---- */

static int32_t no_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for features; set data.limit, or train without [probe]");
}

/* A field with room for all samples, of the shape that it has in this batch. */
static int32_t add_field(features *f, const cvr_named_tensor *like, int64_t n, cvr_error *err) {
    kept_field *k = &f->fields[f->n_fields];
    const int64_t batch = f->set->train->batch;
    *k = (kept_field){.tensor = *like};
    k->row = (uint64_t)(cvr_numel(like->tensor.rank, like->tensor.shape) / n) * cvr_dtype_size(like->tensor.dtype);
    if (k->row > (uint64_t)INT64_MAX / 2 / (uint64_t)(f->capacity + batch)) return no_memory(err);
    k->tensor.tensor.shape[0] = batch;
    k->all = cvr_alloc_aligned(k->row * (uint64_t)f->capacity + 8, 64);
    k->tensor.tensor.data = cvr_alloc_aligned(k->row * (uint64_t)batch + 8, 64);
    f->views[f->n_fields++] = &k->tensor;
    return k->all && k->tensor.tensor.data ? CVR_OK : no_memory(err);
}

/* The features' field, and those of the batch that the task wants: of one size for all samples. */
static int32_t open_fields(features *f, const cvr_task_desc *task, const cvr_batch_view *b, const cvr_type *t,
                           cvr_error *err) {
    cvr_named_tensor own = {.struct_size = sizeof own, .name = FEATURES, .kind = ""};
    own.tensor = (cvr_tensor){.struct_size = sizeof own.tensor,
                              .dtype = t->dtype,
                              .rank = t->rank,
                              .pixel_stride = t->rank == 4 ? t->shape[1] : 0};
    memcpy(own.tensor.shape, t->shape, sizeof t->shape);
    CVR_TRY(add_field(f, &own, b->n, err));
    for (uint32_t i = 0; i < task->n_wants; i++) {
        const cvr_named_tensor *field = cvr_batch_find(b, task->wants[i]->field);
        if (!field) continue;
        if (field->counts)
            return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                            "[probe] keeps no %s, whose number differs from picture to picture", field->name);
        CVR_TRY(add_field(f, field, b->n, err));
    }
    return CVR_OK;
}

static int32_t keep_batch(features *f, const cvr_batch_view *b, net_program *p, cvr_error *err) {
    const uint64_t n = (uint64_t)b->n, at = (uint64_t)f->n;
    CVR_TRY(cvr_program_read(p->program, cvr_program_slot(p->program, FEATURES),
                             f->fields[0].all + at * f->fields[0].row, err));
    for (size_t i = 1; i < f->n_fields; i++) {
        const kept_field *k = &f->fields[i];
        memcpy(k->all + at * k->row, cvr_batch_find(b, k->tensor.name)->tensor.data, n * k->row);
    }
    for (uint64_t i = 0; i < n; i++) {
        f->origins[at + i] = *b->origins[i];
        f->order[at + i] = (int64_t)(at + i);
    }
    f->n += b->n;
    return CVR_OK;
}

static int32_t compute_all(cvr_session *s, features *f, cvr_batches *batches, cvr_error *err) {
    const net_scalars scalars = {.loss_scale = 1, .seed = s->set.run->seed};
    cvr_batch b;
    net_program *p;
    CVR_TRY(cvr_batches_begin(batches, 0, 0, err));
    for (;;) {
        CVR_TRY(cvr_batches_next(batches, &b, err));
        if (b.view.n == 0) break;
        const program_key key = {.purpose = PROGRAM_FEATURES, .batch = b.view.n, .canvas = b.canvas};
        CVR_TRY(network_program(&s->net, &key, &p, err));
        CVR_TRY(net_program_run(p, &b.view, &scalars, err));
        if (!f->n) {
            const int32_t slot = cvr_program_slot(p->program, FEATURES);
            CVR_TRY(open_fields(f, s->set.task, &b.view, cvr_program_slot_type(p->program, slot), err));
            f->canvas = b.canvas;
        }
        CVR_TRY(keep_batch(f, &b.view, p, err));
    }
    f->skipped = cvr_batches_skipped(batches);
    return CVR_OK;
}

static void tell(const features *f, const char *what, double seconds) {
    char bytes[32];
    uint64_t all = 0;
    for (size_t i = 0; i < f->n_fields; i++) all += f->fields[i].row * (uint64_t)f->n;
    cvr_log(CVR_LOG_INFO, "features of %lld %s pictures computed in %.1f s, %s", (long long)f->n, what, seconds,
            cvr_bytes_text(all, bytes));
}

int32_t features_compute(cvr_session *s, uint32_t which, cvr_error *err) {
    split *sp = &s->data.splits[which];
    const bool trains = which == CVR_SPLIT_TRAIN;
    const double start = cvr_now();
    if (!sp->batches) return CVR_OK;
    features *f = sp->features = cvr_calloc(1, sizeof *f);
    if (!f) return no_memory(err);
    f->set = &s->set;
    f->capacity = cvr_batches_samples(sp->batches);
    f->trains = trains;
    f->shuffles = trains && s->set.data->shuffle;
    f->drops_last = trains && s->set.data->drop_last;
    f->fields = cvr_calloc(s->set.task->n_wants + 1u, sizeof *f->fields);
    f->views = cvr_calloc(s->set.task->n_wants + 1u, sizeof *f->views);
    f->order = cvr_calloc((size_t)f->capacity + 1, sizeof *f->order);
    f->origins = cvr_calloc((size_t)f->capacity + 1, sizeof *f->origins);
    f->batch_origins = cvr_calloc((size_t)s->set.train->batch, sizeof *f->batch_origins);
    if (!f->fields || !f->views || !f->order || !f->origins || !f->batch_origins) return no_memory(err);
    CVR_TRY(compute_all(s, f, sp->batches, err));
    if (f->n == 0)
        return cvr_fail(err, CVR_ERR_FORMAT, "no %s picture could be used", trains ? "training" : "validation");
    if (trains) sampler_options(&s->data, &s->set, &f->sampler);
    if (f->sampler.arrange && f->n != f->capacity)
        return cvr_fail(err, CVR_ERR_USAGE, "train.sampler and train.repeat need all pictures, and %lld were skipped",
                        (long long)(f->capacity - f->n));
    tell(f, trains ? "training" : "validation", cvr_now() - start);
    return CVR_OK;
}

/* ---- batches of them ---- */

static int64_t per_epoch(const features *f) {
    const int64_t batch = f->set->train->batch;
    return f->drops_last ? f->n / batch : (f->n + batch - 1) / batch;
}

/* The order is the epoch's own (Fisher and Yates), whatever came before. */
static void begin(features *f, int64_t epoch, int64_t first) {
    cvr_rng rng;
    cvr_rng_start(&rng, cvr_rng_mix((uint64_t)f->set->run->seed, cvr_hash(FEATURES)), (uint64_t)epoch);
    for (int64_t i = 0; i < f->n; i++) f->order[i] = i;
    for (int64_t i = f->n - 1; f->shuffles && i > 0; i--) {
        const int64_t k = (int64_t)cvr_rng_below(&rng, (uint64_t)i + 1), other = f->order[k];
        f->order[k] = f->order[i];
        f->order[i] = other;
    }
    if (f->sampler.arrange) f->sampler.arrange(f->sampler.sampler, epoch, f->n, f->set->train->batch, f->order);
    f->epoch = epoch;
    f->next = first;
}

static void next(features *f, cvr_batch *out) {
    if (f->trains && f->next == per_epoch(f)) begin(f, f->epoch + 1, 0);
    const int64_t batch = f->set->train->batch, first = f->next * batch, left = f->n - first;
    const int64_t n = f->next >= per_epoch(f) ? 0 : left < batch ? left : batch;
    for (int64_t i = 0; i < n; i++) {
        const int64_t from = f->order[first + i];
        for (size_t k = 0; k < f->n_fields; k++) {
            const kept_field *field = &f->fields[k];
            char *to = field->tensor.tensor.data;
            memcpy(to + (uint64_t)i * field->row, field->all + (uint64_t)from * field->row, field->row);
        }
        f->batch_origins[i] = &f->origins[from];
    }
    for (size_t k = 0; k < f->n_fields; k++) f->fields[k].tensor.tensor.shape[0] = n ? n : batch;
    *out = (cvr_batch){.view = {.struct_size = sizeof out->view,
                                .n = n,
                                .n_fields = (uint32_t)f->n_fields,
                                .fields = f->views,
                                .origins = f->batch_origins},
                       .canvas = f->canvas};
    f->next++;
}

/* ---- either of the two ---- */

int32_t split_begin(split *s, int64_t epoch, int64_t first, cvr_error *err) {
    if (!s->features) {
        s->skipped = cvr_batches_skipped(s->batches); /* the threads begin at once */
        return cvr_batches_begin(s->batches, epoch, first, err);
    }
    begin(s->features, epoch, first);
    return CVR_OK;
}

/* As cvr_batches_next; batches of features go on into the next epoch where the split is trained on. */
int32_t split_next(split *s, cvr_batch *out, cvr_error *err) {
    if (!s->features) return cvr_batches_next(s->batches, out, err);
    next(s->features, out);
    return CVR_OK;
}

bool split_peek(const split *s, cvr_batch *out) {
    return !s->features && cvr_batches_peek(s->batches, out);
}

int64_t split_samples(const split *s) {
    return s->features ? s->features->n : cvr_batches_samples(s->batches);
}

int64_t split_per_epoch(const split *s) {
    return s->features ? per_epoch(s->features) : cvr_batches_per_epoch(s->batches);
}

int64_t split_skipped(const split *s) {
    return s->features ? s->features->skipped : cvr_batches_skipped(s->batches) - s->skipped;
}
