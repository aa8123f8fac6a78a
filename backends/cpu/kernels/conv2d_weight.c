/*
 * Convolution backward-weight: dweight[o,r,s,c] = sum over pixels of grad[pixel,o] * x[pixel under tap (r,s),c], on the
 * tiles of gemm.h with the pixels as k. Both operands are read where they lie: each tap's k runs over just those pixels
 * whose source is inside, so padding costs nothing.
 *
 * Rows of c are output channels and its columns input channels; where there are few input channels it is the other way
 * round, or a vector would be nearly empty. With fewer still (a first layer) the taps of a kernel row, whose channels
 * lie end to end, become rows of one product; only then the source is copied, to have zeros beside it.
 *
 * Pixels are cut into chunks by shape; each chunk has a partial sum of its own, and chunks are added in order, in
 * double.
 */
#include "conv2d.h"

#define TASKS_WANTED 32
#define CHUNKS_MAX 32
#define CHUNK_PIXELS 256
#define PARTIAL_FLOATS 1572864 /* of all chunks together, about */
#define PART_CHANNELS 256      /* of a task, at most */
#define BLOCK_FLOATS 81920     /* of both operands, summed over before c is touched again */
#define BLOCK_UNITS 128
#define FLAT_UNIT 32       /* pixels */
#define JOIN_CHANNELS 8    /* kernel rows become one product up to here */
#define REDUCE_FLOATS 4096 /* elements of a task of the final sum */

/* A unit is a row of output pixels, or FLAT_UNIT pixels where the shape is flat. */
typedef struct weight_job {
    const conv_weight_args *args;
    float *partial, *scratch;
    int64_t swapped, joined;
    int64_t units, block; /* of all pixels; of a block */
    int64_t m, n;         /* channels of a group along c's rows and columns; joined: kernel columns * channels */
    int64_t taps;         /* products: kernel rows * columns, or kernel rows where joined */
    int64_t chunks, m_parts, n_parts;
    int64_t group_floats, partial_stride, scratch_floats;
    int64_t padded_row; /* joined: floats of a copied source row */
} weight_job;

/* Cuts until there are enough tasks: chunks where sums are small, parts of c otherwise. */
static void plan_parts(weight_job *job, int64_t pixels) {
    const conv_shape *s = job->args->shape;
    const int64_t floats = s->groups * job->group_floats;
    job->m_parts = cpu_ceil_div(job->m, PART_CHANNELS);
    job->n_parts = cpu_ceil_div(job->n, PART_CHANNELS);
    const int64_t most =
        cpu_min(cpu_min(CHUNKS_MAX, job->units), cpu_min(pixels / CHUNK_PIXELS, PARTIAL_FLOATS / floats));
    job->chunks = 1;
    while (job->chunks * 2 <= most && job->m_parts * job->n_parts * s->groups * job->chunks < TASKS_WANTED)
        job->chunks *= 2;
    while (job->m_parts * job->n_parts * s->groups * job->chunks < TASKS_WANTED) {
        const int64_t m = job->m / job->m_parts, n = job->n / job->n_parts;
        if (n >= m && n >= 2 * cpu_micro.columns)
            job->n_parts *= 2;
        else if (m >= 4 * cpu_micro.rows)
            job->m_parts *= 2;
        else
            break;
    }
}

