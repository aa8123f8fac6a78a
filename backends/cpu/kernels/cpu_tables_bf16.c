/* The tables of the packs of bf16 products: products alone. Other kernels that take bf16 are in the packs of
 * cpu_tables.c.
 */
#include "kernels.h"

const cpu_kernel_table *const cpu_pack_tables[] = {
    &cpu_conv_kernels,
    &cpu_conv_act_kernels,
    &cpu_conv_stats_kernels,
    &cpu_conv_norm_kernels,
    &cpu_linear_kernels,
    &cpu_peak_bf16_kernels, /* what calibrates */
    NULL,
};
