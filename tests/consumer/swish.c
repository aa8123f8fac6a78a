/*
 * acme.swish: an op of one's own, with its gradient, a reference kernel, kernels for the cpu backend and for a device,
 * and the layer that uses it. y = x * sigmoid(beta x)   (Ramachandran, Zoph, Le: "Searching for Activation Functions",
 * 2017)
 */
#include <cvr/plugin/far.h>
#include <cvr/plugin/formats/onnx.h>
#include <cvr/plugin/plugin.h>
#include <math.h>

typedef struct swish_attrs {
    double beta;
} swish_attrs;

/* ---- what the ops mean ---- */

/* x -> y, and (dy, x) -> dx: all of one shape, f32 */
static int32_t swish_infer(const cvr_infer_args *a, cvr_error *err) {
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        if (a->inputs[i]->dtype != CVR_F32) return cvr_fail(err, CVR_ERR_INVALID, "acme.swish: the input must be f32");
    }
    *a->outputs[0] = *a->inputs[0];
    return CVR_OK;
}

static int32_t swish_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value in[2] = {a->grad_outputs[0], a->inputs[0]};
    return cvr_emit(b, "acme.swish_backward", a->attrs, sizeof(swish_attrs), in, 2, &a->grad_inputs[0], err);
}

static inline float swish(float x, float beta) {
    return x / (1.0f + expf(-beta * x));
}

/* dL/dx = dL/dy * (s + beta x s (1 - s)), s = sigmoid(beta x) */
static inline float swish_slope(float x, float beta) {
    const float s = 1.0f / (1.0f + expf(-beta * x));
    return s + beta * x * s * (1.0f - s);
}

/* ---- reference: plain loops ---- */

static int32_t reference_forward(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const float beta = (float)((const swish_attrs *)a->attrs)->beta, *x = a->inputs[0]->data;
    float *y = a->outputs[0]->data;
    const int64_t n = cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
    for (int64_t i = 0; i < n; i++) y[i] = swish(x[i], beta);
    return CVR_OK;
}

static int32_t reference_backward(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const float beta = (float)((const swish_attrs *)a->attrs)->beta, *dy = a->inputs[0]->data, *x = a->inputs[1]->data;
    float *dx = a->outputs[0]->data;
    const int64_t n = cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
    for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * swish_slope(x[i], beta);
    return CVR_OK;
}

/* ---- cpu: the same in the host's thread pool, work cut by shape ---- */

#define ELEMENTS_A_TASK 16384

static void forward_task(void *ctx, uint64_t task, uint32_t worker) {
    const cvr_kernel_args *a = ctx;
    (void)worker;
    const int64_t n = cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape), first = (int64_t)task * ELEMENTS_A_TASK;
    const int64_t last = first + ELEMENTS_A_TASK < n ? first + ELEMENTS_A_TASK : n;
    const float beta = (float)((const swish_attrs *)a->attrs)->beta, *x = a->inputs[0]->data;
    float *y = a->outputs[0]->data;
    for (int64_t i = first; i < last; i++) y[i] = swish(x[i], beta);
}

static int32_t cpu_forward(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const int64_t n = cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
    a->pool->run(a->pool, (uint64_t)(n + ELEMENTS_A_TASK - 1) / ELEMENTS_A_TASK, forward_task, (void *)(uintptr_t)a);
    return CVR_OK;
}

/* ---- a device: code that is given addresses, and what records its dispatches ---- */

#define GROUP_THREADS 64

typedef struct swish_params {
    uint64_t x, dy, y; /* dy 0: forward */
    uint32_t n;
    float beta;
} swish_params;

/* One group: each of its threads makes one element. */
static int32_t swish_group(const cvr_far_group *g, cvr_error *err) {
    const swish_params *p = g->params;
    const float *x = g->host(p->x), *dy = p->dy ? g->host(p->dy) : NULL;
    float *y = g->host(p->y);
    (void)err;
    for (uint32_t i = g->index[0] * g->threads[0]; i < (g->index[0] + 1) * g->threads[0] && i < p->n; i++)
        y[i] = dy ? dy[i] * swish_slope(x[i], p->beta) : swish(x[i], p->beta);
    return CVR_OK;
}

static const cvr_far_entry swish_entry = {sizeof swish_entry, "swish", swish_group};
static const cvr_far_entry *const swish_entries[] = {&swish_entry};
static const cvr_code swish_code = {sizeof swish_code, swish_entries, sizeof swish_entries};

static int32_t record(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *x = a->inputs[a->n_inputs - 1]; /* (x), or (dy, x) */
    const swish_params params = {.x = (uint64_t)(uintptr_t)x->data,
                                 .dy = a->n_inputs > 1 ? (uint64_t)(uintptr_t)a->inputs[0]->data : 0,
                                 .y = (uint64_t)(uintptr_t)a->outputs[0]->data,
                                 .n = (uint32_t)cvr_numel(x->rank, x->shape),
                                 .beta = (float)((const swish_attrs *)a->attrs)->beta};
    const cvr_dispatch d = {.struct_size = sizeof d,
                            .code = &swish_code,
                            .entry = "swish",
                            .params = &params,
                            .params_size = sizeof params,
                            .groups = {(params.n + GROUP_THREADS - 1) / GROUP_THREADS, 1, 1},
                            .threads = {GROUP_THREADS, 1, 1}};
    return r->dispatch(r, &d, err);
}

/* By the device's description alone. */
static int32_t device_supports(const cvr_signature *sig, cvr_error *reason) {
    if (sig->device->group_threads >= GROUP_THREADS) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "groups of %u threads", sig->device->group_threads);
}

/* ---- in ONNX: Mul, Sigmoid, Mul ---- */

