/*
 * Each pixel's channels as a vector of length 1: torch.nn.functional.normalize over axis 1, which SSD puts behind its
 * finest features (Liu et al., "ParseNet", 2015). Formulas in ops/norm.h.
 */
#include "norm_family.h"

static const cvr_attr_desc eps_attr =
    CVR_ATTR_INIT(FLOAT, "eps", "1e-12", "the least that a vector is divided by", CVR_ATTR_AT_LEAST(0));
static const cvr_attr_desc *const attrs_[] = {&eps_attr};

/* x (N,C,H,W) -> y like x */
static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0];
    *a->outputs[0] = *x;
    if (x->rank != 4)
        return cvr_fail(err, CVR_ERR_INVALID, "l2_norm2d: the input has %u axes; it must have 4 (N, C, H, W)", x->rank);
    return norm_check_f32("l2_norm2d", x, err);
}

/* x, grad (N,C,H,W) -> dx like x */
static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(infer(a, err));
    return norm_check_like("l2_norm2d_backward", a->inputs[0], a->inputs[1], err);
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value inputs[2] = {a->inputs[0], a->grad_outputs[0]};
    return cvr_emit(b, "l2_norm2d_backward", a->attrs, sizeof(cvr_l2_norm2d_attrs), inputs, 2, &a->grad_inputs[0], err);
}

/* ---- reference kernels: channels lie side by side in memory ---- */

static double length_of(const float *x, int64_t channels) {
    double sum = 0;
    for (int64_t c = 0; c < channels; c++) sum += (double)x[c] * x[c];
    return sqrt(sum);
}

/* y = x / max(|x|, eps) */
static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_l2_norm2d_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0];
    const int64_t channels = x->shape[1], n = cvr_numel(x->rank, x->shape);
    for (int64_t i = 0; i < n; i += channels) {
        const float *from = (const float *)x->data + i;
        float *to = (float *)a->outputs[0]->data + i;
        const double length = fmax(length_of(from, channels), attrs->eps);
        for (int64_t c = 0; c < channels; c++) to[c] = (float)(from[c] / length);
    }
    return CVR_OK;
}

/* dx = (grad - y * sum of grad * y) / |x|; grad / eps where |x| is less than that */
static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_l2_norm2d_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0];
    const int64_t channels = x->shape[1], n = cvr_numel(x->rank, x->shape);
    for (int64_t i = 0; i < n; i += channels) {
        const float *from = (const float *)x->data + i, *dy = (const float *)a->inputs[1]->data + i;
        float *dx = (float *)a->outputs[0]->data + i;
        const double length = length_of(from, channels), scale = 1 / fmax(length, attrs->eps);
        double dot = 0;
        for (int64_t c = 0; c < channels && length > attrs->eps; c++) dot += (double)dy[c] * from[c] * scale;
        for (int64_t c = 0; c < channels; c++) dx[c] = (float)((dy[c] - from[c] * scale * dot) * scale);
    }
    return CVR_OK;
}

static double flops(const cvr_infer_args *a) {
    return 4.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                     cvr_error *err) {
    (void)n_in;
    return cvr_emit(b, "l2_norm2d", attrs, sizeof(cvr_l2_norm2d_attrs), in, 1, out, err);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "l2_norm2d",
            .trait = norm_l2_traits,
            .version = 1,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = attrs_,
            .infer = infer,
            .grad = grad,
            .flops = flops,
            .doc = "y = x / max(|x|, eps), |x| over the channels of a pixel"},
     .reference = {sizeof(cvr_cpu_fn), run},
     .inplace = 1},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "l2_norm2d_backward",
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = attrs_,
            .infer = backward_infer,
            .flops = flops,
            .doc = "dx = (grad - y * sum(grad * y)) / |x|"},
     .reference = {sizeof(cvr_cpu_fn), backward_run}},
};

static const cvr_layer_desc layers[] = {
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "l2_norm2d",
     .doc = "divides the channels of each pixel by their length (torch.nn.functional.normalize)",
     .n_attrs = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = 1,
     .attrs = attrs_,
     .build = build},
};

const norm_family norm_l2 = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
