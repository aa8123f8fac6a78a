/*
 * Attributes of the dense ops, version 1 (plugin "layer_linear"). All tensors are f32. Semantics:
 * torch.nn.functional.linear and torch.matmul.
 *
 * linear                  x (...,I), weight (O,I), [bias (O)] -> y (...,O); no attributes
 *     y[...,o] = bias[o] + sum over i of x[...,i] * weight[o,i]
 *     x has any rank of 2 and more but 4, whose last axis is not the innermost one in memory.
 *     Order: a rank-2 x with `order` needs a weight with the same `order`. For a higher rank the last axis is not the
 *     tagged one, and y takes the order of x.
 * linear_backward_input   grad (...,O), weight (O,I) -> dx (...,I), with the weight's order; no attributes
 *     dx[...,i] = sum over o of grad[...,o] * weight[o,i]
 * linear_backward_weight  x (...,I), grad (...,O) -> dweight (O,I), with the order of x; no attributes
 *     dweight[o,i] = sum over ... of grad[...,o] * x[...,i]
 * linear_backward_bias    grad (...,O) -> dbias (O); no attributes
 *     dbias[o] = sum over ... of grad[...,o]
 * linear_backward_weight_bias  x (...,I), grad (...,O) -> dweight (O,I), dbias (O): both of these; no attributes
 *
 * matmul                  a (...,M,K), b (...,K,N) -> (...,M,N); cvr_matmul_attrs
 *     y[...,m,n] = sum over k of a[...,m,k] * b[...,k,n]
 *     a is (...,K,M) where transpose_a, b is (...,N,K) where transpose_b. Both have the same rank (2, 3, 5 or 6) and
 *     the same leading axes.
 */
#ifndef CVR_PLUGIN_OPS_LINEAR_H
#define CVR_PLUGIN_OPS_LINEAR_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cvr_matmul_attrs {
    int64_t transpose_a; /* 0 or 1 */
    int64_t transpose_b; /* 0 or 1 */
} cvr_matmul_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_matmul_attrs) == 16, "cvr_matmul_attrs has padding");

#endif
