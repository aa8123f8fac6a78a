/*
 * The epilogue of the CPU's convolution (backends/cpu/kernels/conv2d.h) against plain loops in double: every
 * combination of its parts on shapes with padding, strides, groups, phases and blocks of channels.
 */
#include "conv2d.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

typedef struct shape {
    int64_t n, c, k, size, kernel, stride, padding, groups, transposed;
} shape;

static const shape shapes[] = {
    {2, 5, 9, 7, 3, 1, 1, 1, 0},
    {3, 16, 40, 5, 1, 1, 0, 1, 0},
    {2, 12, 10, 9, 3, 2, 1, 2, 0},
    {2, 7, 6, 5, 3, 2, 1, 1, 1},
    {1, 600, 11, 4, 1, 1, 0, 1, 0},
    {4, 250, 9, 3, 3, 1, 1, 1, 0},
    {2, 3, 20, 16, 7, 2, 3, 1, 0},
    {5, 4, 70, 3, 3, 1, 2, 1, 0},
    {2, 6, 8, 4, 1, 3, 0, 1, 1},
    /* by Winograd: whole tiles, ragged ones, odd channels, every padding */
    {8, 32, 40, 8, 3, 1, 1, 1, 0},
    {4, 37, 33, 11, 3, 1, 1, 1, 1},
    {9, 33, 35, 6, 3, 1, 2, 1, 0},
    {9, 40, 32, 10, 3, 1, 0, 1, 0},
    /* depthwise: whole vectors and the rest of one, in every number of pixels */
    {2, 37, 37, 13, 3, 1, 1, 37, 0},
    {1, 48, 48, 17, 5, 2, 2, 48, 0},
};

static void run_tasks(const cvr_threadpool *pool, uint64_t n, cvr_task_fn fn, void *ctx) {
    for (uint64_t i = n; i-- > 0;) fn(ctx, i, (uint32_t)(i % pool->n_workers));
}

static float *numbers(int64_t n, uint32_t seed, float mean) {
    float *x = malloc((size_t)n * sizeof *x);
    cr_assert(x);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = mean + (float)(seed >> 8) * (1.0f / 8388608.0f) - 1.0f;
    }
    return x;
}

