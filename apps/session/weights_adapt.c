/*
 * Tensors of a file that have another shape than the network's, and a known meaning in it: the first convolution for
 * another number of channels (as timm adapts it), and position embeddings for another grid (as torchvision's
 * interpolate_embeddings: bicubic, corners aligned); and last layers for other classes, of which the file has some.
 */
#include "session_parts.h"
#include <math.h>

/* ---- channels: (O, 3, H, W) to (O, C, H, W) ---- */

static bool is_stem(const cvr_type *to, uint32_t rank, const int64_t *shape) {
    return rank == 4 && to->rank == 4 && shape[1] == 3 && to->shape[1] != 3 && shape[0] == to->shape[0] &&
           shape[2] == to->shape[2] && shape[3] == to->shape[3];
}

/* One channel sees what grey pictures would show all three. More are the three in turn, scaled so that sums keep their
 * size. */
static void adapt_stem(const cvr_type *to, float *out, const float *in) {
    const int64_t channels = to->shape[1], plane = to->shape[2] * to->shape[3];
    for (int64_t o = 0; o < to->shape[0]; o++) {
        for (int64_t c = 0; c < channels; c++) {
            float *y = out + (o * channels + c) * plane;
            const float *x = in + o * 3 * plane;
            for (int64_t i = 0; i < plane; i++)
                y[i] = channels == 1 ? x[i] + x[plane + i] + x[2 * plane + i]
                                     : x[c % 3 * plane + i] * (3.0f / (float)channels);
        }
    }
}

/* ---- positions: (1, tokens + side * side, D) ---- */

static int64_t side_of(int64_t n) {
    const int64_t side = n > 0 && n < INT32_MAX ? (int64_t)(sqrt((double)n) + 0.5) : 0;
    return side * side == n ? side : 0;
}

/* The tokens in front of both grids: none, a class token, or a distillation token too. -1: these are no grids. */
static int64_t tokens_of(const cvr_type *to, uint32_t rank, const int64_t *shape) {
    if (rank != 3 || to->rank != 3 || shape[0] != 1 || to->shape[0] != 1 || shape[2] != to->shape[2]) return -1;
    for (int64_t tokens = 1; tokens < 4; tokens++) /* 1 is the usual number, 0 the last to try */
        if (side_of(shape[1] - tokens % 3) && side_of(to->shape[1] - tokens % 3)) return tokens % 3;
    return -1;
}

/* Keys' cubic with a = -3/4, as torch has it: the weights of four neighbours at a fraction t. */
static void cubic_weights(double t, double w[4]) {
    const double a = -0.75;
    for (int k = 0; k < 4; k++) {
        const double x = fabs(t + 1 - k);
        w[k] = x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    }
}

static int64_t held(int64_t i, int64_t n) {
    return i < 0 ? 0 : i < n ? i : n - 1;
}

/* in: (from, from, d), out: (to, to, d) */
static void resample(float *out, int64_t to, const float *in, int64_t from, int64_t d) {
    const double step = to > 1 ? (double)(from - 1) / (double)(to - 1) : 0;
    for (int64_t y = 0; y < to; y++) {
        for (int64_t x = 0; x < to; x++) {
            const double sy = step * (double)y, sx = step * (double)x;
            const int64_t fy = (int64_t)sy, fx = (int64_t)sx;
            double wy[4], wx[4];
            cubic_weights(sy - (double)fy, wy);
            cubic_weights(sx - (double)fx, wx);
            for (int64_t i = 0; i < d; i++) {
                double sum = 0;
                for (int k = 0; k < 16; k++) {
                    const int64_t row = held(fy - 1 + k / 4, from), column = held(fx - 1 + k % 4, from);
                    sum += wy[k / 4] * wx[k % 4] * (double)in[(row * from + column) * d + i];
                }
                out[(y * to + x) * d + i] = (float)sum;
            }
        }
    }
}

static void adapt_positions(const cvr_type *to, float *out, const int64_t *shape, const float *in, int64_t tokens) {
    const int64_t d = to->shape[2];
    memcpy(out, in, (size_t)(tokens * d) * sizeof *out);
    resample(out + tokens * d, side_of(to->shape[1] - tokens), in + tokens * d, side_of(shape[1] - tokens), d);
}

/* ---- either ---- */

bool weights_adapt(const cvr_type *to, float *out, uint32_t rank, const int64_t *shape, const float *in) {
    const bool stem = is_stem(to, rank, shape);
    const int64_t tokens = stem ? -1 : tokens_of(to, rank, shape);
    if (to->dtype != CVR_F32 || (!stem && tokens < 0)) return false;
    if (out && stem) adapt_stem(to, out, in);
    if (out && !stem) adapt_positions(to, out, shape, in, tokens);
    return true;
}

/* The sizes of axes that are more than 1; their number. */
static uint32_t squeezed(uint32_t rank, const int64_t *shape, int64_t *out) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < rank; i++)
        if (shape[i] != 1) out[n++] = shape[i];
    return n;
}

/* Another implementation may have axes of 1 more or fewer, or the last ones as one: a 7x7 convolution for a linear. */
bool weights_fit_another(const cvr_type *t, uint32_t rank, const int64_t *shape) {
    int64_t a[8], b[8];
    const uint32_t n = squeezed(rank, shape, a), m = squeezed(t->rank, t->shape, b), least = n < m ? n : m;
    if (cvr_numel(rank, shape) != cvr_numel(t->rank, t->shape)) return false;
    return least == 0 || memcmp(a, b, (n == m ? n : least - 1) * sizeof *a) == 0;
}

/* ---- rows of classes ---- */

bool weights_has_rows(const weights_rules *r, const cvr_weight *w, const cvr_store_entry *e) {
    if (!r->rows || r->head != WEIGHTS_HEAD_AUTO || e->type.rank == 0 || w->rank != e->type.rank) return false;
    return w->shape[0] == r->file_rows && e->type.shape[0] == r->n_rows &&
           memcmp(w->shape + 1, e->type.shape + 1, (w->rank - 1) * sizeof *w->shape) == 0;
}

void weights_take_rows(const weights_rules *r, const cvr_store_entry *e, void *out, const void *in) {
    const uint64_t row = e->bytes / (uint64_t)e->type.shape[0];
    for (int64_t k = 0; k < r->n_rows; k++)
        if (r->rows[k] >= 0)
            memcpy((char *)out + (uint64_t)k * row, (const char *)in + (uint64_t)r->rows[k] * row, row);
}
