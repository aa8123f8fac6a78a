/*
 * Vision Transformer (Dosovitskiy et al.: "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
 * 2021) as torchvision has it. Names and initialisation are torchvision's (its trunc_normal_ is cut at -2 and 2,
 * outside of what a patch's deviation makes likely). The head starts at 0, as torchvision's does: so do the first
 * logits.
 */
#include "../model_net.h"
#include <cvr/plugin/ops/arith.h>
#include <math.h>

typedef struct vit_attrs {
    int64_t patch_size;
    int64_t num_layers;
    int64_t num_heads;
    int64_t hidden_dim;
    int64_t mlp_dim;
    double dropout;
} vit_attrs;

static cvr_value drop(net *n, const char *name, const vit_attrs *a, cvr_value x) {
    return net_layer(n, x, name, "dropout", net_print("%.17g", a->dropout).s);
}

static cvr_value norm(net *n, const char *name, cvr_value x) {
    return net_layer(n, x, name, "layer_norm", net_print("%lld eps=1e-6", (long long)net_shape(n, x)[2]).s);
}

/* x: (N, L, D) -> the same: x += attention(norm(x)), x += MLP(norm(x)) */
static cvr_value encoder_block(net *n, const char *name, const vit_attrs *a, cvr_value x) {
    cvr_value y = norm(n, net_print("%s.ln_1", name).s, x);
    y = net_layer(n, y, net_print("%s.self_attention", name).s, "multi_head_attention",
                  net_print("%lld", (long long)a->num_heads).s);
    y = drop(n, net_print("%s.dropout", name).s, a, y);
    x = net_layer2(n, y, x, net_print("%s.add_1", name).s, "add", "");
    y = norm(n, net_print("%s.ln_2", name).s, x);
    y = net_linear(n, y, net_print("%s.mlp.0", name).s, a->mlp_dim);
    y = net_layer(n, y, net_print("%s.mlp.1", name).s, "gelu", "");
    y = drop(n, net_print("%s.mlp.2", name).s, a, y);
    y = net_linear(n, y, net_print("%s.mlp.3", name).s, net_shape(n, x)[2]);
    y = drop(n, net_print("%s.mlp.4", name).s, a, y);
    return net_layer2(n, x, y, net_print("%s.add_2", name).s, "add", "");
}

/* x: (N, L, D) -> (N, 1 + L, D): the class token before each sequence */
static cvr_value with_class_token(net *n, cvr_value x) {
    const int64_t *shape = net_shape(n, x), token_shape[3] = {1, 1, shape[2]};
    const cvr_init zero = {sizeof zero, CVR_INIT_CONSTANT, 0, 0, 0};
    const cvr_expand_attrs repeat = {.rank = 3, .shape = {shape[0], 1, shape[2], 1, 1, 1}, .scale = 1};
    const cvr_value token = net_declare(n, "class_token", 3, token_shape, 0, &zero);
    cvr_value tokens = x;
    if (n->status == CVR_OK) n->status = cvr_emit(n->b, "expand", &repeat, sizeof repeat, &token, 1, &tokens, n->err);
    return net_layer2(n, tokens, x, "concat", "concat", "1");
}

static int32_t check_size(const vit_attrs *a, const int64_t *shape, cvr_error *err) {
    if (shape[2] % a->patch_size == 0 && shape[3] % a->patch_size == 0 && a->hidden_dim % a->num_heads == 0)
        return CVR_OK;
    if (a->hidden_dim % a->num_heads != 0)
        return cvr_fail(err, CVR_ERR_INVALID, "model.num_heads = %lld does not divide model.hidden_dim = %lld",
                        (long long)a->num_heads, (long long)a->hidden_dim);
    return cvr_fail(
        err, CVR_ERR_INVALID,
        "pictures of %lldx%lld; their sides must be multiples of model.patch_size = %lld: set data.img_size",
        (long long)shape[3], (long long)shape[2], (long long)a->patch_size);
}

/* image: (N, C, H, W) -> output: logits, (N, num_classes) */
static int32_t vit_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const vit_attrs *a = (const vit_attrs *)args->attrs;
    const net_conv2d patches = {a->hidden_dim, a->patch_size, a->patch_size, 0, 1, 1};
    net n = {.b = b, .err = err, .linear = {NET_START_XAVIER, 0, 1e-6}};
    const cvr_value image = io->input(io, "image");
    const int64_t *shape = net_shape(&n, image);
    n.status = check_size(a, shape, err);
    if (n.status != CVR_OK) return n.status;
    n.conv = (net_start){NET_START_NORMAL, 1 / sqrt((double)(shape[1] * a->patch_size * a->patch_size)), 0};
    cvr_value x = net_conv(&n, image, "conv_proj", &patches);
    x = net_layer(&n, x, "tokens", "to_tokens", "");
    x = with_class_token(&n, x);
    const int64_t position_shape[3] = {1, net_shape(&n, x)[1], net_shape(&n, x)[2]};
    const cvr_init position = {sizeof position, CVR_INIT_NORMAL, 0, 0, 0.02};
    const cvr_value embedding = net_declare(&n, "encoder.pos_embedding", 3, position_shape, 0, &position);
    x = net_layer2(&n, x, embedding, "encoder.add", "add", "");
    x = drop(&n, "encoder.dropout", a, x);
    for (int64_t i = 0; i < a->num_layers && n.status == CVR_OK; i++)
        x = encoder_block(&n, net_print("encoder.layers.encoder_layer_%lld", (long long)i).s, a, x);
    x = norm(&n, "encoder.ln", x);
    x = net_layer(&n, x, "token", "slice", "1 start=0 end=1");
    x = net_layer(&n, x, "flatten", "flatten", "");
    n.linear = (net_start){NET_START_ZERO, 0, 0};
    return net_result(&n, io, net_linear(&n, x, "heads.head", args->num_classes));
}

