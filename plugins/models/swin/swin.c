/*
 * Swin Transformer (Liu, Lin, Cao, Hu, Wei, Zhang, Lin, Guo: "Swin Transformer: Hierarchical Vision Transformer using
 * Shifted Windows", 2021) as torchvision has it: swin_t, swin_s and swin_b. Names and initialisation are torchvision's
 * (its trunc_normal_ is cut at -2 and 2, far outside of a deviation of 0.02).
 */
#include "window_tables.h"
#include <cvr/plugin/ops/arith.h>
#include <cvr/plugin/ops/linear.h>
#include <math.h>

typedef struct swin_attrs {
    int64_t embed_dim;
    int64_t n_depths;
    int64_t depths[4];
    int64_t n_heads;
    int64_t num_heads[4];
    int64_t window_size;
    int64_t patch_size;
    int64_t mlp_ratio;
    double drop_path;
} swin_attrs;

/* One block; every second one has its windows shifted by half a window. */
typedef struct swin_block {
    net_text name;
    int64_t heads, window, shift, mlp_ratio;
    double drop;
} swin_block;

static const net_start linear_start = {NET_START_NORMAL, 0.02, 0};

/* Layer `layer` of block k */
static cvr_value within(net *n, const swin_block *k, const char *name, const char *layer, const char *settings,
                        cvr_value x) {
    return net_layer(n, x, net_print("%s.%s", k->name.s, name).s, layer, settings);
}

static cvr_value norm(net *n, const char *name, cvr_value x) {
    return net_layer(n, x, name, "layer_norm", net_print("%lld eps=1e-5", (long long)net_shape(n, x)[2]).s);
}

/* y = scale * x */
static cvr_value scaled(net *n, cvr_value x, double scale) {
    const cvr_type *t = n->b->type(n->b, x);
    cvr_expand_attrs attrs = {.rank = t->rank, .scale = scale};
    cvr_value y = x;
    memcpy(attrs.shape, t->shape, sizeof attrs.shape);
    if (n->status == CVR_OK) n->status = cvr_emit(n->b, "expand", &attrs, sizeof attrs, &x, 1, &y, n->err);
    return y;
}

/* y = x z, or x z^T, of the last two axes */
static cvr_value product(net *n, cvr_value x, cvr_value z, int64_t transpose) {
    const cvr_matmul_attrs attrs = {0, transpose};
    const cvr_value in[2] = {x, z};
    cvr_value y = x;
    if (n->status == CVR_OK) n->status = cvr_emit(n->b, "matmul", &attrs, sizeof attrs, in, 2, &y, n->err);
    return y;
}

/* The learned bias of every pair of a window's pixels: (1,1,heads,L,L) */
static cvr_value position_bias(net *n, const swin_block *k) {
    const int64_t pixels = k->window * k->window, rows = (2 * k->window - 1) * (2 * k->window - 1);
    const int64_t shape[2] = {rows, k->heads};
    const cvr_init init = {sizeof init, CVR_INIT_NORMAL, 0, 0, 0.02};
    const cvr_value table =
        net_declare(n, net_print("%s.attn.relative_position_bias_table", k->name.s).s, 2, shape, 0, &init);
    const cvr_value index = relative_position_index(n, net_print("%s.attn", k->name.s).s, k->window);
    cvr_value bias = net_layer2(n, table, index, net_print("%s.attn.bias", k->name.s).s, "take_rows", "");
    bias = within(n, k, "attn.bias_heads", "permute", "1,0", bias);
    const net_text as = net_print("1,1,%lld,%lld,%lld", (long long)k->heads, (long long)pixels, (long long)pixels);
    return within(n, k, "attn.bias_pairs", "reshape", as.s, bias);
}

/* Part `i` of q, k and v, (3,M,heads,L,E), as (N,windows,heads,L,E) */
static cvr_value part(net *n, const swin_block *k, int i, const char *shape, cvr_value qkv) {
    const net_text one = net_print("0 start=%d end=%d", i, i + 1);
    qkv = within(n, k, net_print("attn.part%d", i).s, "slice", one.s, qkv);
    return within(n, k, net_print("attn.heads%d", i).s, "reshape", shape, qkv);
}

