/* Elementwise programs as ops (see ops/elementwise.h): checks, meaning in other ops, reference kernel. */
#include "activation.h"

#include <cvr/plugin/ops/arith.h>
#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/elementwise.h>

static const cvr_attr_desc steps_attr =
    CVR_ATTR_INIT(INTS, "steps", NULL, "code and two operands of each step", .count = 3 * CVR_ELEMENTWISE_STEPS);
static const cvr_attr_desc constants_attr =
    CVR_ATTR_INIT(FLOATS, "constants", "", "constant of each step", .count = CVR_ELEMENTWISE_STEPS);
static const cvr_attr_desc *const attrs_of[] = {&steps_attr, &constants_attr};

static cvr_step step_of(const cvr_elementwise_attrs *attrs, int64_t k) {
    const int64_t *s = attrs->steps + 3 * k;
    return (cvr_step){(uint32_t)s[0], (uint32_t)s[1], (uint32_t)s[2], 0,
                      k < attrs->n_constants ? attrs->constants[k] : 0};
}

/* ---- shapes ---- */

static int is_operand(int64_t operand, uint32_t n_inputs, int64_t n_results) {
    return operand >= CVR_STEP_RESULT ? operand < CVR_STEP_RESULT + n_results : operand >= 0 && operand < n_inputs;
}

static int32_t check_steps(const cvr_elementwise_attrs *attrs, uint32_t n_inputs, cvr_error *err) {
    if (attrs->n_steps < 3 || attrs->n_steps % 3 != 0)
        return cvr_fail(err, CVR_ERR_INVALID, "elementwise: %lld numbers are no list of steps of three",
                        (long long)attrs->n_steps);
    for (int64_t k = 0; 3 * k < attrs->n_steps; k++) {
        const int64_t *s = attrs->steps + 3 * k;
        if (s[0] < CVR_STEP_ADD || s[0] > CVR_STEP_LAST || !is_operand(s[1], n_inputs, k) ||
            !is_operand(s[2], n_inputs, k))
            return cvr_fail(err, CVR_ERR_INVALID, "elementwise: step %lld (%lld,%lld,%lld) is none", (long long)k,
                            (long long)s[0], (long long)s[1], (long long)s[2]);
    }
    return CVR_OK;
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
    const int32_t status = program_infer(a, err);
    if (status == CVR_OK && x->rank < 2)
        return cvr_fail(err, CVR_ERR_INVALID, "elementwise_sum: %s has no columns", cvr_shape_of(x).text);
    if (status == CVR_OK)
        cvr_type_set(a->outputs[1], CVR_F32, 1, (const int64_t[]){x->shape[x->rank == 4 ? 1 : x->rank - 1]});
    return status;
}