#define SIZE(name_, default_, max_, doc_)                                                                              \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_attr_desc), .name = name_, .kind = CVR_ATTR_INT, .count = 1,                         \
        .flags = CVR_ATTR_MIN | CVR_ATTR_MAX, .default_text = default_, .min = 1, .max = max_, .doc = doc_             \
    }
#define PATCHES(default_) SIZE("patch_size", default_, 1024, "pixels of a patch's side")
#define BLOCKS(default_) SIZE("num_layers", default_, 1000, "encoder blocks")
#define HEADS(default_) SIZE("num_heads", default_, 1024, "heads of the attention")
#define HIDDEN(default_) SIZE("hidden_dim", default_, 65536, "features of a token")
#define MLP(default_) SIZE("mlp_dim", default_, 262144, "features within a block's MLP")
/* The paper's table 1: Base and Large. */
static const cvr_attr_desc patch_16 = PATCHES("16"), patch_32 = PATCHES("32");
static const cvr_attr_desc layers_b = BLOCKS("12"), heads_b = HEADS("12"), hidden_b = HIDDEN("768"),
                           mlp_b = MLP("3072");
static const cvr_attr_desc layers_l = BLOCKS("24"), heads_l = HEADS("16"), hidden_l = HIDDEN("1024"),
                           mlp_l = MLP("4096");
static const cvr_attr_desc dropout =
    CVR_ATTR_INIT(FLOAT, "dropout", "0", "probability after embedding, attention and MLP", CVR_ATTR_BETWEEN(0, 1));

static const net_name timm_names[] = {
    {"cls_token", "class_token"},
    {"pos_embed", "encoder.pos_embedding"},
    {"patch_embed.proj", "conv_proj"},
    {"blocks.#.norm1", "encoder.layers.encoder_layer_{1}.ln_1"},
    {"blocks.#.norm2", "encoder.layers.encoder_layer_{1}.ln_2"},
    {"blocks.#.attn.qkv.weight", "encoder.layers.encoder_layer_{1}.self_attention.in_proj_weight"},
    {"blocks.#.attn.qkv.bias", "encoder.layers.encoder_layer_{1}.self_attention.in_proj_bias"},
    {"blocks.#.attn.proj", "encoder.layers.encoder_layer_{1}.self_attention.out_proj"},
    {"blocks.#.mlp.fc1", "encoder.layers.encoder_layer_{1}.mlp.0"},
    {"blocks.#.mlp.fc2", "encoder.layers.encoder_layer_{1}.mlp.3"},
    {"norm", "encoder.ln"},
    {"head", "heads.head"},
};

static int32_t timm_alias(const char *name, char *out, uint64_t size) {
    return net_rename(timm_names, NET_COUNT(timm_names), name, out, size);
}

static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.embeddings", "conv_proj,class_token,encoder.pos_embedding"),
    NET_STAGE("backbone.encoder", "encoder.layers.encoder_layer_#,encoder"),
    NET_STAGE("head", "heads"),
};

#define MODEL(name_, patch_, layers_, heads_, hidden_, mlp_)                                                           \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .name = name_, .doc = "Dosovitskiy et al. 2021, as in torchvision",     \
        .n_attrs = 6, .attrs = (const cvr_attr_desc *const[]){&patch_, &layers_, &heads_, &hidden_, &mlp_, &dropout},  \
        .build = vit_build, .n_stages = NET_COUNT(stages), .stages = stages, .alias = timm_alias                       \
    }

static const cvr_model_desc *const models[] = {
    MODEL("vit_b_16", patch_16, layers_b, heads_b, hidden_b, mlp_b),
    MODEL("vit_b_32", patch_32, layers_b, heads_b, hidden_b, mlp_b),
    MODEL("vit_l_16", patch_16, layers_l, heads_l, hidden_l, mlp_l),
    MODEL("vit_l_32", patch_32, layers_l, heads_l, hidden_l, mlp_l),
};

static int32_t vit_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, NET_COUNT(models), err);
}

CVR_DEFINE_PLUGIN("model_vit", "0.1.0",
                  "layer:conv2d layer:to_tokens op:expand layer:concat layer:add layer:dropout layer:layer_norm "
                  "layer:multi_head_attention layer:linear layer:gelu layer:slice layer:flatten",
                  vit_load)
