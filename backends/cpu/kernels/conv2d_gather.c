/*
 * Convolution forward and backward-input by tiles (see conv2d.h). A task is a phase, a range of images, a range of grid
 * rows and a range of panels of destination channels. Within it the source's channels go block by block; each block is
 * brought into scratch where it has to be, and then every panel of weights, which stays in the second-level cache,
 * meets every tile of pixels; or several panels, where they fit, meet a tile before the next. Tiles run over the images
 * of the task, so that rows of 7 pixels fill tiles of 14, and yet all pixels of a tile stand in the same row of their
 * pictures: what that row's taps would read outside is left out.
 */
#include "conv2d.h"
#include "cpu_operand.h"
#include "cpu_stream.h"

#define FEW_CHANNELS 5 /* fewer are not worth a call that copies them */

/* A task, and where its source lies: element (image, grid row, grid column, tap a, tap b) is at
 * at + image * image_step + row * row_step + a * row_inc + column * column_step + b * column_inc. */
typedef struct gather_view {
    const conv_job *job;
    conv_axis h, w;
    const cpu_operand *weight; /* of the phase and group */
    cpu_element *dst;          /* of the group */
    const float *bias;         /* of the group, or NULL */
    int64_t group, image0, images, row0, rows;
    int64_t channel, channels; /* of the block */
    int64_t depth;             /* channels of the block as they are packed and copied */
    double *moments;           /* of the slot, or NULL */
    int inside;
    const cpu_operand *at;
    int64_t image_step, row_step, row_inc, column_step, column_inc;
} gather_view;

/* In two parts there is no source in place, and this is for a phase that reads nothing. */
static void view_in_place(gather_view *v) {
    const conv_shape *s = &v->job->shape;
    const int64_t c = s->groups * s->src_c, row = s->src_size[1] * c;
    v->at = (const cpu_operand *)(const void *)v->job->src + v->image0 * s->src_size[0] * row +
            (v->row0 * v->h.src_step + v->h.base) * row + v->w.base * c + v->group * s->src_c + v->channel;
    v->image_step = s->src_size[0] * row;
    v->row_step = v->h.src_step * row;
    v->row_inc = v->h.inc * row;
    v->column_step = v->w.src_step * c;
    v->column_inc = conv_column_inc(v->job, &v->w, 1);
}

static void copy_pixel(cpu_operand *restrict to, int64_t to_low, const cpu_element *restrict from, int64_t n) {
    if (n >= FEW_CHANNELS)
        operand_copy(to, to_low, from, n);
    else
        operand_copy_few(to, to_low, from, n);
}

/* One source row of one image: to (columns, pixel) = every unit-th pixel from column base on, 0 outside. */
static void copy_row(const gather_view *v, cpu_operand *to, const cpu_element *row, int64_t columns, int64_t unit) {
    const conv_shape *s = &v->job->shape;
    const int64_t c = s->groups * s->src_c, pixel = v->job->pixel, first = v->group * s->src_c + v->channel;
    const int64_t low = v->job->scratch_low;
    int64_t j = 0, x = v->w.base;
    for (; j < columns && x < 0; j++, x += unit) operand_zero(to + j * pixel, low, v->depth);
    if (unit == 1 && c == pixel && v->channels == pixel && j < columns && x < s->src_size[1]) {
        const int64_t n = cpu_min(columns - j, s->src_size[1] - x);
        operand_copy(to + j * pixel, low, row + x * c, n * pixel);
        j += n;
        x += n;
    }
    for (; j < columns && x < s->src_size[1]; j++, x += unit) {
        copy_pixel(to + j * pixel, low, row + x * c + first, v->channels);
        if (v->depth > v->channels) operand_zero(to + j * pixel + v->channels, low, 1);
    }
    for (; j < columns; j++) operand_zero(to + j * pixel, low, v->depth);
}

