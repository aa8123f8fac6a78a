/*
 * "cvr.weights/1": a file of named tensors. Shapes and element order are logical, as PyTorch has them (OIHW).
 */
#ifndef CVR_PLUGIN_WEIGHTS_H
#define CVR_PLUGIN_WEIGHTS_H

#include "host.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element types that only files have, beside those of abi.h. Whoever loads casts them, as PyTorch does. */
#define CVR_FILE_F64 64u
#define CVR_FILE_I16 65u
#define CVR_FILE_U16 66u
#define CVR_FILE_U32 67u
#define CVR_FILE_U64 68u
#define CVR_FILE_BOOL 69u

/* `data` holds the elements, row-major, of `bytes` bytes; it need not be aligned. `source_dtype` is the file's own word
 * for the type. */
typedef struct cvr_weight {
    uint64_t struct_size;
    const char *name;
    uint32_t dtype; /* of abi.h, or CVR_FILE_*; 0: neither: such a tensor can only be refused by name */
    uint32_t rank;
    int64_t shape[8];
    const void *data;
    uint64_t bytes;
    const char *source_dtype;
} cvr_weight;

/* Called once a tensor, in the file's order; a status other than CVR_OK stops the reading. */
typedef int32_t (*cvr_weight_fn)(void *ctx, const cvr_weight *w, cvr_error *err);

typedef struct cvr_weights_desc {
    uint64_t struct_size;
    const char *name;      /* "safetensors" */
    const char *extension; /* ".safetensors" */
    const char *doc;
    /* 1 where these are the first bytes of this format; `file_size` is that of the whole. */
    int32_t (*probe)(const uint8_t *bytes, uint64_t n, uint64_t file_size);
    /* The whole file is checked before the first tensor is given. */
    int32_t (*read)(const cvr_host *host, const uint8_t *bytes, uint64_t n, cvr_weight_fn each, void *ctx,
                    cvr_error *err);
    /* The bytes depend on the tensors only: names in byte order, no dates. `metadata`: n_metadata keys and values, in
     * turn. */
    int32_t (*write)(const cvr_host *host, const cvr_weight *const *weights, uint64_t n_weights,
                     const char *const *metadata, uint64_t n_metadata, cvr_sink_fn sink, void *sink_ctx,
                     cvr_error *err);
    /*
     * For a format without names, whose numbers lie in the order of a network's layers: as `read`, where `layout` are
     * the parameters and buffers of the network that the file is for, in any order: names, types and shapes, no data.
     * Tensors that the file does not reach may be left out. `read` then says that a network is needed. NULL: the files
     * have names.
     */
    int32_t (*read_for)(const cvr_host *host, const uint8_t *bytes, uint64_t n, const cvr_weight *const *layout,
                        uint64_t n_layout, cvr_weight_fn each, void *ctx, cvr_error *err);
} cvr_weights_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_weight) == 112, "cvr_weight has padding");
CVR_STATIC_ASSERT(sizeof(cvr_weights_desc) == 64, "cvr_weights_desc has padding");

#endif
