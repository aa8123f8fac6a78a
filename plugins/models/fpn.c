/* Bodies of detectors and the feature pyramid on them; see the header. */
#include "fpn.h"
#include "mobilenet/mobilenet_v2_trunk.h"
#include "mobilenet/mobilenet_v3_trunk.h"
#include "resnet/resnet_trunk.h"
#include <math.h>

#define MOST_FEATURES 20 /* of a MobileNet: blocks with the stem and the last convolution */
#define MOBILENET_V2_LAST 1280

const cvr_attr_desc fpn_layers = CVR_ATTR_INIT(INTS, "layers", "", "blocks of each stage of a ResNet; none: the body's",
                                               .count = 4, CVR_ATTR_BETWEEN(1, 1000));
const cvr_attr_desc fpn_width = RESNET_WIDTH;
const cvr_attr_desc fpn_width_mult =
    CVR_ATTR_INIT(FLOAT, "width_mult", "1", "multiplies the channels of a MobileNet", CVR_ATTR_BETWEEN(0.01, 100));
const cvr_attr_desc fpn_returned_layers =
    CVR_ATTR_INIT(INTS, "returned_layers", "",
                  "stages that the pyramid stands on: 1 to 4 of a ResNet, 0 to 5 of a MobileNet; none: the model's own",
                  .count = FPN_MOST_STAGES, CVR_ATTR_BETWEEN(0, FPN_MOST_STAGES - 1));
const cvr_attr_desc fpn_norm_eps =
    CVR_ATTR_INIT(FLOAT, "norm_eps", "1e-5",
                  "eps of the body's norms; 0 for torchvision's COCO_V1 weights of the ResNets' first versions",
                  CVR_ATTR_BETWEEN(0, 1));
const cvr_attr_desc fpn_channels =
    CVR_ATTR_INIT(INT, "fpn_channels", "256", "channels of the pyramid", CVR_ATTR_BETWEEN(1, 65536));

/* The bodies in the order of FPN_BODIES: blocks of a ResNet's stages; or the blocks that a MobileNet's stages are, as
 * torchvision counts them: the first, each that has a stride, and the last. */
enum { RESNET, MOBILENET_V3, MOBILENET_V2 };
typedef struct body_row {
    int64_t kind, variant; /* RESNET_* or MOBILENET_V3_* */
    int64_t numbers[FPN_MOST_STAGES];
} body_row;
static const body_row bodies[] = {
    {RESNET, RESNET_BASIC, {2, 2, 2, 2}},
    {RESNET, RESNET_BASIC, {3, 4, 6, 3}},
    {RESNET, RESNET_BOTTLENECK, {3, 4, 6, 3}},
    {RESNET, RESNET_BOTTLENECK, {3, 4, 23, 3}},
    {MOBILENET_V3, MOBILENET_V3_LARGE, {0, 2, 4, 7, 13, 16}},
    {MOBILENET_V3, MOBILENET_V3_SMALL, {0, 1, 2, 4, 9, 12}},
    {MOBILENET_V2, 0, {0, 2, 4, 7, 14, 18}},
};

/* Where the user names no stages; [FPN_STAGES_*][it is a MobileNet] */
typedef struct stage_list {
    int64_t n;
    int64_t numbers[FPN_MOST_STAGES];
} stage_list;
static const stage_list usual[2][2] = {{{4, {1, 2, 3, 4}}, {2, {4, 5}}}, {{3, {2, 3, 4}}, {3, {2, 3, 5}}}};

static stage_list stages_of(net *n, const fpn *f) {
    const int mobile = bodies[f->attrs->body].kind != RESNET, first = !mobile, last = mobile ? FPN_MOST_STAGES - 1 : 4;
    stage_list s = usual[f->stages][mobile];
    if (f->attrs->n_returned_layers == 0) return s;
    s.n = f->attrs->n_returned_layers;
    memcpy(s.numbers, f->attrs->returned_layers, sizeof s.numbers);
    for (int64_t i = 0; i < s.n && n->status == CVR_OK; i++)
        if (s.numbers[i] < first || s.numbers[i] > last || (i > 0 && s.numbers[i] <= s.numbers[i - 1]))
            n->status =
                cvr_fail(n->err, CVR_ERR_INVALID,
                         "model.returned_layers: the stages of this body are %d to %d, in rising order", first, last);
    return s;
}

/* ---- bodies ---- */

