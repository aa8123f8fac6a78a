/*
 * ResNet (He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", 2016) as torchvision has it: resnet18 to
 * resnet152, whose bottlenecks have their stride in the 3x3 convolution, and the same networks with the stem that is
 * usual for CIFAR: a 3x3 convolution of stride 1 and no max pool. ResNeXt (Xie, Girshick, Dollar, Tu, He: "Aggregated
 * Residual Transformations for Deep Neural Networks", 2017) has the 3x3 convolutions in groups, Wide ResNet (Zagoruyko,
 * Komodakis: "Wide Residual Networks", 2016) has them wider. Names and initialisation are torchvision's.
 */
#include "../model_net.h"

#define BASIC 0
#define BOTTLENECK 1
#define STEM_IMAGENET 0

typedef struct resnet_attrs {
    int64_t n_layers;
    int64_t layers[4];
    int64_t block;
    int64_t stem;
    int64_t width;
    int64_t groups;
    int64_t width_per_group;
} resnet_attrs;

/* One residual block: `channels` at its end, times 4 in a bottleneck, whose 3x3 convolution has `inner` ones. */
typedef struct resnet_block {
    net_text name;
    int64_t kind, channels, inner, groups, stride;
    int64_t identity; /* the shortcut is x itself: the sum has x's width */
} resnet_block;

/* ReLU(BatchNorm(convolution)), or without the ReLU at a block's end; `i` numbers them within the block. */
static cvr_value conv_bn(net *n, const resnet_block *k, int i, const net_conv2d *c, int last, cvr_value x) {
    x = net_conv(n, x, net_print("%s.conv%d", k->name.s, i).s, c);
    x = net_layer(n, x, net_print("%s.bn%d", k->name.s, i).s, "batch_norm2d", "");
    return last ? x : net_layer(n, x, net_print("%s.relu", k->name.s).s, "relu", "");
}

/* x: (N, C, H, W) -> (N, channels * expansion, H / stride, W / stride) */
static cvr_value residual(net *n, const resnet_block *k, cvr_value x) {
    const int64_t out = k->identity ? net_shape(n, x)[1] : k->channels * (k->kind == BOTTLENECK ? 4 : 1);
    const net_conv2d narrow = {k->inner, 1, 1, 0, 1, 0}, strided = {k->inner, 3, k->stride, 1, k->groups, 0},
                     second = {out, 3, 1, 1, 1, 0}, wide = {out, 1, 1, 0, 1, 0};
    cvr_value y = x, same = x;
    if (k->kind == BOTTLENECK) {
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
        same = net_layer(n, same, net_print("%s.downsample.1", k->name.s).s, "batch_norm2d", "");
    }
    y = net_layer2(n, y, same, net_print("%s.add", k->name.s).s, "add", "");
    return net_layer(n, y, net_print("%s.relu", k->name.s).s, "relu", "");
}

static resnet_block block_of(const resnet_attrs *a, int64_t stage, int64_t i) {
    const int64_t channels = a->width << stage;
    return (resnet_block){.name = net_print("layer%lld.%lld", (long long)stage + 1, (long long)i),
                          .kind = a->block,
                          .channels = channels,
                          .inner = channels * a->width_per_group / 64 * a->groups,
                          .groups = a->groups,
                          .stride = stage > 0 && i == 0 ? 2 : 1,
                          .identity = i > 0 || (stage == 0 && a->block == BASIC)};
}

/* image: (N, C, H, W) -> output: logits, (N, num_classes) */
static int32_t resnet_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const resnet_attrs *a = (const resnet_attrs *)args->attrs;
    const net_conv2d imagenet = {a->width, 7, 2, 3, 1, 0}, cifar = {a->width, 3, 1, 1, 1, 0};
    net n = {.b = b, .err = err, .conv = {NET_START_KAIMING, 0, 0}};
    if (a->block == BASIC && (a->groups != 1 || a->width_per_group != 64))
        return cvr_fail(err, CVR_ERR_INVALID,
                        "model.groups and model.width_per_group are for bottlenecks; set model.block = bottleneck");
    const cvr_value image = io->input(io, "image");
    cvr_value x = net_conv(&n, image, "conv1", a->stem == STEM_IMAGENET ? &imagenet : &cifar);
    x = net_layer(&n, x, "bn1", "batch_norm2d", "");
    x = net_layer(&n, x, "relu", "relu", "");
    if (a->stem == STEM_IMAGENET) x = net_layer(&n, x, "maxpool", "max_pool2d", "3 stride=2 padding=1");
    for (int64_t stage = 0; stage < a->n_layers; stage++) {
        for (int64_t i = 0; i < a->layers[stage] && n.status == CVR_OK; i++) {
            const resnet_block k = block_of(a, stage, i);
            x = residual(&n, &k, x);
        }
    }
    x = net_layer(&n, x, "avgpool", "adaptive_avg_pool2d", "1");
    x = net_layer(&n, x, "flatten", "flatten", "");
    return net_result(&n, io, net_linear(&n, x, "fc", args->num_classes));
}

static const cvr_attr_desc width = CVR_ATTR_INIT(
    INT, "width", "64", "channels of the stem; each stage after the first doubles them", CVR_ATTR_BETWEEN(1, 4096));

