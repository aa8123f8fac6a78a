/*
 * A class is drawn with its own stream of random numbers, so that no other class changes what becomes of it.
 */
#include "split_draw.h"
#include <math.h>

void split_draw_start(split_draw *d, uint64_t n, double val_split, uint64_t seed, const char *name) {
    d->left = n;
    d->n_val = (uint64_t)floor((double)n * val_split + 0.5);
    if (d->n_val == 0 && n > 1) d->n_val = 1;
    if (d->n_val == n && n) d->n_val = n - 1;
    cvr_rng_start(&d->rng, cvr_rng_mix(seed, 0x73706c6974ull), cvr_hash(name));
}

uint32_t split_draw_next(split_draw *d) {
    const int32_t in_val = cvr_rng_below(&d->rng, d->left) < d->n_val;
    d->left--;
    d->n_val -= (uint64_t)in_val;
    return in_val ? CVR_SPLIT_VAL : CVR_SPLIT_TRAIN;
}
