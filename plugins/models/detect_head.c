/* Heads, losses and detections that detectors share; see the header. */
#include "detect_head.h"
#include <cvr/plugin/ops/activation.h>
#include <cvr/plugin/ops/detect_math.h>
#include <cvr/plugin/ops/detections.h>
#include <cvr/plugin/ops/shape.h>
#include <math.h>

/* ---- reading ---- */

/* Height and width of the canvas for each picture, where the task does not pad: (N, 2) */
static cvr_value whole_size(net *n, cvr_value image) {
    if (n->status != CVR_OK) return image;
    const int64_t *s = net_shape(n, image);
    cvr_value side[2];
    for (int i = 0; i < 2; i++) {
        const cvr_init init = {sizeof init, CVR_INIT_CONSTANT, 0, (double)s[2 + i], 0};
        const net_text name = net_print("side.%lld.%lld", (long long)s[0], (long long)s[2 + i]);
        const cvr_param_decl d = {.struct_size = sizeof d,
                                  .name = name.s,
                                  .dtype = CVR_F32,
                                  .rank = 2,
                                  .shape = {s[0], 1, 1, 1, 1, 1},
                                  .flags = CVR_PARAM_CONSTANT,
                                  .init = &init};
        side[i] = net_values(n, &d);
    }
    return net_concat(n, side, 2, 1, "image_size");
}

detect_ends detect_read(net *n, const cvr_io *io) {
    detect_ends e = {.io = io,
                     .image = io->input(io, "image"),
                     .image_size = io->input(io, "image_size"),
                     .boxes = io->input(io, "boxes"),
                     .labels = io->input(io, "box_labels")};
    if (e.image_size == CVR_NONE) e.image_size = whole_size(n, e.image);
    if (e.boxes == CVR_NONE || n->status != CVR_OK) return e;
    e.counts = n->b->counts(n->b, e.boxes, NULL);
    if (e.labels == CVR_NONE || e.counts == CVR_NONE)
        n->status = cvr_fail(n->err, CVR_ERR_INVALID,
                             "a detector learns from boxes with classes, as many as a picture has; this task gives "
                             "none, set run.task = detect");
    return e;
}

/* ---- nodes ---- */

cvr_value detect_f32(net *n, cvr_value x) {
    const cvr_cast_attrs to = {CVR_F32};
    if (n->status != CVR_OK || n->b->type(n->b, x)->dtype == CVR_F32) return x;
    return net_emit1(n, NET_OP("cast", &to), &x, 1);
}

cvr_value detect_view(net *n, cvr_value x, uint32_t rank, const int64_t *shape) {
    cvr_view_attrs a = {.rank = rank};
    for (uint32_t i = 0; i < CVR_MAX_RANK; i++) a.shape[i] = i < rank ? shape[i] : 1;
    return net_emit1(n, NET_OP("view", &a), &x, 1);
}

cvr_value detect_concat(net *n, const cvr_value *parts, uint32_t count, int64_t dim) {
    const cvr_concat_attrs a = {dim};
    return count == 1 ? parts[0] : net_emit1(n, NET_OP("concat", &a), parts, count);
}

/* x (N, A, K + 1) -> (N, A, K): without the background */
static cvr_value objects_of(net *n, cvr_value x) {
    if (n->status != CVR_OK) return x;
    const int64_t columns = net_shape(n, x)[2];
    const cvr_slice_attrs a = {.dim = 2, .start = 1, .step = 1, .length = columns - 1, .size = columns};
    return net_emit1(n, NET_OP("slice", &a), &x, 1);
}

cvr_value detect_gather(net *n, cvr_value x, cvr_value index, int shared) {
    const cvr_gather_attrs a = {shared};
    const cvr_value in[2] = {x, index};
    return net_emit1(n, NET_OP("gather_rows", &a), in, 2);
}

/* ---- heads ---- */

