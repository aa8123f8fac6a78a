/* cuDNN's ops as kernels. */
#include "cudnn_form.h"
#include "library_kernels.h"

LIBRARY_KERNELS(conv2d, &cudnn_conv_ops[0].op)
LIBRARY_KERNELS(conv2d_backward_input, &cudnn_conv_ops[1].op)
LIBRARY_KERNELS(conv2d_backward_weight, &cudnn_conv_ops[2].op)
LIBRARY_KERNELS(conv_transpose2d, &cudnn_conv_ops[3].op)
LIBRARY_KERNELS(conv_transpose2d_backward_input, &cudnn_conv_ops[4].op)
LIBRARY_KERNELS(conv2d_stats, &cudnn_fused_ops[0].op)
LIBRARY_KERNELS(conv2d_act, &cudnn_fused_ops[1].op)
LIBRARY_KERNELS(conv2d_backward_input_norm, &cudnn_norm_ops[0].op)

#define WEIGHT CVR_KERNEL_CASTS(1) /* of all but the weight's gradient, which reads activations alone */
const cvr_kernel_desc cudnn_kernels[CUDNN_KERNELS] = {LIBRARY_DESCS(conv2d, WEIGHT),
                                                      LIBRARY_DESCS(conv2d_backward_input, WEIGHT),
                                                      LIBRARY_DESCS(conv2d_backward_weight, 0),
                                                      LIBRARY_DESCS(conv_transpose2d, WEIGHT),
                                                      LIBRARY_DESCS(conv_transpose2d_backward_input, WEIGHT),
                                                      LIBRARY_DESCS(conv2d_stats, WEIGHT),
                                                      LIBRARY_DESCS(conv2d_act, WEIGHT),
                                                      LIBRARY_DESCS(conv2d_backward_input_norm, WEIGHT)};