/* x: windows, (M,L,C) -> the same: attention among the pixels of each window */
static cvr_value attention(net *n, const swin_block *k, const window_grid *g, cvr_value x) {
    const int64_t *in = net_shape(n, x), windows = grid_rows(g) * grid_columns(g);
    const int64_t m = in[0], pixels = in[1], channels = in[2];
    const cvr_value bias = position_bias(n, k);
    cvr_value y = net_linear(n, x, net_print("%s.attn.qkv", k->name.s).s, 3 * channels);
    if (n->status != CVR_OK) return x;
    const int64_t e = net_shape(n, y)[2] / 3 / k->heads;
    const net_text split =
        net_print("%lld,%lld,3,%lld,%lld", (long long)m, (long long)pixels, (long long)k->heads, (long long)e);
    const net_text heads = net_print("%lld,%lld,%lld,%lld,%lld", (long long)(m / windows), (long long)windows,
                                     (long long)k->heads, (long long)pixels, (long long)e);
    const net_text joined = net_print("%lld,%lld,%lld", (long long)m, (long long)pixels, (long long)(k->heads * e));
    y = within(n, k, "attn.split", "reshape", split.s, y);
    y = within(n, k, "attn.permute", "permute", "2,0,3,1,4", y);
    const cvr_value q = scaled(n, part(n, k, 0, heads.s, y), 1 / sqrt((double)e));
    const cvr_value keys = part(n, k, 1, heads.s, y), values = part(n, k, 2, heads.s, y);
    y = net_layer2(n, product(n, q, keys, 1), bias, net_print("%s.attn.add_bias", k->name.s).s, "add", "");
    if (g->shift[0] + g->shift[1] > 0)
        y = net_layer2(n, y, shift_mask(n, g), net_print("%s.attn.add_mask", k->name.s).s, "add", "");
    y = within(n, k, "attn.softmax", "softmax", "4", y);
    y = product(n, y, values, 0);
    y = within(n, k, "attn.unpermute", "permute", "0,1,3,2,4", y);
    y = within(n, k, "attn.join", "reshape", joined.s, y);
    return net_linear(n, y, net_print("%s.attn.proj", k->name.s).s, channels);
}

/* x: (N,C,H,W) -> the same. A window that is as large as the picture is not shifted. */
static cvr_value shifted_window_attention(net *n, const swin_block *k, cvr_value x) {
    const int64_t *size = net_shape(n, x);
    window_grid g = {k->window, size[2], size[3], {0, 0}};
    if (grid_rows(&g) > 1) g.shift[0] = k->shift;
    if (grid_columns(&g) > 1) g.shift[1] = k->shift;
    const net_text windows =
        net_print("%lld shift=%lld,%lld", (long long)g.window, (long long)g.shift[0], (long long)g.shift[1]);
    const net_text picture = net_print("%s size=%lld,%lld", windows.s, (long long)g.height, (long long)g.width);
    x = within(n, k, "attn.partition", "window_partition", windows.s, x);
    x = attention(n, k, &g, x);
    return within(n, k, "attn.merge", "window_merge", picture.s, x);
}

/* branch(norm(x)) is added to x by this name; in training whole samples lack it with probability `drop` */
static cvr_value add_branch(net *n, const swin_block *k, const char *i, cvr_value branch, cvr_value x) {
    branch =
        within(n, k, net_print("stochastic_depth%s", i).s, "stochastic_depth", net_print("%.17g", k->drop).s, branch);
    return net_layer2(n, x, branch, net_print("%s.add%s", k->name.s, i).s, "add", "");
}

/* x: (N,C,H,W) -> the same: x += attention(norm(x)), x += MLP(norm(x)) */
static cvr_value block(net *n, const swin_block *k, cvr_value x) {
    const int64_t *shape = net_shape(n, x), channels = shape[1];
    const net_text size = net_print("%lld,%lld", (long long)shape[2], (long long)shape[3]);
    cvr_value y = within(n, k, "tokens1", "to_tokens", "", x);
    y = norm(n, net_print("%s.norm1", k->name.s).s, y);
    y = within(n, k, "picture1", "from_tokens", size.s, y);
    x = add_branch(n, k, "1", shifted_window_attention(n, k, y), x);
    y = within(n, k, "tokens2", "to_tokens", "", x);
    y = norm(n, net_print("%s.norm2", k->name.s).s, y);
    y = net_linear(n, y, net_print("%s.mlp.0", k->name.s).s, k->mlp_ratio * channels);
    y = within(n, k, "mlp.1", "gelu", "", y);
    y = net_linear(n, y, net_print("%s.mlp.3", k->name.s).s, channels);
    y = within(n, k, "picture2", "from_tokens", size.s, y);
    return add_branch(n, k, "2", y, x);
}

