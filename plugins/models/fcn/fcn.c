/*
 * FCN (Long, Shelhamer, Darrell: "Fully Convolutional Networks for Semantic Segmentation", 2015) as torchvision has it:
 * on a ResNet whose last two stages are dilated (output stride 8), with an auxiliary head on the third stage. Results
 * are made as large as the picture bilinearly. Names and initialisation are torchvision's.
 */
#include "../dense_head.h"

typedef struct fcn_attrs {
    dense_resnet resnet;
    int64_t aux_loss;
    double dropout, dropout_aux;
} fcn_attrs;

/* image: (N, C, H, W) -> output and aux: logits, (N, num_classes, H, W) */
static int32_t fcn_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const fcn_attrs *a = (const fcn_attrs *)args->attrs;
    const dense_fcn head = {"classifier", "dropout", a->dropout, args->num_classes, 0},
                    aux = {"aux_classifier", "dropout", a->dropout_aux, args->num_classes, 0};
    net n = {.b = b, .err = err, .conv = DENSE_KAIMING, .scope = "backbone."};
    const resnet_trunk t = dense_trunk(&n, &a->resnet, 8);
    const cvr_value image = io->input(io, "image");
    cvr_value stages[4] = {image, image, image, image}, x;
    if (n.status == CVR_OK) resnet_trunk_stages(&n, &t, resnet_trunk_stem(&n, &t, image), stages);
    n.scope = NULL;
    n.conv = DENSE_TORCH;
    x = dense_fcn_head(&n, &head, stages[3]);
    x = dense_resize(&n, x, "resize", image, DENSE_BILINEAR);
    if (a->aux_loss) {
        const cvr_value y = dense_fcn_head(&n, &aux, stages[2]);
        net_auxiliary(&n, io, "aux", 0.5, dense_resize(&n, y, "aux_resize", image, DENSE_BILINEAR));
    }
    return net_result(&n, io, x);
}

static int32_t fcn_alias(const char *name, char *out, uint64_t size) {
    return resnet_trunk_alias("backbone.", "classifier.4", name, out, size);
}

static const cvr_attr_desc layers_50 = RESNET_LAYERS(RESNET_LAYERS_50), layers_101 = RESNET_LAYERS(RESNET_LAYERS_101),
                           width = RESNET_WIDTH, aux_loss = DENSE_AUX_LOSS, dropout = DENSE_DROPOUT("0.1"),
                           dropout_aux = DENSE_DROPOUT_AUX;

static const cvr_stage *const stages[] = {DENSE_RESNET_STAGES, DENSE_HEAD_STAGES};

#define MODEL(name_, layers_)                                                                                          \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .proposes = dense_proposes, .name = name_,                              \
        .doc = "Long et al. 2015, as in torchvision", .n_attrs = 5,                                                    \
        .attrs = (const cvr_attr_desc *const[]){&layers_, &width, &aux_loss, &dropout, &dropout_aux},                  \
        .build = fcn_build, .n_stages = NET_COUNT(stages), .stages = stages, .alias = fcn_alias                        \
    }
static const cvr_model_desc *const models[] = {MODEL("fcn_resnet50", layers_50), MODEL("fcn_resnet101", layers_101)};

static int32_t fcn_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, NET_COUNT(models), err);
}

CVR_DEFINE_PLUGIN("model_fcn", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:relu layer:max_pool2d layer:add layer:dropout layer:upsample",
                  fcn_load)
