/*
 * DeiT (Touvron, Cord, Douze, Massa, Sablayrolles, Jegou: "Training data-efficient image transformers & distillation
 * through attention", 2021), plain and distilled, and ViT-S/16, which is the same network. Names and initialisation are
 * the authors' and timm's (the cut of trunc_normal_ at -2 and 2 is far outside of a deviation of 0.02).
 *
 * The distilled form has a second token and a second head. What it says is the mean of both heads. With
 * distilled_training, the result in training is the class token's, and the other's is the auxiliary result "distilled",
 * for a teacher to teach.
 */
#include "../model_net.h"
#include <cvr/plugin/ops/arith.h>

typedef struct deit_attrs {
    int64_t embed_dim, num_heads, depth;
    int64_t distilled;
    int64_t distilled_training;
    int64_t patch_size;
    int64_t mlp_ratio;
    double dropout, drop_path;
} deit_attrs;

static cvr_value norm(net *n, const char *name, cvr_value x) {
    return net_layer(n, x, name, "layer_norm", net_print("%lld eps=1e-6", (long long)net_shape(n, x)[2]).s);
}

static cvr_value drop(net *n, const char *name, const deit_attrs *a, cvr_value x) {
    return net_layer(n, x, name, "dropout", net_print("%.17g", a->dropout).s);
}

/* x: (N, L, D) -> (N, L, D), heads side by side in the last axis */
static cvr_value attention(net *n, const char *name, const deit_attrs *a, cvr_value x) {
    const int64_t width = net_shape(n, x)[2];
    cvr_value qkv[3] = {x, x, x};
    const cvr_value all = net_linear(n, x, net_print("%s.qkv", name).s, 3 * width);
    net_chunk(n, all, net_print("%s.chunk", name).s, 2, qkv, 3);
    x = net_attend(n, qkv, net_print("%s.attend", name).s, a->num_heads);
    x = net_linear(n, x, net_print("%s.proj", name).s, width);
    return drop(n, net_print("%s.proj_drop", name).s, a, x);
}

/* x: (N, L, D) -> the same: x += attention(norm(x)), x += MLP(norm(x)) */
static cvr_value block(net *n, const char *name, const deit_attrs *a, double depth, cvr_value x) {
    const net_text p = net_print("%.17g", a->drop_path * depth);
    const int64_t width = net_shape(n, x)[2];
    cvr_value y = norm(n, net_print("%s.norm1", name).s, x);
    y = attention(n, net_print("%s.attn", name).s, a, y);
    y = net_layer(n, y, net_print("%s.drop_path1", name).s, "stochastic_depth", p.s);
    x = net_layer2(n, x, y, net_print("%s.add1", name).s, "add", "");
    y = norm(n, net_print("%s.norm2", name).s, x);
    y = net_linear(n, y, net_print("%s.mlp.fc1", name).s, a->mlp_ratio * width);
    y = net_layer(n, y, net_print("%s.mlp.act", name).s, "gelu", "");
    y = drop(n, net_print("%s.mlp.drop1", name).s, a, y);
    y = net_linear(n, y, net_print("%s.mlp.fc2", name).s, width);
    y = drop(n, net_print("%s.mlp.drop2", name).s, a, y);
    y = net_layer(n, y, net_print("%s.drop_path2", name).s, "stochastic_depth", p.s);
    return net_layer2(n, x, y, net_print("%s.add2", name).s, "add", "");
}

/* A learned token, for each of `samples` sequences: (samples, 1, D) */
static cvr_value token(net *n, const char *name, int64_t samples, int64_t width, double deviation) {
    const int64_t shape[3] = {1, 1, width};
    const cvr_init init = {sizeof init, CVR_INIT_NORMAL, 0, 0, deviation};
    const cvr_expand_attrs repeat = {.rank = 3, .shape = {samples, 1, width, 1, 1, 1}, .scale = 1};
    const cvr_value one = net_declare(n, name, 3, shape, 0, &init);
    cvr_value all = one;
    if (n->status == CVR_OK) n->status = cvr_emit(n->b, "expand", &repeat, sizeof repeat, &one, 1, &all, n->err);
    return all;
}

