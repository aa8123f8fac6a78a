/*
 * Random cases of layers on `emu`: the device kernels, their threads as fibres, against the reference, without a node
 * on the host, in other orders of threads and sizes of subgroups for other families, in f32 and bf16. emu_test has the
 * families of emu_layer_shares.c, emu_detect_test those of emu_detect_shares.c; emu_race_test looks at all orders.
 */
#include "emu_share.h"
#include "support/agree.h"
#include <criterion/criterion.h>
#include <stdlib.h>

static void run_all(bool low) {
    size_t complaints = 0;
    for (size_t i = 0; i < n_emu_shares; i++) {
        for (const char *const *family = emu_shares[i].families; *family; family++) {
            const agree_what what = {.backend = "emu",
                                     .isas = {AGREE_ALL},
                                     .n_isas = 1,
                                     .family = *family,
                                     .folder = emu_shares[i].folder,
                                     .attrs = &emu_shares[i].keys,
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
