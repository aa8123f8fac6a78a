/*
 * The one op that belongs to the core: `add`, because autodiff needs it where gradients meet. Its kernel here is the
 * reference; backends bring their own.
 */
#include "../plugin/registry.h"

/* c = a + b; a, b, c: one shape, f32 */
static int32_t add_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0], *y = a->inputs[1];
    if (x->dtype != CVR_F32 || y->dtype != CVR_F32 || x->rank != y->rank ||
        memcmp(x->shape, y->shape, sizeof x->shape) != 0) {
        return cvr_fail(err, CVR_ERR_INVALID, "add: the two inputs must be f32 and of one shape");
    }
    *a->outputs[0] = *x;
    return CVR_OK;
}

/* dL/da = dL/db = dL/dc */
static int32_t add_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    (void)b, (void)err;
    a->grad_inputs[0] = a->grad_inputs[1] = a->grad_outputs[0];
    return CVR_OK;
}

static double add_flops(const cvr_infer_args *a) {
    return (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static int32_t add_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const float *x = a->inputs[0]->data, *y = a->inputs[1]->data;
    float *z = a->outputs[0]->data;
    const int64_t n = cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
    for (int64_t i = 0; i < n; i++) z[i] = x[i] + y[i];
    return CVR_OK;
}

static const cvr_op_desc add_op = {.struct_size = sizeof add_op,
                                   .name = "add",
                                   .version = 1,
                                   .flags = CVR_OP_ORDER_FREE,
                                   .min_inputs = 2,
                                   .max_inputs = 2,
                                   .n_outputs = 1,
                                   .infer = add_infer,
                                   .grad = add_grad,
                                   .flops = add_flops,
                                   .doc = "c = a + b, elementwise, one shape"};

static const cvr_cpu_fn add_fn = {sizeof add_fn, add_run};
static const cvr_kernel_desc add_kernel = {.struct_size = sizeof add_kernel,
                                           .op = "add",
                                           .backend = "reference",
                                           .payload_kind = CVR_PAYLOAD_CPU_FN,
                                           .payload = &add_fn,
                                           .op_version = 1,
                                           .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE,
                                           .inplace = 3};

int32_t core_ops_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    const int32_t status = r->add(r, CVR_KIND_OP, &add_op, err);
    return status == CVR_OK ? r->add(r, CVR_KIND_KERNEL, &add_kernel, err) : status;
}
