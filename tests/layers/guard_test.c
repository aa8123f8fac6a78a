/* Every kernel that the random cases reach, run between guard pages (support/guarded.h). */
#define _DEFAULT_SOURCE
#include "support/guarded.h"
#include "support/left_out.h"
#include <criterion/criterion.h>
#include <stdlib.h>

static void run_all(agree_what what) {
    what.family = "";
    what.relative = AGREE_F32;
    (void)setenv("CVR_PLUGIN_PATH", CVR_TEST_PLUGINS, 1);
    const size_t complaints = guarded_all(&what);
    cr_assert_eq(complaints, 0, "%zu draws fail", complaints);
}

Test(guards, reference) {
    run_all((agree_what){.backend = "guard_reference", .isas = {AGREE_ALL}, .n_isas = 1});
}

Test(guards, cpu) {
    static const char *const packs[] = {"base", "cpu_avx2", "cpu_avx512"};
    agree_what what = {.backend = "guard_cpu"};
    for (size_t i = 0; i < sizeof packs / sizeof *packs; i++) {
        if (!left_out(packs[i])) what.isas[what.n_isas++] = packs[i];
    }
    run_all(what);
}
