/*
 * Convolution backward-weight by products of bf16: dweight[o,r,s,c] = sum over pixels of grad[pixel,o] * x[pixel under
 * tap (r,s),c]. Rows of the product are output channels, columns input channels, so that results lie as the weight
 * does. k are positions: the output's pixels one after the other, with a gap of zeros after each row and each image, as
 * wide as the taps reach. A tap is then one offset for all positions, whatever row or image they are in, and a tile
 * sums hundreds of them at once. Where the gaps would be more than the pixels (a large dilation), there are none, and
 * every tap has the source prepared for itself.
 *
 * The gradient is transposed, a row a channel. The source is packed in pairs of positions (a weight_pack); from an odd
 * offset on they are other pairs, so it may be packed twice. With a stride, it falls into planes by the remainders of
 * row and column. Taps of a row that have few channels together (the three of a picture) are one tap with the channels
 * of all.
 *
 * Positions are cut into chunks by shape; each has an f32 partial sum, and chunks are added in order, in double.
 */
#include "conv2d.h"
#include "cpu_operand.h"

#define TASKS_WANTED 16
#define CHUNKS_MAX 32
#define CHUNK_PIXELS 256
#define PARTIAL_FLOATS 1572864                  /* of all chunks together, about */
#define PART_CHANNELS (CPU_AMX ? 512 : 256)     /* of a task, at most, */
#define PART_FLOATS (CPU_AMX ? 262144 : 589824) /* and its sums, which every block reads and writes */
#define PART_LEAST 64                           /* channels that sums are not cut below */
#ifndef BLOCK_ELEMENTS                          /* both operands of a block; tests have many small blocks */
#define BLOCK_ELEMENTS ((CPU_AMX ? 524288 : 229376) / CPU_PARTS)
#endif
#define BLOCK_UNITS 128
#define UNIT CPU_TRANSPOSE_ROWS /* positions */
#define JOIN_CHANNELS 32        /* fewer channels are joined */
#define REDUCE_FLOATS 16384     /* of a task of the final sum */
#define REDUCE_SOME 256

/* One axis: tap a of output i is source row i * stride + offset + a * inc, which is row i + shift of the plane of those
 * rows y with y mod stride = residue. */
typedef struct weight_axis {
    int64_t taps, stride, offset, inc, source, points;
    int64_t lo, hi, gap; /* of the shifts; what lies between two rows of positions */
} weight_axis;

/* The source in pairs, for some taps: position (i,j) is source pixel (i * stride + base[0], j * stride + base[1]). */
typedef struct weight_pack {
    int64_t base[2], lo, hi; /* offsets of the taps from a position, all even or all odd */
} weight_pack;

typedef struct weight_tap {
    int64_t pack, offset;
} weight_tap;

typedef struct weight_bf16_job {
    const conv_weight_args *args;
    float *partial;
    weight_tap *taps;
    weight_pack *packs;
    cpu_operand *scratch;
    weight_axis axis[2];
    int64_t joined, channels;              /* 1: a row's taps are one; source channels of a tap */
    int64_t shared;                        /* 1: with gaps, packs are for several taps */
    int64_t n_taps, n_packs, pitch, image; /* positions of a row, of an image */
    int64_t units, block;                  /* of all positions; of a block, at most */
    int64_t chunks, m_parts, n_parts;
    int64_t group_floats, partial_stride;
    int64_t plane, panel; /* elements of a transposed channel, of a panel of pairs */
    int64_t planes_bf16, pairs_bf16;
    int64_t padded_row;                          /* elements of a source row and its padding, where joined */
    int64_t table_at, rows_at, scratch_elements; /* of a worker: pointers to positions, padded rows */
} weight_bf16_job;

static int64_t residue_of(const weight_axis *a, int64_t tap) {
    const int64_t row = a->offset + tap * a->inc;
    return (row % a->stride + a->stride) % a->stride;
}

static int64_t shift_of(const weight_axis *a, int64_t tap) {
    return (a->offset + tap * a->inc - residue_of(a, tap)) / a->stride;
}

