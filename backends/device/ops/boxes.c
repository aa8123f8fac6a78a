/*
 * Boxes of object detection (<cvr/plugin/ops/detect.h>): anchors, coders, overlaps, and which object each row stands
 * for; scores of rows (detections.h).
 */
#include "device_ops.h"

#include <cvr/plugin/ops/detect_math.h>
#include <cvr/plugin/ops/detections.h>

CVR_STATIC_ASSERT(CODER_CENTER == CVR_CODER_CENTER && CODER_LTRB == CVR_CODER_LTRB &&
                      CODER_CENTER_OPEN == CVR_CODER_CENTER_OPEN,
                  "kernels have other numbers for coders");

static void copy_weights(float to[4], const double from[4]) {
    for (int i = 0; i < 4; i++) to[i] = (float)from[i];
}

/* ---- anchors ---- */

static anchors_params anchors_of(const cvr_kernel_args *a, int64_t each) {
    return (anchors_params){.y = device_address(a->outputs[0]->data),
                            .rows = (uint32_t)a->outputs[0]->shape[0],
                            .each = (uint32_t)each,
                            .width = (uint32_t)a->inputs[1]->shape[3]};
}

/* image, map -> boxes */
static int32_t record_grid(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_grid_anchors_attrs *attrs = (const cvr_grid_anchors_attrs *)a->attrs;
    const int64_t *image = a->inputs[0]->shape, *map = a->inputs[1]->shape;
    anchors_params p = anchors_of(a, attrs->n_sizes * attrs->n_ratios);
    const uint32_t constants[] = {ANCHORS_GRID};
    p.sizes = (uint32_t)attrs->n_sizes;
    for (int i = 0; i < 2; i++) p.step[i] = (uint32_t)(image[2 + i] / map[2 + i]);
    for (int64_t i = 0; i < attrs->n_sizes; i++) p.size[i] = (float)attrs->sizes[i];
    for (int64_t i = 0; i < attrs->n_ratios; i++) {
        p.high[i] = sqrtf((float)attrs->ratios[i]);
        p.wide[i] = 1.0f / p.high[i];
    }
    return DEVICE_LAUNCH(r, anchors, &p, constants, device_groups_for(p.rows), err);
}

static int32_t record_default(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_default_boxes_attrs *attrs = (const cvr_default_boxes_attrs *)a->attrs;
    const int64_t *image = a->inputs[0]->shape, *map = a->inputs[1]->shape;
    float side[CVR_DEFAULT_MOST][2];
    const int64_t each = cvr_default_sides(attrs, side);
    anchors_params p = anchors_of(a, each);
    const uint32_t constants[] = {ANCHORS_DEFAULT};
    for (int i = 0; i < 2; i++) {
        p.cells[i] = cvr_default_cells(attrs->step, image[2 + i], map[2 + i]);
        p.picture[i] = (float)image[2 + i];
    }
    for (int64_t i = 0; i < 2 * each; i++) p.side[i] = side[i / 2][i % 2];
    return DEVICE_LAUNCH(r, anchors, &p, constants, device_groups_for(p.rows), err);
}

/* ---- boxes one by one ---- */

/* x (N,A,4*K) with boxes of its own or for all pictures in input 1. */
static boxes_params boxes_of(const cvr_kernel_args *a, const double weights[4]) {
    const cvr_tensor *x = a->inputs[0];
    boxes_params p = {.x = device_at(a, 0),
                      .anchors = device_at(a, 1),
                      .y = device_address(a->outputs[0]->data),
                      .n = device_numel(x) / 4,
                      .rows = (uint32_t)x->shape[1],
                      .each = (uint32_t)x->shape[2] / 4,
                      .shared_rows = a->inputs[1]->rank == 2};
    if (weights) copy_weights(p.weights, weights);
    return p;
}

static int32_t run_boxes(const boxes_params *p, uint32_t what, int64_t coder, uint32_t type_x, uint32_t type_y,
                         const cvr_recorder *r, cvr_error *err) {
    const uint32_t constants[] = {what, (uint32_t)coder, type_x, type_y};
    return DEVICE_LAUNCH(r, boxes, p, constants, device_groups_for(p->n), err);
}

