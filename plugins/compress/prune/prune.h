/* The plugin "compress_prune": what its files share. */
#ifndef CVR_COMPRESS_PRUNE_H
#define CVR_COMPRESS_PRUNE_H

#include <cvr/plugin/names.h>
#include <cvr/plugin/plugin.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Zeros, or NULL. */
static inline void *prune_room(const cvr_compression *c, uint64_t bytes) {
    void *p = c->host->alloc(c->host, bytes + 8, 16);
    if (p) memset(p, 0, bytes + 8);
    return p;
}

/* An axis of a parameter: its elements, and those in front of it and behind it. */
typedef struct prune_rows {
    int64_t outer, length, inner;
} prune_rows;
static inline prune_rows prune_rows_of(const cvr_type *t, uint32_t axis) {
    prune_rows r = {1, t->shape[axis], 1};
    for (uint32_t i = 0; i < axis; i++) r.outer *= t->shape[i];
    for (uint32_t i = axis + 1; i < t->rank; i++) r.inner *= t->shape[i];
    return r;
}
/* Where the `inner` elements of a row are that have o in front of it. */
static inline int64_t prune_row_at(const prune_rows *r, int64_t o, int64_t row) {
    return (o * r->length + row) * r->inner;
}

/* ---- channels ---- */

enum { PRUNE_BOTTLENECK, PRUNE_ALL };

/* As channel_attrs (prune_channels.c) packs it. */
typedef struct prune_settings {
    const char *target;
    double amount;
    int64_t scope;
    int64_t global;
    double max;
    int64_t round_to;
    const char *layers, *skip;
    int64_t batches;
    int64_t seed;
} prune_settings;

/* A unit among others. */
typedef struct prune_rank {
    double score;
    uint64_t unit;
} prune_rank;

typedef struct prune_job {
    const cvr_compression *c;
    const prune_settings *settings;
    const cvr_channel_group *const *groups;
    uint64_t n_groups, n_units;
    uint64_t *first;   /* by group: its first unit, counted through all; n_groups + 1 of them */
    double *scores;    /* by unit: the lowest goes first */
    uint8_t *chosen;   /* by group: it may lose units */
    uint8_t *gone;     /* by unit */
    prune_rank *order; /* room for sorting */
} prune_job;

/* Fills the scores of one group. CVR_ERR_UNSUPPORTED: the group has nothing to judge by. */
typedef int32_t (*prune_score_fn)(const prune_job *j, const cvr_channel_group *g, double *scores, cvr_error *err);
int32_t prune_score_l1(const prune_job *j, const cvr_channel_group *g, double *scores, cvr_error *err);
int32_t prune_score_l2(const prune_job *j, const cvr_channel_group *g, double *scores, cvr_error *err);
int32_t prune_score_bn_scale(const prune_job *j, const cvr_channel_group *g, double *scores, cvr_error *err);
int32_t prune_score_taylor(const prune_job *j, const cvr_channel_group *g, double *scores, cvr_error *err);
int32_t prune_score_lamp(const prune_job *j, const cvr_channel_group *g, double *scores, cvr_error *err);
int32_t prune_score_fpgm(const prune_job *j, const cvr_channel_group *g, double *scores, cvr_error *err);
int32_t prune_score_random(const prune_job *j, const cvr_channel_group *g, double *scores, cvr_error *err);

/* Marks in `gone` what goes where a share of the channels goes. */
void prune_choose(const prune_job *j, double share);
/* The share by which the target is reached, and what goes by it. */
int32_t prune_reach_target(const prune_job *j, cvr_error *err);
/* Units that stay of n where `share` goes: a multiple of r channels, at least r, never more than n. */
uint64_t prune_units_left(const cvr_channel_group *g, int64_t round_to, double share);

/* ---- single weights: prune_masks.c ---- */

#define PRUNE_MASK_METHODS 6
extern const cvr_compressor_desc prune_masks[PRUNE_MASK_METHODS];

#endif
