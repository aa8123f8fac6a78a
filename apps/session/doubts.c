/* Settings of a run that are sound each by itself, and together may not do what was meant: warnings before its first
 * step.
 */
#include "trainer.h"

/* A short run may end before its running means have left the weights that they started with. */
static void warn_of_slow_means(const trainer *t) {
    const train_settings *s = t->s->set.train;
    const double warmup = t->s->set.sched->warmup_epochs,
                 left = s->ema && s->epochs && !(s->ema_ramp > 0) ? ema_first_left(s, warmup, t->steps_per_epoch) : 0;
    if (left > 0.1)
        cvr_log(CVR_LOG_WARNING,
                "train.ema: at the run's end %.0f %% of the running means, which validation and the saved weights "
                "take, will be the weights of its first step; with train.ema_steps = 1 and train.ema_decay = %.4g it "
                "is 1 %%",
                100 * left, ema_decay_that_leaves(s, warmup, t->steps_per_epoch, 0.01));
}

/* The loss of a part is divided by the weights that the part has, and what they are in the others is not known yet. */
static void warn_of_parts(const settings *s) {
    if (s->train->grad_accum > 1 && *s->train->class_weights)
        cvr_log(CVR_LOG_WARNING,
                "train.class_weights with train.grad_accum = %lld: each part of a batch is divided by the weights of "
                "its own pictures, so that the steps are others than without train.grad_accum",
                (long long)s->train->grad_accum);
}

static void warn_of_late_phases(const settings *s) {
    for (size_t i = 0; i < s->phases.n; i++)
        if (s->phases.epochs[i] > s->train->epochs)
            cvr_log(
                CVR_LOG_WARNING,
                "model.unfreeze: epoch %lld is after the last, train.epochs = %lld; what it names (%s) stays as it was",
                (long long)s->phases.epochs[i], (long long)s->train->epochs, phases_what(&s->phases, i));
}

static void warn_of_warmup(const trainer *t) {
    const settings *s = &t->s->set;
    const int64_t steps = sched_warmup_steps(s->sched, t->steps_per_epoch);
    if (steps > t->steps_per_epoch * s->train->epochs)
        cvr_log(CVR_LOG_WARNING,
                "sched.%s: the warm-up of %lld steps is longer than the run of %lld: lr never gets to optim.lr",
                s->sched->warmup_steps ? "warmup_steps" : "warmup_epochs", (long long)steps,
                (long long)(t->steps_per_epoch * s->train->epochs));
}

/* Last epochs that are all of them leave nothing of what they are the end of. */
static void warn_of_last_epochs(const settings *s) {
    const int64_t epochs = s->train->epochs, closing = s->train->close_mosaic, flat = s->sched->flat_epochs;
    if (epochs && closing >= epochs)
        cvr_log(CVR_LOG_WARNING,
                "train.close_mosaic = %lld is not smaller than train.epochs = %lld: no epoch has a mosaic, or whatever "
                "else the last ones do without",
                (long long)closing, (long long)epochs);
    if (epochs && flat >= epochs)
        cvr_log(CVR_LOG_WARNING,
                "sched.flat_epochs = %lld is not smaller than train.epochs = %lld: lr is that of the schedule's end "
                "from the first epoch on",
                (long long)flat, (long long)epochs);
}

/* Norms with frozen statistics have buffers that neither the optimizer nor a node of the graph changes: they mean
 * something only where a file has filled them. Buffers of whole numbers are counters and tables. */
static void warn_of_frozen_statistics(const trainer *t) {
    const cvr_store *store = t->s->net.store;
    const char *first = NULL;
    size_t n = 0;
    if (t->o->resume || settings_start_weights(&t->s->set, true)) return;
    for (size_t i = 0; i < cvr_store_count(store); i++) {
        const cvr_store_entry *e = cvr_store_get(store, i);
        if (e->role != CVR_STORE_BUFFER || *e->network || e->type.dtype != CVR_F32 || e->updated || e->thaws_in)
            continue;
        first = first ? first : e->name;
        n++;
    }
    if (n)
        cvr_log(CVR_LOG_WARNING,
                "%zu buffers, from %s on, are never changed by training, as in norms with frozen statistics, and no "
                "model.weights fill them; give weights, or take batch norms (model.norm = batch)",
                n, first);
}

#define MOST_COMPARED 256

/* Validation says nothing of new pictures where its files are training's. */
static void warn_of_same_pictures(const trainer *t) {
    const split *a = &t->s->data.splits[CVR_SPLIT_TRAIN], *b = &t->s->data.splits[CVR_SPLIT_VAL];
    char first[4096] = "", second[4096] = "";
    if (!a->present || !b->present) return;
    const int64_t n = b->desc->count(b->self), step = n / MOST_COMPARED + 1;
    if (n < 1 || n > a->desc->count(a->self)) return;
    for (int64_t i = 0; i < n; i += step) {
        a->desc->describe(a->self, i, first, sizeof first);
        b->desc->describe(b->self, i, second, sizeof second);
        if (!*first || strcmp(first, second) != 0 || !cvr_fs_exists(first)) return;
    }
    cvr_log(CVR_LOG_WARNING,
            "the pictures that validate are among those that are trained on, %.300s and the others: metrics say "
            "nothing of new pictures; give data.val pictures of its own",
            second);
}

void warn_of_doubts(const trainer *t) {
    warn_of_frozen_statistics(t);
    warn_of_slow_means(t);
    warn_of_warmup(t);
    warn_of_last_epochs(&t->s->set);
    warn_of_late_phases(&t->s->set);
    warn_of_parts(&t->s->set);
    warn_of_same_pictures(t);
}
