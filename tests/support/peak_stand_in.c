/*
 * Kernels of peak_multiply_add that come before all others, so that a test decides what a machine's products measure:
 * CVR_TEST_PEAK=bf16-slow, bf16-fast or f32-slow. Any other type or value is left to the kernels of the machine.
 */
#include <cvr/plugin/plugin.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

static bool asked(const char *what) {
    const char *now = getenv("CVR_TEST_PEAK");
    return now && strcmp(now, what) == 0;
}

static int32_t stand_in_supports(const cvr_signature *sig, cvr_error *reason) {
    const bool bf16 = sig->inputs[0]->dtype == CVR_BF16;
    if (bf16 ? asked("bf16-slow") || asked("bf16-fast") : asked("f32-slow")) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "CVR_TEST_PEAK does not ask for it");
}

/* Fast: no product at all. Slow: ten milliseconds for whatever was asked. */
static int32_t stand_in_run(const cvr_kernel_args *a, cvr_error *err) {
    const struct timespec pause = {.tv_nsec = 10000000};
    (void)err;
    memset(a->outputs[0]->data, 0, sizeof(float));
    if (!asked("bf16-fast")) (void)nanosleep(&pause, NULL);
    return CVR_OK;
}

/* Its instruction set is named by no other pack alone, so that it can be told apart. */
static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    static const cvr_cpu_fn payload = {.struct_size = sizeof payload, .run = stand_in_run};
    static const cvr_kernel_desc kernel = {.struct_size = sizeof kernel,
                                           .op = "peak_multiply_add",
                                           .backend = "cpu",
                                           .payload_kind = CVR_PAYLOAD_CPU_FN,
                                           .payload = &payload,
                                           .isa = "avx2",
                                           .op_version = 1,
                                           .priority = 1000,
                                           .flags = CVR_KERNEL_BF16 | CVR_KERNEL_DETERMINISTIC,
                                           .supports = stand_in_supports};
    (void)host;
    return r->add(r, CVR_KIND_KERNEL, &kernel, err);
}

CVR_DEFINE_PLUGIN("peak_stand_in", "0.1.0", "", load)
