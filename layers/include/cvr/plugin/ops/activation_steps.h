/*
 * The activations and their gradients as elementwise programs (<cvr/plugin/elementwise_steps.h>): this is what they
 * are, on every backend. Input 0 is x, or `saved` of a gradient; input 1 the gradient of the output. See
 * ops/activation.h.
 */
#ifndef CVR_PLUGIN_OPS_ACTIVATION_STEPS_H
#define CVR_PLUGIN_OPS_ACTIVATION_STEPS_H

#include <cvr/plugin/elementwise_steps.h>
#include <cvr/plugin/ops/activation.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_SQRT_2_OVER_PI 0.797884561f
#define CVR_GELU_CUBE 0.044715f

static inline uint32_t cvr_steps_clamp(cvr_steps *s, uint32_t x, float lo, float hi) {
    return cvr_step2(s, CVR_STEP_MIN, cvr_step2(s, CVR_STEP_MAX, x, cvr_constant(s, lo)), cvr_constant(s, hi));
}

/* lo < y < hi ? g : 0 */
static inline uint32_t cvr_steps_between(cvr_steps *s, uint32_t y, float lo, float hi, uint32_t g) {
    const uint32_t zero = cvr_constant(s, 0);
    const uint32_t above = cvr_step4(s, CVR_STEP_SELECT_GT, y, cvr_constant(s, lo), g, zero);
    return cvr_step4(s, CVR_STEP_SELECT_GT, cvr_constant(s, hi), y, above, zero);
}

/* 1 / (1 + exp(-x)) */
static inline uint32_t cvr_steps_sigmoid(cvr_steps *s, uint32_t x) {
    const uint32_t one = cvr_constant(s, 1), e = cvr_step1(s, CVR_STEP_EXP, cvr_step1(s, CVR_STEP_NEG, x));
    return cvr_step2(s, CVR_STEP_DIV, one, cvr_step2(s, CVR_STEP_ADD, one, e));
}

/* y = max(x, 0) */
static inline void cvr_relu_steps(const void *attrs, cvr_steps *s) {
    (void)attrs;
    (void)cvr_step2(s, CVR_STEP_MAX, 0, cvr_constant(s, 0));
}

/* dx = y > 0 ? grad : 0 */
static inline void cvr_relu_backward_steps(const void *attrs, cvr_steps *s) {
    const uint32_t zero = cvr_constant(s, 0);
    (void)attrs;
    (void)cvr_step4(s, CVR_STEP_SELECT_GT, 0, zero, 1, zero);
}

/* y = min(max(x, 0), 6) */
static inline void cvr_relu6_steps(const void *attrs, cvr_steps *s) {
    (void)attrs;
    (void)cvr_steps_clamp(s, 0, 0, 6);
}

/* dx = 0 < y < 6 ? grad : 0 */
static inline void cvr_relu6_backward_steps(const void *attrs, cvr_steps *s) {
    (void)attrs;
    (void)cvr_steps_between(s, 0, 0, 6, 1);
}

/* x > 0 ? v : slope * v */
static inline void cvr_steps_leaky(const void *attrs, cvr_steps *s, uint32_t v) {
    const uint32_t slope = cvr_constant(s, (float)((const cvr_leaky_relu_attrs *)attrs)->negative_slope);
    const uint32_t low = cvr_step2(s, CVR_STEP_MUL, slope, v);
    (void)cvr_step4(s, CVR_STEP_SELECT_GT, 0, cvr_constant(s, 0), v, low);
}

static inline void cvr_leaky_relu_steps(const void *attrs, cvr_steps *s) {
    cvr_steps_leaky(attrs, s, 0);
}

static inline void cvr_leaky_relu_backward_steps(const void *attrs, cvr_steps *s) {
    cvr_steps_leaky(attrs, s, 1);
}

static inline void cvr_sigmoid_steps(const void *attrs, cvr_steps *s) {
    (void)attrs;
    (void)cvr_steps_sigmoid(s, 0);
}

/* dx = grad * y * (1 - y) */
static inline void cvr_sigmoid_backward_steps(const void *attrs, cvr_steps *s) {
    const uint32_t gy = cvr_step2(s, CVR_STEP_MUL, 1, 0);
    (void)attrs;
    (void)cvr_step2(s, CVR_STEP_MUL, gy, cvr_step2(s, CVR_STEP_SUB, cvr_constant(s, 1), 0));
}

static inline void cvr_tanh_steps(const void *attrs, cvr_steps *s) {
    (void)attrs;
    (void)cvr_step1(s, CVR_STEP_TANH, 0);
}

