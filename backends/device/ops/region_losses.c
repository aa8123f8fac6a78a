/*
 * Losses of segmentation that look at all positions of a batch (<cvr/plugin/ops/loss.h>): overlap of regions, the
 * Lovasz loss, and which targets are hard, by overlap.k, lovasz.k and hard_targets.k.
 */
#include "device_ops.h"

#include <cvr/plugin/ops/loss.h>
#include <math.h>

/* Scores (N,C,...) at positions, whose target is ignored where it is `ignore_index`. */
static class_rows positions_of(const cvr_tensor *x, int64_t ignore_index) {
    const rows_params p = device_rows_of(x, 2);
    return (class_rows){.rows = p.rows,
                        .terms = p.terms,
                        .outer = p.outer,
                        .inner = p.inner,
                        .ignored = {(uint32_t)(uint64_t)ignore_index, (uint32_t)((uint64_t)ignore_index >> 32)}};
}

static uint32_t width_of(const class_rows *s) {
    return device_width(&s->inner, s->rows, s->terms);
}
static uint64_t groups_of(const class_rows *s) {
    return device_groups_for((uint64_t)s->rows * width_of(s));
}

/* lse[position] = log(sum of exp(x)) over its classes, or log(1 + exp(x)) of one */
static int32_t make_lse(const class_rows *s, uint64_t x, uint64_t lse, const cvr_recorder *r, cvr_error *err) {
    const overlap_params p = {.x = x, .lse = lse, .s = *s};
    const uint32_t constants[] = {OVERLAP_LSE, width_of(s), CVR_F32};
    return DEVICE_LAUNCH(r, overlap, &p, constants, groups_of(s), err);
}

/* ---- overlap_loss: x, target, [weight] -> loss, lse, slopes ---- */

static overlap_params overlap_of(const cvr_kernel_args *a) {
    const cvr_overlap_attrs *attrs = (const cvr_overlap_attrs *)a->attrs;
    return (overlap_params){.x = device_at(a, 0),
                            .target = device_at(a, 1),
                            .s = positions_of(a->inputs[0], attrs->ignore_index),
                            .log_loss = (uint32_t)attrs->log_loss,
                            .alpha = (float)attrs->alpha,
                            .beta = (float)attrs->beta,
                            .gamma = (float)attrs->gamma,
                            .smoothing = (float)attrs->smooth};
}

/* Where the workspace has what: sums of chunks, of all, and what adding them up needs. */
typedef struct overlap_parts {
    uint64_t sums, columns, bytes;
} overlap_parts;

static overlap_parts overlap_parts_of(uint32_t rows, uint32_t classes) {
    const uint64_t chunks = device_groups(rows, OVERLAP_CHUNK), each = UINT64_C(3) * classes;
    overlap_parts p = {.sums = device_padded(4 * chunks * each)};
    p.columns = p.sums + device_padded(4 * each);
    p.bytes = p.columns + device_columns_workspace(chunks, each);
    return p;
}

static uint64_t overlap_workspace(const cvr_signature *sig) {
    const uint32_t classes = (uint32_t)sig->inputs[0]->shape[1];
    return overlap_parts_of(device_numel(sig->inputs[0]) / classes, classes).bytes;
}

static int32_t record_overlap(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    overlap_params p = overlap_of(a);
    const uint32_t width = width_of(&p.s), sums[] = {OVERLAP_SUMS, width, CVR_F32},
                   end[] = {OVERLAP_END, width, CVR_F32};
    const overlap_parts parts = overlap_parts_of(p.s.rows, p.s.terms);
    char *room = (char *)a->workspace;
    p.weight = device_at(a, 2);
    p.loss = device_address(a->outputs[0]->data);
    p.lse = device_address(a->outputs[1]->data);
    p.slopes = device_address(a->outputs[2]->data);
    p.partials = device_address(room);
    p.sums = device_address(room + parts.sums);
    p.chunks = (uint32_t)device_groups(p.s.rows, OVERLAP_CHUNK);
    device_columns c = {.what = COLUMNS_SUM,
                        .type_x = CVR_F32,
                        .p = {.x = p.partials, .rows = p.chunks, .columns = 3 * p.s.terms},
                        .finish = {.out0 = p.sums, .factor = 1}};
    CVR_TRY(make_lse(&p.s, p.x, p.lse, r, err));
    CVR_TRY(DEVICE_LAUNCH(r, overlap, &p, sums, p.chunks, err));
    CVR_TRY(device_columns_run(&c, r, room + parts.columns, err));
    return DEVICE_LAUNCH(r, overlap, &p, end, device_groups_for(p.s.terms), err);
}

