/* The tables of a whole pack. To add a family, list its table here (kernels.h says what else). */
#include "kernels.h"

const cpu_kernel_table *const cpu_pack_tables[] = {
    &cpu_conv_kernels,
    &cpu_conv_act_kernels,
    &cpu_linear_kernels,
    &cpu_pool_kernels,
    &cpu_pool_max_kernels,
    &cpu_resize_kernels,
    &cpu_activation_unary_kernels,
    &cpu_activation_softmax_kernels,
    &cpu_norm_batch_kernels,
    &cpu_norm_rows_kernels,
    &cpu_norm_group_kernels,
    &cpu_cast_kernels,
    &cpu_shape_kernels,
    &cpu_arith_broadcast_kernels,
    &cpu_arith_reduce_kernels,
    &cpu_dropout_kernels,
    &cpu_loss_entropy_kernels,
    &cpu_loss_pointwise_kernels,
    &cpu_optim_kernels,
    &cpu_stochastic_depth_kernels,
    &cpu_attention_kernels,
    &cpu_peak_kernels,
    NULL,
};
