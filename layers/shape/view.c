/*
 * Changes of shape that keep the logical order of elements: torch.flatten, torch.reshape. They cost nothing where the
 * order in memory stays, too.
 */
#include "shape_family.h"

static const cvr_attr_desc chw_attr = CVR_ATTR_INIT(INT, "chw", NULL, "channels, height, width", .count = 3);
static const cvr_attr_desc *const unflatten_attrs[] = {&chw_attr};

static const cvr_attr_desc shape_attr =
    CVR_ATTR_INIT(INTS, "shape", NULL, "the new shape; one -1 stands for what is left", .count = CVR_MAX_RANK,
                  CVR_ATTR_PLACE_AT_LEAST(-1));
static const cvr_attr_desc *const view_attrs[] = {&shape_attr};

static const cvr_attr_desc start_attr =
    CVR_ATTR_INIT(INT, "start_dim", "1", "first axis to flatten", .flags = CVR_ATTR_POSITIONAL);
static const cvr_attr_desc end_attr =
    CVR_ATTR_INIT(INT, "end_dim", "-1", "last axis to flatten", .flags = CVR_ATTR_POSITIONAL);
static const cvr_attr_desc *const flatten_attrs[] = {&start_attr, &end_attr};

/* As flatten_attrs packs it. */
typedef struct flatten_layer {
    int64_t start_dim;
    int64_t end_dim;
} flatten_layer;

/* Whether memory order and logical order of (N,C,H,W) are one. */
static int orders_agree(const int64_t *shape) {
    return shape[1] == 1 || shape[2] * shape[3] == 1;
}

static int is_plain(uint32_t rank, const int64_t *shape) {
    return rank != 4 || orders_agree(shape) || cvr_numel(rank, shape) == 0;
}

/* ---- ops ---- */

/* (N,C,H,W) -> (N,C*H*W) with order (C,H,W) */
static int32_t flatten_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0];
    if (x->rank != 4) return cvr_fail(err, CVR_ERR_INVALID, "flatten: an input with %u axes; it must have 4", x->rank);
    const int64_t shape[2] = {x->shape[0], x->shape[1] * x->shape[2] * x->shape[3]};
    cvr_type_set(a->outputs[0], x->dtype, 2, shape);
    if (shape[1] > 0 && !orders_agree(x->shape)) memcpy(a->outputs[0]->order, &x->shape[1], sizeof x->order);
    return CVR_OK;
}

static int32_t flatten_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_type *x = b->type(b, a->inputs[0]), *y = b->type(b, a->outputs[0]);
    const cvr_unflatten_attrs attrs = {{x->shape[1], x->shape[2], x->shape[3]}};
    cvr_value grad = a->grad_outputs[0];
    if (y->order[0] != 0 && b->type(b, grad)->order[0] == 0)
        CVR_TRY(cvr_emit(b, "from_logical", &attrs, sizeof attrs, &grad, 1, &grad, err));
    return cvr_emit(b, "unflatten", &attrs, sizeof attrs, &grad, 1, &a->grad_inputs[0], err);
}

static int32_t unflatten_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_unflatten_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    const int64_t shape[4] = {x->shape[0], attrs->chw[0], attrs->chw[1], attrs->chw[2]};
    const int tagged = memcmp(x->order, attrs->chw, sizeof x->order) == 0;
    if (x->rank != 2 || shape[1] * shape[2] * shape[3] != x->shape[1])
        return cvr_fail(err, CVR_ERR_INVALID, "unflatten: the input does not have (N, C*H*W) elements");
    if (!tagged && (x->order[0] != 0 || (x->shape[1] > 0 && !orders_agree(shape))))
        return cvr_fail(err, CVR_ERR_INVALID, "unflatten: the input's elements lie in another order than (H, W, C)");
    cvr_type_set(a->outputs[0], x->dtype, 4, shape);
    return CVR_OK;
}

static int32_t unflatten_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit(b, "flatten", NULL, 0, &a->grad_outputs[0], 1, &a->grad_inputs[0], err);
}

static int32_t view_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_view_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    cvr_type *y = a->outputs[0];
    if (attrs->rank < 0 || attrs->rank > (int64_t)CVR_MAX_RANK)
        return cvr_fail(err, CVR_ERR_INVALID, "view: %lld axes", (long long)attrs->rank);
    cvr_type_set(y, x->dtype, (uint32_t)attrs->rank, attrs->shape);
    int64_t n = 1;
    for (uint32_t i = 0; i < y->rank; i++)
        if (y->shape[i] < 0 || __builtin_mul_overflow(n, y->shape[i], &n))
            return cvr_fail(err, CVR_ERR_INVALID, "view: size %lld on axis %u", (long long)y->shape[i], i);
    if (n != cvr_numel(x->rank, x->shape))
        return cvr_fail(err, CVR_ERR_INVALID, "a shape of %lld elements for an input of %lld", (long long)n,
                        (long long)cvr_numel(x->rank, x->shape));
    if (x->order[0] == 0 && is_plain(x->rank, x->shape) && is_plain(y->rank, y->shape)) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "view: the elements would have to move");
}

/* x as (N, C*H*W) in logical order, where its memory has it in another one. */
static int32_t make_plain(const cvr_builder *b, cvr_value *x, cvr_error *err) {
    const cvr_type *t = b->type(b, *x);
    const cvr_value in = *x;
    if (!is_plain(t->rank, t->shape)) CVR_TRY(cvr_emit(b, "flatten", NULL, 0, &in, 1, x, err));
    return shape_plain(b, x, err);
}

