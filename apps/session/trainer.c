/*
 * Training. A step is one replay of the programs for its batch; everything else here happens between steps: learning
 * rate, checkpoints, validation. moves.c has what a run in progress is told to do.
 */
#include "trainer.h"
#include "finetune.h"
#include <math.h>

double trainer_elapsed(const trainer *t) {
    return t->before + cvr_now() - t->session_start;
}

/* ---- saving ---- */

static int32_t save_weights(trainer *t, const char *name, cvr_error *err) {
    const double start = cvr_now();
    cvr_text path = {0};
    cvr_text_add(&path, "%s/weights/%s.safetensors", t->o->folder, name);
    const int32_t status =
        path.failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory") : cvr_session_save_weights(t->s, path.s, err);
    cvr_text_clear(&path);
    t->spent.saving += cvr_now() - start;
    return status;
}

/* What reporters have told is on disk before the state that counts on it. */
static int32_t save_state(trainer *t, cvr_error *err) {
    const double start = cvr_now();
    t->state.seconds = trainer_elapsed(t);
    CVR_TRY(tell_flush(t, err));
    CVR_TRY(checkpoint_save(t->s, t->o->folder, &t->state, err));
    t->last_save = cvr_now();
    t->spent.saving += t->last_save - start;
    return CVR_OK;
}

static bool save_is_due(const trainer *t, bool epoch_ended) {
    const save_interval *every = &t->s->set.save_every;
    if (every->steps) return t->state.step % every->steps == 0;
    if (every->seconds > 0) return cvr_now() - t->last_save >= every->seconds;
    return epoch_ended && t->state.epoch % every->epochs == 0;
}

/* ---- one step ---- */

static void count_step(trainer *t, const step_done *d, double loss) {
    train_state *st = &t->state;
    const int64_t n = d->batch->view.n;
    const double wait = d->batch->wait_seconds;
    t->spent.steps += d->seconds;
    t->spent.waiting += wait;
    st->step++;
    st->batch++;
    st->images += n;
    if (isfinite(loss)) st->epoch_samples += n;
    if (isfinite(loss)) st->loss_sum += loss * (double)n;
    st->epoch_seconds += d->seconds;
    st->epoch_wait += wait;
    st->wait_seconds += wait;
}

/* Warm-up and optim.lr are numbers that make sense: what does not is the scheduler's. */
static int32_t check_lr(const trainer *t, double lr, cvr_error *err) {
    if (isfinite(lr) && lr >= 0) return CVR_OK;
    return cvr_call_blame(t->s->set.scheduler, "factor", NULL, err,
                          "makes the learning rate %g at step %lld; a factor is finite and not negative", lr,
                          (long long)t->state.step + 1);
}

static double average_weight(const trainer *t) {
    const settings *s = &t->s->set;
    if (s->train->ema_ramp > 0) return ema_ramp_weight(s->train, t->state.step);
    return ema_weight(s->train, s->sched->warmup_epochs, t->state.epoch, t->state.batch);
}

static int32_t train_step(trainer *t, cvr_error *err) {
    cvr_session *s = t->s;
    cvr_batch b;
    step_done done = {.batch = &b};
    const double start = cvr_now();
    CVR_TRY(data_suggest_skip(&s->set, split_next(&s->data.splits[CVR_SPLIT_TRAIN], &b, err), err));
    done.lr = trainer_lr(t, t->state.batch);
    CVR_TRY(check_lr(t, done.lr, err));
    const double scale = loss_scale_of(s, &t->state);
    const net_scalars at = {.lr = done.lr,
                            .loss_scale = scale,
                            .loss_unscale = 1 / scale,
                            .average_weight = average_weight(t),
                            .step = t->state.step,
                            .updates = t->state.step - t->state.vetoed,
                            .thawed_at = t->state.thawed_at,
                            .samples = t->state.images,
                            .closing = is_closing(s->set.train, t->state.epoch),
                            .epoch = (double)t->state.epoch + (double)t->state.batch / (double)t->steps_per_epoch,
                            .seed = s->set.run->seed};
    CVR_TRY(not_finite_keep(t, err));
    CVR_TRY(moves_step(t, &b, &at, err));
    if (!isfinite(s->losses.total))
        CVR_TRY(not_finite(t, &b, &at, err));
    else
        t->in_a_row = 0;
    done.seconds = cvr_now() - start;
    if (t->state.step == 0) CVR_TRY(tell_first_batch(t, &b, err));
    CVR_TRY(loss_scale_step(s, &t->state, err));
    t->state.vetoed += s->vetoed;
    t->state.epoch_vetoed += s->vetoed;
    count_step(t, &done, s->losses.total);
    return tell_step(t, &done, err);
}

