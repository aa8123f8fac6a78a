/* What a run tells: to reporters, which leave it on the disk, and to the application, which shows it. */
#include "trainer.h"

int32_t tell_start(trainer *t, bool resumed, cvr_error *err) {
    cvr_session_info i;
    cvr_session_describe(t->s, &i);
    const cvr_run_info info = {.struct_size = sizeof info,
                               .host = cvr_plugins_host(t->s->plugins),
                               .folder = t->folder,
                               .task = i.task,
                               .model = i.model,
                               .backend = i.backend,
                               .precision = i.precision,
                               .version = "0.1.0",
                               .best_metric = trainer_best_metric(t),
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
                               .resume_step = resumed ? t->state.step : -1,
                               .resume_epoch = resumed ? t->state.epoch : -1};
    CVR_TRY(reporters_open(&t->reporters, t->s->plugins, &info, err));
    if (t->o->on_start) t->o->on_start(t->o->ctx, t->folder, &i, t->state.step);
    return CVR_OK;
}

static void tell_first_step(trainer *t, const cvr_batch *b) {
    if (t->first_step_done) return;
    t->first_step_done = true;
    const double reading = t->s->data.seconds + b->wait_seconds, all = cvr_now() - t->o->started;
    cvr_log(CVR_LOG_INFO, "first step done %.0f ms after the start, and %.0f ms for reading data",
            1e3 * (all - reading), 1e3 * reading);
}

static void show_step(const trainer *t, const step_done *d) {
    const train_state *st = &t->state;
    const cvr_train_step shown = {.step = st->step,
                                  .epoch = st->epoch + 1,
                                  .step_in_epoch = st->batch,
                                  .loss = st->loss_sum / (double)st->epoch_samples,
                                  .lr = d->lr,
                                  .images_per_s = (double)st->epoch_samples / st->epoch_seconds,
                                  .data_wait_fraction = st->epoch_wait / st->epoch_seconds,
                                  .seconds_left =
                                      st->epoch_seconds / (double)st->batch * (double)(t->steps_per_epoch - st->batch),
                                  .started = d->started,
                                  .data_seconds = d->batch->wait_seconds,
                                  .ended = d->ended};
    if (t->o->on_step) t->o->on_step(t->o->ctx, &shown);
}

int32_t tell_step(trainer *t, const step_done *d, cvr_error *err) {
    const cvr_batch *b = d->batch;
    const step_losses *l = &t->s->losses;
    const double seconds = d->ended - d->started, wait = seconds > 0 ? b->wait_seconds / seconds : 0;
    const cvr_step_event e = {.struct_size = sizeof e,
                              .step = t->state.step,
                              .epoch = t->state.epoch + 1,
                              .loss = l->total,
                              .lr = d->lr,
                              .images_per_s = seconds > 0 ? (double)b->view.n / seconds : 0,
                              .data_wait_fraction = wait < 1 ? wait : 1,
                              .n_losses = (uint32_t)l->n,
                              .loss_names = l->names,
                              .losses = l->each};
    tell_first_step(t, b);
    CVR_TRY(reporters_step(&t->reporters, &e, err));
    show_step(t, d);
    return CVR_OK;
}

int32_t tell_batch(trainer *t, const char *name, const cvr_batch *b, const cvr_batch_view *outputs, cvr_error *err) {
    const cvr_batch_event e = {sizeof e, name, &b->view, outputs};
    return reporters_batch(&t->reporters, &e, err);
}

int32_t tell_epoch(trainer *t, const evaluation *e, bool is_best, cvr_error *err) {
    const train_state *st = &t->state;
    const cvr_metrics *m = &t->metrics;
    const cvr_train_epoch shown = {.epoch = st->epoch + 1,
                                   .seconds = st->epoch_seconds,
                                   .train_loss = m->values[0],
                                   .images_per_s = (double)st->epoch_samples / st->epoch_seconds,
                                   .data_wait_fraction = st->epoch_wait / st->epoch_seconds,
                                   .lr = settings_lr(&t->s->set, st->step - 1, t->steps_per_epoch),
                                   .validated = e != NULL,
                                   .is_best = is_best,
                                   .n_metrics = e ? m->n : 1,
                                   .names = m->names,
                                   .values = m->values};
    const cvr_epoch_event event = {.struct_size = sizeof event,
                                   .epoch = shown.epoch,
                                   .step = st->step,
                                   .seconds = shown.seconds,
                                   .images_per_s = shown.images_per_s,
                                   .lr = shown.lr,
                                   .data_wait_fraction = shown.data_wait_fraction,
                                   .n_metrics = (uint32_t)shown.n_metrics,
                                   .is_best = is_best,
                                   .names = m->names,
                                   .values = m->values,
                                   .matrix = e ? e->matrix : NULL,
                                   .columns = e ? e->metrics.columns : NULL,
                                   .per_class = e ? e->metrics.per_class : NULL,
                                   .n_columns = e ? (uint32_t)e->metrics.n_columns : 0};
    CVR_TRY(reporters_epoch(&t->reporters, &event, err));
    if (t->o->on_epoch) t->o->on_epoch(t->o->ctx, &shown);
    return CVR_OK;
}

int32_t tell_end(trainer *t, cvr_train_result *r, cvr_error *err) {
    const train_state *st = &t->state;
    const double loop = trainer_elapsed(t);
    *r = (cvr_train_result){.epochs = st->epoch,
                            .steps = st->step,
                            .seconds = loop,
                            .images_per_second = loop > 0 ? (double)st->images / loop : 0,
                            .best_value = st->best_value,
                            .best_epoch = st->best_epoch};
    (void)snprintf(r->folder, sizeof r->folder, "%s", t->folder);
    (void)snprintf(r->best_metric, sizeof r->best_metric, "%s", trainer_best_metric(t));
    const size_t n = t->metrics.n ? t->metrics.n - 1 : 0; /* without train_loss */
    const cvr_end_event e = {.struct_size = sizeof e,
                             .epochs = st->epoch,
                             .steps = st->step,
                             .train_seconds = loop,
                             .images_per_second = r->images_per_second,
                             .data_wait_fraction = loop > 0 ? st->wait_seconds / loop : 0,
                             .peak_memory_bytes = cvr_peak_memory(),
                             .best_metric = trainer_best_metric(t),
                             .best_value = st->best_value,
                             .best_epoch = st->best_epoch,
                             .n_metrics = (uint32_t)n,
                             .finished = (uint32_t)st->finished,
                             .names = n ? t->metrics.names + 1 : NULL,
                             .values = n ? t->metrics.values + 1 : NULL,
                             .backend = t->s->net.backend};
    return reporters_end(&t->reporters, &e, err);
}
