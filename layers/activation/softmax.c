/* softmax and log_softmax along one logical axis: ops, gradients, reference kernels, layers. */
#include "activation_family.h"

#include <math.h>

static const cvr_attr_desc dim_attr = CVR_ATTR_INIT(
    INT, "dim", NULL, "logical axis that sums to 1; negative counts from the last", .flags = CVR_ATTR_POSITIONAL);
static const cvr_attr_desc *const dim_attrs[] = {&dim_attr};

static int32_t check_dim(const cvr_softmax_attrs *attrs, const cvr_type *x, cvr_error *err) {
    if (attrs->dim >= 0 && attrs->dim < (int64_t)x->rank) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "softmax: dim %lld of a tensor with %u axes", (long long)attrs->dim, x->rank);
}

static int32_t softmax_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(activation_infer(a, err));
    return check_dim(a->attrs, a->inputs[0], err);
}

static int32_t softmax_backward_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(activation_backward_infer(a, err));
    return check_dim(a->attrs, a->inputs[0], err);
}

static int32_t softmax_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value inputs[2] = {a->outputs[0], a->grad_outputs[0]};
    return cvr_emit(b, "softmax_backward", a->attrs, sizeof(cvr_softmax_attrs), inputs, 2, &a->grad_inputs[0], err);
}

static int32_t log_softmax_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value inputs[2] = {a->outputs[0], a->grad_outputs[0]};
    return cvr_emit(b, "log_softmax_backward", a->attrs, sizeof(cvr_softmax_attrs), inputs, 2, &a->grad_inputs[0], err);
}

/* ---- reference kernels ---- */

/* The tensor as it lies in memory, around the axis: (outer, n, inner); a line is n elements, `inner` apart. */
typedef struct lines {
    int64_t outer, n, inner;
} lines;

static lines lines_of(const cvr_tensor *t, int64_t dim) {
    static const int64_t place_of[4] = {0, 3, 1, 2}; /* of N, C, H, W in memory */
    const int64_t nhwc[4] = {t->shape[0], t->shape[2], t->shape[3], t->shape[1]};
    const int64_t *shape = t->rank == 4 ? nhwc : t->shape;
    const int64_t axis = t->rank == 4 ? place_of[dim] : dim;
    lines l = {1, shape[axis], 1};
    for (int64_t i = 0; i < axis; i++) l.outer *= shape[i];
    for (int64_t i = axis + 1; i < (int64_t)t->rank; i++) l.inner *= shape[i];
    return l;
}

typedef void (*line_fn)(const float *a, const float *b, float *out, int64_t n, int64_t step);

static int32_t each_line(const cvr_kernel_args *a, line_fn f) {
    const cvr_softmax_attrs *attrs = a->attrs;
    const float *x = a->inputs[0]->data;
    const float *grad = a->n_inputs > 1 ? a->inputs[1]->data : x;
    float *y = a->outputs[0]->data;
    const lines l = lines_of(a->inputs[0], attrs->dim);
    for (int64_t o = 0; o < l.outer; o++) {
        for (int64_t i = 0; i < l.inner; i++) {
            const int64_t at = o * l.n * l.inner + i;
            f(x + at, grad + at, y + at, l.n, l.inner);
        }
    }
    return CVR_OK;
}

/* max and log(sum of exp(x - max)) of a line */
static double log_sum(const float *x, int64_t n, int64_t step, double *max) {
    *max = -INFINITY;
    for (int64_t i = 0; i < n; i++) *max = x[i * step] > *max ? x[i * step] : *max;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += exp(x[i * step] - *max);
    return log(sum);
}

/* y = exp(x - max) / sum of exp(x - max) */
static void softmax_line(const float *x, const float *unused, float *y, int64_t n, int64_t step) {
    (void)unused;
    double max;
    const double log_total = log_sum(x, n, step, &max);
    for (int64_t i = 0; i < n; i++) y[i * step] = (float)exp(x[i * step] - max - log_total);
}

/* y = x - max - log(sum of exp(x - max)) */
static void log_softmax_line(const float *x, const float *unused, float *y, int64_t n, int64_t step) {
    (void)unused;
    double max;
    const double log_total = log_sum(x, n, step, &max);
    for (int64_t i = 0; i < n; i++) y[i * step] = (float)(x[i * step] - max - log_total);
}