static void axis_plan(weight_axis *a, const conv_shape *s, int i, int64_t taps) {
    *a = (weight_axis){.taps = taps,
                       .stride = s->stride[i],
                       .offset = -s->padding[i],
                       .inc = s->dilation[i],
                       .source = s->src_size[i],
                       .points = s->dst_size[i]};
    int more = 0; /* some plane goes on after the last point */
    for (int64_t tap = 0; tap < taps; tap++) {
        a->lo = cpu_min(a->lo, shift_of(a, tap));
        a->hi = cpu_max(a->hi, shift_of(a, tap));
        more |= residue_of(a, tap) + a->points * a->stride < a->source;
    }
    /* Zeros after one row are zeros before the next. */
    a->gap = more ? a->hi - a->lo : cpu_max(a->hi, -a->lo);
}

/* ---- which taps read what ---- */

static void tap_of(const weight_bf16_job *job, int64_t tap, weight_pack *pack) {
    const weight_axis *h = &job->axis[0], *w = &job->axis[1];
    const int64_t a = tap / w->taps, b = tap % w->taps;
    *pack = (weight_pack){.base = {h->offset + a * h->inc, w->offset + b * w->inc}};
    if (!job->shared) return;
    pack->base[0] = residue_of(h, a);
    pack->lo = shift_of(h, a) * job->pitch;
    if (!job->joined) {
        pack->base[1] = residue_of(w, b);
        pack->lo += shift_of(w, b);
    }
    pack->hi = pack->lo;
}

static void list_taps(weight_bf16_job *job) {
    job->n_packs = 0;
    for (int64_t tap = 0; tap < job->n_taps; tap++) {
        weight_pack mine, *p = job->packs, *end = job->packs + job->n_packs;
        tap_of(job, tap, &mine);
        while (p < end && (p->base[0] != mine.base[0] || p->base[1] != mine.base[1] || ((p->lo ^ mine.lo) & 1))) p++;
        if (p == end) {
            *p = mine;
            job->n_packs++;
        }
        p->lo = cpu_min(p->lo, mine.lo);
        p->hi = cpu_max(p->hi, mine.hi);
        job->taps[tap] = (weight_tap){p - job->packs, mine.lo};
    }
}

/* ---- plan ---- */

/* `shared`: with gaps, where they are no more than the pixels. */
static void plan_positions(weight_bf16_job *job, int shared) {
    const conv_shape *s = job->args->shape;
    weight_axis *h = &job->axis[0], *w = &job->axis[1];
    job->joined = s->kernel[1] > 1 && s->src_c < JOIN_CHANNELS && s->groups == 1 && s->dilation[1] == 1;
    job->channels = job->joined ? s->src_c * s->kernel[1] : s->src_c;
    axis_plan(h, s, 0, s->kernel[0]);
    axis_plan(w, s, 1, job->joined ? 1 : s->kernel[1]);
    if (job->joined) w->lo = w->hi = w->gap = 0; /* rows have their padding */
    job->n_taps = h->taps * w->taps;
    job->shared = shared && (h->points + h->gap) * (w->points + w->gap) <= 2 * h->points * w->points;
    if (!job->shared) h->lo = h->hi = h->gap = w->lo = w->hi = w->gap = 0;
    job->pitch = w->points + w->gap;
    job->image = (h->points + h->gap) * job->pitch;
    job->units = cpu_ceil_div(s->n * job->image, UNIT);
}