/* The block's part of the source, with zeros beside it; rows outside of it are never read, and stay as they are. */
static void view_copy(gather_view *v, cpu_operand *scratch) {
    const conv_shape *s = &v->job->shape;
    const int64_t unit_h = conv_axis_unit(&v->h), unit_w = conv_axis_unit(&v->w);
    const int64_t rows = conv_axis_extent(&v->h, v->rows), columns = conv_axis_extent(&v->w, v->w.grid);
    const int64_t row = columns * v->job->pixel, c = s->groups * s->src_c;
    for (int64_t n = 0; n < v->images; n++)
        for (int64_t i = 0; i < rows; i++) {
            const int64_t y = v->row0 * v->h.src_step + v->h.base + i * unit_h;
            if (y < 0 || y >= s->src_size[0]) continue;
            copy_row(v, scratch + (n * rows + i) * row,
                     v->job->src + ((v->image0 + n) * s->src_size[0] + y) * s->src_size[1] * c, columns, unit_w);
        }
    v->at = scratch;
    v->image_step = rows * row;
    v->row_step = v->h.src_step / unit_h * row;
    v->row_inc = v->h.inc / unit_h * row;
    v->column_step = v->w.src_step / unit_w * v->job->pixel;
    v->column_inc = conv_column_inc(v->job, &v->w, 0);
}

/* Whether some pixel of the grid has its tap b inside. */
static int column_seen(const gather_view *v, int64_t b) {
    const int64_t x = v->w.base + b * v->w.inc;
    return x + (v->w.grid - 1) * v->w.src_step >= 0 && x < v->job->shape.src_size[1];
}

/* The steps of grid row `i` from tap number *tap on, CONV_STEPS_IN_REGISTERS at most; taps of a row that lie end to end
 * are one. */
static int64_t row_steps(const gather_view *v, int64_t i, int64_t *tap, cpu_step *steps) {
    const int64_t width = cpu_micro.columns, across = v->w.taps, all = v->h.taps * across;
    const int joined = v->column_inc == v->depth;
    int64_t n = 0;
    for (; *tap < all && n + CPU_PRODUCTS <= CONV_STEPS_IN_REGISTERS; *tap += joined ? across : 1) {
        const int64_t a = *tap / across, b = *tap % across;
        const int64_t y = i * v->h.src_step + v->h.base + a * v->h.inc;
        if (y < 0 || y >= v->job->shape.src_size[0]) continue;
        if (!joined && !column_seen(v, b)) continue;
        const cpu_step step = {.a = a * v->row_inc + b * v->column_inc,
                               .b = *tap * v->depth * width,
                               .k = joined ? across * v->depth : v->depth};
        n += cpu_product(steps + n, step, v->job->scratch_low, v->job->packed_low);
    }
    return n;
}

/* A panel's epilogue; `sums`: NULL where no statistics are wanted. */
typedef struct panel_end {
    conv_epilogue_panel finish;
    conv_sums all, *sums;
} panel_end;

/* Pixels from which on a tile's rows are no longer evenly spaced: after a row of a picture, unless that is one pixel.
 */
static int64_t even_pixels(const gather_view *v) {
    return v->w.grid > 1 ? v->w.grid : v->images;
}

/* Pixels of the tile that begins at `first` of `pixels`. Where a tile's halves should be evenly spaced, they are short
 * rows, or the tile is a part of a long one. */
static int64_t tile_pixels(const gather_view *v, int64_t first, int64_t pixels) {
    const int64_t even = cpu_micro.run ? even_pixels(v) : pixels;
    if (even <= cpu_micro.run) return cpu_min(2 * even, pixels - first);
    return cpu_min(cpu_ceil_div(even, cpu_tiles(even)), even - first % even);
}

/* Some panels of the destination's channels, with their epilogues. */
typedef struct gather_panels {
    int64_t first, n;
    int64_t ahead_at, ahead_end, ahead_step; /* cache lines of the panels behind these: see weights_ahead() */
    panel_end ends[CONV_PANELS_AT_ONCE];     /* where there is an epilogue */
} gather_panels;

/* Elements of a panel of weights, and of its part for the block of source channels. */
static int64_t panel_elements(const gather_view *v) {
    return cpu_depth(v->job->shape.src_c) * v->h.taps * v->w.taps * cpu_micro.columns;
}

static int64_t block_elements(const gather_view *v) {
    return v->depth * v->h.taps * v->w.taps * cpu_micro.columns;
}

/* Every tile fetches its share of the panels that come next. Few pixels meet many weights once, which come from memory,
 * and what the processor fetches ahead by itself ends with each page. Not by AMX, where that was never measured. */
static void plan_weights_ahead(const gather_view *v, gather_panels *p) {
    const int64_t tiles = v->rows * cpu_tiles(v->images * v->w.grid);
    p->ahead_at = 0;
    p->ahead_end = CPU_AMX ? 0 : block_elements(v) * (int64_t)sizeof(cpu_operand) / 64;
    p->ahead_step = cpu_min(CPU_LINES_AHEAD, cpu_ceil_div(p->ahead_end, tiles));
}

