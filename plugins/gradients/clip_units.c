/*
 * Adaptive gradient clipping (Brock et al., "High-Performance Large-Scale Image Recognition Without Normalization",
 * 2021): the gradient of each output unit is scaled down to a share of the norm of that unit's weights. The head, whose
 * weights begin at almost nothing, is left out. The key train.clip_grad_agc.
 */
#include <cvr/plugin/ops/optim.h>
#include <cvr/plugin/ops/reference.h>

#include <math.h>

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *grad = a->inputs[0], *param = a->inputs[1];
    *a->outputs[0] = *grad;
    return grad->dtype == CVR_F32 && param->dtype == CVR_F32 && grad->rank == param->rank &&
                   memcmp(grad->shape, param->shape, sizeof grad->shape) == 0 &&
                   memcmp(grad->order, param->order, sizeof grad->order) == 0
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_INVALID, "gradient_clip_units: two f32 tensors of one shape");
}

static double norm_of(const float *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sqrt(sum);
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_gradient_clip_units_attrs *s = a->attrs;
    const cvr_tensor *x = a->inputs[0];
    const int64_t units = x->rank < 2 ? 1 : x->shape[0], n = cvr_numel(x->rank, x->shape) / units;
    (void)err;
    for (int64_t u = 0; u < units; u++) {
        const float *grad = (const float *)x->data + u * n, *param = (const float *)a->inputs[1]->data + u * n;
        float *out = (float *)a->outputs[0]->data + u * n;
        const double size = norm_of(param, n), most = s->clip_factor * (size < 1e-3 ? 1e-3 : size);
        const double norm = norm_of(grad, n), by = norm < most ? 1 : most / (norm < 1e-6 ? 1e-6 : norm);
        for (int64_t i = 0; i < n; i++) out[i] = (float)(by * grad[i]);
    }
    return CVR_OK;
}

static double flops(const cvr_infer_args *a) {
    return 5.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static const cvr_attr_desc *const op_attrs[] = {
    CVR_ATTR(FLOAT, "clip_factor", NULL, "most that a gradient's norm may be, as a share of the weights'")};

/* A unit is an index of axis 0, which is outermost in memory whatever the order of the rest. */
static const cvr_reference_op clip_op = {
    .op = {.struct_size = sizeof(cvr_op_desc),
           .name = "gradient_clip_units",
           .version = 1,
           .flags = CVR_OP_ORDER_AWARE,
           .min_inputs = 2,
           .max_inputs = 2,
           .n_outputs = 1,
           .n_attrs = 1,
           .attrs = op_attrs,
           .infer = infer,
           .flops = flops,
           .doc = "grad * min(1, clip_factor * |param| / |grad|) for each output unit"},
    .reference = {sizeof(cvr_cpu_fn), run},
    .inplace = 1};

/* As `keys` packs it. */
typedef struct agc_settings {
    double clip_grad_agc;
} agc_settings;

static const cvr_attr_desc *const keys[] = {
    CVR_ATTR(FLOAT, "clip_grad_agc", "0",
             "adaptive clipping: most of a unit's gradient, as a share of its weights' norm (0.01, say); 0: any",
             CVR_ATTR_AT_LEAST(0))};

static int32_t clip(const cvr_gradients *g, cvr_error *err) {
    const agc_settings *s = g->attrs;
    const cvr_gradient_clip_units_attrs attrs = {s->clip_grad_agc};
    for (uint64_t i = 0; i < g->n && s->clip_grad_agc > 0; i++) {
        const cvr_value pair[2] = {g->all[i]->grad, g->all[i]->param};
        cvr_value clipped;
        if (strcmp(g->all[i]->stage, "head") == 0) continue;
        CVR_TRY(cvr_emit(g->builder, "gradient_clip_units", &attrs, sizeof attrs, pair, 2, &clipped, err));
        CVR_TRY(g->replace(g, i, clipped, err));
    }
    return CVR_OK;
}

static const cvr_gradient_desc clip_units = {.struct_size = sizeof clip_units,
                                             .name = "clip_units",
                                             .doc = "scales each unit's gradient down to a share of its weights' norm",
                                             .n_attrs = 1,
                                             .attrs = keys,
                                             .run = clip};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(cvr_add_reference_ops(r, &clip_op, 1, err));
    return r->add(r, CVR_KIND_GRADIENT, &clip_units, err);
}

CVR_DEFINE_PLUGIN("gradient_clip_units", "0.1.0", "", load)
