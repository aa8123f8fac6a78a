/* From the steps of an elementwise program to loops over rows (see cpu_steps.h). */
#include "cpu_steps.h"
#include "cpu_math.h"

/* ---- one step ---- */

/* A loop of a step that is a constant where this is inlined. */
static inline __attribute__((always_inline)) void loop(uint32_t code, const float *const v[4], float *y, int64_t n) {
    const uint32_t operands = cvr_step_operands(code);
    const float *a = v[0], *b = operands > 1 ? v[1] : a, *c = operands > 2 ? v[2] : a, *d = operands > 2 ? v[3] : a;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        const float x[4] = {a[i], b[i], c[i], d[i]};
        y[i] = cvr_step_value(code, x);
    }
}

void cpu_step_run(uint32_t code, const float *const v[4], float *y, int64_t n) {
    switch (code) {
    case CVR_STEP_ADD: loop(CVR_STEP_ADD, v, y, n); break;
    case CVR_STEP_SUB: loop(CVR_STEP_SUB, v, y, n); break;
    case CVR_STEP_MUL: loop(CVR_STEP_MUL, v, y, n); break;
    case CVR_STEP_DIV: loop(CVR_STEP_DIV, v, y, n); break;
    case CVR_STEP_MAX: loop(CVR_STEP_MAX, v, y, n); break;
    case CVR_STEP_MIN: loop(CVR_STEP_MIN, v, y, n); break;
    case CVR_STEP_NEG: loop(CVR_STEP_NEG, v, y, n); break;
    case CVR_STEP_ABS: loop(CVR_STEP_ABS, v, y, n); break;
    case CVR_STEP_SQRT: loop(CVR_STEP_SQRT, v, y, n); break;
    case CVR_STEP_RSQRT: loop(CVR_STEP_RSQRT, v, y, n); break;
    case CVR_STEP_EXP: loop(CVR_STEP_EXP, v, y, n); break;
    case CVR_STEP_LOG: loop(CVR_STEP_LOG, v, y, n); break;
    case CVR_STEP_TANH: loop(CVR_STEP_TANH, v, y, n); break;
    case CVR_STEP_ERF: loop(CVR_STEP_ERF, v, y, n); break;
    case CVR_STEP_NORMAL_CDF: loop(CVR_STEP_NORMAL_CDF, v, y, n); break;
    case CVR_STEP_ROUND: loop(CVR_STEP_ROUND, v, y, n); break;
    case CVR_STEP_FLOOR: loop(CVR_STEP_FLOOR, v, y, n); break;
    case CVR_STEP_BF16: loop(CVR_STEP_BF16, v, y, n); break;
    case CVR_STEP_SELECT_GT: loop(CVR_STEP_SELECT_GT, v, y, n); break;
    case CVR_STEP_SELECT_GE: loop(CVR_STEP_SELECT_GE, v, y, n); break;
    case CVR_STEP_SELECT_EQ: loop(CVR_STEP_SELECT_EQ, v, y, n); break;
    default: loop(CVR_STEP_COPY, v, y, n); break;
    }
}

/* ---- known stretches ---- */

/* What the inputs of a known program are in the program where it was found, and the constant that may be any. */
typedef struct operand_binding {
    uint32_t inputs[2];
    int bound[2];
    double constant;
} operand_binding;

static int bind_operand(operand_binding *b, const cvr_steps *s, uint32_t k, const cvr_steps *known, uint32_t want,
                        uint32_t have) {
    if (want >= CVR_STEP_CONSTANT) {
        const float value = known->constants[want - CVR_STEP_CONSTANT];
        if (have < CVR_STEP_CONSTANT) return 0;
        const float *given = &s->constants[have - CVR_STEP_CONSTANT];
        if (value == value) return memcmp(&value, given, sizeof value) == 0;
        b->constant = (double)*given;
        return 1;
    }
    if (want >= CVR_STEP_RESULT) return have == want + k;
    if (have >= CVR_STEP_RESULT + k && have < CVR_STEP_CONSTANT) return 0; /* made within */
    if (b->bound[want]) return b->inputs[want] == have;
    b->bound[want] = 1;
    b->inputs[want] = have;
    return 1;
}

