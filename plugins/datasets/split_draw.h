/*
 * data.val_split: which pictures of a class validate, where one list serves both splits.
 */
#ifndef CVR_SPLIT_DRAW_H
#define CVR_SPLIT_DRAW_H

#include <cvr/plugin/plugin.h>

/* A draw without replacement (Knuth, algorithm S) from the pictures of one class. */
typedef struct split_draw {
    cvr_rng rng;
    uint64_t left, n_val; /* pictures that are still to come, and how many of them validate */
} split_draw;

/* `n` pictures of the class `name`, of which `val_split` validate, rounded. A class of two or more has some in either
 * split. */
void split_draw_start(split_draw *d, uint64_t n, double val_split, uint64_t seed, const char *name);
/* The split of the next picture: CVR_SPLIT_*. */
uint32_t split_draw_next(split_draw *d);

#endif
