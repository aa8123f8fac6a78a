/* The blocks of Howard et al.: "Searching for MobileNetV3", 2019, as torchvision has them; see the header. */
#include "mobilenet_v3_trunk.h"

/* The paper's tables 1 and 2: kernel, channels within and at the end, squeeze-and-excitation, hard swish, stride. */
typedef struct bneck_row {
    int64_t kernel, expanded, out, squeeze, hard_swish, stride;
} bneck_row;
static const bneck_row large[] = {
    {3, 16, 16, 0, 0, 1},   {3, 64, 24, 0, 0, 2},   {3, 72, 24, 0, 0, 1},   {5, 72, 40, 1, 0, 2},
    {5, 120, 40, 1, 0, 1},  {5, 120, 40, 1, 0, 1},  {3, 240, 80, 0, 1, 2},  {3, 200, 80, 0, 1, 1},
    {3, 184, 80, 0, 1, 1},  {3, 184, 80, 0, 1, 1},  {3, 480, 112, 1, 1, 1}, {3, 672, 112, 1, 1, 1},
    {5, 672, 160, 1, 1, 2}, {5, 960, 160, 1, 1, 1}, {5, 960, 160, 1, 1, 1},
};
static const bneck_row small[] = {
    {3, 16, 16, 1, 0, 2},  {3, 72, 24, 0, 0, 2},  {3, 88, 24, 0, 0, 1},  {5, 96, 40, 1, 1, 2},
    {5, 240, 40, 1, 1, 1}, {5, 240, 40, 1, 1, 1}, {5, 120, 48, 1, 1, 1}, {5, 144, 48, 1, 1, 1},
    {5, 288, 96, 1, 1, 2}, {5, 576, 96, 1, 1, 1}, {5, 576, 96, 1, 1, 1},
};
#define STEM_CHANNELS 16
#define LARGE_LAST_STAGE 12 /* row of the large one's table */

/* Either table, and the first block of its last stage, which may be dilated. */
static const struct {
    const bneck_row *rows;
    size_t count, last_stage;
} sizes[] = {{large, NET_COUNT(large), LARGE_LAST_STAGE}, {small, NET_COUNT(small), 8}};

/* One block, all channels multiplied. `in`: the channels that the table gives it; norm: settings of its norms; cut: the
 * result of its first convolution, if that is wanted. */
typedef struct bneck {
    bneck_row row;
    int64_t in, dilation;
    const char *norm;
    cvr_value *cut;
} bneck;

int64_t mobilenet_v3_channels(double width_mult, int64_t c) {
    return net_divisible((double)c * width_mult, 8);
}

/* Part i of a block, the convolution that widens its input first; see mobilenet_v3_trunk.cut. */
static net_text part_of(const bneck *k, const char *name, int i) {
    if (!k->cut) return net_print("%s.block.%d", name, i);
    return i == 0 ? net_print("0.%d", LARGE_LAST_STAGE + 1) : net_print("1.0.%d", i);
}

/* x: (N, C, H, W) -> (N, out, H / stride, W / stride); the same size where it is dilated */
static cvr_value inverted_residual(net *n, const char *name, const bneck *k, cvr_value x) {
    const int64_t in = net_shape(n, x)[1], residual = k->row.stride == 1 && k->in == k->row.out;
    const net_norm_act act = {k->norm, k->row.hard_swish ? "hardswish" : "relu"}, linear = {k->norm, NULL};
    const net_conv2d expand = {k->row.expanded, 1, 1, 0, 1, 0}, project = {residual ? in : k->row.out, 1, 1, 0, 1, 0};
    const net_squeeze squeeze = {net_divisible((double)(k->row.expanded / 4), 8), "relu", "hardsigmoid"};
    cvr_value y = x;
    int i = 0;
    if (k->row.expanded != k->in) y = net_conv_norm(n, y, part_of(k, name, i++).s, &expand, &act);
    if (k->cut) *k->cut = y;
    const int64_t hidden = net_shape(n, y)[1];
    const net_conv2d depthwise = {
        hidden, k->row.kernel, k->dilation > 1 ? 1 : k->row.stride, k->row.kernel / 2 * k->dilation, hidden, 0};
    y = net_conv_norm_dilated(n, y, part_of(k, name, i++).s, &depthwise, k->dilation, &act);
    if (k->row.squeeze) y = net_squeeze_excite(n, y, part_of(k, name, i++).s, &squeeze);
    y = net_conv_norm(n, y, part_of(k, name, i).s, &project, &linear);
    return residual ? net_layer2(n, y, x, net_print("%s.add", name).s, "add", "") : y;
}

/* Row i, with half of the last stage's channels where the tail is reduced. */
static bneck_row row_of(const mobilenet_v3_trunk *t, size_t i) {
    bneck_row row = sizes[t->size].rows[i];
    if (!t->reduced_tail || i < sizes[t->size].last_stage) return row;
    row.out /= 2;
    if (i > sizes[t->size].last_stage) row.expanded /= 2;
    return row;
}

/* The name of block i. */
static net_text block_of(const mobilenet_v3_trunk *t, int i) {
    if (!t->cut) return net_print("%d", i);
    return i <= LARGE_LAST_STAGE ? net_print("0.%d", i) : net_print("1.%d", i - LARGE_LAST_STAGE - 1);
}

