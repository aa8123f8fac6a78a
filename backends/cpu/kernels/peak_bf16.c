/* Products of bf16 at most (cvr/plugin/ops/peak.h): what the packs' own cpu_peak_block() is called for. */
#include "cpu_loops.h"
#include "cpu_peak.h"

static void block_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const cvr_kernel_args *a = ctx;
    const int64_t links = ((const cvr_peak_multiply_add_attrs *)a->attrs)->links;
    float *y = (float *)a->outputs[0]->data + task * CVR_PEAK_ROWS * CVR_PEAK_ROWS;
    int32_t x[CVR_PEAK_ROWS * PEAK_PAIRS], columns[PEAK_PAIRS * CVR_PEAK_ROWS];
    memcpy(x, (const char *)a->inputs[0]->data + task * sizeof x, sizeof x);
    for (int k = 0; k < PEAK_PAIRS; k++)
        for (int i = 0; i < CVR_PEAK_ROWS; i++) columns[k * CVR_PEAK_ROWS + i] = x[i * PEAK_PAIRS + k];
    cpu_peak_block(y, x, columns, links);
}

static int32_t multiply_add_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    cvr_kernel_args copy = *a;
    cpu_run(a->pool, a->inputs[0]->shape[0], block_task, &copy);
    return CVR_OK;
}

static int32_t multiply_add_supports(const cvr_signature *sig, cvr_error *reason) {
    if (sig->inputs[0]->dtype == CVR_BF16) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "multiplies bf16 alone");
}

static const cpu_kernel kernels[] = {
    {"peak_multiply_add", multiply_add_run, NULL, multiply_add_supports, 0, CPU_KERNEL_FLAGS | CVR_KERNEL_BF16, NULL},
};
const cpu_kernel_table cpu_peak_bf16_kernels = {kernels, sizeof kernels / sizeof *kernels};
