/*
 * "cvr.exporter/1": writes a trained network for another runtime. The host hands it the network as it is evaluated:
 * nodes in the order in which they run, values with logical shapes (N,C,H,W), parameters as files have them (OIHW).
 * What depends on parameters alone is computed beforehand and comes as a stored value, too; what no output needs is
 * left out. An op that the format cannot say as it stands (`takes`) is replaced by its decomposition before.
 */
#ifndef CVR_PLUGIN_EXPORTER_H
#define CVR_PLUGIN_EXPORTER_H

#include "pass.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A value, as cvr_value_view has it; what was computed of parameters is a CVR_VALUE_CONSTANT. The order of elements in
 * memory (cvr_type.order) is of no account: everything here is in logical order. */
typedef struct cvr_export_value {
    uint64_t struct_size;
    const cvr_type *type; /* of the batch that the network was built with */
    const char *name;     /* of inputs and stored values; "" of others */
    uint32_t kind;        /* CVR_VALUE_* */
    uint32_t reserved;
    /* Axis i has this many elements for each picture of a batch; 0: its size has nothing to do with the batch, or the
     * batch is fixed. Of a stored value it is axis 0 with one row for each picture, and all rows are alike. */
    int64_t per_picture[CVR_MAX_RANK];
} cvr_export_value;

/* The network. Everything lives as long as the call of `write`. */
typedef struct cvr_export {
    uint64_t struct_size;
    void *ctx;
    const cvr_host *host;
    const void *attrs; /* the exporter's own settings, packed */
    const char *file;  /* the name of the file that is written, without its folder */
    int64_t batch;     /* pictures of a batch; 0: as many as the runtime is given */
    uint32_t n_inputs, n_outputs;
    uint64_t n_nodes;
    uint64_t n_metadata;
    const char *const *metadata; /* n_metadata keys and values, in turn: "task", "classify" */
    void (*node)(const struct cvr_export *x, uint64_t i, cvr_node_view *out);
    void (*value)(const struct cvr_export *x, cvr_value v, cvr_export_value *out);
    /* The i-th input, whose name is the value's. */
    cvr_value (*input)(const struct cvr_export *x, uint32_t i);
    /* The i-th result, and what it is called. */
    cvr_value (*output)(const struct cvr_export *x, uint32_t i, const char **name);
    /* The numbers of a stored value, row-major in logical order. */
    int32_t (*read)(const struct cvr_export *x, cvr_value v, void *out, cvr_error *err);
    /* Begins a file of the same name with `suffix` behind it ("": the file itself); what is put goes there until the
     * next begins. All files appear when `write` has returned CVR_OK, or none does. */
    int32_t (*begin)(const struct cvr_export *x, const char *suffix, cvr_error *err);
    int32_t (*put)(const struct cvr_export *x, const void *bytes, uint64_t n, cvr_error *err);
} cvr_export;

typedef struct cvr_exporter_desc {
    uint64_t struct_size;
    const char *name;      /* "onnx" */
    const char *extension; /* ".onnx" */
    const char *doc;
    uint32_t n_attrs;
    uint32_t reserved;
    const cvr_attr_desc *const *attrs; /* keys of [export] */
    /* 1 where the format can say what this op does, most likely since the op has the exporter's trait. Pure. */
    int32_t (*takes)(const cvr_op_desc *op);
    /* The same network always gives the same bytes. */
    int32_t (*write)(const cvr_export *x, cvr_error *err);
    const char *remedy; /* what the author of an op that it does not take can do: "give it the trait ..." */
} cvr_exporter_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_export_value) == 32 + 48, "cvr_export_value has padding");
CVR_STATIC_ASSERT(sizeof(cvr_export) == 136, "cvr_export has padding");
CVR_STATIC_ASSERT(sizeof(cvr_exporter_desc) == 72, "cvr_exporter_desc has padding");

#endif
