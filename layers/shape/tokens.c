/*
 * Pictures as sequences: the pixels of (N,C,H,W), row by row, are H*W tokens of C features. Both lie alike in memory,
 * so nothing is copied. PyTorch writes x.flatten(2).transpose(1, 2), or permutes to (N,H,W,C).
 */
#include "shape_family.h"

static const cvr_attr_desc size_attr =
    CVR_ATTR_INIT(INT, "size", NULL, "height, width", .count = 2, CVR_ATTR_PLACE_AT_LEAST(1));
static const cvr_attr_desc *const from_attrs[] = {&size_attr};

/* (N,C,H,W) -> (N,H*W,C) */
static int32_t to_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0];
    const int64_t shape[3] = {x->shape[0], x->shape[2] * x->shape[3], x->shape[1]};
    if (x->rank != 4)
        return cvr_fail(err, CVR_ERR_INVALID, "to_tokens: an input with %u axes; it must have 4 (N, C, H, W)", x->rank);
    cvr_type_set(a->outputs[0], x->dtype, 3, shape);
    return CVR_OK;
}

/* (N,H*W,C) -> (N,C,H,W) */
static int32_t from_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_tokens_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    const int64_t shape[4] = {x->shape[0], x->shape[2], attrs->size[0], attrs->size[1]};
    int64_t pixels;
    if (x->rank != 3 || x->order[0] != 0 || __builtin_mul_overflow(shape[2], shape[3], &pixels) ||
        pixels != x->shape[1])
        return cvr_fail(err, CVR_ERR_INVALID, "from_tokens: the input must be (N, %lld * %lld, C)", (long long)shape[2],
                        (long long)shape[3]);
    cvr_type_set(a->outputs[0], x->dtype, 4, shape);
    return CVR_OK;
}

static int32_t to_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_type *x = b->type(b, a->inputs[0]);
    const cvr_tokens_attrs attrs = {{x->shape[2], x->shape[3]}};
    return cvr_emit(b, "from_tokens", &attrs, sizeof attrs, &a->grad_outputs[0], 1, &a->grad_inputs[0], err);
}

static int32_t from_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return cvr_emit(b, "to_tokens", NULL, 0, &a->grad_outputs[0], 1, &a->grad_inputs[0], err);
}

static int32_t build_to(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                        cvr_error *err) {
    (void)attrs, (void)n_in;
    return cvr_emit(b, "to_tokens", NULL, 0, in, 1, out, err);
}

static int32_t build_from(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                          cvr_error *err) {
    (void)n_in;
    return cvr_emit(b, "from_tokens", attrs, sizeof(cvr_tokens_attrs), in, 1, out, err);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "to_tokens",
            .version = 1,
            .trait = shape_to_tokens_traits,
            .flags = CVR_OP_ALIAS,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .infer = to_infer,
            .grad = to_grad,
            .doc = "(N,C,H,W) as (N,H*W,C), in place"}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "from_tokens",
            .version = 1,
            .trait = shape_from_tokens_traits,
            .flags = CVR_OP_ALIAS,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = from_attrs,
            .infer = from_infer,
            .grad = from_grad,
            .doc = "(N,H*W,C) as (N,C,H,W), in place"}},
};

static const cvr_layer_desc layers[] = {
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "to_tokens",
     .doc = "the pixels of a picture as a sequence: (N,C,H,W) -> (N,H*W,C)",
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = 1,
     .build = build_to},
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "from_tokens",
     .doc = "a sequence as the pixels of a picture: (N,H*W,C) -> (N,C,H,W)",
     .n_attrs = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = 1,
     .attrs = from_attrs,
     .build = build_from},
};

const shape_family shape_tokens = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
