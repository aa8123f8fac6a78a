/* Elementwise programs as ops (see ops/elementwise.h): checks, the sum as two ops, reference kernel. */
#include "activation_family.h"

#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/elementwise.h>

static const cvr_attr_desc *const attrs_of[] = {
    CVR_ATTR(INTS, "steps", NULL, "code and four operands of each step", .count = 5 * CVR_ELEMENTWISE_STEPS),
    CVR_ATTR(FLOATS, "constants", "", "what operands from 128 on are", .count = CVR_ELEMENTWISE_STEPS)};

/* ---- shapes ---- */

static int32_t check_steps(const cvr_elementwise_attrs *attrs, uint32_t n_inputs, cvr_error *err) {
    cvr_steps s;
    if (attrs->n_steps < 5 || attrs->n_steps % 5 != 0 || attrs->n_steps > 5 * CVR_ELEMENTWISE_STEPS ||
        attrs->n_constants < 0 || attrs->n_constants > CVR_ELEMENTWISE_STEPS)
        return cvr_fail(err, CVR_ERR_INVALID, "elementwise: %lld numbers are no list of steps of five",
                        (long long)attrs->n_steps);
    cvr_elementwise_steps(attrs, &s);
    for (int64_t i = 0; i < attrs->n_steps; i++)
        if (attrs->steps[i] < 0 || attrs->steps[i] > UINT32_MAX) s.n_steps = 0;
    return cvr_steps_valid(&s, n_inputs)
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_INVALID,
                          "elementwise: a step that there is not, or that names an operand which is not there");
}

static int32_t program_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0];
    int64_t inner, size;
    *a->outputs[0] = *x;
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        const cvr_type *t = a->inputs[i];
        const int fits = t->dtype == CVR_F32 &&
                         (i > 0 || cvr_numel(x->rank, x->shape) == cvr_numel(t->rank, t->shape)) &&
                         cvr_elementwise_repeat(x->rank, x->shape, t->rank, t->shape, &inner, &size);
        if (!fits)
            return cvr_fail(err, CVR_ERR_INVALID, "elementwise: input %u %s does not repeat evenly in %s f32", i,
                            cvr_shape_of(t).text, cvr_shape_of(x).text);
    }
    return check_steps(a->attrs, a->n_inputs, err);
}

static int32_t sum_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0];
    CVR_TRY(program_infer(a, err));
    if (x->rank < 2) return cvr_fail(err, CVR_ERR_INVALID, "elementwise_sum: %s has no columns", cvr_shape_of(x).text);
    cvr_type_set(a->outputs[1], CVR_F32, 1, (const int64_t[]){x->shape[x->rank == 4 ? 1 : x->rank - 1]});
    return CVR_OK;
}

static double program_flops(const cvr_infer_args *a) {
    const cvr_elementwise_attrs *attrs = a->attrs;
    return (double)(attrs->n_steps / 5) * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

/* ---- meaning, and reference kernel ---- */

static int32_t sum_decompose(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    CVR_TRY(cvr_emit(b, "elementwise", a->attrs, sizeof(cvr_elementwise_attrs), a->inputs, a->n_inputs, &a->outputs[0],
                     err));
    const char *op = b->type(b, a->inputs[0])->rank == 4 ? "conv2d_backward_bias" : "linear_backward_bias";
    return cvr_emit(b, op, NULL, 0, &a->outputs[0], 1, &a->outputs[1], err);
}

static int32_t program_run(const cvr_kernel_args *a, cvr_error *err) {
    cvr_steps s;
    (void)err;
    cvr_elementwise_steps(a->attrs, &s);
    return cvr_elementwise_run(a, &s);
}

CVR_DEFINE_TRAITS(program_traits, {CVR_TRAIT_RECOMPUTE, &cvr_recompute_itself},
                  {CVR_TRAIT_ONNX, &activation_elementwise_onnx}, {CVR_TRAIT_COUNTS, &cvr_counts_elementwise})

/* ---- descriptors ---- */

/* Without a gradient: they are made when gradients are there. */
const cvr_reference_op activation_program_ops[ACTIVATION_PROGRAM_OPS] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "elementwise",
            .version = 1,
            .flags = CVR_OP_ORDER_FREE,
            .min_inputs = 1,
            .max_inputs = CVR_ELEMENTWISE_INPUTS,
            .n_outputs = 1,
            .n_attrs = 2,
            .attrs = attrs_of,
            .infer = program_infer,
            .flops = program_flops,
            .doc = "several elementwise ops, step by step",
            .trait = program_traits},
     .reference = {sizeof(cvr_cpu_fn), program_run},
     .inplace = 1},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "elementwise_sum",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 1,
            .max_inputs = CVR_ELEMENTWISE_INPUTS,
            .n_outputs = 2,
            .n_attrs = 2,
            .attrs = attrs_of,
            .infer = sum_infer,
            .decompose = sum_decompose,
            .flops = program_flops,
            .doc = "elementwise, and the sums of the result's channels"}},
};
