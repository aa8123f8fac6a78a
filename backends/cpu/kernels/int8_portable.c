/* The micro-kernels in plain C. */
#include "int8.h"

static void tile(const int8_tile *t, int32_t vectors) {
    const int64_t width = vectors * INT8_LANES;
    for (int32_t i = 0; i < t->m; i++) {
        int32_t acc[INT8_PANEL];
        for (int64_t k = 0; k < width; k++) acc[k] = t->bias[k];
        const int8_t *w = t->weights;
        for (int64_t tap = 0; tap < t->taps; tap++) {
            const uint8_t *x = t->x[tap * INT8_BLOCK + i];
            for (int64_t q = 0; q < t->quads; q++, x += 4, w += width * 4)
                for (int64_t k = 0; k < width; k++)
                    acc[k] += x[0] * w[4 * k] + x[1] * w[4 * k + 1] + x[2] * w[4 * k + 2] + x[3] * w[4 * k + 3];
        }
        if (t->sums) memcpy(t->sums[i], acc, (size_t)width * sizeof *acc);
        for (int64_t k = 0; k < t->n && !t->sums; k++) t->y[i][k] = int8_requantise(acc[k], t->scale[k], t->zero);
    }
}

static void depthwise(const int8_pixel *d) {
    for (int64_t k = 0; k < d->n; k++) {
        const int64_t place = int8_depthwise_place(k);
        int32_t acc = d->bias[place];
        for (int64_t t = 0; t < 4 * d->quads; t++)
            acc += d->x[t][k] * d->weights[(t / 4 * d->channels + place) * 4 + t % 4];
        d->y[k] = int8_requantise(acc, d->scale[place], d->zero);
    }
}

const int8_micro cpu_int8_micro = {.rows = {4, 4, 4, 4}, .tile = tile, .depthwise = depthwise};
