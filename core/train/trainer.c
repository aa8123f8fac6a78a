/*
 * Training. A step is one replay of the program for its batch; everything else here happens between steps: learning
 * rate, events, checkpoints, validation, swaps of the backend.
 */
#include "reporters.h"
#include "trace.h"
#include <math.h>
#include <unistd.h>

typedef struct trainer {
    cvr_session *s;
    const cvr_train_options *o;
    reporters reporters;
    char folder[1024];
    int lock;
    train_state state;
    save_interval every;
    double last_save, session_start, before; /* `before`: seconds of the sessions before this one */
    int64_t steps_per_epoch, total_steps;
    cvr_metrics metrics; /* of the last validation */
    const uint64_t *matrix;
    cvr_error pictures; /* first trouble with the validation's pictures */
    bool first_step_done, start_synced;
    trace *trace; /* NULL: none */
} trainer;

static double elapsed(const trainer *t) {
    return t->before + cvr_now() - t->session_start;
}

static const char *best_metric(const trainer *t) {
    return *t->s->val->metric ? t->s->val->metric : t->s->task->best_metric;
}

/* ---- saving ---- */

static int32_t save_weights(trainer *t, const char *name, cvr_error *err) {
    char path[1100];
    (void)snprintf(path, sizeof path, "%s/weights/%s.safetensors", t->folder, name);
    return cvr_session_save_weights(t->s, path, err);
}

/* What reporters have told is on disk before the state that counts on it, and so are the run folder's first files,
 * which a start does not wait for. */
static int32_t save_state(trainer *t, cvr_error *err) {
    t->state.seconds = elapsed(t);
    int32_t status = t->start_synced ? CVR_OK : run_folder_sync_start(t->folder, err);
    t->start_synced = status == CVR_OK;
    if (status == CVR_OK) status = reporters_flush(&t->reporters, err);
    if (status == CVR_OK) status = checkpoint_save(t->s, t->folder, &t->state, err);
    t->last_save = cvr_now();
    return status;
}

static bool save_is_due(const trainer *t, bool epoch_ended) {
    if (t->every.steps) return t->state.step % t->every.steps == 0;
    if (t->every.seconds > 0) return cvr_now() - t->last_save >= t->every.seconds;
    return epoch_ended && t->state.epoch % t->every.epochs == 0;
}

/* ---- one step ---- */

static int32_t loss_not_finite(const trainer *t, const cvr_batch *b, float loss, cvr_error *err) {
    char names[700] = "";
    size_t n = 0;
    const split *train = &t->s->splits[CVR_SPLIT_TRAIN];
    for (int64_t i = 0; i < b->n && i < 6 && n < sizeof names; i++) {
        char one[512];
        train->desc->describe(train->self, b->indices[i], one, sizeof one);
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%.100s", i ? ", " : "", one);
    }
    return cvr_fail(
        err, CVR_ERR_NUMERIC,
        "the loss is %f at step %lld (epoch %lld); lower optim.lr, or look at this batch's %lld samples: %s%s",
        (double)loss, (long long)t->state.step + 1, (long long)t->state.epoch + 1, (long long)b->n, names,
        b->n > 6 ? ", ..." : "");
}

static int32_t tell_step(trainer *t, const cvr_batch *b, double loss, double lr, double seconds, cvr_error *err) {
    const double wait = seconds > 0 ? b->wait_seconds / seconds : 0, speed = seconds > 0 ? (double)b->n / seconds : 0;
    const cvr_step_event e = {.struct_size = sizeof e,
                              .step = t->state.step,
                              .epoch = t->state.epoch + 1,
                              .loss = loss,
                              .lr = lr,
                              .images_per_s = speed,
                              .data_wait_fraction = wait < 1 ? wait : 1};
    const int32_t status = reporters_step(&t->reporters, &e, err);
    if (status != CVR_OK || !t->o->on_step) return status;
    const int64_t done = t->state.batch;
    const cvr_train_step shown = {.step = t->state.step,
                                  .epoch = t->state.epoch + 1,
                                  .step_in_epoch = done,
                                  .loss = t->state.loss_sum / (double)t->state.epoch_samples,
                                  .lr = lr,
                                  .images_per_s = (double)t->state.epoch_samples / t->state.epoch_seconds,
                                  .data_wait_fraction = t->state.epoch_wait / t->state.epoch_seconds,
                                  .seconds_left =
                                      t->state.epoch_seconds / (double)done * (double)(t->steps_per_epoch - done)};
    t->o->on_step(t->o->ctx, &shown);
    return CVR_OK;
}

