/*
 * Losses of detection (<cvr/plugin/ops/detect_loss.h>): rows say what they add to the loss, by row_loss.k, box_loss.k
 * and hard_rows.k, and columns.k adds it up; row_counts.k makes what it is divided by.
 */
#include "device_ops.h"

#include <cvr/plugin/ops/detect.h>
#include <cvr/plugin/ops/detect_loss.h>

CVR_STATIC_ASSERT(NORM_COUNTED == CVR_NORM_COUNTED && NORM_POSITIVES == CVR_NORM_POSITIVES &&
                      NORM_PICTURE == CVR_NORM_PICTURE,
                  "kernels have other numbers for divisors");
CVR_STATIC_ASSERT(BOX_SMOOTH_L1 == CVR_BOX_SMOOTH_L1 && BOX_GIOU == CVR_BOX_GIOU && BOX_DIOU == CVR_BOX_DIOU &&
                      BOX_CIOU == CVR_BOX_CIOU && BOX_SQUARED_IOU == CVR_BOX_SQUARED_IOU,
                  "kernels have other numbers for losses of boxes");

/* ---- divisors ---- */

/* norm = how many numbers of each picture are at least `least`; `counts`: room for an f32 a picture. */
typedef struct row_norm {
    const cvr_tensor *of; /* (pictures,rows) i32 or i64 */
    uint64_t counts;
    const cvr_tensor *norm;
    uint32_t kind;
    int32_t least;
    float factor;
    uint32_t reserved;
} row_norm;

static int32_t make_norm(const row_norm *n, const cvr_recorder *r, cvr_error *err) {
    const uint32_t count[] = {COUNT_ROWS}, norm[] = {COUNT_NORM};
    const row_counts_params p = {.x = device_address(n->of->data),
                                 .counts = n->counts,
                                 .norm = device_address(n->norm->data),
                                 .pictures = (uint32_t)n->of->shape[0],
                                 .rows = (uint32_t)n->of->shape[1],
                                 .wide = n->of->dtype == CVR_I64,
                                 .least = (uint32_t)n->least,
                                 .kind = n->kind,
                                 .factor = n->factor};
    CVR_TRY(DEVICE_LAUNCH(r, row_counts, &p, count, p.pictures, err));
    return DEVICE_LAUNCH(r, row_counts, &p, norm, device_groups_for(p.pictures), err);
}

/* Where the workspace has what: counts of pictures, losses of rows, and what columns.k needs to add them up. */
typedef struct loss_parts {
    uint64_t losses, sums, bytes;
} loss_parts;

static loss_parts parts_of(uint64_t pictures, uint64_t rows) {
    loss_parts p = {.losses = device_padded(4 * pictures)};
    p.sums = p.losses + device_padded(4 * rows);
    p.bytes = p.sums + device_columns_workspace(rows, 1);
    return p;
}

static uint64_t loss_workspace(const cvr_signature *sig) { /* x (N,A,...) */
    const int64_t *shape = sig->inputs[0]->shape;
    return parts_of((uint64_t)shape[0], (uint64_t)(shape[0] * shape[1])).bytes;
}

static int32_t add_losses(const cvr_kernel_args *a, const loss_parts *parts, uint32_t rows, const cvr_recorder *r,
                          cvr_error *err) {
    char *room = (char *)a->workspace;
    return device_total(r, device_address(room + parts->losses), CVR_F32, rows, 0, 1,
                        device_address(a->outputs[0]->data), room + parts->sums, err);
}

/* ---- row_loss.k ---- */

/* Threads of a row of so many numbers. */
static uint32_t width_of(uint32_t terms) {
    uint32_t width = 1;
    while (width < DEVICE_GROUP && width * 4 < terms) width *= 2;
    return width;
}

static int32_t run_rows(const row_loss_params *p, uint32_t what, int backward, const cvr_kernel_args *a,
                        const cvr_recorder *r, cvr_error *err) {
    const uint32_t width = width_of(p->terms);
    const uint32_t constants[] = {what, (uint32_t)backward, width, a->inputs[0]->dtype, a->outputs[0]->dtype};
    return DEVICE_LAUNCH(r, row_loss, p, constants, device_groups_for((uint64_t)p->rows * width), err);
}