/* x, target, lse, slopes, grad */
static int32_t record_overlap_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    overlap_params p = overlap_of(a);
    const uint32_t constants[] = {OVERLAP_BACKWARD, width_of(&p.s), a->outputs[0]->dtype};
    p.lse = device_at(a, 2);
    p.slopes = device_at(a, 3);
    p.seed = device_at(a, 4);
    p.y = device_address(a->outputs[0]->data);
    return DEVICE_LAUNCH(r, overlap, &p, constants, groups_of(&p.s), err);
}

/* ---- lovasz_loss: x, target, [weight] -> loss, slope ---- */

#define CLASSES_TOGETHER (UINT32_C(1) << 20) /* positions that are sorted at a time, at least a class's */

/* Classes at a time, and where the workspace has what. */
typedef struct lovasz_parts {
    uint32_t together, chunks;
    uint64_t counts, partials, scale, sort, bytes;
} lovasz_parts;

static lovasz_parts lovasz_parts_of(uint32_t rows, uint32_t classes) {
    const uint32_t fit = rows < CLASSES_TOGETHER ? CLASSES_TOGETHER / rows : 1;
    lovasz_parts p = {.together = fit < classes ? fit : classes,
                      .chunks = (uint32_t)device_groups(rows, LOVASZ_CHUNK),
                      .counts = device_padded(UINT64_C(4) * rows)};
    p.partials = p.counts + device_padded(UINT64_C(4) * p.together * p.chunks);
    p.scale = p.partials + device_padded(UINT64_C(4) * classes * p.chunks);
    p.sort = p.scale + 64;
    p.bytes = p.sort + device_sort_bytes(p.together, rows);
    return p;
}

static uint64_t lovasz_workspace(const cvr_signature *sig) {
    const uint32_t classes = (uint32_t)sig->inputs[0]->shape[1];
    return lovasz_parts_of(device_numel(sig->inputs[0]) / classes, classes).bytes;
}

/* The classes from p->first on. */
static int32_t some_classes(const lovasz_params *p, const device_sort *s, uint32_t width, const cvr_recorder *r,
                            cvr_error *err) {
    const uint32_t keys[] = {LOVASZ_KEYS, width}, count[] = {LOVASZ_COUNT, width}, grow[] = {LOVASZ_GROW, width};
    const uint64_t all = (uint64_t)p->classes * p->s.rows, chunks = (uint64_t)p->classes * p->chunks;
    CVR_TRY(DEVICE_LAUNCH(r, lovasz, p, keys, device_groups_for(all), err));
    CVR_TRY(device_sort_run(s, r, err));
    CVR_TRY(DEVICE_LAUNCH(r, lovasz, p, count, chunks, err));
    return DEVICE_LAUNCH(r, lovasz, p, grow, chunks, err);
}

static int32_t record_lovasz(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    lovasz_params p = {.x = device_at(a, 0),
                       .target = device_at(a, 1),
                       .weight = device_at(a, 2),
                       .lse = device_address(a->workspace),
                       .loss = device_address(a->outputs[0]->data),
                       .slope = device_address(a->outputs[1]->data),
                       .s = positions_of(a->inputs[0], ((const cvr_lovasz_attrs *)a->attrs)->ignore_index)};
    const lovasz_parts parts = lovasz_parts_of(p.s.rows, p.s.terms);
    const uint32_t width = width_of(&p.s), end[] = {LOVASZ_END, width}, softmax[] = {LOVASZ_SOFTMAX, width};
    p.counts = p.lse + parts.counts;
    p.partials = p.lse + parts.partials;
    p.scale = p.lse + parts.scale;
    p.chunks = parts.chunks;
    CVR_TRY(make_lse(&p.s, p.x, p.lse, r, err));
    for (p.first = 0; p.first < p.s.terms; p.first += parts.together) {
        p.classes = p.s.terms - p.first < parts.together ? p.s.terms - p.first : parts.together;
        const device_sort s = device_sort_of(p.classes, p.s.rows, p.lse + parts.sort);
        p.keys = s.keys;
        p.order = s.values;
        CVR_TRY(some_classes(&p, &s, width, r, err));
    }
    CVR_TRY(DEVICE_LAUNCH(r, lovasz, &p, end, 1, err));
    return DEVICE_LAUNCH(r, lovasz, &p, softmax, groups_of(&p.s), err);
}