/* What tells the members of the family apart: defaults. */
#define LAYERS(default_)                                                                                               \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_attr_desc), .name = "layers", .kind = CVR_ATTR_INTS, .count = 4,                     \
        .flags = CVR_ATTR_MIN | CVR_ATTR_MAX, .default_text = default_, .min = 1, .max = 1000,                         \
        .doc = "blocks of each stage"                                                                                  \
    }
#define CHOICE(name_, choices_, default_, doc_)                                                                        \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_attr_desc), .name = name_, .kind = CVR_ATTR_CHOICE, .count = 1,                      \
        .default_text = default_, .choices = choices_, .doc = doc_                                                     \
    }
static const cvr_attr_desc layers_18 = LAYERS("2,2,2,2"), layers_34 = LAYERS("3,4,6,3"),
                           layers_101 = LAYERS("3,4,23,3"), layers_152 = LAYERS("3,8,36,3");
static const cvr_attr_desc basic = CHOICE("block", "basic|bottleneck", "basic", "kind of the residual blocks"),
                           bottleneck =
                               CHOICE("block", "basic|bottleneck", "bottleneck", "kind of the residual blocks");
static const cvr_attr_desc imagenet = CHOICE("stem", "imagenet|cifar", "imagenet",
                                             "7x7 convolution of stride 2 and max pool, or 3x3 of stride 1"),
                           cifar = CHOICE("stem", "imagenet|cifar", "cifar",
                                          "7x7 convolution of stride 2 and max pool, or 3x3 of stride 1");

#define SIZE(name_, default_, doc_)                                                                                    \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_attr_desc), .name = name_, .kind = CVR_ATTR_INT, .count = 1,                         \
        .flags = CVR_ATTR_MIN | CVR_ATTR_MAX, .default_text = default_, .min = 1, .max = 65536, .doc = doc_            \
    }
#define GROUPS_DOC "groups of the bottlenecks' 3x3 convolutions"
#define PER_GROUP_DOC "channels of each group in the first stage, of a stem of 64"
static const cvr_attr_desc one_group = SIZE("groups", "1", GROUPS_DOC), groups_32 = SIZE("groups", "32", GROUPS_DOC),
                           groups_64 = SIZE("groups", "64", GROUPS_DOC),
                           per_group = SIZE("width_per_group", "64", PER_GROUP_DOC),
                           per_group_4 = SIZE("width_per_group", "4", PER_GROUP_DOC),
                           per_group_8 = SIZE("width_per_group", "8", PER_GROUP_DOC),
                           per_group_128 = SIZE("width_per_group", "128", PER_GROUP_DOC);

static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.stem", "conv1,bn1"),  NET_STAGE("backbone.layer1", "layer1.#"),
    NET_STAGE("backbone.layer2", "layer2.#"), NET_STAGE("backbone.layer3", "layer3.#"),
    NET_STAGE("backbone.layer4", "layer4.#"), NET_STAGE("head", "fc"),
};

#define GROUPED(name_, doc_, layers_, block_, stem_, groups_, per_group_)                                              \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .name = name_, .doc = doc_ ", as in torchvision", .n_attrs = 6,         \
        .attrs = (const cvr_attr_desc *const[]){&layers_, &block_, &stem_, &width, &groups_, &per_group_},             \
        .build = resnet_build, .n_stages = NET_COUNT(stages), .stages = stages                                         \
    }
#define MODEL(name_, layers_, block_, stem_)                                                                           \
    GROUPED(name_, "He et al. 2016", layers_, block_, stem_, one_group, per_group)
#define RESNEXT(name_, layers_, groups_, per_group_)                                                                   \
    GROUPED(name_, "Xie et al. 2017", layers_, bottleneck, imagenet, groups_, per_group_)
#define WIDE(name_, layers_)                                                                                           \
    GROUPED(name_, "Zagoruyko, Komodakis 2016", layers_, bottleneck, imagenet, one_group, per_group_128)

static const cvr_model_desc *const models[] = {
    MODEL("resnet18", layers_18, basic, imagenet),
    MODEL("resnet34", layers_34, basic, imagenet),
    MODEL("resnet50", layers_34, bottleneck, imagenet),
    MODEL("resnet101", layers_101, bottleneck, imagenet),
    MODEL("resnet152", layers_152, bottleneck, imagenet),
    MODEL("resnet18_cifar", layers_18, basic, cifar),
    MODEL("resnet34_cifar", layers_34, basic, cifar),
    MODEL("resnet50_cifar", layers_34, bottleneck, cifar),
    MODEL("resnet101_cifar", layers_101, bottleneck, cifar),
    MODEL("resnet152_cifar", layers_152, bottleneck, cifar),
    RESNEXT("resnext50_32x4d", layers_34, groups_32, per_group_4),
    RESNEXT("resnext101_32x8d", layers_101, groups_32, per_group_8),
    RESNEXT("resnext101_64x4d", layers_101, groups_64, per_group_4),
    WIDE("wide_resnet50_2", layers_34),
    WIDE("wide_resnet101_2", layers_101),
};

static int32_t resnet_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, sizeof models / sizeof *models, err);
}

CVR_DEFINE_PLUGIN("model_resnet", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:relu layer:max_pool2d layer:add layer:adaptive_avg_pool2d "
                  "layer:flatten layer:linear",
                  resnet_load)
