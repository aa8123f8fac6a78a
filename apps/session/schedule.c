/*
 * The learning rate of a step: warm-up, what the scheduler makes of it, and the last epochs, in which it stays; and
 * what else the last epochs have of their own. The place in the schedule is counted in epochs of today's steps, so that
 * it goes on where it was though a resumed run has other batches or data.
 */
#include "trainer.h"
#include <math.h>

int64_t sched_warmup_steps(const sched_settings *s, int64_t steps_per_epoch) {
    return s->warmup_steps ? s->warmup_steps : (int64_t)(s->warmup_epochs * (double)steps_per_epoch + 0.5);
}

/* Of sched.warmup: linear, quadratic (YOLOX), quartic (Darknet's burn-in). */
static double warmup_factor(const sched_settings *s, int64_t step, int64_t warmup) {
    static const double powers[] = {1, 2, 4};
    const double share = (double)(step + 1) / (double)warmup;
    return s->warmup == WARMUP_LINEAR ? share : pow(share, powers[s->warmup]);
}

void schedule_tell_closing(const trainer *t) {
    const split *train = &t->s->data.splits[CVR_SPLIT_TRAIN];
    const train_settings *s = t->s->set.train;
    cvr_text names = {0};
    if (t->state.batch || !is_closing(s, t->state.epoch) || (t->state.epoch && is_closing(s, t->state.epoch - 1)))
        return;
    for (size_t i = 0; i < train->n_transforms && !t->s->net.probes; i++)
        if (train->transforms[i].desc->closes)
            cvr_text_add(&names, "%s%s", names.n ? ", " : "", train->transforms[i].desc->name);
    if (names.n)
        cvr_log(CVR_LOG_INFO, "epoch %lld: without %s from now on (train.close_mosaic)", (long long)t->state.epoch + 1,
                names.s);
    cvr_text_clear(&names);
}

double trainer_lr(const trainer *t, int64_t batch) {
    const int64_t step = t->state.epoch * t->steps_per_epoch + batch;
    const settings *s = &t->s->set;
    const int64_t warmup = sched_warmup_steps(s->sched, t->steps_per_epoch);
    if (step < warmup) return s->lr * warmup_factor(s->sched, step, warmup);
    const int64_t flat = s->sched->flat_epochs < s->train->epochs ? s->sched->flat_epochs : s->train->epochs;
    const int64_t total = t->steps_per_epoch * (s->train->epochs - flat) - warmup, end = total > 0 ? total : 0;
    const cvr_sched_args args = {.struct_size = sizeof args,
                                 .attrs = s->sched_attrs,
                                 .step = flat && step - warmup > end ? end : step - warmup,
                                 .total_steps = total,
                                 .steps_per_epoch = t->steps_per_epoch,
                                 .lr_min_factor = s->lr > 0 ? s->sched->lr_min / s->lr : 0,
                                 .lr = s->lr,
                                 .history = t->state.history,
                                 .n_history = t->state.n_history,
                                 .lower_is_better = evaluation_lower_is_better(t->s),
                                 .warmup = warmup};
    double factor;
    CVR_CALL_TO(factor, s->scheduler, factor, NULL, &args);
    return s->lr * factor;
}
