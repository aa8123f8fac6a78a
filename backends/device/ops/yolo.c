/* Darknet's layers of boxes (<cvr/plugin/ops/yolo.h>), by yolo.k and yolo_loss.k. */
#include "device_ops.h"

#include <cvr/plugin/ops/yolo.h>

CVR_STATIC_ASSERT(YOLO_SQUARES == CVR_YOLO_BOX_SQUARES && BOX_GIOU == CVR_YOLO_BOX_GIOU &&
                      BOX_DIOU == CVR_YOLO_BOX_DIOU && BOX_CIOU == CVR_YOLO_BOX_CIOU,
                  "kernels have other numbers for losses of boxes");

/* x (N,each*columns,h,w) -> boxes, scores */
static int32_t record_boxes(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_yolo_attrs *attrs = (const cvr_yolo_attrs *)a->attrs;
    const cvr_tensor *x = a->inputs[0];
    const uint32_t each = (uint32_t)attrs->n_anchors / 2,
                   constants[] = {(uint32_t)attrs->new_coords, (uint32_t)attrs->softmax};
    yolo_params p = {.x = device_at(a, 0),
                     .boxes = device_address(a->outputs[0]->data),
                     .scores = device_address(a->outputs[1]->data),
                     .rows = (uint32_t)(x->shape[0] * x->shape[2] * x->shape[3]) * each,
                     .in_picture = (uint32_t)(x->shape[2] * x->shape[3]) * each,
                     .each = each,
                     .columns = (uint32_t)x->shape[1] / each,
                     .cells = {(uint32_t)x->shape[2], (uint32_t)x->shape[3]},
                     .size = {(float)attrs->size[0], (float)attrs->size[1]},
                     .scale = (float)attrs->scale_x_y};
    for (int64_t i = 0; i < attrs->n_anchors; i++) p.anchors[i] = (float)attrs->anchors[i];
    return DEVICE_LAUNCH(r, yolo, &p, constants, device_groups_for(p.rows), err);
}

/* ---- the losses: x, boxes (N,M,4), labels, counts ---- */

static yolo_loss_params loss_of(const cvr_kernel_args *a) {
    const cvr_yolo_loss_attrs *attrs = (const cvr_yolo_loss_attrs *)a->attrs;
    const cvr_tensor *x = a->inputs[0];
    const uint32_t each = (uint32_t)attrs->n_mask, rows = (uint32_t)(x->shape[2] * x->shape[3]) * each;
    yolo_loss_params p = {
        .x = device_at(a, 0),
        .boxes = device_at(a, 1),
        .labels = device_at(a, 2),
        .counts = device_at(a, 3),
        .seats = device_address(a->workspace),
        .rows = (uint32_t)x->shape[0] * rows,
        .in_picture = rows,
        .each = each,
        .columns = (uint32_t)x->shape[1] / each,
        .cells = {(uint32_t)x->shape[2], (uint32_t)x->shape[3]},
        .squares = (uint32_t)attrs->new_coords,
        .box = (uint32_t)attrs->box,
        .size = {(float)attrs->size[0], (float)attrs->size[1]},
        .scale = (float)attrs->scale_x_y,
        .pictures = (uint32_t)x->shape[0],
        .objects = (uint32_t)a->inputs[1]->shape[1],
        .network = (uint32_t)attrs->n_anchors / 2,
        .ignore_thresh = (float)attrs->ignore_thresh,
        .iou_thresh = (float)attrs->iou_thresh,
        .weights = {(float)attrs->box_weight, (float)attrs->objectness_weight, (float)attrs->class_weight},
        .max_delta = (float)attrs->max_delta,
        .smoothing = (float)attrs->label_smooth};
    for (int64_t i = 0; i < attrs->n_mask; i++) p.mask[i] = (uint32_t)attrs->mask[i];
    for (int64_t i = 0; i < attrs->n_anchors; i++) p.anchors[i] = (float)attrs->anchors[i];
    return p;
}

static int32_t run_loss(const yolo_loss_params *p, uint32_t what, uint64_t n, const cvr_kernel_args *a,
                        const cvr_recorder *r, cvr_error *err) {
    const uint32_t constants[] = {what, a->inputs[0]->dtype, a->outputs[0]->dtype};
    return DEVICE_LAUNCH(r, yolo_loss, p, constants, device_groups_for(n), err);
}

/* Where the workspace has what: seats of objects, losses of rows, their sums, and what adding up needs. */
typedef struct yolo_parts {
    uint64_t losses, sums, columns, bytes;
} yolo_parts;

static yolo_parts parts_of(uint64_t objects, uint64_t rows) {
    yolo_parts p = {.losses = device_padded(8 * objects)};
    p.sums = p.losses + device_padded(12 * rows);
    p.columns = p.sums + 64;
    p.bytes = p.columns + device_columns_workspace(rows, 3);
    return p;
}

static uint64_t objects_in(const cvr_tensor *boxes) {
    return (uint64_t)(boxes->shape[0] * boxes->shape[1]);
}
static uint64_t loss_workspace(const cvr_signature *sig) {
    return parts_of(objects_in(sig->inputs[1]), device_numel(sig->outputs[3])).bytes;
}
static uint64_t backward_workspace(const cvr_signature *sig) {
    return 8 * objects_in(sig->inputs[1]);
}

/* -> losses of boxes, objectness, classes; match */
static int32_t record_loss(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    yolo_loss_params p = loss_of(a);
    const uint64_t objects = (uint64_t)p.pictures * p.objects;
    const yolo_parts parts = parts_of(objects, p.rows);
    char *room = (char *)a->workspace;
    p.match = device_address(a->outputs[3]->data);
    p.y = device_address(room + parts.losses);
    device_columns c = {.what = COLUMNS_SUM,
                        .type_x = CVR_F32,
                        .p = {.x = p.y, .rows = p.rows, .columns = 3},
                        .finish = {.out0 = device_address(room + parts.sums), .factor = 1.0f / (float)p.pictures}};
    CVR_TRY(run_loss(&p, YOLO_SEATS, objects, a, r, err));
    CVR_TRY(run_loss(&p, YOLO_MATCH, p.rows, a, r, err));
    CVR_TRY(run_loss(&p, YOLO_LOSS, p.rows, a, r, err));
    CVR_TRY(device_columns_run(&c, r, room + parts.columns, err));
    for (uint32_t i = 0; i < 3; i++)
        CVR_TRY(r->copy(r, a->outputs[i]->data, room + parts.sums + sizeof(float) * i, sizeof(float), err));
    return CVR_OK;
}

/* x, boxes, labels, counts, match, [gradients of the losses] */
static int32_t record_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    yolo_loss_params p = loss_of(a);
    p.match = device_at(a, 4);
    p.y = device_address(a->outputs[0]->data);
    for (uint32_t i = 0; i < 3; i++) p.seed[i] = device_at(a, 5 + i);
    CVR_TRY(run_loss(&p, YOLO_SEATS, (uint64_t)p.pictures * p.objects, a, r, err));
    return run_loss(&p, YOLO_BACKWARD, (uint64_t)p.rows * p.columns, a, r, err);
}

const device_op device_yolo_ops[] = {
    DEVICE_OP("yolo_boxes", record_boxes, .supports = device_supports_all_f32),
    DEVICE_OP("yolo_loss", record_loss, .supports = device_supports_but_input, .workspace = loss_workspace),
    DEVICE_OP("yolo_loss_backward", record_backward, .supports = device_supports_but_both,
              .workspace = backward_workspace),
    {.op = NULL}};
