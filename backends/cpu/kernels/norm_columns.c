/* Sums over pixels for each channel (see norm_columns.h). */
#include "norm_columns.h"
#include "cpu_stream.h"

#define WIDE 64 /* columns that few channels are widened to, at least */

columns columns_of(int64_t segments, int64_t rows, int64_t channels) {
    columns c = {.segments = segments, .rows = rows, .channels = channels, .repeat = 1};
    if (channels > 0 && channels < WIDE) c.repeat = cpu_max(1, cpu_min(cpu_ceil_div(WIDE, channels), rows));
    c.width = c.repeat * channels;
    const int64_t tall = cpu_max(CPU_SPAN / cpu_max(c.width, 1), 2 * COLUMN_GROUP) * c.repeat;
    c.block = cpu_max(cpu_min(tall, rows), 1);
    c.blocks = cpu_ceil_div(rows, c.block);
    c.chunks = cpu_ceil_div(c.width, COLUMN_CHUNK);
    return c;
}

uint64_t columns_workspace(const columns *c) {
    return (uint64_t)(c->segments * c->blocks * c->width) * 2 * sizeof(double);
}

/* One block's part of one chunk of columns: `rows` full rows of `width`, then `tail` elements of one more. */
typedef struct tile {
    int64_t at, stride, rows, n, tail; /* n: columns; tail: how many of them the last, short row has */
} tile;

typedef struct columns_job {
    const columns *c;
    const void *x;
    int low;
    columns_row_fn row;
    const void *row_ctx;
    const float *mean;
    double *partial;
    columns_fn fn;
    void *ctx;
} columns_job;

static tile tile_of(const columns *c, int64_t segment, int64_t block, int64_t chunk) {
    const int64_t first = block * c->block, rows = cpu_min(c->block, c->rows - first);
    const int64_t column = chunk * COLUMN_CHUNK, rest = rows % c->repeat * c->channels;
    tile t = {.at = (segment * c->rows + first) * c->channels + column, .stride = c->width};
    t.rows = rows / c->repeat;
    t.n = cpu_min(COLUMN_CHUNK, c->width - column);
    t.tail = cpu_max(0, cpu_min(rest - column, t.n));
    return t;
}

/* sum += x over rows of n */
static void add_rows(const float *x, int64_t rows, int64_t stride, int64_t n, float *restrict sum) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        const float *x0 = x + r * stride, *x1 = x0 + stride, *x2 = x1 + stride, *x3 = x2 + stride;
        for (int64_t k = 0; k < n; k++) sum[k] += (x0[k] + x1[k]) + (x2[k] + x3[k]);
    }
    for (; r < rows; r++)
        for (int64_t k = 0; k < n; k++) sum[k] += x[r * stride + k];
}

/* sum += (x - mean)^2 */
static void add_squares(const float *x, int64_t rows, int64_t stride, int64_t n, const float *restrict mean,
                        float *restrict sum) {
    int64_t r = 0;
    for (; r + 2 <= rows; r += 2) {
        const float *x0 = x + r * stride, *x1 = x0 + stride;
        for (int64_t k = 0; k < n; k++) {
            const float d0 = x0[k] - mean[k], d1 = x1[k] - mean[k];
            sum[k] += d0 * d0 + d1 * d1;
        }
    }
    for (; r < rows; r++)
        for (int64_t k = 0; k < n; k++) sum[k] += (x[r * stride + k] - mean[k]) * (x[r * stride + k] - mean[k]);
}

/* The same two of bf16, which is widened on its way: the sums are those of f32 rows with these values. */
static void add_rows_low(const uint16_t *x, int64_t rows, int64_t stride, int64_t n, float *restrict sum) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        const uint16_t *x0 = x + r * stride, *x1 = x0 + stride, *x2 = x1 + stride, *x3 = x2 + stride;
        for (int64_t k = 0; k < n; k++)
            sum[k] +=
                (cvr_f32_of_bf16(x0[k]) + cvr_f32_of_bf16(x1[k])) + (cvr_f32_of_bf16(x2[k]) + cvr_f32_of_bf16(x3[k]));
    }
    for (; r < rows; r++)
        for (int64_t k = 0; k < n; k++) sum[k] += cvr_f32_of_bf16(x[r * stride + k]);
}

