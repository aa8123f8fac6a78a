/*
 * Convolution backward-weight by products of bf16: dweight[o,r,s,c] = sum over pixels of grad[pixel,o] * x[pixel under
 * tap (r,s),c]. k are the pixels of an output row, and the tiles want pairs of them. The gradient is packed in pairs,
 * as B; the source is transposed into a plane a channel, as A, where a row's pixels lie end to end: a tap is an offset
 * into it, odd or even. With a stride, a row's columns are sorted by their remainder. Padding is zeros in the planes.
 *
 * Rows of the product are (tap, input channel), so that three channels fill tiles too; its columns are output channels.
 * Pixels are cut into chunks by shape; each has an f32 partial sum, and chunks are added in order, in double.
 */
#include "conv2d.h"
#include "cpu_operand.h"

#define TASKS_WANTED 16
#define CHUNKS_MAX 32
#define CHUNK_PIXELS 256
#define PARTIAL_FLOATS 1572864              /* of all chunks together, about */
#define PART_CHANNELS 256                   /* of a task, at most */
#define BLOCK_ELEMENTS (229376 / CPU_PARTS) /* of both operands, summed over before c is touched again */
#define BLOCK_UNITS 128
#define FLAT_UNIT 128  /* pixels */
#define REDUCE_ROWS 16 /* of a task of the final sum: a cache line of the weight */
#define REDUCE_COLUMNS 64

/* A unit is a row of output pixels, or FLAT_UNIT pixels where the shape is flat. A band is some units of one image. */
typedef struct weight_job {
    const conv_weight_args *args;
    float *partial;
    uint16_t *scratch;
    int64_t images, height; /* units are (images, height) */
    int64_t bands, band;    /* of an image; units of the largest */
    int64_t block;          /* bands of a block */
    int64_t chunks, m_parts, n_parts;
    int64_t direct; /* a single chunk: c is a worker's own, and goes to the weight from there */
    int64_t taps, group_floats, partial_stride;
    int64_t depth;             /* k of a unit: pixels, even */
    int64_t residues, columns; /* of the planes' rows: remainders by the stride, pixels of one */
    int64_t row_unit, rows;    /* source rows per plane row; plane rows of a band */
    int64_t band_step, plane;  /* elements of a band of a plane, of a whole plane */
    int64_t grad_step;
    int64_t planes_low, pairs_low, scratch_elements; /* from high to low parts; of a worker */
} weight_job;

static void plan_parts(weight_job *job, int64_t pixels) {
    const conv_shape *s = job->args->shape;
    job->m_parts = cpu_ceil_div(s->src_c, PART_CHANNELS);
    job->n_parts = cpu_ceil_div(s->dst_c, PART_CHANNELS);
    const int64_t floats = s->groups * job->group_floats;
    const int64_t most = cpu_min(cpu_min(CHUNKS_MAX, job->images * job->height),
                                 cpu_min(pixels / CHUNK_PIXELS, PARTIAL_FLOATS / cpu_max(1, floats)));
    job->chunks = 1;
    while (job->chunks * 2 <= most && job->m_parts * job->n_parts * s->groups * job->chunks < TASKS_WANTED)
        job->chunks *= 2;
    while (job->m_parts * job->n_parts * s->groups * job->chunks < TASKS_WANTED) {
        const int64_t m = s->src_c / job->m_parts, n = s->dst_c / job->n_parts;
        if (n >= m && n >= 2 * cpu_micro.columns)
            job->n_parts *= 2;
        else if (m * job->taps >= 4 * cpu_micro.rows && m >= 2)
            job->m_parts *= 2;
        else
            break;
    }
}

/* A distance between planes that does not put a tile's rows into one set of the first-level cache. */
static int64_t odd_lines(int64_t elements) {
    const int64_t lines = cpu_ceil_div(elements, 32);
    return (lines | 1) * 32;
}

