/* Ops that take rows in order (<cvr/plugin/ops/detect.h>): the largest numbers, samples, non-maximum suppression. */
#include "device_ops.h"

#include <cvr/plugin/ops/detect.h>
#include <math.h>

CVR_STATIC_ASSERT(NMS_AUTO == CVR_NMS_AUTO && NMS_OFFSET == CVR_NMS_OFFSET && NMS_LOOP == CVR_NMS_LOOP,
                  "kernels have other numbers for how groups are kept apart");

/* (N,P): a segment of P keys for each picture */
static device_sort pictures_in_order(const cvr_tensor *x, const void *workspace) {
    return device_sort_of((uint32_t)x->shape[0], (uint32_t)x->shape[1], device_address(workspace));
}
static uint64_t order_bytes(const cvr_tensor *x) {
    return device_sort_bytes((uint32_t)x->shape[0], (uint32_t)x->shape[1]);
}

/* ---- top_k: x -> values, index, count ---- */

static int32_t record_top_k(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_top_k_attrs *attrs = (const cvr_top_k_attrs *)a->attrs;
    const device_sort s = pictures_in_order(a->inputs[0], a->workspace);
    const uint32_t keys[] = {TOP_K_KEYS}, take[] = {TOP_K_TAKE};
    const top_k_params p = {.x = device_at(a, 0),
                            .keys = s.keys,
                            .order = s.values,
                            .values = device_address(a->outputs[0]->data),
                            .index = device_address(a->outputs[1]->data),
                            .counts = device_address(a->outputs[2]->data),
                            .pictures = s.segments,
                            .n = s.n,
                            .taken = (uint32_t)attrs->k,
                            .above = (uint32_t)attrs->above,
                            .threshold = (float)attrs->threshold};
    CVR_TRY(DEVICE_LAUNCH(r, top_k, &p, keys, device_groups_for((uint64_t)p.pictures * p.n), err));
    CVR_TRY(device_sort_run(&s, r, err));
    return DEVICE_LAUNCH(r, top_k, &p, take, device_groups_for((uint64_t)p.pictures * p.taken), err);
}

static uint64_t first_workspace(const cvr_signature *sig) {
    return order_bytes(sig->inputs[0]);
}

/* ---- sample_rows: match, seed, step -> index, count ---- */

static int32_t record_sample(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_sample_rows_attrs *attrs = (const cvr_sample_rows_attrs *)a->attrs;
    const device_sort s = pictures_in_order(a->inputs[0], a->workspace);
    const uint32_t keys[] = {SAMPLE_KEYS}, mark[] = {SAMPLE_MARK}, list[] = {SAMPLE_LIST}, fill[] = {SAMPLE_FILL};
    const sample_rows_params p = {.match = device_at(a, 0),
                                  .seed = device_at(a, 1),
                                  .step = device_at(a, 2),
                                  .keys = s.keys,
                                  .order = s.values,
                                  .marks = s.spare_keys, /* nothing is left to be sorted */
                                  .index = device_address(a->outputs[0]->data),
                                  .counts = device_address(a->outputs[1]->data),
                                  .key = {(uint32_t)(uint64_t)attrs->key, (uint32_t)((uint64_t)attrs->key >> 32)},
                                  .pictures = s.segments,
                                  .n = s.n,
                                  .taken = (uint32_t)attrs->rows,
                                  .positives = (uint32_t)((double)attrs->rows * attrs->positive_fraction),
                                  .first = attrs->draw == CVR_DRAW_FIRST};
    CVR_TRY(DEVICE_LAUNCH(r, sample_rows, &p, keys, device_groups_for((uint64_t)p.pictures * p.n), err));
    CVR_TRY(device_sort_run(&s, r, err));
    CVR_TRY(DEVICE_LAUNCH(r, sample_rows, &p, mark, p.pictures, err));
    CVR_TRY(DEVICE_LAUNCH(r, sample_rows, &p, list, p.pictures, err));
    return DEVICE_LAUNCH(r, sample_rows, &p, fill, device_groups_for((uint64_t)p.pictures * p.taken), err);
}

/* ---- nms: boxes, scores, [group], [valid] -> index, count ---- */

/* The largest f32 that is not above x: no f32 lies between both, so `> x` says the same of an f32. */
static float not_above(double x) {
    const float f = (float)x;
    return (double)f > x ? nextafterf(f, -INFINITY) : f;
}

static uint32_t method_of(const cvr_kernel_args *a, const cvr_nms_attrs *attrs) {
    return device_in(a, 2) || attrs->n_groups ? (uint32_t)attrs->method : NMS_ONE;
}

static int32_t record_nms(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_nms_attrs *attrs = (const cvr_nms_attrs *)a->attrs;
    const device_sort s = pictures_in_order(a->inputs[1], a->workspace);
    const uint32_t keys[] = {NMS_KEYS}, method[] = {NMS_METHOD}, tile[] = {NMS_TILE}, end[] = {NMS_END};
    nms_params p = {.boxes = device_at(a, 0),
                    .scores = device_at(a, 1),
                    .group = device_at(a, 2),
                    .valid = device_at(a, 3),
                    .keys = s.keys,
                    .order = s.values,
                    .state = s.keys + device_sort_bytes(s.segments, s.n),
                    .index = device_address(a->outputs[0]->data),
                    .counts = device_address(a->outputs[1]->data),
                    .pictures = s.segments,
                    .n = s.n,
                    .most = (uint32_t)attrs->max_out,
                    .groups = (uint32_t)attrs->n_groups,
                    .background = (uint32_t)attrs->background,
                    .method = method_of(a, attrs),
                    .inclusive = (uint32_t)attrs->inclusive,
                    .iou = not_above(attrs->iou_threshold),
                    .score = (float)attrs->score_threshold,
                    .side = (float)attrs->min_size};
    CVR_TRY(DEVICE_LAUNCH(r, nms, &p, keys, device_groups_for((uint64_t)p.pictures * p.n), err));
    CVR_TRY(device_sort_run(&s, r, err));
    CVR_TRY(DEVICE_LAUNCH(r, nms, &p, method, p.pictures, err));
    for (p.tile = 0; p.tile < device_groups_for(p.n); p.tile++)
        CVR_TRY(DEVICE_LAUNCH(r, nms, &p, tile, p.pictures, err));
    return DEVICE_LAUNCH(r, nms, &p, end, device_groups_for((uint64_t)p.pictures * p.most), err);
}

static uint64_t nms_workspace(const cvr_signature *sig) {
    return order_bytes(sig->inputs[1]) + sizeof(uint32_t) * NMS_STATE * (uint64_t)sig->inputs[1]->shape[0];
}

const device_op device_rank_ops[] = {
    DEVICE_OP("top_k", record_top_k, .supports = device_supports_all_f32, .workspace = first_workspace),
    DEVICE_OP("sample_rows", record_sample, .supports = device_supports_all_f32, .workspace = first_workspace),
    DEVICE_OP("nms", record_nms, .supports = device_supports_all_f32, .workspace = nms_workspace),
    {.op = NULL}};