cvr_value detect_conv(net *n, cvr_value x, const char *name, const net_conv2d *c, double std, double bias) {
    const cvr_init weight = {sizeof weight, CVR_INIT_NORMAL, 0, 0, std},
                   shift = {sizeof shift, CVR_INIT_CONSTANT, 0, bias, 0};
    const cvr_param_init of_weight = {sizeof of_weight, "weight", &weight}, of_bias = {sizeof of_bias, "bias", &shift};
    const cvr_param_init *inits[2];
    uint32_t n_inits = 0;
    const net_text full = net_print("%s%s", n->scope ? n->scope : "", name),
                   settings = net_print("%lld kernel_size=%lld stride=%lld padding=%lld", (long long)c->out_channels,
                                        (long long)c->kernel_size, (long long)(c->stride ? c->stride : 1),
                                        (long long)c->padding);
    cvr_value out = CVR_NONE;
    if (!isnan(std)) inits[n_inits++] = &of_weight;
    if (!isnan(bias)) inits[n_inits++] = &of_bias;
    const cvr_layer_call call = {.struct_size = sizeof call,
                                 .layer = "conv2d",
                                 .name = full.s,
                                 .settings = settings.s,
                                 .inputs = &x,
                                 .outputs = &out,
                                 .n_inputs = 1,
                                 .n_outputs = 1,
                                 .inits = inits,
                                 .n_inits = n_inits};
    if (n->status == CVR_OK) n->status = n->b->layer(n->b, &call, n->err);
    return n->status == CVR_OK ? out : x;
}

cvr_value detect_rows(net *n, cvr_value x, const char *name, int64_t each, int64_t columns) {
    if (n->status != CVR_OK) return x;
    const int64_t *s = net_shape(n, x), shape[3] = {s[0], s[2] * s[3] * each, columns};
    if (s[1] != each * columns) {
        n->status =
            cvr_fail(n->err, CVR_ERR_INVALID,
                     "layer %s (conv2d): out_channels=%lld; %lld anchors a pixel with %lld numbers each are %lld", name,
                     (long long)s[1], (long long)each, (long long)columns, (long long)(each * columns));
        return x;
    }
    const cvr_value tokens = net_emit1(n, NET_PLAIN_OP("to_tokens"), &x, 1);
    return each == 1 ? tokens : detect_view(n, tokens, 3, shape);
}

cvr_value detect_grid_anchors(net *n, const cvr_grid_anchors_attrs *a, cvr_value image, cvr_value map) {
    float cell[CVR_ANCHOR_MOST * CVR_ANCHOR_MOST * 4];
    const cvr_value in[2] = {image, map};
    cvr_cell_anchors(a, cell);
    for (int64_t i = 0; i < a->n_sizes * a->n_ratios && n->status == CVR_OK; i++)
        if (cell[4 * i + 2] == 0 || cell[4 * i + 3] == 0)
            n->status = cvr_fail(n->err, CVR_ERR_INVALID,
                                 "model.anchor_sizes: an anchor of size %g and height / width %g has sides that round "
                                 "to 0 pixels; give larger sizes",
                                 a->sizes[i % a->n_sizes], a->ratios[i / a->n_sizes]);
    return net_emit1(n, NET_OP("grid_anchors", a), in, 2);
}

detect_joined detect_join(net *n, const detect_heads *h) {
    return (detect_joined){detect_concat(n, h->logits, h->n_levels, 1), detect_concat(n, h->deltas, h->n_levels, 1),
                           h->centerness[0] ? detect_concat(n, h->centerness, h->n_levels, 1) : CVR_NONE,
                           detect_concat(n, h->anchors, h->n_levels, 0)};
}

void detect_put(net *n, const detect_ends *e, const char *name, uint32_t role, cvr_value v) {
    if (n->status == CVR_OK) n->status = e->io->put(e->io, name, role, v, n->err);
}

void detect_put_heads(net *n, const detect_ends *e, const detect_joined *j) {
    detect_put(n, e, "logits", CVR_ROLE_HEAD, j->logits);
    detect_put(n, e, "deltas", CVR_ROLE_HEAD, j->deltas);
    if (j->centerness) detect_put(n, e, "centerness", CVR_ROLE_HEAD, j->centerness);
    detect_put(n, e, "anchors", CVR_ROLE_HEAD, j->anchors);
}

void detect_put_training(net *n, const detect_ends *e, cvr_value logits) {
    if (n->b->training) detect_put(n, e, "scores", CVR_ROLE_RESULT, logits);
}

/* ---- losses ---- */

cvr_value detect_match(net *n, const detect_ends *e, cvr_value anchors, const cvr_match_attrs *a) {
    const cvr_value in[3] = {anchors, e->boxes, e->counts};
    return net_emit1(n, NET_OP("match_boxes", a), in, 3);
}

