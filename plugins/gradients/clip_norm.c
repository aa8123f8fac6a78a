/*
 * Gradients are scaled down to a norm over all of them: torch.nn.utils.clip_grad_norm_ with norm_type 2 (Pascanu,
 * Mikolov, Bengio: "On the difficulty of training recurrent neural networks", 2013). The key train.clip_grad_norm.
 */
#include <cvr/plugin/ops/arith.h>
#include <cvr/plugin/ops/optim.h>
#include <cvr/plugin/ops/reference.h>

#include <math.h>

/* ---- ops: formulas in ops/optim.h ---- */

static int32_t one_number(const cvr_infer_args *a, uint32_t i) {
    return a->inputs[i]->dtype == CVR_F32 && a->inputs[i]->rank == 0;
}

static int32_t squares_infer(const cvr_infer_args *a, cvr_error *err) {
    cvr_type_set(a->outputs[0], CVR_F32, 0, NULL);
    for (uint32_t i = 0; i < a->n_inputs; i++)
        if (a->inputs[i]->dtype != CVR_F32)
            return cvr_fail(err, CVR_ERR_INVALID, "gradient_sum_squares: input %u must be f32", i);
    return CVR_OK;
}

static int32_t squares_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    double sum = 0;
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        const float *x = a->inputs[i]->data;
        for (int64_t k = 0; k < cvr_numel(a->inputs[i]->rank, a->inputs[i]->shape); k++) sum += (double)x[k] * x[k];
    }
    *(float *)a->outputs[0]->data = (float)sum;
    return CVR_OK;
}

static double squares_flops(const cvr_infer_args *a) {
    double sum = 0;
    for (uint32_t i = 0; i < a->n_inputs; i++) sum += 2 * (double)cvr_numel(a->inputs[i]->rank, a->inputs[i]->shape);
    return sum;
}

/* sum x * x, input by input, where a device has no kernel of its own */
static int32_t squares_decompose(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    const cvr_sum_to_attrs all = {0, {1, 1, 1, 1, 1, 1}};
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        cvr_value pair[2] = {a->inputs[i], a->inputs[i]}, sum;
        CVR_TRY(cvr_emit(b, "sum_to", &all, sizeof all, pair, 2, &sum, err));
        pair[0] = a->outputs[0];
        pair[1] = sum;
        if (i == 0)
            a->outputs[0] = sum;
        else
            CVR_TRY(cvr_emit(b, "add", NULL, 0, pair, 2, &a->outputs[0], err));
    }
    return CVR_OK;
}

static int32_t factor_infer(const cvr_infer_args *a, cvr_error *err) {
    cvr_type_set(a->outputs[0], CVR_F32, 0, NULL);
    cvr_type_set(a->outputs[1], CVR_F32, 0, NULL);
    return one_number(a, 0) ? CVR_OK
                            : cvr_fail(err, CVR_ERR_INVALID, "gradient_clip_factor: the sum must be one f32 number");
}

static int32_t factor_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_gradient_clip_attrs *s = a->attrs;
    const float norm = sqrtf(*(const float *)a->inputs[0]->data), factor = (float)s->max_norm / (norm + 1e-6f);
    *(float *)a->outputs[0]->data = factor > 1 ? 1 : factor; /* NaN stays */
    *(float *)a->outputs[1]->data = norm;
    return CVR_OK;
}

static int32_t scale_infer(const cvr_infer_args *a, cvr_error *err) {
    *a->outputs[0] = *a->inputs[0];
    return a->inputs[0]->dtype == CVR_F32 && one_number(a, 1)
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_INVALID, "gradient_scale: an f32 tensor and one f32 number");
}

static int32_t scale_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const float *x = a->inputs[0]->data, factor = *(const float *)a->inputs[1]->data;
    float *y = a->outputs[0]->data;
    for (int64_t i = 0; i < cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape); i++) y[i] = factor * x[i];
    return CVR_OK;
}

