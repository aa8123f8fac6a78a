/* How attention ties features: whole heads stay or go, of query, key, value and result alike (cvr/plugin/axes.h). */
#include "attention_family.h"

/* The features of a head lie side by side. */
static void tie(const cvr_axes *a) {
    const int64_t heads = ((const cvr_attention_attrs *)a->attrs)->num_heads, d = a->inputs[0]->shape[2];
    const cvr_axis_run head = {0, 2, 0, d / heads, d / heads}, feature = {0, 2, 0, 1, 1},
                       lse = {CVR_AXES_OUTPUT + 1, 1, 0, 1, d / heads};
    a->tie(a, &head, &feature, d);
    a->tie(a, &lse, &feature, d);
    cvr_axes_tie(a, 0, 2, 1, 2);
    cvr_axes_tie(a, 0, 2, 2, 2);
    cvr_axes_tie(a, 0, 2, CVR_AXES_OUTPUT, 2);
}

static void narrow(const cvr_axes *a, void *attrs) {
    ((cvr_attention_attrs *)attrs)->num_heads = cvr_axes_left(a, CVR_AXES_OUTPUT + 1, 1);
}

const cvr_axes_trait attention_axes = {sizeof attention_axes, tie, narrow, 0};