/* dx = y * (grad - sum of grad * y) */
static void softmax_backward_line(const float *y, const float *grad, float *dx, int64_t n, int64_t step) {
    double dot = 0;
    for (int64_t i = 0; i < n; i++) dot += (double)grad[i * step] * y[i * step];
    for (int64_t i = 0; i < n; i++) dx[i * step] = (float)(y[i * step] * (grad[i * step] - dot));
}

/* dx = grad - exp(y) * sum of grad */
static void log_softmax_backward_line(const float *y, const float *grad, float *dx, int64_t n, int64_t step) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += grad[i * step];
    for (int64_t i = 0; i < n; i++) dx[i * step] = (float)(grad[i * step] - exp(y[i * step]) * sum);
}

static int32_t softmax_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return each_line(a, softmax_line);
}

static int32_t log_softmax_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return each_line(a, log_softmax_line);
}

static int32_t softmax_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return each_line(a, softmax_backward_line);
}

static int32_t log_softmax_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return each_line(a, log_softmax_backward_line);
}

/* ---- layers ---- */

static int32_t build(const cvr_builder *b, const char *op, const void *attrs, const cvr_value *in, cvr_value *out,
                     cvr_error *err) {
    cvr_softmax_attrs call = *(const cvr_softmax_attrs *)attrs;
    if (call.dim < 0) call.dim += b->type(b, in[0])->rank;
    return cvr_emit(b, op, &call, sizeof call, in, 1, out, err);
}

static int32_t build_softmax(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in,
                             cvr_value *out, cvr_error *err) {
    (void)n_in;
    return build(b, "softmax", attrs, in, out, err);
}

static int32_t build_log_softmax(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in,
                                 cvr_value *out, cvr_error *err) {
    (void)n_in;
    return build(b, "log_softmax", attrs, in, out, err);
}

/* About an exponential, a subtraction, an addition and a division an element. */
static double softmax_flops(const cvr_infer_args *a) {
    return 4.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

#define SOFTMAX_OP(name_, trait_, n_in_, infer_, grad_, run_, inplace_, doc_)                                          \
    {                                                                                                                  \
        .op = {.struct_size = sizeof(cvr_op_desc),                                                                     \
               .name = name_,                                                                                          \
               .version = 1,                                                                                           \
               .trait = trait_,                                                                                        \
               .min_inputs = n_in_,                                                                                    \
               .max_inputs = n_in_,                                                                                    \
               .n_outputs = 1,                                                                                         \
               .n_attrs = 1,                                                                                           \
               .attrs = dim_attrs,                                                                                     \
               .infer = infer_,                                                                                        \
               .grad = grad_,                                                                                          \
               .flops = softmax_flops,                                                                                 \
               .doc = doc_},                                                                                           \
        .reference = {sizeof(cvr_cpu_fn), run_}, .inplace = inplace_                                                   \
    }

const cvr_reference_op activation_softmax_ops[] = {
    SOFTMAX_OP("softmax", activation_softmax_traits, 1, softmax_infer, softmax_grad, softmax_run, 1,
               "y = exp(x) / sum of exp(x) along dim"),
    SOFTMAX_OP("softmax_backward", cvr_traits_mixed, 2, softmax_backward_infer, NULL, softmax_backward_run, 3,
               "dx = y * (grad - sum of grad * y)"),
    SOFTMAX_OP("log_softmax", activation_log_softmax_traits, 1, softmax_infer, log_softmax_grad, log_softmax_run, 1,
               "y = x - log(sum of exp(x)) along dim"),
    SOFTMAX_OP("log_softmax_backward", cvr_traits_mixed, 2, softmax_backward_infer, NULL, log_softmax_backward_run, 3,
               "dx = grad - exp(y) * sum of grad"),
};
const uint32_t activation_n_softmax_ops = sizeof activation_softmax_ops / sizeof *activation_softmax_ops;

#define SOFTMAX_LAYER(name_, build_, doc_)                                                                             \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_layer_desc), .name = name_, .doc = doc_, .n_attrs = 1, .min_inputs = 1,              \
        .max_inputs = 1, .n_outputs = 1, .attrs = dim_attrs, .build = build_                                           \
    }

const cvr_layer_desc activation_softmax_layers[] = {
    SOFTMAX_LAYER("softmax", build_softmax, "exp(x) / sum of exp(x) along dim"),
    SOFTMAX_LAYER("log_softmax", build_log_softmax, "x - log(sum of exp(x)) along dim"),
};
const uint32_t activation_n_softmax_layers = sizeof activation_softmax_layers / sizeof *activation_softmax_layers;
