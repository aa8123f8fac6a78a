/* A device's memory: blocks, transfers, and what is past its limits. */
#ifndef CVR_BACKEND_MEMORY_H
#define CVR_BACKEND_MEMORY_H

#include <cvr/program.h>

/* The first thing that is wrong. */
int32_t backend_memory(cvr_device *d, cvr_plugins *plugins, const cvr_threadpool *pool, cvr_error *err);

#endif
