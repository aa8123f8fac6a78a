/* Checks and parameters that the normalisation layers have in common. */
#include "norm_family.h"

const cvr_attr_desc norm_eps_attr = CVR_ATTR_INIT(FLOAT, "eps", "1e-05", "added to the variance", CVR_ATTR_AT_LEAST(0));
const cvr_attr_desc norm_affine_attr =
    CVR_ATTR_INIT(BOOL, "affine", "yes", "learn a scale and a shift of each channel");

int32_t norm_check_f32(const char *op, const cvr_type *x, cvr_error *err) {
    if (x->dtype == CVR_F32) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: the input is %s; it must be f32", op, cvr_dtype_name(x->dtype));
}

int32_t norm_check_vector(const char *op, const char *what, const cvr_type *v, int64_t n, cvr_error *err) {
    if (!v || (v->dtype == CVR_F32 && v->rank == 1 && v->shape[0] == n)) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: %s must be a vector of %lld f32", op, what, (long long)n);
}

int32_t norm_check_like(const char *op, const cvr_type *x, const cvr_type *grad, cvr_error *err) {
    if (grad->dtype == CVR_F32 && grad->rank == x->rank && memcmp(grad->shape, x->shape, sizeof x->shape) == 0)
        return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: the gradient must have the input's shape, f32", op);
}

int32_t norm_param(const cvr_builder *b, const char *name, double start, uint32_t rank, const int64_t *shape,
                   cvr_value *out, cvr_error *err) {
    const cvr_init init = {.struct_size = sizeof init, .kind = CVR_INIT_CONSTANT, .a = start};
    cvr_param_decl decl = {.struct_size = sizeof decl,
                           .name = name,
                           .dtype = CVR_F32,
                           .rank = rank,
                           .flags = CVR_PARAM_TRAINABLE | CVR_PARAM_NORM,
                           .init = &init};
    for (uint32_t i = 0; i < CVR_MAX_RANK; i++) decl.shape[i] = i < rank ? shape[i] : 1;
    return b->param(b, &decl, out, err);
}

int32_t norm_emit_backward(const cvr_builder *b, cvr_grad_args *a, cvr_value x, const char *op, uint64_t attrs_size,
                           const cvr_value statistics[2], cvr_error *err) {
    if (a->grad_outputs[0] == CVR_NONE) return CVR_OK;
    const cvr_value weight = a->n_inputs > 1 ? a->inputs[1] : CVR_NONE;
    const cvr_value inputs[5] = {x, a->grad_outputs[0], weight, statistics[0], statistics[1]};
    cvr_value outputs[3];
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = op,
                              .attrs = attrs_size ? a->attrs : NULL,
                              .attrs_size = attrs_size,
                              .inputs = inputs,
                              .outputs = outputs,
                              .n_inputs = 5,
                              .n_outputs = 3};
    CVR_TRY(b->emit(b, &call, err));
    for (uint32_t i = 0; i < 3 && i < a->n_inputs; i++) a->grad_inputs[i] = outputs[i];
    return CVR_OK;
}
