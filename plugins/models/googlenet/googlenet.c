/*
 * GoogLeNet (Szegedy et al.: "Going Deeper with Convolutions", 2015) as torchvision has it: with batch normalisation,
 * and with 3x3 convolutions where the paper has 5x5. Names and initialisation are torchvision's (its trunc_normal_ is
 * cut at -2 and 2, far outside of a deviation of 0.01).
 */
#include "../model_net.h"

typedef struct googlenet_attrs {
    double width_mult;
    int64_t aux_logits;
    int64_t transform_input;
    double dropout, dropout_aux;
} googlenet_attrs;

/* The paper's table 1: channels of each module's branches. */
typedef struct module_row {
    const char *name;
    int64_t c1x1, c3x3_reduce, c3x3, c5x5_reduce, c5x5, pool_proj;
    const char *pool, *pool_name; /* max pool before the module; NULL: none */
} module_row;
static const module_row table[] = {
    {"inception3a", 64, 96, 128, 16, 32, 32, "3", "maxpool2"},
    {"inception3b", 128, 128, 192, 32, 96, 64, NULL, NULL},
    {"inception4a", 192, 96, 208, 16, 48, 64, "3", "maxpool3"},
    {"inception4b", 160, 112, 224, 24, 64, 64, NULL, NULL},
    {"inception4c", 128, 128, 256, 24, 64, 64, NULL, NULL},
    {"inception4d", 112, 144, 288, 32, 64, 64, NULL, NULL},
    {"inception4e", 256, 160, 320, 32, 128, 128, NULL, NULL},
    {"inception5a", 256, 160, 320, 32, 128, 128, "2", "maxpool4"},
    {"inception5b", 384, 192, 384, 48, 128, 128, NULL, NULL},
};
#define AUX1_AFTER 2 /* inception4a */
#define AUX2_AFTER 5 /* inception4d */

/* ReLU(batch norm(convolution)) of `channels` times the width's factor, with torchvision's names */
static cvr_value conv(net *n, const googlenet_attrs *a, const char *name, const net_conv2d *c, cvr_value x) {
    net_conv2d wide = *c;
    wide.out_channels = net_scaled(c->out_channels, a->width_mult);
    x = net_conv(n, x, net_print("%s.conv", name).s, &wide);
    x = net_layer(n, x, net_print("%s.bn", name).s, "batch_norm2d", "eps=0.001");
    return net_layer(n, x, net_print("%s.relu", name).s, "relu", "");
}

static cvr_value pool(net *n, const char *name, const char *kernel, cvr_value x) {
    return net_layer(n, x, name, "max_pool2d", net_print("%s stride=2 ceil_mode=yes", kernel).s);
}

/* x: (N, C, H, W) -> (N, c1x1 + c3x3 + c5x5 + pool_proj, H, W) */
static cvr_value inception(net *n, const googlenet_attrs *a, const module_row *row, cvr_value x) {
    const char *const name = row->name;
    const net_conv2d one = {row->c1x1, 1, 1, 0, 1, 0}, reduce3 = {row->c3x3_reduce, 1, 1, 0, 1, 0},
                     three = {row->c3x3, 3, 1, 1, 1, 0}, reduce5 = {row->c5x5_reduce, 1, 1, 0, 1, 0},
                     five = {row->c5x5, 3, 1, 1, 1, 0}, project = {row->pool_proj, 1, 1, 0, 1, 0};
    cvr_value branch[4];
    branch[0] = conv(n, a, net_print("%s.branch1", name).s, &one, x);
    branch[1] = conv(n, a, net_print("%s.branch2.0", name).s, &reduce3, x);
    branch[1] = conv(n, a, net_print("%s.branch2.1", name).s, &three, branch[1]);
    branch[2] = conv(n, a, net_print("%s.branch3.0", name).s, &reduce5, x);
    branch[2] = conv(n, a, net_print("%s.branch3.1", name).s, &five, branch[2]);
    branch[3] = net_layer(n, x, net_print("%s.branch4.0", name).s, "max_pool2d", "3 stride=1 padding=1 ceil_mode=yes");
    branch[3] = conv(n, a, net_print("%s.branch4.1", name).s, &project, branch[3]);
    return net_concat(n, branch, 4, 1, net_print("%s.concat", name).s);
}

