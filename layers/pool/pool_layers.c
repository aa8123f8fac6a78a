/* The layers max_pool2d, avg_pool2d and adaptive_avg_pool2d: torch.nn's settings. */
#include "pool_family.h"

static const cvr_attr_desc stride =
    CVR_ATTR_INIT(INTS, "stride", "", "step of the window: both, or height,width; left out: kernel_size", .count = 2,
                  CVR_ATTR_PLACE_BETWEEN(1, POOL_MAX));

/* torch's stride: nothing, one number or two. */
typedef struct optional_pair {
    int64_t n;
    int64_t x[2];
} optional_pair;

static void resolve(int64_t out[2], const optional_pair *given, const int64_t otherwise[2]) {
    for (int i = 0; i < 2; i++) out[i] = given->n == 0 ? otherwise[i] : given->x[given->n == 2 ? i : 0];
}

typedef struct max_pool2d_settings {
    int64_t kernel_size[2];
    optional_pair stride;
    int64_t padding[2];
    int64_t dilation[2];
    int64_t ceil_mode;
} max_pool2d_settings;
static const cvr_attr_desc *const max_attrs[] = {&pool_kernel_size, &stride, &pool_padding, &pool_dilation,
                                                 &pool_ceil_mode};

typedef struct avg_pool2d_settings {
    int64_t kernel_size[2];
    optional_pair stride;
    int64_t padding[2];
    int64_t ceil_mode;
    int64_t count_include_pad;
    int64_t divisor_override;
} avg_pool2d_settings;
static const cvr_attr_desc *const avg_attrs[] = {
    &pool_kernel_size, &stride, &pool_padding, &pool_ceil_mode, &pool_count_include_pad, &pool_divisor_override};

static const cvr_attr_desc *const adaptive_attrs[] = {&pool_output_size};

/* The op's second output, the index, is for the gradient alone. */
static int32_t build_max(const cvr_builder *b, const void *attrs, const cvr_value *inputs, uint32_t n_inputs,
                         cvr_value *outputs, cvr_error *err) {
    const max_pool2d_settings *s = attrs;
    cvr_max_pool2d_attrs op = {.ceil_mode = s->ceil_mode};
    cvr_value y_and_index[2];
    (void)n_inputs;
    resolve(op.stride, &s->stride, s->kernel_size);
    memcpy(op.kernel_size, s->kernel_size, sizeof op.kernel_size);
    memcpy(op.padding, s->padding, sizeof op.padding);
    memcpy(op.dilation, s->dilation, sizeof op.dilation);
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = "max_pool2d",
                              .attrs = &op,
                              .attrs_size = sizeof op,
                              .inputs = inputs,
                              .outputs = y_and_index,
                              .n_inputs = 1,
                              .n_outputs = 2};
    CVR_TRY(b->emit(b, &call, err));
    outputs[0] = y_and_index[0];
    return CVR_OK;
}

static int32_t build_avg(const cvr_builder *b, const void *attrs, const cvr_value *inputs, uint32_t n_inputs,
                         cvr_value *outputs, cvr_error *err) {
    const avg_pool2d_settings *s = attrs;
    cvr_avg_pool2d_attrs op = {
        .ceil_mode = s->ceil_mode, .count_include_pad = s->count_include_pad, .divisor_override = s->divisor_override};
    (void)n_inputs;
    resolve(op.stride, &s->stride, s->kernel_size);
    memcpy(op.kernel_size, s->kernel_size, sizeof op.kernel_size);
    memcpy(op.padding, s->padding, sizeof op.padding);
    return cvr_emit(b, "avg_pool2d", &op, sizeof op, inputs, 1, outputs, err);
}

static int32_t build_adaptive(const cvr_builder *b, const void *attrs, const cvr_value *inputs, uint32_t n_inputs,
                              cvr_value *outputs, cvr_error *err) {
    (void)n_inputs;
    return cvr_emit(b, "adaptive_avg_pool2d", attrs, sizeof(cvr_adaptive_avg_pool2d_attrs), inputs, 1, outputs, err);
}

static const cvr_layer_desc max_pool2d = {.struct_size = sizeof(cvr_layer_desc),
                                          .name = "max_pool2d",
                                          .doc = "largest element of every window (torch.nn.MaxPool2d)",
                                          .n_attrs = sizeof max_attrs / sizeof *max_attrs,
                                          .min_inputs = 1,
                                          .max_inputs = 1,
                                          .n_outputs = 1,
                                          .attrs = max_attrs,
                                          .build = build_max};

static const cvr_layer_desc avg_pool2d = {.struct_size = sizeof(cvr_layer_desc),
                                          .name = "avg_pool2d",
                                          .doc = "mean of every window (torch.nn.AvgPool2d)",
                                          .n_attrs = sizeof avg_attrs / sizeof *avg_attrs,
                                          .min_inputs = 1,
                                          .max_inputs = 1,
                                          .n_outputs = 1,
                                          .attrs = avg_attrs,
                                          .build = build_avg};

static const cvr_layer_desc adaptive_avg_pool2d = {.struct_size = sizeof(cvr_layer_desc),
                                                   .name = "adaptive_avg_pool2d",
                                                   .doc = "means down to a given size (torch.nn.AdaptiveAvgPool2d)",
                                                   .n_attrs = 1,
                                                   .min_inputs = 1,
                                                   .max_inputs = 1,
                                                   .n_outputs = 1,
                                                   .attrs = adaptive_attrs,
                                                   .build = build_adaptive};

const cvr_layer_desc *const pool_layers[POOL_LAYERS] = {&max_pool2d, &avg_pool2d, &adaptive_avg_pool2d};
