/*
 * Elementwise programs, made ready for elementwise.k: every value gets a slot, and inputs are loaded where they are
 * needed first.
 */
#include "device_ops.h"

#include <cvr/plugin/ops/norm.h>

#define UNSEEN UINT32_MAX

/* A program on its way into constants. Values are numbered as operands are: inputs from 0, results from
 * CVR_STEP_RESULT. */
typedef struct compiler {
    const cvr_steps *steps;
    uint32_t constants[96];
    uint32_t n;                         /* steps of the kernel */
    uint32_t slot[2 * CVR_STEP_RESULT]; /* of each value; UNSEEN: it has none */
    uint32_t last[2 * CVR_STEP_RESULT]; /* the step that uses it last */
    uint8_t taken[ELEMENTWISE_SLOTS];
} compiler;

static void find_last_uses(compiler *c) {
    memset(c->last, 0, sizeof c->last);
    for (uint32_t k = 0; k < c->steps->n_steps; k++)
        for (uint32_t i = 0; i < cvr_step_operands(c->steps->steps[k].code); i++) {
            const uint32_t from = c->steps->steps[k].operands[i];
            if (from < CVR_STEP_CONSTANT) c->last[from] = k;
        }
}

static uint32_t take_slot(compiler *c, uint32_t value) {
    uint32_t s = 0;
    while (c->taken[s]) s++; /* there are as many as values */
    c->taken[s] = 1;
    return c->slot[value] = s;
}

static void emit(compiler *c, uint32_t code, uint32_t to, const uint32_t from[4], uint32_t operands) {
    uint32_t *words = &c->constants[ELEMENTWISE_HEAD + 2 * c->n++];
    words[0] = code | to << 8 | from[0] << 16 | from[1] << 24;
    words[1] = from[2] | from[3] << 8 | operands << 16;
}

/* The operand as the kernel names it; an input that was not needed before is loaded. */
static uint32_t operand(compiler *c, uint32_t from) {
    if (from >= CVR_STEP_CONSTANT) return ELEMENTWISE_NUMBER + (from - CVR_STEP_CONSTANT);
    if (c->slot[from] == UNSEEN) emit(c, ELEMENTWISE_LOAD, take_slot(c, from), (const uint32_t[4]){from}, 1);
    return c->slot[from];
}

static void compile_step(compiler *c, uint32_t k) {
    const cvr_step *s = &c->steps->steps[k];
    const uint32_t n = cvr_step_operands(s->code);
    uint32_t from[4] = {0};
    for (uint32_t i = 0; i < n; i++) from[i] = operand(c, s->operands[i]);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t value = s->operands[i];
        if (value < CVR_STEP_CONSTANT && c->last[value] == k) c->taken[c->slot[value]] = 0;
    }
    emit(c, s->code, take_slot(c, CVR_STEP_RESULT + k), from, n);
}

static void compile(compiler *c, const cvr_steps *s) {
    memset(c, 0, sizeof *c);
    memset(c->slot, 0xff, sizeof c->slot);
    c->steps = s;
    find_last_uses(c);
    for (uint32_t k = 0; k < s->n_steps; k++) compile_step(c, k);
    c->constants[0] = c->n;
}

/* How input j lies beside y. */
static uint32_t place_input(elementwise_params *p, uint32_t j, const cvr_tensor *y, const cvr_tensor *x) {
    int64_t inner, size;
    (void)cvr_elementwise_repeat(y->rank, y->shape, x->rank, x->shape, &inner, &size);
    const device_divisor by_inner = device_divisor_of((uint32_t)inner), by_size = device_divisor_of((uint32_t)size);
    p->x[j] = device_address(x->data);
    p->inner_magic[j] = by_inner.magic;
    p->inner_shift[j] = by_inner.shift;
    p->size[j] = (uint32_t)size;
    p->size_magic[j] = by_size.magic;
    p->size_shift[j] = by_size.shift;
    if (size == 1) return ELEMENTWISE_ONE;
    if (inner == 1 && size == p->n) return ELEMENTWISE_FULL;
    return inner == 1 && size % 4 == 0 ? ELEMENTWISE_ROWS : ELEMENTWISE_EVEN;
}