static void weight_plan(weight_job *job, const conv_weight_args *args) {
    const conv_shape *s = args->shape;
    const int64_t pixels = s->n * s->dst_size[0] * s->dst_size[1];
    memset(job, 0, sizeof *job);
    job->args = args;
    job->units = s->flat ? cpu_ceil_div(pixels, FLAT_UNIT) : s->n * s->dst_size[0];
    job->swapped = s->src_c <= cpu_micro.columns / 2 && s->dst_c > s->src_c;
    job->joined =
        job->swapped && s->src_c <= JOIN_CHANNELS && s->groups == 1 && s->dilation[1] == 1 && s->kernel[1] > 1;
    job->taps = s->kernel[0] * (job->joined ? 1 : s->kernel[1]);
    job->m = job->swapped ? s->src_c * (job->joined ? s->kernel[1] : 1) : s->dst_c;
    job->n = job->swapped ? s->dst_c : s->src_c;
    job->group_floats = job->taps * job->m * job->n;
    plan_parts(job, pixels);
    const int64_t unit_pixels = s->flat ? FLAT_UNIT : s->dst_size[1];
    const int64_t channels = cpu_ceil_div(job->m, job->m_parts) + cpu_ceil_div(job->n, job->n_parts);
    job->padded_row = ((s->dst_size[1] - 1) * s->stride[1] + s->kernel[1]) * s->src_c;
    const int64_t unit_floats =
        job->joined ? s->kernel[0] * job->padded_row + unit_pixels * s->dst_c : unit_pixels * channels;
    job->block = cpu_max(1, cpu_min(BLOCK_UNITS, BLOCK_FLOATS / cpu_max(1, unit_floats)));
    if (job->joined) job->scratch_floats = cpu_line_up(job->block * s->kernel[0] * job->padded_row);
    /* A single chunk in the weight's own order needs no partial sums. */
    if (job->chunks > 1 || job->swapped) job->partial_stride = cpu_line_up(s->groups * job->group_floats);
}

/* A block of a task. */
typedef struct weight_block {
    const weight_job *job;
    int64_t group, first, end; /* units */
    int64_t m0, m1, n0, n1;
    const float *copy; /* joined: (units, kernel rows, padded row) */
    float *c;          /* of the group */
    int64_t add;
} weight_block;

/* The steps of one tap over a block's units: offsets into grad and source, in pixels. */
static int64_t tap_steps(const weight_block *b, int64_t r, int64_t column, cpu_step *steps) {
    const conv_shape *s = b->job->args->shape;
    const int64_t height = s->dst_size[0], width = s->dst_size[1];
    int64_t n = 0;
    if (s->flat) {
        const int64_t first = b->first * FLAT_UNIT, end = cpu_min(b->end * FLAT_UNIT, s->n);
        steps[0] = (cpu_step){first, first, end - first};
        return 1;
    }
    const int64_t x0 = column * s->dilation[1] - s->padding[1];
    const int64_t lo = x0 < 0 ? cpu_ceil_div(-x0, s->stride[1]) : 0;
    const int64_t hi = x0 < s->src_size[1] ? cpu_min(width, cpu_ceil_div(s->src_size[1] - x0, s->stride[1])) : 0;
    for (int64_t u = b->first; u < b->end && lo < hi; u++) {
        const int64_t y = u % height * s->stride[0] - s->padding[0] + r * s->dilation[0];
        if (y < 0 || y >= s->src_size[0]) continue;
        const int64_t row = (u / height * s->src_size[0] + y) * s->src_size[1];
        steps[n++] = (cpu_step){u * width + lo, row + x0 + lo * s->stride[1], hi - lo};
    }
    return n;
}

/* The lines, one of every k, of an operand that begins at `first`: A, or B. */
static int64_t operand_ahead(const cpu_tile *t, int is_b, const float *first, const void **lines) {
    int64_t n = 0;
    for (int64_t s = 0; s < t->n_steps; s++)
        for (int64_t k = 0; k < t->steps[s].k && n < CPU_LINES_AHEAD; k++)
            lines[n++] = first + (is_b ? t->steps[s].b + k * t->b_k : t->steps[s].a + k * t->a_k);
    return n / CPU_AHEAD * CPU_AHEAD;
}

/* What a tile asks for, since pixels are far apart in memory, where the processor does not see what comes next: the
 * first panel, the next tile's A; the last tiles of others, the next panel, which is two lines wide. */
static int64_t lines_ahead(const weight_block *b, const cpu_tile *t, int64_t tile, int64_t n, const void **lines) {
    const int64_t m = b->m1 - b->m0, tiles = cpu_tiles(m), last_channel = b->m0 + cpu_part(m, tiles, tile + 2) - 1;
    if (n == b->n0 && tile + 1 < tiles) return operand_ahead(t, 0, (const float *)t->a + last_channel, lines);
    if (tile + 2 < tiles || n + cpu_micro.columns >= b->n1) return 0;
    return operand_ahead(t, 1, (const float *)t->b + cpu_micro.columns + (tile + 1 < tiles ? CPU_LINE_FLOATS : 0),
                         lines);
}

