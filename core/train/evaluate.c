/* Evaluation over the validation split, and prediction of single pictures. */
#include "session.h"

/* A tensor in host memory, as the network left it. */
static cvr_tensor host_tensor(const cvr_type *t, void *data) {
    cvr_tensor x = {.struct_size = sizeof x,
                    .dtype = t->dtype,
                    .rank = t->rank,
                    .pixel_stride = t->rank == 4 ? t->shape[1] : 0,
                    .data = data};
    memcpy(x.shape, t->shape, sizeof x.shape);
    memcpy(x.order, t->order, sizeof x.order);
    return x;
}

static uint64_t bytes_of(const cvr_type *t) {
    return (uint64_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(t->dtype);
}

typedef struct evaluation {
    void *metrics, *output;
    double loss_sum;
    int64_t samples;
} evaluation;

static int32_t evaluate_batch(cvr_session *s, evaluation *ev, const cvr_batch *b, cvr_error *err) {
    entry *e = machine_entry(s->machine.eval, b->n);
    float loss = 0;
    if (!e) return cvr_fail(err, CVR_ERR_INVALID, "no program was planned for a batch of %lld", (long long)b->n);
    const entry_run run = {.images = b->images, .target = b->labels, .seed = s->run->seed, .loss = &loss};
    int32_t status = entry_step(e, &run, err);
    if (status == CVR_OK) status = cvr_program_read(e->program, e->output, ev->output, err);
    if (status != CVR_OK) return status;
    const cvr_tensor output = host_tensor(cvr_program_slot_type(e->program, e->output), ev->output);
    const cvr_tensor target = host_tensor(cvr_program_slot_type(e->program, e->target), (void *)(uintptr_t)b->labels);
    ev->loss_sum += (double)loss * (double)b->n;
    ev->samples += b->n;
    return s->task->metrics_update(ev->metrics, &output, &target, err);
}

static void on_metric(void *ctx, const char *name, double value) {
    cvr_metrics *m = ctx;
    if (m->n == sizeof m->names / sizeof *m->names) return;
    m->names[m->n] = name;
    m->values[m->n++] = value;
}

int32_t session_evaluate(cvr_session *s, const evaluate_options *o, cvr_metrics *out, cvr_error *err) {
    split *val = &s->splits[CVR_SPLIT_VAL];
    evaluation ev = {0};
    cvr_batch b;
    const double start = cvr_now();
    uint64_t largest = 8;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < 2; i++) {
        const entry *e = &s->machine.eval[i];
        if (e->program && bytes_of(cvr_program_slot_type(e->program, e->output)) > largest)
            largest = bytes_of(cvr_program_slot_type(e->program, e->output));
    }
    ev.output = cvr_alloc_aligned(largest, 64);
    int32_t status = ev.output ? s->task->metrics_open(&s->task_info, &ev.metrics, err)
                               : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (status == CVR_OK) status = cvr_batches_begin(val->batches, 0, 0, err);
    while (status == CVR_OK && (status = cvr_batches_next(val->batches, &b, err)) == CVR_OK && b.n) {
        const bool first = ev.samples == 0;
        status = evaluate_batch(s, &ev, &b, err);
        if (status == CVR_OK && first && o->on_batch) o->on_batch(o->ctx, &b, ev.output);
        if (o->progress) o->progress(o->progress_ctx, ev.samples, cvr_batches_samples(val->batches));
    }
    if (status == CVR_OK) {
        on_metric(out, "loss", ev.loss_sum / (double)(ev.samples ? ev.samples : 1));
        s->task->metrics_result(ev.metrics, on_metric, out);
        out->samples = ev.samples;
        out->skipped = cvr_batches_skipped(val->batches);
        out->seconds = cvr_now() - start;
        if (o->on_matrix && s->task->metrics_matrix) o->on_matrix(o->ctx, s->task->metrics_matrix(ev.metrics), out);
    }
    if (ev.metrics) s->task->metrics_close(ev.metrics);
    cvr_free(ev.output);
    return status;
}

int32_t cvr_evaluate(cvr_session *s, cvr_metrics *out, cvr_progress_fn progress, void *ctx, cvr_error *err) {
    const evaluate_options o = {.progress = progress, .progress_ctx = ctx};
    return session_evaluate(s, &o, out, err);
}