/* dx = grad * (1 - y * y) */
static inline void cvr_tanh_backward_steps(const void *attrs, cvr_steps *s) {
    const uint32_t square = cvr_step2(s, CVR_STEP_MUL, 0, 0);
    (void)attrs;
    (void)cvr_step2(s, CVR_STEP_MUL, 1, cvr_step2(s, CVR_STEP_SUB, cvr_constant(s, 1), square));
}

/* y = min(max(x + 3, 0), 6) / 6 */
static inline void cvr_hardsigmoid_steps(const void *attrs, cvr_steps *s) {
    const uint32_t x = cvr_step2(s, CVR_STEP_ADD, 0, cvr_constant(s, 3));
    (void)attrs;
    (void)cvr_step2(s, CVR_STEP_DIV, cvr_steps_clamp(s, x, 0, 6), cvr_constant(s, 6));
}

/* dx = 0 < y < 1 ? grad / 6 : 0 */
static inline void cvr_hardsigmoid_backward_steps(const void *attrs, cvr_steps *s) {
    (void)attrs;
    (void)cvr_steps_between(s, 0, 0, 1, cvr_step2(s, CVR_STEP_DIV, 1, cvr_constant(s, 6)));
}

/* y = x * min(max(x + 3, 0), 6) / 6 */
static inline void cvr_hardswish_steps(const void *attrs, cvr_steps *s) {
    const uint32_t x = cvr_step2(s, CVR_STEP_ADD, 0, cvr_constant(s, 3));
    const uint32_t y = cvr_step2(s, CVR_STEP_MUL, 0, cvr_steps_clamp(s, x, 0, 6));
    (void)attrs;
    (void)cvr_step2(s, CVR_STEP_DIV, y, cvr_constant(s, 6));
}

/* dx = x <= -3 ? 0 : x < 3 ? grad * (x / 3 + 1 / 2) : grad */
static inline void cvr_hardswish_backward_steps(const void *attrs, cvr_steps *s) {
    const uint32_t three = cvr_constant(s, 3), third = cvr_step2(s, CVR_STEP_DIV, 0, three);
    const uint32_t slope = cvr_step2(s, CVR_STEP_ADD, third, cvr_constant(s, 0.5f));
    const uint32_t middle = cvr_step2(s, CVR_STEP_MUL, 1, slope);
    const uint32_t high = cvr_step4(s, CVR_STEP_SELECT_GT, three, 0, middle, 1);
    (void)attrs;
    (void)cvr_step4(s, CVR_STEP_SELECT_GE, cvr_constant(s, -3), 0, cvr_constant(s, 0), high);
}

/* y = x * sigmoid(x) */
static inline void cvr_silu_steps(const void *attrs, cvr_steps *s) {
    (void)attrs;
    (void)cvr_step2(s, CVR_STEP_MUL, 0, cvr_steps_sigmoid(s, 0));
}

/* dx = grad * p * (1 + x * (1 - p)), p = sigmoid(x) */
static inline void cvr_silu_backward_steps(const void *attrs, cvr_steps *s) {
    const uint32_t p = cvr_steps_sigmoid(s, 0), one = cvr_constant(s, 1), gp = cvr_step2(s, CVR_STEP_MUL, 1, p);
    const uint32_t rest = cvr_step2(s, CVR_STEP_MUL, 0, cvr_step2(s, CVR_STEP_SUB, one, p));
    (void)attrs;
    (void)cvr_step2(s, CVR_STEP_MUL, gp, cvr_step2(s, CVR_STEP_ADD, one, rest));
}

/* e = exp(x) and tanh(ln(1 + e)) = n / (n + 2) with n = e (e + 2); x is held below 20, where that is 1 */
static inline uint32_t cvr_steps_mish(cvr_steps *s, uint32_t *e) {
    const uint32_t two = cvr_constant(s, 2), low = cvr_step2(s, CVR_STEP_MIN, 0, cvr_constant(s, 20));
    *e = cvr_step1(s, CVR_STEP_EXP, low);
    const uint32_t n = cvr_step2(s, CVR_STEP_MUL, *e, cvr_step2(s, CVR_STEP_ADD, *e, two));
    return cvr_step2(s, CVR_STEP_DIV, n, cvr_step2(s, CVR_STEP_ADD, n, two));
}

/* y = x * tanh(ln(1 + exp(x))) */
static inline void cvr_mish_steps(const void *attrs, cvr_steps *s) {
    uint32_t e;
    (void)attrs;
    (void)cvr_step2(s, CVR_STEP_MUL, 0, cvr_steps_mish(s, &e));
}

