/*
 * conv2d_int8 and linear_int8. Tasks are blocks of pixels by runs of panels; within a task a panel's weights are used
 * for all tiles of the block, whose pixels stay in the first-level cache, before the next panel comes.
 */
#include "int8.h"

/* ---- geometry ---- */

void int8_settle(int8_conv *c, int32_t merges) {
    c->padded = cpu_ceil_div(c->c, 4) * 4;
    c->merges = merges && c->padded < 16 && c->dilation[1] == 1 && c->kernel[1] > 1 && c->groups == 1;
    c->copies = c->merges || c->padded != c->c;
    c->taps = c->merges ? c->kernel[0] : c->kernel[0] * c->kernel[1];
    c->quads = (c->merges ? c->kernel[1] : 1) * c->padded / 4;
    c->k_padded = cpu_ceil_div(c->k, INT8_LANES) * INT8_LANES;
    c->panels = cpu_ceil_div(c->k_padded, INT8_PANEL);
}

static int8_conv conv_of(const cvr_signature *sig) {
    const cvr_conv2d_int8_attrs *attrs = sig->attrs;
    const cvr_tensor *x = sig->inputs[0], *w = sig->inputs[1], *y = sig->outputs[0];
    int8_conv c = {.q = attrs->q,
                   .n = x->shape[0],
                   .groups = attrs->conv.groups,
                   .c = w->shape[1],
                   .k = w->shape[0] / attrs->conv.groups};
    for (int i = 0; i < 2; i++) {
        c.size[i] = x->shape[2 + i];
        c.out[i] = y->shape[2 + i];
        c.kernel[i] = w->shape[2 + i];
        c.stride[i] = attrs->conv.stride[i];
        c.padding[i] = attrs->conv.padding[i];
        c.dilation[i] = attrs->conv.dilation[i];
        c.whole[i] = c.out[i];
        c.gap[i] = 1;
    }
    c.w_channel = 1;
    c.w_column = c.c;
    c.w_row = c.kernel[1] * c.w_column;
    c.w_filter = c.kernel[0] * c.w_row;
    int8_settle(&c, 1);
    return c;
}

static int8_conv linear_of(const cvr_signature *sig) {
    const cvr_tensor *w = sig->inputs[1], *y = sig->outputs[0];
    int8_conv c = {.q = *(const cvr_requant *)sig->attrs,
                   .n = cvr_numel(y->rank, y->shape) / cpu_max(w->shape[0], 1),
                   .size = {1, 1},
                   .out = {1, 1},
                   .kernel = {1, 1},
                   .stride = {1, 1},
                   .dilation = {1, 1},
                   .groups = 1,
                   .c = w->shape[1],
                   .k = w->shape[0],
                   .whole = {1, 1},
                   .gap = {1, 1},
                   .w_filter = w->shape[1],
                   .w_channel = 1};
    int8_settle(&c, 1);
    return c;
}

static int8_conv geometry_of(const cvr_signature *sig) {
    return sig->inputs[1]->rank == 4 ? conv_of(sig) : linear_of(sig);
}

/* Rows, columns and bytes of a pixel of x, as tiles read it. */
typedef struct source {
    const uint8_t *data;
    int64_t size[2], pixel, image;
} source;

static source source_of(const int8_conv *c, const void *data) {
    source s = {.data = data, .size = {c->size[0], c->size[1]}, .pixel = c->groups * c->padded};
    for (int i = 0; i < 2 && c->merges; i++)
        s.size[i] = cpu_max((c->out[i] - 1) * c->stride[i] + (c->kernel[i] - 1) * c->dilation[i] + 1,
                            c->size[i] + 2 * c->padding[i]);
    s.image = s.size[0] * s.size[1] * s.pixel;
    return s;
}

/* ---- the copy of x ---- */

typedef struct copying {
    const int8_conv *c;
    const uint8_t *from;
    uint8_t *to;
    source s;
} copying;