cvr_value detect_targets(net *n, const detect_ends *e, cvr_value match, int64_t background) {
    const cvr_class_targets_attrs a = {.offset = 1, .background = background, .ignore = -2};
    const cvr_value in[2] = {match, e->labels};
    return net_emit1(n, NET_OP("class_targets", &a), in, 2);
}

cvr_value detect_one_class(net *n, const detect_ends *e) {
    static const cvr_init zero = {.struct_size = sizeof zero, .kind = CVR_INIT_CONSTANT};
    if (n->status != CVR_OK) return CVR_NONE;
    const int64_t *const s = net_shape(n, e->boxes);
    const net_text name = net_print("one_class.%lldx%lld", (long long)s[0], (long long)s[1]);
    const cvr_param_decl d = {.struct_size = sizeof d,
                              .name = name.s,
                              .dtype = CVR_I64,
                              .rank = 2,
                              .shape = {s[0], s[1], 1, 1, 1, 1},
                              .flags = CVR_PARAM_CONSTANT,
                              .init = &zero};
    return net_values(n, &d);
}

void detect_put_loss(net *n, const detect_ends *e, const char *name, const net_op *op, const cvr_value *in,
                     uint32_t n_in, uint32_t n_out) {
    cvr_value out[CVR_MAX_IO];
    detect_put(n, e, name, CVR_ROLE_LOSS, net_emit(n, op, in, n_in, out, n_out));
}

/* ---- detections ---- */

static cvr_value within_picture(net *n, const detect_ends *e, cvr_value boxes) {
    const cvr_value in[2] = {boxes, e->image_size};
    return net_emit1(n, NET_PLAIN_OP("clip_boxes"), in, 2);
}

/* Boxes of the rows, within the picture: (N, P, 4) */
static cvr_value boxes_of(net *n, const detect_ends *e, const cvr_value in[2], const cvr_box_coder_attrs *coder) {
    return within_picture(n, e, net_emit1(n, NET_OP("decode_boxes", coder), in, 2));
}

/* The k best of (N, P): values and places. */
static void best(net *n, cvr_value scores, int64_t most, cvr_value *values, cvr_value *index) {
    if (n->status != CVR_OK) return;
    const int64_t rows = net_shape(n, scores)[1];
    const cvr_top_k_attrs a = {.k = most < rows ? most : rows};
    cvr_value out[3];
    (void)net_emit(n, NET_OP("top_k", &a), &scores, 1, out, 3);
    *values = out[0];
    *index = out[1];
}

/* row and column of places in rows of `columns` numbers */
static void split(net *n, cvr_value index, int64_t columns, cvr_value out[2]) {
    const cvr_split_index_attrs a = {columns};
    (void)net_emit(n, NET_OP("split_index", &a), &index, 1, out, 2);
}

detect_found detect_put_results(net *n, const detect_ends *e, const detect_candidates *c, const detect_attrs *a) {
    detect_found found = {CVR_NONE, CVR_NONE, CVR_NONE};
    if (n->status != CVR_OK) return found;
    const int64_t rows = net_shape(n, c->scores)[1];
    const cvr_nms_attrs nms = {.iou_threshold = a->nms_thresh,
                               .score_threshold = a->score_thresh,
                               .min_size = c->min_size,
                               .max_out = a->detections_per_img < rows ? a->detections_per_img : rows,
                               .inclusive = c->inclusive,
                               .n_groups = c->group ? 0 : c->n_groups,
                               .method = c->method};
    const cvr_value in[3] = {c->boxes, c->scores, c->group};
    cvr_value kept[2], place[2];
    (void)net_emit(n, NET_OP("nms", &nms), in, c->group ? 3 : 2, kept, 2);
    found.count = kept[1];
    found.boxes = detect_gather(n, c->boxes, kept[0], 0);
    if (c->reach_out) found.boxes = within_picture(n, e, found.boxes);
    detect_put(n, e, "boxes", CVR_ROLE_RESULT, found.boxes);
    detect_put(n, e, "scores", CVR_ROLE_RESULT, detect_gather(n, c->scores, kept[0], 0));
    if (!c->group) split(n, kept[0], c->n_groups, place);
    found.labels = c->group ? CVR_NONE : place[1];
    const cvr_value of_groups[2] = {c->group ? c->group : found.labels, kept[0]};
    detect_put(n, e, "labels", CVR_ROLE_RESULT, net_emit1(n, NET_PLAIN_OP("pick_labels"), of_groups, c->group ? 2 : 1));
    return found;
}

