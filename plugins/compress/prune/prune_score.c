/*
 * How much a channel is worth, by the parameters that would go with it. With w the elements of one parameter that
 * belong to a unit, means are over the weights (rank 2 and more) and scales of norms that the group has:
 *
 * l1        mean of sum |w| (Li et al., "Pruning Filters for Efficient ConvNets", 2017, over all that is tied)
 * l2        mean of sum w^2 (Fang et al., "DepGraph", 2023)
 * bn_scale  mean |gamma| (Liu et al., "Network Slimming", 2017)
 * taylor    sum |w g|, g the loss's gradient (Molchanov et al., 2019)
 * lamp      s / (sum of all s of the group that are no less), s as l2 (Lee et al., 2021)
 * fpgm      sum of distances to the other filters: what lies in the middle can be replaced (He et al., 2019)
 * random    numbers
 *
 * Scores are divided by their group's mean, so that groups can be compared, but for lamp's, which are so already.
 */
#include "prune.h"
#include <cvr/plugin/rng.h>

static const cvr_param_view *find_param(const prune_job *j, const char *name) {
    const cvr_param_view *p;
    for (uint64_t i = 0; (p = j->c->param(j->c, i)); i++)
        if (strcmp(p->name, name) == 0) return p;
    return NULL;
}

typedef double (*element_fn)(double w, double g);
static double absolute(double w, double g) {
    (void)g;
    return fabs(w);
}
static double square(double w, double g) {
    (void)g;
    return w * w;
}
static double first_order(double w, double g) {
    return fabs(w * g);
}

/* Adds to each unit's score what its elements of one parameter come to. */
static void add_member(const cvr_channel_group *g, const cvr_channel_member *m, const cvr_param_view *p, element_fn f,
                       double *scores) {
    const prune_rows r = prune_rows_of(p->type, m->axis);
    for (uint64_t u = 0; u < g->units; u++)
        for (uint64_t k = 0; k < m->each; k++)
            for (int64_t o = 0; o < r.outer; o++) {
                const int64_t at = prune_row_at(&r, o, m->elements[u * m->each + k]);
                for (int64_t i = at; i < at + r.inner; i++)
                    scores[u] += f((double)p->values[i], p->gradients ? (double)p->gradients[i] : 0);
            }
}

static void divide(double *scores, uint64_t n, double by) {
    for (uint64_t u = 0; u < n && by > 0; u++) scores[u] /= by;
}

static void divide_by_mean(double *scores, uint64_t n) {
    double sum = 0;
    for (uint64_t u = 0; u < n; u++) sum += scores[u];
    divide(scores, n, sum / (double)n);
}

/* Of a norm's two parameters the scale is called `weight`, as PyTorch has it. */
static int is_scale(const cvr_channel_member *m) {
    const char *dot = strrchr(m->param, '.');
    return (m->flags & CVR_PARAM_NORM) && strcmp(dot ? dot + 1 : m->param, "weight") == 0;
}

static int is_weight(const cvr_channel_member *m) {
    return (m->flags & CVR_PARAM_TRAINABLE) && !(m->flags & CVR_PARAM_NORM) && m->type->rank > 1;
}

/* Of the members that count; the number of them. */
static uint64_t add_members(const prune_job *j, const cvr_channel_group *g, element_fn f, int weights, double *scores) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < g->n_members; i++) {
        const cvr_channel_member *m = g->members[i];
        const cvr_param_view *p = is_scale(m) || (weights && is_weight(m)) ? find_param(j, m->param) : NULL;
        if (!p || (f == first_order && !p->gradients)) continue;
        add_member(g, m, p, f, scores);
        n++;
    }
    divide(scores, g->units, (double)n);
    return n;
}

static int32_t score(const prune_job *j, const cvr_channel_group *g, element_fn f, int weights, double *scores,
                     cvr_error *err) {
    if (add_members(j, g, f, weights, scores) == 0)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, weights ? "has no weights that are trained" : "has no norm's scale");
    divide_by_mean(scores, g->units);
    return CVR_OK;
}

int32_t prune_score_l1(const prune_job *j, const cvr_channel_group *g, double *scores, cvr_error *err) {
    return score(j, g, absolute, 1, scores, err);
}

int32_t prune_score_l2(const prune_job *j, const cvr_channel_group *g, double *scores, cvr_error *err) {
    return score(j, g, square, 1, scores, err);
}

int32_t prune_score_bn_scale(const prune_job *j, const cvr_channel_group *g, double *scores, cvr_error *err) {
    return score(j, g, absolute, 0, scores, err);
}

int32_t prune_score_taylor(const prune_job *j, const cvr_channel_group *g, double *scores, cvr_error *err) {
    return score(j, g, first_order, 1, scores, err);
}

static int by_number(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int32_t prune_score_lamp(const prune_job *j, const cvr_channel_group *g, double *scores, cvr_error *err) {
    double *sorted = j->c->host->alloc(j->c->host, (g->units + 1) * sizeof *sorted, 16);
    if (!sorted) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = score(j, g, square, 1, scores, err);
    memcpy(sorted, scores, g->units * sizeof *sorted);
    qsort(sorted, g->units, sizeof *sorted, by_number);
    for (uint64_t u = 0; u < g->units && status == CVR_OK; u++) {
        double sum = 0;
        for (uint64_t k = g->units; k-- > 0 && sorted[k] >= scores[u];) sum += sorted[k];
        if (sum > 0) scores[u] /= sum;
    }
    j->c->host->free(j->c->host, sorted);
    return status;
}

/* The distance between the filters of two units in the group's first weight. */
static double distance(const cvr_channel_member *m, const cvr_param_view *p, uint64_t u, uint64_t v) {
    const prune_rows r = prune_rows_of(p->type, m->axis);
    double sum = 0;
    for (uint64_t k = 0; k < m->each; k++)
        for (int64_t o = 0; o < r.outer; o++) {
            const float *a = p->values + prune_row_at(&r, o, m->elements[u * m->each + k]),
                        *b = p->values + prune_row_at(&r, o, m->elements[v * m->each + k]);
            for (int64_t i = 0; i < r.inner; i++) {
                const double d = (double)a[i] - (double)b[i];
                sum += d * d;
            }
        }
    return sqrt(sum);
}

int32_t prune_score_fpgm(const prune_job *j, const cvr_channel_group *g, double *scores, cvr_error *err) {
    const cvr_channel_member *m = NULL;
    for (uint64_t i = 0; i < g->n_members && !m; i++)
        if (is_weight(g->members[i])) m = g->members[i];
    const cvr_param_view *p = m ? find_param(j, m->param) : NULL;
    if (!p) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "has no weights that are trained");
    for (uint64_t u = 0; u < g->units; u++)
        for (uint64_t v = 0; v < u; v++) {
            const double d = distance(m, p, u, v);
            scores[u] += d;
            scores[v] += d;
        }
    divide_by_mean(scores, g->units);
    return CVR_OK;
}

int32_t prune_score_random(const prune_job *j, const cvr_channel_group *g, double *scores, cvr_error *err) {
    cvr_rng rng;
    (void)err;
    cvr_rng_start(&rng, (uint64_t)j->settings->seed, cvr_hash(g->name) + (uint64_t)g->members[0]->elements[0]);
    for (uint64_t u = 0; u < g->units; u++) scores[u] = cvr_rng_uniform(&rng);
    divide_by_mean(scores, g->units);
    return CVR_OK;
}
