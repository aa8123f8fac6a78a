/*
 * conv_transpose2d_int8. Results whose rows and columns leave the same remainders when divided by the stride meet the
 * same taps of the weight, and as neighbours among themselves neighbouring pixels: each such set is a convolution of
 * stride 1 with a part of the weight. U-Net's 2 x 2 with stride 2 is four of 1 x 1.
 */
#include "int8.h"

typedef struct transposed {
    int8_conv all; /* what the parts have in common */
    int64_t kernel[2], stride[2], padding[2], dilation[2];
    int64_t parts[2]; /* along each axis */
} transposed;

static transposed transposed_of(const cvr_kernel_args *a) {
    const cvr_conv_transpose2d_int8_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0], *w = a->inputs[1], *y = a->outputs[0];
    transposed t = {
        .all = {.q = attrs->q, .n = x->shape[0], .groups = 1, .c = w->shape[0], .k = w->shape[1], .stride = {1, 1}}};
    for (int i = 0; i < 2; i++) {
        t.kernel[i] = w->shape[2 + i];
        t.stride[i] = attrs->conv.conv.stride[i];
        t.padding[i] = attrs->conv.conv.padding[i];
        t.dilation[i] = attrs->conv.conv.dilation[i];
        t.all.size[i] = x->shape[2 + i];
        t.all.whole[i] = y->shape[2 + i];
        t.all.gap[i] = t.stride[i];
        t.parts[i] = cpu_min(t.stride[i], y->shape[2 + i]);
    }
    t.all.w_filter = 1; /* weights lie (C,R,S,K) */
    t.all.w_channel = w->shape[2] * w->shape[3] * w->shape[1];
    return t;
}

static int64_t common_divisor(int64_t a, int64_t b) {
    while (b) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/*
 * The part of axis i that begins with result `first`. Tap r meets the pixel (first + padding - r * dilation) / stride,
 * where that is a whole number: every `every`-th tap does. Since pixels go down where taps go up, the part has its taps
 * from the last to the first. Returns the last tap.
 */
static int64_t set_axis(const transposed *t, int i, int64_t first, int8_conv *c, int64_t *every) {
    const int64_t stride = t->stride[i], dilation = t->dilation[i], common = common_divisor(stride, dilation),
                  from = first + t->padding[i];
    int64_t tap = 0;
    *every = stride / common;
    while (tap < *every && (from - tap * dilation) % stride) tap++;
    c->first[i] = first;
    c->out[i] = cpu_ceil_div(t->all.whole[i] - first, stride);
    c->dilation[i] = dilation / common;
    c->kernel[i] = tap < *every && tap < t->kernel[i] ? (t->kernel[i] - 1 - tap) / *every + 1 : 0;
    tap += (c->kernel[i] - 1) * *every;
    c->padding[i] = c->kernel[i] ? -((from - tap * dilation) / stride) : 0;
    return tap;
}

static int8_conv part_of(const transposed *t, int64_t part) {
    int8_conv c = t->all;
    int64_t rows, columns;
    const int64_t last_row = set_axis(t, 0, part / t->parts[1], &c, &rows),
                  last_column = set_axis(t, 1, part % t->parts[1], &c, &columns);
    if (!c.kernel[0] || !c.kernel[1]) c.kernel[0] = c.kernel[1] = 0; /* results are biases alone */
    c.w_first = (last_row * t->kernel[1] + last_column) * c.k;
    c.w_row = -rows * t->kernel[1] * c.k;
    c.w_column = -columns * c.k;
    int8_settle(&c, 0);
    return c;
}

static int64_t parts_of(const transposed *t) {
    return t->parts[0] * t->parts[1];
}

static uint64_t packed_bytes(const transposed *t) {
    uint64_t bytes = 0;
    for (int64_t i = 0; i < parts_of(t); i++) {
        const int8_conv c = part_of(t, i);
        bytes += int8_line_up(int8_packed_bytes(&c));
    }
    return bytes;
}

static void pack(const transposed *t, const cvr_kernel_args *a, void *to) {
    char *at = to;
    for (int64_t i = 0; i < parts_of(t); i++) {
        const int8_conv c = part_of(t, i);
        int8_pack(&c, a, at);
        at += int8_line_up(int8_packed_bytes(&c));
    }
}

static transposed of_signature(const cvr_signature *sig) {
    const cvr_kernel_args a = {.attrs = sig->attrs,
                               .inputs = (const cvr_tensor *const *)(const void *)sig->inputs,
                               .outputs = (cvr_tensor *const *)(const void *)sig->outputs};
    return transposed_of(&a);
}

static uint64_t prepared_bytes(const cvr_signature *sig) {
    const transposed t = of_signature(sig);
    return packed_bytes(&t);
}

static int32_t prepare(const cvr_kernel_args *a, cvr_error *err) {
    const transposed t = transposed_of(a);
    (void)err;
    pack(&t, a, a->prepared);
    return CVR_OK;
}

static uint64_t workspace(const cvr_signature *sig) {
    const transposed t = of_signature(sig);
    uint64_t most = 0;
    for (int64_t i = 0; i < parts_of(&t); i++) {
        const int8_conv c = part_of(&t, i);
        const uint64_t bytes = int8_conv_workspace(&c, sig->n_workers);
        most = bytes > most ? bytes : most;
    }
    return most + (sig->prepared ? 0 : packed_bytes(&t));
}

/* All parts look at the same copy of x, where there is one. */
static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const transposed t = transposed_of(a);
    char *at = a->workspace;
    const char *packed = a->prepared;
    (void)err;
    if (!packed) {
        pack(&t, a, at);
        packed = at;
        at += packed_bytes(&t);
    }
    for (int64_t i = 0; i < parts_of(&t); i++) {
        const int8_conv c = part_of(&t, i);
        const uint8_t *x = i == 0 || !c.copies ? a->inputs[0]->data : NULL;
        int8_conv_run(&c, packed, x, a->outputs[0]->data, at, a->pool);
        packed += int8_line_up(int8_packed_bytes(&c));
    }
    return CVR_OK;
}

static int32_t supports(const cvr_signature *sig, cvr_error *reason) {
    const transposed t = of_signature(sig);
    if (t.parts[0] <= 8 && t.parts[1] <= 8) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "strides of at most 8");
}

/* Weight, its scales, bias. */
static const cpu_preparation preparation = {2 | 4 | 8, prepared_bytes, prepare};

static const cpu_kernel kernels[] = {
    {"conv_transpose2d_int8", run, workspace, supports, 0, CPU_KERNEL_FLAGS, &preparation},
};
const cpu_kernel_table cpu_int8_transpose_kernels = {kernels, sizeof kernels / sizeof *kernels};