/* image: (N, C, H, W); stages[i]: the result of layer i, from 1 on */
static void resnet_stages(net *n, const fpn_attrs *a, const char *norm, cvr_value image,
                          cvr_value stages[FPN_MOST_STAGES]) {
    const body_row *row = &bodies[a->body];
    resnet_trunk t = {
        .n_layers = 4, .block = row->variant, .width = a->width, .groups = 1, .width_per_group = 64, .norm = norm};
    memcpy(t.layers, a->n_layers ? a->layers : row->numbers, sizeof t.layers);
    if (n->status == CVR_OK && a->n_layers != 0 && a->n_layers != 4)
        n->status = cvr_fail(n->err, CVR_ERR_INVALID, "model.layers has %lld numbers; this body has four stages",
                             (long long)a->n_layers);
    if (n->status != CVR_OK) return;
    resnet_trunk_stages(n, &t, resnet_trunk_stem(n, &t, image), &stages[1]);
}

/* Features 0 to 18 of torchvision's MobileNetV2. */
static void mobilenet_v2_features(net *n, const fpn_attrs *a, const char *norm, cvr_value image, cvr_value *features) {
    const mobilenet_v2_trunk t = {.width_mult = a->width_mult, .round_nearest = 8, .norm = norm};
    const net_conv2d last = {
        net_divisible(MOBILENET_V2_LAST * (a->width_mult > 1 ? a->width_mult : 1), 8), 1, 1, 0, 1, 0};
    const net_norm_act relu6 = {norm, "relu6"};
    mobilenet_v2_trunk_build(n, &t, image, MOBILENET_V2_BLOCKS, NULL, features);
    if (n->status != CVR_OK) return;
    features[MOBILENET_V2_BLOCKS] = net_conv_norm(n, features[MOBILENET_V2_BLOCKS - 1], "18", &last, &relu6);
}

/* stages[i]: the result of the block that stage i ends with, from 0 on */
static void mobilenet_stages(net *n, const fpn_attrs *a, const char *norm, cvr_value image,
                             cvr_value stages[FPN_MOST_STAGES]) {
    const body_row *row = &bodies[a->body];
    const mobilenet_v3_trunk t = {.size = row->variant, .width_mult = a->width_mult, .norm = norm};
    cvr_value features[MOST_FEATURES];
    for (int i = 0; i < MOST_FEATURES; i++) features[i] = image;
    if (row->kind == MOBILENET_V2)
        mobilenet_v2_features(n, a, norm, image, features);
    else
        (void)mobilenet_v3_trunk_build(n, &t, image, features);
    for (int i = 0; i < FPN_MOST_STAGES; i++) stages[i] = features[row->numbers[i]];
}

/* The body's stages; torchvision's norms have the same eps in every body. */
static void build_body(net *n, const fpn_attrs *a, cvr_value image, cvr_value stages[FPN_MOST_STAGES]) {
    const net_text norm = net_print("eps=%.17g", a->norm_eps);
    for (int i = 0; i < FPN_MOST_STAGES; i++) stages[i] = image;
    n->scope = "backbone.body.";
    n->conv = (net_start){NET_START_KAIMING, 0, 0};
    n->norm = a->norm ? "batch_norm2d" : "frozen_batch_norm2d";
    if (bodies[a->body].kind == RESNET)
        resnet_stages(n, a, norm.s, image, stages);
    else
        mobilenet_stages(n, a, norm.s, image, stages);
}

/* ---- the pyramid ---- */

/* torch.nn.init.kaiming_uniform_ with a = 1: in +-sqrt(3 / fan_in) */
static cvr_value uniform_conv(net *n, cvr_value x, const char *name, const net_conv2d *c) {
    if (n->status != CVR_OK) return x;
    n->conv =
        (net_start){NET_START_UNIFORM, sqrt(3.0 / (double)(net_shape(n, x)[1] * c->kernel_size * c->kernel_size)), 0};
    return net_conv(n, x, name, c);
}

/* One block, NAME.0 and perhaps NAME.1. x: (N, C, h, w) -> (N, channels, h, w) */
static cvr_value block(net *n, const fpn *f, const char *name, int64_t channels, int64_t kernel_size, cvr_value x) {
    const net_conv2d c = {channels, kernel_size, 1, kernel_size / 2, 1, f->norm == NULL};
    x = uniform_conv(n, x, net_print("%s.0", name).s, &c);
    return f->norm ? net_layer(n, x, net_print("%s.1", name).s, f->norm, "") : x;
}

/* lateral: (N, C, h, w), plus the coarser map, which is made as large by taking the nearest pixel */
static cvr_value join(net *n, int i, cvr_value lateral, cvr_value coarse) {
    if (n->status != CVR_OK) return lateral;
    const int64_t *size = net_shape(n, lateral), *have = net_shape(n, coarse);
    if (size[2] != have[2] || size[3] != have[3])
        coarse = net_layer(n, coarse, net_print("inner_blocks.%d.resize", i).s, "upsample",
                           net_print("size=%lld,%lld", (long long)size[2], (long long)size[3]).s);
    return net_layer2(n, lateral, coarse, net_print("inner_blocks.%d.add", i).s, "add", "");
}

