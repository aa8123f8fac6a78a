/* What tells the updates of a step that they are vetoed: the op update_guard (<cvr/plugin/idle.h>). */
#include "optimizers.h"

static bool is_number(const cvr_type *t) {
    return cvr_numel(t->rank, t->shape) == 1 && (t->dtype == CVR_F32 || t->dtype == CVR_I32 || t->dtype == CVR_I64);
}

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0];
    if (!is_number(x) || x->dtype == CVR_I32)
        return cvr_fail(err, CVR_ERR_INVALID, "update_guard: guards one number, f32 or i64");
    for (uint32_t i = 1; i < a->n_inputs; i++)
        if (!is_number(a->inputs[i]))
            return cvr_fail(err, CVR_ERR_INVALID, "update_guard: veto %u must be one number, f32, i32 or i64", i);
    *a->outputs[0] = *x;
    return CVR_OK;
}

static bool says_no(const cvr_tensor *veto, bool finite) {
    if (veto->dtype == CVR_I64) return !finite && *(const int64_t *)veto->data != 0;
    if (veto->dtype == CVR_I32) return !finite && *(const int32_t *)veto->data != 0;
    const float number = *(const float *)veto->data;
    return finite ? !isfinite(number) : number != 0;
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_update_guard_attrs *s = a->attrs;
    const cvr_tensor *x = a->inputs[0];
    bool no = false;
    for (uint32_t i = 1; i < a->n_inputs; i++) no = no || says_no(a->inputs[i], s->finite != 0);
    if (x->dtype == CVR_F32)
        *(float *)a->outputs[0]->data = no ? (float)s->idle : *(const float *)x->data;
    else
        *(int64_t *)a->outputs[0]->data = no ? (int64_t)s->idle : *(const int64_t *)x->data;
    return CVR_OK;
}

static const cvr_attr_desc idle_attr = CVR_ATTR_INIT(FLOAT, "idle", NULL, "what the update reads if it is vetoed");
static const cvr_attr_desc finite_attr =
    CVR_ATTR_INIT(BOOL, "finite", "no", "a veto says no where it is not finite, else where it is not 0");
static const cvr_attr_desc *const attrs[] = {&idle_attr, &finite_attr};

const cvr_reference_op optimizer_guard = {.op = {.struct_size = sizeof(cvr_op_desc),
                                                 .name = "update_guard",
                                                 .version = 1,
                                                 .flags = CVR_OP_ORDER_AWARE,
                                                 .min_inputs = 2,
                                                 .max_inputs = 63,
                                                 .n_outputs = 1,
                                                 .n_attrs = 2,
                                                 .attrs = attrs,
                                                 .infer = infer,
                                                 .doc = "x, or what makes updates do nothing, where a veto says no"},
                                          .reference = {sizeof(cvr_cpu_fn), run}};