/* image: (N, C, H, W) -> (N, L, D), the tokens with their positions */
static cvr_value embed(net *n, const deit_attrs *a, cvr_value image) {
    const net_conv2d project = {a->embed_dim, a->patch_size, a->patch_size, 0, 1, 1};
    const cvr_init position = {sizeof position, CVR_INIT_NORMAL, 0, 0, 0.02};
    const uint32_t prefix = a->distilled ? 2 : 1;
    cvr_value parts[3], x = net_conv(n, image, "patch_embed.proj", &project);
    x = net_layer(n, x, "patch_embed.tokens", "to_tokens", "");
    if (n->status != CVR_OK) return x;
    const int64_t samples = net_shape(n, x)[0], width = net_shape(n, x)[2];
    const int64_t position_shape[3] = {1, net_shape(n, x)[1] + prefix, width};
    parts[0] = token(n, "cls_token", samples, width, 1e-6);
    if (a->distilled) parts[1] = token(n, "dist_token", samples, width, 0.02);
    parts[prefix] = x;
    const cvr_value embedding = net_declare(n, "pos_embed", 3, position_shape, 0, &position);
    x = net_concat(n, parts, prefix + 1, 1, "patch_embed.concat");
    x = net_layer2(n, x, embedding, "patch_embed.add", "add", "");
    return drop(n, "pos_drop", a, x);
}

/* Token `i` of x: (N, L, D) -> logits of a head, (N, num_classes) */
static cvr_value head(net *n, const char *name, int i, int64_t num_classes, cvr_value x) {
    x = net_layer(n, x, net_print("%s.token", name).s, "slice", net_print("1 start=%d end=%d", i, i + 1).s);
    x = net_layer(n, x, net_print("%s.flatten", name).s, "flatten", "");
    return net_linear(n, x, name, num_classes);
}

/* (x + y) / 2 */
static cvr_value mean_of(net *n, cvr_value x, cvr_value y) {
    const cvr_value sum = net_layer2(n, x, y, "head_dist.add", "add", "");
    cvr_value mean = sum;
    if (n->status != CVR_OK) return x;
    cvr_expand_attrs half = {.rank = 2, .shape = {0, 0, 1, 1, 1, 1}, .scale = 0.5};
    memcpy(half.shape, net_shape(n, sum), 2 * sizeof *half.shape);
    n->status = cvr_emit(n->b, "expand", &half, sizeof half, &sum, 1, &mean, n->err);
    return mean;
}

static int32_t check_size(const deit_attrs *a, const int64_t *shape, cvr_error *err) {
    if (a->embed_dim % a->num_heads != 0)
        return cvr_fail(err, CVR_ERR_INVALID, "model.num_heads = %lld does not divide model.embed_dim = %lld",
                        (long long)a->num_heads, (long long)a->embed_dim);
    if (shape[2] % a->patch_size == 0 && shape[3] % a->patch_size == 0) return CVR_OK;
    return cvr_fail(
        err, CVR_ERR_INVALID,
        "pictures of %lldx%lld; their sides must be multiples of model.patch_size = %lld: set data.img_size",
        (long long)shape[3], (long long)shape[2], (long long)a->patch_size);
}

/* image: (N, C, H, W) -> output: logits, (N, num_classes) */
static int32_t deit_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const deit_attrs *a = (const deit_attrs *)args->attrs;
    net n = {.b = b, .err = err, .linear = {NET_START_NORMAL, 0.02, 0}};
    const cvr_value image = io->input(io, "image");
    CVR_TRY(check_size(a, net_shape(&n, image), err));
    cvr_value x = embed(&n, a, image);
    for (int64_t i = 0; i < a->depth && n.status == CVR_OK; i++)
        x = block(&n, net_print("blocks.%lld", (long long)i).s, a,
                  a->depth > 1 ? (double)i / (double)(a->depth - 1) : 0, x);
    x = norm(&n, "norm", x);
    cvr_value y = head(&n, "head", 0, args->num_classes, x);
    if (!a->distilled) return net_result(&n, io, y);
    if (n.status != CVR_OK) return n.status;
    const cvr_value taught = head(&n, "head_dist", 1, net_shape(&n, y)[1], x);
    if (a->distilled_training && b->training)
        net_auxiliary(&n, io, "distilled", 1, taught);
    else
        y = mean_of(&n, y, taught);
    return net_result(&n, io, y);
}

