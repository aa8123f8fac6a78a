/*
 * Darknet's networks (Redmon et al., "You Only Look Once", 2016, "YOLO9000", 2016, "YOLOv3", 2018; Bochkovskiy et al.,
 * "YOLOv4", 2020) from their .cfg files, and their weights from .weights files. The plugin "darknet".
 */
#include "darknet.h"

static const cvr_host *host;

/* ---- the network ---- */

/* (N, C) of the last layer, which has no map any more. */
static void put_logits(darknet_build *b, const cvr_io *io) {
    cvr_value x = b->values[b->plan->n_layers - 1];
    if (b->n.status != CVR_OK) return;
    const cvr_type *t = b->n.b->type(b->n.b, x);
    if (t->rank == 4 && (t->shape[2] != 1 || t->shape[3] != 1))
        b->n.status = darknet_cfg_fail(&b->plan->cfg, b->plan->layers[b->plan->n_layers - 1].line, b->n.err,
                                       "the network ends in a map of %lld x %lld; a classifier ends with [avgpool]",
                                       (long long)t->shape[2], (long long)t->shape[3]);
    else if (t->rank == 4)
        x = net_layer(&b->n, x, "logits", "flatten", "");
    b->n.status = net_result(&b->n, io, x);
}

static int32_t check_input(const darknet_build *b, cvr_error *err) {
    const int64_t channels = net_shape(&b->n, b->image)[1], wanted = b->plan->net.channels;
    if (channels == wanted) return CVR_OK;
    return cvr_fail_at(err, b->plan->cfg.path, b->plan->cfg.sections[0].line,
                       cvr_fail(err, CVR_ERR_INVALID,
                                "[net] has channels=%lld, but pictures have %lld; set model.in_channels=%lld",
                                (long long)wanted, (long long)channels, (long long)wanted));
}

static int32_t build_layers(darknet_build *b, const cvr_io *io, cvr_error *err) {
    detect_ends e = {.io = io};
    if (b->plan->n_heads) e = detect_read(&b->n, io);
    if (b->n.status != CVR_OK) return b->n.status;
    b->image = io->input(io, "image");
    CVR_TRY(check_input(b, err));
    for (uint32_t i = 0; i < b->plan->n_layers && b->n.status == CVR_OK; i++) b->values[i] = darknet_node(b, i);
    if (b->plan->n_heads)
        darknet_put_boxes(b, &e);
    else
        put_logits(b, io);
    if (b->n.status == CVR_OK) darknet_note_heads(b);
    return b->n.status;
}

static int32_t build(const cvr_builder *builder, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    darknet_plan plan;
    darknet_build b = {.n = {.b = builder, .err = err},
                       .plan = &plan,
                       .attrs = (const darknet_attrs *)args->attrs,
                       .num_classes = args->num_classes};
    int32_t status;
    CVR_TRY_OUT(darknet_plan_open(host, b.attrs->cfg, &plan, err));
    b.values = host->alloc(host, plan.n_layers * sizeof *b.values, 64);
    CVR_TRY_OUT(b.values ? build_layers(&b, io, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
out:
    if (b.values) host->free(host, b.values);
    darknet_plan_close(&plan);
    return status;
}

/* Where the file cannot be read, building says so. */
static int64_t stride(const void *attrs) {
    darknet_plan plan;
    cvr_error err = CVR_ERROR_INIT;
    const int32_t status = darknet_plan_open(host, ((const darknet_attrs *)attrs)->cfg, &plan, &err);
    const int64_t most = status == CVR_OK ? darknet_plan_stride(&plan) : 1;
    darknet_plan_close(&plan);
    return most;
}

/* Nothing without a file, which building asks for. */
static int32_t proposes(const void *attrs, cvr_propose_fn each, void *ctx, cvr_error *err) {
    const char *path = ((const darknet_attrs *)attrs)->cfg;
    darknet_plan plan;
    if (!*path) return CVR_OK;
    int32_t status = darknet_plan_open(host, path, &plan, err);
    if (status == CVR_OK) status = darknet_propose(&plan, each, ctx, err);
    darknet_plan_close(&plan);
    return status;
}

/* ---- keys ---- */

static const cvr_attr_desc cfg = CVR_ATTR_INIT(PATH, "cfg", "", "the network: a Darknet .cfg file");
static const cvr_attr_desc bn_eps = CVR_ATTR_INIT(
    FLOAT, "bn_eps", "1e-5", "is added to variances, as Darknet does on GPUs", CVR_ATTR_BETWEEN(1e-12, 1));
static const cvr_attr_desc nms = CVR_ATTR_INIT(
    FLOAT, "nms_thresh", "0",
    "of two detections of a class with a larger IoU the one of lower score is dropped; 0: as the .cfg says",
    CVR_ATTR_BETWEEN(0, 1));
static const cvr_attr_desc score = DETECT_SCORE("0.005"), per_img = DETECT_PER_IMG("300"),
                           topk = DETECT_TOPK("3000", "pairs of box and class");

static const cvr_stage *const stages[] = {NET_STAGE("head", "head"), NET_STAGE("backbone", "backbone.#")};

static const cvr_model_desc model = {
    .struct_size = sizeof(cvr_model_desc),
    .name = "darknet",
    .doc = "Redmon and Farhadi 2018, Bochkovskiy et al. 2020: any network of a Darknet .cfg file",
    .n_attrs = 6,
    .attrs = (const cvr_attr_desc *const[]){&cfg, &bn_eps, &score, &nms, &per_img, &topk},
    .build = build,
    .n_stages = NET_COUNT(stages),
    .stages = stages,
    .stride = stride,
    .proposes = proposes,
    .file = "cfg",
};

static int32_t load(const cvr_host *h, const cvr_registrar *r, cvr_error *err) {
    host = h;
    CVR_TRY(r->add(r, CVR_KIND_WEIGHTS, &darknet_weights, err));
    return r->add(r, CVR_KIND_MODEL, &model, err);
}

CVR_DEFINE_PLUGIN("darknet", "0.1.0",
                  DETECT_OPS
                  "op:yolo_boxes op:yolo_loss layer:conv2d layer:batch_norm2d layer:linear layer:max_pool2d "
                  "layer:adaptive_avg_pool2d layer:leaky_relu layer:relu layer:relu6 layer:sigmoid layer:mish "
                  "layer:silu layer:tanh layer:gelu layer:upsample layer:reshape layer:permute layer:flatten "
                  "layer:dropout layer:add",
                  load)
