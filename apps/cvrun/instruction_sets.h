/* Which of a machine's instruction sets multiplies fastest, against which comes first. */
#ifndef CVRUN_INSTRUCTION_SETS_H
#define CVRUN_INSTRUCTION_SETS_H

#include <cvr/peaks.h>
#include <cvr/session.h>

/* Measures the session's device for less than a second, and warns where kernels of a lower priority are faster. */
int32_t warn_of_slow_instruction_sets(cvr_session *s, cvr_error *err);

#endif
