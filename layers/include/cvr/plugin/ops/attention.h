/*
 * Attributes of the attention ops, version 1 (plugin "layer_attention"). Semantics:
 * torch.nn.functional.scaled_dot_product_attention (Vaswani et al., "Attention Is All You Need", 2017), with heads that
 * lie side by side in the last axis, as torch.nn.MultiheadAttention packs them: head h has the E = D / num_heads
 * features from h * E on.
 *
 * scaled_dot_product_attention  q (N,L,D), k (N,S,D), v (N,S,D) -> y (N,L,D), lse (N,num_heads,L)
 *     For each n and head, with s[l,j] = sum over e of q[l,e] * k[j,e] / sqrt(E):
 *     lse[l] = log(sum over j of exp(s[l,j])), p[l,j] = exp(s[l,j] - lse[l]), y[l,e] = sum over j of p[l,j] * v[j,e]
 * scaled_dot_product_attention_backward  q, k, v, y, lse, grad (N,L,D) -> dq, dk, dv, like q, k, v
 *     With d[l] = sum over e of grad[l,e] * y[l,e] and t[l,j] = p[l,j] * (sum over e of grad[l,e] * v[j,e] - d[l]) /
 * sqrt(E): dq[l,e] = sum over j of t[l,j] * k[j,e] dk[j,e] = sum over l of t[l,j] * q[l,e] dv[j,e] = sum over l of
 * p[l,j] * grad[l,e] The softmax is not kept: it is computed again from lse (Dao et al., "FlashAttention", 2022).
 */
#ifndef CVR_PLUGIN_OPS_ATTENTION_H
#define CVR_PLUGIN_OPS_ATTENTION_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cvr_attention_attrs {
    int64_t num_heads; /* divides D */
} cvr_attention_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_attention_attrs) == 8, "cvr_attention_attrs has padding");

#endif
