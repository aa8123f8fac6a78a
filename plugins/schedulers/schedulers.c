/*
 * Learning rates over a run: torch.optim.lr_scheduler's StepLR, MultiStepLR, ExponentialLR (by whole epochs),
 * CosineAnnealingLR (Loshchilov and Hutter, 2017), PolynomialLR and OneCycleLR (by steps), ReduceLROnPlateau (by the
 * metric); Darknet's policy=steps. The plugin "schedulers".
 */
#include <cvr/plugin/plugin.h>

#include <math.h>

#define MAX_MILESTONES 64

static const cvr_attr_desc step_size_attr = {.struct_size = sizeof step_size_attr,
                                             .name = "steps",
                                             .kind = CVR_ATTR_INT,
                                             .count = 1,
                                             .flags = CVR_ATTR_MIN,
                                             .min = 1,
                                             .doc = "epochs from one drop to the next"};
static const cvr_attr_desc milestones_attr = {.struct_size = sizeof milestones_attr,
                                              .name = "steps",
                                              .kind = CVR_ATTR_INTS,
                                              .count = MAX_MILESTONES,
                                              .flags = CVR_ATTR_MIN,
                                              .min = 0,
                                              .doc = "epochs at which the rate drops"};
static const cvr_attr_desc drop_attr = {.struct_size = sizeof drop_attr,
                                        .name = "gamma",
                                        .kind = CVR_ATTR_FLOAT,
                                        .count = 1,
                                        .default_text = "0.1",
                                        .doc = "what the rate is multiplied with at a drop"};
static const cvr_attr_desc gamma_attr = {.struct_size = sizeof gamma_attr,
                                         .name = "gamma",
                                         .kind = CVR_ATTR_FLOAT,
                                         .count = 1,
                                         .doc = "what the rate is multiplied with each epoch"};
static const cvr_attr_desc power_attr = {.struct_size = sizeof power_attr,
                                         .name = "power",
                                         .kind = CVR_ATTR_FLOAT,
                                         .count = 1,
                                         .default_text = "1",
                                         .doc = "exponent of the share of the run that is left"};
static const cvr_attr_desc *const step_attrs[] = {&step_size_attr, &drop_attr};
static const cvr_attr_desc *const multistep_attrs[] = {&milestones_attr, &drop_attr};
static const cvr_attr_desc *const exponential_attrs[] = {&gamma_attr};
static const cvr_attr_desc *const poly_attrs[] = {&power_attr};

static const cvr_attr_desc *const steps_attrs[] = {
    CVR_ATTR(INTS, "steps", NULL, "optimizer steps, warm-up included, at which the rate changes",
             .count = MAX_MILESTONES, CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOATS, "scales", "0.1", "what it is multiplied with at each of them; the last number counts for the rest",
             .count = MAX_MILESTONES, CVR_ATTR_AT_LEAST(0)),
};