static void weight_plan(weight_job *job, const conv_weight_args *args) {
    const conv_shape *s = args->shape;
    const int64_t pixels = s->n * s->dst_size[0] * s->dst_size[1];
    memset(job, 0, sizeof *job);
    job->args = args;
    job->images = s->flat ? 1 : s->n;
    job->height = s->flat ? cpu_ceil_div(pixels, FLAT_UNIT) : s->dst_size[0];
    job->taps = s->kernel[0] * s->kernel[1];
    job->group_floats = job->taps * s->src_c * s->dst_c;
    job->partial_stride = cpu_line_up(s->groups * job->group_floats);
    plan_parts(job, pixels);
    job->depth = cpu_depth(s->flat ? FLAT_UNIT : s->dst_size[1]);
    job->residues = s->kernel[1] > 1 ? s->stride[1] : 1;
    job->columns = job->depth + (s->kernel[1] - 1) * s->dilation[1] / job->residues;
    if (s->kernel[1] == 1) job->columns = job->depth;
    job->row_unit = s->kernel[0] > 1 ? 1 : s->stride[0];
    const int64_t step = s->stride[0] / job->row_unit, more = (s->kernel[0] - 1) * s->dilation[0] / job->row_unit;
    const int64_t m = cpu_ceil_div(s->src_c, job->m_parts);
    const int64_t n = (cpu_ceil_div(cpu_panels(s->dst_c), job->n_parts)) * cpu_micro.columns;
    const int64_t row = job->residues * job->columns * m, unit = step * row + job->depth * n;
    /* Units of a band, then bands of a block. */
    job->band =
        cpu_max(1, cpu_min(cpu_min(BLOCK_UNITS, job->height), (BLOCK_ELEMENTS - more * row) / cpu_max(1, unit)));
    job->bands = cpu_max(cpu_ceil_div(job->height, job->band), cpu_ceil_div(job->chunks, cpu_max(1, job->images)));
    job->band = cpu_max(1, cpu_ceil_div(job->height, job->bands));
    job->rows = (job->band - 1) * step + more + 1;
    job->band_step = job->rows * job->residues * job->columns;
    const int64_t band = job->band_step * m + job->band * job->depth * n;
    job->block = cpu_max(1, cpu_min(BLOCK_UNITS / job->band, BLOCK_ELEMENTS / cpu_max(1, band)));
    job->block = cpu_min(job->block, cpu_max(1, cpu_ceil_div(job->images * job->bands, job->chunks)));
    job->direct = job->chunks == 1;
    if (job->direct) job->partial_stride = cpu_line_up(job->taps * m * n);
    job->plane = odd_lines(job->block * job->band_step + CPU_PAIR);
    job->grad_step = job->depth * cpu_micro.columns;
    job->planes_low = m * job->plane;
    job->pairs_low = job->block * job->band * job->depth * n;
    job->scratch_elements = CPU_PARTS * (job->planes_low + job->pairs_low);
}

/* A block of a task. */
typedef struct weight_block {
    const weight_job *job;
    int64_t group, first, end; /* bands of all images */
    int64_t m0, m1, n0, n1;
    uint16_t *planes, *pairs; /* (channels, bands, rows, residues, columns); (panels, units, depth / 2, columns, 2) */
    float *c;                 /* the task's first row and column */
    int64_t c_step, c_tap;    /* floats of a row, of a tap */
    int64_t add;
} weight_block;

/* The units of a band: from *y on; its image. */
static int64_t band_units(const weight_job *job, int64_t band, int64_t *image, int64_t *y) {
    *image = band / job->bands;
    *y = cpu_part(job->height, job->bands, band % job->bands);
    return cpu_part(job->height, job->bands, band % job->bands + 1) - *y;
}

