/* Initial values of parameters: initial.c. */
#ifndef CVR_CORE_INITIAL_H
#define CVR_CORE_INITIAL_H

#include "ir.h"

/* out (n) = values as `init` says, in order, of the stream that `key` names. pool: NULL: by the caller alone. */
void initial_floats(const cvr_init *init, uint64_t key, const cvr_threadpool *pool, float *out, int64_t n);

#endif
