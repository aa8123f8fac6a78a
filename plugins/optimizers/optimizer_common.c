/* What the optimizers have in common: the shape rule of an update, its state, its node. */
#include "optimizers.h"

int32_t optimizer_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *param = a->inputs[IN_PARAM], *lr = a->inputs[IN_LR], *step = a->inputs[IN_STEP];
    if (lr->dtype != CVR_F32 || lr->rank != 0 || step->dtype != CVR_I64 || step->rank != 0)
        return cvr_fail(err, CVR_ERR_INVALID, "an update's lr and step must be an f32 and an i64 scalar");
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        const cvr_type *t = a->inputs[i];
        if (!t || i == IN_LR || i == IN_STEP) continue;
        if (t->dtype != CVR_F32 || t->rank != param->rank || memcmp(t->shape, param->shape, sizeof t->shape) != 0 ||
            memcmp(t->order, param->order, sizeof t->order) != 0)
            return cvr_fail(err, CVR_ERR_INVALID,
                            "an update's gradient and state must have the parameter's shape, f32");
    }
    return CVR_OK;
}

int32_t optimizer_state(const cvr_builder *b, cvr_value param, const char *name, cvr_value *out, cvr_error *err) {
    const cvr_type *t = b->type(b, param);
    const cvr_init zero = {.struct_size = sizeof zero, .kind = CVR_INIT_CONSTANT};
    cvr_param_decl decl = {.struct_size = sizeof decl, .name = name, .dtype = CVR_F32, .rank = t->rank, .init = &zero};
    memcpy(decl.shape, t->shape, sizeof decl.shape);
    memcpy(decl.order, t->order, sizeof decl.order);
    return b->slot(b, param, &decl, out, err);
}

int32_t optimizer_emit(const cvr_builder *b, const cvr_update_args *args, const char *op, const void *attrs,
                       uint64_t attrs_size, const cvr_value *state, uint32_t n_state, cvr_error *err) {
    cvr_value inputs[8] = {args->param, args->grad, args->lr, args->step}, outputs[1];
    for (uint32_t i = 0; i < n_state; i++) inputs[IN_STATE + i] = state[i];
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = op,
                              .attrs = attrs,
                              .attrs_size = attrs_size,
                              .inputs = inputs,
                              .outputs = outputs,
                              .n_inputs = IN_STATE + n_state};
    return b->emit(b, &call, err);
}
