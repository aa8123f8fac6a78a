/*
 * The machine of elementwise programs (ops/elementwise_math.h) against libm in double: within the ulp that
 * elementwise_steps.h promises, over numbers of every size, and to the bit where it promises that.
 */
#include <criterion/criterion.h>
#include <cvr/plugin/ops/elementwise_math.h>

static float step(uint32_t code, float a, float b, float c, float d) {
    const float v[4] = {a, b, c, d};
    return cvr_step_value(code, v);
}

/* Distance in units of the last place of what is right. */
static double ulps(float got, double want) {
    const float near = (float)want;
    if (got != got || near != near) return got != got && near != near ? 0 : INFINITY;
    if (isinf(near) || isinf(got)) return got == near ? 0 : INFINITY;
    const double one = fmax(fabs((double)nextafterf(near, INFINITY) - (double)near), 0x1p-149);
    return fabs((double)got - want) / one;
}

static double largest_error(uint32_t code, double (*f)(double), double from, double to) {
    double worst = 0;
    for (int i = 0; i <= 100000; i++) {
        const float x = (float)(from + (to - from) * i / 100000);
        const double u = ulps(step(code, x, 0, 0, 0), f((double)x));
        if (u > worst) worst = u;
    }
    return worst;
}

/* Every exponent, a few mantissas of each. */
static double largest_error_by_size(uint32_t code, double (*f)(double), int least, int most) {
    double worst = 0;
    for (int e = least; e <= most; e++)
        for (int i = 0; i < 997; i++) {
            const float x = (float)ldexp(1 + i / 997.0, e);
            const double u = ulps(step(code, x, 0, 0, 0), f((double)x));
            if (u > worst) worst = u;
        }
    return worst;
}

static double normal_cdf(double x) {
    return 0.5 * erfc(-x * 0.70710678118654752440);
}

Test(machine, transcendental) {
    cr_expect_leq(largest_error(CVR_STEP_EXP, exp, -80, 88.7), 2.0);
    cr_expect_leq(largest_error(CVR_STEP_LOG, log, 0.01, 100), 2.0);
    cr_expect_leq(largest_error_by_size(CVR_STEP_LOG, log, -148, 127), 2.0);
    cr_expect_leq(largest_error(CVR_STEP_TANH, tanh, -12, 12), 4.0);
    cr_expect_leq(largest_error_by_size(CVR_STEP_TANH, tanh, -100, 3), 4.0);
    cr_expect_leq(largest_error(CVR_STEP_ERF, erf, -6, 6), 4.0);
    cr_expect_leq(largest_error_by_size(CVR_STEP_ERF, erf, -100, 2), 4.0);
    for (int k = -12; k < 10; k++) /* far out what counts is how the exponential's argument is rounded */
        cr_expect_leq(largest_error(CVR_STEP_NORMAL_CDF, normal_cdf, k, k + 1), 6.0 + k * k, "at %d", k);
}

Test(machine, exact) {
    const float numbers[] = {-2.5f, -1.5f, -0.5f, -0.0f, 0.0f, 0.5f, 1.5f, 2.5f, 3.0f, 1e30f, -INFINITY, INFINITY, NAN};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const float x = numbers[i], want[] = {rintf(x), floorf(x), sqrtf(x), 1 / sqrtf(x)};
        const uint32_t codes[] = {CVR_STEP_ROUND, CVR_STEP_FLOOR, CVR_STEP_SQRT, CVR_STEP_RSQRT};
        for (int k = 0; k < 4; k++) cr_expect_eq(ulps(step(codes[k], x, 0, 0, 0), (double)want[k]), 0);
        for (size_t j = 0; j < sizeof numbers / sizeof *numbers; j++) {
            const float y = numbers[j], low = step(CVR_STEP_MIN, x, y, 0, 0), high = step(CVR_STEP_MAX, x, y, 0, 0);
            const int nan = x != x || y != y;
            cr_expect(nan ? low != low && high != high : low <= high && (low == x || low == y));
            cr_expect_eq(step(CVR_STEP_SELECT_GT, x, y, 1, 2), x > y ? 1 : 2);
            cr_expect_eq(step(CVR_STEP_SELECT_GE, x, y, 1, 2), x >= y ? 1 : 2);
            cr_expect_eq(step(CVR_STEP_SELECT_EQ, x, y, 1, 2), x == y ? 1 : 2);
        }
    }
    cr_expect(signbit(step(CVR_STEP_MAX, -0.0f, 0, 0, 0)));
    cr_expect(signbit(step(CVR_STEP_NEG, 0, 0, 0, 0)) && !signbit(step(CVR_STEP_ABS, -0.0f, 0, 0, 0)));
    cr_expect_eq(step(CVR_STEP_BF16, 1.00390625f, 0, 0, 0), 1.0f); /* a tie, to even */
    cr_expect_eq(step(CVR_STEP_LOG, 0, 0, 0, 0), -INFINITY);
    cr_expect(isnan(step(CVR_STEP_LOG, -1, 0, 0, 0)));
    cr_expect_eq(step(CVR_STEP_EXP, -105, 0, 0, 0), 0);
    cr_expect_eq(step(CVR_STEP_EXP, 89, 0, 0, 0), INFINITY);
}
