/* Which channels go: those of the lowest scores, of each group or of all of them, until the target is reached. */
#include "prune.h"

static uint64_t common_divisor(uint64_t a, uint64_t b) {
    while (b) {
        const uint64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

uint64_t prune_units_left(const cvr_channel_group *g, int64_t round_to, double share) {
    const uint64_t r = (uint64_t)round_to / common_divisor((uint64_t)round_to, g->side_by_side);
    const double wanted = (double)g->units * (1 - share);
    uint64_t left = (uint64_t)(wanted / (double)r + 0.5) * r;
    if (left < r) left = r;
    return left < g->units ? left : g->units;
}

/* The order of units by score; of equal ones the later goes first, as it does in a stable sort from the best down. */
static int by_score(const void *a, const void *b) {
    const prune_rank *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? -1 : 1;
    return x->unit > y->unit ? -1 : x->unit < y->unit;
}

/* The n lowest units of a group go. */
static void drop_lowest(const prune_job *j, uint64_t group, uint64_t n) {
    const uint64_t units = j->groups[group]->units;
    for (uint64_t u = 0; u < units; u++) {
        j->order[u] = (prune_rank){j->scores[j->first[group] + u], j->first[group] + u};
        j->gone[j->first[group] + u] = 0;
    }
    qsort(j->order, units, sizeof *j->order, by_score);
    for (uint64_t u = 0; u < n; u++) j->gone[j->order[u].unit] = 1;
}

static uint64_t group_of(const prune_job *j, uint64_t unit) {
    uint64_t low = 0, high = j->n_groups;
    while (high - low > 1) {
        const uint64_t middle = (low + high) / 2;
        if (j->first[middle] <= unit)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* One threshold for all groups; none loses more than `max` of its units. */
static void mark_below_threshold(const prune_job *j, double share) {
    uint64_t n = 0;
    for (uint64_t i = 0; i < j->n_groups; i++)
        for (uint64_t u = j->first[i]; u < j->first[i + 1] && j->chosen[i]; u++)
            j->order[n++] = (prune_rank){j->scores[u], u};
    qsort(j->order, n, sizeof *j->order, by_score);
    uint64_t to_go = (uint64_t)((double)n * share + 0.5);
    for (uint64_t k = 0; k < n && to_go > 0; k++) {
        const uint64_t i = group_of(j, j->order[k].unit);
        uint64_t lost = 1;
        for (uint64_t u = j->first[i]; u < j->first[i + 1]; u++) lost += j->gone[u];
        if ((double)lost > j->settings->max * (double)j->groups[i]->units) continue;
        j->gone[j->order[k].unit] = 1;
        to_go--;
    }
}

void prune_choose(const prune_job *j, double share) {
    memset(j->gone, 0, j->n_units + 1);
    if (j->settings->global) mark_below_threshold(j, share);
    for (uint64_t i = 0; i < j->n_groups; i++) {
        double of_group = share < j->settings->max ? share : j->settings->max;
        uint64_t lost = 0;
        if (!j->chosen[i]) continue;
        for (uint64_t u = j->first[i]; u < j->first[i + 1]; u++) lost += j->gone[u];
        if (j->settings->global) of_group = (double)lost / (double)j->groups[i]->units;
        drop_lowest(j, i, j->groups[i]->units - prune_units_left(j->groups[i], j->settings->round_to, of_group));
    }
}

/* ---- the target ---- */

typedef struct prune_target {
    uint32_t what; /* CVR_COST_*; 0: a share of the channels */
    double share;  /* of what it costs now */
    char word[16];
} prune_target;

static int32_t parse_target(const prune_settings *s, prune_target *t, cvr_error *err) {
    static const struct {
        const char *word;
        uint32_t what;
    } kinds[] = {{"macs", CVR_COST_MACS}, {"params", CVR_COST_PARAMS}, {"time", CVR_COST_SECONDS}};
    char end;
    *t = (prune_target){0};
    if (s->amount > 0 && *s->target)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "prune.amount and prune.target = %s both say how much; leave one of them out", s->target);
    if (s->amount > 0) return CVR_OK;
    const char *text = *s->target ? s->target : "macs:0.5";
    if (sscanf(text, "%15[a-z]:%lf%c", t->word, &t->share, &end) == 2 && t->share > 0 && t->share < 1)
        for (size_t i = 0; i < 3; i++)
            if (strcmp(kinds[i].word, t->word) == 0) t->what = kinds[i].what;
    if (t->what) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE,
                    "prune.target = %s: write macs:0.5, params:0.5 or time:0.5, the share that is to be left", text);
}

static int32_t cost_at(const prune_job *j, const prune_target *t, double share, double *out, cvr_error *err) {
    prune_choose(j, share);
    return j->c->cost(j->c, j->gone, t->what, out, err);
}

/* The least share by which the cost is no more than it shall be. */
static int32_t bisect(const prune_job *j, const prune_target *t, cvr_error *err) {
    double low = 0, high = j->settings->max, whole, cost;
    CVR_TRY(cost_at(j, t, 0, &whole, err));
    CVR_TRY(cost_at(j, t, high, &cost, err));
    if (cost > t->share * whole)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "prune.target = %s:%g cannot be reached: where all that may go goes, %.2f is left; set "
                        "prune.scope=all, a higher prune.max, a lower prune.round_to, or leave out prune.skip",
                        t->word, t->share, cost / whole);
    for (int i = 0; i < (t->what == CVR_COST_SECONDS ? 7 : 12); i++) {
        const double middle = (low + high) / 2;
        CVR_TRY(cost_at(j, t, middle, &cost, err));
        if (cost > t->share * whole)
            low = middle;
        else
            high = middle;
    }
    prune_choose(j, high);
    return CVR_OK;
}

int32_t prune_reach_target(const prune_job *j, cvr_error *err) {
    prune_target t;
    CVR_TRY(parse_target(j->settings, &t, err));
    if (t.what) return bisect(j, &t, err);
    prune_choose(j, j->settings->amount);
    return CVR_OK;
}
