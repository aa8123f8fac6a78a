/* Stored tensors that are only turned or reshaped are stored so: a dense layer's weight behind its MatMul. */
#include "onnx_model.h"

static const onnx_tensor *tensor_of(const onnx_model *m, cvr_onnx_value v) {
    return v && v < m->n_values && m->values[v].tensor ? &m->tensors[m->values[v].tensor - 1] : NULL;
}

/* The same numbers under another shape, or turned. The new value stands for the node's output. */
static int32_t add(onnx_model *m, const onnx_tensor *from, const cvr_type *type, const int64_t *perm,
                   cvr_onnx_value *out, cvr_error *err) {
    onnx_tensor t = {.source = from->source, .bytes = from->bytes, .permuted = perm || from->permuted};
    const char *wanted = m->values[from->value].wanted;
    memcpy(t.perm, perm ? perm : from->perm, (perm ? type->rank : CVR_MAX_RANK) * sizeof *t.perm);
    if (from->data) {
        t.data = m->host->alloc(m->host, t.bytes + 8, 64);
        if (!t.data) return onnx_no_memory(err);
        memcpy(t.data, from->data, t.bytes);
    }
    const int32_t status = onnx_add_tensor(m, &t, type, wanted, err);
    if (status != CVR_OK) m->host->free(m->host, t.data);
    *out = t.value;
    return status;
}

/* Reshape to sizes that are all given. */
static int32_t reshaped(const onnx_model *m, const onnx_tensor *shape, const cvr_type *from, cvr_type *to) {
    const int64_t *sizes = shape ? shape->data : NULL;
    const int64_t rank = sizes ? m->values[shape->value].type->shape[0] : 0;
    if (!sizes || rank < 1 || rank > (int64_t)CVR_MAX_RANK) return 0;
    cvr_type_set(to, from->dtype, (uint32_t)rank, sizes);
    for (int64_t i = 0; i < rank; i++)
        if (sizes[i] < 1) return 0;
    return 1;
}

int32_t onnx_fold_node(onnx_model *m, const cvr_onnx_node *n, int32_t *done, cvr_error *err) {
    const onnx_tensor *from = n->n_inputs ? tensor_of(m, n->inputs[0]) : NULL;
    cvr_type type;
    *done = 0;
    if (!from || n->domain || n->n_outputs != 1 || n->outputs[0]) return CVR_OK;
    const cvr_type *is = m->values[from->value].type;
    if (strcmp(n->type, "Transpose") == 0 && !from->permuted && n->n_attrs == 1 && n->attrs[0].n == is->rank) {
        int64_t shape[CVR_MAX_RANK];
        for (uint32_t i = 0; i < is->rank; i++) shape[i] = is->shape[n->attrs[0].ints[i]];
        cvr_type_set(&type, is->dtype, is->rank, shape);
        *done = 1;
        return add(m, from, &type, n->attrs[0].ints, &n->outputs[0], err);
    }
    if (strcmp(n->type, "Reshape") == 0 && !from->permuted && n->n_inputs == 2 &&
        reshaped(m, tensor_of(m, n->inputs[1]), is, &type)) {
        *done = 1;
        return add(m, from, &type, NULL, &n->outputs[0], err);
    }
    return CVR_OK;
}