static double program_flops(const cvr_infer_args *a) {
    const cvr_elementwise_attrs *attrs = a->attrs;
    return (double)(attrs->n_steps / 3) * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

/* ---- meaning ---- */

/* The attributes of the op that a step is, which has but one. */
typedef union step_attrs {
    cvr_leaky_relu_attrs leaky_relu;
    cvr_gelu_attrs gelu;
} step_attrs;

typedef struct step_op {
    const char *forward, *backward;
    uint64_t attrs_size;
} step_op;

/* By activation. */
static const step_op ops_of[CVR_STEP_ACTIVATIONS] = {
    {"relu", "relu_backward", 0},
    {"relu6", "relu6_backward", 0},
    {"leaky_relu", "leaky_relu_backward", sizeof(cvr_leaky_relu_attrs)},
    {"sigmoid", "sigmoid_backward", 0},
    {"tanh", "tanh_backward", 0},
    {"hardsigmoid", "hardsigmoid_backward", 0},
    {"hardswish", "hardswish_backward", 0},
    {"silu", "silu_backward", 0},
    {"gelu", "gelu_backward", sizeof(cvr_gelu_attrs)},
    {"gelu", "gelu_backward", sizeof(cvr_gelu_attrs)},
};

/* 0: relu and so on, for a forward step as for its gradient. */
static uint32_t activation_of(uint32_t code) {
    return (code - CVR_STEP_RELU) % CVR_STEP_ACTIVATIONS;
}

static step_attrs attrs_of_step(const cvr_step *s) {
    step_attrs a = {.leaky_relu = {s->constant}};
    const uint32_t activation = activation_of(s->code);
    if (activation == CVR_STEP_GELU - CVR_STEP_RELU) a.gelu.approximate = CVR_GELU_NONE;
    if (activation == CVR_STEP_GELU_TANH - CVR_STEP_RELU) a.gelu.approximate = CVR_GELU_TANH;
    return a;
}

static int one_shape(const cvr_type *a, const cvr_type *b) {
    return a->rank == b->rank && memcmp(a->shape, b->shape, sizeof a->shape) == 0;
}

/* Repeats a value where an op would not. */
static int32_t expand_like(const cvr_builder *b, const cvr_type *like, cvr_value *v, cvr_error *err) {
    const cvr_type *t = b->type(b, *v);
    cvr_expand_attrs attrs = {.rank = like->rank, .scale = 1};
    if (one_shape(t, like)) return CVR_OK;
    memcpy(attrs.shape, like->shape, sizeof attrs.shape);
    for (uint32_t i = 0; i < like->rank - t->rank; i++) attrs.dim[attrs.n_dim++] = i;
    return cvr_emit(b, "expand", &attrs, sizeof attrs, v, 1, v, err);
}

/* One step; x: the program's input 0, whose shape a result has or broadcasts to. */
static int32_t emit_step(const cvr_builder *b, const cvr_step *s, const cvr_type *x, cvr_value in[2], cvr_value *out,
                         cvr_error *err) {
    static const char *const pairs[2][2] = {{"add", "add_broadcast"}, {"mul", "mul_broadcast"}};
    const int one = one_shape(b->type(b, in[0]), b->type(b, in[1]));
    if (s->code <= CVR_STEP_MUL) return cvr_emit(b, pairs[s->code - CVR_STEP_ADD][!one], NULL, 0, in, 2, out, err);
    const step_op *op = &ops_of[activation_of(s->code)];
    const step_attrs attrs = attrs_of_step(s);
    const void *given = op->attrs_size ? &attrs : NULL;
    if (!cvr_step_has_two(s->code)) return cvr_emit(b, op->forward, given, op->attrs_size, in, 1, out, err);
    int32_t status = CVR_OK;
    for (int i = 0; i < 2 && !one && status == CVR_OK; i++) status = expand_like(b, x, &in[i], err);
    return status == CVR_OK ? cvr_emit(b, op->backward, given, op->attrs_size, in, 2, out, err) : status;
}

static int32_t program_decompose(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    const cvr_elementwise_attrs *attrs = a->attrs;
    cvr_value results[CVR_ELEMENTWISE_STEPS];
    int32_t status = CVR_OK;
    for (int64_t k = 0; 3 * k < attrs->n_steps && status == CVR_OK; k++) {
        const cvr_step s = step_of(attrs, k);
        const uint32_t operands[2] = {s.a, s.b};
        cvr_value pair[2];
        for (int i = 0; i < 2; i++)
            pair[i] = operands[i] < CVR_STEP_RESULT ? a->inputs[operands[i]] : results[operands[i] - CVR_STEP_RESULT];
        status = emit_step(b, &s, b->type(b, a->inputs[0]), pair, &results[k], err);
        a->outputs[0] = results[k];
    }
    return status == CVR_OK ? expand_like(b, b->type(b, a->inputs[0]), &a->outputs[0], err) : status;
}

static int32_t sum_decompose(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    const int32_t status = cvr_emit(b, "elementwise", a->attrs, sizeof(cvr_elementwise_attrs), a->inputs, a->n_inputs,
                                    &a->outputs[0], err);
    const char *op = b->type(b, a->inputs[0])->rank == 4 ? "conv2d_backward_bias" : "linear_backward_bias";
    return status == CVR_OK ? cvr_emit(b, op, NULL, 0, &a->outputs[0], 1, &a->outputs[1], err) : status;
}

/* ---- reference kernel ---- */

static float step_value(const cvr_step *s, float a, float b) {
    const step_attrs attrs = attrs_of_step(s);
    if (s->code == CVR_STEP_ADD) return a + b;
    if (s->code == CVR_STEP_MUL) return a * b;
    return (float)activation_formula(s->code, (double)a, (double)b, &attrs);
}

static float element(const cvr_kernel_args *a, int64_t i, const int64_t *inner, const int64_t *size) {
    const cvr_elementwise_attrs *attrs = a->attrs;
    float values[CVR_STEP_RESULT + CVR_ELEMENTWISE_STEPS], last = 0;
    for (uint32_t k = 0; k < a->n_inputs; k++) values[k] = ((const float *)a->inputs[k]->data)[i / inner[k] % size[k]];
    for (int64_t k = 0; 3 * k < attrs->n_steps; k++) {
        const cvr_step s = step_of(attrs, k);
        last = values[CVR_STEP_RESULT + k] = step_value(&s, values[s.a], values[s.b]);
    }
    return last;
}

static int32_t program_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    const int64_t n = cvr_numel(x->rank, x->shape);
    int64_t inner[CVR_ELEMENTWISE_INPUTS], size[CVR_ELEMENTWISE_INPUTS];
    (void)err;
    for (uint32_t k = 0; k < a->n_inputs; k++)
        (void)cvr_elementwise_repeat(x->rank, x->shape, a->inputs[k]->rank, a->inputs[k]->shape, &inner[k], &size[k]);
    for (int64_t i = 0; i < n; i++) ((float *)a->outputs[0]->data)[i] = element(a, i, inner, size);
    return CVR_OK;
}

