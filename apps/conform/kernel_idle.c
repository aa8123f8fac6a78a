/* Whether an update that is told to do nothing does nothing (cvr/plugin/idle.h). */
#include "kernel_ask.h"
#include <cvr/plugin/idle.h>
#include <math.h>

/* The launch's inputs as they are in a step that is vetoed. */
typedef struct idle_inputs {
    cvr_tensor tensors[CVR_MAX_IO];
    const cvr_tensor *all[CVR_MAX_IO];
    float *nan; /* as many as the largest input has */
    union {
        float real;
        int64_t whole;
    } told;
} idle_inputs;

static bool is_mutated(const cvr_op_desc *op, uint32_t i) {
    return i < 64 && (op->mutates >> i & 1);
}

/* What is mutated stays; the scalar tells it to be idle; other numbers are none. */
static int32_t idle_begin(idle_inputs *in, const verification *v, const cvr_idle_trait *idle, cvr_error *err) {
    const cvr_kernel_args *a = &v->args;
    uint64_t most = 0;
    memset(in, 0, sizeof *in);
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        const uint64_t bytes = a->inputs[i] ? check_tensor_bytes(a->inputs[i]) : 0;
        most = bytes > most ? bytes : most;
    }
    in->nan = cvr_alloc_aligned(most + sizeof *in->nan, 64);
    if (!in->nan) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (uint64_t i = 0; i < most / sizeof *in->nan; i++) in->nan[i] = NAN;
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        cvr_tensor *t = &in->tensors[i];
        if (!a->inputs[i]) continue;
        *t = *a->inputs[i];
        in->all[i] = t;
        if (t->dtype == CVR_F32 && !is_mutated(v->t->op, i)) t->data = in->nan;
    }
    cvr_tensor *t = &in->tensors[idle->input];
    t->data = &in->told;
    if (t->dtype == CVR_I64)
        in->told.whole = (int64_t)idle->value;
    else
        in->told.real = (float)idle->value;
    return CVR_OK;
}

/* Of the last run: the first input that is not what it was, or -1. */
static int64_t changed_input(const verification *v) {
    const check_bench *b = v->bench;
    for (uint32_t i = 0; i < v->args.n_inputs; i++) {
        const check_block *k = &b->blocks[i];
        if (is_mutated(v->t->op, i) && k->used && memcmp(b->before + k->at, b->after + k->at, k->bytes) != 0) return i;
    }
    return -1;
}

static int32_t run_idle(verification *v, const cvr_idle_trait *idle, cvr_error *err) {
    char text[160];
    CVR_TRY(verification_run(v, err));
    const int64_t i = changed_input(v);
    if (i < 0) return CVR_OK;
    check_tensor_text(&v->args, (uint32_t)i, text, sizeof text);
    return check_blame(v->bench, &v->launch, CVR_ERR_PLUGIN, err,
                       "changes %s where input %u is %g, though its op says that it is idle then (%s)", text,
                       idle->input, idle->value, CVR_TRAIT_IDLE);
}

int32_t verification_idle(verification *v, cvr_error *err) {
    const cvr_idle_trait *idle = cvr_op_trait(v->t->op, CVR_TRAIT_IDLE);
    const cvr_tensor *const *inputs = v->args.inputs;
    const uint32_t what = v->bench->what;
    idle_inputs in;
    if (!idle) return CVR_OK;
    const cvr_tensor *scalar = idle->input < v->args.n_inputs ? inputs[idle->input] : NULL;
    if (!scalar || cvr_numel(scalar->rank, scalar->shape) != 1 ||
        (scalar->dtype != CVR_F32 && scalar->dtype != CVR_I64))
        return check_blame(v->bench, &v->launch, CVR_ERR_PLUGIN, err,
                           "is idle by input %u, as its op says (%s), and that is not one number, f32 or i64",
                           idle->input, CVR_TRAIT_IDLE);
    CVR_TRY(idle_begin(&in, v, idle, err));
    v->args.inputs = in.all;
    v->bench->what &= ~CVR_CHECK_NAN; /* what is not a number comes in */
    const int32_t status = run_idle(v, idle, err);
    v->bench->what = what;
    v->args.inputs = inputs;
    cvr_free(in.nan);
    return status;
}
