/* a + b and a * b, with NumPy's broadcasting over logical axes. Formulas in ops/arith.h. */
#include "arith_family.h"

int32_t arith_check_f32(const char *op, const cvr_infer_args *a, cvr_error *err) {
    for (uint32_t i = 0; i < a->n_inputs; i++)
        if (a->inputs[i] && a->inputs[i]->dtype != CVR_F32)
            return cvr_fail(err, CVR_ERR_INVALID, "%s: input %u is %s; it must be f32", op, i,
                            cvr_dtype_name(a->inputs[i]->dtype));
    return CVR_OK;
}

static int same_shape(const cvr_type *a, const cvr_type *b) {
    return a->rank == b->rank && memcmp(a->shape, b->shape, sizeof a->shape) == 0;
}

/* Size of axis `i` of `rank`, of a shape that is aligned at its last axis. */
static int64_t aligned(const cvr_type *t, uint32_t rank, uint32_t i) {
    return i < rank - t->rank ? 1 : t->shape[i - (rank - t->rank)];
}

static int32_t broadcast_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0], *y = a->inputs[1];
    const uint32_t rank = x->rank > y->rank ? x->rank : y->rank;
    int64_t shape[CVR_MAX_RANK];
    for (uint32_t i = 0; i < rank; i++) {
        const int64_t p = aligned(x, rank, i), q = aligned(y, rank, i);
        if (p != q && p != 1 && q != 1)
            return cvr_fail(err, CVR_ERR_INVALID, "shapes do not broadcast: %lld and %lld on axis %u of %u",
                            (long long)p, (long long)q, i, rank);
        shape[i] = p == 1 ? q : p;
    }
    cvr_type_set(a->outputs[0], CVR_F32, rank, shape);
    return arith_check_f32("add or mul", a, err);
}

static int32_t mul_infer(const cvr_infer_args *a, cvr_error *err) {
    *a->outputs[0] = *a->inputs[0];
    if (!same_shape(a->inputs[0], a->inputs[1]))
        return cvr_fail(err, CVR_ERR_INVALID, "mul: the inputs must have one shape; use mul_broadcast");
    return arith_check_f32("mul", a, err);
}

/* da = grad, db = grad, each summed over the axes along which it was repeated */
static int32_t add_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    for (uint32_t i = 0; i < 2; i++)
        if (a->needs[i]) CVR_TRY(arith_sum_to(b, a->grad_outputs[0], CVR_NONE, a->inputs[i], &a->grad_inputs[i], err));
    return CVR_OK;
}

/* da = grad * b, db = grad * a */
static int32_t mul_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    for (uint32_t i = 0; i < 2; i++) {
        const cvr_value inputs[2] = {a->grad_outputs[0], a->inputs[1 - i]};
        if (a->needs[i]) CVR_TRY(cvr_emit(b, "mul", NULL, 0, inputs, 2, &a->grad_inputs[i], err));
    }
    return CVR_OK;
}

/* Likewise, summed over the axes along which the input was repeated; where the other one has the full shape, in one
 * pass. */
static int32_t mul_broadcast_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_type *grad = b->type(b, a->grad_outputs[0]);
    for (uint32_t i = 0; i < 2; i++) {
        const cvr_value inputs[2] = {a->grad_outputs[0], a->inputs[1 - i]};
        if (!a->needs[i]) continue;
        if (same_shape(b->type(b, inputs[1]), grad)) {
            CVR_TRY(arith_sum_to(b, inputs[0], inputs[1], a->inputs[i], &a->grad_inputs[i], err));
            continue;
        }
        cvr_value product;
        CVR_TRY(cvr_emit(b, "mul_broadcast", NULL, 0, inputs, 2, &product, err));
        CVR_TRY(arith_sum_to(b, product, CVR_NONE, a->inputs[i], &a->grad_inputs[i], err));
    }
    return CVR_OK;
}

/* ---- reference kernels ---- */

static float sum_of(float x, float y) {
    return x + y;
}

static float product_of(float x, float y) {
    return x * y;
}

static int32_t each_pair(const cvr_kernel_args *a, float (*f)(float, float)) {
    const cvr_tensor *out = a->outputs[0];
    const float *x = a->inputs[0]->data, *y = a->inputs[1]->data;
    int64_t x_step[CVR_MAX_RANK], y_step[CVR_MAX_RANK], z_step[CVR_MAX_RANK];
    arith_broadcast_steps(a->inputs[0], out->rank, x_step);
    arith_broadcast_steps(a->inputs[1], out->rank, y_step);
    arith_steps(out->rank, out->shape, z_step);
    const int64_t n = cvr_numel(out->rank, out->shape);
    for (int64_t i = 0; i < n; i++) {
        const float p = x[arith_at(out->rank, out->shape, x_step, i)],
                    q = y[arith_at(out->rank, out->shape, y_step, i)];
        ((float *)out->data)[arith_at(out->rank, out->shape, z_step, i)] = f(p, q);
    }
    return CVR_OK;
}