static void plan_parts(weight_bf16_job *job) {
    const conv_shape *s = job->args->shape;
    const int64_t pixels = s->n * s->dst_size[0] * s->dst_size[1], floats = s->groups * job->group_floats;
    job->m_parts = cpu_ceil_div(s->dst_c, PART_CHANNELS);
    job->n_parts = cpu_ceil_div(job->channels, PART_CHANNELS);
    for (;;) {
        const int64_t m = cpu_ceil_div(s->dst_c, job->m_parts), n = cpu_ceil_div(job->channels, job->n_parts);
        if (m * n * job->n_taps <= PART_FLOATS || cpu_max(m, n) <= PART_LEAST) break;
        *(m >= n ? &job->m_parts : &job->n_parts) *= 2;
    }
    const int64_t most =
        cpu_min(cpu_min(CHUNKS_MAX, job->units), cpu_min(pixels / CHUNK_PIXELS, PARTIAL_FLOATS / cpu_max(1, floats)));
    job->chunks = 1;
    while (job->chunks * 2 <= most && job->m_parts * job->n_parts * s->groups * job->chunks < TASKS_WANTED)
        job->chunks *= 2;
    while (job->m_parts * job->n_parts * s->groups * job->chunks < TASKS_WANTED) {
        const int64_t m = s->dst_c / job->m_parts, n = job->channels / job->n_parts;
        if (cpu_max(m, n) < 2 * cpu_micro.columns) break;
        *(m >= n ? &job->m_parts : &job->n_parts) *= 2;
    }
}

/* A distance between planes that does not put a tile's rows into one set of the first-level cache. */
static int64_t odd_lines(int64_t elements) {
    const int64_t lines = cpu_ceil_div(elements, 32);
    return (lines | 1) * 32;
}

/* Input channels of a task, in whole panels. */
static int64_t columns_of(const weight_bf16_job *job) {
    return cpu_ceil_div(cpu_panels(job->channels), job->n_parts) * cpu_micro.columns;
}

/* Positions of a pack beyond those of a block, at most, and one. */
static int64_t span_of(const weight_bf16_job *job) {
    const weight_axis *h = &job->axis[0], *w = &job->axis[1];
    return (h->hi - h->lo) * job->pitch + w->hi - w->lo + 1;
}

static void weight_plan(weight_bf16_job *job, const conv_weight_args *args) {
    const conv_shape *s = args->shape;
    memset(job, 0, sizeof *job);
    job->args = args;
    plan_positions(job, 1);
    job->group_floats = s->dst_c * job->n_taps * job->channels;
    job->partial_stride = cpu_line_up(s->groups * job->group_floats);
    plan_parts(job);
    /* Most of a block would be what the taps reach beyond it. */
    if (span_of(job) * columns_of(job) > BLOCK_ELEMENTS / 2) {
        plan_positions(job, 0);
        plan_parts(job);
    }
    const int64_t m = cpu_ceil_div(s->dst_c, job->m_parts), n = columns_of(job), span = span_of(job);
    job->block = cpu_max(1, cpu_min(BLOCK_UNITS, (BLOCK_ELEMENTS - span * n) / ((m + n) * UNIT)));
    job->block = cpu_min(job->block, cpu_max(1, cpu_ceil_div(job->units, job->chunks)));
    const int64_t most = job->block * UNIT + cpu_ceil_div(span, UNIT) * UNIT; /* positions of a pack */
    job->plane = odd_lines(job->block * UNIT);
    job->panel = most * cpu_micro.columns;
    job->planes_bf16 = m * job->plane;
    job->pairs_bf16 = n / cpu_micro.columns * job->panel;
    job->table_at = CPU_PARTS * (job->planes_bf16 + job->pairs_bf16);
    job->rows_at = job->table_at + cpu_line_up(most * (int64_t)(sizeof(void *) / sizeof(cpu_operand)));
    job->scratch_elements = job->rows_at;
    if (!job->joined) return;
    const weight_axis *w = &job->axis[1];
    job->padded_row = ((w->points - 1) * w->stride + s->kernel[1]) * s->src_c;
    const int64_t rows = most / job->pitch + 2;
    const int64_t bytes = rows * job->padded_row * (int64_t)sizeof(cpu_element);
    job->scratch_elements += cpu_ceil_div(bytes, 64) * 64 / (int64_t)sizeof(cpu_operand);
}

/* ---- a block: pointers to its positions, and what is made of them ---- */

static const cpu_element nothing[PART_CHANNELS + JOIN_CHANNELS * JOIN_CHANNELS];

