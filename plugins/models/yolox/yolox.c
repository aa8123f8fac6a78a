/*
 * YOLOX (Ge, Liu, Wang, Li, Sun: "YOLOX: Exceeding YOLO Series in 2021", 2021) as the reference implementation has it,
 * Megvii-BaseDetection/YOLOX: nano, tiny, s, m, l and x differ in depth, width, and nano in its depthwise convolutions.
 * Every cell of three maps says one box; SimOTA says in each step which of them learn which object. Checkpoints of the
 * reference implementation fit by name; pictures are the project's own, RGB in 0..1.
 */
#include "yolox.h"
#include <stdlib.h>

static const cvr_host *host;

/* image (N, C, H, W), targets -> losses and detections */
static int32_t build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    net n = {.b = b, .err = err, .conv = {NET_START_TORCH, 0, 0}};
    const yolox y = {&n, (const yolox_attrs *)args->attrs};
    const detect_ends e = detect_read(&n, io);
    cvr_value maps[YOLOX_LEVELS];
    yolox_body(&y, e.image, maps);
    const yolox_said said = yolox_heads(&y, e.image, maps, args->num_classes);
    detect_put_training(&n, &e, said.classes);
    if (e.boxes) yolox_put_losses(&y, &e, &said);
    if (!b->training) yolox_put_results(&y, &e, &said);
    return n.status;
}

static int64_t stride(const void *attrs) {
    (void)attrs;
    return YOLOX_LAST_STRIDE;
}

/* ---- what it is used with ---- */

#define EPOCHS 300 /* of the reference implementation on COCO; 5 of them are its warm-up, 15 its last ones */

static const char *setting(const char *section, const char *key) {
    const cvr_config_service *const config = host->get(host, CVR_SERVICE_CONFIG);
    return config ? config->get(config, section, key, NULL) : NULL;
}

/* How many epochs the run has, as far as that is known by now. */
static long long known_epochs(void) {
    const char *const given = setting("train", "epochs");
    const long long epochs = given ? strtoll(given, NULL, 10) : EPOCHS;
    return epochs > 0 ? epochs : 0;
}

static int32_t propose_number(const char *key, double value, cvr_propose_fn each, void *ctx, cvr_error *err) {
    char text[32];
    (void)snprintf(text, sizeof text, "%g", value);
    return each(ctx, key, text, err);
}

/* What is counted in epochs. A shorter run keeps it in proportion: at most a tenth of it is warm-up, and at most a
 * fifth are last epochs. Whoever gives train.max_batches has said how long the run is. */
static int32_t propose_epochs(cvr_propose_fn each, void *ctx, cvr_error *err) {
    const long long epochs = known_epochs(), last = epochs / 5 < 15 ? epochs / 5 : 15;
    if (!setting("train", "max_batches")) CVR_TRY(propose_number("train.epochs", EPOCHS, each, ctx, err));
    CVR_TRY(propose_number("train.close_mosaic", (double)last, each, ctx, err));
    CVR_TRY(propose_number("sched.flat_epochs", (double)last, each, ctx, err));
    return propose_number("sched.warmup_epochs", epochs < 50 ? (double)epochs / 10 : 5, each, ctx, err);
}

/* The reference implementation's training on COCO, for batches of 16: its rate is 0.01 for 64. What a size has of its
 * own comes first. */
static int32_t propose(const char *side, const char *preset, cvr_propose_fn each, void *ctx, cvr_error *err) {
    static const char *const all[][2] = {
        {"run.task", "detect"},
        {"data.fit", "letterbox"},
        {"train.batch", "16"},
        {"train.ema", "yes"},
        {"train.ema_decay", "0.9998"},
        {"train.ema_ramp", "2000"},
        {"train.ema_steps", "1"},
        {"optim.name", "sgd"},
        {"optim.lr", "0.0025"},
        {"optim.momentum", "0.9"},
        {"optim.nesterov", "yes"},
        {"optim.weight_decay", "0.0005"},
        {"optim.norm_weight_decay", "0"},
        {"optim.bias_weight_decay", "0"},
        {"sched.name", "cosine"},
        {"sched.lr_min", "0.000125"},
        {"sched.warmup", "quadratic"},
    };
    CVR_TRY(each(ctx, "data.img_size", side, err));
    CVR_TRY(each(ctx, "augment.preset", preset, err));
    for (size_t i = 0; i < NET_COUNT(all); i++) CVR_TRY(each(ctx, all[i][0], all[i][1], err));
    return propose_epochs(each, ctx, err);
}