/* x (N,A,K), and what each row stands for in input `target`. */
static row_loss_params rows_of(const cvr_kernel_args *a, uint32_t target) {
    const int64_t *shape = a->inputs[0]->shape;
    return (row_loss_params){.x = device_at(a, 0),
                             .target = device_at(a, target),
                             .rows = (uint32_t)(shape[0] * shape[1]),
                             .in_picture = (uint32_t)shape[1],
                             .terms = (uint32_t)shape[2],
                             .columns = (uint32_t)shape[2]};
}

/* -> loss, norm */
static int32_t rows_forward(row_loss_params *p, uint32_t what, const row_norm *n, const cvr_kernel_args *a,
                            const cvr_recorder *r, cvr_error *err) {
    const loss_parts parts = parts_of((uint64_t)n->of->shape[0], p->rows);
    row_norm norm = *n;
    norm.counts = device_address(a->workspace);
    norm.norm = a->outputs[1];
    p->norm = device_address(a->outputs[1]->data);
    p->y = device_address((char *)a->workspace + parts.losses);
    CVR_TRY(make_norm(&norm, r, err));
    CVR_TRY(run_rows(p, what, 0, a, r, err));
    return add_losses(a, &parts, p->rows, r, err);
}

/* norm is input `norm`, the gradient of the loss the next. */
static int32_t rows_backward(row_loss_params *p, uint32_t what, uint32_t norm, const cvr_kernel_args *a,
                             const cvr_recorder *r, cvr_error *err) {
    p->norm = device_at(a, norm);
    p->seed = device_at(a, norm + 1);
    p->y = device_address(a->outputs[0]->data);
    return run_rows(p, what, 1, a, r, err);
}

static row_loss_params focal_of(const cvr_kernel_args *a) {
    const cvr_anchor_focal_attrs *attrs = (const cvr_anchor_focal_attrs *)a->attrs;
    row_loss_params p = rows_of(a, 1);
    p.alpha = (float)attrs->alpha;
    p.gamma = (float)attrs->gamma;
    return p;
}

/* x, target */
static int32_t record_focal(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_anchor_focal_attrs *attrs = (const cvr_anchor_focal_attrs *)a->attrs;
    const int64_t first = attrs->first_class > INT32_MAX ? INT32_MAX : attrs->first_class;
    const row_norm norm = {.of = a->inputs[1],
                           .kind = (uint32_t)attrs->norm,
                           .least = attrs->norm == CVR_NORM_COUNTED ? -1 : (int32_t)first};
    row_loss_params p = focal_of(a);
    return rows_forward(&p, ROW_FOCAL, &norm, a, r, err);
}
static int32_t record_focal_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    row_loss_params p = focal_of(a);
    return rows_backward(&p, ROW_FOCAL, 2, a, r, err);
}

/* x, target, quality */
static int32_t record_quality(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const int64_t kind = ((const cvr_anchor_quality_attrs *)a->attrs)->norm;
    const row_norm norm = {.of = a->inputs[1], .kind = (uint32_t)kind, .least = kind == CVR_NORM_COUNTED ? -1 : 0};
    row_loss_params p = rows_of(a, 1);
    p.quality = device_at(a, 2);
    return rows_forward(&p, ROW_QUALITY, &norm, a, r, err);
}
static int32_t record_quality_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    row_loss_params p = rows_of(a, 1);
    p.quality = device_at(a, 2);
    return rows_backward(&p, ROW_QUALITY, 3, a, r, err);
}

/* The divisor of a loss whose rows with an object count, of a match. */
static row_norm match_norm(const cvr_tensor *match, int64_t kind) {
    return (row_norm){
        .of = match, .kind = (uint32_t)kind, .least = kind == CVR_NORM_COUNTED ? CVR_MATCH_BACKGROUND : 0};
}

/* x, anchors, boxes, match */
static row_loss_params centerness_of(const cvr_kernel_args *a) {
    row_loss_params p = rows_of(a, 3);
    p.anchors = device_at(a, 1);
    p.boxes = device_at(a, 2);
    p.objects = (uint32_t)a->inputs[2]->shape[1];
    p.shared_rows = a->inputs[1]->rank == 2;
    return p;
}
static int32_t record_centerness(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const row_norm norm = match_norm(a->inputs[3], ((const cvr_centerness_attrs *)a->attrs)->norm);
    row_loss_params p = centerness_of(a);
    return rows_forward(&p, ROW_CENTERNESS, &norm, a, r, err);
}
static int32_t record_centerness_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    row_loss_params p = centerness_of(a);
    return rows_backward(&p, ROW_CENTERNESS, 4, a, r, err);
}