detect_candidates detect_best_pairs(net *n, cvr_value scores, cvr_value boxes, int64_t most) {
    detect_candidates c = {.boxes = boxes, .scores = scores};
    if (n->status != CVR_OK) return c;
    const int64_t *s = net_shape(n, scores), columns = s[2], flat[2] = {s[0], s[1] * columns};
    cvr_value index = CVR_NONE, place[2];
    best(n, detect_view(n, scores, 2, flat), most, &c.scores, &index);
    split(n, index, columns, place);
    c.boxes = detect_gather(n, boxes, place[0], 0);
    c.group = place[1];
    return c;
}

static detect_candidates best_of_level(net *n, const detect_ends *e, const detect_heads *h, uint32_t i,
                                       const cvr_box_coder_attrs *coder, int64_t most) {
    const cvr_value objects = detect_f32(n, objects_of(n, h->logits[i])),
                    both[2] = {objects, h->centerness[i] ? detect_f32(n, h->centerness[i]) : CVR_NONE};
    const cvr_value score = h->centerness[i] ? net_emit1(n, NET_PLAIN_OP("joint_score"), both, 2)
                                             : net_emit1(n, NET_PLAIN_OP("sigmoid"), &objects, 1);
    const cvr_value coded[2] = {h->deltas[i], h->anchors[i]};
    return detect_best_pairs(n, score, boxes_of(n, e, coded, coder), most);
}

void detect_put_by_level(net *n, const detect_ends *e, const detect_heads *h, const cvr_box_coder_attrs *coder,
                         const detect_attrs *a) {
    cvr_value boxes[DETECT_MOST_LEVELS], scores[DETECT_MOST_LEVELS], group[DETECT_MOST_LEVELS];
    for (uint32_t i = 0; i < h->n_levels; i++) {
        const detect_candidates c = best_of_level(n, e, h, i, coder, a->topk_candidates);
        boxes[i] = c.boxes;
        scores[i] = c.scores;
        group[i] = c.group;
    }
    const detect_candidates c = {.boxes = detect_concat(n, boxes, h->n_levels, 1),
                                 .scores = detect_concat(n, scores, h->n_levels, 1),
                                 .group = detect_concat(n, group, h->n_levels, 1)};
    (void)detect_put_results(n, e, &c, a);
}

/* (N, K, k) -> (N, k * K): row i is of class i % K */
static cvr_value by_rank(net *n, cvr_value x, const int64_t shape[3]) {
    const cvr_permute_attrs swap = {.rank = 3, .dims = {0, 2, 1}};
    x = detect_view(n, x, 3, shape);
    x = net_emit1(n, NET_OP("permute", &swap), &x, 1);
    return detect_view(n, x, 2, (const int64_t[]){shape[0], shape[1] * shape[2]});
}

void detect_put_by_class(net *n, const detect_ends *e, const detect_joined *j, const cvr_box_coder_attrs *coder,
                         const detect_attrs *a) {
    const cvr_softmax_attrs last = {2};
    const cvr_permute_attrs swap = {.rank = 3, .dims = {0, 2, 1}};
    const cvr_value logits = detect_f32(n, j->logits);
    cvr_value score = objects_of(n, net_emit1(n, NET_OP("softmax", &last), &logits, 1)), values, index;
    if (n->status != CVR_OK) return;
    const int64_t *s = net_shape(n, score), classes = s[2], flat[2] = {s[0] * s[2], s[1]}, pictures = s[0];
    score = net_emit1(n, NET_OP("permute", &swap), &score, 1);
    values = index = score;
    best(n, detect_view(n, score, 2, flat), a->topk_candidates, &values, &index);
    if (n->status != CVR_OK) return;
    const int64_t shape[3] = {pictures, classes, net_shape(n, values)[1]};
    const cvr_value coded[2] = {j->deltas, j->anchors};
    const detect_candidates c = {.boxes = detect_gather(n, boxes_of(n, e, coded, coder), by_rank(n, index, shape), 0),
                                 .scores = by_rank(n, values, shape),
                                 .n_groups = classes};
    (void)detect_put_results(n, e, &c, a);
}

int32_t detect_proposes(const void *attrs, cvr_propose_fn each, void *ctx, cvr_error *err) {
    (void)attrs;
    return each(ctx, "run.task", "detect", err);
}