/* The share of a tile in the panel that comes as many after panel number i as there are at once. */
static int64_t weights_ahead(const gather_view *v, const gather_panels *p, int64_t i, const void **lines) {
    const int64_t n = cpu_min(p->ahead_step, p->ahead_end - p->ahead_at), panel = p->first + p->n + i;
    if (panel >= v->job->panels || n <= 0) return 0;
    const char *at =
        (const char *)(v->weight + panel * panel_elements(v) + v->channel * v->h.taps * v->w.taps * cpu_micro.columns);
    at += p->ahead_at * 64;
    for (int64_t j = 0; j < n; j++) lines[j] = at + j * 64;
    return n;
}

/* The source of the next tile, as far as it lies as this one's does, for the tile's first panel to fetch: where it is
 * read in place, in rows of a pixel each, the processor does not see where it goes on. Not by AMX, where that gained
 * nothing. */
static int64_t source_ahead(const gather_view *v, const cpu_tile *t, const void **lines) {
    const int64_t bytes = v->depth * (int64_t)sizeof(cpu_operand), row = cpu_ceil_div(bytes, 64);
    if (CPU_AMX || !v->inside || v->h.taps * v->w.taps != 1 || t->m < 2 || t->m * row > CPU_LINES_AHEAD) return 0;
    const cpu_operand *next =
        (const cpu_operand *)t->a + t->steps->a + 2 * t->a_rows[t->m - 1] - t->a_rows[t->m - 2] - t->a_rows[0];
    int64_t n = 0;
    for (int64_t i = 0; i < t->m; i++) {
        const char *at = (const char *)(next + t->a_rows[i]);
        for (int64_t j = 0; j < row; j++) lines[n + j] = at + 64 * j;
        n += row;
    }
    return n;
}

/* A tile of pixels and each of the panels; `at`: the first panel's first channel of the tile's pixels. */
static void tile_panels(const gather_view *v, gather_panels *p, int last, cpu_element *at, cpu_tile *t) {
    const conv_shape *s = &v->job->shape;
    const int64_t width = cpu_micro.columns, weights = panel_elements(v);
    const cpu_operand *weight = v->weight + v->channel * v->h.taps * v->w.taps * width;
    const void *lines[2 * CPU_LINES_AHEAD + CONV_EPILOGUE_LINES];
    t->ahead = lines;
    for (int64_t i = 0; i < p->n; i++) {
        const int64_t panel = p->first + i;
        int64_t n = i == 0 ? source_ahead(v, t, lines) : 0;
        t->b = weight + panel * weights;
        t->c = at + i * width;
        t->init = v->bias ? v->bias + panel * width : NULL;
        t->n = cpu_min(width, s->dst_c - panel * width);
        if (last) n += conv_epilogue_ahead(&p->ends[i].finish, t, lines + n);
        n += weights_ahead(v, p, i, lines + n);
        for (; n % CPU_AHEAD != 0; n++) lines[n] = lines[n - 1];
        t->n_ahead = n;
        if (last)
            conv_epilogue_tile(&p->ends[i].finish, t, p->ends[i].sums);
        else
            cpu_micro.by_row(t);
    }
    p->ahead_at += p->ahead_step;
}

/* One grid row of all images of the task. `last`: of its sums, and there is an epilogue. */
static void row_tiles(const gather_view *v, int64_t i, gather_panels *panels, int last, const cpu_tile *like) {
    const conv_shape *s = &v->job->shape;
    const int64_t dst_c = s->groups * s->dst_c, pixels = v->images * v->w.grid;
    const int64_t image = s->dst_size[0] * s->dst_size[1] * dst_c, column = v->w.dst_step * dst_c;
    int64_t a_rows[CPU_TILE_ROWS_MAX], c_rows[CPU_TILE_ROWS_MAX], n = 0, j = 0;
    cpu_tile t = *like;
    t.a = v->at + (i - v->row0) * v->row_step;
    cpu_element *c = v->dst + v->image0 * image +
                     ((v->h.dst_off + i * v->h.dst_step) * s->dst_size[1] + v->w.dst_off) * dst_c +
                     panels->first * cpu_micro.columns;
    t.a_rows = a_rows;
    t.c_rows = c_rows;
    for (int64_t first = 0; first < pixels; first += t.m) {
        t.m = tile_pixels(v, first, pixels);
        for (int64_t p = 0; p < t.m; p++) {
            a_rows[p] = n * v->image_step + j * v->column_step;
            c_rows[p] = n * image + j * column;
            if (++j == v->w.grid) {
                j = 0;
                n++;
            }
        }
        tile_panels(v, panels, last, c, &t);
    }
}