static int32_t code_boxes(const cvr_kernel_args *a, uint32_t what, const cvr_recorder *r, cvr_error *err) {
    const cvr_box_coder_attrs *attrs = (const cvr_box_coder_attrs *)a->attrs;
    boxes_params p = boxes_of(a, attrs->weights);
    p.b = device_at(a, 2);
    return run_boxes(&p, what, attrs->coder, a->inputs[0]->dtype, a->outputs[0]->dtype, r, err);
}

static int32_t record_encode(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return code_boxes(a, BOXES_ENCODE, r, err);
}
static int32_t record_decode(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return code_boxes(a, BOXES_DECODE, r, err);
}
static int32_t record_decode_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return code_boxes(a, BOXES_DECODE_BACKWARD, r, err);
}

/* boxes, size -> boxes */
static int32_t record_clip(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    boxes_params p = boxes_of(a, NULL);
    p.b = device_at(a, 1);
    return run_boxes(&p, BOXES_CLIP, 0, a->inputs[0]->dtype, a->outputs[0]->dtype, r, err);
}

/* a (N,A,4) or (A,4), b (N,M,4), [counts] -> (N,A,M) */
static int32_t record_iou(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *y = a->outputs[0];
    const boxes_params p = {.x = device_at(a, 0),
                            .b = device_at(a, 1),
                            .y = device_address(y->data),
                            .counts = device_at(a, 2),
                            .n = device_numel(y),
                            .rows = (uint32_t)y->shape[1],
                            .each = (uint32_t)y->shape[2],
                            .shared_rows = a->inputs[0]->rank == 2};
    return run_boxes(&p, BOXES_IOU, 0, CVR_F32, CVR_F32, r, err);
}

/* ---- matches ---- */

/* anchors, boxes (N,M,4), counts, ... -> match (N,A) */
static match_boxes_params match_of(const cvr_kernel_args *a) {
    const cvr_tensor *match = a->outputs[0];
    return (match_boxes_params){.anchors = device_at(a, 0),
                                .boxes = device_at(a, 1),
                                .counts = device_at(a, 2),
                                .valid = device_at(a, 3),
                                .match = device_address(match->data),
                                .pictures = (uint32_t)match->shape[0],
                                .rows = (uint32_t)match->shape[1],
                                .objects = (uint32_t)a->inputs[1]->shape[1],
                                .shared_rows = a->inputs[0]->rank == 2};
}

static int32_t record_match(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_match_attrs *attrs = (const cvr_match_attrs *)a->attrs;
    const uint32_t best[] = {MATCH_BEST_ROWS}, rows[] = {MATCH_BOXES};
    match_boxes_params p = match_of(a);
    p.best = device_address(a->workspace);
    p.low_quality = (uint32_t)attrs->low_quality;
    p.each_best = (uint32_t)attrs->each_best;
    p.high = (float)attrs->high;
    p.low = (float)attrs->low;
    if (p.low_quality || p.each_best)
        CVR_TRY(DEVICE_LAUNCH(r, match_boxes, &p, best, (uint64_t)p.pictures * p.objects, err));
    return DEVICE_LAUNCH(r, match_boxes, &p, rows, device_groups_for((uint64_t)p.pictures * p.rows), err);
}

static uint64_t match_workspace(const cvr_signature *sig) {
    return UINT64_C(8) * (uint64_t)(sig->inputs[1]->shape[0] * sig->inputs[1]->shape[1]);
}

static int32_t record_points(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_match_points_attrs *attrs = (const cvr_match_points_attrs *)a->attrs;
    const uint32_t constants[] = {MATCH_POINTS};
    match_boxes_params p = match_of(a);
    p.radius = (float)attrs->radius;
    p.levels = (uint32_t)attrs->n_levels;
    for (int64_t i = 0; i < attrs->n_levels; i++) p.level_end[i] = (uint32_t)attrs->level_ends[i];
    return DEVICE_LAUNCH(r, match_boxes, &p, constants, device_groups_for((uint64_t)p.pictures * p.rows), err);
}

/* ---- SimOTA ---- */

static uint64_t ota_state_bytes(uint64_t rows) {
    return device_padded(sizeof(float) * SIM_OTA_STATE * rows);
}

static uint64_t ota_workspace(const cvr_signature *sig) {
    const int64_t candidates = ((const cvr_sim_ota_attrs *)sig->attrs)->candidates, *objects = sig->inputs[4]->shape;
    return ota_state_bytes(device_numel(sig->outputs[0])) +
           UINT64_C(4) * (uint64_t)(objects[0] * objects[1] * candidates);
}

