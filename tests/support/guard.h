/* What the guard backend (guard_backend.c) and the test that opens it tell each other. */
#ifndef CVR_TEST_GUARD_H
#define CVR_TEST_GUARD_H

#include <stdint.h>

#define GUARD_SERVICE "cvr.test.guard/1"

typedef struct guard_service {
    uint64_t struct_size;
    /* Before a kernel runs: what to say if it dies. */
    void (*entering)(const char *node, const char *op, const char *isa);
} guard_service;

#endif
