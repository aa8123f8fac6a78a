/*
 * Running means of the weights as torchvision's references/classification keep them (train.py and
 * ExponentialMovingAverage): every ema_steps steps of an epoch mean = (1 - alpha) * mean + alpha * weights, with
 * alpha = min(1, (1 - ema_decay) * batch * ema_steps / epochs). There the count of updates decides whether the weights
 * are copied instead, and is put back to 0 in warm-up: so they are copied by each update in warm-up, and by the first
 * after it. All of that follows from the epoch and the step, so that nothing has to be kept for a resume.
 */
#include "session_parts.h"
#include <math.h>

static double alpha_of(const train_settings *t) {
    return (1 - t->ema_decay) * (double)t->batch * (double)t->ema_steps / (double)t->epochs;
}

double ema_weight(const train_settings *t, double warmup_epochs, int64_t epoch, int64_t step) {
    if (step % t->ema_steps != 0) return 0;
    const double alpha = alpha_of(t);
    const bool warm = (double)epoch < warmup_epochs, was_warm = epoch == 0 || (double)(epoch - 1) < warmup_epochs;
    if (warm || (was_warm && step == 0) || alpha > 1) return 1;
    return alpha > 0 ? alpha : 0;
}

/* YOLOX's ModelEMA. The count of updates follows from the steps, so that nothing has to be kept for a resume. */
double ema_ramp_weight(const train_settings *t, int64_t step) {
    const double n = (double)(step / t->ema_steps + 1);
    return step % t->ema_steps != 0 ? 0 : 1 - t->ema_decay * (1 - exp(-n / t->ema_ramp));
}

/* Each renewal but the first, which copies, keeps 1 - alpha. */
double ema_first_left(const train_settings *t, double warmup_epochs, int64_t steps_per_epoch) {
    const double alpha = alpha_of(t), epochs = fmax((double)t->epochs - ceil(warmup_epochs), 0),
                 renewals = epochs * (double)(1 + (steps_per_epoch - 1) / t->ema_steps);
    return renewals < 1 || alpha >= 1 ? 0 : pow(1 - alpha, renewals - 1);
}

double ema_decay_that_leaves(const train_settings *t, double warmup_epochs, int64_t steps_per_epoch, double left) {
    const double epochs = (double)t->epochs - ceil(warmup_epochs), renewals = epochs * (double)steps_per_epoch - 1,
                 alpha = renewals >= 1 ? 1 - pow(left, 1 / renewals) : 1;
    return fmax(1 - alpha * (double)t->epochs / (double)t->batch, 0);
}