/* Whether nothing from step `end` on reads a result of steps first..end-2. */
static int is_closed(const cvr_steps *s, uint32_t first, uint32_t end) {
    for (uint32_t k = end; k < s->n_steps; k++)
        for (uint32_t i = 0; i < cvr_step_operands(s->steps[k].code); i++) {
            const uint32_t from = s->steps[k].operands[i];
            if (from >= CVR_STEP_RESULT + first && from + 1 < CVR_STEP_RESULT + end) return 0;
        }
    return 1;
}

/* Whether the steps from k on are the known program. */
static int is_known(const cvr_steps *s, uint32_t k, const cvr_steps *known, operand_binding *b) {
    memset(b, 0, sizeof *b);
    if (k + known->n_steps > s->n_steps) return 0;
    for (uint32_t j = 0; j < known->n_steps; j++) {
        const cvr_step *want = &known->steps[j], *have = &s->steps[k + j];
        if (want->code != have->code) return 0;
        for (uint32_t i = 0; i < cvr_step_operands(want->code); i++)
            if (!bind_operand(b, s, k, known, want->operands[i], have->operands[i])) return 0;
    }
    return is_closed(s, k, k + known->n_steps);
}

/* The loop for the steps from k on; returns how many steps it is. */
static uint32_t find_loop(cpu_loop *l, const cvr_steps *s, uint32_t k) {
    for (int i = 0; i < CPU_KNOWN_PROGRAMS; i++) {
        const cpu_known_program *p = &cpu_known_programs[i];
        cvr_steps known;
        operand_binding b;
        known.n_steps = known.n_constants = 0;
        p->steps(p->attrs, &known);
        if (known.steps[0].code != s->steps[k].code || !is_known(s, k, &known, &b)) continue;
        const int any = p->attrs && known.n_constants && known.constants[0] != known.constants[0];
        *l = (cpu_loop){.known = p->fn, .attrs = any ? NULL : p->attrs, .constant = b.constant};
        l->operands[0] = b.inputs[0];
        l->operands[1] = b.bound[1] ? b.inputs[1] : b.inputs[0];
        return known.n_steps;
    }
    *l = (cpu_loop){.code = s->steps[k].code};
    memcpy(l->operands, s->steps[k].operands, sizeof l->operands);
    return 1;
}

/* ---- rows ---- */

static uint32_t loop_operands(const cpu_loop *l) {
    return l->known ? 2 : cvr_step_operands(l->code);
}

/* Every result gets the lowest row that nobody needs; a loop may write over what it alone still reads. */
static void give_slots(cpu_loops_program *p) {
    uint32_t last[CVR_MOST_STEPS] = {0}, slot_of[CVR_MOST_STEPS] = {0}, used = 0;
    for (uint32_t k = 0; k < p->n; k++)
        for (uint32_t i = 0; i < loop_operands(&p->loops[k]); i++) {
            const uint32_t from = p->loops[k].operands[i];
            if (from >= CVR_STEP_CONSTANT)
                p->constants_read |= 1u << (from - CVR_STEP_CONSTANT);
            else if (from >= CVR_STEP_RESULT)
                last[from - CVR_STEP_RESULT] = k;
        }
    for (uint32_t k = 0; k < p->n; k++) {
        cpu_loop *l = &p->loops[k];
        for (uint32_t i = 0; i < loop_operands(l); i++) {
            const uint32_t from = l->operands[i] - CVR_STEP_RESULT;
            if (from < CVR_MOST_STEPS && last[from] == k) used &= ~(1u << slot_of[from]);
        }
        while (used >> l->slot & 1) l->slot++;
        slot_of[l->step] = l->slot;
        used |= 1u << l->slot;
    }
}

void cpu_steps_compile(cpu_loops_program *p, const cvr_steps *s) {
    p->n = p->constants_read = 0;
    p->n_constants = s->n_constants;
    memcpy(p->constants, s->constants, s->n_constants * sizeof *s->constants);
    for (uint32_t k = 0; k < s->n_steps;) {
        cpu_loop *l = &p->loops[p->n++];
        k += find_loop(l, s, k);
        l->step = k - 1;
    }
    give_slots(p);
}
