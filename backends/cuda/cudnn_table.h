/* cuDNN's graph API as a table of functions, so that cuda.so loads where there is no cuDNN, and tests can stand in for
 * what needs a GPU. */
#ifndef CUDNN_TABLE_H
#define CUDNN_TABLE_H

#include <cudnn_graph.h>
#include <cvr/plugin/abi.h>

typedef struct cudnn_table {
    size_t (*version)(void);
    void (*last_error)(char *message, size_t size);
    const char *(*error_string)(cudnnStatus_t status);
    cudnnStatus_t (*create)(cudnnHandle_t *handle);
    cudnnStatus_t (*destroy)(cudnnHandle_t handle);
    cudnnStatus_t (*set_stream)(cudnnHandle_t handle, cudaStream_t stream);
    cudnnStatus_t (*descriptor_create)(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *d);
    cudnnStatus_t (*descriptor_destroy)(cudnnBackendDescriptor_t d);
    cudnnStatus_t (*set)(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                         int64_t n, const void *values);
    cudnnStatus_t (*get)(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                         int64_t room, int64_t *n, void *values);
    cudnnStatus_t (*finalize)(cudnnBackendDescriptor_t d);
    cudnnStatus_t (*execute)(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack);
} cudnn_table;

/* The library that is installed, opened once for the process. NULL where there is none of version 9; the error says
 * where it was looked for. */
const cudnn_table *cudnn_table_open(cvr_error *err);

/* Puts a table in the place of the library's, or takes it away again (NULL). For tests. */
void cudnn_table_stand_in(const cudnn_table *table);

/* CVR_OK, or an error with cuDNN's own message behind `what`. */
int32_t cudnn_check(const cudnn_table *t, cudnnStatus_t status, const char *what, cvr_error *err);

#endif