/* ---- descriptors ---- */

/* Without a gradient: they are made when gradients are there. */
static const cvr_op_desc program = {.struct_size = sizeof program,
                                    .name = "elementwise",
                                    .version = 1,
                                    .flags = CVR_OP_ORDER_FREE | CVR_OP_AGAIN,
                                    .min_inputs = 1,
                                    .max_inputs = CVR_ELEMENTWISE_INPUTS,
                                    .n_outputs = 1,
                                    .n_attrs = 2,
                                    .attrs = attrs_of,
                                    .infer = program_infer,
                                    .decompose = program_decompose,
                                    .flops = program_flops,
                                    .doc = "several elementwise ops, step by step"};
static const cvr_op_desc program_sum = {.struct_size = sizeof program_sum,
                                        .name = "elementwise_sum",
                                        .version = 1,
                                        .flags = CVR_OP_LOW_PRECISION,
                                        .follows = 1,
                                        .min_inputs = 1,
                                        .max_inputs = CVR_ELEMENTWISE_INPUTS,
                                        .n_outputs = 2,
                                        .n_attrs = 2,
                                        .attrs = attrs_of,
                                        .infer = sum_infer,
                                        .decompose = sum_decompose,
                                        .flops = program_flops,
                                        .doc = "elementwise, and the sums of the result's channels"};
const cvr_op_desc *const activation_program_ops[ACTIVATION_PROGRAM_OPS] = {&program, &program_sum};

static const cvr_cpu_fn program_fn = {sizeof(cvr_cpu_fn), program_run};
const cvr_kernel_desc activation_program_kernel = {.struct_size = sizeof activation_program_kernel,
                                                   .op = "elementwise",
                                                   .backend = "reference",
                                                   .payload_kind = CVR_PAYLOAD_CPU_FN,
                                                   .payload = &program_fn,
                                                   .op_version = 1,
                                                   .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE,
                                                   .inplace = 1};