static const cvr_attr_desc *const plateau_attrs[] = {
    CVR_ATTR(FLOAT, "factor", "0.1", "what the rate is multiplied with on a plateau", CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(INT, "patience", "10", "epochs without a better metric that are let pass", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOAT, "threshold", "1e-4", "by how much a better metric must be better", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(CHOICE, "threshold_mode", "rel", "a share of the best, or as it is", .choices = "rel|abs"),
    CVR_ATTR(INT, "cooldown", "0", "epochs after a drop that do not count", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOAT, "eps", "1e-8", "a smaller drop is none", CVR_ATTR_AT_LEAST(0)),
};

static const cvr_attr_desc *const one_cycle_attrs[] = {
    CVR_ATTR(FLOAT, "pct_start", "0.3", "share of the run in which the rate rises", CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(CHOICE, "anneal_strategy", "cos", "how it rises and falls", .choices = "cos|linear"),
    CVR_ATTR(FLOAT, "div_factor", "25", "lr over the rate at the beginning", CVR_ATTR_AT_LEAST(1)),
    CVR_ATTR(FLOAT, "final_div_factor", "1e4", "the rate at the beginning over that at the end", CVR_ATTR_AT_LEAST(1)),
    CVR_ATTR(BOOL, "three_phase", "no", "fall as fast as it rose, then on to the end"),
};

/* As the lists above pack them. */
typedef struct one_cycle_settings {
    double pct_start;
    int64_t linear; /* anneal_strategy */
    double div_factor, final_div_factor;
    int64_t three_phase;
} one_cycle_settings;

typedef struct step_settings {
    int64_t steps;
    double gamma;
} step_settings;

typedef struct multistep_settings {
    int64_t n;
    int64_t steps[MAX_MILESTONES];
    double gamma;
} multistep_settings;

typedef struct steps_settings {
    int64_t n;
    int64_t steps[MAX_MILESTONES];
    int64_t n_scales;
    double scales[MAX_MILESTONES];
} steps_settings;

typedef struct plateau_settings {
    double factor;
    int64_t patience;
    double threshold;
    int64_t absolute; /* threshold_mode */
    int64_t cooldown;
    double eps;
} plateau_settings;

/* Epochs that are complete. */
static int64_t epoch_of(const cvr_sched_args *a) {
    return a->steps_per_epoch > 0 ? a->step / a->steps_per_epoch : 0;
}

/* The share of the run that is done, 0 to 1. */
static double progress(const cvr_sched_args *a) {
    if (a->total_steps <= 0 || a->step >= a->total_steps) return 1;
    return a->step <= 0 ? 0 : (double)a->step / (double)a->total_steps;
}

/* From 1 to lr_min_factor as `share` goes from 1 to 0. */
static double above_min(const cvr_sched_args *a, double share) {
    return a->lr_min_factor + (1 - a->lr_min_factor) * share;
}

static double constant_factor(const cvr_sched_args *a) {
    (void)a;
    return 1;
}

/* gamma ^ floor(epoch / steps) */
static double step_factor(const cvr_sched_args *a) {
    const step_settings *s = a->attrs;
    return pow(s->gamma, (double)(epoch_of(a) / s->steps));
}

/* gamma ^ (milestones that are reached) */
static double multistep_factor(const cvr_sched_args *a) {
    const multistep_settings *s = a->attrs;
    int64_t reached = 0;
    for (int64_t i = 0; i < s->n; i++) reached += epoch_of(a) >= s->steps[i];
    return pow(s->gamma, (double)reached);
}

/* The product of the scales whose step is reached, counted as Darknet counts batches: the first is 1. */
static double steps_factor(const cvr_sched_args *a) {
    const steps_settings *s = a->attrs;
    double factor = 1;
    for (int64_t i = 0; i < s->n && s->n_scales > 0; i++) {
        const int64_t k = i < s->n_scales ? i : s->n_scales - 1;
        if (a->step + a->warmup + 1 >= s->steps[i]) factor *= s->scales[k];
    }
    return factor;
}

/* gamma ^ epoch */
static double exponential_factor(const cvr_sched_args *a) {
    const double *gamma = a->attrs;
    return pow(*gamma, (double)epoch_of(a));
}

/* min + (1 - min) * (1 + cos(pi * step / total)) / 2 */
static double cosine_factor(const cvr_sched_args *a) {
    return above_min(a, 0.5 * (1 + cos(3.14159265358979323846 * progress(a))));
}

/* min + (1 - min) * (1 - step / total) ^ power */
static double poly_factor(const cvr_sched_args *a) {
    const double *power = a->attrs;
    return above_min(a, pow(1 - progress(a), *power));
}

static int is_better(const plateau_settings *s, const cvr_sched_args *a, double x, double best) {
    const double margin = s->absolute ? s->threshold : s->threshold * best;
    if (!isfinite(best)) return 1; /* the first */
    return a->lower_is_better ? x < best - margin : x > best + margin;
}

/* The whole history anew, so that nothing has to be kept: epochs without a better metric are counted, and one more than
 * `patience` of them make the rate drop, though not below lr_min. */
static double plateau_factor(const cvr_sched_args *a) {
    const plateau_settings *s = a->attrs;
    double best = (double)INFINITY, lr = a->lr;
    int64_t bad = 0, cooling = 0;
    for (uint64_t i = 0; i < a->n_history; i++) {
        const double x = a->history[i];
        if (isnan(x)) continue;
        const int better = is_better(s, a, x, best);
        if (better) best = x;
        bad = better ? 0 : bad + 1;
        if (cooling > 0) {
            cooling--;
            bad = 0;
        }
        if (bad <= s->patience) continue;
        const double lower = fmax(lr * s->factor, a->lr * a->lr_min_factor);
        if (lr - lower > s->eps) lr = lower;
        cooling = s->cooldown;
        bad = 0;
    }
    return a->lr > 0 ? lr / a->lr : 1;
}

/*
 * OneCycleLR (Smith, Topin: "Super-Convergence", 2018): from 1 / div_factor to 1 and down to nearly nothing. PyTorch
 * moves the momentum against the rate unless told otherwise; here momentum stays (cycle_momentum=False).
 */
static double one_cycle_factor(const cvr_sched_args *a) {
    const one_cycle_settings *s = a->attrs;
    const double first = 1 / s->div_factor, last = first / s->final_div_factor, total = (double)a->total_steps;
    const double top = s->pct_start * total - 1, at = fmin((double)a->step, total - 1);
    const double ends[3] = {top, s->three_phase ? 2 * s->pct_start * total - 2 : total - 1, total - 1};
    const double rates[4] = {first, 1, s->three_phase ? first : last, last};
    const int phases = s->three_phase ? 3 : 2;
    double begin = 0;
    for (int i = 0; i < phases; i++) {
        if (at > ends[i] && i + 1 < phases) {
            begin = ends[i];
            continue;
        }
        const double length = ends[i] - begin, share = length != 0 ? (at - begin) / length : 1;
        if (s->linear) return rates[i] + (rates[i + 1] - rates[i]) * share;
        return rates[i + 1] + (rates[i] - rates[i + 1]) / 2 * (1 + cos(3.14159265358979323846 * share));
    }
    return last;
}

#define SCHEDULER(name_, n_attrs_, attrs_, factor_, doc_)                                                              \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_scheduler_desc), .name = name_, .doc = doc_, .n_attrs = n_attrs_, .attrs = attrs_,   \
        .factor = factor_                                                                                              \
    }

static const cvr_scheduler_desc schedulers[] = {
    SCHEDULER("constant", 0, NULL, constant_factor, "lr stays as it is"),
    SCHEDULER("step", 2, step_attrs, step_factor, "lr * gamma every `steps` epochs"),
    SCHEDULER("multistep", 2, multistep_attrs, multistep_factor, "lr * gamma at each epoch in `steps`"),
    SCHEDULER("steps", 2, steps_attrs, steps_factor,
              "lr * each of `scales` from its optimizer step in `steps` on: Darknet's policy=steps"),
    SCHEDULER("exponential", 1, exponential_attrs, exponential_factor, "lr * gamma every epoch"),
    SCHEDULER("cosine", 0, NULL, cosine_factor, "half a cosine from lr to lr_min, step by step"),
    SCHEDULER("plateau", 6, plateau_attrs, plateau_factor, "lr * factor where the metric has stopped getting better"),
    SCHEDULER("one_cycle", 5, one_cycle_attrs, one_cycle_factor, "up to lr and down to almost nothing, step by step"),
    SCHEDULER("poly", 1, poly_attrs, poly_factor, "from lr to lr_min as (1 - progress) ^ power, step by step"),
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    for (uint32_t i = 0; i < sizeof schedulers / sizeof *schedulers; i++)
        CVR_TRY(r->add(r, CVR_KIND_SCHEDULER, &schedulers[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("schedulers", "0.1.0", "", load)