/* x: (N,C,H,W) -> (N,2C,H/2,W/2), rounded up: four pixels side by side, in the order that torchvision has them */
static cvr_value patch_merging(net *n, const char *name, cvr_value x) {
    static const int order[4] = {0, 2, 1, 3}; /* upper left, lower left, upper right, lower right */
    const int64_t *in = net_shape(n, x), samples = in[0], height = (in[2] + 1) / 2, width = (in[3] + 1) / 2;
    const net_text size = net_print("%lld,%lld", (long long)height, (long long)width);
    cvr_value pixels[4];
    x = net_layer(n, x, net_print("%s.partition", name).s, "window_partition", "2");
    for (int i = 0; i < 4; i++)
        pixels[i] = net_layer(n, x, net_print("%s.pixel%d", name, i).s, "slice",
                              net_print("1 start=%d end=%d", order[i], order[i] + 1).s);
    x = net_concat(n, pixels, 4, 2, net_print("%s.concat", name).s);
    if (n->status != CVR_OK) return x;
    const int64_t wide = net_shape(n, x)[2];
    x = net_layer(n, x, net_print("%s.tokens", name).s, "reshape",
                  net_print("%lld,%lld,%lld", (long long)samples, (long long)(height * width), (long long)wide).s);
    x = norm(n, net_print("%s.norm", name).s, x);
    x = net_linear_plain(n, x, net_print("%s.reduction", name).s, wide / 2);
    return net_layer(n, x, net_print("%s.picture", name).s, "from_tokens", size.s);
}

static int32_t check_attrs(const swin_attrs *a, cvr_error *err) {
    if (a->n_heads != a->n_depths)
        return cvr_fail(err, CVR_ERR_INVALID, "model.num_heads has %lld numbers, model.depths %lld",
                        (long long)a->n_heads, (long long)a->n_depths);
    for (int64_t i = 0; i < a->n_depths; i++)
        if ((a->embed_dim << i) % a->num_heads[i] != 0)
            return cvr_fail(err, CVR_ERR_INVALID, "%lld heads do not divide the %lld channels of stage %lld",
                            (long long)a->num_heads[i], (long long)(a->embed_dim << i), (long long)i + 1);
    return CVR_OK;
}

/* All stages; x: (N,C,H,W) */
static cvr_value features(net *n, const swin_attrs *a, cvr_value x) {
    int64_t total = 0, id = 0;
    for (int64_t i = 0; i < a->n_depths; i++) total += a->depths[i];
    for (int64_t stage = 0; stage < a->n_depths; stage++) {
        for (int64_t i = 0; i < a->depths[stage] && n->status == CVR_OK; i++, id++) {
            const swin_block k = {.name = net_print("features.%d.%d", 2 * (int)stage + 1, (int)i),
                                  .heads = a->num_heads[stage],
                                  .window = a->window_size,
                                  .shift = i % 2 ? a->window_size / 2 : 0,
                                  .mlp_ratio = a->mlp_ratio,
                                  .drop = total > 1 ? a->drop_path * (double)id / (double)(total - 1) : 0};
            x = block(n, &k, x);
        }
        if (stage + 1 < a->n_depths) x = patch_merging(n, net_print("features.%d", 2 * (int)stage + 2).s, x);
    }
    return x;
}

/* image: (N,C,H,W) -> output: logits, (N,num_classes) */
static int32_t swin_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const swin_attrs *a = (const swin_attrs *)args->attrs;
    const net_conv2d patches = {a->embed_dim, a->patch_size, a->patch_size, 0, 1, 1};
    net n = {.b = b, .err = err, .linear = linear_start};
    CVR_TRY(check_attrs(a, err));
    cvr_value x = net_conv(&n, io->input(io, "image"), "features.0.0", &patches);
    if (n.status != CVR_OK) return n.status;
    net_text size = net_print("%lld,%lld", (long long)net_shape(&n, x)[2], (long long)net_shape(&n, x)[3]);
    x = net_layer(&n, x, "features.0.1", "to_tokens", "");
    x = norm(&n, "features.0.2", x);
    x = net_layer(&n, x, "features.0.picture", "from_tokens", size.s);
    x = features(&n, a, x);
    size = net_print("%lld,%lld", (long long)net_shape(&n, x)[2], (long long)net_shape(&n, x)[3]);
    x = net_layer(&n, x, "tokens", "to_tokens", "");
    x = norm(&n, "norm", x);
    x = net_layer(&n, x, "permute", "from_tokens", size.s);
    x = net_layer(&n, x, "avgpool", "adaptive_avg_pool2d", "1");
    x = net_layer(&n, x, "flatten", "flatten", "");
    return net_result(&n, io, net_linear(&n, x, "head", args->num_classes));
}

