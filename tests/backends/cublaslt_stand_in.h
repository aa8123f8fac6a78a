/* cuBLASLt for a device that is not there: it offers algorithms for products that make sense, and computes them by
 * plain loops. What it was asked for is kept for the test to look at. */
#ifndef CVR_TEST_CUBLASLT_STAND_IN_H
#define CVR_TEST_CUBLASLT_STAND_IN_H

#include "cuda/cublaslt_table.h"
#include "device_stand_in.h"

#define STAND_IN_WORKSPACE 4096u /* that algorithm 1 wants; the others want none */

typedef struct cublaslt_seen {
    cublasComputeType_t compute;
    cublasLtEpilogue_t epilogue;
    cudaDataType_t a, b, to, bias;
    uint64_t most_workspace;
    uint32_t schemes;
    int64_t objects; /* descriptors, layouts and so on that are out */
} cublaslt_seen;
extern cublaslt_seen cublaslt_seen_last;

void cublaslt_stand_in_begin(void);
void cublaslt_stand_in_end(void);

#endif