static void panel_end_of(panel_end *end, const gather_view *v, int64_t panel) {
    const conv_shape *s = &v->job->shape;
    const int64_t first = panel * cpu_micro.columns;
    conv_epilogue_panel_of(&end->finish, v->job, v->group * s->dst_c + first,
                           cpu_min(cpu_micro.columns, s->dst_c - first));
    end->sums = v->moments ? &end->all : NULL;
    if (v->moments) end->all = conv_sums_of(v->job, v->moments + first);
}

/* Every tile of some panels, for one block of source channels. */
static void panels_tiles(const gather_view *v, gather_panels *panels) {
    const conv_shape *s = &v->job->shape;
    const int64_t taps = v->h.taps * v->w.taps;
    const int last_block = v->channel + v->channels == s->src_c;
    cpu_step steps[CONV_STEPS_IN_REGISTERS];
    cpu_tile t = {.steps = steps, .a_k = 1, .b_k = cpu_micro.columns, .c_float = !CPU_LOW};
    plan_weights_ahead(v, panels);
    for (int64_t i = 0; v->job->epilogue && i < panels->n; i++) panel_end_of(&panels->ends[i], v, panels->first + i);
    for (int64_t i = v->row0; i < v->row0 + v->rows; i++) {
        int64_t tap = 0;
        t.add = v->channel > 0;
        do {
            t.n_steps = row_steps(v, i, &tap, steps);
            const int last = v->job->epilogue && tap >= taps && last_block;
            t.stream =
                v->image0 + v->images <= v->job->stream && (!t.add || last) && tap >= taps && v->channels == s->src_c;
            if (t.n_steps > 0 || !t.add || last) row_tiles(v, i, panels, last, &t);
            t.add = 1;
        } while (tap < taps);
    }
    for (int64_t i = 0; v->job->epilogue && last_block && i < panels->n; i++)
        if (panels->ends[i].sums) conv_sums_close(panels->ends[i].sums);
}

/* Pixels that no tap reaches: between the strides of a transposed 1x1. */
static void zero_pixels(const gather_view *v, int64_t first, int64_t end) {
    const conv_shape *s = &v->job->shape;
    const int64_t pixel = s->groups * s->dst_c, from = first * cpu_micro.columns;
    const size_t bytes = (size_t)(cpu_min(s->dst_c, end * cpu_micro.columns) - from) * sizeof *v->dst;
    for (int64_t n = v->image0; n < v->image0 + v->images; n++)
        for (int64_t i = v->row0; i < v->row0 + v->rows; i++) {
            const int64_t row = (n * s->dst_size[0] + v->h.dst_off + i * v->h.dst_step) * s->dst_size[1] + v->w.dst_off;
            cpu_element *to = v->dst + row * pixel + from;
            for (int64_t j = 0; j < v->w.grid; j++) memset(to + j * v->w.dst_step * pixel, 0, bytes);
        }
}

