/*
 * The geometry of the gather (see conv2d.h), and im2col: Chellapilla, Puri, Simard, "High Performance Convolutional
 * Neural Networks for Document Processing", 2006, by tiles that stay in the cache.
 */
#include "conv2d.h"

/* A tile's matrix has about this many floats (256 KiB), within these numbers of pixels. */
#define TILE_FLOATS 65536
#define TILE_MIN 192
#define TILE_MAX 1024
/* Tiles shrink, down to this, to give many cores something to do. */
#define TILE_SMALL 64
#define TILES_WANTED 32
/* Weights up to this size are transposed first: OpenBLAS is faster on (k,n) than on (n,k) where n and k are small. */
#define PACK_FORWARD_FLOATS 65536

static int64_t gcd(int64_t a, int64_t b) {
    while (b) {
        const int64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

static void axis_forward(conv_axis *out, const conv_job *job, int axis) {
    *out = (conv_axis){.grid = job->dst_size[axis],
                       .dst_step = 1,
                       .src_step = job->stride[axis],
                       .base = -job->padding[axis],
                       .inc = job->dilation[axis],
                       .taps = job->kernel[axis],
                       .tap_step = 1};
}

/*
 * Row h = phase + i * s of the destination sees kernel row r from source row (h + p - r * d) / s, where that divides.
 * The r that do are s / gcd(s, d) apart.
 */
static void axis_transposed(conv_axis *out, const conv_job *job, int axis, int64_t phase) {
    const int64_t s = job->stride[axis], d = job->dilation[axis], at = phase + job->padding[axis];
    const int64_t step = s / gcd(s, d);
    int64_t r = 0;
    while (r < job->kernel[axis] && r < step && (at - r * d) % s != 0) r++;
    *out = (conv_axis){.grid = phase < job->dst_size[axis] ? cpu_ceil_div(job->dst_size[axis] - phase, s) : 0,
                       .dst_off = phase,
                       .dst_step = s,
                       .src_step = 1,
                       .base = (at - r * d) / s,
                       .inc = -(step * d / s),
                       .taps = r < job->kernel[axis] && r < step ? cpu_ceil_div(job->kernel[axis] - r, step) : 0,
                       .tap0 = r,
                       .tap_step = step};
}

void conv_axis_of(conv_axis *out, const conv_job *job, int axis, int64_t phase) {
    if (job->transposed)
        axis_transposed(out, job, axis, phase);
    else
        axis_forward(out, job, axis);
}

int64_t conv_taps_before(const conv_job *job, const conv_axis *h, int64_t phase_h, int64_t phase_w) {
    int64_t rows = 0, columns = 0, all_columns = 0;
    conv_axis a;
    for (int64_t u = 0; u < phase_h; u++) {
        conv_axis_of(&a, job, 0, u);
        rows += a.taps;
    }
    for (int64_t v = 0; v < job->phases[1]; v++) {
        conv_axis_of(&a, job, 1, v);
        if (v < phase_w) columns += a.taps;
        all_columns += a.taps;
    }
    return rows * all_columns + h->taps * columns;
}

static int64_t tile_pixels(int64_t pixels, int64_t row_floats) {
    int64_t tile = cpu_max(TILE_MIN, cpu_min(TILE_MAX, TILE_FLOATS / cpu_max(row_floats, 1)));
    tile = cpu_min(tile, cpu_max(TILE_SMALL, cpu_ceil_div(pixels, TILES_WANTED)));
    return cpu_ceil_div(tile, 16) * 16;
}

void conv_job_plan(conv_job *job, const cvr_conv2d_attrs *attrs, const cvr_tensor *src, const cvr_tensor *weight,
                   const cvr_tensor *dst, int64_t transposed) {
    memset(job, 0, sizeof *job);
    job->n = src->shape[0];
    job->groups = attrs->groups;
    job->src_c = src->shape[1] / job->groups;
    job->dst_c = dst->shape[1] / job->groups;
    job->transposed = transposed;
    int unit = 1, one_by_one = 1;
    int64_t pixels = job->n, taps = 1;
    for (int i = 0; i < 2; i++) {
        job->src_size[i] = src->shape[2 + i];
        job->dst_size[i] = dst->shape[2 + i];
        job->kernel[i] = weight->shape[2 + i];
        job->stride[i] = attrs->stride[i];
        job->padding[i] = attrs->padding[i];
        job->dilation[i] = attrs->dilation[i];
        job->phases[i] = transposed ? cpu_min(job->stride[i], job->dst_size[i]) : 1;
        unit = unit && job->stride[i] == 1 && job->padding[i] == 0 && job->src_size[i] == job->dst_size[i];
        one_by_one = one_by_one && job->kernel[i] == 1;
        pixels *= transposed ? cpu_ceil_div(job->dst_size[i], job->stride[i]) : job->dst_size[i];
        taps *= transposed ? cpu_ceil_div(job->kernel[i], job->stride[i] / gcd(job->stride[i], job->dilation[i]))
                           : job->kernel[i];
        job->scatter_pixels |= transposed && job->stride[i] > 1;
    }
    const int64_t weight_floats = cvr_numel(4, weight->shape);
    job->depthwise = job->groups > 1 && job->src_c == 1 && job->dst_c == 1;
    job->gather_pixels = !(unit && one_by_one);
    if (job->depthwise)
        job->pack_weights = 1;
    else if (transposed)
        job->pack_weights = !one_by_one;
    else
        job->pack_weights = weight_floats <= PACK_FORWARD_FLOATS;
    job->tile = tile_pixels(pixels, taps * job->src_c);
    job->tiles = cpu_ceil_div(pixels, job->tile);
    job->packed_floats = job->pack_weights ? cpu_line_up(weight_floats) : 0;
    if (!job->depthwise) {
        job->scratch_floats += job->gather_pixels ? cpu_line_up(job->tile * taps * job->src_c) : 0;
        job->scratch_floats += job->scatter_pixels ? cpu_line_up(job->tile * job->groups * job->dst_c) : 0;
    }
}

uint64_t conv_job_workspace(const conv_job *job, uint32_t n_workers) {
    return ((uint64_t)job->packed_floats + (uint64_t)job->scratch_floats * n_workers) * sizeof(float);
}

/* A copy that is inlined where calling memcpy would cost more than the copy. */
static inline void copy_floats(float *restrict to, const float *restrict from, int64_t n) {
    if (n <= 16)
        for (int64_t i = 0; i < n; i++) to[i] = from[i];
    else
        memcpy(to, from, (size_t)n * sizeof(float));
}

static inline void zero_floats(float *to, int64_t n) {
    memset(to, 0, (size_t)n * sizeof(float));
}

/* One kernel row at one pixel: cols (w.taps, channels) from source columns x0, x0 + inc, ... of the row at `row`. */
static inline void gather_row(const conv_cols *c, const float *row, int64_t x0, const conv_axis *w, float *cols) {
    const int64_t x_last = x0 + (w->taps - 1) * w->inc;
    if (w->inc == 1 && c->channels == c->src_stride && x0 >= 0 && x_last < c->src_size[1]) {
        copy_floats(cols, row + x0 * c->src_stride, w->taps * c->channels);
        return;
    }
    for (int64_t b = 0; b < w->taps; b++, cols += c->channels) {
        const int64_t x = x0 + b * w->inc;
        if (x < 0 || x >= c->src_size[1])
            zero_floats(cols, c->channels);
        else
            copy_floats(cols, row + x * c->src_stride + c->channel, c->channels);
    }
}

void conv_im2col(const conv_cols *c, const conv_axis *h, const conv_axis *w, float *cols) {
    const int64_t row_floats = w->taps * c->channels;
    int64_t j = c->first % w->grid, i = c->first / w->grid % h->grid, n = c->first / w->grid / h->grid;
    for (int64_t t = c->first; t < c->end; t++) {
        const float *image = c->src + n * c->src_size[0] * c->src_size[1] * c->src_stride;
        for (int64_t a = 0; a < h->taps; a++, cols += row_floats) {
            const int64_t y = i * h->src_step + h->base + a * h->inc;
            if (y < 0 || y >= c->src_size[0])
                zero_floats(cols, row_floats);
            else
                gather_row(c, image + y * c->src_size[1] * c->src_stride, j * w->src_step + w->base, w, cols);
        }
        if (++j < w->grid) continue;
        j = 0;
        if (++i < h->grid) continue;
        i = 0;
        n++;
    }
}