/* What tells the members of the family apart: defaults. */
#define WIDTH(default_)                                                                                                \
    CVR_ATTR_INIT(INT, "embed_dim", default_, "channels of the first stage; each after it doubles them",               \
                  CVR_ATTR_BETWEEN(1, 4096))
#define DEPTHS(default_)                                                                                               \
    CVR_ATTR_INIT(INTS, "depths", default_, "blocks of each stage", .count = 4, CVR_ATTR_BETWEEN(1, 1000))
#define HEADS(default_)                                                                                                \
    CVR_ATTR_INIT(INTS, "num_heads", default_, "heads of each stage", .count = 4, CVR_ATTR_BETWEEN(1, 1024))
#define DROP_PATH(default_)                                                                                            \
    CVR_ATTR_INIT(FLOAT, "drop_path", default_, "stochastic depth of the last block; it rises from 0 at the first",    \
                  CVR_ATTR_BETWEEN(0, 1))
static const cvr_attr_desc width_96 = WIDTH("96"), width_128 = WIDTH("128");
static const cvr_attr_desc depths_6 = DEPTHS("2,2,6,2"), depths_18 = DEPTHS("2,2,18,2");
static const cvr_attr_desc heads_3 = HEADS("3,6,12,24"), heads_4 = HEADS("4,8,16,32");
static const cvr_attr_desc drop_02 = DROP_PATH("0.2"), drop_03 = DROP_PATH("0.3"), drop_05 = DROP_PATH("0.5");
static const cvr_attr_desc window_size =
    CVR_ATTR_INIT(INT, "window_size", "7", "pixels of a window's side", CVR_ATTR_BETWEEN(1, 32));
static const cvr_attr_desc patch_size =
    CVR_ATTR_INIT(INT, "patch_size", "4", "pixels of a patch's side", CVR_ATTR_BETWEEN(1, 1024));
static const cvr_attr_desc mlp_ratio = CVR_ATTR_INIT(
    INT, "mlp_ratio", "4", "features within a block's MLP, in multiples of its channels", CVR_ATTR_BETWEEN(1, 64));

static const net_name timm_names[] = {
    {"patch_embed.proj", "features.0.0"},
    {"patch_embed.norm", "features.0.2"},
    {"layers.#.downsample", "features.{1:2+0}"},
    {"layers.#.blocks.#.mlp.fc1", "features.{1:2+1}.{2}.mlp.0"},
    {"layers.#.blocks.#.mlp.fc2", "features.{1:2+1}.{2}.mlp.3"},
    {"layers.#.blocks.#", "features.{1:2+1}.{2}"},
    {"norm", "norm"},
    {"head.fc", "head"},
};

static int32_t timm_alias(const char *name, char *out, uint64_t size) {
    return net_rename(timm_names, NET_COUNT(timm_names), name, out, size);
}

static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.stem", "features.0"),
    NET_STAGE("backbone.stage1", "features.1.#"),
    NET_STAGE("backbone.stage2", "features.2,features.3.#"),
    NET_STAGE("backbone.stage3", "features.4,features.5.#"),
    NET_STAGE("backbone.stage4", "features.6,features.7.#"),
    NET_STAGE("backbone.norm", "norm"),
    NET_STAGE("head", "head"),
};

#define MODEL(name_, width_, depths_, heads_, drop_)                                                                   \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .name = name_, .doc = "Liu et al. 2021, as in torchvision",             \
        .n_attrs = 7, .attrs = (const cvr_attr_desc *const[]){&width_,     &depths_,   &heads_, &window_size,          \
                                                              &patch_size, &mlp_ratio, &drop_},                        \
        .build = swin_build, .n_stages = NET_COUNT(stages), .stages = stages, .alias = timm_alias                      \
    }

static const cvr_model_desc *const models[] = {
    MODEL("swin_t", width_96, depths_6, heads_3, drop_02),
    MODEL("swin_s", width_96, depths_18, heads_3, drop_03),
    MODEL("swin_b", width_128, depths_18, heads_4, drop_05),
};

static int32_t swin_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, NET_COUNT(models), err);
}

CVR_DEFINE_PLUGIN(
    "model_swin", "0.1.0",
    "layer:conv2d layer:to_tokens layer:from_tokens layer:layer_norm layer:window_partition "
    "layer:window_merge layer:take_rows layer:permute layer:reshape layer:slice layer:concat layer:linear "
    "layer:softmax layer:gelu layer:add layer:stochastic_depth layer:adaptive_avg_pool2d layer:flatten "
    "op:matmul op:expand",
    swin_load)