/* An auxiliary classifier: x: (N, C, H, W) -> logits, (N, num_classes) */
static cvr_value auxiliary(net *n, const googlenet_attrs *a, const char *name, int64_t num_classes, cvr_value x) {
    const net_conv2d one = {128, 1, 1, 0, 1, 0};
    x = net_layer(n, x, net_print("%s.avgpool", name).s, "adaptive_avg_pool2d", "4");
    x = conv(n, a, net_print("%s.conv", name).s, &one, x);
    x = net_layer(n, x, net_print("%s.flatten", name).s, "flatten", "");
    x = net_linear(n, x, net_print("%s.fc1", name).s, net_scaled(1024, a->width_mult));
    x = net_layer(n, x, net_print("%s.relu", name).s, "relu", "");
    x = net_layer(n, x, net_print("%s.dropout", name).s, "dropout", net_print("%.17g", a->dropout_aux).s);
    return net_linear(n, x, net_print("%s.fc2", name).s, num_classes);
}

/* image: (N, C, H, W) -> output, aux1, aux2: logits, (N, num_classes) */
static int32_t googlenet_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const googlenet_attrs *a = (const googlenet_attrs *)args->attrs;
    const net_start start = {NET_START_NORMAL, 0.01, NET_BIAS_TORCH};
    const net_conv2d conv1 = {64, 7, 2, 3, 1, 0}, conv2 = {64, 1, 1, 0, 1, 0}, conv3 = {192, 3, 1, 1, 1, 0};
    net n = {.b = b, .err = err, .conv = start, .linear = start};
    cvr_value x = io->input(io, "image"), inner[2] = {CVR_NONE, CVR_NONE};
    if (a->transform_input) x = net_transform_input(&n, x);
    x = conv(&n, a, "conv1", &conv1, x);
    x = pool(&n, "maxpool1", "3", x);
    x = conv(&n, a, "conv2", &conv2, x);
    x = conv(&n, a, "conv3", &conv3, x);
    for (size_t i = 0; i < NET_COUNT(table) && n.status == CVR_OK; i++) {
        if (table[i].pool) x = pool(&n, table[i].pool_name, table[i].pool, x);
        x = inception(&n, a, &table[i], x);
        if (i == AUX1_AFTER) inner[0] = x;
        if (i == AUX2_AFTER) inner[1] = x;
    }
    for (int i = 0; i < 2 && a->aux_logits && n.status == CVR_OK; i++) {
        const net_text name = net_print("aux%d", i + 1);
        net_auxiliary(&n, io, name.s, 0.3, auxiliary(&n, a, name.s, args->num_classes, inner[i]));
    }
    x = net_layer(&n, x, "avgpool", "adaptive_avg_pool2d", "1");
    x = net_layer(&n, x, "flatten", "flatten", "");
    x = net_layer(&n, x, "dropout", "dropout", net_print("%.17g", a->dropout).s);
    return net_result(&n, io, net_linear(&n, x, "fc", args->num_classes));
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOAT, "width_mult", "1", "multiplies the channels of every layer", CVR_ATTR_BETWEEN(0.01, 100)),
    CVR_ATTR(BOOL, "aux_logits", "yes", "two auxiliary classifiers in training, whose losses count 0.3"),
    CVR_ATTR(BOOL, "transform_input", "no", "scale pictures as the weights that came from TensorFlow want them"),
    CVR_ATTR(FLOAT, "dropout", "0.2", "probability before the last layer", CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(FLOAT, "dropout_aux", "0.7", "probability in the auxiliary classifiers", CVR_ATTR_BETWEEN(0, 1)),
};

static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.stem", "conv1,conv2,conv3"), NET_STAGE("backbone.inception3", "inception3*"),
    NET_STAGE("backbone.inception4", "inception4*"), NET_STAGE("backbone.inception5", "inception5*"),
    NET_STAGE("head", "fc,aux1.fc2,aux2.fc2"),       NET_STAGE("backbone.auxiliary", "aux1,aux2"),
};

static const cvr_model_desc googlenet = {.struct_size = sizeof googlenet,
                                         .name = "googlenet",
                                         .doc = "Szegedy et al. 2015, as in torchvision",
                                         .n_attrs = NET_COUNT(schema),
                                         .attrs = schema,
                                         .build = googlenet_build,
                                         .n_stages = NET_COUNT(stages),
                                         .stages = stages};

static int32_t googlenet_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_MODEL, &googlenet, err);
}

CVR_DEFINE_PLUGIN("model_googlenet", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:relu layer:max_pool2d layer:concat layer:mul layer:add "
                  "layer:adaptive_avg_pool2d layer:flatten layer:dropout layer:linear",
                  googlenet_load)
