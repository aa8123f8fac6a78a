/* Groups of channels as plugins see them (cvr/plugin/compressor.h): without what is gone, and counted anew. */
#include "axes.h"

typedef struct view_group {
    cvr_channel_group api;
    cvr_channel_member *members;
    const cvr_channel_member **listed;
    cvr_type *types;
    int64_t **elements;
} view_group;

struct channel_view {
    view_group *groups;
    const cvr_channel_group **listed;
    size_t n;
};

void axes_free_view(cvr_channels *a) {
    struct channel_view *v = a->view;
    for (size_t i = 0; v && i < v->n; i++) {
        for (size_t m = 0; v->groups[i].elements && m < v->groups[i].api.n_members; m++)
            cvr_free(v->groups[i].elements[m]);
        cvr_free(v->groups[i].members);
        cvr_free(v->groups[i].listed);
        cvr_free(v->groups[i].types);
        cvr_free(v->groups[i].elements);
    }
    if (v) {
        cvr_free(v->groups);
        cvr_free(v->listed);
    }
    cvr_free(v);
    a->view = NULL;
}

/* Channels of a unit that are neighbours. */
static uint64_t side_by_side(const channel_member *m) {
    uint64_t run = 1;
    while (run < m->each && m->elements[run] == m->elements[run - 1] + 1) run++;
    return run;
}

/* By element of a parameter's axis, its number among those that are left. */
static int64_t *count_left(const cvr_channels *a, const channel_member *m) {
    const int64_t n = a->g->values[m->value]->type.shape[m->axis];
    int64_t *rank = cvr_calloc((size_t)n + 1, sizeof *rank), left = 0;
    for (int64_t i = 0; rank && i < n; i++) {
        rank[i] = left;
        left += !a->gone[axes_set(a, m->value, m->axis, i)];
    }
    return rank;
}

static int32_t view_member(const cvr_channels *a, const channel_group *g, size_t i, view_group *to, cvr_error *err) {
    const channel_member *m = &g->members[i];
    const cvr_store_entry *e = cvr_store_get(a->g->store, a->g->values[m->value]->store_index);
    int64_t *elements = to->elements[i] = cvr_calloc(to->api.units * m->each + 1, sizeof *elements);
    int64_t *rank = count_left(a, m);
    size_t n = 0;
    if (!elements || !rank) {
        cvr_free(rank);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    (void)cvr_channels_type(a, e->name, &to->types[i]);
    for (size_t u = 0; u < g->n; u++)
        for (uint32_t k = 0; k < m->each && !a->gone[g->sets[u]]; k++)
            elements[n++] = rank[m->elements[u * m->each + k]];
    cvr_free(rank);
    to->members[i] = (cvr_channel_member){.struct_size = sizeof to->members[i],
                                          .param = e->name,
                                          .type = &to->types[i],
                                          .axis = m->axis,
                                          .flags = e->flags,
                                          .each = m->each,
                                          .elements = elements};
    to->listed[i] = &to->members[i];
    return CVR_OK;
}

static int32_t view_group_of(const cvr_channels *a, const channel_group *g, view_group *to, cvr_error *err) {
    const uint8_t flags = a->flags[g->sets[0]];
    to->members = cvr_calloc(g->n_members + 1, sizeof *to->members);
    to->listed = cvr_calloc(g->n_members + 1, sizeof *to->listed);
    to->types = cvr_calloc(g->n_members + 1, sizeof *to->types);
    to->elements = cvr_calloc(g->n_members + 1, sizeof *to->elements);
    if (!to->members || !to->listed || !to->types || !to->elements)
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    to->api = (cvr_channel_group){
        .struct_size = sizeof to->api,
        .name = axes_param_name(a, &g->members[0]),
        .side_by_side = side_by_side(&g->members[0]),
        .flags = (flags & CVR_AXES_SUM ? CVR_CHANNELS_STREAM : 0) |
                 (flags & CVR_AXES_STATISTICS ? CVR_CHANNELS_STATISTICS : 0),
        .members = to->listed,
        .n_members = g->n_members,
    };
    for (size_t u = 0; u < g->n; u++) to->api.units += !a->gone[g->sets[u]];
    for (size_t m = 0; m < g->n_members; m++) CVR_TRY(view_member(a, g, m, to, err));
    return CVR_OK;
}

int32_t cvr_channels_view(cvr_channels *a, const cvr_channel_group *const **groups, size_t *n, cvr_error *err) {
    int32_t status = CVR_OK;
    axes_free_view(a);
    struct channel_view *v = a->view = cvr_calloc(1, sizeof *v);
    if (v) v->groups = cvr_calloc(a->n_groups + 1, sizeof *v->groups);
    if (v) v->listed = cvr_calloc(a->n_groups + 1, sizeof *v->listed);
    if (!v || !v->groups || !v->listed) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    for (; v->n < a->n_groups && status == CVR_OK; v->n++) {
        status = view_group_of(a, &a->groups[v->n], &v->groups[v->n], err);
        v->listed[v->n] = &v->groups[v->n].api;
    }
    *groups = v->listed;
    *n = v->n;
out:
    if (status != CVR_OK) axes_free_view(a);
    return status;
}

int32_t cvr_channels_remove(cvr_channels *a, const uint8_t *units, cvr_error *err) {
    size_t at = 0;
    for (size_t i = 0; i < a->n_groups; i++) {
        const channel_group *g = &a->groups[i];
        size_t left = 0, first = at;
        for (size_t u = 0; u < g->n; u++)
            if (!a->gone[g->sets[u]]) left += !units[at++];
        if (left == 0)
            return cvr_fail(err, CVR_ERR_PLUGIN, "all %zu channels of %s would go", at - first,
                            axes_param_name(a, &g->members[0]));
    }
    memcpy(a->before, a->gone, a->first[a->g->n_values]);
    at = 0;
    for (size_t i = 0; i < a->n_groups; i++)
        for (size_t u = 0; u < a->groups[i].n; u++)
            if (!a->gone[a->groups[i].sets[u]]) a->gone[a->groups[i].sets[u]] = units[at++] != 0;
    return CVR_OK;
}

void cvr_channels_restore(cvr_channels *a) {
    memcpy(a->gone, a->before, a->first[a->g->n_values]);
}
