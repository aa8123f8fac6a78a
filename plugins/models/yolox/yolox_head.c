/* YOLOX's decoupled heads, its losses with SimOTA, and its detections. Formulas in ops/detect.h, ops/detect_loss.h. */
#include "yolox.h"
#include <math.h>

#define HEAD_CHANNELS 256      /* times width_mult */
#define PRIOR 0.01             /* what objectness and class scores say at first, by their bias */
#define CENTRE_RADIUS 1.5      /* strides; cells so near to an object's centre may be its own */
#define IOU_WEIGHT 5.0         /* of the loss of overlap */
#define SIM_OTA_IOU_WEIGHT 3.0 /* of -ln(IoU) in what an assignment costs */
#define SIM_OTA_CANDIDATES 10  /* best IoUs of an object that say how many cells it gets */

static const cvr_box_coder_attrs coder = {CVR_CODER_CENTER_OPEN, {1, 1, 1, 1}};

/* ---- heads ---- */

/* A last convolution, 1x1, as rows: (N, C, h, w) -> (N, h * w, columns). Its weight starts as PyTorch's does, its bias
 * at `bias`, or, where that is NaN, as PyTorch's too. */
static cvr_value predict(const yolox *y, const char *name, int64_t columns, double bias, cvr_value x) {
    const net_conv2d c = {columns, 1, 1, 0, 1, 1};
    return detect_rows(y->n, detect_conv(y->n, x, name, &c, NAN, bias), name, 1, columns);
}

/* Two 3x3 convolutions. */
static cvr_value tower(const yolox *y, const char *name, uint32_t level, cvr_value x) {
    const yolox_conv c = {yolox_channels(y, HEAD_CHANNELS), 3, 1, 1};
    for (int i = 0; i < 2; i++) x = yolox_any_conv(y, net_print("head.%s.%u.%d", name, level, i).s, &c, x);
    return x;
}

static cvr_value cells_of(const yolox *y, uint32_t level, cvr_value image, cvr_value map) {
    const cvr_grid_anchors_attrs g = {
        .n_sizes = 1, .sizes = {(double)(YOLOX_FIRST_STRIDE << level)}, .n_ratios = 1, .ratios = {1}};
    return detect_grid_anchors(y->n, &g, image, map);
}

yolox_said yolox_heads(const yolox *y, cvr_value image, const cvr_value maps[YOLOX_LEVELS], int64_t num_classes) {
    const yolox_conv stem = {yolox_channels(y, HEAD_CHANNELS), 1, 1, 1};
    const double rare = -log((1 - PRIOR) / PRIOR);
    cvr_value classes[YOLOX_LEVELS], objectness[YOLOX_LEVELS], deltas[YOLOX_LEVELS], cells[YOLOX_LEVELS];
    for (uint32_t i = 0; i < YOLOX_LEVELS; i++) {
        const cvr_value x = yolox_base_conv(y, net_print("head.stems.%u", i).s, &stem, maps[i]),
                        of_class = tower(y, "cls_convs", i, x), of_box = tower(y, "reg_convs", i, x);
        classes[i] = predict(y, net_print("head.cls_preds.%u", i).s, num_classes, rare, of_class);
        deltas[i] = predict(y, net_print("head.reg_preds.%u", i).s, 4, NAN, of_box);
        objectness[i] = predict(y, net_print("head.obj_preds.%u", i).s, 1, rare, of_box);
        cells[i] = cells_of(y, i, image, maps[i]);
    }
    return (yolox_said){net_concat(y->n, classes, YOLOX_LEVELS, 1, "head.classes"),
                        net_concat(y->n, objectness, YOLOX_LEVELS, 1, "head.objectness"),
                        net_concat(y->n, deltas, YOLOX_LEVELS, 1, "head.deltas"),
                        net_concat(y->n, cells, YOLOX_LEVELS, 0, "head.cells")};
}

/* ---- losses ---- */

static cvr_value number(net *n, const char *name, double value) {
    const float f = (float)value;
    const cvr_param_decl d = {.struct_size = sizeof d,
                              .name = name,
                              .dtype = CVR_F32,
                              .shape = {1, 1, 1, 1, 1, 1},
                              .flags = CVR_PARAM_CONSTANT,
                              .values = &f};
    return net_values(n, &d);
}

/* The step's own number: 1 in the epochs at the end that see pictures as they are, else 0. */
static cvr_value closing(net *n) {
    cvr_value v = CVR_NONE;
    if (n->status == CVR_OK) n->status = n->b->scalar(n->b, "closing", CVR_F32, &v, n->err);
    return v;
}

