/*
 * Marsaglia, Tsang: "A Simple Method for Generating Gamma Variables", 2000.
 */
#include "draw_gamma.h"
#include <math.h>

double draw_log_gamma(cvr_rng *rng, double a) {
    if (a < 1) {
        const double more = draw_log_gamma(rng, a + 1);
        return more + log(1 - cvr_rng_uniform(rng)) / a;
    }
    const double d = a - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        const double x = cvr_rng_normal(rng), t = 1 + c * x, u = 1 - cvr_rng_uniform(rng);
        if (t <= 0) continue;
        const double v = t * t * t;
        if (log(u) < 0.5 * x * x + d - d * v + d * log(v)) return log(d * v);
    }
}

void draw_dirichlet(cvr_rng *rng, double a, int n, double *shares) {
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++) {
        shares[i] = draw_log_gamma(rng, a);
        most = fmax(most, shares[i]);
    }
    for (int i = 0; i < n; i++) {
        shares[i] = exp(shares[i] - most);
        sum += shares[i];
    }
    for (int i = 0; i < n; i++) shares[i] = (float)(shares[i] / sum);
}
