/*
 * ResNet (He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", 2016) as torchvision has it: resnet18 to
 * resnet152, whose bottlenecks have their stride in the 3x3 convolution, and the same networks with the stem that is
 * usual for CIFAR: a 3x3 convolution of stride 1 and no max pool. ResNeXt (Xie, Girshick, Dollar, Tu, He: "Aggregated
 * Residual Transformations for Deep Neural Networks", 2017) has the 3x3 convolutions in groups, Wide ResNet (Zagoruyko,
 * Komodakis: "Wide Residual Networks", 2016) has them wider. Names and initialisation are torchvision's.
 */
#include "resnet_trunk.h"

typedef struct resnet_attrs {
    int64_t n_layers;
    int64_t layers[4];
    int64_t block;
    int64_t stem;
    int64_t width;
    int64_t groups;
    int64_t width_per_group;
} resnet_attrs;

/* image: (N, C, H, W) -> output: logits, (N, num_classes) */
static int32_t resnet_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const resnet_attrs *a = (const resnet_attrs *)args->attrs;
    resnet_trunk t = {.n_layers = a->n_layers,
                      .block = a->block,
                      .stem = a->stem,
                      .width = a->width,
                      .groups = a->groups,
                      .width_per_group = a->width_per_group};
    net n = {.b = b, .err = err, .conv = {NET_START_KAIMING, 0, 0}};
    cvr_value stages_of[4];
    memcpy(t.layers, a->layers, sizeof t.layers);
    if (a->block == RESNET_BASIC && (a->groups != 1 || a->width_per_group != 64))
        return cvr_fail(err, CVR_ERR_INVALID,
                        "model.groups and model.width_per_group are for bottlenecks; set model.block = bottleneck");
    resnet_trunk_stages(&n, &t, resnet_trunk_stem(&n, &t, io->input(io, "image")), stages_of);
    cvr_value x = stages_of[a->n_layers - 1];
    x = net_layer(&n, x, "avgpool", "adaptive_avg_pool2d", "1");
    x = net_layer(&n, x, "flatten", "flatten", "");
    return net_result(&n, io, net_linear(&n, x, "fc", args->num_classes));
}

static const cvr_attr_desc width = RESNET_WIDTH;

/* What tells the members of the family apart: defaults. */
#define CHOICE(name_, choices_, default_, doc_)                                                                        \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_attr_desc), .name = name_, .kind = CVR_ATTR_CHOICE, .count = 1,                      \
        .default_text = default_, .choices = choices_, .doc = doc_                                                     \
    }
static const cvr_attr_desc layers_18 = RESNET_LAYERS("2,2,2,2"), layers_34 = RESNET_LAYERS(RESNET_LAYERS_50),
                           layers_101 = RESNET_LAYERS(RESNET_LAYERS_101), layers_152 = RESNET_LAYERS("3,8,36,3");
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