static int32_t emit_view(const cvr_builder *b, cvr_value x, const cvr_view_attrs *attrs, cvr_value *y, cvr_error *err) {
    const cvr_type *t = b->type(b, x);
    if ((int64_t)t->rank == attrs->rank && memcmp(t->shape, attrs->shape, t->rank * sizeof *t->shape) == 0) {
        *y = x;
        return CVR_OK;
    }
    return cvr_emit(b, "view", attrs, sizeof *attrs, &x, 1, y, err);
}

/* Out of the one memory order that is not logical, a view, into the one again: at most two copies, mostly none. */
static int32_t emit_reshape(const cvr_builder *b, cvr_value x, const cvr_view_attrs *attrs, cvr_value *y,
                            cvr_error *err) {
    CVR_TRY(make_plain(b, &x, err));
    if (is_plain((uint32_t)attrs->rank, attrs->shape)) return emit_view(b, x, attrs, y, err);
    const cvr_unflatten_attrs chw = {{attrs->shape[1], attrs->shape[2], attrs->shape[3]}};
    const cvr_view_attrs flat = {2, {attrs->shape[0], chw.chw[0] * chw.chw[1] * chw.chw[2], 1, 1, 1, 1}};
    CVR_TRY(emit_view(b, x, &flat, &x, err));
    CVR_TRY(cvr_emit(b, "from_logical", &chw, sizeof chw, &x, 1, &x, err));
    return cvr_emit(b, "unflatten", &chw, sizeof chw, &x, 1, y, err);
}

/* dx = grad in x's shape */
static int32_t view_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_type *x = b->type(b, a->inputs[0]);
    cvr_view_attrs attrs = {.rank = x->rank};
    memcpy(attrs.shape, x->shape, sizeof attrs.shape);
    return emit_reshape(b, a->grad_outputs[0], &attrs, &a->grad_inputs[0], err);
}

/* ---- layers ---- */

static int32_t build_flatten(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in,
                             cvr_value *out, cvr_error *err) {
    (void)n_in;
    const flatten_layer *layer = attrs;
    const cvr_type *x = b->type(b, in[0]);
    int64_t start, end;
    CVR_TRY(shape_axis(layer->start_dim, x->rank, &start, err));
    CVR_TRY(shape_axis(layer->end_dim, x->rank, &end, err));
    if (start > end)
        return cvr_fail(err, CVR_ERR_INVALID, "start_dim %lld comes after end_dim %lld", (long long)layer->start_dim,
                        (long long)layer->end_dim);
    if (start == end) {
        out[0] = in[0];
        return CVR_OK;
    }
    if (x->rank == 4 && start == 1 && end == 3) return cvr_emit(b, "flatten", NULL, 0, in, 1, out, err);
    cvr_view_attrs call = {.rank = (int64_t)x->rank - (end - start)};
    for (int64_t i = 0; i < (int64_t)CVR_MAX_RANK; i++) call.shape[i] = 1;
    for (int64_t i = 0; i < (int64_t)x->rank; i++)
        call.shape[i <= start ? i : i <= end ? start : i - (end - start)] *= x->shape[i];
    return emit_reshape(b, in[0], &call, out, err);
}

/* Puts what is left in the place of a -1. */
static int32_t fill_in(cvr_view_attrs *attrs, int64_t numel, cvr_error *err) {
    int64_t known = 1, unknown = -1;
    for (int64_t i = 0; i < attrs->rank; i++) {
        if (attrs->shape[i] < 0 && unknown >= 0)
            return cvr_fail(err, CVR_ERR_INVALID, "only one size of `shape` may be -1");
        if (attrs->shape[i] < 0)
            unknown = i;
        else if (__builtin_mul_overflow(known, attrs->shape[i], &known))
            return cvr_fail(err, CVR_ERR_INVALID, "the sizes of `shape` are too large");
    }
    if (unknown < 0) return CVR_OK;
    if (known == 0 || numel % known != 0)
        return cvr_fail(err, CVR_ERR_INVALID, "the input's %lld elements do not fit `shape`", (long long)numel);
    attrs->shape[unknown] = numel / known;
    return CVR_OK;
}

static int32_t build_reshape(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in,
                             cvr_value *out, cvr_error *err) {
    (void)n_in;
    cvr_view_attrs call = *(const cvr_view_attrs *)attrs;
    const cvr_type *x = b->type(b, in[0]);
    for (int64_t i = call.rank; i < (int64_t)CVR_MAX_RANK; i++) call.shape[i] = 1;
    CVR_TRY(fill_in(&call, cvr_numel(x->rank, x->shape), err));
    return emit_reshape(b, in[0], &call, out, err);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "flatten",
            .version = 1,
            .trait = shape_flatten_traits,
            .flags = CVR_OP_ALIAS,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .infer = flatten_infer,
            .grad = flatten_grad,
            .doc = "(N,C,H,W) as (N,C*H*W), in place"}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "unflatten",
            .version = 1,
            .trait = shape_unflatten_traits,
            .flags = CVR_OP_ALIAS,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = unflatten_attrs,
            .infer = unflatten_infer,
            .grad = unflatten_grad,
            .doc = "(N,C*H*W), as flatten leaves it, as (N,C,H,W), in place"}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "view",
            .version = 1,
            .trait = shape_view_traits,
            .flags = CVR_OP_ALIAS,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = view_attrs,
            .infer = view_infer,
            .grad = view_grad,
            .doc = "another shape for the same memory"}},
};

static const cvr_layer_desc layers[] = {
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "flatten",
     .doc = "makes one axis of the axes start_dim to end_dim",
     .n_attrs = 2,
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = 1,
     .attrs = flatten_attrs,
     .build = build_flatten},
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "reshape",
     .doc = "another shape for the same elements in logical order",
     .n_attrs = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = 1,
     .attrs = view_attrs,
     .build = build_reshape},
};

const shape_family shape_view = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
