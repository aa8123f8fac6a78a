/* The steps of elementwise programs (<cvr/plugin/elementwise.h>), shared with the kernels of the ops that they are. */
#ifndef CVR_BACKENDS_CPU_STEPS_H
#define CVR_BACKENDS_CPU_STEPS_H

#include "cpu_rows.h"

/* y[i] = f(x[i]), or dx[i] = f(saved[i], grad[i]), for n elements; y may be either operand. */
typedef void (*cpu_program_fn)(const void *attrs, const float *x, const float *grad, float *y, int64_t n);

typedef struct cpu_program_step {
    cpu_program_fn fn;
    const void *attrs; /* of the op; NULL: it has none, or the step's constant */
} cpu_program_step;

/* By CVR_STEP_* less CVR_STEP_RELU. */
extern const cpu_program_step cpu_activation_steps[2 * CVR_STEP_ACTIVATIONS];

#endif