/* Where a tap's products go, and one tile after another. `t` has operands, steps and their distances. */
static void tap_tiles(const weight_block *b, int64_t tap, int64_t n, const cpu_tile *like) {
    const weight_job *job = b->job;
    const int64_t row = job->swapped ? job->n : job->taps * job->n, tiles = cpu_tiles(b->m1 - b->m0);
    const char *a = like->a;
    const void *lines[CPU_LINES_AHEAD];
    cpu_tile t = *like;
    int64_t c_rows[CPU_TILE_ROWS_MAX];
    for (int64_t i = 0; i < cpu_micro.rows; i++) c_rows[i] = i * row;
    t.c_rows = c_rows;
    t.ahead = lines;
    t.n = cpu_min(cpu_micro.columns, b->n1 - n);
    float *c = b->c + (job->swapped ? tap * job->m * row : tap * job->n) + n;
    for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t m = b->m0 + cpu_part(b->m1 - b->m0, tiles, tile);
        t.m = b->m0 + cpu_part(b->m1 - b->m0, tiles, tile + 1) - m;
        t.n_ahead = lines_ahead(b, like, tile, n, lines);
        t.a = a + m * cpu_micro.element;
        t.c = c + m * row;
        cpu_micro.by_column(&t);
    }
}

/* All tiles of a block: for each panel of columns every tap, whose sources overlap. */
static void block_tiles(const weight_block *b) {
    const weight_job *job = b->job;
    const conv_shape *s = job->args->shape;
    const int64_t src_c = s->groups * s->src_c, dst_c = s->groups * s->dst_c;
    const float *src = job->args->src + b->group * s->src_c, *grad = job->args->grad + b->group * s->dst_c;
    cpu_step steps[BLOCK_UNITS];
    for (int64_t n = b->n0; n < b->n1; n += cpu_micro.columns)
        for (int64_t tap = 0; tap < job->taps; tap++) {
            cpu_tile t = {.steps = steps, .add = b->add};
            t.n_steps = tap_steps(b, tap / s->kernel[1], tap % s->kernel[1], steps);
            for (int64_t i = 0; i < t.n_steps; i++) {
                const int64_t g = steps[i].a * dst_c, x = steps[i].b * src_c;
                steps[i].a = job->swapped ? x : g;
                steps[i].b = job->swapped ? g : x;
            }
            t.a = job->swapped ? src : grad;
            t.b = (job->swapped ? grad : src) + n;
            t.a_k = job->swapped ? s->stride[1] * src_c : dst_c;
            t.b_k = job->swapped ? dst_c : s->stride[1] * src_c;
            if (t.n_steps > 0 || !t.add) tap_tiles(b, tap, n, &t);
        }
}

/* The source rows of every unit and kernel row with their padding, and their products. */
static void joined_tiles(const weight_block *b, float *copy) {
    const weight_job *job = b->job;
    const conv_shape *s = job->args->shape;
    const int64_t row = job->padded_row, columns = row / s->src_c, rows = s->kernel[0];
    const int64_t left = cpu_min(columns, s->padding[1]), inside = cpu_max(0, cpu_min(columns - left, s->src_size[1]));
    cpu_step steps[BLOCK_UNITS];
    memset(copy, 0, (size_t)((b->end - b->first) * rows * row) * sizeof(float));
    for (int64_t u = b->first; u < b->end; u++)
        for (int64_t r = 0; r < rows; r++) {
            const int64_t y = u % s->dst_size[0] * s->stride[0] - s->padding[0] + r * s->dilation[0];
            if (y < 0 || y >= s->src_size[0]) continue;
            memcpy(copy + ((u - b->first) * rows + r) * row + left * s->src_c,
                   job->args->src + (u / s->dst_size[0] * s->src_size[0] + y) * s->src_size[1] * s->src_c,
                   (size_t)(inside * s->src_c) * sizeof(float));
        }
    for (int64_t n = b->n0; n < b->n1; n += cpu_micro.columns)
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t u = b->first; u < b->end; u++)
                steps[u - b->first] =
                    (cpu_step){((u - b->first) * rows + r) * row, u * s->dst_size[1] * s->dst_c, s->dst_size[1]};
            cpu_tile t = {.a = copy,
                          .b = job->args->grad + n,
                          .steps = steps,
                          .n_steps = b->end - b->first,
                          .a_k = s->stride[1] * s->src_c,
                          .b_k = s->dst_c,
                          .add = b->add};
            tap_tiles(b, r, n, &t);
        }
}

