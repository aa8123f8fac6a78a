/*
 * The kernels of the AMX packs where there is no AMX: compiled with the instructions in plain C (support/amx_shim.h) as
 * plugins of the tests' own, they run convolution and dense layers, of floats and of 8-bit integers, against the
 * reference, with guard pages and without.
 *
 * They need AVX-512 with BF16 for all but the tiles. A machine without ends the test with 77, which ctest counts as
 * skipped.
 */
#define _DEFAULT_SOURCE /* setenv */
#include "support/guarded.h"
#include "support/left_out.h"
#include "support/pack_use.h"
#include <criterion/criterion.h>
#include <stdlib.h>

#define SKIPPED 77
#define BF16_SHIM "cpu_amx_bf16_shim"
#define BF16X3_SHIM "cpu_amx_bf16x3_shim"
#define INT8_SHIM "cpu_int8_amx_shim"

static const char *const families[] = {"conv", "linear", "peak"};

/* The rest of the nodes is depthwise, or has more taps than a call. What calibrates does so in bf16 alone. */
static void ours_are_used(const char *pack, bool low, uint32_t math) {
    static pack_use u;
    case_machine m;
    cvr_error err;
    cvr_error_init(&err);
    memset(&u, 0, sizeof u);
    u.low = low;
    u.math = math;
    if (!low) u.except = "conv2d_backward_bias linear_backward_bias"; /* sums of f32, no products */
    cr_assert_eq(machine_open(&m, "cpu", NULL, 1, &err), CVR_OK, "%s", err.message);
    pack_use_begin(&u, &m, pack);
    for (size_t i = 0; i < sizeof families / sizeof *families - !low; i++) pack_use_count(&u, families[i]);
    pack_use_expect(&u, pack, 0.5);
    machine_close(&m);
}

static void agree_in(agree_what what) {
    what.n_isas = 1; /* all that there is */
    const bool guarded = strcmp(what.backend, "guard_cpu") == 0;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        what.family = families[i];
        const size_t complaints = guarded ? guarded_all(&what) : agree_all(&what);
        cr_expect_eq(complaints, 0, "%s: %zu draws fail", families[i], complaints);
    }
}

Test(amx_bf16, is_used) {
    ours_are_used(BF16_SHIM, true, CVR_MATH_F32);
}
Test(amx_bf16, agrees) {
    agree_in((agree_what){.backend = "cpu", .low = true, .relative = AGREE_LOW});
}
Test(amx_bf16, guards) {
    agree_in((agree_what){.backend = "guard_cpu", .low = true, .relative = AGREE_LOW});
}

Test(amx_bf16x3, is_used) {
    ours_are_used(BF16X3_SHIM, false, CVR_MATH_BF16X3);
}
Test(amx_bf16x3, agrees) {
    agree_in((agree_what){.backend = "cpu", .math = CVR_MATH_BF16X3, .relative = AGREE_BF16X3, .by_terms = true});
}
Test(amx_bf16x3, guards) {
    agree_in((agree_what){.backend = "guard_cpu", .math = CVR_MATH_BF16X3, .relative = AGREE_LOW});
}

/* Networks of 8-bit integers: the reference's, bit by bit. */
Test(amx_int8, is_used) {
    static pack_use u;
    case_machine m;
    cvr_error err;
    cvr_error_init(&err);
    memset(&u, 0, sizeof u);
    cr_assert_eq(machine_open(&m, "cpu", NULL, 1, &err), CVR_OK, "%s", err.message);
    pack_use_begin(&u, &m, INT8_SHIM);
    pack_use_count(&u, "quant");
    pack_use_expect(&u, INT8_SHIM, 0.3);
    machine_close(&m);
}
Test(amx_int8, agrees) {
    const agree_what what = {.backend = "cpu", .family = "quant", .relative = AGREE_F32, .n_isas = 1};
    cr_expect_eq(agree_all(&what), 0);
}
Test(amx_int8, guards) {
    const agree_what what = {.backend = "guard_cpu", .family = "quant", .relative = AGREE_F32, .n_isas = 1};
    cr_expect_eq(guarded_all(&what), 0);
}

/* Criterion finds main by its name as it starts a process for each test. */
__attribute__((visibility("default"))) int main(int argc, char **argv) {
    (void)setenv("CVR_PLUGIN_PATH", CVR_AMX_PLUGINS ":" CVR_TEST_PLUGINS, 1);
    const char *missing = "";
    if (!cvr_cpu_has(CVR_AMX_NEEDS, &missing)) {
        char feature[64];
        (void)snprintf(feature, sizeof feature, "%.*s", (int)strcspn(missing, " "), missing);
        leave_out("amx_test", feature);
        return SKIPPED;
    }
    struct criterion_test_set *tests = criterion_initialize();
    int result = 0;
    if (criterion_handle_args(argc, argv, true)) result = !criterion_run_all_tests(tests);
    criterion_finalize(tests);
    return result;
}
