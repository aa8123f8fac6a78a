/* The blocks of Sandler et al.: "MobileNetV2", 2018, as torchvision has them; see the header. */
#include "mobilenet_v2_trunk.h"

/* The paper's table 2: expansion factor t, channels c, repeats n, stride of the first s. */
typedef struct setting {
    int64_t t, c, n, s;
} setting;

/* One block: the width that it is meant to get decides whether its result is added to what it got. */
typedef struct inverted_block {
    int64_t t, c, stride, in, dilation;
} inverted_block;
static const setting settings[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                                   {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

static net_norm_act relu6_of(const mobilenet_v2_trunk *t) {
    return (net_norm_act){t->norm ? t->norm : "", "relu6"};
}

/* x: (N, C, H, W) -> (N, out, H / stride, W / stride) by way of C * t channels */
static cvr_value inverted_residual(net *n, const mobilenet_v2_trunk *t, const char *name, const inverted_block *s,
                                   cvr_value x) {
    const net_norm_act relu6 = relu6_of(t);
    const int64_t in = net_shape(n, x)[1], residual = s->stride == 1 && s->in == s->c, expands = s->t != 1;
    const int64_t before = t->pads_input && expands ? s->dilation : 0, around = before ? 0 : s->dilation;
    const net_conv2d expand = {in * s->t, 1, 1, before, 1, 0}, project = {residual ? in : s->c, 1, 1, 0, 1, 0};
    cvr_value y = x;
    int i = 0;
    if (expands) y = net_conv_norm(n, y, net_print("%s.conv.%d", name, i++).s, &expand, &relu6);
    const int64_t hidden = net_shape(n, y)[1];
    const net_conv2d depthwise = {hidden, 3, s->stride, around, hidden, 0};
    y = net_conv_norm_dilated(n, y, net_print("%s.conv.%d", name, i++).s, &depthwise, s->dilation, &relu6);
    y = net_conv(n, y, net_print("%s.conv.%d", name, i++).s, &project);
    y = net_norm(n, y, net_print("%s.conv.%d", name, i).s, relu6.norm);
    return residual ? net_layer2(n, x, y, net_print("%s.add", name).s, "add", "") : y;
}

/* How far strides and dilations have come. */
typedef struct progress {
    int64_t stride, dilation, width;
    int block;
} progress;

/* The first block of a row of the table, and what its others are. */
static inverted_block first_of(const mobilenet_v2_trunk *t, const setting *row, progress *p, inverted_block *next) {
    const int64_t dilates = t->output_stride && p->stride == t->output_stride, before = p->dilation;
    const int64_t stride = dilates ? 1 : row->s, c = net_divisible((double)row->c * t->width_mult, t->round_nearest);
    const inverted_block first = {row->t, c, stride, p->width, before};
    p->dilation *= dilates ? row->s : 1;
    p->stride *= stride;
    p->width = c;
    *next = (inverted_block){row->t, c, 1, c, p->dilation};
    return first;
}

void mobilenet_v2_trunk_build(net *n, const mobilenet_v2_trunk *t, cvr_value image, int from, const char *scope,
                              cvr_value blocks[MOBILENET_V2_BLOCKS]) {
    const net_conv2d stem = {net_divisible(32 * t->width_mult, t->round_nearest), 3, 2, !t->pads_input, 1, 0};
    const net_norm_act relu6 = relu6_of(t);
    progress p = {2, 1, stem.out_channels, 1};
    blocks[0] = net_conv_norm(n, image, "0", &stem, &relu6);
    for (size_t k = 0; k < NET_COUNT(settings); k++) {
        inverted_block next, s = first_of(t, &settings[k], &p, &next);
        for (int64_t i = 0; i < settings[k].n; i++, p.block++, s = next) {
            if (p.block == from) n->scope = scope;
            blocks[p.block] = inverted_residual(n, t, net_print("%d", p.block).s, &s, blocks[p.block - 1]);
        }
    }
}

/* The first block has no expansion in front of its depthwise convolution; the others come before it in this list. */
static const net_name timm_names[] = {
    {"conv_stem", "features.0.0"},
    {"bn1", "features.0.1"},
    {"conv_head", "features.18.0"},
    {"bn2", "features.18.1"},
    {"classifier", "classifier.1"},
    {"block.#.conv_pw", "features.{1}.conv.0.0"},
    {"block.#.bn1", "features.{1}.conv.0.1"},
    {"block.#.conv_dw", "features.{1}.conv.1.0"},
    {"block.#.bn2", "features.{1}.conv.1.1"},
    {"block.#.conv_pwl", "features.{1}.conv.2"},
    {"block.#.bn3", "features.{1}.conv.3"},
};
static const net_name timm_first[] = {
    {"conv_dw", "features.1.conv.0.0"},
    {"bn1", "features.1.conv.0.1"},
    {"conv_pw", "features.1.conv.1"},
    {"bn2", "features.1.conv.2"},
};

/* timm counts blocks within a stage, torchvision all of them. */
int32_t mobilenet_v2_alias(const char *name, char *out, uint64_t size) {
    int stage, block, length = 0;
    char flat[160];
    if (sscanf(name, "blocks.%d.%d.%n", &stage, &block, &length) != 2 || !length)
        return net_rename(timm_names, NET_COUNT(timm_names), name, out, size);
    if (stage == 0) return net_rename(timm_first, NET_COUNT(timm_first), name + length, out, size);
    for (int i = 0; i < stage && i < (int)NET_COUNT(settings); i++) block += (int)settings[i].n;
    (void)snprintf(flat, sizeof flat, "block.%d.%s", block + 1, name + length);
    return net_rename(timm_names, NET_COUNT(timm_names), flat, out, size);
}
