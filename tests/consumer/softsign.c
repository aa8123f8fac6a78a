/*
 * acme.softsign: one op with a kernel for the CPU and two for devices, in one plugin: y = x / (1 + |x|). One of these
 * is written in cvrun's dialect (softsign.k) and here compiled for `emu`, the other is text in StableHLO for `pjrt`.
 */
#include "softsign_params.h"
#include <cvr/plugin/device.h>
#include <cvr/plugin/plugin.h>
#include <cvr/plugin/stablehlo.h>
#include <math.h>

/* (x) -> y, and (dy, x) -> dx: all of one shape */
static int32_t softsign_infer(const cvr_infer_args *a, cvr_error *err) {
    for (uint32_t i = 0; i < a->n_inputs; i++)
        if (a->inputs[i]->dtype != CVR_F32 || a->inputs[i]->rank != a->inputs[0]->rank ||
            memcmp(a->inputs[i]->shape, a->inputs[0]->shape, sizeof a->inputs[i]->shape) != 0)
            return cvr_fail(err, CVR_ERR_INVALID, "acme.softsign: inputs must be f32, and of one shape");
    *a->outputs[0] = *a->inputs[0];
    return CVR_OK;
}

static int32_t softsign_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value in[2] = {a->grad_outputs[0], a->inputs[0]};
    return cvr_emit(b, "acme.softsign_backward", NULL, 0, in, 2, &a->grad_inputs[0], err);
}

/* ---- the CPU, and the reference: work is cut by shape ---- */

#define ELEMENTS_A_TASK 16384

static void task(void *ctx, uint64_t number, uint32_t worker) {
    const cvr_kernel_args *a = ctx;
    const cvr_tensor *t = a->inputs[a->n_inputs - 1];
    const int64_t n = cvr_numel(t->rank, t->shape), first = (int64_t)number * ELEMENTS_A_TASK;
    const int64_t last = first + ELEMENTS_A_TASK < n ? first + ELEMENTS_A_TASK : n;
    const float *x = t->data, *dy = a->inputs[0]->data;
    float *y = a->outputs[0]->data;
    (void)worker;
    for (int64_t i = first; i < last; i++) {
        const float size = 1.0f + fabsf(x[i]);
        y[i] = a->n_inputs > 1 ? dy[i] / (size * size) : x[i] / size;
    }
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t n = cvr_numel(a->outputs[0]->rank, a->outputs[0]->shape);
    (void)err;
    a->pool->run(a->pool, (uint64_t)(n + ELEMENTS_A_TASK - 1) / ELEMENTS_A_TASK, task, (void *)(uintptr_t)a);
    return CVR_OK;
}

/* ---- devices ---- */

#define GROUP_THREADS 256u

extern const cvr_code device_code_softsign;

static int32_t record(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *x = a->inputs[a->n_inputs - 1], *y = a->outputs[0];
    const uint32_t constants[] = {x->dtype};
    const softsign_params p = {.x = (uint64_t)(uintptr_t)x->data,
                               .dy = a->n_inputs > 1 ? (uint64_t)(uintptr_t)a->inputs[0]->data : 0,
                               .y = (uint64_t)(uintptr_t)y->data,
                               .n = (uint32_t)cvr_numel(y->rank, y->shape)};
    const cvr_dispatch d = {.struct_size = sizeof d,
                            .code = &device_code_softsign,
                            .entry = "softsign",
                            .params = &p,
                            .params_size = sizeof p,
                            .constants = constants,
                            .n_constants = 1,
                            .groups = {(p.n + 4 * GROUP_THREADS - 1) / (4 * GROUP_THREADS), 1, 1},
                            .threads = {GROUP_THREADS, 1, 1}};
    return r->dispatch(r, &d, err);
}

static int32_t counts_32_bits(const cvr_signature *sig, cvr_error *reason) {
    const cvr_tensor *y = sig->outputs[0];
    if (cvr_numel(y->rank, y->shape) <= INT32_MAX) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "more than 2^31 elements");
}

/* ---- devices that compile whole programs: the same as text ---- */