/* slope, grad -> dx = grad * slope */
static int32_t record_lovasz_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    device_program p = device_program_begin();
    const uint32_t slope = device_input(&p, a->inputs[0]), grad = device_input(&p, a->inputs[1]);
    (void)cvr_step2(&p.steps, CVR_STEP_MUL, grad, slope);
    return device_program_run(&p, r, a->outputs[0], err);
}

/* ---- hard_targets: x, target -> target ---- */

/* The smallest f32 that is not below x: no f32 lies between both, so `< x` says the same of an f32. */
static float not_below(double x) {
    const float f = (float)x;
    return (double)f < x ? nextafterf(f, INFINITY) : f;
}

static uint64_t hard_sort_at(uint32_t rows) {
    return 2 * device_padded(UINT64_C(4) * rows) + 64;
}

static uint64_t hard_workspace(const cvr_signature *sig) {
    const uint32_t rows = device_numel(sig->inputs[1]);
    return hard_sort_at(rows) + device_sort_bytes(1, rows);
}

static int32_t record_hard(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_hard_targets_attrs *attrs = (const cvr_hard_targets_attrs *)a->attrs;
    const uint32_t keys[] = {HARDER_KEYS}, bound[] = {HARDER_BOUND}, take[] = {HARDER_TAKE};
    hard_targets_params p = {.x = device_at(a, 0),
                             .target = device_at(a, 1),
                             .y = device_address(a->outputs[0]->data),
                             .lse = device_address(a->workspace),
                             .s = positions_of(a->inputs[0], attrs->ignore_index),
                             .least = attrs->min_kept > UINT32_MAX ? UINT32_MAX : (uint32_t)attrs->min_kept,
                             .thresh = not_below(attrs->thresh)};
    const uint64_t threads = device_groups_for(p.s.rows);
    const device_sort s = device_sort_of(1, p.s.rows, p.lse + hard_sort_at(p.s.rows));
    p.chances = p.lse + device_padded(UINT64_C(4) * p.s.rows);
    p.bound = p.chances + device_padded(UINT64_C(4) * p.s.rows);
    p.keys = s.keys;
    CVR_TRY(make_lse(&p.s, p.x, p.lse, r, err));
    CVR_TRY(DEVICE_LAUNCH(r, hard_targets, &p, keys, threads, err));
    CVR_TRY(device_sort_run(&s, r, err));
    CVR_TRY(DEVICE_LAUNCH(r, hard_targets, &p, bound, 1, err));
    return DEVICE_LAUNCH(r, hard_targets, &p, take, threads, err);
}

static int32_t gradient_follows(const cvr_signature *sig, cvr_error *reason) {
    return device_supports_floats(sig, 0, 1, reason);
}

const device_op device_region_loss_ops[] = {
    DEVICE_OP("overlap_loss", record_overlap, .supports = device_supports_all_f32, .workspace = overlap_workspace),
    DEVICE_OP("overlap_loss_backward", record_overlap_backward, .supports = gradient_follows),
    DEVICE_OP("lovasz_loss", record_lovasz, .supports = device_supports_all_f32, .workspace = lovasz_workspace),
    DEVICE_OP("lovasz_loss_backward", record_lovasz_backward, .inplace = 1),
    DEVICE_OP("hard_targets", record_hard, .supports = device_supports_all_f32, .workspace = hard_workspace),
    {.op = NULL}};
