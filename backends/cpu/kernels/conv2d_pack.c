/*
 * Weights in panels for the tiles of conv2d_gather.c. The packed weights are (phase, group, panel), and a panel is
 * (block of source channels, tap of the phase, channel of the block, column), with cpu_micro.columns destination
 * channels as columns and zeros past the last one. So a tile reads its B from one end to the other, and one block of
 * source channels with all taps is contiguous. Depthwise weights are (tap, channel), in the order of
 * conv2d_depthwise.h. A task packs one tap of one panel.
 */
#include "conv2d_depthwise.h"
#include "cpu_operand.h"

/* Where kernel row or column r stands: its phase, and its place among the taps of that phase. */
static int64_t tap_place(const conv_shape *shape, int axis, int64_t r, conv_axis *out, int64_t *phase) {
    const int64_t s = shape->stride[axis];
    *phase = 0;
    if (shape->transposed) *phase = ((r * shape->dilation[axis] - shape->padding[axis]) % s + s) % s;
    if (*phase >= shape->phases[axis]) return -1; /* no row of the destination sees it */
    conv_axis_of(out, shape, axis, *phase);
    return (r - out->tap0) / out->tap_step;
}

/* One tap of a panel, block after block; `to` is the panel's first place, `taps` and `place` the phase's. */
static void pack_tap(const conv_job *job, int64_t g, int64_t panel, int64_t tap, cpu_operand *to, int64_t taps,
                     int64_t place) {
    const conv_shape *s = &job->shape;
    const int64_t all = s->kernel[0] * s->kernel[1], width = cpu_micro.columns, first = panel * width;
    const int64_t n = cpu_min(width, s->dst_c - first);
    for (int64_t c = 0; c < s->src_c; c += job->block_c) {
        const int64_t k = cpu_min(job->block_c, s->src_c - c);
        cpu_operand *block = to + (taps * c + place * cpu_depth(k)) * width;
        const float *from = job->weight + (s->transposed ? ((g * s->src_c + c) * all + tap) * s->dst_c + first
                                                         : ((g * s->dst_c + first) * all + tap) * s->src_c + c);
        operand_pack_weight(block, job->packed_low, from, all * (s->transposed ? s->dst_c : s->src_c), k, n,
                            !s->transposed);
    }
}

/* Task (group, panel, kernel row, kernel column); where depthwise, (kernel row, kernel column). */
static void pack_task(void *ctx, uint64_t task, uint32_t worker) {
    const conv_job *job = ctx;
    const conv_shape *shape = &job->shape;
    const int64_t all = shape->kernel[0] * shape->kernel[1], t = (int64_t)task % all;
    conv_axis h, w;
    int64_t phase_h, phase_w;
    const int64_t a = tap_place(shape, 0, t / shape->kernel[1], &h, &phase_h);
    const int64_t b = tap_place(shape, 1, t % shape->kernel[1], &w, &phase_w);
    (void)worker;
    if (a < 0 || b < 0) return;
    const int64_t place = a * w.taps + b, before = conv_taps_before(shape, &h, phase_h, phase_w);
    if (!CPU_BF16 && conv_is_depthwise(shape)) {
        cpu_operand *to = job->packed + (before + place) * depthwise_places(shape->groups, job->bf16);
        for (int64_t c = 0; c < shape->groups; c++)
            to[depthwise_place(c, job->bf16)] = cpu_rounded(job->weight[c * all + t]);
        return;
    }
    const int64_t g = (int64_t)task / all / job->panels, panel = (int64_t)task / all % job->panels;
    const int64_t tap_floats = cpu_depth(shape->src_c) * cpu_micro.columns;
    const int64_t panels_before = before * shape->groups * job->panels + (g * job->panels + panel) * h.taps * w.taps;
    pack_tap(job, g, panel, t, job->packed + panels_before * tap_floats, h.taps * w.taps, place);
}

void conv_pack(const conv_job *job, const cvr_threadpool *pool) {
    const conv_shape *s = &job->shape;
    const int64_t panels = !CPU_BF16 && conv_is_depthwise(s) ? 1 : s->groups * job->panels;
    conv_job copy = *job;
    pool->run(pool, (uint64_t)(panels * s->kernel[0] * s->kernel[1]), pack_task, &copy);
}
