/* The layers conv2d and conv_transpose2d: torch.nn.Conv2d's and ConvTranspose2d's settings, names and initialisation.
 */
#include "conv_family.h"

static const cvr_attr_desc out_channels =
    CVR_ATTR_INIT(INT, "out_channels", NULL, "channels of the output", CVR_ATTR_PLACE_BETWEEN(1, 1073741824.0));
static const cvr_attr_desc kernel_size =
    CVR_ATTR_INIT(INT, "kernel_size", NULL, "size of the kernel: both, or height,width", .count = 2,
                  CVR_ATTR_PLACE_BETWEEN(1, 1048576.0));
static const cvr_attr_desc output_padding =
    CVR_ATTR_INIT(INT, "output_padding", "0", "rows and columns added at the end of the output", .count = 2,
                  CVR_ATTR_BETWEEN(0, 1073741824.0));
static const cvr_attr_desc bias = CVR_ATTR_INIT(BOOL, "bias", "yes", "add a learned number to every channel");

typedef struct conv2d_settings {
    int64_t out_channels;
    int64_t kernel_size[2];
    cvr_conv2d_attrs conv;
    int64_t bias;
} conv2d_settings;
static const cvr_attr_desc *const conv2d_attrs[] = {&out_channels,  &kernel_size, &conv_stride, &conv_padding,
                                                    &conv_dilation, &conv_groups, &bias};

typedef struct conv_transpose2d_settings {
    int64_t out_channels;
    int64_t kernel_size[2];
    cvr_conv_transpose2d_attrs conv;
    int64_t bias;
} conv_transpose2d_settings;
static const cvr_attr_desc *const conv_transpose2d_attrs[] = {
    &out_channels, &kernel_size, &conv_stride, &conv_padding, &conv_dilation, &conv_groups, &output_padding, &bias};

/* What the two layers have to say about their parameters. */
typedef struct conv_params {
    int64_t weight_shape[4];
    int64_t out_channels;
    int64_t bias;
} conv_params;

static int32_t check_channels(const cvr_type *x, int64_t out, int64_t groups, cvr_error *err) {
    if (x->rank != 4)
        return cvr_fail(err, CVR_ERR_INVALID, "a convolution needs an input (N,C,H,W); this one is %s",
                        cvr_shape_of(x).text);
    if (x->shape[1] % groups != 0 || out % groups != 0)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "groups=%lld must divide the %lld channels of the input %s and out_channels=%lld",
                        (long long)groups, (long long)x->shape[1], cvr_shape_of(x).text, (long long)out);
    return CVR_OK;
}

/*
 * weight and bias, both uniform in +-1/sqrt(fan_in), which is what kaiming_uniform with a = sqrt(5) comes to. fan_in is
 * axis 1 times the kernel, as torch.nn.init counts it (for the transposed convolution too).
 */
static int32_t add_params(const cvr_builder *b, const conv_params *p, cvr_value *weight, cvr_value *bias_value,
                          cvr_error *err) {
    const double bound =
        1.0 / sqrt((double)p->weight_shape[1] * (double)p->weight_shape[2] * (double)p->weight_shape[3]);
    const cvr_init init = {sizeof init, CVR_INIT_UNIFORM, 0, -bound, bound};
    cvr_param_decl decl = {
        .struct_size = sizeof decl,
        .name = "weight",
        .dtype = CVR_F32,
        .rank = 4,
        .shape = {p->weight_shape[0], p->weight_shape[1], p->weight_shape[2], p->weight_shape[3], 1, 1},
        .flags = CVR_PARAM_TRAINABLE,
        .init = &init};
    const int32_t status = b->param(b, &decl, weight, err);
    *bias_value = CVR_NONE;
    if (status != CVR_OK || !p->bias) return status;
    decl.name = "bias";
    decl.rank = 1;
    decl.shape[0] = p->out_channels;
    decl.shape[1] = decl.shape[2] = decl.shape[3] = 1;
    decl.flags |= CVR_PARAM_BIAS;
    return b->param(b, &decl, bias_value, err);
}

static int32_t build_conv2d(const cvr_builder *b, const void *attrs, const cvr_value *inputs, uint32_t n_inputs,
                            cvr_value *outputs, cvr_error *err) {
    const conv2d_settings *s = attrs;
    const cvr_type *x = b->type(b, inputs[0]);
    cvr_value args[3] = {inputs[0]};
    (void)n_inputs;
    CVR_TRY(check_channels(x, s->out_channels, s->conv.groups, err));
    const conv_params p = {{s->out_channels, x->shape[1] / s->conv.groups, s->kernel_size[0], s->kernel_size[1]},
                           s->out_channels,
                           s->bias};
    CVR_TRY(add_params(b, &p, &args[1], &args[2], err));
    return cvr_emit(b, "conv2d", &s->conv, sizeof s->conv, args, s->bias ? 3 : 2, outputs, err);
}

static int32_t build_conv_transpose2d(const cvr_builder *b, const void *attrs, const cvr_value *inputs,
                                      uint32_t n_inputs, cvr_value *outputs, cvr_error *err) {
    const conv_transpose2d_settings *s = attrs;
    const cvr_type *x = b->type(b, inputs[0]);
    const int64_t groups = s->conv.conv.groups;
    cvr_value args[3] = {inputs[0]};
    (void)n_inputs;
    CVR_TRY(check_channels(x, s->out_channels, groups, err));
    const conv_params p = {
        {x->shape[1], s->out_channels / groups, s->kernel_size[0], s->kernel_size[1]}, s->out_channels, s->bias};
    CVR_TRY(add_params(b, &p, &args[1], &args[2], err));
    return cvr_emit(b, "conv_transpose2d", &s->conv, sizeof s->conv, args, s->bias ? 3 : 2, outputs, err);
}

CVR_STATIC_ASSERT(sizeof(conv2d_settings) == 8 * (1 + 2 + 7 + 1), "settings must match the schema");
CVR_STATIC_ASSERT(sizeof(conv_transpose2d_settings) == 8 * (1 + 2 + 9 + 1), "settings must match the schema");

static const cvr_layer_desc conv2d = {.struct_size = sizeof(cvr_layer_desc),
                                      .name = "conv2d",
                                      .doc = "2-D convolution (torch.nn.Conv2d)",
                                      .n_attrs = sizeof conv2d_attrs / sizeof *conv2d_attrs,
                                      .min_inputs = 1,
                                      .max_inputs = 1,
                                      .n_outputs = 1,
                                      .attrs = conv2d_attrs,
                                      .build = build_conv2d};

static const cvr_layer_desc conv_transpose2d = {.struct_size = sizeof(cvr_layer_desc),
                                                .name = "conv_transpose2d",
                                                .doc = "2-D transposed convolution (torch.nn.ConvTranspose2d)",
                                                .n_attrs =
                                                    sizeof conv_transpose2d_attrs / sizeof *conv_transpose2d_attrs,
                                                .min_inputs = 1,
                                                .max_inputs = 1,
                                                .n_outputs = 1,
                                                .attrs = conv_transpose2d_attrs,
                                                .build = build_conv_transpose2d};

const cvr_layer_desc *const conv_layers[CONV_LAYERS] = {&conv2d, &conv_transpose2d};