static void add_squares_low(const uint16_t *x, int64_t rows, int64_t stride, int64_t n, const float *restrict mean,
                            float *restrict sum) {
    int64_t r = 0;
    for (; r + 2 <= rows; r += 2) {
        const uint16_t *x0 = x + r * stride, *x1 = x0 + stride;
        for (int64_t k = 0; k < n; k++) {
            const float d0 = cvr_f32_of_bf16(x0[k]) - mean[k], d1 = cvr_f32_of_bf16(x1[k]) - mean[k];
            sum[k] += d0 * d0 + d1 * d1;
        }
    }
    for (; r < rows; r++)
        for (int64_t k = 0; k < n; k++) {
            const float d = cvr_f32_of_bf16(x[r * stride + k]) - mean[k];
            sum[k] += d * d;
        }
}

/* sum += g, product += g * (x - mean), of one row */
static void add_products(const float *x, const float *g, int64_t n, const float *restrict mean, float *restrict sum,
                         float *restrict product) {
    for (int64_t k = 0; k < n; k++) {
        sum[k] += g[k];
        product[k] += g[k] * (x[k] - mean[k]);
    }
}

static void spill(double *restrict total, float *restrict part, int64_t n) {
    for (int64_t k = 0; k < n; k++) {
        total[k] += (double)part[k];
        part[k] = 0;
    }
}

/* Elements that column k of this tile has. */
static int64_t column_count(const tile *t, int64_t k) {
    return t->rows + (k < t->tail);
}

/* sum += x, or (x - mean)^2 where there are means, over rows from element `at` on */
static void add_group(const columns_job *job, int64_t at, int64_t rows, int64_t stride, int64_t n, const float *mean,
                      float *sum) {
    const uint16_t *low = (const uint16_t *)job->x + at;
    const float *x = (const float *)job->x + at;
    if (job->low && mean)
        add_squares_low(low, rows, stride, n, mean, sum);
    else if (job->low)
        add_rows_low(low, rows, stride, n, sum);
    else if (mean)
        add_squares(x, rows, stride, n, mean, sum);
    else
        add_rows(x, rows, stride, n, sum);
}

/* total = sums over a tile, as above */
static void add_tile(const columns_job *job, const tile *t, const float *mean, double *total) {
    float part[COLUMN_CHUNK] = {0};
    memset(total, 0, (size_t)t->n * sizeof *total);
    for (int64_t r = 0; r < t->rows; r += COLUMN_GROUP) {
        add_group(job, t->at + r * t->stride, cpu_min(COLUMN_GROUP, t->rows - r), t->stride, t->n, mean, part);
        spill(total, part, t->n);
    }
    add_group(job, t->at + t->rows * t->stride, t->tail > 0, t->stride, t->tail, mean, part);
    spill(total, part, t->n);
}

static int64_t tile_tasks(const columns *c) {
    return c->segments * c->blocks * c->chunks;
}

/* partial[0]: sum of x; partial[1]: sum of (x - mean of this tile's column)^2 */
static void moments_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const columns_job *job = ctx;
    const columns *c = job->c;
    const int64_t chunk = (int64_t)task % c->chunks, block = (int64_t)task / c->chunks;
    const tile t = tile_of(c, block / c->blocks, block % c->blocks, chunk);
    double *sum = job->partial + block * 2 * c->width + chunk * COLUMN_CHUNK, *square = sum + c->width;
    float mean[COLUMN_CHUNK] = {0};
    add_tile(job, &t, NULL, sum);
    for (int64_t k = 0; k < t.n; k++) mean[k] = (float)(sum[k] / (double)cpu_max(1, column_count(&t, k)));
    add_tile(job, &t, mean, square);
}

/* Joins a part of n elements to (count, mean, m2): Chan, Golub, LeVeque, 1979. */
static void join(double *count, double *mean, double *m2, double n, double sum, double square) {
    if (n == 0) return;
    const double d = sum / n - *mean, total = *count + n;
    *m2 += square + d * d * *count * n / total;
    *mean += d * n / total;
    *count = total;
}

/* One channel of one segment, over its blocks and, within them, its repeats. */
static void join_channel(const columns *c, const double *partial, int64_t segment, int64_t channel, double *mean,
                         double *var) {
    double count = 0, m2 = 0;
    *mean = 0;
    for (int64_t block = 0; block < c->blocks; block++) {
        const double *sum = partial + (segment * c->blocks + block) * 2 * c->width, *square = sum + c->width;
        for (int64_t k = channel; k < c->width; k += c->channels) {
            const tile t = tile_of(c, segment, block, k / COLUMN_CHUNK);
            join(&count, mean, &m2, (double)column_count(&t, k % COLUMN_CHUNK), sum[k], square[k]);
        }
    }
    *var = count > 0 ? m2 / count : 0;
}