typedef struct weight_bf16_block {
    const weight_bf16_job *job;
    int64_t group, first, n; /* positions */
    int64_t m0, m1, n0, n1;  /* output channels; input channels */
    cpu_operand *planes, *pairs;
    const cpu_element **table;
    cpu_element *rows;
    float *c; /* of the group */
    int64_t add;
} weight_bf16_block;

/* Where positions are: the gradient, or the source as a pack sees it. */
typedef struct weight_source {
    const cpu_element *at; /* of pixel (0,0) */
    int64_t size[2], stride[2], base[2];
    int64_t end[2]; /* of the points of an axis */
    int64_t pixel, channel;
    int64_t padded; /* 1: rows are copied, with zeros beside them */
} weight_source;

/* A source row with its padding, of which the taps of an output pixel lie end to end. */
static void pad_row(const weight_bf16_job *job, cpu_element *to, const cpu_element *row) {
    const conv_shape *s = job->args->shape;
    const int64_t before = cpu_min(s->padding[1] * s->src_c, job->padded_row);
    const int64_t n = cpu_min(s->src_size[1] * s->src_c, job->padded_row - before);
    memset(to, 0, (size_t)before * sizeof *to);
    memcpy(to + before, row, (size_t)n * sizeof *to);
    memset(to + before + n, 0, (size_t)(job->padded_row - before - n) * sizeof *to);
}

/* to = pointers to points [j, end) of one row. */
static void list_row(const cpu_element **to, const weight_source *src, const cpu_element *row, int64_t j, int64_t end) {
    const int64_t size = src->padded ? INT64_MAX : src->size[1];
    for (; j < end; j++) {
        const int64_t x = j * src->stride[1] + src->base[1];
        *to++ = j < src->end[1] && x >= 0 && x < size ? row + x * src->pixel : nothing;
    }
}

/* table = pointers to `count` positions from `first` on, which may be negative; of what is no pixel, to zeros. */
static void list_positions(const weight_bf16_block *b, const weight_source *src, int64_t first, int64_t count) {
    const weight_bf16_job *job = b->job;
    const int64_t before = first < 0 ? cpu_ceil_div(-first, job->image) : 0; /* images */
    const int64_t from = first + before * job->image, height = job->image / job->pitch;
    int64_t image = from / job->image - before, i = from % job->image / job->pitch, j = from % job->pitch;
    cpu_element *padded = b->rows;
    for (int64_t t = 0, n; t < count; t += n, j = 0) {
        const int64_t y = i * src->stride[0] + src->base[0];
        n = cpu_min(job->pitch - j, count - t);
        if (image >= 0 && image < job->args->shape->n && i < src->end[0] && y >= 0 && y < src->size[0]) {
            const cpu_element *row = src->at + (image * src->size[0] + y) * src->size[1] * src->pixel;
            if (src->padded) {
                pad_row(job, padded, row);
                row = padded;
                padded += job->padded_row;
            }
            list_row(b->table + t, src, row + src->channel, j, j + n);
        } else {
            for (int64_t k = 0; k < n; k++) b->table[t + k] = nothing;
        }
        if (++i == height) {
            i = 0;
            image++;
        }
    }
}

static void transpose_grad(const weight_bf16_block *b) {
    const weight_bf16_job *job = b->job;
    const conv_shape *s = job->args->shape;
    const weight_source src = {.at = job->args->grad,
                               .size = {s->dst_size[0], s->dst_size[1]},
                               .stride = {1, 1},
                               .end = {s->dst_size[0], s->dst_size[1]},
                               .pixel = s->groups * s->dst_c,
                               .channel = b->group * s->dst_c + b->m0};
    list_positions(b, &src, b->first, b->n);
    for (int64_t t = 0; t < b->n; t += UNIT)
        operand_transpose(b->planes + t, job->planes_bf16, job->plane, b->table + t, UNIT, b->m1 - b->m0);
}