size_t mobilenet_v3_trunk_build(net *n, const mobilenet_v3_trunk *t, cvr_value image,
                                cvr_value features[MOBILENET_V3_FEATURES]) {
    const size_t count = sizes[t->size].count, last_stage = sizes[t->size].last_stage;
    const net_text norm = t->norm ? net_print("%s", t->norm) : net_print("eps=0.001 momentum=%.17g", t->norm_momentum);
    const net_norm_act hard_swish = {norm.s, "hardswish"};
    const net_conv2d stem = {mobilenet_v3_channels(t->width_mult, STEM_CHANNELS), 3, 2, 1, 1, 0},
                     last = {6 * mobilenet_v3_channels(t->width_mult, row_of(t, count - 1).out), 1, 1, 0, 1, 0};
    int64_t in = stem.out_channels;
    features[0] = net_conv_norm(n, image, block_of(t, 0).s, &stem, &hard_swish);
    for (size_t i = 0; i < count; i++) {
        const bneck_row row = row_of(t, i);
        bneck k = {row, in, t->dilated && i >= last_stage ? 2 : 1, norm.s, i == last_stage ? t->cut : NULL};
        k.row.expanded = mobilenet_v3_channels(t->width_mult, row.expanded);
        k.row.out = in = mobilenet_v3_channels(t->width_mult, row.out);
        features[i + 1] = inverted_residual(n, block_of(t, (int)i + 1).s, &k, features[i]);
    }
    features[count + 1] = net_conv_norm(n, features[count], block_of(t, (int)count + 1).s, &last, &hard_swish);
    return count + 2;
}

/* ---- timm's names ---- */

static const int64_t large_stages[] = {1, 2, 3, 4, 2, 3}, small_stages[] = {1, 2, 3, 2, 3};

/* What a part of a block is called; parts count from the block's first convolution on. */
static int32_t block_alias(const bneck_row *row, int expands, const char *part, int64_t feature, char *out,
                           uint64_t size) {
    const int dw = expands, squeeze = dw + 1, project = squeeze + (row->squeeze != 0);
    const net_text base = net_print("features.%lld.block", (long long)feature);
    const net_name rules[] = {
        {expands ? "conv_pw" : "conv_dw", net_print("%s.0.0", base.s).s},
        {"bn1", net_print("%s.0.1", base.s).s},
        {expands ? "conv_dw" : "conv_pw", net_print("%s.%d.0", base.s, expands ? dw : project).s},
        {"bn2", net_print("%s.%d.1", base.s, expands ? dw : project).s},
        {"se.conv_reduce", net_print("%s.%d.fc1", base.s, squeeze).s},
        {"se.conv_expand", net_print("%s.%d.fc2", base.s, squeeze).s},
        {"conv_pwl", net_print("%s.%d.0", base.s, project).s},
        {"bn3", net_print("%s.%d.1", base.s, project).s},
    };
    return net_rename(rules, NET_COUNT(rules), part, out, size);
}

/* timm counts blocks within a stage, torchvision all of them; the last stage is the convolution after them. */
static int32_t timm_alias(int64_t which, const int64_t *stages_of, int n_stages, const char *name, char *out,
                          uint64_t size) {
    const int64_t count = (int64_t)sizes[which].count;
    const net_text last = net_print("features.%lld.0", (long long)count + 1),
                   last_norm = net_print("features.%lld.1", (long long)count + 1);
    const net_name others[] = {{"conv_stem", "features.0.0"},
                               {"bn1", "features.0.1"},
                               {"conv", last.s},
                               {"conv_head", "classifier.0"},
                               {"classifier", "classifier.3"}},
                   ends[] = {{"conv", last.s}, {"bn1", last_norm.s}};
    int stage, block, length = 0;
    if (sscanf(name, "blocks.%d.%d.%n", &stage, &block, &length) != 2 || !length)
        return net_rename(others, NET_COUNT(others), name, out, size);
    if (stage == n_stages) return net_rename(ends, NET_COUNT(ends), name + length, out, size);
    int64_t i = block;
    for (int k = 0; k < stage && k < n_stages; k++) i += stages_of[k];
    if (stage < 0 || block < 0 || i >= count) return 0;
    return block_alias(&sizes[which].rows[i], i > 0, name + length, i + 1, out, size);
}

int32_t mobilenet_v3_alias(int64_t size, const char *name, char *out, uint64_t size_of_out) {
    return size == MOBILENET_V3_LARGE ? timm_alias(size, large_stages, NET_COUNT(large_stages), name, out, size_of_out)
                                      : timm_alias(size, small_stages, NET_COUNT(small_stages), name, out, size_of_out);
}

int32_t mobilenet_v3_trunk_alias(const char *scope, const char *head, const char *name, char *out, uint64_t size) {
    char own[160];
    if (strncmp(name, "features.", 9) == 0 || strncmp(name, "classifier.", 11) == 0)
        (void)snprintf(own, sizeof own, "%.150s", name);
    else if (!mobilenet_v3_alias(MOBILENET_V3_LARGE, name, own, sizeof own))
        return 0;
    const char *const last = strrchr(own, '.');
    const int n = strncmp(own, "features.", 9) == 0 ? snprintf(out, size, "%s%s", scope, own + 9)
                                                    : snprintf(out, size, "%s%s", head, last ? last : "");
    return n >= 0 && (uint64_t)n < size;
}