static void copy_row(void *ctx, uint64_t task, uint32_t worker) {
    const copying *k = ctx;
    const int8_conv *c = k->c;
    const int64_t n = (int64_t)task / k->s.size[0], row = (int64_t)task % k->s.size[0],
                  h = row - (c->merges ? c->padding[0] : 0), offset = c->merges ? c->padding[1] : 0;
    uint8_t *to = k->to + (int64_t)task * k->s.size[1] * k->s.pixel;
    (void)worker;
    if (c->merges || h < 0 || h >= c->size[0]) memset(to, (int)c->q.x_zero, (size_t)(k->s.size[1] * k->s.pixel));
    if (h < 0 || h >= c->size[0]) return;
    const uint8_t *from = k->from + (n * c->size[0] + h) * c->size[1] * c->groups * c->c;
    for (int64_t w = 0; w < c->size[1]; w++)
        for (int64_t g = 0; g < c->groups; g++) {
            uint8_t *pixel = to + (w + offset) * k->s.pixel + g * c->padded;
            for (int64_t i = 0; i < c->c; i++) pixel[i] = from[(w * c->groups + g) * c->c + i];
            for (int64_t i = c->c; i < c->padded; i++) pixel[i] = 0; /* its weights are 0 */
        }
}

/* ---- tiles ---- */

typedef struct job {
    const int8_conv *c;
    source s;
    int8_packed w;
    uint8_t *y;
    const uint8_t *outside; /* a pixel of zero points */
    char *scratch;          /* pointers, a part for each worker */
    int64_t pixels, blocks, runs, run_panels;
} job;

/* To the pixels of each tap, and to the results. */
static uint64_t pointers_bytes(const int8_conv *c) {
    return int8_line_up((uint64_t)((c->taps + 1) * INT8_BLOCK) * sizeof(void *));
}

/* An output pixel. */
typedef struct place {
    int64_t n, p, q;
} place;

static place place_of(const int8_conv *c, int64_t pixel) {
    return (place){pixel / c->out[1] / c->out[0], pixel / c->out[1] % c->out[0], pixel % c->out[1]};
}

static void next_place(const int8_conv *c, place *at) {
    if (++at->q < c->out[1]) return;
    at->q = 0;
    if (++at->p < c->out[0]) return;
    at->p = 0;
    at->n++;
}

/* Where its results go. */
static uint8_t *results_of(const job *j, const place *at) {
    const int8_conv *c = j->c;
    const int64_t row = at->n * c->whole[0] + c->first[0] + at->p * c->gap[0],
                  pixel = row * c->whole[1] + c->first[1] + at->q * c->gap[1];
    return j->y + pixel * c->groups * c->k;
}

/* Where the taps of an output pixel begin. */
static void point(const job *j, const place *at, int64_t i, const uint8_t **x) {
    const int8_conv *c = j->c;
    const int64_t column = at->q * c->stride[1], row = at->p * c->stride[0];
    const uint8_t *image = j->s.data + at->n * j->s.image;
    if (c->merges) {
        for (int64_t r = 0; r < c->kernel[0]; r++)
            x[r * INT8_BLOCK + i] = image + ((row + r * c->dilation[0]) * j->s.size[1] + column) * j->s.pixel;
        return;
    }
    for (int64_t r = 0; r < c->kernel[0]; r++) {
        const int64_t h = row - c->padding[0] + r * c->dilation[0];
        for (int64_t s = 0; s < c->kernel[1]; s++) {
            const int64_t w = column - c->padding[1] + s * c->dilation[1];
            const int inside = h >= 0 && h < c->size[0] && w >= 0 && w < c->size[1];
            x[(r * c->kernel[1] + s) * INT8_BLOCK + i] =
                inside ? image + (h * j->s.size[1] + w) * j->s.pixel : j->outside;
        }
    }
}

/* The same by the taps of the pixel to its left, each a stride further: where all columns of both are inside, a tap of
 * one is outside, above or below, where the other's is. 0: it is not so, and point() has to be asked. */