/* ---- model.unfreeze ---- */

/* Programs of the epoch's phase; what thaws counts its updates from here. */
static void enter_phase(trainer *t) {
    const phases *p = &t->s->set.phases;
    train_state *st = &t->state;
    const size_t phase = phases_at(p, st->epoch);
    for (; st->phase < (int64_t)phase; st->phase++) {
        st->thawed_at[st->phase] = st->step - st->vetoed;
        if (p->patterns[st->phase])
            cvr_log(CVR_LOG_INFO, "epoch %lld: %s is trained from now on", (long long)st->epoch + 1,
                    phases_what(p, (size_t)st->phase));
        else if ((p->stages[st->phase + 1] & ~p->stages[st->phase]) & CVR_FINETUNE_NORMS_FROZEN)
            cvr_log(CVR_LOG_INFO, "epoch %lld: batch norms go by their running statistics from now on",
                    (long long)st->epoch + 1);
    }
    t->s->net.phase = phase;
}

/* ---- the end of an epoch ---- */

/* Features are no pictures. Who wants the run to stop need not wait for the validation: it comes anew when the run goes
 * on. */
static int32_t show_batch(void *ctx, const cvr_batch *b, const cvr_batch_view *outputs, const double *scores,
                          cvr_error *err) {
    trainer *t = ctx;
    if (moves_stop(t)) return cvr_fail(err, CVR_ERR_INTERRUPTED, "the validation was left");
    if (t->s->net.probes) return CVR_OK;
    if (t->validated++ == 0) CVR_TRY(tell_batch(t, "val_batch0", b, outputs, err));
    return tell_validated(t, b, outputs, scores, err);
}

/* "train_loss", then those of the validation, or of the last one where there was none. */
static int32_t gather_metrics(trainer *t, const cvr_metrics *of, cvr_error *err) {
    const double loss = t->state.loss_sum / (double)t->state.epoch_samples;
    int32_t status = CVR_OK;
    if (of) cvr_metrics_clear(&t->metrics);
    if (t->metrics.n == 0) status = metrics_add(&t->metrics, "train_loss", loss);
    if (status == CVR_OK) t->metrics.values[0] = loss;
    for (size_t i = 0; of && i < of->n && status == CVR_OK; i++)
        status = metrics_add(&t->metrics, of->names[i], of->values[i]);
    return status == CVR_OK ? CVR_OK : cvr_fail(err, status, "out of memory for metrics");
}

/* Whether the validation is the best so far, by the metric that counts, which is remembered; of equal ones that with
 * the lower loss. Only what is better by the metric itself is progress to run.patience. */
#define LARGEST_LOSS 1e300
static int32_t note_metric(trainer *t, const cvr_metrics *m, bool *is_best, cvr_error *err) {
    train_state *st = &t->state;
    const double sign = evaluation_lower_is_better(t->s) ? -1 : 1;
    double value = NAN, loss = NAN;
    for (size_t i = 0; m && i < m->n; i++) {
        if (strcmp(m->names[i], evaluation_best_metric(t->s)) == 0) value = m->values[i];
        if (strcmp(m->names[i], "loss") == 0) loss = m->values[i];
    }
    const bool better = isfinite(value) && (!st->best_epoch || sign * value > sign * st->best_value);
    *is_best = better || (st->best_epoch && value == st->best_value && loss < st->best_loss);
    if (m) st->stale = better ? 0 : st->stale + 1;
    if (*is_best) {
        st->best_value = value;
        st->best_loss = isfinite(loss) ? loss : -LARGEST_LOSS;
        st->best_epoch = st->epoch + 1;
    }
    return train_state_remember(st, value, err);
}

/* The metrics stay open until the epoch has been told: the matrix is theirs. */
static int32_t validate_with(trainer *t, const evaluate_options *o, bool *is_best, cvr_error *err) {
    const double start = cvr_now();
    evaluation e;
    int32_t status;
    t->validated = 0;
    CVR_TRY_OUT(evaluation_run(t->s, o, &e, err));
    t->spent.validation += cvr_now() - start;
    CVR_TRY_OUT(gather_metrics(t, &e.metrics, err));
    CVR_TRY_OUT(note_metric(t, &e.metrics, is_best, err));
    CVR_TRY_OUT(tell_epoch(t, &e, *is_best, err));
out:
    evaluation_end(t->s, &e);
    return status;
}

