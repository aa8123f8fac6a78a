/* Elementwise programs (cvr/plugin/elementwise_steps.h) as nodes: a step is one node, or a few. */
#include "onnx_model.h"

/* Steps that are one op of ONNX. */
static const char *one_op(uint32_t code) {
    switch (code) {
    case CVR_STEP_ADD: return "Add";
    case CVR_STEP_SUB: return "Sub";
    case CVR_STEP_MUL: return "Mul";
    case CVR_STEP_DIV: return "Div";
    case CVR_STEP_MAX: return "Max";
    case CVR_STEP_MIN: return "Min";
    case CVR_STEP_NEG: return "Neg";
    case CVR_STEP_ABS: return "Abs";
    case CVR_STEP_SQRT: return "Sqrt";
    case CVR_STEP_EXP: return "Exp";
    case CVR_STEP_LOG: return "Log";
    case CVR_STEP_TANH: return "Tanh";
    case CVR_STEP_ERF: return "Erf";
    case CVR_STEP_ROUND: return "Round";
    case CVR_STEP_FLOOR: return "Floor";
    case CVR_STEP_COPY: return "Identity";
    default: return NULL;
    }
}

static const char *comparison(uint32_t code) {
    switch (code) {
    case CVR_STEP_SELECT_GT: return "Greater";
    case CVR_STEP_SELECT_GE: return "GreaterOrEqual";
    case CVR_STEP_SELECT_EQ: return "Equal";
    default: return NULL;
    }
}

/* (1 + erf(x / sqrt(2))) / 2 */
static int32_t normal_cdf(const cvr_onnx *o, cvr_onnx_value x, cvr_onnx_value *out, cvr_error *err) {
    cvr_onnx_value scaled = 0, erf = 0, sum = 0;
    CVR_TRY(cvr_onnx_with(o, "Mul", x, 0.70710678118654752, &scaled, err));
    CVR_TRY(cvr_onnx_emit1(o, "Erf", scaled, &erf, err));
    CVR_TRY(cvr_onnx_with(o, "Add", erf, 1, &sum, err));
    return cvr_onnx_with(o, "Mul", sum, 0.5, out, err);
}

static int32_t write_step(const cvr_onnx *o, uint32_t code, const cvr_onnx_value *in, cvr_onnx_value *out,
                          cvr_error *err) {
    cvr_onnx_value t = 0;
    if (one_op(code)) return cvr_onnx_emit(o, one_op(code), in, cvr_step_operands(code), NULL, 0, out, err);
    if (comparison(code)) {
        CVR_TRY(cvr_onnx_emit2(o, comparison(code), in[0], in[1], &t, err));
        const cvr_onnx_value choice[3] = {t, in[2], in[3]};
        return cvr_onnx_emit(o, "Where", choice, 3, NULL, 0, out, err);
    }
    switch (code) {
    case CVR_STEP_RSQRT:
        CVR_TRY(cvr_onnx_emit1(o, "Sqrt", in[0], &t, err));
        return cvr_onnx_emit1(o, "Reciprocal", t, out, err);
    case CVR_STEP_BF16:
        CVR_TRY(cvr_onnx_cast(o, in[0], CVR_ONNX_TYPE_BF16, &t, err));
        return cvr_onnx_cast(o, t, CVR_ONNX_TYPE_F32, out, err);
    case CVR_STEP_NORMAL_CDF: return normal_cdf(o, in[0], out, err);
    default: return cvr_fail(err, CVR_ERR_UNSUPPORTED, "a step %u, which this exporter does not know", code);
    }
}

int32_t onnx_write_program(const cvr_onnx *o, const cvr_steps *s, const cvr_onnx_value *inputs, uint32_t n_inputs,
                           cvr_onnx_value *out, cvr_error *err) {
    cvr_onnx_value results[CVR_MOST_STEPS] = {0};
    if (s->n_steps == 0 || s->n_steps > CVR_MOST_STEPS || s->n_constants > CVR_MOST_STEPS)
        return cvr_fail(err, CVR_ERR_PLUGIN, "an elementwise program of %u steps", s->n_steps);
    results[s->n_steps - 1] = *out;
    for (uint32_t k = 0; k < s->n_steps; k++) {
        const cvr_step *step = &s->steps[k];
        cvr_onnx_value in[4] = {0};
        for (uint32_t i = 0; i < cvr_step_operands(step->code); i++) {
            const uint32_t from = step->operands[i];
            if (from >= CVR_STEP_CONSTANT && from - CVR_STEP_CONSTANT < s->n_constants)
                CVR_TRY(cvr_onnx_f32(o, (double)s->constants[from - CVR_STEP_CONSTANT], &in[i], err));
            else if (from >= CVR_STEP_RESULT && from - CVR_STEP_RESULT < k)
                in[i] = results[from - CVR_STEP_RESULT];
            else if (from < n_inputs)
                in[i] = inputs[from];
            else
                return cvr_fail(err, CVR_ERR_PLUGIN, "an elementwise program names an operand that is not there");
        }
        CVR_TRY(write_step(o, step->code, in, &results[k], err));
    }
    *out = results[s->n_steps - 1];
    return CVR_OK;
}
