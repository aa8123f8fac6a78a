/* Losses of the distance of each element from its target: torch.nn.MSELoss, L1Loss, SmoothL1Loss (ops/loss.h). */
#include "loss_family.h"

static const cvr_attr_desc beta_attr =
    CVR_ATTR_INIT(FLOAT, "beta", "1", "distance at which the square becomes a line", CVR_ATTR_AT_LEAST(0));
static const cvr_attr_desc *const plain_attrs[] = {&loss_reduction_attr};
static const cvr_attr_desc *const smooth_attrs[] = {&beta_attr, &loss_reduction_attr};

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    cvr_type_set(a->outputs[0], CVR_F32, 0, NULL);
    return loss_check_pair(a->inputs[0], a->inputs[1], err);
}

static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const int32_t status = loss_check_pair(a->inputs[0], a->inputs[1], err);
    *a->outputs[0] = *a->inputs[0];
    return status == CVR_OK ? loss_check_scalar(a->inputs[2], err) : status;
}

/* The distance is symmetric: the target's gradient is the input's, with the two exchanged. */
static int32_t emit_grads(const cvr_builder *b, cvr_grad_args *a, const char *op, uint64_t attrs_size, cvr_error *err) {
    for (uint32_t i = 0; i < 2; i++) {
        const cvr_value inputs[3] = {a->inputs[i], a->inputs[1 - i], a->grad_outputs[0]};
        if (a->needs[i]) CVR_TRY(cvr_emit(b, op, a->attrs, attrs_size, inputs, 3, &a->grad_inputs[i], err));
    }
    return CVR_OK;
}

static int32_t mse_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return emit_grads(b, a, "mse_loss_backward", sizeof(cvr_loss_attrs), err);
}

static int32_t l1_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return emit_grads(b, a, "l1_loss_backward", sizeof(cvr_loss_attrs), err);
}

static int32_t smooth_l1_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return emit_grads(b, a, "smooth_l1_loss_backward", sizeof(cvr_smooth_l1_loss_attrs), err);
}

/* ---- reference kernels: f(d) and its derivative ---- */

typedef double (*distance_fn)(double d, double beta);

static double square(double d, double beta) {
    (void)beta;
    return d * d;
}

static double square_slope(double d, double beta) {
    (void)beta;
    return 2 * d;
}

static double sign(double d) {
    return d > 0 ? 1 : d < 0 ? -1 : d;
}

static double absolute(double d, double beta) {
    (void)beta;
    return fabs(d);
}

static double absolute_slope(double d, double beta) {
    (void)beta;
    return sign(d);
}

static double smooth(double d, double beta) {
    return fabs(d) < beta ? d * d / (2 * beta) : fabs(d) - beta / 2;
}

static double smooth_slope(double d, double beta) {
    return fabs(d) < beta ? d / beta : sign(d);
}

static int32_t forward(const cvr_kernel_args *a, distance_fn f, double beta, int64_t reduction) {
    const float *x = a->inputs[0]->data, *target = a->inputs[1]->data;
    const int64_t n = cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
    double total = 0;
    for (int64_t i = 0; i < n; i++) total += f((double)x[i] - target[i], beta);
    *(float *)a->outputs[0]->data = (float)(total / loss_divisor(reduction, a->inputs[0]));
    return CVR_OK;
}

static int32_t backward(const cvr_kernel_args *a, distance_fn slope, double beta, int64_t reduction) {
    const float *x = a->inputs[0]->data, *target = a->inputs[1]->data;
    const double g = *(const float *)a->inputs[2]->data / loss_divisor(reduction, a->inputs[0]);
    float *dx = a->outputs[0]->data;
    const int64_t n = cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
    for (int64_t i = 0; i < n; i++) dx[i] = (float)(g * slope((double)x[i] - target[i], beta));
    return CVR_OK;
}

static int32_t mse_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return forward(a, square, 0, ((const cvr_loss_attrs *)a->attrs)->reduction);
}

static int32_t mse_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return backward(a, square_slope, 0, ((const cvr_loss_attrs *)a->attrs)->reduction);
}

static int32_t l1_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return forward(a, absolute, 0, ((const cvr_loss_attrs *)a->attrs)->reduction);
}