static int point_next(const job *j, const place *at, int64_t i, const uint8_t **x) {
    const int8_conv *c = j->c;
    const int64_t left = at->q * c->stride[1] - (c->merges ? 0 : c->padding[1]), by = c->stride[1] * j->s.pixel;
    if (i == 0 || at->q == 0 || left - c->stride[1] < 0) return 0;
    if (left + (c->kernel[1] - 1) * c->dilation[1] >= j->s.size[1]) return 0;
    for (int64_t t = 0; t < c->taps; t++) {
        const uint8_t *before = x[t * INT8_BLOCK + i - 1];
        x[t * INT8_BLOCK + i] = before == j->outside ? before : before + by;
    }
    return 1;
}

/* Where part i of n pixels begins, of so many parts of at most `most`. A last part of one pixel would read as many
 * weights as any other, so parts are even, where heights of tiles may differ. */
static int64_t cut_at(int64_t n, int64_t parts, int64_t most, int64_t i) {
    return cpu_int8_micro.even ? cpu_part(n, parts, i) : cpu_min(n, i * most);
}

/* The tiles of one panel over the pixels [0, n) of a block. */
static void run_panel(const job *j, const uint8_t **x, uint8_t **y, int64_t n, int64_t g, int64_t panel) {
    const int8_conv *c = j->c;
    const int64_t width = int8_panel_width(c, panel), first = panel * INT8_PANEL, row = g * c->k_padded + first;
    const int32_t vectors = (int32_t)(width / INT8_LANES), tall = cpu_int8_micro.rows[vectors - 1];
    int8_tile t = {.weights = j->w.weights + (row * c->taps * c->quads) * 4,
                   .taps = c->taps,
                   .quads = c->quads,
                   .bias = j->w.bias + row,
                   .scale = j->w.scale + row,
                   .n = cpu_min(width, c->k - first),
                   .zero = (int32_t)c->q.y_zero};
    const int64_t tiles = cpu_ceil_div(n, tall);
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t at = cut_at(n, tiles, tall, i);
        t.x = x + at;
        t.y = y + at;
        t.m = (int32_t)(cut_at(n, tiles, tall, i + 1) - at);
        cpu_int8_micro.tile(&t, vectors);
    }
}

static void run_task(void *ctx, uint64_t task, uint32_t worker) {
    const job *j = ctx;
    const int8_conv *c = j->c;
    char *scratch = j->scratch + worker * pointers_bytes(c);
    const uint8_t **x = (const uint8_t **)(void *)scratch;
    uint8_t **y = (uint8_t **)(void *)(scratch + c->taps * INT8_BLOCK * (int64_t)sizeof *x);
    const int64_t block = (int64_t)task / j->runs % j->blocks, g = (int64_t)task / j->runs / j->blocks,
                  run = (int64_t)task % j->runs, first = cut_at(j->pixels, j->blocks, INT8_BLOCK, block),
                  n = cut_at(j->pixels, j->blocks, INT8_BLOCK, block + 1) - first,
                  end = cpu_min(c->panels, (run + 1) * j->run_panels);
    place at = place_of(c, first);
    for (int64_t i = 0; i < n; i++, next_place(c, &at)) {
        y[i] = results_of(j, &at) + g * c->k + run * j->run_panels * INT8_PANEL;
        if (point_next(j, &at, i, x)) continue;
        point(j, &at, i, x);
        for (int64_t t = 0; t < c->taps && g; t++) /* `outside` is one for all groups */
            if (x[t * INT8_BLOCK + i] != j->outside) x[t * INT8_BLOCK + i] += g * c->padded;
    }
    for (int64_t panel = run * j->run_panels; panel < end; panel++) {
        run_panel(j, x, y, n, g, panel);
        for (int64_t i = 0; i < n; i++) y[i] += INT8_PANEL;
    }
    if (cpu_int8_micro.done) cpu_int8_micro.done();
}

/* Few blocks are cut by panels as well, so that several threads have something to do. */
static void cut(job *j) {
    const int8_conv *c = j->c;
    j->pixels = c->n * c->out[0] * c->out[1];
    j->blocks = cpu_ceil_div(j->pixels, INT8_BLOCK);
    const int64_t wanted = cpu_ceil_div(16, cpu_max(j->blocks * c->groups, 1));
    j->run_panels = cpu_ceil_div(c->panels, cpu_min(wanted, c->panels));
    j->runs = cpu_ceil_div(c->panels, j->run_panels);
}