static void pack_source(const weight_bf16_block *b, const weight_pack *p) {
    const weight_bf16_job *job = b->job;
    const conv_shape *s = job->args->shape;
    const weight_axis *h = &job->axis[0], *w = &job->axis[1];
    const int64_t count = b->n + p->hi - p->lo; /* even */
    const weight_source src = {.at = job->args->src,
                               .size = {s->src_size[0], s->src_size[1]},
                               .stride = {h->stride, w->stride},
                               .base = {p->base[0], job->joined ? 0 : p->base[1]},
                               .end = {h->points + h->hi, w->points + w->hi},
                               .pixel = s->groups * s->src_c,
                               .channel = b->group * s->src_c + b->n0,
                               .padded = job->joined};
    list_positions(b, &src, b->first + p->lo, count);
    for (int64_t t = 0; t < count; t += UNIT)
        for (int64_t c = b->n0; c < b->n1; c += cpu_micro.columns)
            operand_pack_listed(b->pairs + (c - b->n0) / cpu_micro.columns * job->panel + t * cpu_micro.columns,
                                job->pairs_bf16, b->table + t, c - b->n0, cpu_min(UNIT, count - t),
                                cpu_min(cpu_micro.columns, b->n1 - c));
}

/* Every tile of the taps of a pack. A tile's rows of A, and a panel, meet all of them before the next. */
static void pack_tiles(const weight_bf16_block *b, int64_t pack) {
    const weight_bf16_job *job = b->job;
    const int64_t m = b->m1 - b->m0, tiles = cpu_tiles(m), row = job->n_taps * job->channels;
    int64_t a_rows[CPU_TILE_ROWS_MAX], c_rows[CPU_TILE_ROWS_MAX];
    cpu_step steps[CPU_PRODUCTS];
    cpu_tile t = {.a_rows = a_rows,
                  .c_rows = c_rows,
                  .steps = steps,
                  .n_steps = cpu_product(steps, (cpu_step){0, 0, b->n}, job->planes_bf16, job->pairs_bf16),
                  .a_k = 1,
                  .b_k = cpu_micro.columns,
                  .add = b->add,
                  .c_float = 1};
    for (int64_t i = 0; i < cpu_micro.rows; i++) {
        a_rows[i] = i * job->plane;
        c_rows[i] = i * row;
    }
    for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t i = cpu_part(m, tiles, tile);
        t.m = cpu_part(m, tiles, tile + 1) - i;
        t.a = b->planes + i * job->plane;
        for (int64_t c = b->n0; c < b->n1; c += cpu_micro.columns) {
            const cpu_operand *panel = b->pairs + (c - b->n0) / cpu_micro.columns * job->panel;
            t.n = cpu_min(cpu_micro.columns, b->n1 - c);
            for (int64_t tap = 0; tap < job->n_taps; tap++) {
                if (job->taps[tap].pack != pack) continue;
                t.b = panel + (job->taps[tap].offset - job->packs[pack].lo) * cpu_micro.columns;
                t.c = b->c + (b->m0 + i) * row + tap * job->channels + c;
                cpu_micro.by_row(&t);
            }
        }
    }
}