static void gather_task(void *ctx, uint64_t task, uint32_t worker) {
    const conv_job *job = ctx;
    const conv_shape *s = &job->shape;
    int64_t t = (int64_t)task;
    const int64_t part = t % job->panel_parts, group = t / job->panel_parts % s->groups;
    t /= job->panel_parts * s->groups;
    const int64_t rows = t % job->row_parts, images = t / job->row_parts % job->image_parts;
    t /= job->row_parts * job->image_parts;
    gather_view v = {.job = job, .group = group};
    conv_axis_of(&v.h, s, 0, t / s->phases[1]);
    conv_axis_of(&v.w, s, 1, t % s->phases[1]);
    const int64_t before = conv_taps_before(s, &v.h, t / s->phases[1], t % s->phases[1]);
    const int64_t panel_floats = cpu_depth(s->src_c) * cpu_micro.columns;
    v.weight = job->packed + (before * s->groups + group * v.h.taps * v.w.taps) * job->panels * panel_floats;
    v.dst = job->dst + group * s->dst_c;
    v.bias = job->bias ? job->bias + group * s->dst_c : NULL;
    if (job->moments)
        v.moments = job->moments + (int64_t)task / job->panel_parts / s->groups * 2 * conv_moments_step(job) +
                    group * job->panels * cpu_micro.columns;
    v.image0 = cpu_part(s->n, job->image_parts, images);
    v.images = cpu_part(s->n, job->image_parts, images + 1) - v.image0;
    v.row0 = cpu_part(v.h.grid, job->row_parts, rows);
    v.rows = cpu_part(v.h.grid, job->row_parts, rows + 1) - v.row0;
    if (v.rows == 0 || v.w.grid == 0) return;
    v.inside = !job->spread && conv_axis_inside(&v.h, s->src_size[0]) && conv_axis_inside(&v.w, s->src_size[1]);
    const int64_t end = cpu_part(job->panels, job->panel_parts, part + 1);
    const int empty = v.h.taps == 0 || v.w.taps == 0;
    gather_panels p;
    if (empty && !job->bias && !job->epilogue) {
        zero_pixels(&v, cpu_part(job->panels, job->panel_parts, part), end);
        return;
    }
    for (; v.channel < s->src_c; v.channel += job->block_c) {
        v.channels = cpu_min(job->block_c, s->src_c - v.channel);
        v.depth = cpu_depth(v.channels);
        if (v.inside || empty)
            view_in_place(&v);
        else
            view_copy(&v, job->scratch + worker * job->scratch_floats);
        for (p.first = cpu_part(job->panels, job->panel_parts, part); p.first < end; p.first += p.n) {
            p.n = cpu_min(job->panels_at_once, end - p.first);
            panels_tiles(&v, &p);
        }
    }
    cpu_tiles_done();
    if (job->stream) cpu_stream_end();
}

/* Results that are whole lines, written once, go past the caches, but for the last: the pool's
 * next job begins there, if it goes downwards. */
static int64_t streamed_images(const conv_job *job) {
    const conv_shape *s = &job->shape;
    const int64_t element = job->bf16 ? (int64_t)sizeof(uint16_t) : (int64_t)sizeof *job->dst;
    const int64_t pixel = s->groups * s->dst_c * element;
    const int64_t image = s->dst_size[0] * s->dst_size[1] * pixel;
    if (s->dst_c * element % CPU_STREAM_LINE != 0 || !cpu_streams(job->dst, s->n * image)) return 0;
    return s->n - CPU_STREAM_BYTES / image;
}

/* Slots in their order. */
static void combine_moments(const conv_job *job) {
    int64_t seen = 0;
    for (int64_t slot = 0; slot < conv_slots(job); slot++) {
        const int64_t pixels = conv_slot_pixels(job, slot);
        if (pixels) conv_join_moments(job, job->moments + slot * 2 * conv_moments_step(job), pixels, seen);
        seen += pixels;
    }
    conv_end_moments(job, seen);
}

void conv_job_pack(conv_job *job, const cvr_threadpool *pool, void *prepacked) {
    job->packed = prepacked;
    if (!CPU_BF16 && job->winograd)
        conv_winograd_pack(job, pool, prepacked);
    else
        conv_pack(job, pool);
}

void conv_job_run(conv_job *job, const cvr_threadpool *pool, void *workspace, void *prepacked) {
    const conv_shape *s = &job->shape;
    job->stream = streamed_images(job);
    if (!CPU_BF16 && job->winograd) {
        conv_winograd_run(job, pool, workspace, prepacked);
        return;
    }
    job->packed = job->prepacked ? prepacked : workspace;
    job->scratch = (cpu_operand *)workspace + (job->prepacked ? 0 : job->packed_floats);
    if (!job->prepacked) conv_pack(job, pool);
    if (!CPU_BF16 && conv_is_depthwise(s)) {
        conv_depthwise_run(job, pool);
        return;
    }
    const int wanted = conv_measures(job);
    job->moments = wanted ? (double *)(void *)(job->scratch + job->scratch_floats * pool->n_workers) : NULL;
    const int64_t tasks = conv_slots(job) * s->groups * job->panel_parts;
    if (tasks > 0) pool->run(pool, (uint64_t)tasks, gather_task, job);
    if (wanted) combine_moments(job);
}
