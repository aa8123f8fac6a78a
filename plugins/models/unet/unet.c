/*
 * U-Net (Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015), with
 * padded convolutions, so that the output has the picture's size, and with batch normalisation on request, as nearly
 * everyone uses it. Parameters are named as in the PyTorch implementations: inc, down1.., up1.., outc, where a pair of
 * convolutions is `double_conv`, a Sequential of convolution, [norm,] ReLU twice:
 *     inc.double_conv.0.weight, down1.maxpool_conv.1.double_conv.0.weight, up1.up.weight,
 * up1.conv.double_conv.0.weight, outc.conv.weight They start as torch.nn's layers do.
 */
#include "../model_net.h"

#define MOST_DEPTH 8

typedef struct unet_attrs {
    int64_t width;
    int64_t depth;
    int64_t batch_norm;
} unet_attrs;

static int64_t unet_stride(const void *attrs) {
    return (int64_t)1 << ((const unet_attrs *)attrs)->depth;
}

/* x: (N, C, H, W) -> (N, channels, H, W): twice a 3x3 convolution with ReLU */
static cvr_value double_conv(net *n, const char *name, int64_t channels, int64_t norm, cvr_value x) {
    const net_conv2d conv = {channels, 3, 1, 1, 1, !norm};
    int i = 0;
    for (int k = 0; k < 2; k++) {
        x = net_conv(n, x, net_print("%s.double_conv.%d", name, i++).s, &conv);
        if (norm) x = net_layer(n, x, net_print("%s.double_conv.%d", name, i++).s, "batch_norm2d", "");
        x = net_layer(n, x, net_print("%s.double_conv.%d", name, i++).s, "relu", "");
    }
    return x;
}

/* x: (N, 2C, H, W), skip: (N, C, 2H, 2W) -> (N, C, 2H, 2W) */
static cvr_value up(net *n, int64_t i, int64_t norm, cvr_value x, cvr_value skip) {
    const int64_t channels = net_shape(n, skip)[1];
    const net_text name = net_print("up%lld", (long long)i);
    x = net_layer(n, x, net_print("%s.up", name.s).s, "conv_transpose2d",
                  net_print("%lld kernel_size=2 stride=2", (long long)channels).s);
    x = net_layer2(n, skip, x, net_print("%s.concat", name.s).s, "concat", "1");
    return double_conv(n, net_print("%s.conv", name.s).s, channels, norm, x);
}

/* image: (N, C, H, W) -> output: logits, (N, num_classes, H, W) */
static int32_t unet_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const unet_attrs *a = (const unet_attrs *)args->attrs;
    const net_conv2d last = {args->num_classes, 1, 1, 0, 1, 1};
    net n = {.b = b, .err = err};
    const cvr_value image = io->input(io, "image");
    cvr_value skips[MOST_DEPTH], x;
    const int64_t *size = net_shape(&n, image), step = unet_stride(a);
    if (size[2] % step != 0 || size[3] % step != 0)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "pictures of %lldx%lld; their sides must be multiples of %lld: set data.img_size, or "
                        "model.depth",
                        (long long)size[3], (long long)size[2], (long long)step);
    x = double_conv(&n, "inc", a->width, a->batch_norm, image);
    for (int64_t i = 0; i < a->depth; i++) {
        const net_text name = net_print("down%lld.maxpool_conv", (long long)i + 1);
        skips[i] = x;
        x = net_layer(&n, x, net_print("%s.0", name.s).s, "max_pool2d", "2");
        x = double_conv(&n, net_print("%s.1", name.s).s, a->width << (i + 1), a->batch_norm, x);
    }
    for (int64_t i = a->depth; i-- > 0;) x = up(&n, a->depth - i, a->batch_norm, x, skips[i]);
    return net_result(&n, io, net_conv(&n, x, "outc.conv", &last));
}

static const cvr_attr_desc width = CVR_ATTR_INIT(
    INT, "width", "64", "channels at full size; each level below doubles them", CVR_ATTR_BETWEEN(1, 4096));
static const cvr_attr_desc depth =
    CVR_ATTR_INIT(INT, "depth", "4", "how often the size is halved", CVR_ATTR_BETWEEN(1, MOST_DEPTH));
static const cvr_attr_desc batch_norm =
    CVR_ATTR_INIT(BOOL, "batch_norm", "yes", "normalise after every 3x3 convolution, which then has no bias");
static const cvr_attr_desc *const schema[] = {&width, &depth, &batch_norm};

static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.inc", "inc"),     NET_STAGE("backbone.down1", "down1"),
    NET_STAGE("backbone.down2", "down2"), NET_STAGE("backbone.down3", "down3"),
    NET_STAGE("backbone.down4", "down4"), NET_STAGE("backbone.deeper", "down*"),
    NET_STAGE("decoder", "up*"),          NET_STAGE("head", "outc"),
};

static const cvr_model_desc unet = {.struct_size = sizeof unet,
                                    .name = "unet",
                                    .doc = "Ronneberger et al. 2015, with padding",
                                    .n_attrs = sizeof schema / sizeof *schema,
                                    .attrs = schema,
                                    .build = unet_build,
                                    .n_stages = NET_COUNT(stages),
                                    .stages = stages,
                                    .stride = unet_stride};

static int32_t unet_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_MODEL, &unet, err);
}

CVR_DEFINE_PLUGIN("model_unet", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:relu layer:max_pool2d layer:conv_transpose2d layer:concat",
                  unet_load)
