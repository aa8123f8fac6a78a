/* See cudnn_table.h. */
#include "cudnn_table.h"

#include "dynamic_library.h"

static const cudnn_table *standing_in;

void cudnn_table_stand_in(const cudnn_table *table) {
    standing_in = table;
}

const cudnn_table *cudnn_table_open(cvr_error *err) {
    static cudnn_table t;
    const dynamic_function functions[] = {{"cudnnGetVersion", &t.version},
                                          {"cudnnGetLastErrorString", &t.last_error},
                                          {"cudnnGetErrorString", &t.error_string},
                                          {"cudnnCreate", &t.create},
                                          {"cudnnDestroy", &t.destroy},
                                          {"cudnnSetStream", &t.set_stream},
                                          {"cudnnBackendCreateDescriptor", &t.descriptor_create},
                                          {"cudnnBackendDestroyDescriptor", &t.descriptor_destroy},
                                          {"cudnnBackendSetAttribute", &t.set},
                                          {"cudnnBackendGetAttribute", &t.get},
                                          {"cudnnBackendFinalize", &t.finalize},
                                          {"cudnnBackendExecute", &t.execute},
                                          {NULL, NULL}};
    if (standing_in) return standing_in;
    return dynamic_library_open("libcudnn.so.9", functions, err) == CVR_OK ? &t : NULL;
}

int32_t cudnn_check(const cudnn_table *t, cudnnStatus_t status, const char *what, cvr_error *err) {
    char message[600] = "";
    if (status == CUDNN_STATUS_SUCCESS) return CVR_OK;
    t->last_error(message, sizeof message);
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "cuDNN: %s: %s%s%.600s", what, t->error_string(status),
                    *message ? ": " : "", message);
}
