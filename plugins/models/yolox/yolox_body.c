/*
 * The body of YOLOX: the focus stem, CSPDarknet (Wang et al.: "CSPNet", 2020; Bochkovskiy et al.: "YOLOv4", 2020) and a
 * path aggregation network (Liu et al.: "Path Aggregation Network for Instance Segmentation", 2018). Names are those of
 * the reference implementation: backbone.backbone.dark3.1.m.0.conv1.conv.weight.
 */
#include "yolox.h"
#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/conv.h>
#include <math.h>

#define MOST_IN_CHANNELS 4 /* of a picture */
#define PATCH 2            /* side of the patches that the stem takes apart */

/* ---- convolutions ---- */

int64_t yolox_channels(const yolox *y, int64_t channels) {
    const int64_t n = (int64_t)((double)channels * y->a->width_mult);
    return n > 1 ? n : 1;
}

static const char *activation_of(const yolox *y, const char **settings) {
    static const char *const names[] = {"silu", "relu", "leaky_relu"};
    *settings = y->a->activation == 2 ? "0.1" : "";
    return names[y->a->activation];
}

cvr_value yolox_base_conv(const yolox *y, const char *name, const yolox_conv *c, cvr_value x) {
    const net_conv2d conv = {c->out_channels, c->kernel_size, c->stride, (c->kernel_size - 1) / 2, c->groups, 0};
    const char *settings, *const activation = activation_of(y, &settings);
    x = net_conv(y->n, x, net_print("%s.conv", name).s, &conv);
    x = net_norm(y->n, x, net_print("%s.bn", name).s, "eps=1e-3 momentum=0.03");
    return net_layer(y->n, x, net_print("%s.act", name).s, activation, settings);
}

cvr_value yolox_any_conv(const yolox *y, const char *name, const yolox_conv *c, cvr_value x) {
    if (!y->a->depthwise || y->n->status != CVR_OK) return yolox_base_conv(y, name, c, x);
    const int64_t channels = net_shape(y->n, x)[1];
    const yolox_conv depth = {channels, c->kernel_size, c->stride, channels}, point = {c->out_channels, 1, 1, 1};
    x = yolox_base_conv(y, net_print("%s.dconv", name).s, &depth, x);
    return yolox_base_conv(y, net_print("%s.pconv", name).s, &point, x);
}

static cvr_value point_conv(const yolox *y, const char *name, int64_t channels, cvr_value x) {
    const yolox_conv c = {channels, 1, 1, 1};
    return yolox_base_conv(y, name, &c, x);
}

/* ---- blocks ---- */

/* Channels of x; 1 after a failure. */
static int64_t channels_of(const yolox *y, cvr_value x) {
    return y->n->status == CVR_OK ? net_shape(y->n, x)[1] : 1;
}

/* A 1x1 and a 3x3 convolution, whose result is added to x where `shortcut`. */
static cvr_value bottleneck(const yolox *y, const char *name, int shortcut, cvr_value x) {
    const yolox_conv wide = {channels_of(y, x), 3, 1, 1};
    cvr_value z = point_conv(y, net_print("%s.conv1", name).s, wide.out_channels, x);
    z = yolox_any_conv(y, net_print("%s.conv2", name).s, &wide, z);
    return shortcut ? net_layer2(y->n, z, x, net_print("%s.add", name).s, "add", "") : z;
}

/* Cross stage partial: one half of the channels goes through `depth` bottlenecks, the other half past them. */
typedef struct csp {
    int64_t out_channels, depth;
    int shortcut;
} csp;
static cvr_value csp_layer(const yolox *y, const char *name, const csp *c, cvr_value x) {
    const int64_t half = c->out_channels > 1 ? c->out_channels / 2 : 1;
    cvr_value parts[2] = {point_conv(y, net_print("%s.conv1", name).s, half, x),
                          point_conv(y, net_print("%s.conv2", name).s, half, x)};
    for (int64_t i = 0; i < c->depth && y->n->status == CVR_OK; i++)
        parts[0] = bottleneck(y, net_print("%s.m.%lld", name, (long long)i).s, c->shortcut, parts[0]);
    const cvr_value both = net_concat(y->n, parts, 2, 1, net_print("%s.concat", name).s);
    return point_conv(y, net_print("%s.conv3", name).s, c->out_channels, both);
}

/* Spatial pyramid pooling (He et al., 2015): x beside its maxima over squares of 5, 9 and 13 pixels. */
static cvr_value pyramid_pooling(const yolox *y, const char *name, cvr_value x) {
    const int64_t out_channels = channels_of(y, x);
    cvr_value parts[4];
    parts[0] = point_conv(y, net_print("%s.conv1", name).s, out_channels > 1 ? out_channels / 2 : 1, x);
    for (int i = 0; i < 3; i++)
        parts[i + 1] = net_layer(y->n, parts[0], net_print("%s.m.%d", name, i).s, "max_pool2d",
                                 net_print("%d stride=1 padding=%d", 5 + 4 * i, 2 + 2 * i).s);
    const cvr_value all = net_concat(y->n, parts, 4, 1, net_print("%s.concat", name).s);
    return point_conv(y, net_print("%s.conv2", name).s, out_channels, all);
}

/* ---- the picture ---- */

/*
 * Patches of 2x2 pixels as channels, of the picture as the reference implementation reads it: (N, C, H, W) of RGB in
 * 0..1 -> (N, 4*C, H/2, W/2) of BGR in 0..255. The order is that of the checkpoints: the upper left pixel's channels,
 * then the lower left, the upper right and the lower right one's. It is one convolution by a constant: each of its
 * outputs is 255 times one input, so that nothing is rounded but by that product.
 */
