/*
 * Random cases of every layer on `vulkan`, as emu_test has them on `emu`: the device kernels as the machine's driver
 * compiled them, under the validation layers and the checks of addresses and barriers, against the reference, in f32
 * and bf16. Drivers take long to compile: `--filter ops/NAME` runs one family.
 */
#include "support/agree.h"
#include "support/left_out.h"
#include "vulkan/vulkan_device.h"
#include <criterion/criterion.h>
#include <stdlib.h>

/* Whether there is a device with the validation layers; else why not. */
static bool has_device(const vulkan_keys *keys, char *why, size_t size) {
    const cvr_device_choice which = {.backend = "vulkan", .attrs = keys};
    cvr_error err = CVR_ERROR_INIT;
    cvr_plugins *plugins = NULL;
    cvr_threadpool *pool = NULL;
    cvr_device *d = NULL;
    cr_assert_eq(cvr_plugins_open(&plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_pool_create(&pool, 1, &err), CVR_OK, "%s", err.message);
    const bool has = cvr_device_open(&d, plugins, &which, pool, &err) == CVR_OK;
    (void)snprintf(why, size, "%s", err.message);
    cvr_device_close(&d);
    cvr_plugins_close(&plugins);
    cvr_pool_destroy(&pool);
    return has;
}

/* One draw of each line, unless more are asked for; no node runs on the host. */
static void run_family(const char *family, const char *folder) {
    const vulkan_keys keys = {
        .validation = VULKAN_VALIDATION_SYNC, .check = 1, .unified = 1, .submit_ms = 200, .timeout_s = 3600};
    char why[1100];
    size_t complaints = 0;
    (void)setenv("CVR_TEST_DRAWS", "1", 0);
    if (!has_device(&keys, why, sizeof why)) {
        leave_out("vulkan_ops_test", why);
        return;
    }
    for (int low = 0; low < 2; low++) {
        const agree_what what = {.backend = "vulkan",
                                 .isas = {AGREE_ALL},
                                 .n_isas = 1,
                                 .family = family,
                                 .folder = folder,
                                 .attrs = &keys,
                                 .strict = true,
                                 .low = low,
                                 .relative = low ? AGREE_LOW : AGREE_F32};
        complaints += agree_all(&what);
    }
    cr_assert_eq(complaints, 0, "%s: %zu draws fail", family, complaints);
}

#define FAMILY(name)                                                                                                   \
    Test(ops, name) {                                                                                                  \
        run_family(#name, NULL);                                                                                       \
    }

FAMILY(activation)
FAMILY(arith)
FAMILY(attention)
FAMILY(chains)
FAMILY(detect_loss)
FAMILY(detections)
FAMILY(dropout)
FAMILY(elementwise)
FAMILY(loss)
FAMILY(norm)
FAMILY(peak)
FAMILY(pool)
FAMILY(quant)
FAMILY(resize)
FAMILY(roi)
FAMILY(shape)
FAMILY(stochastic)
FAMILY(tokens)
FAMILY(window)
FAMILY(yolo)

/* Families whose files have other names than a test can have. */
Test(ops, detect) {
    run_family("detect.", NULL);
}
Test(ops, products) {
    run_family("products", "layers/emu_cases");
}
Test(ops, no_objects) {
    run_family("empty", "layers/emu_cases");
}
