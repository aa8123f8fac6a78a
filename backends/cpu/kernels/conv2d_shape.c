/*
 * The geometry of the gather (see conv2d.h), an axis at a time: into how many phases the destination falls, which taps
 * a phase sees, and which source row each tap of a destination row reads. Forward, row h and kernel row r read source
 * row h * stride + r * dilation - padding, and there is one phase.
 */
#include "conv2d.h"
#include "cpu_vec.h"

static int64_t gcd(int64_t a, int64_t b) {
    while (b) {
        const int64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

static void axis_forward(conv_axis *out, const conv_shape *shape, int axis) {
    *out = (conv_axis){.grid = shape->dst_size[axis],
                       .dst_step = 1,
                       .src_step = shape->stride[axis],
                       .base = -shape->padding[axis],
                       .inc = shape->dilation[axis],
                       .taps = shape->kernel[axis],
                       .tap_step = 1};
}

/*
 * Row h = phase + i * s of the destination sees kernel row r from source row (h + p - r * d) / s, where that divides.
 * The r that do are s / gcd(s, d) apart; they are taken from the last to the first, so that source rows ascend.
 */
static void axis_transposed(conv_axis *out, const conv_shape *shape, int axis, int64_t phase) {
    const int64_t s = shape->stride[axis], d = shape->dilation[axis], at = phase + shape->padding[axis];
    const int64_t step = s / gcd(s, d), size = shape->dst_size[axis];
    int64_t r = 0;
    while (r < shape->kernel[axis] && r < step && (at - r * d) % s != 0) r++;
    const int any = r < shape->kernel[axis] && r < step;
    const int64_t taps = any ? cpu_ceil_div(shape->kernel[axis] - r, step) : 0;
    const int64_t last = any ? r + (taps - 1) * step : 0;
    *out = (conv_axis){.grid = phase < size ? cpu_ceil_div(size - phase, s) : 0,
                       .dst_off = phase,
                       .dst_step = s,
                       .src_step = 1,
                       .base = any ? (at - last * d) / s : 0,
                       .inc = step * d / s,
                       .taps = taps,
                       .tap0 = last,
                       .tap_step = -step};
}

void conv_axis_of(conv_axis *out, const conv_shape *shape, int axis, int64_t phase) {
    if (shape->transposed)
        axis_transposed(out, shape, axis, phase);
    else
        axis_forward(out, shape, axis);
}

int64_t conv_axis_unit(const conv_axis *a) {
    return a->taps > 1 ? gcd(a->src_step, a->inc) : a->src_step;
}

int64_t conv_taps_before(const conv_shape *shape, const conv_axis *h, int64_t phase_h, int64_t phase_w) {
    int64_t rows = 0, columns = 0, all_columns = 0;
    conv_axis a;
    for (int64_t u = 0; u < phase_h; u++) {
        conv_axis_of(&a, shape, 0, u);
        rows += a.taps;
    }
    for (int64_t v = 0; v < shape->phases[1]; v++) {
        conv_axis_of(&a, shape, 1, v);
        if (v < phase_w) columns += a.taps;
        all_columns += a.taps;
    }
    return rows * all_columns + h->taps * columns;
}

/* A 1x1 convolution that touches each pixel once has no geometry: its pixels are pictures of their own. */
static void flatten(conv_shape *s) {
    for (int i = 0; i < 2; i++) {
        s->n *= s->src_size[i];
        s->src_size[i] = s->dst_size[i] = s->stride[i] = s->phases[i] = 1;
    }
    s->flat = 1;
}

void conv_shape_of(conv_shape *out, const cvr_conv2d_attrs *attrs, const cvr_tensor *src, const cvr_tensor *weight,
                   const cvr_tensor *dst, int64_t transposed) {
    int flat = 1;
    memset(out, 0, sizeof *out);
    out->n = src->shape[0];
    out->groups = attrs->groups;
    out->src_c = src->shape[1] / out->groups;
    out->dst_c = dst->shape[1] / out->groups;
    out->transposed = transposed;
    for (int i = 0; i < 2; i++) {
        out->src_size[i] = src->shape[2 + i];
        out->dst_size[i] = dst->shape[2 + i];
        out->kernel[i] = weight->shape[2 + i];
        out->stride[i] = attrs->stride[i];
        out->padding[i] = attrs->padding[i];
        out->dilation[i] = attrs->dilation[i];
        out->phases[i] = transposed ? cpu_min(out->stride[i], out->dst_size[i]) : 1;
        flat = flat && out->kernel[i] == 1 && out->padding[i] == 0 && out->src_size[i] == out->dst_size[i] &&
               (out->stride[i] == 1 || out->dst_size[i] == 1);
    }
    if (flat) flatten(out);
}

#define WINOGRAD_CHANNELS 32        /* narrower layers would spend their time on transforms */
#define WINOGRAD_CHANNELS_BF16 64   /* nor in bf16 those whose gradient is narrower than this */
#define WINOGRAD_TILES 32           /* fewer would not pay for the transform of the weights */
#define WINOGRAD_TILES_BF16 80      /* nor those in bf16, whose direct products are twice as fast */
#define WINOGRAD_TILES_PREPACKED 16 /* nor for reading them, four times as many as they were */
#define WINOGRAD_TILE 4

int conv_winograd_pays(const conv_shape *s, int64_t bf16, int64_t prepacked) {
    const int64_t least = bf16 ? WINOGRAD_TILES_BF16 : prepacked ? WINOGRAD_TILES_PREPACKED : WINOGRAD_TILES;
    int64_t tiles = s->n;
    if (s->groups != 1 || s->src_c < WINOGRAD_CHANNELS || s->dst_c < WINOGRAD_CHANNELS) return 0;
    if (bf16 && s->transposed && s->dst_c < WINOGRAD_CHANNELS_BF16) return 0;
    if (bf16 && (s->src_c % (2 * VEC) != 0 || s->dst_c % (2 * VEC) != 0)) return 0;
    for (int i = 0; i < 2; i++) {
        if (s->kernel[i] != 3 || s->stride[i] != 1 || s->dilation[i] != 1) return 0;
        tiles *= cpu_ceil_div(s->dst_size[i], WINOGRAD_TILE);
    }
    const int64_t results = s->n * s->dst_size[0] * s->dst_size[1];
    /* Of ragged pictures' results too many would be wanted by nobody. */
    return tiles >= least && results * 10 >= tiles * WINOGRAD_TILE * WINOGRAD_TILE * 7;
}
