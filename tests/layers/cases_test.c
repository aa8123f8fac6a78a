/* Random cases of every layer: the CPU's kernels against the reference (support/agree.h), for each instruction set. */
#include "support/agree.h"
#include <criterion/criterion.h>

static void run_all(const char *backend, const char *isa, bool low) {
    const agree_what what = {
        .backend = backend, .isa = isa, .family = "", .low = low, .relative = low ? AGREE_LOW : AGREE_F32};
    if (isa && !machine_has_pack(isa)) {
        cr_log_warn("%s: this machine cannot run it", isa);
        return;
    }
    const size_t complaints = agree_all(&what);
    cr_assert_eq(complaints, 0, "%zu draws fail", complaints);
}

Test(cases, reference) {
    run_all("reference", NULL, false);
}
Test(cases, cpu_base) {
    run_all("cpu", "base", false);
}
Test(cases, cpu_avx2) {
    run_all("cpu", "cpu_avx2", false);
}
Test(cases, cpu_avx512) {
    run_all("cpu", "cpu_avx512", false);
}
/* Pictures in bf16, without an instruction for their products, and with all that the machine has. */
Test(cases, cpu_base_bf16) {
    run_all("cpu", "base", true);
}
Test(cases, cpu_avx2_bf16) {
    run_all("cpu", "cpu_avx2", true);
}
Test(cases, cpu_bf16) {
    run_all("cpu", NULL, true);
}