/* x (N*R,K,S,S), target (N,R,S*S), label, match (N,R); x lies in memory as (N*R,S,S,K) */
static row_loss_params masks_of(const cvr_kernel_args *a) {
    const int64_t *shape = a->inputs[0]->shape;
    return (row_loss_params){.x = device_at(a, 0),
                             .target = device_at(a, 3),
                             .quality = device_at(a, 1),
                             .label = device_at(a, 2),
                             .rows = (uint32_t)shape[0],
                             .in_picture = (uint32_t)a->inputs[3]->shape[1],
                             .terms = (uint32_t)(shape[2] * shape[3]),
                             .columns = (uint32_t)shape[1],
                             .norms = 1};
}
static int32_t record_masks(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    row_norm norm = match_norm(a->inputs[3], NORM_TOTAL);
    row_loss_params p = masks_of(a);
    norm.factor = (float)p.terms;
    return rows_forward(&p, ROW_MASK, &norm, a, r, err);
}
static int32_t record_masks_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    row_loss_params p = masks_of(a);
    return rows_backward(&p, ROW_MASK, 4, a, r, err);
}

static uint64_t masks_workspace(const cvr_signature *sig) {
    const int64_t *match = sig->inputs[3]->shape;
    return parts_of((uint64_t)match[0], (uint64_t)(match[0] * match[1])).bytes;
}

/* ---- box_loss.k ---- */

/* deltas (N,A,4*K), anchors, boxes, match, [label] */
static box_loss_params boxes_of(const cvr_kernel_args *a) {
    const cvr_anchor_box_loss_attrs *attrs = (const cvr_anchor_box_loss_attrs *)a->attrs;
    const int64_t *shape = a->inputs[0]->shape;
    box_loss_params p = {.deltas = device_at(a, 0),
                         .anchors = device_at(a, 1),
                         .boxes = device_at(a, 2),
                         .match = device_at(a, 3),
                         .label = device_at(a, 4),
                         .rows = (uint32_t)(shape[0] * shape[1]),
                         .in_picture = (uint32_t)shape[1],
                         .each = (uint32_t)shape[2] / 4,
                         .objects = (uint32_t)a->inputs[2]->shape[1],
                         .shared_rows = a->inputs[1]->rank == 2,
                         .beta = (float)attrs->beta};
    for (int i = 0; i < 4; i++) p.weights[i] = (float)attrs->weights[i];
    return p;
}

static int32_t run_boxes(const box_loss_params *p, uint32_t backward, const cvr_kernel_args *a, const cvr_recorder *r,
                         cvr_error *err) {
    const cvr_anchor_box_loss_attrs *attrs = (const cvr_anchor_box_loss_attrs *)a->attrs;
    const uint32_t constants[] = {(uint32_t)attrs->kind, (uint32_t)attrs->coder, backward, a->inputs[0]->dtype,
                                  a->outputs[0]->dtype};
    const uint64_t threads = (uint64_t)p->rows * (backward ? p->each : 1);
    return DEVICE_LAUNCH(r, box_loss, p, constants, device_groups_for(threads), err);
}

static int32_t record_boxes(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    box_loss_params p = boxes_of(a);
    const loss_parts parts = parts_of((uint64_t)a->inputs[0]->shape[0], p.rows);
    row_norm norm = match_norm(a->inputs[3], ((const cvr_anchor_box_loss_attrs *)a->attrs)->norm);
    norm.counts = device_address(a->workspace);
    norm.norm = a->outputs[1];
    p.norm = device_address(a->outputs[1]->data);
    p.y = device_address((char *)a->workspace + parts.losses);
    CVR_TRY(make_norm(&norm, r, err));
    CVR_TRY(run_boxes(&p, 0, a, r, err));
    return add_losses(a, &parts, p.rows, r, err);
}

/* deltas, anchors, boxes, match, [label], norm, grad */
static int32_t record_boxes_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    box_loss_params p = boxes_of(a);
    p.norm = device_at(a, 5);
    p.seed = device_at(a, 6);
    p.y = device_address(a->outputs[0]->data);
    return run_boxes(&p, 1, a, r, err);
}

/* ---- hard_rows.k ---- */

static hard_rows_params hard_of(const cvr_kernel_args *a) {
    const int64_t *shape = a->inputs[0]->shape;
    return (hard_rows_params){.x = device_at(a, 0),
                              .target = device_at(a, 1),
                              .rows = (uint32_t)(shape[0] * shape[1]),
                              .in_picture = (uint32_t)shape[1],
                              .pictures = (uint32_t)shape[0],
                              .columns = (uint32_t)shape[2]};
}

