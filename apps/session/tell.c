/*
 * What a run tells its reporters. Reporters see, they never steer: a plugin's that fails is switched off with a
 * warning, and training goes on. The program's own, which write what a run cannot go on without, end it.
 */
#include "trainer.h"

/* Whether the program gave it, and no plugin. */
static bool is_own(const trainer *t, const cvr_reporter_desc *r) {
    cvr_error ignored = CVR_ERROR_INIT;
    const void *desc;
    return cvr_plugins_find(t->s->plugins, CVR_KIND_REPORTER, r->name, &desc, &ignored) != CVR_OK || desc != r;
}

/* After each callback of reporter i. */
static int32_t told(const trainer *t, size_t i, int32_t status, const cvr_error *why, cvr_error *err) {
    if (status == CVR_OK) return CVR_OK;
    if (is_own(t, t->o->reporters[i])) {
        *err = *why;
        return status;
    }
    t->off[i] = true;
    cvr_log(CVR_LOG_WARNING, "reporter %s is switched off, training goes on: %s%s%s", t->o->reporters[i]->name,
            why->file, why->file[0] ? ": " : "", why->message);
    return CVR_OK;
}

/* For each reporter that has the callback and is not switched off. */
#define TELL(callback_, ...)                                                                                           \
    for (size_t i = 0; i < t->n_open; i++) {                                                                           \
        cvr_error why = CVR_ERROR_INIT;                                                                                \
        if (t->off[i] || !t->o->reporters[i]->callback_) continue;                                                     \
        CVR_TRY(told(t, i, CVR_CALL(t->o->reporters[i], callback_, NULL, &why, __VA_ARGS__), &why, err));              \
    }                                                                                                                  \
    return CVR_OK

/* ---- what reporters may ask of the training split ---- */

static const split *train_split(const trainer *t) {
    const split *sp = &t->s->data.splits[CVR_SPLIT_TRAIN];
    return sp->present ? sp : NULL;
}

static int64_t count_samples(const trainer *t) {
    const split *sp = train_split(t);
    int64_t n = 0;
    if (sp) CVR_CALL_TO(n, sp->desc, count, NULL, sp->self);
    return n > 0 ? n : 0;
}

static int32_t train_objects(void *data, int64_t index, cvr_object_fn each, void *ctx, cvr_error *err) {
    const split *sp = train_split(data);
    if (!sp || !sp->desc->objects)
        return cvr_fail(err, CVR_ERR_NOTFOUND, "the data has no annotations of objects beside its fields");
    return CVR_CALL(sp->desc, objects, NULL, err, sp->self, index, each, ctx);
}

static int32_t train_size(void *data, int64_t index, int64_t *height, int64_t *width, cvr_error *err) {
    const split *sp = train_split(data);
    if (!sp || !sp->desc->size) return cvr_fail(err, CVR_ERR_NOTFOUND, "the data does not tell the sizes of pictures");
    return CVR_CALL(sp->desc, size, NULL, err, sp->self, index, height, width);
}

int32_t tell_start(trainer *t, cvr_error *err) {
    cvr_session_info i;
    CVR_TRY(session_note_plugins(t->s, err));
    cvr_session_describe(t->s, &i);
    const cvr_run_info info = {.struct_size = sizeof info,
                               .host = cvr_plugins_host(t->s->plugins),
                               .folder = t->o->folder,
                               .task = i.task,
                               .model = i.model,
                               .backend = i.backend,
                               .precision = i.precision,
                               .version = "0.1.0",
                               .best_metric = evaluation_best_metric(t->s),
                               .params = i.params,
                               .epochs = i.epochs,
                               .steps_per_epoch = t->steps_per_epoch,
                               .seed = (uint64_t)t->s->set.run->seed,
                               .planned_memory_bytes = i.planned_bytes,
                               .n_classes = i.n_classes,
                               .class_names = i.class_names,
                               .mean = t->s->set.mean,
                               .std = t->s->set.std,
                               .n_channels = i.channels,
                               .resume_step = t->o->resume ? t->state.step : -1,
                               .resume_epoch = t->o->resume ? t->state.epoch : -1,
                               .protocol = i.protocol,
                               .n_samples = count_samples(t),
                               .data = t,
                               .objects = train_objects,
                               .size = train_size};
    t->reporters = cvr_calloc(t->o->n_reporters + 1, sizeof *t->reporters);
    t->off = cvr_calloc(t->o->n_reporters + 1, sizeof *t->off);
    if (!t->reporters || !t->off) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t k = 0; k < t->o->n_reporters; k++) {
        const cvr_reporter_desc *r = t->o->reporters[k];
        cvr_error why = CVR_ERROR_INIT;
        CVR_TRY(told(t, k, CVR_CALL(r, open, NULL, &why, &info, &t->reporters[k]), &why, err));
        if (t->off[k]) t->reporters[k] = NULL;
        t->n_open = k + 1;
    }
    return CVR_OK;
}

