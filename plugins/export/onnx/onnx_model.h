/* A model in the making: the values of the file, its nodes as they are written, and its stored tensors. */
#ifndef CVR_ONNX_MODEL_H
#define CVR_ONNX_MODEL_H

#include "onnx_bytes.h"
#include <cvr/plugin/formats/onnx.h>

/* Settings, as onnx_plugin.c declares them. */
typedef struct onnx_attrs {
    int64_t opset;
    int64_t external;
} onnx_attrs;

typedef struct onnx_value {
    char *name;     /* NULL: it gets one from the node that makes it */
    cvr_type *type; /* stays where it is when values join, as ops' writers hold on to it; and so does per_picture */
    int64_t *per_picture; /* of CVR_MAX_RANK axes, behind the type */
    int32_t has_type;
    int32_t made;       /* it is an input, or a node before makes it; tensors need no node */
    const char *wanted; /* of a stored value: the name that it gets when a node reads it */
    uint64_t tensor;    /* its number, plus 1; 0: it is none */
} onnx_value;

/* A stored tensor. */
typedef struct onnx_tensor {
    cvr_onnx_value value;
    cvr_value source; /* whose numbers it has; CVR_NONE: `data` */
    void *data;
    uint64_t bytes;
    int64_t perm[CVR_MAX_RANK]; /* where `permuted`: axis i is the source's axis perm[i] */
    int32_t permuted;
    int32_t read; /* a node does; others are not written */
} onnx_tensor;

typedef struct onnx_model {
    const cvr_export *x;
    const cvr_host *host;
    const onnx_attrs *attrs;
    onnx_bytes nodes;      /* fields of GraphProto */
    onnx_bytes infos;      /* value_info, likewise */
    onnx_bytes scratch[4]; /* messages within messages */
    onnx_value *values;    /* [0] is none */
    uint64_t n_values, values_capacity;
    onnx_tensor *tensors;
    uint64_t n_tensors, tensors_capacity;
    uint32_t *table; /* of names: index of a value, by hash; a power of two, at most half full */
    uint64_t slots;
    cvr_onnx_value *of; /* by the network's value */
    uint64_t n_of;
    cvr_onnx_value batch;
    cvr_onnx_value *inputs, *results; /* of the file */
    uint32_t n_inputs, n_results;
    const char *scope, *op;  /* of the op that is being written: its layer, its name */
    const char *domains[16]; /* of ops that are not ONNX's own */
    uint32_t n_domains;
} onnx_model;

int32_t onnx_no_memory(cvr_error *err);
/* A new value; `name` NULL: it is named by the node that makes it. */
int32_t onnx_new_value(onnx_model *m, const char *name, cvr_onnx_value *out, cvr_error *err);
/* The value of the file that a value of the network is; a stored one becomes a tensor. */
int32_t onnx_value_of(onnx_model *m, cvr_value v, cvr_onnx_value *out, cvr_error *err);
void onnx_set_type(onnx_model *m, cvr_onnx_value v, const cvr_export_value *like);
/* A node that only turns or reshapes a stored tensor is none: its output is another tensor. *done: it was one. */
int32_t onnx_fold_node(onnx_model *m, const cvr_onnx_node *n, int32_t *done, cvr_error *err);
/* Adds a tensor, whose value is a new one. */
int32_t onnx_add_tensor(onnx_model *m, onnx_tensor *t, const cvr_type *type, const char *wanted, cvr_error *err);
/* The functions that ops are given. */
int32_t onnx_write_node(const cvr_onnx *o, const cvr_onnx_node *n, cvr_error *err);
int32_t onnx_write_constant(const cvr_onnx *o, const cvr_type *type, const void *data, cvr_onnx_value *out,
                            cvr_error *err);
int32_t onnx_write_batch(const cvr_onnx *o, cvr_onnx_value *out, cvr_error *err);
int32_t onnx_write_program(const cvr_onnx *o, const cvr_steps *steps, const cvr_onnx_value *inputs, uint32_t n_inputs,
                           cvr_onnx_value *out, cvr_error *err);
/* A ValueInfoProto: name, element type, shape; the open batch by its name. */
void onnx_put_info(onnx_model *m, onnx_bytes *to, uint32_t field, cvr_onnx_value v, const char *name);
void onnx_model_clear(onnx_model *m);

/* The file, and where they are large its tensors in another. */
int32_t onnx_write_file(onnx_model *m, cvr_error *err);

/* Numbers of fields in onnx.proto. */
enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_TENSOR = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12, GRAPH_INFO = 13 };

#endif