void columns_moments(const columns *c, const cvr_threadpool *pool, const cvr_tensor *x, double *partial, double *mean,
                     double *var) {
    columns_job job = {.c = c, .x = x->data, .low = x->dtype == CVR_BF16, .partial = partial};
    cpu_run(pool, tile_tasks(c), moments_task, &job);
    for (int64_t s = 0; s < c->segments; s++)
        for (int64_t k = 0; k < c->channels; k++)
            join_channel(c, partial, s, k, &mean[s * c->channels + k], &var[s * c->channels + k]);
}

void columns_plain_row(const void *ctx, int64_t at, int64_t column, int64_t n, columns_row *out) {
    const columns_plain *p = ctx;
    (void)column;
    out->x = cpu_row_read(p->x, p->bf16, at, n, out->x_buffer);
    out->grad = cpu_row_read(p->grad, p->bf16, at, n, out->grad_buffer);
}

/* partial[0]: sum of grad; partial[1]: sum of grad * (x - mean) */
static void products_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const columns_job *job = ctx;
    const columns *c = job->c;
    const int64_t chunk = (int64_t)task % c->chunks, block = (int64_t)task / c->chunks;
    const int64_t segment = block / c->blocks;
    const int64_t column = chunk * COLUMN_CHUNK;
    const tile t = tile_of(c, segment, block % c->blocks, chunk);
    double *sum = job->partial + block * 2 * c->width + column, *product = sum + c->width;
    float parts[2][COLUMN_CHUNK] = {{0}}, mean[COLUMN_CHUNK] = {0};
    columns_row row;
    memset(sum, 0, (size_t)t.n * sizeof *sum);
    memset(product, 0, (size_t)t.n * sizeof *product);
    for (int64_t k = 0; k < t.n; k++) mean[k] = job->mean[segment * c->channels + (column + k) % c->channels];
    for (int64_t r = 0; r < t.rows + (t.tail > 0); r++) {
        const int64_t n = r < t.rows ? t.n : t.tail;
        job->row(job->row_ctx, t.at + r * t.stride, column, n, &row);
        add_products(row.x, row.grad, n, mean, parts[0], parts[1]);
        if (r % COLUMN_GROUP != COLUMN_GROUP - 1 && r + 1 < t.rows + (t.tail > 0)) continue;
        spill(sum, parts[0], t.n);
        spill(product, parts[1], t.n);
    }
}

void columns_products(const columns *c, const cvr_threadpool *pool, columns_row_fn row, const void *ctx,
                      const float *mean, double *partial, double *sum_grad, double *sum_product) {
    columns_job job = {.c = c, .row = row, .row_ctx = ctx, .mean = mean, .partial = partial};
    cpu_run(pool, tile_tasks(c), products_task, &job);
    for (int64_t s = 0; s < c->segments; s++)
        for (int64_t channel = 0; channel < c->channels; channel++) {
            double sum[2] = {0, 0};
            for (int64_t block = 0; block < c->blocks; block++) {
                const double *part = partial + (s * c->blocks + block) * 2 * c->width;
                for (int64_t k = channel; k < c->width; k += c->channels) {
                    sum[0] += part[k];
                    sum[1] += part[c->width + k];
                }
            }
            sum_grad[s * c->channels + channel] = sum[0];
            sum_product[s * c->channels + channel] = sum[1];
        }
}

void columns_widen(const columns *c, const float *narrow, int n_tables, float *wide) {
    for (int64_t i = 0; i < n_tables * c->segments; i++)
        for (int64_t k = 0; k < c->width; k++) wide[i * c->width + k] = narrow[i * c->channels + k % c->channels];
}

static void apply_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const columns_job *job = ctx;
    const columns *c = job->c;
    const int64_t segment = (int64_t)task / c->blocks, first = (int64_t)task % c->blocks * c->block;
    const int64_t n = cpu_min(c->block, c->rows - first) * c->channels;
    const int64_t at = (segment * c->rows + first) * c->channels;
    for (int64_t i = 0; i < n; i += c->width) job->fn(job->ctx, segment, at + i, cpu_min(c->width, n - i));
    cpu_stream_end();
}

void columns_apply(const columns *c, const cvr_threadpool *pool, columns_fn fn, void *ctx) {
    columns_job job = {.c = c, .fn = fn, .ctx = ctx};
    cpu_run(pool, c->segments * c->blocks, apply_task, &job);
}