/* dx = grad * (t + x * p * (1 - t * t)), t = tanh(ln(1 + e)), p = e / (1 + e) */
static inline void cvr_mish_backward_steps(const void *attrs, cvr_steps *s) {
    uint32_t e;
    const uint32_t t = cvr_steps_mish(s, &e), one = cvr_constant(s, 1);
    const uint32_t p = cvr_step2(s, CVR_STEP_DIV, e, cvr_step2(s, CVR_STEP_ADD, one, e));
    const uint32_t rest = cvr_step2(s, CVR_STEP_SUB, one, cvr_step2(s, CVR_STEP_MUL, t, t));
    const uint32_t xp = cvr_step2(s, CVR_STEP_MUL, 0, p);
    (void)attrs;
    (void)cvr_step2(s, CVR_STEP_MUL, 1, cvr_step2(s, CVR_STEP_ADD, t, cvr_step2(s, CVR_STEP_MUL, xp, rest)));
}

/* (1 + tanh(u)) / 2 = sigmoid(2u), which keeps its precision where tanh nears -1; u = sqrt(2/pi) * (x + 0.044715 x^3)
 */
static inline uint32_t cvr_steps_gelu_tanh(cvr_steps *s) {
    uint32_t cube = cvr_step2(s, CVR_STEP_MUL, cvr_constant(s, CVR_GELU_CUBE), 0);
    cube = cvr_step2(s, CVR_STEP_MUL, cvr_step2(s, CVR_STEP_MUL, cube, 0), 0);
    const uint32_t twice = cvr_constant(s, 2 * CVR_SQRT_2_OVER_PI), sum = cvr_step2(s, CVR_STEP_ADD, 0, cube);
    return cvr_steps_sigmoid(s, cvr_step2(s, CVR_STEP_MUL, twice, sum));
}

/* y = x * P(x) */
static inline void cvr_gelu_steps(const void *attrs, cvr_steps *s) {
    const int tanh_ = ((const cvr_gelu_attrs *)attrs)->approximate == CVR_GELU_TANH;
    (void)cvr_step2(s, CVR_STEP_MUL, 0, tanh_ ? cvr_steps_gelu_tanh(s) : cvr_step1(s, CVR_STEP_NORMAL_CDF, 0));
}

/* dx = grad * (P(x) + x * p(x)), p(x) = exp(-x^2 / 2) / sqrt(2 pi) */
static inline void cvr_steps_gelu_none_backward(cvr_steps *s) {
    const uint32_t cdf = cvr_step1(s, CVR_STEP_NORMAL_CDF, 0);
    const uint32_t half = cvr_step2(s, CVR_STEP_MUL, cvr_constant(s, -0.5f), 0);
    const uint32_t bell = cvr_step1(s, CVR_STEP_EXP, cvr_step2(s, CVR_STEP_MUL, half, 0));
    const uint32_t x = cvr_step2(s, CVR_STEP_MUL, 0, cvr_constant(s, 0.5f * CVR_SQRT_2_OVER_PI));
    const uint32_t sum = cvr_step2(s, CVR_STEP_ADD, cdf, cvr_step2(s, CVR_STEP_MUL, x, bell));
    (void)cvr_step2(s, CVR_STEP_MUL, 1, sum);
}

/* d/dx x * p(2u) = p + x * 2 * p * (1-p) * u' */
static inline void cvr_steps_gelu_tanh_backward(cvr_steps *s) {
    const uint32_t p = cvr_steps_gelu_tanh(s), one = cvr_constant(s, 1);
    uint32_t slope = cvr_step2(s, CVR_STEP_MUL, cvr_constant(s, 3 * CVR_GELU_CUBE), 0);
    slope = cvr_step2(s, CVR_STEP_ADD, one, cvr_step2(s, CVR_STEP_MUL, slope, 0));
    slope = cvr_step2(s, CVR_STEP_MUL, cvr_constant(s, 2 * CVR_SQRT_2_OVER_PI), slope);
    uint32_t x = cvr_step2(s, CVR_STEP_MUL, 0, p);
    x = cvr_step2(s, CVR_STEP_MUL, x, cvr_step2(s, CVR_STEP_SUB, one, p));
    const uint32_t sum = cvr_step2(s, CVR_STEP_ADD, p, cvr_step2(s, CVR_STEP_MUL, x, slope));
    (void)cvr_step2(s, CVR_STEP_MUL, 1, sum);
}

static inline void cvr_gelu_backward_steps(const void *attrs, cvr_steps *s) {
    if (((const cvr_gelu_attrs *)attrs)->approximate == CVR_GELU_TANH)
        cvr_steps_gelu_tanh_backward(s);
    else
        cvr_steps_gelu_none_backward(s);
}

#ifdef __cplusplus
}
#endif

#endif