static int32_t show_batch(trainer *t, const char *name, const cvr_batch *b, const int64_t *predictions,
                          cvr_error *err) {
    const cvr_batch_event e = {.struct_size = sizeof e,
                               .name = name,
                               .n = b->n,
                               .height = b->height,
                               .width = b->width,
                               .channels = b->channels,
                               .pixels = b->images,
                               .labels = t->s->task->target_kind == CVR_FIELD_LABEL ? b->labels : NULL,
                               .predictions = predictions};
    return reporters_batch(&t->reporters, &e, err);
}

static void tell_first_step(trainer *t, const cvr_batch *b) {
    if (t->first_step_done) return;
    t->first_step_done = true;
    const double reading = t->s->data_seconds + b->wait_seconds, all = cvr_now() - t->o->started;
    cvr_log(CVR_LOG_INFO, "first step done %.0f ms after the start, and %.0f ms for reading data",
            1e3 * (all - reading), 1e3 * reading);
}

static int32_t train_step(trainer *t, cvr_error *err) {
    cvr_session *s = t->s;
    cvr_batch b;
    float loss;
    const double start = cvr_now();
    int32_t status = cvr_batches_next(s->splits[CVR_SPLIT_TRAIN].batches, &b, err);
    if (status != CVR_OK) return status;
    entry *e = machine_entry(s->machine.train, b.n);
    if (!e) return cvr_fail(err, CVR_ERR_INVALID, "no program was planned for a batch of %lld", (long long)b.n);
    const double lr = session_lr(s, &t->state, t->state.step, t->steps_per_epoch, t->total_steps);
    const double average = ema_weight(s->train, s->sched->warmup_epochs, t->state.epoch, t->state.batch);
    const entry_run run = {b.images, b.labels, lr, average, t->state.step, s->run->seed, &loss};
    status = entry_step(e, &run, err);
    if (status != CVR_OK) return status;
    if (!isfinite(loss)) return loss_not_finite(t, &b, loss, err);
    const double end = cvr_now(), seconds = end - start;
    trace_span(t->trace, "wait for data", start, start + b.wait_seconds);
    trace_span(t->trace, "step", start + b.wait_seconds, end);
    tell_first_step(t, &b);
    if (t->state.step == 0) status = show_batch(t, "train_batch0", &b, NULL, err);
    if (status != CVR_OK) return status;
    t->state.step++;
    t->state.batch++;
    t->state.images += b.n;
    t->state.epoch_samples += b.n;
    t->state.loss_sum += (double)loss * (double)b.n;
    t->state.epoch_seconds += seconds;
    t->state.epoch_wait += b.wait_seconds;
    t->state.wait_seconds += b.wait_seconds;
    return tell_step(t, &b, loss, lr, seconds, err);
}

/* ---- validation and the end of an epoch ---- */

typedef struct epoch_report {
    trainer *t;
    cvr_train_epoch *shown;
    cvr_epoch_event *event;
    cvr_error *err;
    int32_t status;
    double best;
} epoch_report;

