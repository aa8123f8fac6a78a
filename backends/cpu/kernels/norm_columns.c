/*
 * Sums over pixels for each channel (see norm_columns.h).
 *
 * A block of rows is cut into chunks of COLUMN_CHUNK columns, whose float sums stay in the first-level cache while the
 * rows pass by: four rows at a time, with the columns in the inner loop, which is vectorised. Where there are few
 * channels, several pixels are taken as one row (`repeat`), so that the inner loop has at least WIDE columns; the sums
 * of the pixels of a row are joined at the end. After at most COLUMN_GROUP rows the float sums are added to doubles.
 * Sums of squares are taken around a pivot near the mean, and corrected later: (x - pivot)^2 loses no digits where the
 * mean is large.
 */
#include "norm_columns.h"
#include "cpu_stream.h"

#define WIDE 64                   /* columns that few channels are widened to, at least */
#define BLOCK_SPAN (8 * CPU_SPAN) /* elements of a block, about, where there are ... */
#define BLOCKS_WANTED 64          /* ... so many */

columns columns_of(int64_t segments, int64_t rows, int64_t channels) {
    columns c = {.segments = segments, .rows = rows, .channels = channels, .repeat = 1};
    if (channels > 0 && channels < WIDE) c.repeat = cpu_max(1, cpu_min(cpu_ceil_div(WIDE, channels), rows));
    c.width = c.repeat * channels;
    const int64_t span = cpu_max(CPU_SPAN, cpu_min(BLOCK_SPAN, rows * channels / BLOCKS_WANTED));
    const int64_t tall = cpu_max(span / cpu_max(c.width, 1), 2 * COLUMN_GROUP) * c.repeat;
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
    int bf16;
    columns_row_fn row;
    const void *row_ctx;
    const float *mean;
    double *partial;
    double *first, *second; /* results, of each channel of each segment */
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

#define PIVOT_ROWS 8
#define PIVOT_FAR 16 /* variances that a pivot's squared distance from the mean may be */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* An element; `bf16`, a constant: bf16, which is widened on its way. */
ALWAYS_INLINE float value_at(const void *x, int bf16, int64_t at) {
    return bf16 ? cvr_f32_of_bf16(((const uint16_t *)x)[at]) : ((const float *)x)[at];
}

/* sum += x - pivot, square += (x - pivot)^2, over rows from element `at` on */
ALWAYS_INLINE void add_rows_of(const void *x, int bf16, int64_t at, int64_t rows, int64_t stride, int64_t n,
                               const float *restrict pivot, float *restrict sum, float *restrict square) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4, at += 4 * stride)
        for (int64_t k = 0; k < n; k++) {
            const float a = value_at(x, bf16, at + k) - pivot[k], b = value_at(x, bf16, at + stride + k) - pivot[k];
            const float c = value_at(x, bf16, at + 2 * stride + k) - pivot[k];
            const float d = value_at(x, bf16, at + 3 * stride + k) - pivot[k];
            sum[k] += (a + b) + (c + d);
            square[k] += (a * a + b * b) + (c * c + d * d);
        }
    for (; r < rows; r++, at += stride)
        for (int64_t k = 0; k < n; k++) {
            const float a = value_at(x, bf16, at + k) - pivot[k];
            sum[k] += a;
            square[k] += a * a;
        }
}