/* ---- kernels ---- */

static uint64_t outside_bytes(const int8_conv *c) {
    return int8_line_up((uint64_t)c->padded + 64);
}

static uint64_t copy_bytes(const int8_conv *c) {
    const source s = source_of(c, NULL);
    return c->copies ? int8_line_up((uint64_t)(c->n * s.image) + 64) : 0;
}

static uint64_t packed_bytes(const int8_conv *c) {
    return int8_is_depthwise(c) ? int8_depthwise_bytes(c) : int8_packed_bytes(c);
}

static void pack(const int8_conv *c, const cvr_kernel_args *a, void *to) {
    (int8_is_depthwise(c) ? int8_depthwise_pack : int8_pack)(c, a, to);
}

void int8_conv_run(const int8_conv *c, const void *packed, const uint8_t *x, uint8_t *y, char *workspace,
                   const cvr_threadpool *pool) {
    job j = {.c = c, .w = int8_packed_of(c, (void *)(uintptr_t)packed), .y = y};
    char *at = workspace;
    memset(at, (int)c->q.x_zero, outside_bytes(c));
    j.outside = (const uint8_t *)at;
    at += outside_bytes(c);
    j.s = source_of(c, x);
    if (c->copies) {
        copying k = {.c = c, .from = x, .to = (uint8_t *)at, .s = j.s};
        j.s.data = k.to;
        if (x) cpu_run(pool, c->n * j.s.size[0], copy_row, &k);
        at += copy_bytes(c);
    }
    j.scratch = at;
    cut(&j);
    cpu_run(pool, c->groups * j.blocks * j.runs, run_task, &j);
}

uint64_t int8_conv_workspace(const int8_conv *c, uint32_t workers) {
    return outside_bytes(c) + copy_bytes(c) + workers * pointers_bytes(c);
}

static void run_whole(const int8_conv *c, const cvr_kernel_args *a) {
    char *at = a->workspace;
    const void *packed = a->prepared;
    if (!packed) {
        pack(c, a, at);
        packed = at;
        at += int8_line_up(packed_bytes(c));
    }
    if (int8_is_depthwise(c))
        int8_depthwise_run(c, a, packed, at);
    else
        int8_conv_run(c, packed, a->inputs[0]->data, a->outputs[0]->data, at, a->pool);
}

static uint64_t workspace(const cvr_signature *sig) {
    const int8_conv c = geometry_of(sig);
    const uint64_t packed = sig->prepared ? 0 : int8_line_up(packed_bytes(&c));
    if (int8_is_depthwise(&c)) return packed + int8_depthwise_workspace(&c, sig->n_workers);
    return packed + int8_conv_workspace(&c, sig->n_workers);
}

static uint64_t prepared_bytes(const cvr_signature *sig) {
    const int8_conv c = geometry_of(sig);
    return packed_bytes(&c);
}

static int8_conv geometry_of_call(const cvr_kernel_args *a) {
    const cvr_signature sig = {.struct_size = sizeof sig,
                               .attrs = a->attrs,
                               .inputs = a->inputs,
                               .outputs = (const cvr_tensor *const *)(const void *)a->outputs};
    return geometry_of(&sig);
}

static int32_t prepare(const cvr_kernel_args *a, cvr_error *err) {
    const int8_conv c = geometry_of_call(a);
    (void)err;
    pack(&c, a, a->prepared);
    return CVR_OK;
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const int8_conv c = geometry_of_call(a);
    (void)err;
    run_whole(&c, a);
    return CVR_OK;
}

/* Weight, its scales, bias. */
static const cpu_preparation preparation = {2 | 4 | 8, prepared_bytes, prepare};

static const cpu_kernel kernels[] = {
    {"conv2d_int8", run, workspace, NULL, 0, CPU_KERNEL_FLAGS, &preparation},
    {"linear_int8", run, workspace, NULL, 0, CPU_KERNEL_FLAGS, &preparation},
};
const cpu_kernel_table cpu_int8_conv_kernels = {kernels, sizeof kernels / sizeof *kernels};