static int32_t l1_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return backward(a, absolute_slope, 0, ((const cvr_loss_attrs *)a->attrs)->reduction);
}

static int32_t smooth_l1_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_smooth_l1_loss_attrs *attrs = a->attrs;
    return forward(a, smooth, attrs->beta, attrs->reduction);
}

static int32_t smooth_l1_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_smooth_l1_loss_attrs *attrs = a->attrs;
    return backward(a, smooth_slope, attrs->beta, attrs->reduction);
}

/* ---- layers ---- */

static int32_t build_mse(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                         cvr_error *err) {
    return cvr_emit(b, "mse_loss", attrs, sizeof(cvr_loss_attrs), in, n_in, out, err);
}

static int32_t build_l1(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                        cvr_error *err) {
    return cvr_emit(b, "l1_loss", attrs, sizeof(cvr_loss_attrs), in, n_in, out, err);
}

static int32_t build_smooth_l1(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in,
                               cvr_value *out, cvr_error *err) {
    return cvr_emit(b, "smooth_l1_loss", attrs, sizeof(cvr_smooth_l1_loss_attrs), in, n_in, out, err);
}

static double flops(const cvr_infer_args *a) {
    return 3.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

#define DISTANCE_OP(name_, n_in_, infer_, grad_, n_attrs_, attrs_, run_, inplace_, doc_)                               \
    {                                                                                                                  \
        .op = {.struct_size = sizeof(cvr_op_desc),                                                                     \
               .name = name_,                                                                                          \
               .version = 1,                                                                                           \
               .min_inputs = n_in_,                                                                                    \
               .max_inputs = n_in_,                                                                                    \
               .n_outputs = 1,                                                                                         \
               .n_attrs = n_attrs_,                                                                                    \
               .attrs = attrs_,                                                                                        \
               .infer = infer_,                                                                                        \
               .grad = grad_,                                                                                          \
               .flops = flops,                                                                                         \
               .doc = doc_},                                                                                           \
        .reference = {sizeof(cvr_cpu_fn), run_}, .inplace = inplace_                                                   \
    }

static const cvr_reference_op ops[] = {
    DISTANCE_OP("mse_loss", 2, infer, mse_grad, 1, plain_attrs, mse_run, 0, "mean or sum of (x - target)^2"),
    DISTANCE_OP("mse_loss_backward", 3, backward_infer, NULL, 1, plain_attrs, mse_backward_run, 3,
                "dx = 2 * g * (x - target)"),
    DISTANCE_OP("l1_loss", 2, infer, l1_grad, 1, plain_attrs, l1_run, 0, "mean or sum of |x - target|"),
    DISTANCE_OP("l1_loss_backward", 3, backward_infer, NULL, 1, plain_attrs, l1_backward_run, 3,
                "dx = g * sign(x - target)"),
    DISTANCE_OP("smooth_l1_loss", 2, infer, smooth_l1_grad, 2, smooth_attrs, smooth_l1_run, 0,
                "mean or sum of |d| < beta ? d^2 / (2 * beta) : |d| - beta / 2"),
    DISTANCE_OP("smooth_l1_loss_backward", 3, backward_infer, NULL, 2, smooth_attrs, smooth_l1_backward_run, 3,
                "dx = |d| < beta ? g * d / beta : g * sign(d)"),
};

#define DISTANCE_LAYER(name_, n_attrs_, attrs_, build_, doc_)                                                          \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_layer_desc), .name = name_, .doc = doc_, .n_attrs = n_attrs_, .min_inputs = 2,       \
        .max_inputs = 2, .n_outputs = 1, .attrs = attrs_, .build = build_                                              \
    }

static const cvr_layer_desc layers[] = {
    DISTANCE_LAYER("mse", 1, plain_attrs, build_mse, "squared distance of input and target"),
    DISTANCE_LAYER("l1", 1, plain_attrs, build_l1, "absolute distance of input and target"),
    DISTANCE_LAYER("smooth_l1", 2, smooth_attrs, build_smooth_l1, "squared near 0, absolute beyond (Girshick, 2015)"),
};

const loss_family loss_distance = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
