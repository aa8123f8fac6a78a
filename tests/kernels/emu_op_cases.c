/* Convolutions, norms, softmax and sums in emu_race_test: kernels that have barriers. */
#include "emu_case.h"

#include <cvr/plugin/ops/activation.h>
#include <cvr/plugin/ops/arith.h>
#include <cvr/plugin/ops/conv.h>
#include <cvr/plugin/ops/norm.h>

static const cvr_conv2d_attrs conv = {{1, 1}, {1, 1}, {1, 1}, 1};
static const cvr_conv2d_backward_weight_attrs conv_weight = {{{1, 1}, {1, 1}, {1, 1}, 1}, {3, 3}};
static const cvr_batch_norm2d_attrs norm = {0.1, 1e-5};

static const cvr_softmax_attrs last_axis = {1};
static const cvr_layer_norm_attrs layer = {1, 2, 1e-5};
static const cvr_reduce_attrs over_last = {1, {1}, 0};
static const cvr_conv2d_attrs depthwise = {{1, 1}, {1, 1}, {1, 1}, 5};
static const cvr_conv2d_backward_weight_attrs depthwise_weight = {{{1, 1}, {1, 1}, {1, 1}, 5}, {3, 3}};

const emu_case emu_cases[] = {
    {"softmax", &last_axis, {NUMBERS(3, 300)}, {NUMBERS(3, 300)}, {"rows_softmax"}},
    {"layer_norm",
     &layer,
     {NUMBERS(3, 300), NUMBERS(300), NUMBERS(300)},
     {NUMBERS(3, 300), NUMBERS(3), NUMBERS(3)},
     {"rows_norm"}},
    {"sum", &over_last, {NUMBERS(5, 700)}, {NUMBERS(5)}, {"reduce"}},
    {"conv2d", &depthwise, {NUMBERS(1, 5, 9, 9), NUMBERS(5, 1, 3, 3)}, {NUMBERS(1, 5, 9, 9)}, {NULL}},
    {"conv2d_backward_weight",
     &depthwise_weight,
     {NUMBERS(1, 5, 9, 9), NUMBERS(1, 5, 9, 9)},
     {NUMBERS(5, 1, 3, 3)},
     {"depthwise_weight"}},
    {"conv2d", &conv, {NUMBERS(1, 5, 9, 9), NUMBERS(66, 5, 3, 3), NUMBERS(66)}, {NUMBERS(1, 66, 9, 9)}, {"product"}},
    {"conv2d_backward_weight",
     &conv_weight,
     {NUMBERS(2, 3, 24, 24), NUMBERS(2, 4, 24, 24)},
     {NUMBERS(4, 3, 3, 3)},
     {"product", "columns_finish"}},
    {"batch_norm2d",
     &norm,
     {NUMBERS(3, 40, 6, 7), NUMBERS(40), NUMBERS(40)},
     {NUMBERS(3, 40, 6, 7), NUMBERS(40), NUMBERS(40)},
     {"columns", "columns_finish"}},
};
const uint64_t n_emu_cases = sizeof emu_cases / sizeof *emu_cases;
