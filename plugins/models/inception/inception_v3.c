/*
 * Inception v3 (Szegedy, Vanhoucke, Ioffe, Shlens, Wojna: "Rethinking the Inception Architecture for Computer Vision",
 * 2016) as torchvision has it. Names and initialisation are torchvision's (its trunc_normal_ is cut at -2 and 2, far
 * outside of a deviation of 0.1). Pictures are meant to be 299x299; 75x75 is the least.
 */
#include "../model_net.h"

typedef struct inception_attrs {
    double width_mult;
    int64_t aux_logits;
    int64_t transform_input;
    double dropout;
} inception_attrs;

/* The network, and the module that is being built. */
typedef struct scope {
    net *n;
    const inception_attrs *a;
    const char *name;
} scope;

/* Kernels, strides and paddings of torchvision's convolutions; `down` halves without padding. */
#define K1X1 "kernel_size=1"
#define K3X3 "kernel_size=3 padding=1"
#define K5X5 "kernel_size=5 padding=2"
#define K1X7 "kernel_size=1,7 padding=0,3"
#define K7X1 "kernel_size=7,1 padding=3,0"
#define K1X3 "kernel_size=1,3 padding=0,1"
#define K3X1 "kernel_size=3,1 padding=1,0"
#define K3X3_VALID "kernel_size=3"
#define K3X3_DOWN "kernel_size=3 stride=2"
#define K5X5_VALID "kernel_size=5"

/* ReLU(batch norm(convolution)), named MODULE.NAME, or NAME at the top */
static cvr_value conv(const scope *s, const char *name, int64_t channels, const char *kernel, cvr_value x) {
    const net_text full = *s->name ? net_print("%s.%s", s->name, name) : net_print("%s", name);
    const net_text settings = net_print("%lld %s bias=no", (long long)net_scaled(channels, s->a->width_mult), kernel);
    x = net_conv_by(s->n, x, net_print("%s.conv", full.s).s, settings.s);
    x = net_layer(s->n, x, net_print("%s.bn", full.s).s, "batch_norm2d", "eps=0.001");
    return net_layer(s->n, x, net_print("%s.relu", full.s).s, "relu", "");
}

static cvr_value layer(const scope *s, const char *name, const char *kind, const char *settings, cvr_value x) {
    return net_layer(s->n, x, net_print("%s.%s", s->name, name).s, kind, settings);
}

static cvr_value join(const scope *s, const char *name, const cvr_value *branches, uint32_t count) {
    return net_concat(s->n, branches, count, 1, net_print("%s.%s", s->name, name).s);
}

/* The paper's figure 5: 35x35 */
static cvr_value inception_a(const scope *s, int64_t pool_features, cvr_value x) {
    cvr_value branch[4];
    branch[0] = conv(s, "branch1x1", 64, K1X1, x);
    branch[1] = conv(s, "branch5x5_1", 48, K1X1, x);
    branch[1] = conv(s, "branch5x5_2", 64, K5X5, branch[1]);
    branch[2] = conv(s, "branch3x3dbl_1", 64, K1X1, x);
    branch[2] = conv(s, "branch3x3dbl_2", 96, K3X3, branch[2]);
    branch[2] = conv(s, "branch3x3dbl_3", 96, K3X3, branch[2]);
    branch[3] = layer(s, "avgpool", "avg_pool2d", "3 stride=1 padding=1", x);
    branch[3] = conv(s, "branch_pool", pool_features, K1X1, branch[3]);
    return join(s, "concat", branch, 4);
}

/* Figure 10: from 35x35 to 17x17 */
static cvr_value inception_b(const scope *s, int64_t unused, cvr_value x) {
    cvr_value branch[3];
    (void)unused;
    branch[0] = conv(s, "branch3x3", 384, K3X3_DOWN, x);
    branch[1] = conv(s, "branch3x3dbl_1", 64, K1X1, x);
    branch[1] = conv(s, "branch3x3dbl_2", 96, K3X3, branch[1]);
    branch[1] = conv(s, "branch3x3dbl_3", 96, K3X3_DOWN, branch[1]);
    branch[2] = layer(s, "maxpool", "max_pool2d", "3 stride=2", x);
    return join(s, "concat", branch, 3);
}