static int32_t write_onnx(const cvr_onnx *o, cvr_error *err) {
    cvr_onnx_value scaled = 0, gate = 0, out = o->outputs[0];
    CVR_TRY(cvr_onnx_with(o, "Mul", o->inputs[0], ((const swish_attrs *)o->attrs)->beta, &scaled, err));
    CVR_TRY(cvr_onnx_emit1(o, "Sigmoid", scaled, &gate, err));
    return cvr_onnx_emit2(o, "Mul", o->inputs[0], gate, &out, err);
}

static const cvr_onnx_trait onnx = {sizeof onnx, write_onnx};
CVR_DEFINE_TRAITS(swish_traits, {CVR_TRAIT_ONNX, &onnx}, {CVR_TRAIT_AXES, &cvr_axes_same})

/* ---- the layer ---- */

static int32_t swish_build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                           cvr_error *err) {
    return cvr_emit(b, "acme.swish", attrs, sizeof(swish_attrs), in, n_in, out, err);
}

/* ---- descriptors ---- */

static const cvr_attr_desc beta = CVR_ATTR_INIT(FLOAT, "beta", "1", "steepness", .flags = CVR_ATTR_POSITIONAL);
static const cvr_attr_desc *const attrs[] = {&beta};

static const cvr_op_desc op = {.struct_size = sizeof op,
                               .name = "acme.swish",
                               .version = 1,
                               .flags = CVR_OP_ORDER_FREE,
                               .min_inputs = 1,
                               .max_inputs = 1,
                               .n_outputs = 1,
                               .n_attrs = 1,
                               .attrs = attrs,
                               .infer = swish_infer,
                               .grad = swish_grad,
                               .doc = "x sigmoid(beta x)",
                               .trait = swish_traits};
static const cvr_op_desc backward_op = {.struct_size = sizeof backward_op,
                                        .name = "acme.swish_backward",
                                        .version = 1,
                                        .flags = CVR_OP_ORDER_FREE,
                                        .min_inputs = 2,
                                        .max_inputs = 2,
                                        .n_outputs = 1,
                                        .n_attrs = 1,
                                        .attrs = attrs,
                                        .infer = swish_infer,
                                        .doc = "dy (s + beta x s (1 - s))"};
static const cvr_layer_desc layer = {.struct_size = sizeof layer,
                                     .name = "acme.swish",
                                     .doc = "swish",
                                     .n_attrs = 1,
                                     .min_inputs = 1,
                                     .max_inputs = 1,
                                     .n_outputs = 1,
                                     .attrs = attrs,
                                     .build = swish_build};

static const cvr_cpu_fn reference_forward_fn = {sizeof reference_forward_fn, reference_forward};
static const cvr_cpu_fn reference_backward_fn = {sizeof reference_backward_fn, reference_backward};
static const cvr_cpu_fn cpu_forward_fn = {sizeof cpu_forward_fn, cpu_forward};
#define KERNEL(op_, backend_, fn_)                                                                                     \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_kernel_desc), .op = op_, .backend = backend_, .payload_kind = CVR_PAYLOAD_CPU_FN,    \
        .payload = &fn_, .op_version = 1, .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE, .inplace = 1      \
    }
static const cvr_device_fn device_fn = {sizeof device_fn, record};
#define DEVICE_KERNEL(op_)                                                                                             \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_kernel_desc), .op = op_, .backend = "far", .payload_kind = CVR_PAYLOAD_FAR_FN,       \
        .payload = &device_fn, .isa = "far", .op_version = 1,                                                          \
        .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE, .inplace = 1, .supports = device_supports           \
    }
typedef struct acme_module {
    uint64_t struct_size;
    char bytes[56];
} acme_module;
static const acme_module module = {sizeof module, "what a driver would load"};
static const cvr_kernel_desc kernels[] = {
    KERNEL("acme.swish", "reference", reference_forward_fn),
    KERNEL("acme.swish_backward", "reference",
           reference_backward_fn), /* the cpu backend has none: the host runs this one */
    KERNEL("acme.swish", "cpu", cpu_forward_fn),
    DEVICE_KERNEL("acme.swish"),
    DEVICE_KERNEL("acme.swish_backward"),
    /* For a device that nobody here knows, with a payload that is the device's own business: it lies dormant. */
    {.struct_size = sizeof(cvr_kernel_desc),
     .op = "acme.swish",
     .backend = "acme.gpu",
     .payload_kind = "acme.module/1",
     .payload = &module,
     .op_version = 1,
     .priority = 1000},
    {.struct_size = sizeof(cvr_kernel_desc),
     .op = "acme.swish",
     .backend = "cpu",
     .payload_kind = "acme.module/1",
     .payload = &module,
     .op_version = 1,
     .priority = 1000},
};

/* The recipe's settings are there for whoever wants them; a plugin loaded by `cvrun plugins` has no recipe. */
static void greet(const cvr_host *host) {
    const cvr_config_service *config = host->get(host, CVR_SERVICE_CONFIG);
    const char *origin = "", *epochs = config ? config->get(config, "train", "epochs", &origin) : NULL;
    char text[160];
    (void)snprintf(text, sizeof text, "acme.swish is here for %s epochs (%s)", epochs ? epochs : "no", origin);
    host->log(host, CVR_LOG_INFO, text);
}

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    greet(host);
    CVR_TRY(r->add(r, CVR_KIND_OP, &op, err));
    CVR_TRY(r->add(r, CVR_KIND_OP, &backward_op, err));
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) CVR_TRY(r->add(r, CVR_KIND_KERNEL, &kernels[i], err));
    return r->add(r, CVR_KIND_LAYER, &layer, err);
}

CVR_DEFINE_PLUGIN("com.acme.swish", "1.0.0", "", load)
