/*
 * Groups of channels: sets of elements that no axis fixes, gathered by the parameters that they are of. The channels of
 * a convolution are a group, with the rows of its weight, the batch norm behind it, and the columns of all that reads
 * it; each channel is a unit.
 */
#include "axes.h"

/* One element of a parameter's axis. */
typedef struct place {
    cvr_value value;
    uint32_t axis;
    int64_t element;
} place;

/* The places of every set, one set after another. */
typedef struct set_places {
    place *all;
    size_t *first; /* by set */
} set_places;

static bool is_parameter(const cvr_graph *g, size_t v) {
    return v >= g->n_outside && g->values[v]->kind == VALUE_STORED;
}

static int32_t gather_places(const cvr_channels *a, set_places *p, cvr_error *err) {
    const cvr_graph *g = a->g;
    const size_t n = a->first[g->n_values];
    p->first = cvr_calloc(n + 2, sizeof *p->first);
    p->all = cvr_calloc(n + 1, sizeof *p->all);
    if (!p->first || !p->all) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (int fill = 0; fill < 2; fill++) {
        for (size_t v = 1; v < g->n_values; v++) {
            const cvr_type *t = &g->values[v]->type;
            for (uint32_t axis = 0; is_parameter(g, v) && axis < t->rank; axis++)
                for (int64_t i = 0; i < t->shape[axis]; i++) {
                    const uint32_t set = axes_set(a, (cvr_value)v, axis, i);
                    if (fill)
                        p->all[p->first[set + 1]++] = (place){(cvr_value)v, axis, i};
                    else if (set + 2 <= n)
                        p->first[set + 2]++;
                }
        }
        for (size_t i = 2; !fill && i <= n; i++) p->first[i] += p->first[i - 1];
    }
    return CVR_OK;
}

static size_t places_of(const set_places *p, uint32_t set, const place **first) {
    *first = p->all + p->first[set];
    return p->first[set + 1] - p->first[set];
}

/* How many places from `at` on are of one axis. */
static size_t run_of(const place *p, size_t n, size_t at) {
    size_t end = at + 1;
    while (end < n && p[end].value == p[at].value && p[end].axis == p[at].axis) end++;
    return end - at;
}

static bool same_kind(const channel_group *g, const place *p, size_t n) {
    size_t at = 0, m = 0;
    for (; at < n && m < g->n_members; m++) {
        const size_t each = run_of(p, n, at);
        if (g->members[m].value != p[at].value || g->members[m].axis != p[at].axis || g->members[m].each != each)
            return false;
        at += each;
    }
    return at == n && m == g->n_members;
}

static int32_t new_group(cvr_channels *a, const place *p, size_t n, channel_group **out, cvr_error *err) {
    channel_group *more = cvr_grow(a->groups, a->n_groups, &a->groups_capacity, sizeof *more);
    size_t members = 0;
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    a->groups = more;
    for (size_t at = 0; at < n; at += run_of(p, n, at)) members++;
    *out = &more[a->n_groups];
    **out = (channel_group){.members = cvr_calloc(members + 1, sizeof *more->members), .n_members = members};
    if (!(*out)->members) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    a->n_groups++;
    size_t m = 0;
    for (size_t at = 0; at < n; m++) {
        const size_t each = run_of(p, n, at);
        (*out)->members[m] = (channel_member){.value = p[at].value, .axis = p[at].axis, .each = (uint32_t)each};
        at += each;
    }
    return CVR_OK;
}

static int32_t add_unit(channel_group *g, uint32_t set, const place *p, cvr_error *err) {
    uint32_t *sets = cvr_grow(g->sets, g->n, &g->capacity, sizeof *sets);
    if (!sets) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    g->sets = sets;
    sets[g->n++] = set;
    for (size_t m = 0; m < g->n_members; m++) {
        channel_member *to = &g->members[m];
        for (uint32_t i = 0; i < to->each; i++) {
            int64_t *more = cvr_grow(to->elements, to->n, &to->capacity, sizeof *more);
            if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
            to->elements = more;
            more[to->n++] = (p++)->element;
        }
    }
    return CVR_OK;
}

static int32_t add_set(cvr_channels *a, uint32_t set, const set_places *places, cvr_error *err) {
    const place *p;
    const size_t n = places_of(places, set, &p);
    channel_group *to = NULL;
    for (size_t i = a->n_groups; i-- > 0 && !to;)
        if (same_kind(&a->groups[i], p, n)) to = &a->groups[i];
    if (!to) CVR_TRY(new_group(a, p, n, &to, err));
    return add_unit(to, set, p, err);
}

static void free_group(channel_group *g) {
    for (size_t m = 0; m < g->n_members; m++) cvr_free(g->members[m].elements);
    cvr_free(g->members);
    cvr_free(g->sets);
}

/* What has one unit could only go as a whole. */
static void leave_single(cvr_channels *a) {
    size_t n = 0;
    for (size_t i = 0; i < a->n_groups; i++) {
        if (a->groups[i].n > 1)
            a->groups[n++] = a->groups[i];
        else
            free_group(&a->groups[i]);
    }
    a->n_groups = n;
}

int32_t axes_find_groups(cvr_channels *a, cvr_error *err) {
    const cvr_graph *g = a->g;
    set_places places = {0};
    uint8_t *seen = cvr_calloc(a->first[g->n_values] + 1, 1);
    int32_t status = seen ? gather_places(a, &places, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t v = 1; v < g->n_values && status == CVR_OK; v++) {
        const cvr_type *t = &g->values[v]->type;
        for (uint32_t axis = 0; is_parameter(g, v) && axis < t->rank; axis++)
            for (int64_t i = 0; i < t->shape[axis] && status == CVR_OK; i++) {
                const uint32_t set = axes_set(a, (cvr_value)v, axis, i);
                if (!seen[set] && !a->why[set]) status = add_set(a, set, &places, err);
                seen[set] = 1;
            }
    }
    leave_single(a);
    cvr_free(places.all);
    cvr_free(places.first);
    cvr_free(seen);
    return status;
}

void axes_free_groups(cvr_channels *a) {
    for (size_t i = 0; i < a->n_groups; i++) free_group(&a->groups[i]);
    cvr_free(a->groups);
}

const char *axes_param_name(const cvr_channels *a, const channel_member *m) {
    return cvr_store_get(a->g->store, a->g->values[m->value]->store_index)->name;
}

bool cvr_channels_why(const cvr_channels *a, const char *param, uint32_t axis, bool *silent, char *why, size_t size) {
    const cvr_value v = cvr_graph_param(a->g, param);
    uint32_t by = 0;
    *silent = false;
    if (v == CVR_NONE || axis >= a->g->values[v]->type.rank) return false;
    for (int64_t i = 0; i < a->g->values[v]->type.shape[axis] && !by; i++) by = a->why[axes_set(a, v, axis, i)];
    if (by == 0) return false;
    if (by == FIXED_BY_INPUT || by == FIXED_BY_OUTPUT) {
        (void)snprintf(why, size, "it is the network's %s", by == FIXED_BY_INPUT ? "input" : "result");
        return true;
    }
    const ir_node *n = a->g->nodes[by - 1];
    *silent = !cvr_op_trait(n->op, CVR_TRAIT_AXES) && !(n->op->flags & CVR_OP_ORDER_FREE);
    (void)snprintf(why, size, *silent ? "%s does not say how its channels are tied" : "%s needs all of it", n->name);
    return true;
}
