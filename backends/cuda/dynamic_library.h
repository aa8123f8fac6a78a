/* Libraries that are looked for when they are needed. */
#ifndef CUDA_DYNAMIC_LIBRARY_H
#define CUDA_DYNAMIC_LIBRARY_H

#include <cvr/plugin/abi.h>

/* A function of a library, and where its address goes. */
typedef struct dynamic_function {
    const char *name;
    void *to; /* a pointer to a function */
} dynamic_function;

/*
 * Opens a library of the CUDA toolkit by its name ("libcudnn.so.9"), as the dynamic linker finds it or else in the
 * toolkit's usual folder, and fills in its functions, whose list ends with a name of NULL. It stays open as long as the
 * process. CVR_ERR_NOTFOUND where the library or a function is missing.
 */
int32_t dynamic_library_open(const char *name, const dynamic_function *functions, cvr_error *err);

#endif