static const cvr_attr_desc *const factor_attrs[] = {CVR_ATTR(FLOAT, "max_norm", NULL, "what the norm is brought to")};

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "gradient_sum_squares",
            .version = 1,
            .flags = CVR_OP_ORDER_AWARE,
            .min_inputs = 1,
            .max_inputs = 63,
            .n_outputs = 1,
            .infer = squares_infer,
            .decompose = squares_decompose,
            .flops = squares_flops,
            .doc = "sum of x * x over all elements of all inputs"},
     .reference = {sizeof(cvr_cpu_fn), squares_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "gradient_clip_factor",
            .version = 1,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 2,
            .n_attrs = 1,
            .attrs = factor_attrs,
            .infer = factor_infer,
            .doc = "norm = sqrt(sum), factor = min(1, max_norm / (norm + 1e-6))"},
     .reference = {sizeof(cvr_cpu_fn), factor_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "gradient_scale",
            .version = 1,
            .flags = CVR_OP_ORDER_FREE,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .infer = scale_infer,
            .doc = "y = factor * x"},
     .reference = {sizeof(cvr_cpu_fn), scale_run},
     .inplace = 1},
};

/* ---- the gradient plugin ---- */

/* As `keys` packs it. */
typedef struct clip_settings {
    double clip_grad_norm;
} clip_settings;

static const cvr_attr_desc *const keys[] = {
    CVR_ATTR(FLOAT, "clip_grad_norm", "0", "most that the norm of all gradients may be; 0: any", CVR_ATTR_AT_LEAST(0))};

#define AT_ONCE 63 /* gradients of a node */

/* The sum of squares over all gradients. */
static int32_t sum_all(const cvr_gradients *g, cvr_value *sum, cvr_error *err) {
    *sum = CVR_NONE;
    for (uint64_t first = 0; first < g->n; first += AT_ONCE) {
        cvr_value in[AT_ONCE], pair[2] = {*sum};
        uint32_t n = 0;
        for (; n < AT_ONCE && first + n < g->n; n++) in[n] = g->all[first + n]->grad;
        CVR_TRY(cvr_emit(g->builder, "gradient_sum_squares", NULL, 0, in, n, &pair[1], err));
        if (*sum)
            CVR_TRY(cvr_emit(g->builder, "add", NULL, 0, pair, 2, sum, err));
        else
            *sum = pair[1];
    }
    return CVR_OK;
}

static int32_t clip(const cvr_gradients *g, cvr_error *err) {
    const clip_settings *s = g->attrs;
    const cvr_gradient_clip_attrs attrs = {s->clip_grad_norm};
    cvr_value sum, out[2];
    if (s->clip_grad_norm == 0) return CVR_OK;
    CVR_TRY(sum_all(g, &sum, err));
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = "gradient_clip_factor",
                              .attrs = &attrs,
                              .attrs_size = sizeof attrs,
                              .inputs = &sum,
                              .outputs = out,
                              .n_inputs = 1,
                              .n_outputs = 2};
    CVR_TRY(g->builder->emit(g->builder, &call, err));
    for (uint64_t i = 0; i < g->n; i++) {
        const cvr_value pair[2] = {g->all[i]->grad, out[0]};
        cvr_value scaled;
        CVR_TRY(cvr_emit(g->builder, "gradient_scale", NULL, 0, pair, 2, &scaled, err));
        CVR_TRY(g->replace(g, i, scaled, err));
    }
    return g->output(g, "grad_norm", out[1], err);
}

static const cvr_gradient_desc clip_norm = {.struct_size = sizeof clip_norm,
                                            .name = "clip_norm",
                                            .doc = "scales all gradients down to a norm over all of them",
                                            .n_attrs = 1,
                                            .attrs = keys,
                                            .run = clip};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(cvr_add_reference_ops(r, ops, sizeof ops / sizeof *ops, err));
    return r->add(r, CVR_KIND_GRADIENT, &clip_norm, err);
}

CVR_DEFINE_PLUGIN("gradient_clip", "0.1.0", "op:sum_to", load)
