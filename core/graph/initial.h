/* Initial values of parameters: initial.c. */
#ifndef CVR_CORE_INITIAL_H
#define CVR_CORE_INITIAL_H

#include "ir.h"

typedef struct initial_request {
    const cvr_init *init;
    const cvr_type *type;       /* f32 */
    uint64_t key;               /* of the random stream */
    const cvr_threadpool *pool; /* NULL: the caller alone */
} initial_request;

/* memory = values as `init` says, in memory order. Drawn in logical order, so that the numbers do not depend on how the
 * memory is laid out, nor on the number of threads. */
int32_t initial_values(const initial_request *r, float *memory, cvr_error *err);

#endif
