/*
 * What is kept beside the parameters from step to step: sums of gradients over the parts of a batch, and the running
 * means of torchvision's references (ExponentialMovingAverage). Formulas in ops/optim.h.
 */
#include "optimizers.h"

/* Input 0 is a scalar; then pairs of a stored value, which changes, and what changes it: alike in all. */
static int32_t pairs_infer(const cvr_infer_args *a, const char *op, uint32_t scalar, cvr_error *err) {
    if (a->inputs[0]->rank != 0 || a->inputs[0]->dtype != scalar || a->n_inputs % 2 == 0)
        return cvr_fail(err, CVR_ERR_INVALID, "%s: takes a %s scalar, then pairs", op, cvr_dtype_name(scalar));
    for (uint32_t i = 1; i < a->n_inputs; i += 2) {
        const cvr_type *to = a->inputs[i], *from = a->inputs[i + 1];
        if (to->dtype != from->dtype || (to->dtype != CVR_F32 && to->dtype != CVR_I64) || to->rank != from->rank ||
            memcmp(to->shape, from->shape, sizeof to->shape) != 0 ||
            memcmp(to->order, from->order, sizeof to->order) != 0)
            return cvr_fail(err, CVR_ERR_INVALID, "%s: pair %u: two values of one shape, f32 or i64", op, i / 2);
    }
    return CVR_OK;
}

static int32_t accumulate_infer(const cvr_infer_args *a, cvr_error *err) {
    return pairs_infer(a, "gradient_accumulate", CVR_I64, err);
}

static int32_t average_infer(const cvr_infer_args *a, cvr_error *err) {
    return pairs_infer(a, "average_update", CVR_F32, err);
}

/* to = keep * to + take * from; whole numbers are cut, as PyTorch's copy_ does it. Nothing is read where it is not
 * kept, so that what was never written does not matter. */
static void blend(const cvr_tensor *to, const cvr_tensor *from, float keep, float take) {
    const int64_t n = cvr_numel(to->rank, to->shape);
    float *x = to->data;
    const float *y = from->data;
    int64_t *k = to->data;
    const int64_t *l = from->data;
    for (int64_t i = 0; i < n; i++) {
        if (to->dtype == CVR_F32)
            x[i] = (keep != 0 ? keep * x[i] : 0) + take * y[i];
        else
            k[i] = (int64_t)((keep != 0 ? keep * (float)k[i] : 0) + take * (float)l[i]);
    }
}

static int32_t blend_all(const cvr_kernel_args *a, double keep, double take) {
    for (uint32_t i = 1; i < a->n_inputs && (keep != 1 || take != 0); i += 2)
        blend(a->inputs[i], a->inputs[i + 1], (float)keep, (float)take);
    return CVR_OK;
}

static int32_t accumulate_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return blend_all(a, *(const int64_t *)a->inputs[0]->data != 0, 1);
}

static int32_t average_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const double weight = *(const float *)a->inputs[0]->data;
    return blend_all(a, 1 - weight, weight);
}

static double pairs_flops(const cvr_infer_args *a) {
    double sum = 0;
    for (uint32_t i = 1; i < a->n_inputs; i += 2) sum += 3 * (double)cvr_numel(a->inputs[i]->rank, a->inputs[i]->shape);
    return sum;
}

static const cvr_idle_trait average_idle = {sizeof average_idle, 0, 0, 0}; /* a weight of 0 */
CVR_DEFINE_TRAITS(average_traits, {CVR_TRAIT_IDLE, &average_idle})

#define PAIRS 0x2AAAAAAAAAAAAAAAull /* bits 1, 3, ... 61: the first of each pair */

const cvr_reference_op optimizer_running[2] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "gradient_accumulate",
            .version = 1,
            .flags = CVR_OP_ORDER_AWARE,
            .min_inputs = 3,
            .max_inputs = 63,
            .mutates = PAIRS,
            .infer = accumulate_infer,
            .flops = pairs_flops,
            .doc = "sum = gradient at the first part of a batch, else sum + gradient"},
     .reference = {sizeof(cvr_cpu_fn), accumulate_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "average_update",
            .version = 1,
            .flags = CVR_OP_ORDER_AWARE,
            .min_inputs = 3,
            .max_inputs = 63,
            .mutates = PAIRS,
            .infer = average_infer,
            .trait = average_traits,
            .flops = pairs_flops,
            .doc = "average = (1 - weight) * average + weight * value"},
     .reference = {sizeof(cvr_cpu_fn), average_run}},
};