/* Task (chunk, group, part of the output channels, part of the input's). */
static void weight_task(void *ctx, uint64_t task, uint32_t worker) {
    const weight_bf16_job *job = ctx;
    const conv_shape *s = job->args->shape;
    int64_t t = (int64_t)task;
    const int64_t n_part = t % job->n_parts, m_part = t / job->n_parts % job->m_parts;
    t /= job->n_parts * job->m_parts;
    const int64_t chunk = t / s->groups, panels = cpu_panels(job->channels);
    weight_bf16_block b = {.job = job, .group = t % s->groups};
    b.m0 = cpu_part(s->dst_c, job->m_parts, m_part);
    b.m1 = cpu_part(s->dst_c, job->m_parts, m_part + 1);
    b.n0 = cpu_part(panels, job->n_parts, n_part) * cpu_micro.columns;
    b.n1 = cpu_min(job->channels, cpu_part(panels, job->n_parts, n_part + 1) * cpu_micro.columns);
    b.planes = job->scratch + worker * job->scratch_elements;
    b.pairs = b.planes + CPU_PARTS * job->planes_bf16;
    b.table = (const cpu_element **)(void *)(b.planes + job->table_at);
    b.rows = (cpu_element *)(void *)(b.planes + job->rows_at);
    b.c = job->chunks > 1 ? job->partial + chunk * job->partial_stride : job->args->dweight;
    b.c += b.group * job->group_floats;
    const int64_t unit0 = cpu_part(job->units, job->chunks, chunk);
    const int64_t units = cpu_part(job->units, job->chunks, chunk + 1) - unit0,
                  blocks = cpu_ceil_div(units, job->block);
    for (int64_t block = 0; block < blocks; block++) {
        b.first = (unit0 + cpu_part(units, blocks, block)) * UNIT;
        b.n = (unit0 + cpu_part(units, blocks, block + 1)) * UNIT - b.first;
        transpose_grad(&b);
        for (int64_t pack = 0; pack < job->n_packs; pack++) {
            pack_source(&b, &job->packs[pack]);
            pack_tiles(&b, pack);
        }
        b.add = 1;
    }
    cpu_tiles_done();
}

/* dweight = the sum of the chunks. */
static void reduce_task(void *ctx, uint64_t task, uint32_t worker) {
    const weight_bf16_job *job = ctx;
    const int64_t all = job->args->shape->groups * job->group_floats, first = (int64_t)task * REDUCE_FLOATS;
    const int64_t end = cpu_min(all, first + REDUCE_FLOATS);
    double sum[REDUCE_SOME];
    (void)worker;
    for (int64_t at = first; at < end; at += REDUCE_SOME) {
        const int64_t n = cpu_min(REDUCE_SOME, end - at);
        memset(sum, 0, sizeof sum);
        for (int64_t c = 0; c < job->chunks; c++) {
            const float *partial = job->partial + c * job->partial_stride + at;
            for (int64_t j = 0; j < n; j++) sum[j] += (double)partial[j];
        }
        for (int64_t j = 0; j < n; j++) job->args->dweight[at + j] = (float)sum[j];
    }
}

/* Bytes of the lists of taps and packs; of the chunks' sums. */
static uint64_t list_bytes(const weight_bf16_job *job) {
    return ((uint64_t)job->n_taps * (sizeof *job->taps + sizeof *job->packs) + 63) & ~UINT64_C(63);
}
static uint64_t partial_bytes(const weight_bf16_job *job) {
    return job->chunks > 1 ? (uint64_t)(job->chunks * job->partial_stride) * sizeof(float) : 0;
}

uint64_t conv_weight_workspace(const conv_shape *shape, uint32_t n_workers) {
    const conv_weight_args args = {.shape = shape};
    weight_bf16_job job;
    weight_plan(&job, &args);
    return partial_bytes(&job) + list_bytes(&job) + (uint64_t)job.scratch_elements * n_workers * sizeof(cpu_operand);
}

void conv_weight_run(const conv_weight_args *args, const cvr_threadpool *pool, void *workspace) {
    const conv_shape *s = args->shape;
    weight_bf16_job job;
    weight_plan(&job, args);
    if (job.units == 0) {
        memset(args->dweight, 0, (size_t)(s->groups * job.group_floats) * sizeof *args->dweight);
        return;
    }
    unsigned char *lists = (unsigned char *)workspace + partial_bytes(&job);
    job.partial = workspace;
    job.packs = (weight_pack *)(void *)lists;
    job.taps = (weight_tap *)(void *)(job.packs + job.n_taps);
    job.scratch = (cpu_operand *)(void *)(lists + list_bytes(&job));
    list_taps(&job);
    pool->run(pool, (uint64_t)(job.chunks * s->groups * job.m_parts * job.n_parts), weight_task, &job);
    if (job.chunks > 1)
        pool->run(pool, (uint64_t)cpu_ceil_div(s->groups * job.group_floats, REDUCE_FLOATS), reduce_task, &job);
}
