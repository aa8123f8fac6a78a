/*
 * Random cases of object detection on `emu`, as emu_test has those of the other layers: the device kernels against the
 * reference, without a node on the host, in other orders of threads and sizes of subgroups for other families.
 */
#include "support/agree.h"
#include <criterion/criterion.h>
#include <stdlib.h>

/* How emu runs a family: as backends/emu packs its settings. */
typedef struct emu_keys {
    int64_t order, subgroup;
} emu_keys;

typedef struct emu_share {
    emu_keys keys;
    const char *folder, *family;
} emu_share;

static const emu_share shares[] = {
    {{0, 32}, NULL, "detect."}, {{1, 8}, NULL, "detect_loss"}, {{2, 1}, NULL, "detections"},
    {{1, 64}, NULL, "roi"},     {{2, 8}, NULL, "yolo"},        {{0, 32}, "layers/emu_cases", "empty"},
};

static void run_all(bool low) {
    size_t complaints = 0;
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        const agree_what what = {.backend = "emu",
                                 .isas = {AGREE_ALL},
                                 .n_isas = 1,
                                 .family = shares[i].family,
                                 .folder = shares[i].folder,
                                 .attrs = &shares[i].keys,
                                 .strict = true,
                                 .low = low,
                                 .relative = low ? AGREE_LOW : AGREE_F32};
        complaints += agree_all(&what);
    }
    cr_assert_eq(complaints, 0, "%zu draws fail", complaints);
}

/* One draw of each line, unless more are asked for: fibres are slow. */
static void few_draws(void) {
    (void)setenv("CVR_TEST_DRAWS", "1", 0);
}

Test(emu_detect, f32, .init = few_draws) {
    run_all(false);
}
Test(emu_detect, bf16, .init = few_draws) {
    run_all(true);
}