/* Adds the extra maps to `count` ones. body: the body's last stage */
static size_t add_extra(net *n, const fpn *f, cvr_value body, cvr_value maps[FPN_MOST_MAPS], size_t count) {
    if (n->status != CVR_OK || f->extra == FPN_EXTRA_NONE) return count;
    const net_conv2d halves = {net_shape(n, maps[count - 1])[1], 3, 2, 1, 1, 1};
    if (f->extra == FPN_EXTRA_POOL) {
        maps[count] = net_layer(n, maps[count - 1], "extra_blocks.pool", "max_pool2d", "1 stride=2");
        return count + 1;
    }
    const cvr_value from = f->extra == FPN_EXTRA_P6P7 ? maps[count - 1] : body;
    maps[count] = uniform_conv(n, from, "extra_blocks.p6", &halves);
    const cvr_value x = net_layer(n, maps[count], "extra_blocks.relu", "relu", "");
    maps[count + 1] = uniform_conv(n, x, "extra_blocks.p7", &halves);
    return count + 2;
}

/* The same head looks at all maps; [layers] may have changed one. */
static void check_widths(net *n, const cvr_value *maps, size_t stages, size_t count) {
    const int64_t wide = n->status == CVR_OK ? net_shape(n, maps[stages - 1])[1] : 0;
    for (size_t i = count; i-- > 0 && n->status == CVR_OK;) { /* the finer ones follow the coarser ones */
        const int64_t has = net_shape(n, maps[i])[1];
        const net_text name =
            i < stages ? net_print("layer_blocks.%d.0", (int)i) : net_print("extra_blocks.p%d", (int)(i - stages) + 6);
        if (has != wide)
            n->status =
                cvr_fail(n->err, CVR_ERR_INVALID,
                         "layer backbone.fpn.%s (conv2d): out_channels=%lld, but %lld in layer_blocks.%d.0; the "
                         "maps of a pyramid have equally many",
                         name.s, (long long)has, (long long)wide, (int)stages - 1);
    }
}

size_t fpn_build(net *n, const fpn *f, cvr_value image, cvr_value maps[FPN_MOST_MAPS]) {
    const net before = *n;
    const stage_list list = stages_of(n, f);
    cvr_value stages[FPN_MOST_STAGES], inner = image;
    build_body(n, f->attrs, image, stages);
    n->scope = "backbone.fpn.";
    n->norm = before.norm;
    for (int i = 0; i < FPN_MOST_MAPS; i++) maps[i] = image;
    for (int i = (int)list.n - 1; i >= 0 && n->status == CVR_OK; i--) {
        const int coarsest = i == (int)list.n - 1; /* the others are as wide */
        const int64_t wide = coarsest ? f->attrs->channels : net_shape(n, inner)[1],
                      out = coarsest ? f->attrs->channels : net_shape(n, maps[i + 1])[1];
        const cvr_value x = block(n, f, net_print("inner_blocks.%d", i).s, wide, 1, stages[list.numbers[i]]);
        inner = coarsest ? x : join(n, i, x, inner);
        maps[i] = block(n, f, net_print("layer_blocks.%d", i).s, out, 3, inner);
    }
    const size_t count = add_extra(n, f, stages[list.numbers[list.n - 1]], maps, (size_t)list.n);
    check_widths(n, maps, (size_t)list.n, count);
    n->scope = before.scope;
    n->conv = before.conv;
    return n->status == CVR_OK ? count : 0;
}

int64_t fpn_stride(const void *attrs) {
    (void)attrs;
    return 32;
}

/* ---- names ---- */

int32_t fpn_alias(int32_t mobile, const char *head, const char *name, char *out, uint64_t size) {
    static const net_name older[] = {
        {"backbone.fpn.inner_blocks.#.weight", "backbone.fpn.inner_blocks.{1}.0.weight"},
        {"backbone.fpn.inner_blocks.#.bias", "backbone.fpn.inner_blocks.{1}.0.bias"},
        {"backbone.fpn.layer_blocks.#.weight", "backbone.fpn.layer_blocks.{1}.0.weight"},
        {"backbone.fpn.layer_blocks.#.bias", "backbone.fpn.layer_blocks.{1}.0.bias"},
    };
    if (net_rename(older, NET_COUNT(older), name, out, size)) return 1;
    if (strncmp(name, "backbone.", 9) == 0) return snprintf(out, size, "%s", name) < (int)size;
    const int timm = mobile && strncmp(name, "layer", 5) != 0 && strncmp(name, "fc.", 3) != 0;
    if (timm || strncmp(name, "features.", 9) == 0 || strncmp(name, "classifier.", 11) == 0)
        return mobilenet_v3_trunk_alias("backbone.body.", head, name, out, size);
    return resnet_trunk_alias("backbone.body.", head, name, out, size);
}
