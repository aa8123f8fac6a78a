/*
 * acme.swish on GPUs: SPIR-V that its author compiled, and the host function that records it. A plugin of its own
 * beside the one with the op, so that a machine without Vulkan's compiler builds that all the same.
 */
#include <cvr/plugin/device.h>
#include <cvr/plugin/plugin.h>

#include "swish.spv.h" /* glslang's, which needs uint32_t */

#define GROUP_THREADS 64u
#define MOST_GROUPS 1024u

typedef struct swish_params {
    uint64_t x, dy, y;
    uint32_t n;
    float beta;
} swish_params;

static const cvr_code code = {sizeof code, swish_spirv, sizeof swish_spirv};

/* (x), or (dy, x) */
static int32_t record(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *x = a->inputs[a->n_inputs - 1];
    const uint32_t backward = a->n_inputs > 1;
    const swish_params params = {.x = (uint64_t)(uintptr_t)x->data,
                                 .dy = backward ? (uint64_t)(uintptr_t)a->inputs[0]->data : 0,
                                 .y = (uint64_t)(uintptr_t)a->outputs[0]->data,
                                 .n = (uint32_t)cvr_numel(x->rank, x->shape),
                                 .beta = (float)*(const double *)a->attrs};
    const uint32_t groups = (params.n + GROUP_THREADS - 1) / GROUP_THREADS;
    const cvr_dispatch d = {.struct_size = sizeof d,
                            .code = &code,
                            .entry = "main",
                            .params = &params,
                            .params_size = sizeof params,
                            .constants = &backward,
                            .n_constants = 1,
                            .groups = {groups < MOST_GROUPS ? groups : MOST_GROUPS, 1, 1},
                            .threads = {GROUP_THREADS, 1, 1}};
    return r->dispatch(r, &d, err);
}

static int32_t supports(const cvr_signature *sig, cvr_error *reason) {
    const cvr_tensor *y = sig->outputs[0];
    if (cvr_numel(y->rank, y->shape) <= INT32_MAX) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "more than 2^31 elements");
}

static const cvr_device_fn fn = {sizeof fn, record};

static int32_t swish_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    static const char *const ops[] = {"acme.swish", "acme.swish_backward"};
    (void)host;
    for (int i = 0; i < 2; i++) {
        const cvr_kernel_desc k = {.struct_size = sizeof k,
                                   .op = ops[i],
                                   .backend = "vulkan",
                                   .payload_kind = CVR_PAYLOAD_VULKAN_SPIRV,
                                   .payload = &fn,
                                   .op_version = 1,
                                   .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE,
                                   .supports = supports};
        CVR_TRY(r->add(r, CVR_KIND_KERNEL, &k, err));
    }
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("com.acme.swish_vulkan", "1.0.0", "op:acme.swish op:acme.swish_backward", swish_load)
