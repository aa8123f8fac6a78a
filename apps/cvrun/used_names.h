/* Names of files that one command gives, so that no two things get the same. */
#ifndef CVRUN_USED_NAMES_H
#define CVRUN_USED_NAMES_H

#include <cvr/base.h>

typedef struct used_names {
    char **names; /* a hash table with open addressing; NULL: a free place */
    size_t n, room;
} used_names;

/* STEM + ending into `name`, or the first of STEM-2, STEM-3, ... that is not taken; it is taken then. */
int32_t used_names_take(used_names *u, const char *stem, const char *ending, char *name, size_t size, cvr_error *err);
void used_names_clear(used_names *u);

#endif
