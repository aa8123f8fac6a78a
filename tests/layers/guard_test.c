/* Every kernel that the random cases reach, run between guard pages (support/guarded.h). */
#define _DEFAULT_SOURCE
#include "support/guarded.h"
#include <criterion/criterion.h>
#include <stdlib.h>

static void run_all(const char *backend, const char *isa) {
    const agree_what what = {.backend = backend, .isa = isa, .family = "", .relative = AGREE_F32};
    if (isa && !machine_has_pack(isa)) {
        cr_log_warn("%s: this machine cannot run it", isa);
        return;
    }
    (void)setenv("CVR_PLUGIN_PATH", CVR_TEST_PLUGINS, 1);
    const size_t complaints = guarded_all(&what);
    cr_assert_eq(complaints, 0, "%zu draws fail", complaints);
}

Test(guards, reference) {
    run_all("guard_reference", NULL);
}
Test(guards, cpu_base) {
    run_all("guard_cpu", "base");
}
Test(guards, cpu_avx2) {
    run_all("guard_cpu", "cpu_avx2");
}
Test(guards, cpu_avx512) {
    run_all("guard_cpu", "cpu_avx512");
}