#define SIZE(name_, default_, max_, doc_) CVR_ATTR_INIT(INT, name_, default_, doc_, CVR_ATTR_BETWEEN(1, max_))
#define WIDTH(default_) SIZE("embed_dim", default_, 65536, "features of a token")
#define HEADS(default_) SIZE("num_heads", default_, 1024, "heads of the attention")
#define DISTILLED(default_) CVR_ATTR_INIT(BOOL, "distilled", default_, "a second token and head, for a teacher")
/* The paper's table 1: Ti, S and B. */
static const cvr_attr_desc width_ti = WIDTH("192"), width_s = WIDTH("384"), width_b = WIDTH("768");
static const cvr_attr_desc heads_ti = HEADS("3"), heads_s = HEADS("6"), heads_b = HEADS("12");
static const cvr_attr_desc plain = DISTILLED("no"), distilled = DISTILLED("yes");
static const cvr_attr_desc depth = SIZE("depth", "12", 1000, "blocks"),
                           patch_size = SIZE("patch_size", "16", 1024, "pixels of a patch's side"),
                           mlp_ratio = SIZE("mlp_ratio", "4", 64, "features within a block's MLP, in multiples");
static const cvr_attr_desc distilled_training =
    CVR_ATTR_INIT(BOOL, "distilled_training", "no", "in training the heads are two results: output and distilled");
static const cvr_attr_desc dropout =
    CVR_ATTR_INIT(FLOAT, "dropout", "0", "probability after embedding, attention and MLP", CVR_ATTR_BETWEEN(0, 1));
#define DROP_PATH(default_)                                                                                            \
    CVR_ATTR_INIT(FLOAT, "drop_path", default_, "stochastic depth of the last block; it rises from 0 at the first",    \
                  CVR_ATTR_BETWEEN(0, 1))
static const cvr_attr_desc drop_0 = DROP_PATH("0"), drop_01 = DROP_PATH("0.1");

static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.embeddings", "patch_embed,cls_token,dist_token,pos_embed"),
    NET_STAGE("backbone.encoder", "blocks.#,norm"),
    NET_STAGE("head", "head,head_dist"),
};

#define MODEL(name_, doc_, width_, heads_, distilled_, drop_path_)                                                     \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .name = name_, .doc = doc_, .n_attrs = 9,                               \
        .attrs = (const cvr_attr_desc *const[]){&width_,     &heads_,    &depth,   &distilled_, &distilled_training,   \
                                                &patch_size, &mlp_ratio, &dropout, &drop_path_},                       \
        .build = deit_build, .n_stages = NET_COUNT(stages), .stages = stages                                           \
    }
#define DEIT "Touvron et al. 2021, as in timm"

static const cvr_model_desc *const models[] = {
    MODEL("deit_tiny_patch16_224", DEIT, width_ti, heads_ti, plain, drop_01),
    MODEL("deit_small_patch16_224", DEIT, width_s, heads_s, plain, drop_01),
    MODEL("deit_base_patch16_224", DEIT, width_b, heads_b, plain, drop_01),
    MODEL("deit_tiny_distilled_patch16_224", DEIT, width_ti, heads_ti, distilled, drop_01),
    MODEL("deit_small_distilled_patch16_224", DEIT, width_s, heads_s, distilled, drop_01),
    MODEL("deit_base_distilled_patch16_224", DEIT, width_b, heads_b, distilled, drop_01),
    MODEL("vit_small_patch16_224", "ViT-S/16, as in timm", width_s, heads_s, plain, drop_0),
};

static int32_t deit_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, NET_COUNT(models), err);
}

CVR_DEFINE_PLUGIN("model_deit", "0.1.0",
                  "layer:conv2d layer:to_tokens op:expand layer:concat layer:add layer:dropout layer:layer_norm "
                  "layer:chunk layer:scaled_dot_product_attention layer:linear layer:gelu layer:stochastic_depth "
                  "layer:slice layer:flatten",
                  deit_load)
