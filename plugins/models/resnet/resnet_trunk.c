/* The residual blocks of He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", 2016; see the header. */
#include "resnet_trunk.h"

/* One residual block: `channels` at its end, times 4 in a bottleneck, whose 3x3 convolution has `inner` ones. */
typedef struct resnet_block {
    net_text name;
    int64_t kind, channels, inner, groups, stride, dilation;
    int64_t identity; /* the shortcut is x itself: the sum has x's width */
    const char *norm;
} resnet_block;

/* ReLU(BatchNorm(convolution)), or without the ReLU at a block's end; `i` numbers them within the block. */
static cvr_value conv_bn(net *n, const resnet_block *k, int i, const net_conv2d *c, int last, cvr_value x) {
    const int64_t dilation = c->kernel_size > 1 ? k->dilation : 1;
    x = net_conv_dilated(n, x, net_print("%s.conv%d", k->name.s, i).s, c, dilation);
    x = net_norm(n, x, net_print("%s.bn%d", k->name.s, i).s, k->norm);
    return last ? x : net_layer(n, x, net_print("%s.relu", k->name.s).s, "relu", "");
}

/* x: (N, C, H, W) -> (N, channels * expansion, H / stride, W / stride) */
static cvr_value residual(net *n, const resnet_block *k, cvr_value x) {
    const int64_t out = k->identity ? net_shape(n, x)[1] : k->channels * (k->kind == RESNET_BOTTLENECK ? 4 : 1);
    const net_conv2d narrow = {k->inner, 1, 1, 0, 1, 0}, strided = {k->inner, 3, k->stride, k->dilation, k->groups, 0},
                     second = {out, 3, 1, k->dilation, 1, 0}, wide = {out, 1, 1, 0, 1, 0};
    cvr_value y = x, same = x;
    if (k->kind == RESNET_BOTTLENECK) {
        y = conv_bn(n, k, 1, &narrow, 0, y);
        y = conv_bn(n, k, 2, &strided, 0, y);
        y = conv_bn(n, k, 3, &wide, 1, y);
    } else {
        y = conv_bn(n, k, 1, &strided, 0, y);
        y = conv_bn(n, k, 2, &second, 1, y);
    }
    if (!k->identity) {
        const net_conv2d shortcut = {net_shape(n, y)[1], 1, k->stride, 0, 1, 0};
        same = net_conv(n, x, net_print("%s.downsample.0", k->name.s).s, &shortcut);
        same = net_norm(n, same, net_print("%s.downsample.1", k->name.s).s, k->norm);
    }
    y = net_layer2(n, y, same, net_print("%s.add", k->name.s).s, "add", "");
    return net_layer(n, y, net_print("%s.relu", k->name.s).s, "relu", "");
}

/* Pixels of the picture for one of stage `stage` (from 0), were it not for the output stride. */
static int64_t stride_of(const resnet_trunk *t, int64_t stage) {
    return (t->stem == RESNET_STEM_CIFAR ? (int64_t)1 : (int64_t)4) << stage;
}

/* What the strides that are left out up to this stage come to. */
static int64_t dilation_of(const resnet_trunk *t, int64_t stage) {
    const int64_t stride = stage < 0 ? 1 : stride_of(t, stage);
    return t->output_stride && stride > t->output_stride ? stride / t->output_stride : 1;
}

static resnet_block block_of(const resnet_trunk *t, int64_t stage, int64_t i) {
    const int64_t channels = t->width << stage, dilation = dilation_of(t, stage);
    const int64_t dilates = dilation > 1 && dilation != dilation_of(t, stage - 1); /* in place of a stride */
    return (resnet_block){.name = net_print("layer%lld.%lld", (long long)stage + 1, (long long)i),
                          .kind = t->block,
                          .channels = channels,
                          .inner = channels * t->width_per_group / 64 * t->groups,
                          .groups = t->groups,
                          .stride = stage > 0 && i == 0 && !dilates ? 2 : 1,
                          .dilation = i == 0 && !t->first_too ? dilation_of(t, stage - 1) : dilation,
                          .identity = i > 0 || (stage == 0 && t->block == RESNET_BASIC),
                          .norm = t->norm};
}

/* x: (N, C, H, W) -> (N, width, H / 2, W / 2) */
static cvr_value deep_stem(net *n, const resnet_trunk *t, cvr_value x) {
    for (int i = 0; i < 3; i++) {
        const net_conv2d c = {i == 2 ? 2 * t->width : t->width, 3, i == 0 ? 2 : 1, 1, 1, 0};
        x = net_conv(n, x, net_print("layer0.%d", 3 * i).s, &c);
        x = net_norm(n, x, net_print("layer0.%d", 3 * i + 1).s, t->norm);
        x = net_layer(n, x, net_print("layer0.%d", 3 * i + 2).s, "relu", "");
    }
    return x;
}

/* x: (N, C, H, W) -> (N, width, H / 2, W / 2), or of the whole size */
static cvr_value plain_stem(net *n, const resnet_trunk *t, cvr_value x) {
    const net_conv2d imagenet = {t->width, 7, 2, 3, 1, 0}, cifar = {t->width, 3, 1, 1, 1, 0};
    x = net_conv(n, x, "conv1", t->stem == RESNET_STEM_CIFAR ? &cifar : &imagenet);
    x = net_norm(n, x, "bn1", t->norm);
    return net_layer(n, x, "relu", "relu", "");
}

cvr_value resnet_trunk_stem(net *n, const resnet_trunk *t, cvr_value image) {
    return t->stem == RESNET_STEM_DEEP ? deep_stem(n, t, image) : plain_stem(n, t, image);
}

void resnet_trunk_stages(net *n, const resnet_trunk *t, cvr_value x, cvr_value stages[4]) {
    if (t->stem != RESNET_STEM_CIFAR) x = net_layer(n, x, "maxpool", "max_pool2d", "3 stride=2 padding=1");
    for (int64_t stage = 0; stage < t->n_layers; stage++) {
        for (int64_t i = 0; i < t->layers[stage] && n->status == CVR_OK; i++) {
            const resnet_block k = block_of(t, stage, i);
            x = residual(n, &k, x);
        }
        stages[stage] = x;
    }
}

int32_t resnet_trunk_alias(const char *scope, const char *head, const char *name, char *out, uint64_t size) {
    const char *const last = strncmp(name, "fc.", 3) == 0 ? name + 2 : NULL;
    const int n = last ? snprintf(out, size, "%s%s", head, last) : snprintf(out, size, "%s%s", scope, name);
    return n >= 0 && (uint64_t)n < size;
}
