/*
 * See gradient_check.h. Analytic gradients against central differences on the reference backend, along two directions
 * for every f32 input and parameter: d_i = g_i u_i with u in [0.5, 1.5), where g is the analytic gradient (so that no
 * part of the sum cancels and a factor of 1.01 shows as 1 %), and a normal direction (which sees what g lacks). Both
 * are scaled to max |d| = 1.
 *
 * L = sum out * gout, its differences summed in double; numeric = (L(x + e d) - L(x - e d)) / 2e, analytic from the
 * displacement that f32 left. Steps e shrink by 2 from 1/64. The first step counts at which the numeric value differs
 * from those of the two steps before by at most 0.1 %, and the slopes ahead and behind differ by no more: a kink within
 * the step (a ReLU, two nearly equal maxima) shifts the numeric value by half that difference. Both are judged without
 * a look at the analytic value, so this hides no wrong gradient; directions with a kink at every step are undecided.
 * Allowed: 0.4 % of sum |g d| (first direction) or of 4 |g d|_2 (second), plus what rounding of the f32 outputs
 * explains.
 */
#include "gradient_check.h"
#include <math.h>
#include <stdlib.h>

typedef struct probe {
    case_run *run;
    const layer_case *c;
    float *x;       /* what is moved: inside *c */
    const float *g; /* analytic gradient */
    double *d;
    float *start;
    int64_t n;
    double sum_abs, sum_squares; /* of g d */
    case_result middle;          /* of the forward run at x */
} probe;

static double uniform_about_one(cvr_rng *r) {
    return 0.5 + cvr_rng_uniform(r);
}

static bool aim(probe *p, bool along_gradient, cvr_rng *rng) {
    double largest = 0;
    for (int64_t i = 0; i < p->n; i++) {
        p->d[i] = along_gradient ? p->g[i] * uniform_about_one(rng) : cvr_rng_normal(rng);
        if (fabs(p->d[i]) > largest) largest = fabs(p->d[i]);
    }
    p->sum_abs = p->sum_squares = 0;
    for (int64_t i = 0; i < p->n; i++) {
        if (largest > 0) p->d[i] /= largest;
        p->sum_abs += fabs(p->d[i] * p->g[i]);
        p->sum_squares += p->d[i] * p->g[i] * p->d[i] * p->g[i];
    }
    return largest > 0;
}

static bool forward(probe *p, double step, case_result *r, cvr_error *err) {
    for (int64_t i = 0; i < p->n; i++) p->x[i] = (float)(p->start[i] + step * p->d[i]);
    const int32_t status = case_execute(p->run, p->c, r, err);
    memcpy(p->x, p->start, (size_t)p->n * sizeof *p->x);
    return status == CVR_OK;
}

/* What one step tells, all per unit of step. */
typedef struct slope {
    double numeric, analytic;
    double
        bend; /* half the difference of the slopes ahead and behind: as far as a kink can lead the numeric one astray */
    double noise; /* what rounding of the outputs explains */
} slope;

static void add_output(const probe *p, uint32_t k, const case_result *up, const case_result *down, slope *s) {
    const float *w = p->c->gradients[k].data;
    char name[16];
    (void)snprintf(name, sizeof name, "out%u", k);
    const case_tensor *u = case_result_find(up, name), *v = case_result_find(down, name);
    const float *middle = case_result_find(&p->middle, name)->data;
    const int64_t n = cvr_numel(u->type.rank, u->type.shape);
    for (int64_t i = 0; i < n; i++) {
        const double hi = ((const float *)u->data)[i], lo = ((const float *)v->data)[i];
        s->numeric += w[i] * (hi - lo);
        s->bend += w[i] * (hi - middle[i] - (middle[i] - lo));
        s->noise += w[i] * hi * w[i] * hi + w[i] * lo * w[i] * lo;
    }
}

static bool slope_at(probe *p, double step, slope *s, cvr_error *err) {
    case_result up, down;
    *s = (slope){0};
    if (!forward(p, step, &up, err)) return false;
    if (!forward(p, -step, &down, err)) {
        case_result_clear(&up);
        return false;
    }
    for (uint32_t k = 0; k < p->c->n_gradients; k++) {
        if (p->c->gradients[k].data) add_output(p, k, &up, &down, s);
    }
    for (int64_t i = 0; i < p->n; i++) {
        const float hi = (float)(p->start[i] + step * p->d[i]), lo = (float)(p->start[i] - step * p->d[i]);
        s->analytic += p->g[i] * ((double)hi - lo);
    }
    case_result_clear(&up);
    case_result_clear(&down);
    s->numeric /= 2 * step;
    s->analytic /= 2 * step;
    s->bend = fabs(s->bend) / (2 * step);
    s->noise = ldexp(4 * sqrt(s->noise), -23) / (2 * step);
    return true;
}