/* A loss of boxes, `of_box`: deltas, cells, boxes, match. `weight` CVR_NONE: 1 */
static void put_box_loss(net *n, const detect_ends *e, const char *name, int64_t kind, const cvr_value of_box[4],
                         cvr_value weight) {
    const cvr_anchor_box_loss_attrs a = {
        .kind = kind, .coder = coder.coder, .weights = {1, 1, 1, 1}, .norm = CVR_NORM_POSITIVES};
    cvr_value out[2];
    cvr_value loss = net_emit(n, NET_OP("anchor_box_loss", &a), of_box, 4, out, 2);
    if (weight != CVR_NONE) loss = net_layer2(n, loss, weight, net_print("loss.%s", name).s, "mul", "");
    detect_put(n, e, name, CVR_ROLE_LOSS, loss);
}

/* (N, A) i64: of `labels` that of each row's object, -1 where there is none. */
static cvr_value targets(net *n, cvr_value match, cvr_value labels) {
    const cvr_class_targets_attrs a = {0, CVR_MATCH_BACKGROUND, CVR_MATCH_BETWEEN};
    const cvr_value in[2] = {match, labels};
    return net_emit1(n, NET_OP("class_targets", &a), in, 2);
}

void yolox_put_losses(const yolox *y, const detect_ends *e, const yolox_said *said) {
    const cvr_sim_ota_attrs ota = {.coder = coder.coder,
                                   .weights = {1, 1, 1, 1},
                                   .radius = CENTRE_RADIUS,
                                   .iou_weight = SIM_OTA_IOU_WEIGHT,
                                   .candidates = SIM_OTA_CANDIDATES};
    const cvr_anchor_focal_attrs plain = {.alpha = -1, .norm = CVR_NORM_POSITIVES};
    const cvr_anchor_quality_attrs quality = {CVR_NORM_POSITIVES};
    net *n = y->n;
    cvr_value ota_in[7] = {said->classes, said->objectness, said->deltas, said->cells, e->boxes, e->labels, e->counts};
    cvr_value assigned[2];
    for (int i = 0; i < 3; i++) ota_in[i] = detect_f32(n, ota_in[i]);
    net_emit(n, NET_OP("sim_ota", &ota), ota_in, 7, assigned, 2);
    const cvr_value of_box[4] = {said->deltas, said->cells, e->boxes, assigned[0]},
                    of_object[2] = {said->objectness, targets(n, assigned[0], detect_one_class(n, e))},
                    of_class[3] = {said->classes, targets(n, assigned[0], e->labels), assigned[1]};
    put_box_loss(n, e, "iou", CVR_BOX_SQUARED_IOU, of_box, number(n, "head.iou_weight", IOU_WEIGHT));
    detect_put_loss(n, e, "conf", NET_OP("anchor_focal_loss", &plain), of_object, 2, 2);
    detect_put_loss(n, e, "cls", NET_OP("anchor_quality_loss", &quality), of_class, 3, 2);
    put_box_loss(n, e, "l1", CVR_BOX_SMOOTH_L1, of_box, n->b->training ? closing(n) : CVR_NONE);
}

/* ---- detections ---- */

/* As the reference implementation: only the best class of a cell counts, and boxes are cut to the picture after
 * suppression. */
void yolox_put_results(const yolox *y, const detect_ends *e, const yolox_said *said) {
    net *n = y->n;
    const cvr_value coded[2] = {detect_f32(n, said->deltas), said->cells},
                    scored[2] = {detect_f32(n, said->classes), detect_f32(n, said->objectness)};
    const detect_joined heads = {said->classes, said->deltas, CVR_NONE, said->cells};
    const detect_attrs limits = {.score_thresh = y->a->score_thresh,
                                 .nms_thresh = y->a->nms_thresh,
                                 .detections_per_img = y->a->detections_per_img};
    cvr_value best[2];
    detect_put_heads(n, e, &heads);
    detect_put(n, e, "objectness", CVR_ROLE_HEAD, said->objectness);
    const cvr_value boxes = net_emit1(n, NET_OP("decode_boxes", &coder), coded, 2);
    (void)net_emit(n, NET_PLAIN_OP("best_class"), scored, 2, best, 2);
    const detect_candidates all = {.boxes = boxes, .scores = best[0], .group = best[1], .inclusive = 1, .reach_out = 1};
    (void)detect_put_results(n, e, &all, &limits);
}