static double clamped(double x, double lo, double hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

/* One result of the gather without epilogue; the weight is (O,kH,kW,I). */
static double plain(const conv_job *job, int64_t n, int64_t y, int64_t x, int64_t k) {
    const conv_shape *s = &job->shape;
    const int64_t g = k / s->dst_c, channels = s->groups * s->src_c;
    double sum = job->bias ? (double)job->bias[k] : 0;
    for (int64_t r = 0; r < s->kernel[0]; r++)
        for (int64_t q = 0; q < s->kernel[1]; q++) {
            int64_t at[2] = {y * s->stride[0] - s->padding[0] + r, x * s->stride[1] - s->padding[1] + q};
            if (s->transposed) {
                at[0] = y + s->padding[0] - r;
                at[1] = x + s->padding[1] - q;
                if (at[0] % s->stride[0] != 0 || at[1] % s->stride[1] != 0) continue;
                at[0] /= s->stride[0];
                at[1] /= s->stride[1];
            }
            if (at[0] < 0 || at[1] < 0 || at[0] >= s->src_size[0] || at[1] >= s->src_size[1]) continue;
            for (int64_t c = 0; c < s->src_c; c++) {
                const int64_t o = s->transposed ? g * s->src_c + c : k, i = s->transposed ? k % s->dst_c : c;
                const int64_t width = s->transposed ? s->dst_c : s->src_c, ch = g * s->src_c + c;
                const double v =
                    (double)job->src[((n * s->src_size[0] + at[0]) * s->src_size[1] + at[1]) * channels + ch];
                sum += v * (double)job->weight[((o * s->kernel[0] + r) * s->kernel[1] + q) * width + i];
            }
        }
    return sum;
}

/* Whether a conv_norm lets result i of channel k through. */
static int is_kept(const conv_norm *norm, int64_t i, int64_t k) {
    double v = ((double)norm->x[i] - (double)norm->mean[k]) * (double)norm->scale[k] + (double)norm->shift[k];
    if (norm->y) v = (double)norm->y[i];
    return !norm->clamps || (v > (double)norm->lo && v < (double)norm->hi);
}

/* The sums of a conv_norm over the results of channel k, each about as far off as its terms are long. */
static void check_sums(const conv_norm *norm, const float *got, int64_t k, int64_t k_all, int64_t pixels,
                       const char *what) {
    double sum = 0, product = 0, size = 0;
    for (int64_t i = k; i < pixels * k_all; i += k_all) {
        const double far = (double)norm->x[i] - (double)norm->mean[k];
        sum += (double)got[i];
        product += (double)got[i] * far;
        size += fabs((double)got[i]) * (1 + fabs(far));
    }
    cr_assert(fabs(norm->sum[k] - sum) <= 1e-6 * size, "%s: sum %g, not %g", what, norm->sum[k], sum);
    cr_assert(fabs(norm->product[k] - product) <= 1e-6 * size, "%s: product %g, not %g", what, norm->product[k],
              product);
}

/* Compares all results, and the statistics, with the plain loops. */
static void check(const conv_job *job, const float *got, const char *what) {
    const conv_shape *s = &job->shape;
    const conv_epilogue *e = job->epilogue;
    const int64_t k_all = s->groups * s->dst_c, pixels = s->n * s->dst_size[0] * s->dst_size[1];
    for (int64_t k = 0; k < k_all; k++) {
        double sum = 0, square = 0;
        for (int64_t p = 0; p < pixels; p++) {
            const int64_t x = p % s->dst_size[1], y = p / s->dst_size[1] % s->dst_size[0];
            double want = plain(job, p / s->dst_size[1] / s->dst_size[0], y, x, k);
            if (e && e->scale) want *= (double)e->scale[k];
            if (e && e->shift) want += (double)e->shift[k];
            if (e && e->residual) want += (double)e->residual[p * k_all + k];
            if (e && e->clamp) want = clamped(want, (double)e->lo, (double)e->hi);
            if (e && e->norm && !is_kept(e->norm, p * k_all + k, k)) want = 0;
            const double far = fabs(want - (double)got[p * k_all + k]);
            cr_assert(far <= 1e-4 * (1 + fabs(want)), "%s: pixel %lld channel %lld: %g, not %g", what, (long long)p,
                      (long long)k, (double)got[p * k_all + k], want);
            sum += (double)got[p * k_all + k];
        }
        if (e && e->norm) check_sums(e->norm, got, k, k_all, pixels, what);
        if (!e || !e->mean) continue;
        for (int64_t p = 0; p < pixels; p++)
            square += ((double)got[p * k_all + k] - sum / (double)pixels) *
                      ((double)got[p * k_all + k] - sum / (double)pixels);
        cr_assert(fabs(e->mean[k] - sum / (double)pixels) <= 1e-6 * (1 + fabs(sum / (double)pixels)), "%s: mean", what);
        cr_assert(fabs(e->var[k] - square / (double)pixels) <= 1e-5 * (square / (double)pixels) + 1e-9,
                  "%s: variance %g, not %g", what, e->var[k], square / (double)pixels);
    }
}

/* Parts of an epilogue; the last two are a norm's. */
enum { SCALE = 1, SHIFT = 2, RESIDUAL = 4, STATS = 8, CLAMP = 16, NORM = 32, CLAMPS = 64, GIVEN = 128 };

static void run_shape(const shape *t, uint32_t parts, uint32_t n_workers) {
    const cvr_threadpool pool = {.struct_size = sizeof pool, .n_workers = n_workers, .run = run_tasks};
    const int64_t out = t->transposed ? (t->size - 1) * t->stride - 2 * t->padding + t->kernel
                                      : (t->size + 2 * t->padding - t->kernel) / t->stride + 1;
    conv_job job = {.epilogue = NULL};
    conv_shape *s = &job.shape;
    *s = (conv_shape){.n = t->n, .groups = t->groups, .src_c = t->c / t->groups, .dst_c = t->k / t->groups};
    s->transposed = t->transposed;
    for (int i = 0; i < 2; i++) {
        s->src_size[i] = t->size;
        s->dst_size[i] = out;
        s->kernel[i] = t->kernel;
        s->stride[i] = t->stride;
        s->padding[i] = t->padding;
        s->dilation[i] = 1;
        s->phases[i] = t->transposed ? cpu_min(t->stride, out) : 1;
    }
    float *src = numbers(t->n * t->size * t->size * t->c, 1, 0), *bias = numbers(t->k, 3, 100);
    float *weight = numbers(t->c * t->k / t->groups * t->kernel * t->kernel, 2, 0);
    float *scale = numbers(t->k, 4, 1), *shift = numbers(t->k, 5, 0);
    float *residual = numbers(t->n * out * out * t->k, 6, 0), *dst = numbers(t->n * out * out * t->k, 7, NAN);
    float *x = numbers(t->n * out * out * t->k, 9, 3), *y = numbers(t->n * out * out * t->k, 10, 1);
    float *mean = numbers(t->k, 11, 3);
    double *stats = malloc((size_t)t->k * 2 * sizeof *stats);
    const conv_norm norm = {.x = x,
                            .y = parts & GIVEN ? y : NULL,
                            .mean = mean,
                            .scale = scale,
                            .shift = shift,
                            .sum = stats,
                            .product = stats + t->k,
                            .clamps = (parts & CLAMPS) != 0,
                            .hi = 0.75f};
    const conv_epilogue epilogue = {.scale = parts & SCALE ? scale : NULL,
                                    .shift = parts & SHIFT ? shift : NULL,
                                    .residual = parts & RESIDUAL ? residual : NULL,
                                    .mean = parts & STATS ? stats : NULL,
                                    .var = stats + t->k,
                                    .norm = parts & NORM ? &norm : NULL,
                                    .clamp = (parts & CLAMP) != 0,
                                    .lo = -0.5f,
                                    .hi = 90};
    job.epilogue = parts ? &epilogue : NULL;
    job.src = src;
    job.weight = weight;
    job.bias = bias;
    job.dst = dst;
    conv_job_plan(&job);
    const uint64_t bytes = conv_job_workspace(&job, n_workers);
    float *workspace = numbers((int64_t)(bytes / sizeof(float)), 8, NAN);
    conv_job_run(&job, &pool, workspace, NULL);
    char what[100];
    (void)snprintf(what, sizeof what, "shape %d, parts %u, %u workers", (int)(t - shapes), parts, n_workers);
    check(&job, dst, what);
    free(src);
    free(bias);
    free(weight);
    free(scale);
    free(shift);
    free(residual);
    free(dst);
    free(x);
    free(y);
    free(mean);
    free(stats);
    free(workspace);
}

/* Depthwise kernels take scale, shift and clamp alone; the ops' `supports` refuses the rest. */
static uint32_t parts_of(const shape *t) {
    return t->groups == t->c ? SCALE | SHIFT | CLAMP : NORM - 1;
}

Test(conv_fused, every_combination) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (uint32_t parts = 0; parts < NORM; parts++)
            if ((parts & parts_of(&shapes[i])) == parts) run_shape(&shapes[i], parts, 1 + parts % 3);
}

Test(conv_fused, norms) {
    static const uint32_t parts[] = {0, CLAMPS, CLAMPS | GIVEN};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (uint32_t k = 0; k < 3 && shapes[i].groups != shapes[i].c; k++)
            for (uint32_t residual = 0; residual <= RESIDUAL; residual += RESIDUAL)
                run_shape(&shapes[i], NORM | residual | parts[k], 1 + k);
}
