/* Convolution as its formulas say it (<cvr/plugin/ops/conv.h>), summed in double: what all other kernels are tested
 * against. */
#include "conv_family.h"

/* Element (n,c,h,w) of a dense rank-4 tensor, or of a weight (o,i,r,s). */
static float *at(const cvr_tensor *t, int64_t n, int64_t c, int64_t h, int64_t w) {
    return (float *)t->data + ((n * t->shape[2] + h) * t->shape[3] + w) * t->shape[1] + c;
}

static int inside(const cvr_tensor *t, int64_t h, int64_t w) {
    return h >= 0 && h < t->shape[2] && w >= 0 && w < t->shape[3];
}

/* sum + a[0] * b[0] + a[1] * b[b_step] + ... */
static double add_products(double sum, const float *a, const float *b, int64_t b_step, int64_t n) {
    for (int64_t i = 0; i < n; i++, b += b_step) sum += (double)a[i] * (double)*b;
    return sum;
}

static double bias_of(const cvr_kernel_args *a, int64_t k) {
    return a->n_inputs > 2 && a->inputs[2] ? (double)((const float *)a->inputs[2]->data)[k] : 0.0;
}

/* y[n,k,p,q] = bias[k] + sum over c,r,s of x[n,c,p*sh-ph+r*dh,q*sw-pw+s*dw] * weight[k,c,r,s] */
static double forward_at(const cvr_kernel_args *a, int64_t n, int64_t k, int64_t p, int64_t q) {
    const cvr_conv2d_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0], *weight = a->inputs[1];
    const int64_t group = k / (weight->shape[0] / attrs->groups);
    double sum = bias_of(a, k);
    for (int64_t r = 0; r < weight->shape[2]; r++)
        for (int64_t s = 0; s < weight->shape[3]; s++) {
            const int64_t h = p * attrs->stride[0] - attrs->padding[0] + r * attrs->dilation[0];
            const int64_t w = q * attrs->stride[1] - attrs->padding[1] + s * attrs->dilation[1];
            if (!inside(x, h, w)) continue;
            sum = add_products(sum, at(x, n, group * weight->shape[1], h, w), at(weight, k, 0, r, s), 1,
                               weight->shape[1]);
        }
    return sum;
}

/*
 * dx[n,c,h,w] = sum over k,r,s with h = p*sh-ph+r*dh, w = q*sw-pw+s*dw of grad[n,k,p,q] * weight[k,c,r,s], which is
 * also conv_transpose2d with x in the place of grad, plus its bias.
 */
static double transposed_at(const cvr_kernel_args *a, int64_t n, int64_t c, int64_t h, int64_t w) {
    const cvr_conv2d_attrs *attrs = a->attrs;
    const cvr_tensor *grad = a->inputs[0], *weight = a->inputs[1];
    const int64_t group = c / weight->shape[1], k_group = weight->shape[0] / attrs->groups;
    const int64_t k_step = weight->shape[1] * weight->shape[2] * weight->shape[3];
    double sum = bias_of(a, c);
    for (int64_t r = 0; r < weight->shape[2]; r++)
        for (int64_t s = 0; s < weight->shape[3]; s++) {
            const int64_t y = h + attrs->padding[0] - r * attrs->dilation[0];
            const int64_t x = w + attrs->padding[1] - s * attrs->dilation[1];
            if (y % attrs->stride[0] != 0 || x % attrs->stride[1] != 0) continue;
            const int64_t p = y / attrs->stride[0], q = x / attrs->stride[1];
            if (!inside(grad, p, q)) continue;
            sum = add_products(sum, at(grad, n, group * k_group, p, q),
                               at(weight, group * k_group, c % weight->shape[1], r, s), k_step, k_group);
        }
    return sum;
}

/* dweight[k,c,r,s] = sum over n,p,q of grad[n,k,p,q] * x[n,c,p*sh-ph+r*dh,q*sw-pw+s*dw] */
static double weight_at(const cvr_kernel_args *a, int64_t k, int64_t c, int64_t r, int64_t s) {
    const cvr_conv2d_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0], *grad = a->inputs[1], *dweight = a->outputs[0];
    const int64_t group = k / (dweight->shape[0] / attrs->groups);
    double sum = 0;
    for (int64_t n = 0; n < grad->shape[0]; n++)
        for (int64_t p = 0; p < grad->shape[2]; p++) {
            const int64_t h = p * attrs->stride[0] - attrs->padding[0] + r * attrs->dilation[0];
            if (!inside(x, h, 0)) continue;
            const float *dy = at(grad, n, k, p, 0), *from = at(x, n, group * dweight->shape[1] + c, h, 0);
            for (int64_t q = 0; q < grad->shape[3]; q++) {
                const int64_t w = q * attrs->stride[1] - attrs->padding[1] + s * attrs->dilation[1];
                if (inside(x, h, w)) sum += (double)dy[q * grad->shape[1]] * (double)from[w * x->shape[1]];
            }
        }
    return sum;
}

typedef double (*element_fn)(const cvr_kernel_args *a, int64_t n, int64_t c, int64_t h, int64_t w);

/* Every element of output 0 by itself. */
static int32_t each_element(const cvr_kernel_args *a, element_fn element) {
    const cvr_tensor *out = a->outputs[0];
    for (int64_t n = 0; n < out->shape[0]; n++)
        for (int64_t h = 0; h < out->shape[2]; h++)
            for (int64_t w = 0; w < out->shape[3]; w++)
                for (int64_t c = 0; c < out->shape[1]; c++) *at(out, n, c, h, w) = (float)element(a, n, c, h, w);
    return CVR_OK;
}

int32_t conv_forward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return each_element(a, forward_at);
}

int32_t conv_transposed_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return each_element(a, transposed_at);
}

int32_t conv_weight_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return each_element(a, weight_at);
}

/* dbias[k] = sum over n,p,q of grad[n,k,p,q] */
int32_t conv_bias_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *grad = a->inputs[0];
    const int64_t pixels = grad->shape[0] * grad->shape[2] * grad->shape[3];
    (void)err;
    for (int64_t k = 0; k < grad->shape[1]; k++) {
        double sum = 0;
        for (int64_t i = 0; i < pixels; i++) sum += (double)((const float *)grad->data)[i * grad->shape[1] + k];
        ((float *)a->outputs[0]->data)[k] = (float)sum;
    }
    return CVR_OK;
}
