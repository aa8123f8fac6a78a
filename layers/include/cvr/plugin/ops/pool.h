/*
 * Attributes of the pooling ops, version 1 (plugin "layer_pool"). Tensors are f32 but for the index of max_pool2d,
 * shapes are logical. Semantics: torch.nn.functional.max_pool2d, avg_pool2d, adaptive_avg_pool2d.
 *
 * With kh, sh, ph, dh = kernel_size, stride, padding, dilation (1 for avg) of the height, the output has
 *     P = floor((H + 2*ph - dh*(kh-1) - 1) / sh) + 1
 * rows; with ceil_mode the division rounds up, less one where the last window would start past H - 1 + ph. Width
 * likewise.
 *
 * max_pool2d           x (N,C,H,W) -> y (N,C,P,Q), index (N,C,P,Q)
 *     y[n,c,p,q] = max over r,s of x[n,c,p*sh-ph+r*dh,q*sw-pw+s*dw] inside of x; NaN wins, the last one of them
 *     index = r*kw + s of the winner, the first among equals; u8 where kh*kw <= 256, else i32
 * max_pool2d_backward  grad (N,C,P,Q), index (N,C,P,Q) -> dx (N,C,H,W), H and W from `input_size`
 *     dx[n,c,h,w] = sum of grad[n,c,p,q] over the windows whose winner is (h,w)
 *
 * avg_pool2d           x (N,C,H,W) -> y (N,C,P,Q)
 *     y[n,c,p,q] = sum of x in the window / D. D = divisor_override where not 0; else the elements of the window inside
 *     of x, or with count_include_pad inside of x and its padding (but not past it, where ceil_mode reaches)
 * avg_pool2d_backward  grad (N,C,P,Q) -> dx (N,C,H,W), H and W from `input_size`
 *     dx[n,c,h,w] = sum over the windows with (h,w) in them of grad[n,c,p,q] / D
 *
 * adaptive_avg_pool2d           x (N,C,H,W) -> y (N,C,P,Q), P and Q from `size`
 *     y[n,c,p,q] = mean of x[n,c,h,w] over floor(p*H/P) <= h < ceil((p+1)*H/P), w likewise
 * adaptive_avg_pool2d_backward  grad (N,C,P,Q) -> dx (N,C,H,W), H and W from `size`
 */
#ifndef CVR_PLUGIN_OPS_POOL_H
#define CVR_PLUGIN_OPS_POOL_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Pairs are (height, width) everywhere. */
typedef struct cvr_max_pool2d_attrs {
    int64_t kernel_size[2];
    int64_t stride[2];
    int64_t padding[2];
    int64_t dilation[2];
    int64_t ceil_mode; /* 0 or 1 */
} cvr_max_pool2d_attrs;

typedef struct cvr_max_pool2d_backward_attrs {
    cvr_max_pool2d_attrs pool;
    int64_t input_size[2];
} cvr_max_pool2d_backward_attrs;

typedef struct cvr_avg_pool2d_attrs {
    int64_t kernel_size[2];
    int64_t stride[2];
    int64_t padding[2];
    int64_t ceil_mode;         /* 0 or 1 */
    int64_t count_include_pad; /* 0 or 1 */
    int64_t divisor_override;  /* 0: none */
} cvr_avg_pool2d_attrs;

typedef struct cvr_avg_pool2d_backward_attrs {
    cvr_avg_pool2d_attrs pool;
    int64_t input_size[2];
} cvr_avg_pool2d_backward_attrs;

/* adaptive_avg_pool2d: the output's height and width; adaptive_avg_pool2d_backward: the input's. */
typedef struct cvr_adaptive_avg_pool2d_attrs {
    int64_t size[2];
} cvr_adaptive_avg_pool2d_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_max_pool2d_attrs) == 72, "cvr_max_pool2d_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_max_pool2d_backward_attrs) == 88, "cvr_max_pool2d_backward_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_avg_pool2d_attrs) == 72, "cvr_avg_pool2d_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_avg_pool2d_backward_attrs) == 88, "cvr_avg_pool2d_backward_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_adaptive_avg_pool2d_attrs) == 16, "cvr_adaptive_avg_pool2d_attrs has padding");

#endif
