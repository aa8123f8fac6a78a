/*
 * fake_quantize: what training sees of the integers to come (Jacob et al., Quantization and Training of Neural
 * Networks, 2018). A number is rounded to what an integer can stand for, and the gradient passes as if it had not been,
 * but for numbers beyond the range (the straight-through estimator of Bengio et al., 2013). Both are elementwise
 * programs, so that every backend has kernels for them, with equal bits.
 */
#include "quant_family.h"

#include <cvr/plugin/ops/elementwise.h>

#define LARGEST_INTEGER 8388608 /* 2^23: f32 has all whole numbers up to there */

static const cvr_attr_desc lowest = CVR_ATTR_INIT(INT, "lowest", "0", "the lowest integer",
                                                  CVR_ATTR_BETWEEN(-LARGEST_INTEGER, LARGEST_INTEGER)),
                           highest = CVR_ATTR_INIT(INT, "highest", "255", "the highest integer",
                                                   CVR_ATTR_BETWEEN(-LARGEST_INTEGER, LARGEST_INTEGER));
static const cvr_attr_desc *const attrs_of[] = {&lowest, &highest};

/* ---- the programs; scale and zero are the last two inputs ---- */

/* An end of the range in units of the scale: the integer minus zero. */
static uint32_t end_of(cvr_steps *s, int64_t integer, uint32_t zero) {
    return cvr_step2(s, CVR_STEP_SUB, cvr_constant(s, (float)integer), zero);
}

static void forward_steps(const void *attrs, cvr_steps *s) {
    const cvr_fake_quantize_attrs *a = attrs;
    const uint32_t low = end_of(s, a->lowest, 2), high = end_of(s, a->highest, 2);
    uint32_t v = cvr_step2(s, CVR_STEP_DIV, 0, 1);
    v = cvr_step2(s, CVR_STEP_MIN, cvr_step2(s, CVR_STEP_MAX, v, low), high);
    (void)cvr_step2(s, CVR_STEP_MUL, cvr_step1(s, CVR_STEP_ROUND, v), 1);
}

static void backward_steps(const void *attrs, cvr_steps *s) {
    const cvr_fake_quantize_attrs *a = attrs;
    const uint32_t low = end_of(s, a->lowest, 3), high = end_of(s, a->highest, 3), none = cvr_constant(s, 0);
    const uint32_t v = cvr_step1(s, CVR_STEP_ROUND, cvr_step2(s, CVR_STEP_DIV, 1, 2));
    const uint32_t above = cvr_step4(s, CVR_STEP_SELECT_GE, v, low, 0, none);
    (void)cvr_step4(s, CVR_STEP_SELECT_GE, high, v, above, none);
}

static const cvr_elementwise_trait forward_program = {sizeof forward_program, forward_steps, NULL},
                                   backward_program = {sizeof backward_program, backward_steps, NULL};
CVR_DEFINE_TRAITS(forward_traits, {CVR_TRAIT_ELEMENTWISE, &forward_program},
                  {CVR_TRAIT_COUNTS, &cvr_counts_elementwise}, {CVR_TRAIT_RECOMPUTE, &cvr_recompute_itself},
                  {CVR_TRAIT_PRECISION, &cvr_precision_first})
CVR_DEFINE_TRAITS(backward_traits, {CVR_TRAIT_ELEMENTWISE, &backward_program},
                  {CVR_TRAIT_COUNTS, &cvr_counts_elementwise}, {CVR_TRAIT_PRECISION, &cvr_precision_first})

static int32_t run(const cvr_kernel_args *a, const cvr_elementwise_trait *program) {
    cvr_steps s = {.struct_size = sizeof s};
    program->steps(a->attrs, &s);
    return cvr_elementwise_run(a, &s);
}

static int32_t forward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return run(a, &forward_program);
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return run(a, &backward_program);
}

/* ---- shapes and gradient ---- */

/* The inputs before the last two have output 0's shape; scale and zero repeat in it. */
static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_fake_quantize_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    int64_t inner, size;
    if (attrs->lowest >= attrs->highest)
        return cvr_fail(err, CVR_ERR_INVALID, "fake_quantize: lowest=%lld must be below highest=%lld",
                        (long long)attrs->lowest, (long long)attrs->highest);
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        const cvr_type *t = a->inputs[i];
        const int like = t->rank == x->rank && memcmp(t->shape, x->shape, sizeof t->shape) == 0;
        if (t->dtype != CVR_F32)
            return cvr_fail(err, CVR_ERR_INVALID, "fake_quantize: input %u is %s; it must be f32", i,
                            cvr_dtype_name(t->dtype));
        if (i + 2 < a->n_inputs ? !like : !cvr_elementwise_repeat(x->rank, x->shape, t->rank, t->shape, &inner, &size))
            return cvr_fail(err, CVR_ERR_INVALID, "fake_quantize: input %u %s does not fit %s", i, cvr_shape_of(t).text,
                            cvr_shape_of(x).text);
    }
    *a->outputs[0] = *x;
    return CVR_OK;
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value in[4] = {a->grad_outputs[0], a->inputs[0], a->inputs[1], a->inputs[2]};
    if (!a->needs[0]) return CVR_OK;
    return cvr_emit(b, "fake_quantize_backward", a->attrs, sizeof(cvr_fake_quantize_attrs), in, 4, &a->grad_inputs[0],
                    err);
}

const cvr_reference_op fake_quantize_ops[FAKE_QUANTIZE_OPS] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "fake_quantize",
            .version = 1,
            .flags = CVR_OP_ORDER_FREE,
            .trait = forward_traits,
            .min_inputs = 3,
            .max_inputs = 3,
            .n_outputs = 1,
            .n_attrs = 2,
            .attrs = attrs_of,
            .infer = infer,
            .grad = grad,
            .flops = quant_count_elements,
            .doc = "y = rint(clamp(x / scale, lowest - zero, highest - zero)) * scale (torch.fake_quantize_*)"},
     .reference = {sizeof(cvr_cpu_fn), forward_run},
     .inplace = 1},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "fake_quantize_backward",
            .version = 1,
            .flags = CVR_OP_ORDER_FREE,
            .trait = backward_traits,
            .min_inputs = 4,
            .max_inputs = 4,
            .n_outputs = 1,
            .n_attrs = 2,
            .attrs = attrs_of,
            .infer = infer,
            .flops = quant_count_elements,
            .doc = "dx = grad where x is within the integers' range, else 0"},
     .reference = {sizeof(cvr_cpu_fn), backward_run},
     .inplace = 3},
};