/* One that did not open has nothing to close. */
void tell_close(trainer *t) {
    for (size_t i = t->n_open; i-- > 0;) {
        const cvr_reporter_desc *r = t->o->reporters[i];
        if (!t->off[i] || t->reporters[i]) CVR_CALL_VOID(r, close, NULL, t->reporters[i]);
    }
    t->n_open = 0;
    cvr_free(t->reporters);
    cvr_free(t->off);
}

int32_t tell_flush(const trainer *t, cvr_error *err) {
    TELL(flush, t->reporters[i]);
}

int32_t tell_step(const trainer *t, const step_done *d, cvr_error *err) {
    const step_losses *l = &t->s->losses;
    const double wait = d->seconds > 0 ? d->batch->wait_seconds / d->seconds : 0;
    const cvr_step_event e = {.struct_size = sizeof e,
                              .step = t->state.step,
                              .epoch = t->state.epoch + 1,
                              .loss = l->total,
                              .lr = d->lr,
                              .images_per_s = d->seconds > 0 ? (double)d->batch->view.n / d->seconds : 0,
                              .data_wait_fraction = wait < 1 ? wait : 1,
                              .n_losses = (uint32_t)l->n,
                              .loss_names = l->names,
                              .losses = l->each,
                              .samples = d->batch->view.n,
                              .seconds = d->seconds,
                              .data_seconds = d->batch->wait_seconds};
    TELL(step, t->reporters[i], &e);
}

int32_t tell_batch(const trainer *t, const char *name, const cvr_batch *b, const cvr_batch_view *outputs,
                   cvr_error *err) {
    const cvr_batch_event e = {.struct_size = sizeof e, .name = name, .batch = &b->view, .outputs = outputs};
    TELL(batch, t->reporters[i], &e);
}

int32_t tell_validated(const trainer *t, const cvr_batch *b, const cvr_batch_view *outputs, const double *scores,
                       cvr_error *err) {
    const cvr_batch_event e = {.struct_size = sizeof e,
                               .name = "val_batch",
                               .batch = &b->view,
                               .outputs = outputs,
                               .scores = scores,
                               .score_name = scores ? t->s->set.task->score_name : NULL};
    TELL(validated, t->reporters[i], &e);
}

int32_t tell_epoch(const trainer *t, const evaluation *v, bool is_best, cvr_error *err) {
    const train_state *st = &t->state;
    const cvr_epoch_event e = {.struct_size = sizeof e,
                               .epoch = st->epoch + 1,
                               .step = st->step,
                               .seconds = st->epoch_seconds,
                               .images_per_s = (double)st->epoch_samples / st->epoch_seconds,
                               .lr = t->epoch_lr,
                               .data_wait_fraction = st->epoch_wait / st->epoch_seconds,
                               .n_metrics = v ? (uint32_t)t->metrics.n : 1,
                               .is_best = is_best,
                               .names = t->metrics.names,
                               .values = t->metrics.values,
                               .matrix = v ? v->matrix : NULL,
                               .columns = v ? v->metrics.columns : NULL,
                               .per_class = v ? v->metrics.per_class : NULL,
                               .n_columns = v ? (uint32_t)v->metrics.n_columns : 0,
                               .n_curves = v ? v->n_curves : 0,
                               .matrix_extra = t->s->set.task->matrix_extra,
                               .curves = v ? v->curves : NULL};
    TELL(epoch, t->reporters[i], &e);
}

int32_t tell_end(const trainer *t, cvr_train_result *r, cvr_error *err) {
    const train_state *st = &t->state;
    const double loop = trainer_elapsed(t);
    *r = (cvr_train_result){.epochs = st->epoch,
                            .steps = st->step,
                            .seconds = loop,
                            .images_per_second = loop > 0 ? (double)st->images / loop : 0,
                            .best_value = st->best_value,
                            .best_epoch = st->best_epoch};
    (void)snprintf(r->best_metric, sizeof r->best_metric, "%s", evaluation_best_metric(t->s));
    const size_t n = t->metrics.n ? t->metrics.n - 1 : 0; /* without train_loss */
    const cvr_end_event e = {.struct_size = sizeof e,
                             .epochs = st->epoch,
                             .steps = st->step,
                             .train_seconds = loop,
                             .images_per_second = r->images_per_second,
                             .data_wait_fraction = loop > 0 ? st->wait_seconds / loop : 0,
                             .peak_memory_bytes = cvr_peak_memory(),
                             .best_metric = evaluation_best_metric(t->s),
                             .best_value = st->best_value,
                             .best_epoch = st->best_epoch,
                             .n_metrics = (uint32_t)n,
                             .finished = (uint32_t)st->finished,
                             .names = n ? t->metrics.names + 1 : NULL,
                             .values = n ? t->metrics.values + 1 : NULL,
                             .backend = t->s->net.backend,
                             .session_seconds = cvr_now() - t->session_start,
                             .step_seconds = t->spent.steps,
                             .step_wait_seconds = t->spent.waiting,
                             .validation_seconds = t->spent.validation,
                             .saving_seconds = t->spent.saving};
    TELL(end, t->reporters[i], &e);
}