static int32_t propose_nano(const void *attrs, cvr_propose_fn each, void *ctx, cvr_error *err) {
    (void)attrs;
    return propose("416", "yolox_nano", each, ctx, err);
}
static int32_t propose_tiny(const void *attrs, cvr_propose_fn each, void *ctx, cvr_error *err) {
    (void)attrs;
    return propose("416", "yolox_tiny", each, ctx, err);
}
static int32_t propose_large(const void *attrs, cvr_propose_fn each, void *ctx, cvr_error *err) {
    (void)attrs;
    return propose("640", "yolox", each, ctx, err);
}

/* ---- keys ---- */

static const cvr_attr_desc score =
    CVR_ATTR_INIT(FLOAT, "score_thresh", "0.01", "detections have this score or a higher one", CVR_ATTR_BETWEEN(0, 1));
static const cvr_attr_desc nms = DETECT_NMS("0.65"), per_img = DETECT_PER_IMG("300");
static const cvr_attr_desc activation = CVR_ATTR_INIT(
    CHOICE, "activation", "silu", "of every convolution; leaky_relu has a slope of 0.1", .choices = YOLOX_ACTIVATIONS);

#define DEPTH(default_)                                                                                                \
    CVR_ATTR(FLOAT, "depth_mult", default_, "multiplies the bottlenecks of every block, three in yolox_l",             \
             CVR_ATTR_BETWEEN(0.01, 100))
#define WIDTH(default_)                                                                                                \
    CVR_ATTR(FLOAT, "width_mult", default_, "multiplies the channels of every layer", CVR_ATTR_BETWEEN(0.01, 100))
#define DEPTHWISE(default_)                                                                                            \
    CVR_ATTR(BOOL, "depthwise", default_, "3x3 convolutions look at each channel by itself, and a 1x1 one follows")

static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.stem", "backbone.backbone.stem"),
    NET_STAGE("backbone.dark2", "backbone.backbone.dark2"),
    NET_STAGE("backbone.dark3", "backbone.backbone.dark3"),
    NET_STAGE("backbone.dark4", "backbone.backbone.dark4"),
    NET_STAGE("backbone.dark5", "backbone.backbone.dark5"),
    NET_STAGE("backbone.pafpn", "backbone"),
    NET_STAGE("head", "head.cls_preds"),
    NET_STAGE("head.rest", "head"),
};

#define MODEL(name_, depth_, width_, depthwise_, proposes_)                                                            \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .name = name_, .doc = "Ge et al. 2021, as in Megvii's YOLOX",           \
        .n_attrs = 7, .attrs = (const cvr_attr_desc *const[]){&score,        &nms,          &per_img,                  \
                                                              DEPTH(depth_), WIDTH(width_), DEPTHWISE(depthwise_),     \
                                                              &activation},                                            \
        .build = build, .n_stages = NET_COUNT(stages), .stages = stages, .stride = stride, .proposes = proposes_       \
    }

static const cvr_model_desc *const models[] = {
    MODEL("yolox_nano", "0.33", "0.25", "yes", propose_nano), MODEL("yolox_tiny", "0.33", "0.375", "no", propose_tiny),
    MODEL("yolox_s", "0.33", "0.5", "no", propose_large),     MODEL("yolox_m", "0.67", "0.75", "no", propose_large),
    MODEL("yolox_l", "1", "1", "no", propose_large),          MODEL("yolox_x", "1.33", "1.25", "no", propose_large),
};

static int32_t load(const cvr_host *h, const cvr_registrar *r, cvr_error *err) {
    host = h;
    return net_register(r, models, NET_COUNT(models), err);
}

CVR_DEFINE_PLUGIN("model_yolox", "0.1.0",
                  DETECT_OPS "op:conv2d op:grid_anchors op:sim_ota op:anchor_focal_loss op:anchor_quality_loss "
                             "op:best_class layer:conv2d layer:batch_norm2d layer:silu layer:relu layer:leaky_relu "
                             "layer:add layer:mul layer:max_pool2d layer:upsample",
                  load)