/* The matrix lives only while the metrics are open, so the epoch is told from here. */
static void tell_epoch(void *ctx, const uint64_t *matrix, const cvr_metrics *m) {
    epoch_report *r = ctx;
    trainer *t = r->t;
    const char *names[17] = {"train_loss"};
    double values[17] = {r->shown->train_loss};
    uint32_t n = 1;
    for (uint32_t i = 0; m && i < m->n; i++, n++) {
        names[n] = m->names[i];
        values[n] = m->values[i];
        if (strcmp(names[n], best_metric(t)) != 0) continue;
        const double sign = strcmp(names[n], "loss") == 0 ? -1 : 1;
        r->shown->is_best = t->state.best_epoch == 0 || sign * values[n] > sign * t->state.best_value;
        r->best = values[n];
    }
    r->shown->n_metrics = r->event->n_metrics = n;
    r->shown->names = r->event->names = names;
    r->shown->values = r->event->values = values;
    r->event->is_best = r->shown->is_best;
    r->event->matrix = matrix;
    r->status = reporters_epoch(&t->reporters, r->event, r->err);
    if (r->status == CVR_OK && t->o->on_epoch) t->o->on_epoch(t->o->ctx, r->shown);
    if (m) t->metrics = *m;
}

static void validation_batch(void *ctx, const cvr_batch *b, const void *output) {
    trainer *t = ((epoch_report *)ctx)->t;
    (void)output;
    if (t->state.epoch == 0 && t->pictures.code == CVR_OK) (void)show_batch(t, "val_batch0", b, NULL, &t->pictures);
}

static int32_t end_epoch(trainer *t, cvr_error *err) {
    train_state *st = &t->state;
    const int64_t epoch = st->epoch + 1;
    const double lr = session_lr(t->s, st, st->step - 1, t->steps_per_epoch, t->total_steps);
    cvr_train_epoch shown = {.epoch = epoch,
                             .seconds = st->epoch_seconds,
                             .train_loss = st->loss_sum / (double)st->epoch_samples,
                             .images_per_s = (double)st->epoch_samples / st->epoch_seconds,
                             .data_wait_fraction = st->epoch_wait / st->epoch_seconds,
                             .lr = lr};
    cvr_epoch_event event = {.struct_size = sizeof event,
                             .epoch = epoch,
                             .step = st->step,
                             .seconds = shown.seconds,
                             .images_per_s = shown.images_per_s,
                             .lr = lr,
                             .data_wait_fraction = shown.data_wait_fraction};
    epoch_report report = {t, &shown, &event, err, CVR_OK, (double)NAN};
    const int64_t interval = t->s->val->interval;
    int32_t status = CVR_OK;
    shown.validated = interval > 0 && (epoch % interval == 0 || epoch == t->s->train->epochs);
    if (shown.validated) {
        const evaluate_options o = {.progress = t->o->on_validate,
                                    .progress_ctx = t->o->ctx,
                                    .on_batch = validation_batch,
                                    .on_matrix = tell_epoch,
                                    .ctx = &report};
        cvr_metrics m;
        status = session_evaluate(t->s, &o, &m, err);
        if (status == CVR_OK && t->pictures.code != CVR_OK) {
            *err = t->pictures;
            status = err->code;
        }
    } else {
        tell_epoch(&report, NULL, NULL);
    }
    if (status == CVR_OK) status = report.status;
    if (status == CVR_OK) status = train_state_remember(st, report.best, err);
    if (status == CVR_OK && shown.is_best) {
        st->best_value = report.best;
        st->best_epoch = epoch;
        status = save_weights(t, "best", err);
    }
    if (status == CVR_OK) status = save_weights(t, "last", err);
    st->epoch++;
    st->batch = st->epoch_samples = 0;
    st->loss_sum = st->epoch_seconds = st->epoch_wait = 0;
    return status;
}

static bool time_to_stop(const trainer *t) {
    const run_settings *run = t->s->run;
    if (run->patience && t->state.best_epoch && t->state.epoch - t->state.best_epoch >= run->patience) {
        cvr_log(CVR_LOG_INFO, "no better %s for %lld epochs; stopping (run.patience)", best_metric(t),
                (long long)run->patience);
        return true;
    }
    if (run->max_hours > 0 && elapsed(t) > run->max_hours * 3600) {
        cvr_log(CVR_LOG_INFO, "%g hours are over; stopping (run.max_hours)", run->max_hours);
        return true;
    }
    return false;
}