/* classes, objectness, deltas, anchors, boxes, labels, counts -> match, iou */
static int32_t record_ota(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_sim_ota_attrs *attrs = (const cvr_sim_ota_attrs *)a->attrs;
    const int64_t *shape = a->inputs[0]->shape;
    sim_ota_params p = {.scores = device_at(a, 0),
                        .objectness = device_at(a, 1),
                        .deltas = device_at(a, 2),
                        .anchors = device_at(a, 3),
                        .boxes = device_at(a, 4),
                        .labels = device_at(a, 5),
                        .counts = device_at(a, 6),
                        .state = device_address(a->workspace),
                        .match = device_address(a->outputs[0]->data),
                        .share = device_address(a->outputs[1]->data),
                        .pictures = (uint32_t)shape[0],
                        .rows = (uint32_t)shape[1],
                        .classes = (uint32_t)shape[2],
                        .objects = (uint32_t)a->inputs[4]->shape[1],
                        .shared_rows = a->inputs[3]->rank == 2,
                        .candidates = (uint32_t)attrs->candidates,
                        .radius = (float)attrs->radius,
                        .iou_weight = (float)attrs->iou_weight};
    const uint32_t open[] = {SIM_OTA_ROWS, (uint32_t)attrs->coder}, take[] = {SIM_OTA_TAKE, (uint32_t)attrs->coder},
                   settle[] = {SIM_OTA_SETTLE, (uint32_t)attrs->coder};
    const uint64_t rows = (uint64_t)p.pictures * p.rows;
    if (p.objects) p.taken = p.state + ota_state_bytes(rows); /* else there is no memory at that address */
    copy_weights(p.weights, attrs->weights);
    CVR_TRY(DEVICE_LAUNCH(r, sim_ota, &p, open, device_groups_for(rows), err));
    CVR_TRY(DEVICE_LAUNCH(r, sim_ota, &p, take, (uint64_t)p.pictures * p.objects, err));
    return DEVICE_LAUNCH(r, sim_ota, &p, settle, device_groups_for(rows), err);
}

/* ---- scores ---- */

static int32_t run_scores(const cvr_kernel_args *a, uint32_t what, uint32_t n, const cvr_recorder *r, cvr_error *err) {
    const uint32_t constants[] = {what};
    const scores_params p = {.x = device_at(a, 0),
                             .other = device_at(a, 1),
                             .y = device_address(a->outputs[0]->data),
                             .column = a->n_outputs > 1 ? device_address(a->outputs[1]->data) : 0,
                             .n = n,
                             .columns = (uint32_t)a->inputs[0]->shape[2]};
    return DEVICE_LAUNCH(r, scores, &p, constants, device_groups_for(n), err);
}

static int32_t record_joint(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return run_scores(a, SCORES_JOINT, device_numel(a->inputs[0]), r, err);
}
static int32_t record_best(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return run_scores(a, SCORES_BEST, device_numel(a->outputs[0]), r, err);
}

/* ---- what is taken ---- */

/* image and map of anchors are not read */
static int32_t any_picture(const cvr_signature *sig, cvr_error *reason) {
    return device_supports_floats(sig, 3, 0, reason);
}

const device_op device_box_ops[] = {
    DEVICE_OP("grid_anchors", record_grid, .supports = any_picture),
    DEVICE_OP("default_boxes", record_default, .supports = any_picture),
    DEVICE_OP("encode_boxes", record_encode, .supports = device_supports_all_f32),
    DEVICE_OP("decode_boxes", record_decode, .supports = device_supports_but_both),
    DEVICE_OP("decode_boxes_backward", record_decode_backward, .supports = device_supports_but_both),
    DEVICE_OP("clip_boxes", record_clip, .supports = device_supports_all_f32, .inplace = 1),
    DEVICE_OP("box_iou", record_iou, .supports = device_supports_all_f32),
    DEVICE_OP("match_boxes", record_match, .supports = device_supports_all_f32, .workspace = match_workspace),
    DEVICE_OP("match_points", record_points, .supports = device_supports_all_f32),
    DEVICE_OP("sim_ota", record_ota, .supports = device_supports_all_f32, .workspace = ota_workspace),
    DEVICE_OP("joint_score", record_joint, .supports = device_supports_all_f32),
    DEVICE_OP("best_class", record_best, .supports = device_supports_all_f32),
    {.op = NULL}};