/* One row of all planes: `n` pixels that are `step` pixels apart, zeros where they lie outside of [0, size). */
static void copy_plane_row(const weight_block *b, uint16_t *to, const cpu_element *row, int64_t x, int64_t step,
                           int64_t size) {
    static const cpu_element nothing[PART_CHANNELS];
    const conv_shape *s = b->job->args->shape;
    const int64_t pixel = s->groups * s->src_c;
    for (int64_t t0 = 0; t0 < b->job->columns; t0 += CPU_TRANSPOSE_ROWS) {
        const cpu_element *rows[CPU_TRANSPOSE_ROWS];
        const int64_t n = cpu_min(CPU_TRANSPOSE_ROWS, b->job->columns - t0);
        for (int64_t t = 0; t < n; t++) {
            const int64_t at = x + (t0 + t) * step;
            rows[t] = at < 0 || at >= size ? nothing : row + at * pixel;
        }
        operand_transpose(to + t0, b->job->planes_low, b->job->plane, rows, n, b->m1 - b->m0);
    }
}

static void copy_source(const weight_block *b, int64_t band, uint16_t *to) {
    const weight_job *job = b->job;
    const conv_shape *s = job->args->shape;
    const int64_t pixel = s->groups * s->src_c, step = s->stride[0] / job->row_unit;
    const cpu_element *src = job->args->src + b->group * s->src_c + b->m0;
    int64_t image, y0;
    const int64_t units = band_units(job, band, &image, &y0);
    if (s->flat) {
        for (int64_t u = 0; u < units; u++)
            copy_plane_row(b, to + u * job->columns, src, (y0 + u) * FLAT_UNIT, 1, s->n);
        return;
    }
    const int64_t rows = (units - 1) * step + (s->kernel[0] - 1) * s->dilation[0] / job->row_unit + 1;
    for (int64_t i = 0; i < rows; i++) {
        const int64_t y = y0 * s->stride[0] - s->padding[0] + i * job->row_unit;
        const int inside = y >= 0 && y < s->src_size[0];
        const cpu_element *row = src + (inside ? (image * s->src_size[0] + y) * s->src_size[1] * pixel : 0);
        for (int64_t q = 0; q < job->residues; q++)
            copy_plane_row(b, to + (i * job->residues + q) * job->columns, row, q - s->padding[1], s->stride[1],
                           inside ? s->src_size[1] : 0);
    }
}

/* Pairs of the gradient's rows; zeros past a row's last pixel. */
static void copy_grad(const weight_block *b, int64_t band, int64_t at, int64_t all_units) {
    const weight_job *job = b->job;
    const conv_shape *s = job->args->shape;
    const int64_t pixel = s->groups * s->dst_c, width = s->flat ? FLAT_UNIT : s->dst_size[1];
    int64_t image, y0;
    const int64_t units = band_units(job, band, &image, &y0);
    for (int64_t n = b->n0; n < b->n1; n += cpu_micro.columns) {
        uint16_t *to = b->pairs + ((n - b->n0) / cpu_micro.columns * all_units + at) * job->grad_step;
        for (int64_t u = 0; u < units; u++, to += job->grad_step) {
            const int64_t first = (image * job->height + y0 + u) * width;
            const int64_t k = s->flat ? cpu_min(width, s->n - first) : width;
            operand_pack(to, job->pairs_low, job->args->grad + first * pixel + b->group * s->dst_c + n, pixel, k,
                         cpu_min(cpu_micro.columns, b->n1 - n), 0);
            const int64_t packed = cpu_depth(k) * cpu_micro.columns;
            operand_zero(to + packed, job->pairs_low, job->grad_step - packed);
        }
    }
}

