/*
 * Where commands need a barrier between them. Validation layers cannot tell, since kernels reach memory by addresses;
 * what is known is the ranges that each node touches.
 */
#ifndef VULKAN_BARRIERS_H
#define VULKAN_BARRIERS_H

#include <cvr/plugin/backend.h>

/* What is known of a command here: whose it is, and whether all before it must be done. */
typedef struct vulkan_order {
    uint64_t launch;    /* its number in the request */
    int32_t concurrent; /* needs nothing of the command just before it, which is of the same launch */
    int32_t barrier;
} vulkan_order;

/* Sets a barrier before each command that needs something done since the last one: as few as that takes. */
void vulkan_barriers_place(vulkan_order *o, uint64_t n, const cvr_launch *const *launches);
/* A barrier before every command. */
void vulkan_barriers_all(vulkan_order *o, uint64_t n);
/* Takes out barrier number `which`, from 1. False: there are not so many. */
int32_t vulkan_barriers_drop(vulkan_order *o, uint64_t n, uint64_t which);
/* Looks at every pair of commands. Those that have no barrier between them and need one are an error with their names.
 */
int32_t vulkan_barriers_check(const vulkan_order *o, uint64_t n, const cvr_launch *const *launches, cvr_error *err);

#endif
