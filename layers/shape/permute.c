/* torch.permute: axis a of the output is axis dims[a] of the input. */
#include "shape_family.h"

static const cvr_attr_desc dims_attr = CVR_ATTR_INIT(INTS, "dims", NULL, "the input's axes, in the output's order",
                                                     .count = CVR_MAX_RANK, .flags = CVR_ATTR_POSITIONAL);
static const cvr_attr_desc *const attrs_[] = {&dims_attr};

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_permute_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    int64_t shape[CVR_MAX_RANK], seen = 0;
    if (attrs->rank != (int64_t)x->rank)
        return cvr_fail(err, CVR_ERR_INVALID, "permute: %lld dims for an input with %u axes", (long long)attrs->rank,
                        x->rank);
    for (uint32_t i = 0; i < x->rank; i++) {
        const int64_t d = attrs->dims[i];
        if (d < 0 || d >= (int64_t)x->rank || (seen >> d & 1))
            return cvr_fail(err, CVR_ERR_INVALID, "permute: dim %lld is no axis of the input, or stands twice",
                            (long long)d);
        seen |= (int64_t)1 << d;
        shape[i] = x->shape[d];
    }
    cvr_type_set(a->outputs[0], x->dtype, x->rank, shape);
    return CVR_OK;
}

/* dx = the inverse permutation of grad */
static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_permute_attrs *attrs = a->attrs;
    cvr_permute_attrs inverse = {.rank = attrs->rank};
    for (int64_t i = 0; i < attrs->rank; i++) inverse.dims[attrs->dims[i]] = i;
    return cvr_emit(b, "permute", &inverse, sizeof inverse, &a->grad_outputs[0], 1, &a->grad_inputs[0], err);
}

/* y[i_0, ...] = x at step[dims[0]] * i_0 + ... */
static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_permute_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    const size_t size = cvr_dtype_size(x->dtype);
    int64_t x_step[CVR_MAX_RANK], from_step[CVR_MAX_RANK] = {0}, to_step[CVR_MAX_RANK];
    shape_steps(x->rank, x->shape, x_step);
    shape_steps(y->rank, y->shape, to_step);
    for (uint32_t i = 0; i < y->rank; i++) from_step[i] = x_step[attrs->dims[i]];
    const int64_t n = cvr_numel(x->rank, x->shape);
    for (int64_t i = 0; i < n; i++) {
        const int64_t from = shape_at(y->rank, y->shape, from_step, i), to = shape_at(y->rank, y->shape, to_step, i);
        memcpy((char *)y->data + (size_t)to * size, (const char *)x->data + (size_t)from * size, size);
    }
    return CVR_OK;
}

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                     cvr_error *err) {
    (void)n_in;
    cvr_permute_attrs call = *(const cvr_permute_attrs *)attrs;
    const int64_t rank = b->type(b, in[0])->rank;
    for (int64_t i = 0; i < call.rank; i++) call.dims[i] += call.dims[i] < 0 ? rank : 0;
    return cvr_emit(b, "permute", &call, sizeof call, in, 1, out, err);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "permute",
            .version = 1,
            .trait = shape_permute_traits,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = attrs_,
            .infer = infer,
            .grad = grad,
            .doc = "axis a of the output is axis dims[a] of the input"},
     .reference = {sizeof(cvr_cpu_fn), run}},
};

static const cvr_layer_desc layers[] = {
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "permute",
     .doc = "puts the axes in another order",
     .n_attrs = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = 1,
     .attrs = attrs_,
     .build = build},
};

const shape_family shape_move = {ops, layers, 1, 1};
