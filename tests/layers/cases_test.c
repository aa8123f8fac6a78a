/*
 * Random cases of every layer: the CPU's kernels against the reference (support/agree.h), for each instruction set, and
 * that each pack's own kernels computed them.
 *
 * What the reference computes is held against PyTorch's numbers by golden_test and against differences by
 * gradient_test. Here it is run in place and not.
 */
#include "support/agree.h"
#include "support/left_out.h"
#include "support/pack_use.h"
#include <criterion/criterion.h>

static void run_all(agree_what what, const char *const *isas, size_t n) {
    what.backend = "cpu";
    what.family = "";
    for (size_t i = 0; i < n; i++) {
        if (!isas[i] || !left_out(isas[i])) what.isas[what.n_isas++] = isas[i];
    }
    const size_t complaints = agree_all(&what);
    cr_assert_eq(complaints, 0, "%zu draws fail", complaints);
}

Test(cases, f32) {
    static const char *const isas[] = {"base", "cpu_avx2", "cpu_avx512"};
    run_all((agree_what){.relative = AGREE_F32}, isas, 3);
}

/* Networks of 8-bit integers: packs of their own, whose integers are the reference's. */
Test(cases, int8) {
    static const char *const isas[] = {"base", "cpu_int8_avx2", "cpu_int8_avxvnni", "cpu_int8_vnni"};
    agree_what what = {.backend = "cpu", .family = "quant", .relative = AGREE_F32};
    for (size_t i = 0; i < 4; i++)
        if (!i || !left_out(isas[i])) what.isas[what.n_isas++] = isas[i];
    const size_t complaints = agree_all(&what);
    cr_assert_eq(complaints, 0, "%zu draws fail", complaints);
}

/* Activations in bf16, without an instruction for their products, and with all that the machine has. */
Test(cases, bf16) {
    static const char *const isas[] = {"base", "cpu_avx2", AGREE_ALL};
    run_all((agree_what){.low = true, .relative = AGREE_LOW}, isas, 3);
}

/*
 * `limit`: the instruction set as machine_open has it. A pack may leave an op's rarer shapes to others (layer_norm over
 * axes that are not the last; in bf16 what has no product), but not most of them.
 */
static void is_used(const char *pack, const char *limit, bool low, double share) {
    static pack_use u;
    case_machine m;
    cvr_error err;
    if (left_out(pack)) return;
    cvr_error_init(&err);
    memset(&u, 0, sizeof u);
    u.low = low;
    cr_assert_eq(machine_open(&m, "cpu", limit, 1, &err), CVR_OK, "%s", err.message);
    pack_use_begin(&u, &m, pack);
    pack_use_count(&u, "");
    pack_use_expect(&u, pack, share);
    machine_close(&m);
}

Test(packs, cpu_base) {
    is_used("cpu_base", "base", false, 0.5);
}
Test(packs, cpu_avx2) {
    is_used("cpu_avx2", "cpu_avx2", false, 0.5);
}
Test(packs, cpu_int8) {
    is_used("cpu_int8_base", "base", false, 0.3);
    is_used("cpu_int8_avx2", "cpu_int8_avx2", false, 0.3);
    is_used("cpu_int8_vnni", "cpu_int8_vnni", false, 0.3);
}
Test(packs, cpu_avx512) {
    is_used("cpu_avx512", "cpu_avx512", false, 0.5);
}
Test(packs, cpu_avx512_bf16) {
    is_used("cpu_avx512_bf16", "cpu_avx512_bf16", true, 0.4);
}
/* Where there is none, amx_test runs its code with the instructions in plain C. */
Test(packs, cpu_amx_bf16) {
    is_used("cpu_amx_bf16", "cpu_amx_bf16", true, 0.3);
}
