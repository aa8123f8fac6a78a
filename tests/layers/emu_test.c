/*
 * Random cases of every layer on `emu`: the device kernels, their threads as fibres, against the reference, in other
 * orders of threads and sizes of subgroups for other families, in f32 and bf16. emu_race_test looks at all orders.
 */
#include "support/agree.h"
#include <criterion/criterion.h>
#include <stdlib.h>

/* Families, and how emu runs them: as backends/emu packs its settings. */
typedef struct emu_keys {
    int64_t order, subgroup;
} emu_keys;

typedef struct emu_share {
    emu_keys keys;
    const char *folder;
    const char *families[8];
} emu_share;

static const emu_share shares[] = {
    {{0, 32}, NULL, {"activation", "norm", "shape", "window"}},
    {{1, 1}, NULL, {"arith", "pool", "dropout", "quant"}},
    {{1, 8}, NULL, {"loss"}},
    {{2, 8}, NULL, {"elementwise", "attention", "resize", "tokens", "stochastic", "chains", "peak"}},
    {{2, 64}, "layers/emu_cases", {"products"}},
};

static void run_all(bool low) {
    size_t complaints = 0;
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        for (const char *const *family = shares[i].families; *family; family++) {
            const agree_what what = {.backend = "emu",
                                     .isas = {AGREE_ALL},
                                     .n_isas = 1,
                                     .family = *family,
                                     .folder = shares[i].folder,
                                     .attrs = &shares[i].keys,
                                     .strict = true,
                                     .low = low,
                                     .relative = low ? AGREE_LOW : AGREE_F32};
            complaints += agree_all(&what);
        }
    }
    cr_assert_eq(complaints, 0, "%zu draws fail", complaints);
}

/* One draw of each line, unless more are asked for: fibres are slow. */
static void few_draws(void) {
    (void)setenv("CVR_TEST_DRAWS", "1", 0);
}

Test(emu, f32, .init = few_draws) {
    run_all(false);
}
Test(emu, bf16, .init = few_draws) {
    run_all(true);
}
