/*
 * conv2d_int8 of one channel a group. Taps go by fours: the bytes of four taps at one channel are the four bytes that
 * an instruction multiplies by four weights. Weights lie as [four of taps][place of the channel][4]; those
 * of taps past the last one are 0.
 */
#include "int8.h"

int32_t int8_is_depthwise(const int8_conv *c) {
    return c->c == 1 && c->k == 1 && c->groups > 1;
}

static int64_t fours(const int8_conv *c) {
    return cpu_ceil_div(c->kernel[0] * c->kernel[1], 4);
}

/* Channels, rounded up so that the instruction set's last vector finds weights, biases and scales. */
static int64_t width(const int8_conv *c) {
    return cpu_ceil_div(c->groups, 64) * 64;
}

static int64_t weight_bytes(const int8_conv *c) {
    return fours(c) * width(c) * 4;
}

uint64_t int8_depthwise_bytes(const int8_conv *c) {
    return (uint64_t)(weight_bytes(c) + width(c) * 8);
}

void int8_depthwise_pack(const int8_conv *c, const cvr_kernel_args *a, void *memory) {
    const int64_t taps = c->kernel[0] * c->kernel[1];
    const int8_t *w = a->inputs[1]->data; /* (channels, taps) */
    const float *scale = a->inputs[2]->data;
    const int32_t *bias = a->n_inputs > 3 && a->inputs[3] ? a->inputs[3]->data : NULL;
    int8_t *to = memory;
    int32_t *to_bias = (int32_t *)(void *)(to + weight_bytes(c));
    float *to_scale = (float *)(void *)(to_bias + width(c));
    memset(memory, 0, int8_depthwise_bytes(c));
    for (int64_t k = 0; k < c->groups; k++) {
        const int64_t place = int8_depthwise_place(k);
        int32_t sum = 0;
        for (int64_t t = 0; t < taps; t++) {
            to[(t / 4 * width(c) + place) * 4 + t % 4] = w[k * taps + t];
            sum += w[k * taps + t];
        }
        to_bias[place] = (bias ? bias[k] : 0) - (int32_t)c->q.x_zero * sum;
        to_scale[place] = cvr_requant_multiplier(&c->q, scale[k]);
    }
}

typedef struct job {
    const int8_conv *c;
    const uint8_t *x, *outside;
    uint8_t *y;
    const char *packed;
    char *scratch; /* pointers, a part for each worker */
} job;

static uint64_t outside_bytes(const int8_conv *c) {
    return (uint64_t)width(c) + 64;
}

static uint64_t pointers_bytes(const int8_conv *c) {
    return int8_line_up((uint64_t)fours(c) * 4 * sizeof(void *));
}

uint64_t int8_depthwise_workspace(const int8_conv *c, uint32_t workers) {
    return outside_bytes(c) + workers * pointers_bytes(c);
}

static void point(const job *j, int64_t n, int64_t p, int64_t q, const uint8_t **x) {
    const int8_conv *c = j->c;
    const int64_t all = 4 * fours(c);
    int64_t t = 0;
    for (int64_t r = 0; r < c->kernel[0]; r++)
        for (int64_t s = 0; s < c->kernel[1]; s++) {
            const int64_t h = p * c->stride[0] - c->padding[0] + r * c->dilation[0],
                          w = q * c->stride[1] - c->padding[1] + s * c->dilation[1];
            const int inside = h >= 0 && h < c->size[0] && w >= 0 && w < c->size[1];
            x[t++] = inside ? j->x + ((n * c->size[0] + h) * c->size[1] + w) * c->groups : j->outside;
        }
    for (; t < all; t++) x[t] = j->outside;
}

/* From one pixel to the next. */
static void step(const job *j, const uint8_t **x) {
    const int64_t taps = j->c->kernel[0] * j->c->kernel[1], by = j->c->stride[1] * j->c->groups;
    for (int64_t t = 0; t < taps; t++)
        if (x[t] != j->outside) x[t] += by;
}

/* One row of the output. */
static void run_row(void *ctx, uint64_t task, uint32_t worker) {
    const job *j = ctx;
    const int8_conv *c = j->c;
    const uint8_t **x = (const uint8_t **)(void *)(j->scratch + worker * pointers_bytes(c));
    const int64_t n = (int64_t)task / c->out[0], p = (int64_t)task % c->out[0];
    const int32_t *bias = (const int32_t *)(const void *)(j->packed + weight_bytes(c));
    int8_pixel d = {.x = x,
                    .weights = (const int8_t *)j->packed,
                    .quads = fours(c),
                    .bias = bias,
                    .scale = (const float *)(bias + width(c)),
                    .y = j->y + (int64_t)task * c->out[1] * c->groups,
                    .n = c->groups,
                    .channels = width(c),
                    .zero = (int32_t)c->q.y_zero};
    for (int64_t q = 0; q < c->out[1]; q++, d.y += c->groups) {
        const int64_t left = q * c->stride[1] - c->padding[1], reach = (c->kernel[1] - 1) * c->dilation[1];
        if (left - c->stride[1] >= 0 && left + reach < c->size[1]) /* no column outside, here or at the pixel before */
            step(j, x);
        else
            point(j, n, p, q, x);
        cpu_int8_micro.depthwise(&d);
    }
}

void int8_depthwise_run(const int8_conv *c, const cvr_kernel_args *a, const void *packed, char *workspace) {
    job j = {.c = c,
             .x = a->inputs[0]->data,
             .outside = (const uint8_t *)workspace,
             .y = a->outputs[0]->data,
             .packed = packed,
             .scratch = workspace + outside_bytes(c)};
    memset(workspace, (int)c->q.x_zero, outside_bytes(c));
    cpu_run(a->pool, c->n * c->out[0], run_row, &j);
}
