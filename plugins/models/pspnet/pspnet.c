/*
 * PSPNet (Zhao, Shi, Qi, Wang, Jia: "Pyramid Scene Parsing Network", 2017) as its author's PyTorch code has it
 * (hszhao/semseg): on a ResNet with a stem of three 3x3 convolutions, whose last two stages are dilated from their
 * first block on (output stride 8), with an auxiliary head on the third stage. The corners of features and picture lie
 * on each other wherever sizes change, so that sides of pictures must be 8 k + 1. Names and initialisation are that
 * code's.
 */
#include "../dense_head.h"

#define MOST_BINS 8

typedef struct pspnet_attrs {
    dense_resnet resnet;
    int64_t n_bins;
    int64_t bins[MOST_BINS];
    int64_t aux_loss;
    double dropout, dropout_aux;
} pspnet_attrs;

/* Pyramid pooling. x: (N, C, h, w) -> (N, 2 C, h, w): x, and its means over bins x bins parts of the picture */
static cvr_value pyramid(net *n, const pspnet_attrs *a, cvr_value x) {
    const int64_t channels = net_shape(n, x)[1] / a->n_bins;
    const net_conv2d one = {channels ? channels : 1, 1, 1, 0, 1, 0};
    cvr_value parts[MOST_BINS + 1] = {x};
    for (int64_t i = 0; i < a->n_bins; i++) {
        const net_text name = net_print("ppm.features.%lld", (long long)i);
        cvr_value y = net_layer(n, x, net_print("%s.0", name.s).s, "adaptive_avg_pool2d",
                                net_print("%lld", (long long)a->bins[i]).s);
        y = dense_conv(n, name.s, 1, &one, 1, y);
        parts[i + 1] = dense_resize(n, y, net_print("%s.resize", name.s).s, x, DENSE_CORNERS);
    }
    return net_concat(n, parts, (uint32_t)a->n_bins + 1, 1, "ppm.concat");
}

/* The nearest sides that will do, for a side that does not. */
static int32_t refuse_size(net *n, const int64_t *size) {
    return cvr_fail(
        n->err, CVR_ERR_INVALID,
        "pictures of %lldx%lld; the sides that PSPNet takes are 8 k + 1, as %lldx%lld: set the crop of [augment], "
        "data.img_size and val.crop_size",
        (long long)size[3], (long long)size[2], (long long)(size[3] + 3) / 8 * 8 + 1,
        (long long)(size[2] + 3) / 8 * 8 + 1);
}

/* image: (N, C, H, W) -> output and aux: logits, (N, num_classes, H, W) */
static int32_t pspnet_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const pspnet_attrs *a = (const pspnet_attrs *)args->attrs;
    net n = {.b = b, .err = err, .conv = DENSE_KAIMING};
    resnet_trunk t = dense_trunk(&n, &a->resnet, 8);
    const cvr_value image = io->input(io, "image");
    const int64_t *const size = net_shape(&n, image);
    cvr_value stages[4] = {image, image, image, image};
    t.stem = RESNET_STEM_DEEP;
    t.first_too = 1;
    if (n.status == CVR_OK && (size[2] % 8 != 1 || size[3] % 8 != 1)) n.status = refuse_size(&n, size);
    if (n.status == CVR_OK && a->n_bins == 0)
        n.status =
            cvr_fail(err, CVR_ERR_INVALID, "model.bins is empty; the pyramid has a level for each of its numbers");
    if (n.status != CVR_OK) return n.status;
    resnet_trunk_stages(&n, &t, resnet_trunk_stem(&n, &t, image), stages);
    n.conv = DENSE_TORCH;
    const dense_fcn head = {"cls", "dropout2d", a->dropout, args->num_classes, net_shape(&n, stages[3])[1] / 4},
                    aux = {"aux", "dropout2d", a->dropout_aux, args->num_classes, 0};
    cvr_value x = dense_fcn_head(&n, &head, pyramid(&n, a, stages[3]));
    x = dense_resize(&n, x, "resize", image, DENSE_CORNERS);
    if (a->aux_loss) {
        const cvr_value y = dense_fcn_head(&n, &aux, stages[2]);
        net_auxiliary(&n, io, "aux", 0.4, dense_resize(&n, y, "aux_resize", image, DENSE_CORNERS));
    }
    return net_result(&n, io, x);
}

/* The classifiers' files of the same code: their stem has names of its own. */
static int32_t pspnet_alias(const char *name, char *out, uint64_t size) {
    static const net_name names[] = {
        {"conv1", "layer0.0"}, {"bn1", "layer0.1"}, {"conv2", "layer0.3"}, {"bn2", "layer0.4"},
        {"conv3", "layer0.6"}, {"bn3", "layer0.7"}, {"fc", "cls.4"},
    };
    if (net_rename(names, NET_COUNT(names), name, out, size)) return 1;
    return strncmp(name, "layer", 5) == 0 && (uint64_t)snprintf(out, size, "%s", name) < size;
}

static const cvr_attr_desc layers_50 = RESNET_LAYERS(RESNET_LAYERS_50), layers_101 = RESNET_LAYERS(RESNET_LAYERS_101),
                           width = RESNET_WIDTH, aux_loss = DENSE_AUX_LOSS, dropout = DENSE_DROPOUT("0.1"),
                           dropout_aux = DENSE_DROPOUT_AUX;
static const cvr_attr_desc bins = CVR_ATTR_INIT(INTS, "bins", "1,2,3,6", "parts of a side at each level of the pyramid",
                                                .count = MOST_BINS, CVR_ATTR_BETWEEN(1, 1024));

static const cvr_stage *const stages_of[] = {
    NET_STAGE("backbone.stem", "layer0"),     NET_STAGE("backbone.layer1", "layer1.#"),
    NET_STAGE("backbone.layer2", "layer2.#"), NET_STAGE("backbone.layer3", "layer3.#"),
    NET_STAGE("backbone.layer4", "layer4.#"), NET_STAGE("head", "cls.4,aux.4"),
    NET_STAGE("head.auxiliary", "aux"),       NET_STAGE("head.decoder", "ppm,cls"),
};

#define MODEL(name_, layers_)                                                                                          \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .proposes = dense_proposes, .name = name_,                              \
        .doc = "Zhao et al. 2017, as in semseg", .n_attrs = 6,                                                         \
        .attrs = (const cvr_attr_desc *const[]){&layers_, &width, &bins, &aux_loss, &dropout, &dropout_aux},           \
        .build = pspnet_build, .n_stages = NET_COUNT(stages_of), .stages = stages_of, .alias = pspnet_alias            \
    }
static const cvr_model_desc *const models[] = {MODEL("pspnet_resnet50", layers_50),
                                               MODEL("pspnet_resnet101", layers_101)};

static int32_t pspnet_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, NET_COUNT(models), err);
}

CVR_DEFINE_PLUGIN("model_pspnet", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:relu layer:max_pool2d layer:add layer:adaptive_avg_pool2d "
                  "layer:concat layer:dropout2d layer:upsample",
                  pspnet_load)
