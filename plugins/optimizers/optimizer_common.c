/* What the optimizers have in common: the shape rule of an update, its state, its node, and the op that does many. */
#include "optimizers.h"

const cvr_attr_desc optimizer_decay_attr = CVR_ATTR_INIT(FLOAT, "weight_decay", NULL, "of this parameter");
const cvr_attr_desc optimizer_factor_attr =
    CVR_ATTR_INIT(FLOAT, "lr_factor", NULL, "what this parameter's lr is multiplied with");
const cvr_attr_desc optimizer_betas_attr =
    CVR_ATTR_INIT(FLOAT, "betas", "0.9,0.999", "memory of the mean gradient and of its mean square", .count = 2,
                  CVR_ATTR_BETWEEN(0, 0.99999999999));
const cvr_attr_desc optimizer_eps_attr =
    CVR_ATTR_INIT(FLOAT, "eps", "1e-08", "added to the root of the mean square", CVR_ATTR_AT_LEAST(0));
const cvr_attr_desc optimizer_momentum_attr =
    CVR_ATTR_INIT(FLOAT, "momentum", "0", "share of the last update that is kept", CVR_ATTR_AT_LEAST(0));
const cvr_attr_desc optimizer_dampening_attr =
    CVR_ATTR_INIT(FLOAT, "dampening", "0", "share of the gradient that momentum leaves out");
const cvr_attr_desc optimizer_nesterov_attr = CVR_ATTR_INIT(BOOL, "nesterov", "no", "look ahead along the momentum");
const cvr_attr_desc optimizer_adapt_attr =
    CVR_ATTR_INIT(BOOL, "always_adapt", "no", "scale by norms also where there is no weight decay");

enum { MANY_LR, MANY_STEP, MANY_FIRST };

const cvr_idle_trait optimizer_idle = {sizeof optimizer_idle, -1, IN_STEP, 0};
const cvr_idle_trait optimizer_idle_many = {sizeof optimizer_idle_many, -1, MANY_STEP, 0};

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

int32_t optimizer_moments(const cvr_builder *b, cvr_value param, cvr_value out[2], cvr_error *err) {
    CVR_TRY(optimizer_state(b, param, "exp_avg", &out[0], err));
    return optimizer_state(b, param, "exp_avg_sq", &out[1], err);
}

int32_t optimizer_momentum(const cvr_builder *b, cvr_value param, double momentum, double dampening, int64_t nesterov,
                           cvr_value *out, cvr_error *err) {
    *out = CVR_NONE;
    if (nesterov && (momentum <= 0 || dampening != 0))
        return cvr_fail(err, CVR_ERR_USAGE, "nesterov needs a momentum above 0 and no dampening");
    return momentum != 0 ? optimizer_state(b, param, "momentum_buffer", out, err) : CVR_OK;
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

/* ---- many parameters in one node ---- */

CVR_DEFINE_TRAITS(many_traits, {CVR_TRAIT_IDLE, &optimizer_idle_many})

/* Where input k of a parameter's own lies among the inputs of the op of one parameter. */
static uint32_t place_of(uint32_t k) {
    return k <= IN_GRAD ? k : k - IN_LR + IN_STATE;
}

cvr_op_desc optimizer_many(const optimizer_family *f) {
    const uint32_t own = f->update.op.max_inputs - 2, most = (CVR_MAX_IO - MANY_FIRST) / own;
    cvr_op_desc d = f->multi;
    const cvr_multi_tensor_trait *trait = cvr_op_trait(&f->update.op, CVR_TRAIT_MULTI_TENSOR);
    d.struct_size = sizeof d;
    d.name = trait->op;
    d.version = 1;
    d.flags = CVR_OP_ORDER_AWARE; /* infer sees to it that a parameter and its gradient agree */
    d.min_inputs = MANY_FIRST + own;
    d.max_inputs = MANY_FIRST + own * most;
    d.n_attrs = f->update.op.n_attrs;
    d.attrs = f->update.op.attrs;
    d.trait = many_traits;
    for (uint32_t i = 0; i < own * most; i++) {
        d.mutates |= (f->update.op.mutates >> place_of(i % own) & 1) << (MANY_FIRST + i);
        d.optional |= (f->update.op.optional >> place_of(i % own) & 1) << (MANY_FIRST + i);
    }
    return d;
}

int32_t optimizer_many_infer(const cvr_infer_args *a, uint32_t own, cvr_error *err) {
    const cvr_type *in[CVR_MAX_IO] = {[IN_LR] = a->inputs[MANY_LR], [IN_STEP] = a->inputs[MANY_STEP]};
    const cvr_infer_args one = {sizeof one, a->attrs, in, NULL, own + 2, 0};
    CVR_TRY((a->n_inputs - MANY_FIRST) % own == 0
                ? CVR_OK
                : cvr_fail(err, CVR_ERR_INVALID, "an update of many has %u inputs of each", own));
    for (uint32_t i = MANY_FIRST; i < a->n_inputs; i += own) {
        for (uint32_t k = 0; k < own; k++) in[place_of(k)] = a->inputs[i + k];
        CVR_TRY(optimizer_infer(&one, err));
    }
    return CVR_OK;
}

int32_t optimizer_many_decompose(const cvr_builder *b, const cvr_decompose_args *a, const char *op, uint64_t attrs_size,
                                 uint32_t own, cvr_error *err) {
    cvr_value in[CVR_MAX_IO] = {[IN_LR] = a->inputs[MANY_LR], [IN_STEP] = a->inputs[MANY_STEP]}, none[1];
    const cvr_op_call one = {.struct_size = sizeof one,
                             .op = op,
                             .attrs = a->attrs,
                             .attrs_size = attrs_size,
                             .inputs = in,
                             .outputs = none,
                             .n_inputs = own + 2};
    for (uint32_t i = MANY_FIRST; i < a->n_inputs; i += own) {
        for (uint32_t k = 0; k < own; k++) in[place_of(k)] = a->inputs[i + k];
        CVR_TRY(b->emit(b, &one, err));
    }
    return CVR_OK;
}

double optimizer_flops(const cvr_infer_args *a, double each) {
    return each * (double)cvr_numel(a->inputs[IN_PARAM]->rank, a->inputs[IN_PARAM]->shape);
}

double optimizer_many_flops(const cvr_infer_args *a, uint32_t own, double flops) {
    double sum = 0;
    for (uint32_t i = MANY_FIRST; i < a->n_inputs; i += own)
        sum += flops * (double)cvr_numel(a->inputs[i]->rank, a->inputs[i]->shape);
    return sum;
}