/* ---- prediction ---- */

static void *picture_alloc(void *ctx, uint64_t bytes) {
    void **to = ctx;
    return *to = cvr_alloc_aligned(bytes, 64);
}

/* The first picture decides the network's input; one of another size needs another program. */
static int32_t prepare_network(cvr_session *s, const cvr_batch *b, cvr_error *err) {
    if (s->store && s->height == b->height && s->width == b->width) return CVR_OK;
    const bool first = !s->store;
    s->height = b->height;
    s->width = b->width;
    return first ? session_open_network(s, err) : cvr_session_swap(s, s->backend_name, err);
}

static int32_t predict_pixels(cvr_session *s, const cvr_batch *b, const cvr_predict_options *o, cvr_error *err) {
    int32_t status = prepare_network(s, b, err);
    if (status == CVR_ERR_FORMAT || status == CVR_ERR_IO)
        status = cvr_fail_as(err, CVR_ERR_INVALID); /* not the picture's fault */
    if (status != CVR_OK) return status;
    entry *e = &s->machine.eval[0];
    const cvr_type *type = cvr_program_slot_type(e->program, e->output);
    void *output = cvr_alloc_aligned(bytes_of(type), 64), *logical = cvr_alloc_aligned(bytes_of(type), 64);
    if (!output || !logical) status = cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const entry_run run = {.images = b->images, .seed = s->run->seed};
    if (status == CVR_OK) status = entry_step(e, &run, err);
    if (status == CVR_OK) status = cvr_program_read(e->program, e->output, output, err);
    if (status == CVR_OK) {
        const cvr_tensor x = host_tensor(type, output);
        status = s->task->predict(&s->task_info, &x, 0, o->sink, err);
        cvr_to_logical(type, output, logical);
        if (status == CVR_OK && o->raw) o->raw(o->ctx, type, logical);
    }
    cvr_free(output);
    cvr_free(logical);
    return status;
}

int32_t cvr_predict_file(cvr_session *s, const char *path, const cvr_predict_options *o, cvr_error *err) {
    const cvr_image_service *images;
    cvr_mapping map = {0};
    cvr_image image = {.struct_size = sizeof image};
    cvr_batches_options options;
    cvr_batch b = {0};
    void *pixels = NULL;
    session_batch_options(s, CVR_SPLIT_VAL, &options);
    int32_t status = cvr_plugins_image_service(s->plugins, &images, err);
    if (status == CVR_OK) status = cvr_fs_map(path, &map, err);
    if (status == CVR_OK)
        status =
            images->decode(images, map.bytes, map.n, (uint32_t)s->in_channels, picture_alloc, &pixels, &image, err);
    if (status == CVR_OK) status = cvr_picture_load(&options, &image, &b, err);
    if (status == CVR_OK) o->begin(o->ctx, path, image.width, image.height);
    if (status == CVR_OK) status = predict_pixels(s, &b, o, err);
    if (status != CVR_OK) cvr_fail_at(err, path, 0, status);
    cvr_free((void *)(uintptr_t)b.images);
    cvr_free(pixels);
    cvr_fs_unmap(&map);
    return status;
}

int64_t cvr_session_check_data(cvr_session *s, cvr_bad_fn bad, cvr_progress_fn progress, void *ctx, cvr_error *err) {
    int64_t n_bad = 0, done = 0, total = 0;
    for (int i = 0; i < 2; i++) total += s->splits[i].present ? s->splits[i].desc->count(s->splits[i].self) : 0;
    for (uint32_t which = 0; which < 2; which++) {
        cvr_batches_options o;
        session_batch_options(s, which, &o);
        for (int64_t i = 0; s->splits[which].present && i < o.dataset->count(o.self); i++) {
            cvr_error why;
            cvr_error_init(&why);
            const int32_t status = cvr_batches_try(&o, i, &why);
            if (status == CVR_ERR_NOMEM) return -(int64_t)cvr_fail(err, status, "%s", why.message);
            if (status != CVR_OK) {
                n_bad++;
                bad(ctx, why.file, why.message);
            }
            if (progress) progress(ctx, ++done, total);
        }
    }
    return n_bad;
}
