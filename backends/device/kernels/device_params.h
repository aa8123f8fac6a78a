/* The parameters of the kernels here: one struct each, read by the kernel and filled by the functions in ../ops. */
#ifndef DEVICE_PARAMS_H
#define DEVICE_PARAMS_H

#include "cvr/device/params.h"

/* ---- elementwise.k ---- */

#define ELEMENTWISE_INPUTS 8
#define ELEMENTWISE_SLOTS 40u
#define ELEMENTWISE_HEAD 16u    /* constants before the steps */
#define ELEMENTWISE_NUMBER 128u /* operands from here on are numbers of the program */
#define ELEMENTWISE_LOAD 255u   /* the code of a step that loads an input */

/* How an input lies beside the results. */
#define ELEMENTWISE_FULL 0u  /* one element for each */
#define ELEMENTWISE_ONE 1u   /* one for all */
#define ELEMENTWISE_ROWS 2u  /* over and over, a multiple of four elements */
#define ELEMENTWISE_EVEN 3u  /* element i / inner % size */

PARAMS(elementwise_params) {
    u64 y, x[ELEMENTWISE_INPUTS];
    u32 n;
    u32 inner_magic[ELEMENTWISE_INPUTS], inner_shift[ELEMENTWISE_INPUTS];
    u32 size[ELEMENTWISE_INPUTS], size_magic[ELEMENTWISE_INPUTS], size_shift[ELEMENTWISE_INPUTS];
    f32 numbers[32];
    u32 unused;
};

#endif