/* Task (chunk, group, part of c's rows, part of its columns). */
static void weight_task(void *ctx, uint64_t task, uint32_t worker) {
    const weight_job *job = ctx;
    const conv_shape *s = job->args->shape;
    int64_t t = (int64_t)task;
    const int64_t n_part = t % job->n_parts, m_part = t / job->n_parts % job->m_parts;
    t /= job->n_parts * job->m_parts;
    const int64_t chunk = t / s->groups, panels = cpu_panels(job->n),
                  end = cpu_part(job->units, job->chunks, chunk + 1);
    weight_block b = {.job = job, .group = t % s->groups};
    b.m0 = cpu_part(job->m, job->m_parts, m_part);
    b.m1 = cpu_part(job->m, job->m_parts, m_part + 1);
    b.n0 = cpu_part(panels, job->n_parts, n_part) * cpu_micro.columns;
    b.n1 = cpu_min(job->n, cpu_part(panels, job->n_parts, n_part + 1) * cpu_micro.columns);
    b.c = job->partial_stride ? job->partial + chunk * job->partial_stride : job->args->dweight;
    b.c += b.group * job->group_floats;
    for (b.first = cpu_part(job->units, job->chunks, chunk); b.first < end; b.first = b.end) {
        b.end = cpu_min(end, b.first + job->block);
        if (job->joined)
            joined_tiles(&b, job->scratch + worker * job->scratch_floats);
        else
            block_tiles(&b);
        b.add = 1;
    }
}

/* dweight = the sum of the chunks; swapped ones are (taps, src_c, dst_c), the weight is (dst_c, taps, src_c). */
static void reduce_task(void *ctx, uint64_t task, uint32_t worker) {
    const weight_job *job = ctx;
    const conv_shape *s = job->args->shape;
    const int64_t floats = s->groups * job->group_floats, row = job->group_floats / s->dst_c;
    const int64_t first = (int64_t)task * REDUCE_FLOATS, end = cpu_min(first + REDUCE_FLOATS, floats);
    double sum[256];
    (void)worker;
    for (int64_t i0 = first; i0 < end; i0 += 256) {
        const int64_t n = cpu_min(256, end - i0);
        for (int64_t i = 0; i < n; i++) sum[i] = 0;
        for (int64_t c = 0; c < job->chunks; c++) {
            const float *partial = job->partial + c * job->partial_stride + i0;
            for (int64_t i = 0; i < n; i++) sum[i] += (double)partial[i];
        }
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = (i0 + i) % job->group_floats, group = i0 + i - at;
            job->args->dweight[job->swapped ? group + at % s->dst_c * row + at / s->dst_c : i0 + i] = (float)sum[i];
        }
    }
}

uint64_t conv_weight_workspace(const conv_shape *shape, uint32_t n_workers) {
    const conv_weight_args args = {.shape = shape};
    weight_job job;
    if (conv_is_depthwise(shape)) return conv_depthwise_weight_workspace(shape);
    if (conv_winograd_pays(shape, 0, 0)) return conv_winograd_weight_workspace(shape, n_workers);
    weight_plan(&job, &args);
    return (uint64_t)(job.chunks * job.partial_stride + job.scratch_floats * n_workers) * sizeof(float);
}

void conv_weight_run(const conv_weight_args *args, const cvr_threadpool *pool, void *workspace) {
    const conv_shape *s = args->shape;
    weight_job job;
    if (conv_is_depthwise(s)) {
        conv_depthwise_weight_run(args, pool, workspace);
        return;
    }
    if (conv_winograd_pays(s, args->bf16, 0)) {
        conv_winograd_weight_run(args, pool, workspace);
        return;
    }
    weight_plan(&job, args);
    job.partial = workspace;
    job.scratch = job.partial + job.chunks * job.partial_stride;
    pool->run(pool, (uint64_t)(job.chunks * s->groups * job.m_parts * job.n_parts), weight_task, &job);
    if (job.partial_stride)
        pool->run(pool, (uint64_t)cpu_ceil_div(s->groups * job.group_floats, REDUCE_FLOATS), reduce_task, &job);
}