static void add_rows(const columns_job *job, int64_t at, int64_t rows, int64_t stride, int64_t n, const float *pivot,
                     float *sum, float *square) {
    if (job->bf16)
        add_rows_of(job->x, 1, at, rows, stride, n, pivot, sum, square);
    else
        add_rows_of(job->x, 0, at, rows, stride, n, pivot, sum, square);
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

/* sum = of x - pivot, square = of its square, over a tile */
static void add_tile(const columns_job *job, const tile *t, const float *pivot, double *sum, double *square) {
    float sums[COLUMN_CHUNK] = {0}, squares[COLUMN_CHUNK] = {0};
    memset(sum, 0, (size_t)t->n * sizeof *sum);
    memset(square, 0, (size_t)t->n * sizeof *square);
    for (int64_t r = 0; r < t->rows; r += COLUMN_GROUP) {
        add_rows(job, t->at + r * t->stride, cpu_min(COLUMN_GROUP, t->rows - r), t->stride, t->n, pivot, sums, squares);
        spill(sum, sums, t->n);
        spill(square, squares, t->n);
    }
    add_rows(job, t->at + t->rows * t->stride, t->tail > 0, t->stride, t->tail, pivot, sums, squares);
    spill(sum, sums, t->n);
    spill(square, squares, t->n);
}

/* The mean of the tile's first rows: near enough to the tile's own, most of the time, that squares lose no digits. */
static void first_pivot(const columns_job *job, const tile *t, float *pivot) {
    static const float zeros[COLUMN_CHUNK];
    float squares[COLUMN_CHUNK] = {0};
    const int64_t rows = cpu_min(PIVOT_ROWS, t->rows);
    memset(pivot, 0, COLUMN_CHUNK * sizeof *pivot);
    add_rows(job, t->at, rows, t->stride, t->n, zeros, pivot, squares);
    for (int64_t k = 0; k < t->n; k++) pivot[k] = rows > 0 ? pivot[k] / (float)rows : 0;
}

/* partial[0] = sum of x, partial[1] = sum of (x - mean)^2, from those of x - pivot; 0 where a pivot was too far off. */
static int moments_of(const tile *t, const float *pivot, double *sum, double *square) {
    int all_near = 1;
    for (int64_t k = 0; k < t->n; k++) {
        const double n = (double)cpu_max(1, column_count(t, k)), shift = sum[k] * sum[k] / n, m2 = square[k] - shift;
        all_near = all_near && shift <= PIVOT_FAR * m2;
        sum[k] += (double)column_count(t, k) * (double)pivot[k];
        square[k] = m2 < 0 ? 0 : m2;
    }
    return all_near;
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
    float pivot[COLUMN_CHUNK];
    first_pivot(job, &t, pivot);
    add_tile(job, &t, pivot, sum, square);
    if (moments_of(&t, pivot, sum, square)) return;
    for (int64_t k = 0; k < t.n; k++) pivot[k] = (float)(sum[k] / (double)cpu_max(1, column_count(&t, k)));
    add_tile(job, &t, pivot, sum, square);
    (void)moments_of(&t, pivot, sum, square);
}

/* What is left of tiles: sums over blocks, block by block, for the columns of a task at once. */
typedef struct column_sums {
    double first[COLUMN_CHUNK], second[COLUMN_CHUNK], mean[COLUMN_CHUNK];
} column_sums;

/* A column's two partial sums in one block, from `column` on. */
static const double *partial_at(const columns_job *job, int64_t segment, int64_t block, int64_t column) {
    return job->partial + (segment * job->c->blocks + block) * 2 * job->c->width + column;
}

/* first = of the first partial sums, second = of the second ones, over all blocks */
static void sum_blocks(const columns_job *job, int64_t segment, int64_t column, int64_t n, column_sums *s) {
    memset(s->first, 0, (size_t)n * sizeof *s->first);
    memset(s->second, 0, (size_t)n * sizeof *s->second);
    for (int64_t block = 0; block < job->c->blocks; block++) {
        const double *one = partial_at(job, segment, block, column), *two = one + job->c->width;
        for (int64_t k = 0; k < n; k++) {
            s->first[k] += one[k];
            s->second[k] += two[k];
        }
    }
}

/* second += count * (mean - the tile's mean)^2 over all tiles (Chan, Golub, LeVeque, 1979) */
static void add_between(const columns_job *job, int64_t segment, int64_t chunk, int64_t n, column_sums *s) {
    for (int64_t block = 0; block < job->c->blocks; block++) {
        const tile t = tile_of(job->c, segment, block, chunk);
        const double *sum = partial_at(job, segment, block, chunk * COLUMN_CHUNK);
        const double rows = (double)t.rows, inverse = t.rows > 0 ? 1 / rows : 0;
        for (int64_t k = t.tail; k < n; k++) {
            const double off = sum[k] * inverse - s->mean[k];
            s->second[k] += rows * off * off;
        }
        for (int64_t k = 0; k < t.tail; k++) {
            const double off = sum[k] / (rows + 1) - s->mean[k];
            s->second[k] += (rows + 1) * off * off;
        }
    }
}

/* v[channel] += of the columns that are the same channel; they stand in one chunk. */
static void fold(double *v, int64_t n, int64_t channels) {
    for (int64_t k = channels; k < n; k++) v[k % channels] += v[k];
}

/* Where a chunk's channels go, and how many they are. */
static int64_t chunk_channels(const columns *c, int64_t chunk, int64_t *n) {
    *n = cpu_min(COLUMN_CHUNK, c->width - chunk * COLUMN_CHUNK);
    return cpu_min(*n, c->channels - chunk * COLUMN_CHUNK);
}

static void join_moments(void *ctx, uint64_t task, uint32_t worker) {
    const columns_job *job = ctx;
    const columns *c = job->c;
    const int64_t chunk = (int64_t)task % c->chunks, segment = (int64_t)task / c->chunks;
    const int64_t at = segment * c->channels + chunk * COLUMN_CHUNK;
    const double rows = (double)cpu_max(1, c->rows);
    int64_t n;
    const int64_t channels = chunk_channels(c, chunk, &n);
    column_sums s;
    (void)worker;
    sum_blocks(job, segment, chunk * COLUMN_CHUNK, n, &s);
    fold(s.first, n, channels);
    for (int64_t k = 0; k < n; k++) s.mean[k] = s.first[k % channels] / rows;
    add_between(job, segment, chunk, n, &s);
    fold(s.second, n, channels);
    for (int64_t k = 0; k < channels; k++) {
        job->first[at + k] = s.mean[k];
        job->second[at + k] = s.second[k] / rows;
    }
}

static void join_products(void *ctx, uint64_t task, uint32_t worker) {
    const columns_job *job = ctx;
    const columns *c = job->c;
    const int64_t chunk = (int64_t)task % c->chunks, segment = (int64_t)task / c->chunks;
    const int64_t at = segment * c->channels + chunk * COLUMN_CHUNK;
    int64_t n;
    const int64_t channels = chunk_channels(c, chunk, &n);
    column_sums s;
    (void)worker;
    sum_blocks(job, segment, chunk * COLUMN_CHUNK, n, &s);
    fold(s.first, n, channels);
    fold(s.second, n, channels);
    memcpy(job->first + at, s.first, (size_t)channels * sizeof *s.first);
    memcpy(job->second + at, s.second, (size_t)channels * sizeof *s.second);
}

void columns_moments(const columns *c, const cvr_threadpool *pool, const cvr_tensor *x, double *partial, double *mean,
                     double *var) {
    columns_job job = {
        .c = c, .x = x->data, .bf16 = x->dtype == CVR_BF16, .partial = partial, .first = mean, .second = var};
    cpu_run(pool, tile_tasks(c), moments_task, &job);
    cpu_run(pool, c->segments * c->chunks, join_moments, &job);
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
    columns_job job = {
        .c = c, .row = row, .row_ctx = ctx, .mean = mean, .partial = partial, .first = sum_grad, .second = sum_product};
    cpu_run(pool, tile_tasks(c), products_task, &job);
    cpu_run(pool, c->segments * c->chunks, join_products, &job);
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