/* Every tile of (tap, channel) rows, for each panel of columns. */
static void block_tiles(const weight_block *b, const cpu_step *steps, int64_t units) {
    const weight_job *job = b->job;
    const conv_shape *s = job->args->shape;
    const int64_t m = b->m1 - b->m0, rows = job->taps * m, tiles = cpu_tiles(rows);
    int64_t a_rows[CPU_TILE_ROWS_MAX], c_rows[CPU_TILE_ROWS_MAX];
    cpu_tile t = {.a = b->planes,
                  .a_rows = a_rows,
                  .c_rows = c_rows,
                  .steps = steps,
                  .n_steps = units * CPU_PRODUCTS,
                  .a_k = 1,
                  .b_k = cpu_micro.columns,
                  .add = b->add,
                  .c_float = 1};
    for (int64_t n = b->n0; n < b->n1; n += cpu_micro.columns) {
        t.b = b->pairs + (n - b->n0) / cpu_micro.columns * units * job->grad_step;
        t.c = b->c + n - b->n0;
        t.n = cpu_min(cpu_micro.columns, b->n1 - n);
        for (int64_t tile = 0; tile < tiles; tile++) {
            const int64_t i0 = cpu_part(rows, tiles, tile);
            t.m = cpu_part(rows, tiles, tile + 1) - i0;
            for (int64_t i = 0; i < t.m; i++) {
                const int64_t tap = (i0 + i) / m, c = (i0 + i) % m;
                const int64_t r = tap / s->kernel[1] * s->dilation[0] / job->row_unit;
                const int64_t x = tap % s->kernel[1] * s->dilation[1];
                a_rows[i] = c * job->plane + (r * job->residues + x % job->residues) * job->columns + x / job->residues;
                c_rows[i] = tap * b->c_tap + c * b->c_step;
            }
            cpu_micro.by_row(&t);
        }
    }
}

static void run_block(const weight_block *b) {
    const weight_job *job = b->job;
    const conv_shape *s = job->args->shape;
    const int64_t step = s->flat ? 1 : s->stride[0] / job->row_unit;
    cpu_step steps[BLOCK_UNITS * CPU_PRODUCTS];
    int64_t units = 0, image, y, at = 0;
    for (int64_t band = b->first; band < b->end; band++) {
        const int64_t here = band_units(job, band, &image, &y);
        copy_source(b, band, b->planes + (band - b->first) * job->band_step);
        for (int64_t u = 0; u < here; u++, units++) {
            const cpu_step row = {(band - b->first) * job->band_step + u * step * job->residues * job->columns,
                                  units * job->grad_step, job->depth};
            (void)cpu_product(steps + units * CPU_PRODUCTS, row, job->planes_low, job->pairs_low);
        }
    }
    for (int64_t band = b->first; band < b->end; band++) {
        copy_grad(b, band, at, units);
        at += band_units(job, band, &image, &y);
    }
    block_tiles(b, steps, units);
}

/* dweight (groups, dst_c, taps * src_c) of c (taps, channels, dst_c of the task), a cache line at a time. */
static void store_direct(const weight_block *b) {
    const weight_job *job = b->job;
    const conv_shape *s = job->args->shape;
    const int64_t m = b->m1 - b->m0, row = job->taps * s->src_c;
    for (int64_t tap = 0; tap < job->taps; tap++)
        for (int64_t i0 = 0; i0 < m; i0 += REDUCE_ROWS) {
            const float *from = b->c + tap * b->c_tap + i0 * b->c_step;
            const int64_t rows = cpu_min(REDUCE_ROWS, m - i0);
            float *to = job->args->dweight + b->group * job->group_floats + b->n0 * row + tap * s->src_c + b->m0 + i0;
            for (int64_t j = 0; j < b->n1 - b->n0; j++, to += row)
                for (int64_t i = 0; i < rows; i++) to[i] = from[i * b->c_step + j];
        }
}

