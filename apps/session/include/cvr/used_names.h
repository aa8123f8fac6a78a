/* Names of files that one command gives, so that no two things get the same. */
#ifndef CVR_USED_NAMES_H
#define CVR_USED_NAMES_H

#include <cvr/base.h>

#pragma GCC visibility push(default)

typedef struct cvr_used_names {
    char **names; /* a hash table with open addressing; NULL: a free place */
    size_t n, room;
} cvr_used_names;

/* STEM + ending into `name`, or the first of STEM-2, STEM-3, ... that is not taken; it is taken then. */
int32_t cvr_used_names_take(cvr_used_names *u, const char *stem, const char *ending, char *name, size_t size,
                            cvr_error *err);
void cvr_used_names_clear(cvr_used_names *u);

#pragma GCC visibility pop
#endif
