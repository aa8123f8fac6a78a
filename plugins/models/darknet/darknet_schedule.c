/* The optimizer and the learning rate of a .cfg file, as settings of a recipe. */
#include "darknet_propose.h"

#define MOST_MILESTONES 64 /* of the scheduler `steps` */

/* Decay is for weights alone. */
static void tell_optimizer(telling *t, const darknet_net *n) {
    darknet_tell(t, "optim.name", "%s", n->adam ? "adam" : "sgd");
    darknet_tell(t, "optim.lr", "%.9g", n->learning_rate);
    if (n->adam) {
        darknet_tell(t, "optim.betas", "%.9g,%.9g", n->beta1, n->beta2);
        darknet_tell(t, "optim.eps", "%.9g", n->eps);
    } else {
        darknet_tell(t, "optim.momentum", "%.9g", n->momentum);
    }
    darknet_tell(t, "optim.weight_decay", "%.9g", n->decay);
    darknet_tell(t, "optim.norm_weight_decay", "%s", "0");
    darknet_tell(t, "optim.bias_weight_decay", "%s", "0");
}

static void add(char *text, size_t size, double x) {
    const size_t n = strlen(text);
    (void)snprintf(text + n, size - n, "%s%.10g", n ? "," : "", x);
}

/* A scale whose step is 0 or less holds from the start. */
static void tell_steps(telling *t, const darknet_net *n) {
    char steps[32 * DARKNET_MOST_STEPS] = "", scales[32 * DARKNET_MOST_STEPS] = "";
    for (uint32_t i = 0; i < n->n_steps; i++) {
        add(steps, sizeof steps, n->steps[i] > 0 ? (double)n->steps[i] : 0);
        add(scales, sizeof scales, n->scales[i]);
    }
    if (!*steps) return;
    darknet_tell(t, "sched.name", "%s", "steps");
    darknet_tell(t, "sched.steps", "%s", steps);
    darknet_tell(t, "sched.scales", "%s", scales);
}

/* policy=step: one scale every so many batches. */
static int is_listable(const darknet_net *n) {
    return n->max_batches > 0 && n->max_batches / n->step <= MOST_MILESTONES;
}

static void tell_every_step(telling *t, const darknet_net *n) {
    char steps[12 * MOST_MILESTONES] = "";
    for (int64_t at = n->step; at <= n->max_batches; at += n->step) add(steps, sizeof steps, (double)at);
    if (!*steps) return;
    darknet_tell(t, "sched.name", "%s", "steps");
    darknet_tell(t, "sched.steps", "%s", steps);
    darknet_tell(t, "sched.scales", "%.9g", n->scale);
}

/* Darknet's power is that of the warm-up as well. */
static void tell_warmup(telling *t, const darknet_net *n) {
    if (n->burn_in <= 0) return;
    darknet_tell(t, "sched.warmup_steps", "%lld", (long long)n->burn_in);
    darknet_tell(t, "sched.warmup", "%s", n->power < 1.5 ? "linear" : n->power < 3 ? "quadratic" : "quartic");
}

void darknet_tell_updates(telling *t, const darknet_plan *p) {
    const darknet_net *n = &p->net;
    tell_optimizer(t, n);
    if (n->policy == DARKNET_STEPS) {
        tell_steps(t, n);
    } else if (n->policy == DARKNET_STEP && is_listable(n)) {
        tell_every_step(t, n);
    } else if (n->policy == DARKNET_POLY) {
        darknet_tell(t, "sched.name", "%s", "poly");
        darknet_tell(t, "sched.power", "%.9g", n->power);
    } else if (n->policy == DARKNET_SGDR && n->cycle == n->max_batches) {
        darknet_tell(t, "sched.name", "%s", "cosine");
        darknet_tell(t, "sched.lr_min", "%.9g", n->lr_min);
    } else if (n->policy != DARKNET_CONSTANT) {
        darknet_cfg_ignore(&p->cfg, &p->cfg.sections[0], "policy");
    }
    tell_warmup(t, n);
}