static int32_t add_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return each_pair(a, sum_of);
}

static int32_t mul_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return each_pair(a, product_of);
}

/* ---- layers ---- */

/* The op for equal shapes where they are, the broadcasting one elsewhere. */
static int32_t build(const cvr_builder *b, const char *same, const char *broadcast, const cvr_value *in, cvr_value *out,
                     cvr_error *err) {
    const int equal = same_shape(b->type(b, in[0]), b->type(b, in[1]));
    return cvr_emit(b, equal ? same : broadcast, NULL, 0, in, 2, out, err);
}

static int32_t build_add(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                         cvr_error *err) {
    (void)attrs, (void)n_in;
    return build(b, "add", "add_broadcast", in, out, err);
}

static int32_t build_mul(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                         cvr_error *err) {
    (void)attrs, (void)n_in;
    return build(b, "mul", "mul_broadcast", in, out, err);
}

/* Inputs may well be smaller than the output. */
static double flops(const cvr_infer_args *a) {
    double n[2];
    for (uint32_t i = 0; i < 2; i++) n[i] = (double)cvr_numel(a->inputs[i]->rank, a->inputs[i]->shape);
    return n[0] > n[1] ? n[0] : n[1];
}

static void add_steps(const void *attrs, cvr_steps *s) {
    (void)attrs;
    (void)cvr_step2(s, CVR_STEP_ADD, 0, 1);
}

static void mul_steps(const void *attrs, cvr_steps *s) {
    (void)attrs;
    (void)cvr_step2(s, CVR_STEP_MUL, 0, 1);
}

static const cvr_elementwise_trait add_program = {sizeof add_program, add_steps, NULL};
static const cvr_elementwise_trait mul_program = {sizeof mul_program, mul_steps, NULL};
CVR_DEFINE_TRAITS(add_traits, {CVR_TRAIT_ELEMENTWISE, &add_program}, {CVR_TRAIT_PRECISION, &cvr_precision_first},
                  {CVR_TRAIT_RECOMPUTE, &cvr_recompute_itself}, {CVR_TRAIT_COUNTS, &cvr_counts_elementwise},
                  {CVR_TRAIT_AXES, &arith_add_axes})
CVR_DEFINE_TRAITS(mul_traits, {CVR_TRAIT_ELEMENTWISE, &mul_program}, {CVR_TRAIT_PRECISION, &cvr_precision_first},
                  {CVR_TRAIT_RECOMPUTE, &cvr_recompute_itself}, {CVR_TRAIT_COUNTS, &cvr_counts_elementwise},
                  {CVR_TRAIT_AXES, &arith_mul_axes})

/* Broadcasting may move elements (a rank-3 input of a rank-4 sum), so only `mul` of equal shapes works in place. */
static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "add_broadcast",
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .infer = broadcast_infer,
            .grad = add_grad,
            .flops = flops,
            .doc = "c = a + b with NumPy's broadcasting",
            .trait = add_traits},
     .reference = {sizeof(cvr_cpu_fn), add_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "mul",
            .version = 1,
            .flags = CVR_OP_ORDER_FREE,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .infer = mul_infer,
            .grad = mul_grad,
            .flops = flops,
            .doc = "c = a * b, elementwise, one shape",
            .trait = mul_traits},
     .reference = {sizeof(cvr_cpu_fn), mul_run},
     .inplace = 3},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "mul_broadcast",
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .infer = broadcast_infer,
            .grad = mul_broadcast_grad,
            .flops = flops,
            .doc = "c = a * b with NumPy's broadcasting",
            .trait = mul_traits},
     .reference = {sizeof(cvr_cpu_fn), mul_run}},
};

static const cvr_layer_desc layers[] = {
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "add",
     .doc = "sum of two inputs, with NumPy's broadcasting",
     .min_inputs = 2,
     .max_inputs = 2,
     .n_outputs = 1,
     .build = build_add},
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "mul",
     .doc = "product of two inputs, with NumPy's broadcasting",
     .min_inputs = 2,
     .max_inputs = 2,
     .n_outputs = 1,
     .build = build_mul},
};

const arith_family arith_broadcast = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
