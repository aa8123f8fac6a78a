/*
 * Between f32 and bf16: the core's op "cast" (cvr/plugin/op.h). f32 is rounded to the nearest bf16, ties to even. Spans
 * of CPU_SPAN elements are tasks; every element is read and written once, so memory decides the speed.
 */
#include "cpu_loops.h"

static void widen_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const cvr_kernel_args *a = ctx;
    const int64_t first = (int64_t)task * CPU_SPAN, n = cpu_min(CPU_SPAN, cpu_numel(a->inputs[0]) - first);
    const uint16_t *restrict x = (const uint16_t *)a->inputs[0]->data + first;
    float *restrict y = (float *)a->outputs[0]->data + first;
    for (int64_t i = 0; i < n; i++) y[i] = cvr_f32_of_bf16(x[i]);
}

static void narrow_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const cvr_kernel_args *a = ctx;
    const int64_t first = (int64_t)task * CPU_SPAN, n = cpu_min(CPU_SPAN, cpu_numel(a->inputs[0]) - first);
    const float *restrict x = (const float *)a->inputs[0]->data + first;
    uint16_t *restrict y = (uint16_t *)a->outputs[0]->data + first;
    for (int64_t i = 0; i < n; i++) y[i] = cvr_bf16_of_f32(x[i]);
}

static int32_t cast_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    cvr_kernel_args copy = *a;
    cpu_run(a->pool, cpu_spans(cpu_numel(a->inputs[0])), a->outputs[0]->dtype == CVR_F32 ? widen_task : narrow_task,
            &copy);
    return CVR_OK;
}

/* The graph never casts a type to itself. */
static int32_t cast_supports(const cvr_signature *sig, cvr_error *reason) {
    if (sig->inputs[0]->dtype != sig->outputs[0]->dtype) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "casts to the same type");
}

static const cpu_kernel kernels[] = {
    {"cast", cast_run, NULL, cast_supports, 0, CPU_KERNEL_FLAGS | CVR_KERNEL_BF16, NULL},
};
const cpu_kernel_table cpu_cast_kernels = {kernels, sizeof kernels / sizeof *kernels};
