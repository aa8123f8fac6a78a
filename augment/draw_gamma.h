/*
 * Random numbers of the gamma distribution, of which Beta and Dirichlet numbers are made.
 */
#ifndef CVR_AUGMENT_DRAW_GAMMA_H
#define CVR_AUGMENT_DRAW_GAMMA_H

#include <cvr/plugin/rng.h>

/* The logarithm of a number from the gamma distribution of shape a; in logarithms, since a small shape gives numbers
 * that no double holds. */
double draw_log_gamma(cvr_rng *rng, double a);
/* n shares that sum to 1, from the Dirichlet distribution with all parameters a; floats, as torch draws them. Of n = 2
 * the first is from Beta(a, a). */
void draw_dirichlet(cvr_rng *rng, double a, int n, double *shares);

#endif
