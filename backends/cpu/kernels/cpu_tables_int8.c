/* The tables of the packs of integers: products of bytes, and what a quantised network has beside them. */
#include "kernels.h"

const cpu_kernel_table *const cpu_pack_tables[] = {
    &cpu_int8_conv_kernels,   &cpu_int8_transpose_kernels, &cpu_int8_attention_kernels,
    &cpu_int8_resize_kernels, &cpu_int8_simple_kernels,    NULL,
};
