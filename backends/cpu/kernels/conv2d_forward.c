/* Convolution forward and backward-input as one gather over tiles of pixels (see conv2d.h). */
#include "conv2d.h"

/* Where kernel row or column r stands: its phase, and its place among the taps of that phase. */
static int64_t tap_place(const conv_job *job, int axis, int64_t r, conv_axis *out, int64_t *phase) {
    const int64_t s = job->stride[axis];
    *phase = 0;
    if (job->transposed) *phase = ((r * job->dilation[axis] - job->padding[axis]) % s + s) % s;
    if (*phase >= job->phases[axis]) return -1; /* no row of the destination sees it */
    conv_axis_of(out, job, axis, *phase);
    return (r - out->tap0) / out->tap_step;
}

/*
 * Task (g, r, s): one tap's matrix. Packed weight: (groups, taps by phase, src_c, dst_c), or (taps by phase, groups)
 * where depthwise.
 */
static void pack_task(void *ctx, uint64_t task, uint32_t worker) {
    const conv_job *job = ctx;
    const int64_t taps = job->kernel[0] * job->kernel[1], t = (int64_t)task % taps, g = (int64_t)task / taps;
    const int64_t r = t / job->kernel[1], s = t % job->kernel[1];
    conv_axis h, w;
    int64_t phase_h, phase_w;
    const int64_t a = tap_place(job, 0, r, &h, &phase_h), b = tap_place(job, 1, s, &w, &phase_w);
    (void)worker;
    if (a < 0 || b < 0) return;
    const int64_t place = conv_taps_before(job, &h, phase_h, phase_w) + a * w.taps + b;
    if (job->depthwise) {
        for (int64_t c = 0; c < job->groups; c++) job->packed[place * job->groups + c] = job->weight[c * taps + t];
        return;
    }
    const int64_t outer = job->transposed ? job->src_c : job->dst_c, inner = job->transposed ? job->dst_c : job->src_c;
    float *to = job->packed + (g * taps + place) * outer * inner;
    for (int64_t o = 0; o < outer; o++) {
        const float *from = job->weight + ((g * outer + o) * taps + t) * inner;
        if (job->transposed)
            memcpy(to + o * inner, from, (size_t)inner * sizeof(float));
        else
            for (int64_t c = 0; c < inner; c++) to[c * outer + o] = from[c];
    }
}

/* The products of one tile: out (end - first, groups * dst_c). */
static void tile_products(const conv_job *job, const conv_axis *h, const conv_axis *w, const float *weight,
                          const conv_cols *tile, float *cols, float *out) {
    const int64_t pixels = tile->end - tile->first, all_c = job->groups * job->dst_c;
    const int64_t taps = job->kernel[0] * job->kernel[1], k = h->taps * w->taps * job->src_c;
    if (job->bias)
        for (int64_t i = 0; i < pixels; i++) memcpy(out + i * all_c, job->bias, (size_t)all_c * sizeof(float));
    for (int64_t g = 0; g < job->groups; g++) {
        cpu_gemm p = {.m = pixels, .n = job->dst_c, .k = k, .ldc = all_c, .beta = job->bias ? 1 : 0};
        conv_cols part = *tile;
        part.channel = g * job->src_c;
        p.c = out + g * job->dst_c;
        p.b = weight + g * taps * job->src_c * job->dst_c;
        p.trans_b = !job->pack_weights && !job->transposed;
        p.ldb = p.trans_b ? k : job->dst_c;
        if (job->gather_pixels) {
            conv_im2col(&part, h, w, cols);
            p.a = cols;
            p.lda = k;
        } else {
            p.a = job->src + part.first * part.src_stride + part.channel;
            p.lda = part.src_stride;
        }
        cpu_gemm_run(&p);
    }
}

/* dst at the phase's pixels [first, end) = out (end - first, groups * dst_c). */
static void scatter_tile(const conv_job *job, const conv_axis *h, const conv_axis *w, const conv_cols *tile,
                         const float *out) {
    const int64_t all_c = job->groups * job->dst_c;
    for (int64_t t = tile->first; t < tile->end; t++, out += all_c) {
        const int64_t x = w->dst_off + t % w->grid * w->dst_step;
        const int64_t y = h->dst_off + t / w->grid % h->grid * h->dst_step, n = t / w->grid / h->grid;
        memcpy(job->dst + ((n * job->dst_size[0] + y) * job->dst_size[1] + x) * all_c, out,
               (size_t)all_c * sizeof(float));
    }
}

static void gather_task(void *ctx, uint64_t task, uint32_t worker) {
    const conv_job *job = ctx;
    const int64_t phase = (int64_t)task / job->tiles, first = (int64_t)task % job->tiles * job->tile;
    const int64_t phase_h = phase / job->phases[1], phase_w = phase % job->phases[1];
    conv_axis h, w;
    conv_axis_of(&h, job, 0, phase_h);
    conv_axis_of(&w, job, 1, phase_w);
    const int64_t end = cpu_min(first + job->tile, job->n * h.grid * w.grid);
    if (first >= end) return;
    const float *weight = job->weight;
    if (job->pack_weights) {
        const int64_t before = conv_taps_before(job, &h, phase_h, phase_w);
        weight = job->packed + before * (job->depthwise ? job->groups : job->src_c * job->dst_c);
    }
    if (job->depthwise) {
        conv_depthwise_tile(job, &h, &w, weight, first, end);
        return;
    }
    const conv_cols tile = {.src = job->src,
                            .src_size = {job->src_size[0], job->src_size[1]},
                            .src_stride = job->groups * job->src_c,
                            .channels = job->src_c,
                            .first = first,
                            .end = end};
    float *scratch = job->scratch + worker * job->scratch_floats;
    if (!job->scatter_pixels) {
        tile_products(job, &h, &w, weight, &tile, scratch, job->dst + first * job->groups * job->dst_c);
        return;
    }
    float *cols = scratch + cpu_line_up(job->tile * job->groups * job->dst_c);
    tile_products(job, &h, &w, weight, &tile, cols, scratch);
    scatter_tile(job, &h, &w, &tile, scratch);
}

void conv_job_run(conv_job *job, const cvr_threadpool *pool, float *workspace) {
    const int64_t taps = job->kernel[0] * job->kernel[1];
    job->packed = workspace;
    job->scratch = workspace + job->packed_floats;
    if (job->pack_weights) pool->run(pool, (uint64_t)(job->depthwise ? taps : taps * job->groups), pack_task, job);
    const int64_t tasks = job->phases[0] * job->phases[1] * job->tiles;
    if (tasks > 0) pool->run(pool, (uint64_t)tasks, gather_task, job);
}