/* With val.save the folder `val` of the run has what the best weights said, as they were validated. */
static int32_t validate(trainer *t, bool *is_best, cvr_error *err) {
    saved_results saved;
    const bool saves = t->s->set.val->save;
    const evaluate_options o = {.progress = t->o->on_validate,
                                .progress_ctx = t->o->ctx,
                                .on_batch = show_batch,
                                .ctx = t,
                                .saved = saves ? &saved : NULL};
    char *const folder = saves ? cvr_fs_join(t->o->folder, "val") : NULL;
    if (saves && !folder) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    int32_t status = saves ? saved_open(&saved, t->s->set.task, folder, err) : CVR_OK;
    cvr_free(folder);
    if (status != CVR_OK) return status;
    status = validate_with(t, &o, is_best, err);
    if (saves && status == CVR_OK && *is_best)
        status = saved_commit(&saved, err);
    else if (saves)
        saved_abandon(&saved);
    return status;
}

/* Where training is for a compressed network, that one is validated, and is what the run keeps. */
static int32_t validate_converted(trainer *t, bool *is_best, cvr_error *err) {
    conversion c;
    int32_t status;
    CVR_TRY_OUT(finetune_enter(t->s, &c, err));
    CVR_TRY_OUT(validate(t, is_best, err));
    if (*is_best) status = compress_write_files(&c.made, t->o->folder, err);
out:
    finetune_leave(t->s, &c);
    return status;
}

static int32_t end_epoch(trainer *t, cvr_error *err) {
    train_state *st = &t->state;
    const int64_t interval = t->s->set.val->interval, epoch = st->epoch + 1;
    const bool converts = t->s->net.rewriting.finetune != NULL;
    bool is_best = false;
    t->epoch_lr = trainer_lr(t, st->batch - 1);
    if (interval > 0 && (epoch % interval == 0 || epoch == t->s->set.train->epochs)) {
        CVR_TRY((converts ? validate_converted : validate)(t, &is_best, err));
    } else {
        CVR_TRY(gather_metrics(t, NULL, err));
        CVR_TRY(note_metric(t, NULL, &is_best, err));
        CVR_TRY(tell_epoch(t, NULL, false, err));
    }
    if (st->epoch_vetoed)
        cvr_log(
            CVR_LOG_WARNING,
            "%lld of %lld updates of epoch %lld were left out: a gradient plugin vetoed them, the loss was not finite, "
            "or a gradient was not in f16",
            (long long)st->epoch_vetoed, (long long)st->batch, (long long)epoch);
    if (is_best && !converts) CVR_TRY(save_weights(t, "best", err));
    CVR_TRY(save_weights(t, "last", err));
    st->epoch++;
    st->batch = st->epoch_samples = st->epoch_vetoed = 0;
    st->loss_sum = st->epoch_seconds = st->epoch_wait = 0;
    return CVR_OK;
}

/* Whether the number of epochs is what train.max_batches comes to. */
static bool by_batches(const trainer *t) {
    const int64_t n = t->s->set.train->max_batches, each = t->steps_per_epoch;
    return n > 0 && each > 0 && (n + each - 1) / each == t->s->set.train->epochs;
}

/* The setting by which the run is at its end after `seconds`, or NULL. */
static const char *ended_by(const trainer *t, double seconds) {
    const run_settings *run = t->s->set.run;
    const train_state *st = &t->state;
    if (st->epoch >= t->s->set.train->epochs) return by_batches(t) ? "train.max_batches" : "train.epochs";
    if (run->patience && st->stale >= run->patience) return "run.patience";
    return run->max_hours > 0 && seconds > run->max_hours * 3600 ? "run.max_hours" : NULL;
}

static bool time_to_stop(const trainer *t) {
    const run_settings *run = t->s->set.run;
    const char *why = ended_by(t, trainer_elapsed(t));
    if (why && strcmp(why, "run.patience") == 0)
        cvr_log(CVR_LOG_INFO, "no better %s for %lld validation%s; stopping (run.patience)",
                evaluation_best_metric(t->s), (long long)run->patience, run->patience == 1 ? "" : "s");
    else if (why && strcmp(why, "run.max_hours") == 0)
        cvr_log(CVR_LOG_INFO, "%g hours are over; stopping (run.max_hours)", run->max_hours);
    return why != NULL;
}

/* ---- the loop ---- */

static int32_t stopped(trainer *t, cvr_error *err) {
    CVR_TRY(save_weights(t, "last", err));
    CVR_TRY(save_state(t, err));
    CVR_TRY(moves_answer(t, err));
    return cvr_fail(err, CVR_ERR_INTERRUPTED,
                    "interrupted after step %lld, everything is saved; go on with: cvrun %s --resume %s",
                    (long long)t->state.step, t->s->net.rewriting.finetune ? "quantize" : "train", t->o->folder);
}