/* ---- the loop ---- */

static int32_t swap_if_due(trainer *t, cvr_error *err) {
    for (size_t i = 0; i < t->o->n_swaps; i++) {
        if (t->o->swaps[i].step != t->state.step) continue;
        const double start = cvr_now();
        const int32_t status = cvr_session_swap(t->s, t->o->swaps[i].backend, err);
        if (status != CVR_OK) return status;
        cvr_log(CVR_LOG_INFO, "moved to backend %s after step %lld in %.0f ms", t->o->swaps[i].backend,
                (long long)t->state.step, 1e3 * (cvr_now() - start));
    }
    return CVR_OK;
}

static int32_t stopped(trainer *t, cvr_error *err) {
    int32_t status = save_weights(t, "last", err);
    if (status == CVR_OK) status = save_state(t, err);
    if (status != CVR_OK) return status;
    return cvr_fail(err, CVR_ERR_INTERRUPTED,
                    "interrupted after step %lld, everything is saved; go on with: cvrun train --resume %s",
                    (long long)t->state.step, t->folder);
}

static int32_t train_loop(trainer *t, cvr_error *err) {
    const int64_t epochs = t->s->train->epochs;
    int32_t status = cvr_batches_begin(t->s->splits[CVR_SPLIT_TRAIN].batches, t->state.epoch, t->state.batch, err);
    while (status == CVR_OK && t->state.epoch < epochs) {
        bool ended = false;
        status = swap_if_due(t, err);
        if (status == CVR_OK && t->state.batch < t->steps_per_epoch) status = train_step(t, err);
        if (status == CVR_OK && t->state.batch == t->steps_per_epoch && !(t->o->stop && *t->o->stop)) {
            status = end_epoch(t, err);
            ended = true;
        }
        if (status != CVR_OK) break;
        if (ended && (t->state.epoch == epochs || time_to_stop(t))) break;
        if (t->o->stop && *t->o->stop) return stopped(t, err);
        if (save_is_due(t, ended)) status = save_state(t, err);
    }
    if (status != CVR_OK) return status;
    t->state.finished = 1;
    if (epochs == 0) status = save_weights(t, "last", err);
    return status == CVR_OK ? save_state(t, err) : status;
}

/* ---- beginning and end ---- */

static int32_t open_reporters(trainer *t, bool resumed, cvr_error *err) {
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
                               .best_metric = best_metric(t),
                               .params = i.params,
                               .epochs = i.epochs,
                               .steps_per_epoch = t->steps_per_epoch,
                               .seed = (uint64_t)t->s->run->seed,
                               .planned_memory_bytes = i.planned_bytes,
                               .n_classes = i.n_classes,
                               .class_names = i.class_names,
                               .mean = t->s->mean,
                               .std = t->s->std,
                               .n_channels = i.channels,
                               .resume_step = resumed ? t->state.step : -1,
                               .resume_epoch = resumed ? t->state.epoch : -1};
    return reporters_open(&t->reporters, t->s, &info, err);
}

static int32_t tell_end(trainer *t, cvr_train_result *r, cvr_error *err) {
    const train_state *st = &t->state;
    const double loop = elapsed(t);
    *r = (cvr_train_result){.epochs = st->epoch,
                            .steps = st->step,
                            .seconds = loop,
                            .images_per_second = loop > 0 ? (double)st->images / loop : 0,
                            .best_value = st->best_value,
                            .best_epoch = st->best_epoch};
    (void)snprintf(r->folder, sizeof r->folder, "%s", t->folder);
    (void)snprintf(r->best_metric, sizeof r->best_metric, "%s", best_metric(t));
    const cvr_end_event e = {.struct_size = sizeof e,
                             .epochs = st->epoch,
                             .steps = st->step,
                             .train_seconds = loop,
                             .images_per_second = r->images_per_second,
                             .data_wait_fraction = loop > 0 ? st->wait_seconds / loop : 0,
                             .peak_memory_bytes = cvr_peak_memory(),
                             .best_metric = best_metric(t),
                             .best_value = st->best_value,
                             .best_epoch = st->best_epoch,
                             .n_metrics = t->metrics.n,
                             .finished = (uint32_t)st->finished,
                             .names = t->metrics.names,
                             .values = t->metrics.values,
                             .backend = t->s->backend_name};
    return reporters_end(&t->reporters, &e, err);
}

