/* scaled_dot_product_attention: shapes and gradient. Formulas in ops/attention.h. */
#include "attention_family.h"

const cvr_attr_desc attention_num_heads =
    CVR_ATTR_INIT(INT, "num_heads", NULL, "heads side by side in the last axis", CVR_ATTR_PLACE_AT_LEAST(1));
static const cvr_attr_desc *const attrs_[] = {&attention_num_heads};

/* q (N,L,D), k and v (N,S,D), f32 */
static int32_t check(const cvr_infer_args *a, cvr_error *err) {
    const cvr_attention_attrs *attrs = a->attrs;
    const cvr_type *q = a->inputs[0], *k = a->inputs[1], *v = a->inputs[2];
    int fits = q->rank == 3 && k->rank == 3 && q->shape[0] == k->shape[0] && q->shape[2] == k->shape[2] &&
               k->shape[1] >= 1 && v->rank == 3 && memcmp(k->shape, v->shape, sizeof k->shape) == 0;
    for (int i = 0; i < 3; i++) fits = fits && a->inputs[i]->dtype == CVR_F32;
    if (!fits)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "attention takes q (N,L,D), k and v (N,S,D), f32; these are %s, %s and %s",
                        cvr_shape_of(q).text, cvr_shape_of(k).text, cvr_shape_of(v).text);
    if (attrs->num_heads < 1 || q->shape[2] < 1 || q->shape[2] % attrs->num_heads != 0)
        return cvr_fail(err, CVR_ERR_INVALID, "num_heads=%lld must divide the %lld features",
                        (long long)attrs->num_heads, (long long)q->shape[2]);
    return CVR_OK;
}

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_attention_attrs *attrs = a->attrs;
    const cvr_type *q = a->inputs[0];
    const int64_t lse[3] = {q->shape[0], attrs->num_heads, q->shape[1]};
    *a->outputs[0] = *q;
    cvr_type_set(a->outputs[1], CVR_F32, 3, lse);
    return check(a, err);
}

static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_attention_attrs *attrs = a->attrs;
    const cvr_type *q = a->inputs[0], *y = a->inputs[3], *lse = a->inputs[4], *grad = a->inputs[5];
    CVR_TRY(check(a, err));
    if (y->rank != 3 || memcmp(y->shape, q->shape, sizeof q->shape) != 0 || grad->rank != 3 ||
        memcmp(grad->shape, q->shape, sizeof q->shape) != 0 || lse->rank != 3 || lse->shape[0] != q->shape[0] ||
        lse->shape[1] != attrs->num_heads || lse->shape[2] != q->shape[1])
        return cvr_fail(err, CVR_ERR_INVALID,
                        "attention: y and its gradient must have the shape of q, lse (N,heads,L)");
    for (int i = 0; i < 3; i++) *a->outputs[i] = *a->inputs[i];
    return CVR_OK;
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    if (a->grad_outputs[0] == CVR_NONE) return CVR_OK;
    const cvr_value inputs[6] = {a->inputs[0],  a->inputs[1],  a->inputs[2],
                                 a->outputs[0], a->outputs[1], a->grad_outputs[0]};
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = "scaled_dot_product_attention_backward",
                              .attrs = a->attrs,
                              .attrs_size = sizeof(cvr_attention_attrs),
                              .inputs = inputs,
                              .outputs = a->grad_inputs,
                              .n_inputs = 6,
                              .n_outputs = 3};
    return b->emit(b, &call, err);
}

/* Two products of (L,E) with (S,E) a head. */
static double flops(const cvr_infer_args *a) {
    const cvr_type *q = a->inputs[0];
    return 4.0 * (double)cvr_numel(3, q->shape) * (double)a->inputs[1]->shape[1];
}

/* Five of them. */
static double backward_flops(const cvr_infer_args *a) {
    return 2.5 * flops(a);
}

static const cvr_precision_trait backward_follows = {sizeof(cvr_precision_trait), 7};
CVR_DEFINE_TRAITS(backward_traits, {CVR_TRAIT_PRECISION, &backward_follows})

const cvr_reference_op attention_ops[ATTENTION_OPS] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "scaled_dot_product_attention",
            .trait = attention_traits,
            .version = 1,
            .min_inputs = 3,
            .max_inputs = 3,
            .n_outputs = 2,
            .n_attrs = 1,
            .attrs = attrs_,
            .infer = infer,
            .grad = grad,
            .flops = flops,
            .doc = "y = softmax(q k^T / sqrt(E)) v for each head (Vaswani et al., 2017)"},
     .reference = {sizeof(cvr_cpu_fn), attention_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "scaled_dot_product_attention_backward",
            .trait = backward_traits,
            .version = 1,
            .min_inputs = 6,
            .max_inputs = 6,
            .n_outputs = 3,
            .n_attrs = 1,
            .attrs = attrs_,
            .infer = backward_infer,
            .flops = backward_flops,
            .doc = "gradients of q, k and v; the softmax is computed again from lse"},
     .reference = {sizeof(cvr_cpu_fn), attention_backward_run},
     .workspace = attention_backward_workspace},
};
