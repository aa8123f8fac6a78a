/*
 * Elementwise programs (<cvr/plugin/elementwise_steps.h>) made ready for blocks of rows: each step is a loop over a
 * row, and stretches of steps that are an activation or its gradient are one loop, the one that the op's own kernel
 * has.
 */
#ifndef CVR_BACKENDS_CPU_STEPS_H
#define CVR_BACKENDS_CPU_STEPS_H

#include "cpu_rows.h"

#include <cvr/plugin/ops/elementwise.h>

/* y[i] = f(x[i]), or dx[i] = f(saved[i], grad[i]), for n elements; y may be either operand. */
typedef void (*cpu_program_fn)(const void *attrs, const float *x, const float *grad, float *y, int64_t n);

/* A program for which there is a loop that gives the same bits and is faster than its steps. */
typedef struct cpu_known_program {
    void (*steps)(const void *attrs, cvr_steps *out);
    const void *attrs; /* a constant that is NaN by these may be any: the loop gets it as its attribute, a double */
    cpu_program_fn fn;
} cpu_known_program;

#define CPU_KNOWN_PROGRAMS 21
extern const cpu_known_program cpu_known_programs[CPU_KNOWN_PROGRAMS];

/* One loop over a row. Operands are numbered as in a cvr_step. */
typedef struct cpu_loop {
    cpu_program_fn known; /* NULL: the step `code` */
    const void *attrs;    /* of `known`; NULL: `constant` */
    double constant;
    uint32_t code, operands[4];
    uint32_t step; /* whose result it makes */
    uint32_t slot; /* the row that it goes to; rows are used again when nobody reads them any more */
} cpu_loop;

typedef struct cpu_loops_program {
    cpu_loop loops[CVR_MOST_STEPS];
    uint32_t n, n_constants, constants_read; /* bit i: a loop reads constant i as a row */
    float constants[CVR_MOST_STEPS];
} cpu_loops_program;

void cpu_steps_compile(cpu_loops_program *p, const cvr_steps *s);
/* y = the step of v; n elements */
void cpu_step_run(uint32_t code, const float *const v[4], float *y, int64_t n);

#endif