/* A new folder, or the state of an old one. `done`: the old one has finished and nothing more was asked for. */
static int32_t begin(trainer *t, bool *done, cvr_error *err) {
    int32_t status;
    *done = false;
    if (!t->o->run_folder) {
        status = run_folder_make(t->s, t->folder, sizeof t->folder, err);
        if (status == CVR_OK) status = run_folder_lock(t->folder, &t->lock, err);
        return status == CVR_OK ? run_folder_write_start(t->s, t->folder, err) : status;
    }
    char *folder = cvr_fs_absolute(".", t->o->run_folder);
    if (!folder) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    (void)snprintf(t->folder, sizeof t->folder, "%s", folder);
    cvr_free(folder);
    status = run_folder_lock(t->folder, &t->lock, err);
    if (status != CVR_OK) return status;
    char *newer = cvr_fs_join(t->folder, "weights/last.state"), *older = cvr_fs_join(t->folder, "weights/last.state.1");
    const bool any = newer && older && (cvr_fs_exists(newer) || cvr_fs_exists(older));
    cvr_free(newer);
    cvr_free(older);
    if (any)
        status = checkpoint_load(t->s, t->folder, &t->state, err);
    else
        cvr_log(CVR_LOG_INFO, "there is no checkpoint yet: the run starts over");
    *done = status == CVR_OK && t->state.finished && t->state.epoch >= t->s->train->epochs;
    if (status == CVR_OK && !*done) {
        t->state.finished = 0;
        status = run_folder_write_start(t->s, t->folder, err);
    }
    return status;
}

int32_t cvr_train(cvr_session *s, const cvr_train_options *o, cvr_train_result *result, cvr_error *err) {
    trainer t = {.s = s, .o = o, .lock = -1};
    bool done = false;
    memset(result, 0, sizeof *result);
    cvr_error_init(&t.pictures);
    t.steps_per_epoch = cvr_batches_per_epoch(s->splits[CVR_SPLIT_TRAIN].batches);
    t.total_steps = t.steps_per_epoch * s->train->epochs;
    int32_t status = parse_save_every(s->run->save_every, &t.every, err);
    if (status == CVR_OK) status = begin(&t, &done, err);
    if (status == CVR_OK && done) {
        result->already_finished = true;
        result->epochs = t.state.epoch;
        (void)snprintf(result->folder, sizeof result->folder, "%s", t.folder);
    } else if (status == CVR_OK) {
        cvr_session_info info;
        t.before = t.state.seconds;
        t.session_start = t.last_save = cvr_now();
        cvr_session_describe(s, &info);
        status = open_reporters(&t, o->run_folder != NULL, err);
        if (status == CVR_OK && o->on_start) o->on_start(o->ctx, t.folder, &info, t.state.step);
        if (status == CVR_OK) status = trace_open(&t.trace, s->log->trace, s, err);
        if (status == CVR_OK) status = train_loop(&t, err);
        if (status == CVR_OK || status == CVR_ERR_INTERRUPTED) {
            cvr_error later;
            cvr_error_init(&later);
            const int32_t ended = tell_end(&t, result, &later);
            if (status == CVR_OK && ended != CVR_OK) {
                *err = later;
                status = ended;
            }
        }
    }
    const int32_t traced = trace_close(t.trace, status == CVR_OK ? err : NULL);
    if (status == CVR_OK) status = traced;
    reporters_close(&t.reporters);
    train_state_clear(&t.state);
    if (t.lock >= 0) close(t.lock);
    return status;
}
