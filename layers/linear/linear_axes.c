/* How products of matrices tie features (cvr/plugin/axes.h). */
#include "linear_family.h"

#define OUT CVR_AXES_OUTPUT

/* x (..., I), weight (O, I), bias (O) -> y (..., O) */
static void tie_linear(const cvr_axes *a) {
    const uint32_t last = a->inputs[0]->rank - 1;
    cvr_axes_tie(a, 0, last, 1, 1);
    cvr_axes_tie(a, OUT, last, 1, 0);
    cvr_axes_tie(a, OUT, last, 2, 0);
    for (uint32_t i = 0; i < last; i++) cvr_axes_tie(a, 0, i, OUT, i);
}

/* a (..., M, K), b (..., K, N) -> y (..., M, N), either one transposed if the attributes say so */
static void tie_matmul(const cvr_axes *a) {
    const cvr_matmul_attrs *attrs = a->attrs;
    const uint32_t row = a->inputs[0]->rank - 2, column = row + 1;
    cvr_axes_tie(a, 0, attrs->transpose_a ? row : column, 1, attrs->transpose_b ? column : row);
    cvr_axes_tie(a, OUT, row, 0, attrs->transpose_a ? column : row);
    cvr_axes_tie(a, OUT, column, 1, attrs->transpose_b ? row : column);
    for (uint32_t i = 0; i < row; i++) {
        cvr_axes_tie(a, OUT, i, 0, i);
        cvr_axes_tie(a, OUT, i, 1, i);
    }
}

const cvr_axes_trait linear_axes = {sizeof linear_axes, tie_linear, NULL, 0};
const cvr_axes_trait matmul_axes = {sizeof matmul_axes, tie_matmul, NULL, 0};