/* Figure 6: 17x17 */
static cvr_value inception_c(const scope *s, int64_t c7, cvr_value x) {
    cvr_value branch[4];
    branch[0] = conv(s, "branch1x1", 192, K1X1, x);
    branch[1] = conv(s, "branch7x7_1", c7, K1X1, x);
    branch[1] = conv(s, "branch7x7_2", c7, K1X7, branch[1]);
    branch[1] = conv(s, "branch7x7_3", 192, K7X1, branch[1]);
    branch[2] = conv(s, "branch7x7dbl_1", c7, K1X1, x);
    branch[2] = conv(s, "branch7x7dbl_2", c7, K7X1, branch[2]);
    branch[2] = conv(s, "branch7x7dbl_3", c7, K1X7, branch[2]);
    branch[2] = conv(s, "branch7x7dbl_4", c7, K7X1, branch[2]);
    branch[2] = conv(s, "branch7x7dbl_5", 192, K1X7, branch[2]);
    branch[3] = layer(s, "avgpool", "avg_pool2d", "3 stride=1 padding=1", x);
    branch[3] = conv(s, "branch_pool", 192, K1X1, branch[3]);
    return join(s, "concat", branch, 4);
}

/* From 17x17 to 8x8 */
static cvr_value inception_d(const scope *s, int64_t unused, cvr_value x) {
    cvr_value branch[3];
    (void)unused;
    branch[0] = conv(s, "branch3x3_1", 192, K1X1, x);
    branch[0] = conv(s, "branch3x3_2", 320, K3X3_DOWN, branch[0]);
    branch[1] = conv(s, "branch7x7x3_1", 192, K1X1, x);
    branch[1] = conv(s, "branch7x7x3_2", 192, K1X7, branch[1]);
    branch[1] = conv(s, "branch7x7x3_3", 192, K7X1, branch[1]);
    branch[1] = conv(s, "branch7x7x3_4", 192, K3X3_DOWN, branch[1]);
    branch[2] = layer(s, "maxpool", "max_pool2d", "3 stride=2", x);
    return join(s, "concat", branch, 3);
}

/* Figure 7: 8x8 */
static cvr_value inception_e(const scope *s, int64_t unused, cvr_value x) {
    cvr_value branch[4], half[2], y;
    (void)unused;
    branch[0] = conv(s, "branch1x1", 320, K1X1, x);
    y = conv(s, "branch3x3_1", 384, K1X1, x);
    half[0] = conv(s, "branch3x3_2a", 384, K1X3, y);
    half[1] = conv(s, "branch3x3_2b", 384, K3X1, y);
    branch[1] = join(s, "concat3x3", half, 2);
    y = conv(s, "branch3x3dbl_1", 448, K1X1, x);
    y = conv(s, "branch3x3dbl_2", 384, K3X3, y);
    half[0] = conv(s, "branch3x3dbl_3a", 384, K1X3, y);
    half[1] = conv(s, "branch3x3dbl_3b", 384, K3X1, y);
    branch[2] = join(s, "concat3x3dbl", half, 2);
    branch[3] = layer(s, "avgpool", "avg_pool2d", "3 stride=1 padding=1", x);
    branch[3] = conv(s, "branch_pool", 192, K1X1, branch[3]);
    return join(s, "concat", branch, 4);
}

/* The paper's table 1, from the first module on; `channels` is what differs among modules of a kind. */
static const struct {
    const char *name;
    cvr_value (*build)(const scope *s, int64_t channels, cvr_value x);
    int64_t channels;
} modules[] = {
    {"Mixed_5b", inception_a, 32},  {"Mixed_5c", inception_a, 64},  {"Mixed_5d", inception_a, 64},
    {"Mixed_6a", inception_b, 0},   {"Mixed_6b", inception_c, 128}, {"Mixed_6c", inception_c, 160},
    {"Mixed_6d", inception_c, 160}, {"Mixed_6e", inception_c, 192}, {"Mixed_7a", inception_d, 0},
    {"Mixed_7b", inception_e, 0},   {"Mixed_7c", inception_e, 0},
};
#define FIRST_AFTER_AUX 8 /* Mixed_7a */