/* Empty `why`: passed. t->strong: rounding could not have hidden a factor of 1.01. False: no step is free of kinks. */
static bool check_direction(probe *p, bool along_gradient, gradient_tensor *t, char *why, size_t size) {
    const double spread = along_gradient ? p->sum_abs : 4 * sqrt(p->sum_squares);
    double last = NAN, before = NAN;
    cvr_error err;
    cvr_error_init(&err);
    for (double step = 1.0 / 64; step > 1.0 / 20000; step /= 2) {
        slope s;
        if (!slope_at(p, step, &s, &err)) {
            (void)snprintf(why, size, "%.350s", err.message);
            return true;
        }
        const double near = 0.001 * spread + s.noise;
        const bool settled = fabs(s.numeric - last) <= near && fabs(s.numeric - before) <= near && s.bend <= near;
        before = last;
        last = s.numeric;
        if (!settled) continue;
        t->strong = t->strong || (along_gradient && s.noise < 0.002 * spread);
        if (spread > 0) t->worst = fmax(t->worst, fmax(0, fabs(s.numeric - s.analytic) - s.noise) / spread);
        if (fabs(s.numeric - s.analytic) <= 0.004 * spread + s.noise) return true;
        (void)snprintf(why, size, "analytic %.9g, numeric %.9g, %s (step %g, allowed %.3g + %.3g)", s.analytic,
                       s.numeric, along_gradient ? "along the gradient" : "along a random direction", step,
                       0.004 * spread, s.noise);
        return true;
    }
    return false;
}

static void check_tensor(gradient_report *l, case_run *run, const layer_case *c, const case_tensor *x,
                         const case_tensor *g, char *why, size_t size) {
    const int64_t n = cvr_numel(x->type.rank, x->type.shape);
    const size_t bytes = case_bytes(&x->type);
    probe p = {.run = run, .c = c, .x = x->data, .g = g->data, .n = n};
    gradient_tensor *e = &l->all[l->n++];
    (void)snprintf(e->name, sizeof e->name, "%s", g->name);
    cvr_rng rng;
    p.d = calloc((size_t)n + 1, sizeof *p.d);
    p.start = malloc(bytes + 1);
    if (p.d && p.start)
        memcpy(p.start, x->data, bytes);
    else
        (void)snprintf(why, size, "out of memory");
    cvr_rng_start(&rng, cvr_hash(c->label), cvr_hash(g->name));
    cvr_error err;
    cvr_error_init(&err);
    if (!*why && case_execute(run, c, &p.middle, &err) != CVR_OK) (void)snprintf(why, size, "%.350s", err.message);
    for (int along = 1; along >= 0 && !*why; along--) {
        char text[400] = "";
        l->directions++;
        if (aim(&p, along, &rng) && !check_direction(&p, along, e, text, sizeof text)) l->undecided++;
        if (*text) (void)snprintf(why, size, "%s: %s", g->name, text);
    }
    case_result_clear(&p.middle);
    free(p.d);
    free(p.start);
}

void gradient_check(const case_machine *m, layer_case *c, gradient_report *l, char *why, size_t size) {
    case_run *run;
    case_result analytic;
    cvr_error err;
    char name[100];
    cvr_error_init(&err);
    memset(l, 0, sizeof *l);
    *why = '\0';
    if (case_result_of(m, c, &analytic, &err) != CVR_OK) {
        (void)snprintf(why, size, "%.350s", err.message);
        return;
    }
    c->backward = false;
    if (case_open(&run, m, c, &err) != CVR_OK) (void)snprintf(why, size, "%.350s", err.message);
    for (uint32_t i = 0; i < c->n_inputs && !*why; i++) {
        (void)snprintf(name, sizeof name, "gin%u", i);
        const case_tensor *g = case_result_find(&analytic, name);
        if (c->inputs[i].constant) continue;
        if (g)
            check_tensor(l, run, c, &c->inputs[i], g, why, size);
        else
            (void)snprintf(why, size, "input %u has no gradient", i);
    }
    for (uint32_t i = 0; i < c->n_params && !*why; i++) {
        (void)snprintf(name, sizeof name, "gparam.%s", c->params[i].name);
        const case_tensor *g = case_result_find(&analytic, name);
        if (g) check_tensor(l, run, c, &c->params[i], g, why, size);
    }
    case_close(&run);
    case_result_clear(&analytic);
}