/* "tensor<2x5x5x3xf32>": axes in the order of memory, which for rank 4 is (N,H,W,C). */
static void type_of(const cvr_tensor *t, char text[128]) {
    static const uint32_t pixels[4] = {0, 2, 3, 1};
    size_t n = (size_t)snprintf(text, 128, "tensor<");
    for (uint32_t i = 0; i < t->rank; i++)
        n += (size_t)snprintf(text + n, 128 - n, "%lldx", (long long)t->shape[t->rank == 4 ? pixels[i] : i]);
    (void)snprintf(text + n, 128 - n, "f32>");
}

static int32_t emit(const cvr_kernel_args *a, const cvr_text_sink *sink, cvr_error *err) {
    char type[128], text[1024];
    const int backward = a->n_inputs > 1;
    type_of(a->outputs[0], type);
    const int n = snprintf(text, sizeof text,
                           "    %%one = stablehlo.constant dense<1.0> : %s\n"
                           "    %%abs = stablehlo.abs %%i%d : %s\n"
                           "    %%size = stablehlo.add %%one, %%abs : %s\n"
                           "    %%by = stablehlo.multiply %%size, %s : %s\n"
                           "    %%y = stablehlo.divide %%i0, %%by : %s\n"
                           "    return %%y : %s\n",
                           type, backward, type, type, backward ? "%size" : "%one", type, type, type);
    return sink->write(sink, text, (uint64_t)n, err);
}

/* ---- descriptors ---- */

static const cvr_op_desc forward = {.struct_size = sizeof forward,
                                    .name = "acme.softsign",
                                    .version = 1,
                                    .flags = CVR_OP_ORDER_FREE,
                                    .min_inputs = 1,
                                    .max_inputs = 1,
                                    .n_outputs = 1,
                                    .infer = softsign_infer,
                                    .grad = softsign_grad,
                                    .doc = "x / (1 + |x|)"};
static const cvr_op_desc backward = {.struct_size = sizeof backward,
                                     .name = "acme.softsign_backward",
                                     .version = 1,
                                     .flags = CVR_OP_ORDER_FREE,
                                     .min_inputs = 2,
                                     .max_inputs = 2,
                                     .n_outputs = 1,
                                     .infer = softsign_infer,
                                     .doc = "dy / (1 + |x|)^2"};

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                     cvr_error *err) {
    return cvr_emit(b, "acme.softsign", attrs, 0, in, n_in, out, err);
}

static const cvr_layer_desc layer = {.struct_size = sizeof layer,
                                     .name = "acme.softsign",
                                     .doc = "softsign",
                                     .min_inputs = 1,
                                     .max_inputs = 1,
                                     .n_outputs = 1,
                                     .build = build};

static const cvr_cpu_fn cpu_fn = {sizeof cpu_fn, run};
static const cvr_device_fn device_fn = {sizeof device_fn, record};
static const cvr_stablehlo_emit stablehlo = {sizeof stablehlo, emit};

static int32_t add_kernels(const cvr_registrar *r, const char *op, cvr_error *err) {
    const uint32_t flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE;
    cvr_kernel_desc k = {.struct_size = sizeof k,
                         .op = op,
                         .backend = "reference",
                         .payload_kind = CVR_PAYLOAD_CPU_FN,
                         .payload = &cpu_fn,
                         .op_version = 1,
                         .flags = flags};
    CVR_TRY(r->add(r, CVR_KIND_KERNEL, &k, err));
    k.backend = "cpu";
    CVR_TRY(r->add(r, CVR_KIND_KERNEL, &k, err));
    k.backend = "emu";
    k.payload_kind = CVR_PAYLOAD_EMU_FN;
    k.payload = &device_fn;
    k.flags = flags | CVR_KERNEL_BF16 | CVR_KERNEL_F16;
    k.supports = counts_32_bits;
    CVR_TRY(r->add(r, CVR_KIND_KERNEL, &k, err));
    k.backend = "pjrt";
    k.payload_kind = CVR_PAYLOAD_STABLEHLO_EMIT;
    k.payload = &stablehlo;
    k.flags = flags;
    k.supports = NULL;
    return r->add(r, CVR_KIND_KERNEL, &k, err);
}

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_OP, &forward, err));
    CVR_TRY(r->add(r, CVR_KIND_OP, &backward, err));
    CVR_TRY(add_kernels(r, "acme.softsign", err));
    CVR_TRY(add_kernels(r, "acme.softsign_backward", err));
    return r->add(r, CVR_KIND_LAYER, &layer, err);
}

CVR_DEFINE_PLUGIN("com.acme.softsign", "1.0.0", "", load)