/* The auxiliary classifier: x: (N, C, H, W) -> logits, (N, num_classes) */
static void auxiliary(net *n, const inception_attrs *a, const cvr_io *io, int64_t num_classes, cvr_value x) {
    const scope s = {n, a, "AuxLogits"};
    const net_start linear_start = n->linear;
    const int64_t *size = net_shape(n, x);
    if (size[2] < 17 || size[3] < 17) { /* windows of 5x5, 3 apart, must leave 5x5 */
        n->status = cvr_fail(n->err, CVR_ERR_INVALID,
                             "pictures are too small for the auxiliary classifier, which sees %lldx%lld of them and "
                             "needs 17x17; set data.img_size = 299, or model.aux_logits = no",
                             (long long)size[2], (long long)size[3]);
        return;
    }
    x = layer(&s, "avgpool5", "avg_pool2d", "5 stride=3", x);
    x = conv(&s, "conv0", 128, K1X1, x);
    x = conv(&s, "conv1", 768, K5X5_VALID, x);
    x = layer(&s, "avgpool", "adaptive_avg_pool2d", "1", x);
    x = layer(&s, "flatten", "flatten", "", x);
    n->linear = (net_start){NET_START_NORMAL, 0.001, NET_BIAS_TORCH};
    net_auxiliary(n, io, "aux", 0.4, net_linear(n, x, "AuxLogits.fc", num_classes));
    n->linear = linear_start;
}

/* image: (N, C, H, W) -> (N, 192, H', W'): the convolutions before the first module */
static cvr_value stem(net *n, const inception_attrs *a, cvr_value x) {
    const scope s = {n, a, ""};
    x = conv(&s, "Conv2d_1a_3x3", 32, K3X3_DOWN, x);
    x = conv(&s, "Conv2d_2a_3x3", 32, K3X3_VALID, x);
    x = conv(&s, "Conv2d_2b_3x3", 64, K3X3, x);
    x = net_layer(n, x, "maxpool1", "max_pool2d", "3 stride=2");
    x = conv(&s, "Conv2d_3b_1x1", 80, K1X1, x);
    x = conv(&s, "Conv2d_4a_3x3", 192, K3X3_VALID, x);
    return net_layer(n, x, "maxpool2", "max_pool2d", "3 stride=2");
}

/* image: (N, C, H, W) -> output, aux: logits, (N, num_classes) */
static int32_t inception_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const inception_attrs *a = (const inception_attrs *)args->attrs;
    const net_start start = {NET_START_NORMAL, 0.1, NET_BIAS_TORCH};
    net n = {.b = b, .err = err, .conv = start, .linear = start};
    cvr_value x = io->input(io, "image");
    if (a->transform_input) x = net_transform_input(&n, x);
    x = stem(&n, a, x);
    for (size_t i = 0; i < NET_COUNT(modules) && n.status == CVR_OK; i++) {
        const scope s = {&n, a, modules[i].name};
        if (i == FIRST_AFTER_AUX && a->aux_logits) auxiliary(&n, a, io, args->num_classes, x);
        x = modules[i].build(&s, modules[i].channels, x);
    }
    x = net_layer(&n, x, "avgpool", "adaptive_avg_pool2d", "1");
    x = net_layer(&n, x, "dropout", "dropout", net_print("%.17g", a->dropout).s);
    x = net_layer(&n, x, "flatten", "flatten", "");
    return net_result(&n, io, net_linear(&n, x, "fc", args->num_classes));
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOAT, "width_mult", "1", "multiplies the channels of every layer", CVR_ATTR_BETWEEN(0.01, 100)),
    CVR_ATTR(BOOL, "aux_logits", "yes", "an auxiliary classifier in training, whose loss counts 0.4"),
    CVR_ATTR(BOOL, "transform_input", "no", "scale pictures as the weights that came from TensorFlow want them"),
    CVR_ATTR(FLOAT, "dropout", "0.5", "probability before the last layer", CVR_ATTR_BETWEEN(0, 1)),
};

static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.stem", "Conv2d_*"),   NET_STAGE("backbone.mixed5", "Mixed_5*"),
    NET_STAGE("backbone.mixed6", "Mixed_6*"), NET_STAGE("backbone.mixed7", "Mixed_7*"),
    NET_STAGE("head", "fc,AuxLogits.fc"),     NET_STAGE("backbone.auxiliary", "AuxLogits"),
};

static const cvr_model_desc inception_v3 = {.struct_size = sizeof inception_v3,
                                            .name = "inception_v3",
                                            .doc = "Szegedy et al. 2016, as in torchvision",
                                            .n_attrs = NET_COUNT(schema),
                                            .attrs = schema,
                                            .build = inception_build,
                                            .n_stages = NET_COUNT(stages),
                                            .stages = stages};

static int32_t inception_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_MODEL, &inception_v3, err);
}

CVR_DEFINE_PLUGIN("model_inception_v3", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:relu layer:max_pool2d layer:avg_pool2d layer:concat layer:mul "
                  "layer:add layer:adaptive_avg_pool2d layer:flatten layer:dropout layer:linear",
                  inception_load)