device_program device_program_begin(void) {
    return (device_program){.steps = {.struct_size = sizeof(cvr_steps)}, .n = 0};
}

uint32_t device_input(device_program *p, const cvr_tensor *t) {
    p->inputs[p->n] = *t;
    return p->n++;
}

uint32_t device_input_channels(device_program *p, const cvr_tensor *t) {
    cvr_tensor *to = &p->inputs[p->n];
    *to = *t;
    to->rank = 3;
    to->shape[0] = cvr_numel(t->rank, t->shape);
    to->shape[1] = to->shape[2] = 1;
    return p->n++;
}

uint32_t device_activation(device_program *p, int64_t activation, uint32_t of) {
    cvr_steps *s = &p->steps;
    if (activation == CVR_ACTIVATION_NONE) return of;
    if (activation == CVR_ACTIVATION_SILU) {
        const uint32_t e = cvr_step1(s, CVR_STEP_EXP, cvr_step1(s, CVR_STEP_NEG, of));
        return cvr_step2(s, CVR_STEP_DIV, of, cvr_step2(s, CVR_STEP_ADD, cvr_constant(s, 1), e));
    }
    of = cvr_step4(s, CVR_STEP_SELECT_GT, cvr_constant(s, 0), of, cvr_constant(s, 0), of);
    if (activation == CVR_ACTIVATION_RELU) return of;
    return cvr_step4(s, CVR_STEP_SELECT_GT, of, cvr_constant(s, 6), cvr_constant(s, 6), of);
}

int32_t device_program_run(const device_program *program, const cvr_recorder *r, const cvr_tensor *y, cvr_error *err) {
    elementwise_params p = {.y = device_address(y->data), .n = device_numel(y)};
    compiler c;
    compile(&c, &program->steps);
    memcpy(p.numbers, program->steps.constants, sizeof p.numbers);
    c.constants[1] = y->dtype;
    for (uint32_t j = 0; j < program->n; j++) {
        c.constants[2] |= program->inputs[j].dtype << 4 * j;
        c.constants[3] |= place_input(&p, j, y, &program->inputs[j]) << 4 * j;
    }
    return DEVICE_LAUNCH(r, elementwise, &p, c.constants, device_groups(p.n, 4 * DEVICE_GROUP), err);
}

/* ---- the ops ---- */

static int32_t run_on_inputs(const cvr_kernel_args *a, device_program *p, const cvr_recorder *r, cvr_error *err) {
    for (uint32_t i = 0; i < a->n_inputs; i++) (void)device_input(p, a->inputs[i]);
    return device_program_run(p, r, a->outputs[0], err);
}

static int32_t record_program(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    device_program p = device_program_begin();
    cvr_elementwise_steps(a->attrs, &p.steps);
    return run_on_inputs(a, &p, r, err);
}

static int32_t record_one_step(const cvr_kernel_args *a, const cvr_recorder *r, uint32_t code, cvr_error *err) {
    device_program p = device_program_begin();
    (void)cvr_step2(&p.steps, code, 0, a->n_inputs > 1 ? 1 : 0);
    return run_on_inputs(a, &p, r, err);
}

static int32_t record_add(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return record_one_step(a, r, CVR_STEP_ADD, err);
}

static int32_t record_mul(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return record_one_step(a, r, CVR_STEP_MUL, err);
}

static int32_t record_cast(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return record_one_step(a, r, CVR_STEP_COPY, err);
}

/* The sums are of y as it is stored, which is what the op means. */
static int32_t record_program_sum(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    CVR_TRY(record_program(a, r, err));
    return device_bias_sum(r, a->outputs[0], a->outputs[1], a->workspace, err);
}

static uint64_t program_sum_workspace(const cvr_signature *sig) {
    return device_bias_workspace(sig->outputs[0], sig->outputs[1]);
}

const device_op device_elementwise_ops[] = {
    DEVICE_OP("elementwise", record_program, .inplace = 1),
    DEVICE_OP("add", record_add, .inplace = 3),
    DEVICE_OP("mul", record_mul, .inplace = 3),
    DEVICE_OP("cast", record_cast),
    DEVICE_OP("elementwise_sum", record_program_sum, .inplace = 1, .workspace = program_sum_workspace),
    {.op = NULL}};