/* Task (chunk, group, part of the input channels, part of the output's). */
static void weight_task(void *ctx, uint64_t task, uint32_t worker) {
    const weight_job *job = ctx;
    const conv_shape *s = job->args->shape;
    int64_t t = (int64_t)task;
    const int64_t n_part = t % job->n_parts, m_part = t / job->n_parts % job->m_parts;
    t /= job->n_parts * job->m_parts;
    const int64_t chunk = t / s->groups, panels = cpu_panels(s->dst_c), bands = job->images * job->bands;
    const int64_t end = cpu_part(bands, job->chunks, chunk + 1);
    weight_block b = {.job = job, .group = t % s->groups};
    b.m0 = cpu_part(s->src_c, job->m_parts, m_part);
    b.m1 = cpu_part(s->src_c, job->m_parts, m_part + 1);
    b.n0 = cpu_part(panels, job->n_parts, n_part) * cpu_micro.columns;
    b.n1 = cpu_min(s->dst_c, cpu_part(panels, job->n_parts, n_part + 1) * cpu_micro.columns);
    b.planes = job->scratch + worker * job->scratch_elements;
    b.pairs = b.planes + CPU_PARTS * job->planes_low;
    b.c_step = job->direct ? b.n1 - b.n0 : s->dst_c;
    b.c_tap = (job->direct ? b.m1 - b.m0 : s->src_c) * b.c_step;
    b.c = job->direct
              ? job->partial + worker * job->partial_stride
              : job->partial + chunk * job->partial_stride + b.group * job->group_floats + b.m0 * b.c_step + b.n0;
    b.first = cpu_part(bands, job->chunks, chunk);
    for (; b.first < end; b.first = b.end) {
        b.end = cpu_min(end, b.first + job->block);
        run_block(&b);
        b.add = 1;
    }
    cpu_tiles_done();
    if (!b.add) memset(b.c, 0, (size_t)(job->direct ? job->partial_stride : 0) * sizeof(float));
    if (job->direct) store_direct(&b);
}

/* dweight (groups, dst_c, taps * src_c) = the sum of the chunks, which are (groups, taps * src_c, dst_c). */
static void reduce_task(void *ctx, uint64_t task, uint32_t worker) {
    const weight_job *job = ctx;
    const conv_shape *s = job->args->shape;
    const int64_t rows = job->taps * s->src_c, tasks = cpu_ceil_div(rows, REDUCE_ROWS);
    const int64_t group = (int64_t)task / tasks, i0 = (int64_t)task % tasks * REDUCE_ROWS;
    const int64_t m = cpu_min(REDUCE_ROWS, rows - i0), at = group * job->group_floats;
    double sum[REDUCE_ROWS][REDUCE_COLUMNS];
    (void)worker;
    for (int64_t j0 = 0; j0 < s->dst_c; j0 += REDUCE_COLUMNS) {
        const int64_t n = cpu_min(REDUCE_COLUMNS, s->dst_c - j0);
        memset(sum, 0, sizeof sum);
        for (int64_t c = 0; c < job->chunks; c++)
            for (int64_t i = 0; i < m; i++) {
                const float *partial = job->partial + c * job->partial_stride + at + (i0 + i) * s->dst_c + j0;
                for (int64_t j = 0; j < n; j++) sum[i][j] += (double)partial[j];
            }
        for (int64_t j = 0; j < n; j++)
            for (int64_t i = 0; i < m; i++) job->args->dweight[at + (j0 + j) * rows + i0 + i] = (float)sum[i][j];
    }
}

uint64_t conv_weight_workspace(const conv_shape *shape, uint32_t n_workers) {
    const conv_weight_args args = {.shape = shape};
    weight_job job;
    weight_plan(&job, &args);
    return (uint64_t)((job.direct ? (int64_t)n_workers : job.chunks) * job.partial_stride) * sizeof(float) +
           (uint64_t)job.scratch_elements * n_workers * sizeof(uint16_t);
}

void conv_weight_run(const conv_weight_args *args, const cvr_threadpool *pool, void *workspace) {
    const conv_shape *s = args->shape;
    weight_job job;
    weight_plan(&job, args);
    job.partial = workspace;
    job.scratch =
        (uint16_t *)(void *)(job.partial + (job.direct ? (int64_t)pool->n_workers : job.chunks) * job.partial_stride);
    pool->run(pool, (uint64_t)(job.chunks * s->groups * job.m_parts * job.n_parts), weight_task, &job);
    if (!job.direct)
        pool->run(pool, (uint64_t)(s->groups * cpu_ceil_div(job.taps * s->src_c, REDUCE_ROWS)), reduce_task, &job);
}