static int32_t run_hard(const hard_rows_params *p, uint32_t what, uint32_t width, const cvr_kernel_args *a,
                        const cvr_recorder *r, cvr_error *err) {
    const uint32_t constants[] = {what, width, a->inputs[0]->dtype, a->outputs[0]->dtype};
    const uint64_t groups = what == HARD_KEEP ? p->pictures : device_groups_for((uint64_t)p->rows * width);
    return DEVICE_LAUNCH(r, hard_rows, p, constants, groups, err);
}

/* x, target -> loss, lse, keep, norm */
static int32_t record_hard(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    hard_rows_params p = hard_of(a);
    const loss_parts parts = parts_of(p.pictures, p.rows);
    const device_sort s =
        device_sort_of(p.pictures, p.in_picture, device_address((char *)a->workspace + device_padded(parts.bytes)));
    const row_norm norm = {.of = a->inputs[1],
                           .counts = device_address(a->workspace),
                           .norm = a->outputs[3],
                           .kind = NORM_LEAST,
                           .least = 1};
    p.lse = device_address(a->outputs[1]->data);
    p.keep = device_address(a->outputs[2]->data);
    p.norm = device_address(a->outputs[3]->data);
    p.y = device_address((char *)a->workspace + parts.losses);
    p.keys = s.keys;
    p.order = s.values;
    p.negatives = (float)((const cvr_anchor_cross_entropy_attrs *)a->attrs)->negatives;
    CVR_TRY(make_norm(&norm, r, err));
    CVR_TRY(run_hard(&p, HARD_ROWS, width_of(p.columns), a, r, err));
    CVR_TRY(device_sort_run(&s, r, err));
    CVR_TRY(run_hard(&p, HARD_KEEP, 1, a, r, err));
    CVR_TRY(run_hard(&p, HARD_LOSS, 1, a, r, err));
    return add_losses(a, &parts, p.rows, r, err);
}

static uint64_t hard_workspace(const cvr_signature *sig) {
    const int64_t *shape = sig->inputs[0]->shape;
    return device_padded(loss_workspace(sig)) + device_sort_bytes((uint32_t)shape[0], (uint32_t)shape[1]);
}

/* x, target, lse, keep, norm, grad */
static int32_t record_hard_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    hard_rows_params p = hard_of(a);
    p.lse = device_at(a, 2);
    p.keep = device_at(a, 3);
    p.norm = device_at(a, 4);
    p.seed = device_at(a, 5);
    p.y = device_address(a->outputs[0]->data);
    return run_hard(&p, HARD_BACKWARD, width_of(p.columns), a, r, err);
}

/* ---- what is taken: scores and deltas of any type ---- */

#define ROW_LOSS(name_, record_, workspace_)                                                                           \
    DEVICE_OP(name_, record_, .supports = device_supports_but_input, .workspace = workspace_)
#define ROW_LOSS_BACKWARD(name_, record_, ...)                                                                         \
    DEVICE_OP(name_, record_, .supports = device_supports_but_both, __VA_ARGS__)

const device_op device_row_loss_ops[] = {
    ROW_LOSS("anchor_focal_loss", record_focal, loss_workspace),
    ROW_LOSS_BACKWARD("anchor_focal_loss_backward", record_focal_backward, .inplace = 1),
    ROW_LOSS("anchor_quality_loss", record_quality, loss_workspace),
    ROW_LOSS_BACKWARD("anchor_quality_loss_backward", record_quality_backward, .inplace = 1),
    ROW_LOSS("centerness_loss", record_centerness, loss_workspace),
    ROW_LOSS_BACKWARD("centerness_loss_backward", record_centerness_backward, .inplace = 1),
    ROW_LOSS("mask_loss", record_masks, masks_workspace),
    ROW_LOSS_BACKWARD("mask_loss_backward", record_masks_backward, .inplace = 0),
    ROW_LOSS("anchor_box_loss", record_boxes, loss_workspace),
    ROW_LOSS_BACKWARD("anchor_box_loss_backward", record_boxes_backward, .inplace = 0),
    ROW_LOSS("anchor_cross_entropy", record_hard, hard_workspace),
    ROW_LOSS_BACKWARD("anchor_cross_entropy_backward", record_hard_backward, .inplace = 1),
    {.op = NULL}};
