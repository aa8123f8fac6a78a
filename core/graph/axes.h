/* Which elements of a graph's values stay or go together: what axes.c finds out and narrow.c builds by. */
#ifndef CVR_AXES_H
#define CVR_AXES_H

#include "ir.h"

/* Elements of one axis of a parameter, `each` of them for every unit of a group. */
typedef struct channel_member {
    cvr_value value;
    uint32_t axis, each;
    int64_t *elements; /* units * each */
    size_t n, capacity;
} channel_member;

/* Sets of the same kind: they are of the same axes of the same parameters. */
typedef struct channel_group {
    uint32_t *sets;
    size_t n, capacity;
    channel_member *members;
    size_t n_members;
} channel_group;

/* Every element of every axis of every value is one number; those that are tied are one set (union and find). */
struct cvr_channels {
    const cvr_graph *g;
    size_t *first;    /* by value: the number of its axis 0's element 0; n_values + 1 of them */
    uint32_t *parent; /* of elements */
    uint32_t *why;    /* of sets: what fixes it, node + 1, or FIXED_BY_*; 0: nothing does */
    uint8_t *flags;   /* of sets: CVR_AXES_* of what ties it */
    uint8_t *gone;    /* of sets */
    uint8_t *before;  /* `gone` before the last removal */
    channel_group *groups;
    size_t n_groups, groups_capacity;
    struct channel_view *view; /* the last; NULL: none */
};

#define FIXED_BY_INPUT UINT32_MAX
#define FIXED_BY_OUTPUT (UINT32_MAX - 1)

/* The set of an element of a value's axis. */
uint32_t axes_set(const cvr_channels *a, cvr_value v, uint32_t axis, int64_t i);
/* How many of the n elements from `from` on stay. */
int64_t axes_left(const cvr_channels *a, cvr_value v, uint32_t axis, int64_t from, int64_t n);
const char *axes_param_name(const cvr_channels *a, const channel_member *m);
/* Changes a node's attributes to what they are without what is gone. */
void axes_narrow_attrs(cvr_channels *a, const ir_node *n, void *attrs);
/* axes_groups.c: what of the parameters goes together. */
int32_t axes_find_groups(cvr_channels *a, cvr_error *err);
void axes_free_groups(cvr_channels *a);
/* axes_view.c */
void axes_free_view(cvr_channels *a);

#endif