static cvr_value focus(const yolox *y, cvr_value image) {
    static const int at[PATCH * PATCH][2] = {{0, 0}, {1, 0}, {0, 1}, {1, 1}}; /* row, column */
    float values[PATCH * PATCH * MOST_IN_CHANNELS * MOST_IN_CHANNELS * PATCH * PATCH] = {0};
    if (y->n->status != CVR_OK) return image;
    const int64_t *const s = net_shape(y->n, image), channels = s[1];
    if (channels > MOST_IN_CHANNELS || s[2] % YOLOX_LAST_STRIDE || s[3] % YOLOX_LAST_STRIDE) {
        y->n->status =
            cvr_fail(y->n->err, CVR_ERR_INVALID,
                     "YOLOX takes pictures of at most %d channels whose sides are multiples of %d; these are %s, set "
                     "data.img_size to such a number",
                     MOST_IN_CHANNELS, YOLOX_LAST_STRIDE, cvr_shape_of(y->n->b->type(y->n->b, image)).text);
        return image;
    }
    for (int64_t p = 0; p < PATCH * PATCH; p++)
        for (int64_t c = 0; c < channels; c++) {
            const int64_t from = channels == 3 ? 2 - c : c;
            values[(((p * channels + c) * channels + from) * PATCH + at[p][0]) * PATCH + at[p][1]] = 255;
        }
    const cvr_param_decl d = {.struct_size = sizeof d,
                              .name = "backbone.backbone.focus",
                              .dtype = CVR_F32,
                              .rank = 4,
                              .shape = {PATCH * PATCH * channels, channels, PATCH, PATCH, 1, 1},
                              .flags = CVR_PARAM_CONSTANT,
                              .values = values};
    const cvr_conv2d_attrs conv = {.stride = {PATCH, PATCH}, .dilation = {1, 1}, .groups = 1};
    const cvr_value in[2] = {image, net_values(y->n, &d)};
    return net_emit1(y->n, NET_OP("conv2d", &conv), in, 2);
}

/* ---- the trunk ---- */

/* Bottlenecks of a stage: 3 * depth_mult, rounded half to even as Python does it. */
static int64_t depth_of(const yolox *y) {
    return (int64_t)rint(3 * y->a->depth_mult);
}

/* Stage `i` of 2 to 5: half the size, twice the channels. */
static cvr_value dark(const yolox *y, int i, cvr_value x) {
    const int64_t least = depth_of(y) > 1 ? depth_of(y) : 1;
    const yolox_conv down = {2 * channels_of(y, x), 3, 2, 1};
    const net_text name = net_print("backbone.backbone.dark%d", i);
    x = yolox_any_conv(y, net_print("%s.0", name.s).s, &down, x);
    if (i == 5) x = pyramid_pooling(y, net_print("%s.1", name.s).s, x);
    const csp c = {channels_of(y, x), i == 3 || i == 4 ? 3 * least : least, i != 5};
    return csp_layer(y, net_print("%s.%d", name.s, i == 5 ? 2 : 1).s, &c, x);
}

/* ---- path aggregation ---- */

/* To the finer map: x with fewer channels, then twice as large beside the finer map. `narrow` is x before that. */
static cvr_value to_finer(const yolox *y, const char *conv, const char *csp_name, cvr_value finer, cvr_value x,
                          cvr_value *narrow) {
    const csp c = {channels_of(y, finer), depth_of(y), 0};
    cvr_value parts[2];
    *narrow = point_conv(y, conv, c.out_channels, x);
    parts[0] = net_layer(y->n, *narrow, net_print("%s.upsample", conv).s, "upsample", "scale_factor=2 mode=nearest");
    parts[1] = finer;
    return csp_layer(y, csp_name, &c, net_concat(y->n, parts, 2, 1, net_print("%s.concat", conv).s));
}

/* Back to the coarser map: x at half the size beside the coarser map; out_channels as the trunk has them at that
 * stride. */
static cvr_value to_coarser(const yolox *y, const char *conv, const char *csp_name, cvr_value coarser,
                            int64_t out_channels, cvr_value x) {
    const yolox_conv down = {channels_of(y, x), 3, 2, 1};
    const csp c = {out_channels, depth_of(y), 0};
    const cvr_value parts[2] = {yolox_any_conv(y, conv, &down, x), coarser};
    return csp_layer(y, csp_name, &c, net_concat(y->n, parts, 2, 1, net_print("%s.concat", conv).s));
}

void yolox_body(const yolox *y, cvr_value image, cvr_value maps[YOLOX_LEVELS]) {
    const yolox_conv stem = {yolox_channels(y, YOLOX_BASE_CHANNELS), 3, 1, 1};
    cvr_value x = yolox_base_conv(y, "backbone.backbone.stem.conv", &stem, focus(y, image)), trunk[YOLOX_LEVELS];
    cvr_value narrow[2];
    x = dark(y, 2, x);
    for (int i = 0; i < (int)YOLOX_LEVELS; i++) trunk[i] = x = dark(y, 3 + i, x);
    x = to_finer(y, "backbone.lateral_conv0", "backbone.C3_p4", trunk[1], trunk[2], &narrow[1]);
    maps[0] = to_finer(y, "backbone.reduce_conv1", "backbone.C3_p3", trunk[0], x, &narrow[0]);
    maps[1] = to_coarser(y, "backbone.bu_conv2", "backbone.C3_n3", narrow[0], channels_of(y, trunk[1]), maps[0]);
    maps[2] = to_coarser(y, "backbone.bu_conv1", "backbone.C3_n4", narrow[1], channels_of(y, trunk[2]), maps[1]);
}
