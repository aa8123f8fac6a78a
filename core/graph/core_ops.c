/*
 * The ops that belong to the core: `add`, because autodiff needs it where gradients meet, and `cast`, because programs
 * of low precision need it where precisions meet. Their kernels here are the reference; backends bring their own.
 */
#include "../plugin/registry.h"
#include "ir.h"

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

static void add_steps(const void *attrs, cvr_steps *s) {
    (void)attrs;
    (void)cvr_step2(s, CVR_STEP_ADD, 0, 1);
}

static const cvr_elementwise_trait add_program = {sizeof add_program, add_steps, NULL};
static void tie_add(const cvr_axes *a) {
    cvr_axes_tie_same(a);
    for (uint32_t i = 0; i < a->inputs[1]->rank; i++) cvr_axes_tie(a, 1, i, CVR_AXES_OUTPUT, i);
}
static const cvr_axes_trait add_axes = {sizeof add_axes, tie_add, NULL, CVR_AXES_SUM};
static const cvr_int8_trait add_int8 = {.struct_size = sizeof add_int8, .op = "add_int8", .activations = 3};
CVR_DEFINE_TRAITS(add_traits, {CVR_TRAIT_ELEMENTWISE, &add_program}, {CVR_TRAIT_RECOMPUTE, &cvr_recompute_itself},
                  {CVR_TRAIT_COUNTS, &cvr_counts_elementwise}, {CVR_TRAIT_INT8, &add_int8}, {CVR_TRAIT_AXES, &add_axes})

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
                                   .doc = "c = a + b, elementwise, one shape",
                                   .trait = add_traits};

static const cvr_cpu_fn add_fn = {sizeof add_fn, add_run};
static const cvr_kernel_desc add_kernel = {.struct_size = sizeof add_kernel,
                                           .op = "add",
                                           .backend = "reference",
                                           .payload_kind = CVR_PAYLOAD_CPU_FN,
                                           .payload = &add_fn,
                                           .op_version = 1,
                                           .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE,
                                           .inplace = 3};

/* ---- cast ---- */

static const cvr_attr_desc dtype_attr = CVR_ATTR_INIT(INT, "dtype", NULL, "CVR_F32, CVR_BF16 or CVR_F16");
static const cvr_attr_desc *const cast_attrs[] = {&dtype_attr};

/* y = x in another element type; `infer` cannot see x's own, so it cannot refuse what the kernel would */
static int32_t cast_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_cast_attrs *attrs = a->attrs;
    *a->outputs[0] = *a->inputs[0];
    a->outputs[0]->dtype = (uint32_t)attrs->dtype;
    const bool to = attrs->dtype == CVR_F32 || attrs->dtype == CVR_BF16 || attrs->dtype == CVR_F16;
    if (a->inputs[0]->dtype == CVR_F32 && to) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "cast: between f32, bf16 and f16 only");
}

static int32_t cast_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_cast_attrs attrs = {b->type(b, a->inputs[0])->dtype};
    return cvr_emit(b, "cast", &attrs, sizeof attrs, &a->grad_outputs[0], 1, &a->grad_inputs[0], err);
}

static float cast_load(const cvr_tensor *x, int64_t i) {
    const uint16_t *low = x->data;
    if (x->dtype == CVR_F32) return ((const float *)x->data)[i];
    return x->dtype == CVR_BF16 ? cvr_f32_of_bf16(low[i]) : cvr_f32_of_f16(low[i]);
}

static void cast_store(const cvr_tensor *y, int64_t i, float value) {
    uint16_t *low = y->data;
    if (y->dtype == CVR_F32)
        ((float *)y->data)[i] = value;
    else
        low[i] = y->dtype == CVR_BF16 ? cvr_bf16_of_f32(value) : cvr_f16_of_f32(value);
}

static int32_t cast_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    const int64_t n = cvr_numel(x->rank, x->shape);
    if (x->dtype == y->dtype) memcpy(y->data, x->data, (size_t)n * cvr_dtype_size(x->dtype));
    for (int64_t i = 0; i < n && x->dtype != y->dtype; i++) cast_store(y, i, cast_load(x, i));
    return CVR_OK;
}

CVR_DEFINE_TRAITS(cast_traits, {CVR_TRAIT_PRECISION, &cvr_precision_none}, {CVR_TRAIT_COUNTS, &cvr_counts_elementwise},
                  {CVR_TRAIT_AXES, &cvr_axes_same})

static const cvr_op_desc cast_op = {.struct_size = sizeof cast_op,
                                    .name = "cast",
                                    .version = 1,
                                    .flags = CVR_OP_ORDER_AWARE,
                                    .trait = cast_traits,
                                    .min_inputs = 1,
                                    .max_inputs = 1,
                                    .n_outputs = 1,
                                    .n_attrs = 1,
                                    .attrs = cast_attrs,
                                    .infer = cast_infer,
                                    .grad = cast_grad,
                                    .doc = "y = x as dtype; to bf16 and f16 to the nearest, ties to even"};

static const cvr_cpu_fn cast_fn = {sizeof cast_fn, cast_run};
static const cvr_kernel_desc cast_kernel = {.struct_size = sizeof cast_kernel,
                                            .op = "cast",
                                            .backend = "reference",
                                            .payload_kind = CVR_PAYLOAD_CPU_FN,
                                            .payload = &cast_fn,
                                            .op_version = 1,
                                            .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE |
                                                     CVR_KERNEL_BF16 | CVR_KERNEL_F16};

int32_t graph_cast(cvr_graph *g, cvr_value v, uint32_t dtype, cvr_value *out, cvr_error *err) {
    const cvr_cast_attrs attrs = {dtype};
    *out = v;
    if (g->values[v]->type.dtype == dtype) return CVR_OK;
    return cvr_emit(&g->builder, "cast", &attrs, sizeof attrs, &v, 1, out, err);
}

int32_t core_ops_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_OP, &add_op, err));
    CVR_TRY(r->add(r, CVR_KIND_KERNEL, &add_kernel, err));
    CVR_TRY(r->add(r, CVR_KIND_OP, &cast_op, err));
    return r->add(r, CVR_KIND_KERNEL, &cast_kernel, err);
}
