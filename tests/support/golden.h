/* Golden files: safetensors whose tensors are named CASE/FIELD. */
#ifndef CVR_TEST_GOLDEN_H
#define CVR_TEST_GOLDEN_H

#include "layer_case.h"
#include <cvr/plugin/weights.h>

typedef struct golden_tensor {
    char *label; /* CASE */
    char *field;
    cvr_type type;
    uint8_t *data;
    uint64_t bytes;
    bool used;
} golden_tensor;

typedef struct golden {
    golden_tensor *tensors;
    size_t n, capacity;
    char **cases;
    size_t n_cases;
} golden;

int32_t golden_open(golden *g, cvr_plugins *plugins, const char *path, cvr_error *err);
void golden_close(golden *g);
/* NULL where the case has no such field; marks it as used. */
const golden_tensor *golden_find(golden *g, const char *label, const char *field);
/* Paths in `folder` whose names begin and end so, in byte order. Free each and the array. */
char **files_like(const char *folder, const char *begin, const char *end, size_t *n);

#endif