/* Validation may take long, and fail: what took a minute is saved before it. */
#define UNSAVED_SECONDS 60
static int32_t save_and_end_epoch(trainer *t, cvr_error *err) {
    if (cvr_now() - t->last_save > UNSAVED_SECONDS) CVR_TRY(save_state(t, err));
    return end_epoch(t, err);
}

static int32_t train_loop(trainer *t, cvr_error *err) {
    const int64_t epochs = t->s->set.train->epochs;
    t->s->ahead = &t->s->data.splits[CVR_SPLIT_TRAIN];
    CVR_TRY(split_begin(&t->s->data.splits[CVR_SPLIT_TRAIN], t->state.epoch, t->state.batch, err));
    while (t->state.epoch < epochs) {
        bool ended = false;
        enter_phase(t);
        schedule_tell_closing(t);
        if (t->state.batch < t->steps_per_epoch) {
            moves_begin_step(t);
            CVR_TRY(train_step(t, err));
        }
        if (t->state.batch == t->steps_per_epoch && !moves_stop(t)) {
            const int32_t status = save_and_end_epoch(t, err);
            if (status == CVR_ERR_INTERRUPTED) return stopped(t, err);
            CVR_TRY(status);
            ended = true;
        }
        if (ended && time_to_stop(t)) break;
        if (moves_stop(t)) return stopped(t, err);
        if (save_is_due(t, ended) || moves_save(t)) CVR_TRY(save_state(t, err));
        CVR_TRY(moves_answer(t, err));
    }
    t->state.finished = 1;
    if (epochs == 0) CVR_TRY(save_weights(t, "last", err));
    CVR_TRY(save_state(t, err));
    return moves_answer(t, err);
}

/* ---- beginning and end ---- */

/* [probe]: from here on batches are of features, by the weights that the run starts or goes on with. */
static int32_t make_features(trainer *t, cvr_error *err) {
    if (!t->s->net.probes) return CVR_OK;
    for (uint32_t i = 0; i < 2; i++) CVR_TRY(features_compute(t->s, i, err));
    t->steps_per_epoch = split_per_epoch(&t->s->data.splits[CVR_SPLIT_TRAIN]);
    return CVR_OK;
}

/* The end is told also where the run was interrupted. */
static int32_t train_and_tell(trainer *t, cvr_train_result *result, cvr_error *err) {
    cvr_error later = CVR_ERROR_INIT;
    t->before = t->state.seconds;
    t->session_start = cvr_now();
    CVR_TRY(make_features(t, err));
    CVR_TRY(resume_fit(t, err));
    warn_of_doubts(t);
    t->state.finished = 0;
    t->state.samples = split_samples(&t->s->data.splits[CVR_SPLIT_TRAIN]);
    t->state.batch_size = t->s->set.train->batch;
    t->state.shuffle = t->s->set.data->shuffle;
    t->state.sampler = t->s->set.train->sampler;
    t->state.repeat = t->s->set.train->repeat;
    t->state.groups = t->s->data.sampler.n_groups;
    t->state.seed = t->s->set.run->seed;
    t->state.pictures = resume_pictures(t);
    t->last_save = cvr_now();
    CVR_TRY(tell_start(t, err));
    CVR_TRY(tell_teacher(t, err));
    const int32_t status = train_loop(t, err);
    if (status != CVR_OK && status != CVR_ERR_INTERRUPTED) return status;
    const int32_t ended = tell_end(t, result, &later);
    if (status != CVR_OK || ended == CVR_OK) return status;
    *err = later;
    return ended;
}

int32_t cvr_train(cvr_session *s, const cvr_train_options *o, cvr_train_result *result, cvr_error *err) {
    trainer t = {.s = s, .o = o};
    memset(result, 0, sizeof *result);
    t.steps_per_epoch = split_per_epoch(&s->data.splits[CVR_SPLIT_TRAIN]);
    int32_t status = moves_open(&t, err);
    if (status == CVR_OK && o->resume) status = resume_load(&t, err);
    result->epochs = t.state.epoch;
    if (t.state.finished) result->finished_by = ended_by(&t, t.state.seconds);
    if (status == CVR_OK && !result->finished_by) status = train_and_tell(&t, result, err);
    moves_close(&t);
    tell_close(&t);
    cvr_free(t.gathered);
    cvr_metrics_clear(&t.metrics);
    train_state_clear(&t.state);
    return status;
}
