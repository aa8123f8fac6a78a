/* Weights of integer convolutions in panels (int8.h), with biases and scales beside them. */
#include "int8.h"

static int64_t group_bytes(const int8_conv *c) {
    return c->taps * c->quads * 4 * c->k_padded;
}

static uint64_t vector_bytes(const int8_conv *c) {
    return (uint64_t)(c->groups * c->k_padded) * 4;
}

static uint64_t weight_bytes(const int8_conv *c) {
    return int8_line_up((uint64_t)(c->groups * group_bytes(c)));
}

uint64_t int8_packed_bytes(const int8_conv *c) {
    return weight_bytes(c) + 2 * vector_bytes(c);
}

int8_packed int8_packed_of(const int8_conv *c, void *memory) {
    char *at = memory;
    return (int8_packed){.weights = (int8_t *)at,
                         .bias = (int32_t *)(void *)(at + weight_bytes(c)),
                         .scale = (float *)(void *)(at + weight_bytes(c) + vector_bytes(c))};
}

/* The weight of filter k at byte b of tap t, 0 where there is none. `w`: the group's. */
static int8_t weight_at(const int8_conv *c, const int8_t *w, int64_t k, int64_t t, int64_t b) {
    const int64_t channel = b % c->padded, column = c->merges ? b / c->padded : t % c->kernel[1],
                  row = c->merges ? t : t / c->kernel[1];
    if (k >= c->k || channel >= c->c || column >= c->kernel[1]) return 0;
    return w[k * c->w_filter + row * c->w_row + column * c->w_column + channel * c->w_channel];
}

static void pack_group(const int8_conv *c, const int8_t *w, int8_t *to) {
    for (int64_t panel = 0; panel < c->panels; panel++) {
        const int64_t width = int8_panel_width(c, panel);
        for (int64_t t = 0; t < c->taps; t++)
            for (int64_t q = 0; q < c->quads; q++)
                for (int64_t k = 0; k < width; k++)
                    for (int64_t b = 0; b < 4; b++) *to++ = weight_at(c, w, panel * INT8_PANEL + k, t, 4 * q + b);
    }
}

/* Of the weights of filter k. */
static int32_t sum_of(const int8_conv *c, const int8_t *w, int64_t k) {
    int32_t sum = 0;
    for (int64_t row = 0; row < c->kernel[0]; row++)
        for (int64_t column = 0; column < c->kernel[1]; column++)
            for (int64_t channel = 0; channel < c->c; channel++)
                sum += w[k * c->w_filter + row * c->w_row + column * c->w_column + channel * c->w_channel];
    return sum;
}

typedef struct packing {
    const int8_conv *c;
    const cvr_kernel_args *a;
    int8_packed to;
} packing;

static void pack_task(void *ctx, uint64_t task, uint32_t worker) {
    const packing *p = ctx;
    const int8_conv *c = p->c;
    const int64_t g = (int64_t)task;
    const int8_t *w = (const int8_t *)p->a->inputs[1]->data + c->w_first + g * c->k * c->w_filter;
    const float *scale = (const float *)p->a->inputs[2]->data + g * c->k;
    const int32_t *bias =
        p->a->n_inputs > 3 && p->a->inputs[3] ? (const int32_t *)p->a->inputs[3]->data + g * c->k : NULL;
    int32_t *to_bias = p->to.bias + g * c->k_padded;
    float *to_scale = p->to.scale + g * c->k_padded;
    (void)worker;
    pack_group(c, w, p->to.weights + g * group_bytes(c));
    for (int64_t k = 0; k < c->k_padded; k++) {
        const int there = k < c->k;
        to_bias[k] = there ? (bias ? bias[k] : 0) - (int32_t)c->q.x_zero * sum_of(c, w, k) : 0;
        to_scale[k] = there ? cvr_requant_multiplier(&c->q, scale[k]) : 0;
    }
}

void int8_pack(const int8_conv *c, const cvr_kernel_args *a, void *memory) {
    packing p = {c, a, int8_packed_of(c, memory)};
    cpu_run(a->pool, c->groups, pack_task, &p);
}
