/* Values, nodes and stored tensors of the file, as ops put them there. */
#include "onnx_model.h"

int32_t onnx_no_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the ONNX file");
}

/* ---- names ---- */

static uint64_t hash_of(const char *name) {
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *name; name++) h = (h ^ (uint8_t)*name) * 0x100000001b3u;
    return h;
}

/* Where the name is in the table, or would be. */
static uint64_t slot_of(const onnx_model *m, const char *name) {
    uint64_t at = hash_of(name) & (m->slots - 1);
    while (m->table[at] && strcmp(m->values[m->table[at]].name, name) != 0) at = (at + 1) & (m->slots - 1);
    return at;
}

static int32_t widen_table(onnx_model *m, cvr_error *err) {
    const uint64_t slots = m->slots ? 2 * m->slots : 1024;
    uint32_t *table = m->host->alloc(m->host, slots * sizeof *table, 64);
    if (!table) return onnx_no_memory(err);
    memset(table, 0, slots * sizeof *table);
    m->host->free(m->host, m->table);
    m->table = table;
    m->slots = slots;
    for (uint64_t v = 1; v < m->n_values; v++)
        if (m->values[v].name) m->table[slot_of(m, m->values[v].name)] = (uint32_t)v;
    return CVR_OK;
}

/* Gives the value this name, or where it is taken NAME_1, NAME_2, ... */
static int32_t name_value(onnx_model *m, cvr_onnx_value v, const char *name, cvr_error *err) {
    const uint64_t n = strlen(name) + 24;
    char *copy = m->host->alloc(m->host, n, 8);
    if (!copy) return onnx_no_memory(err);
    (void)snprintf(copy, n, "%s", name);
    if (2 * m->n_values >= m->slots && widen_table(m, err) != CVR_OK) {
        m->host->free(m->host, copy);
        return CVR_ERR_NOMEM;
    }
    for (uint32_t i = 1; m->table[slot_of(m, copy)]; i++) (void)snprintf(copy, n, "%s_%u", name, i);
    m->table[slot_of(m, copy)] = v;
    m->values[v].name = copy;
    return CVR_OK;
}

/* ---- values ---- */

int32_t onnx_new_value(onnx_model *m, const char *name, cvr_onnx_value *out, cvr_error *err) {
    onnx_value *more = onnx_grow(m->host, m->values, m->n_values, &m->values_capacity, sizeof *more);
    if (!more) return onnx_no_memory(err);
    m->values = more;
    if (m->n_values == 0) memset(&more[m->n_values++], 0, sizeof *more);
    const uint64_t bytes = sizeof(cvr_type) + CVR_MAX_RANK * sizeof(int64_t);
    cvr_type *type = m->host->alloc(m->host, bytes, 64);
    if (!type) return onnx_no_memory(err);
    memset(type, 0, bytes);
    *out = (cvr_onnx_value)m->n_values;
    memset(&more[m->n_values], 0, sizeof *more);
    more[m->n_values].type = type;
    more[m->n_values++].per_picture = (int64_t *)(void *)(type + 1);
    return name ? name_value(m, *out, name, err) : CVR_OK;
}

void onnx_set_type(onnx_model *m, cvr_onnx_value v, const cvr_export_value *like) {
    *m->values[v].type = *like->type;
    memcpy(m->values[v].per_picture, like->per_picture, sizeof like->per_picture);
    m->values[v].has_type = 1;
}

int32_t onnx_add_tensor(onnx_model *m, onnx_tensor *t, const cvr_type *type, const char *wanted, cvr_error *err) {
    const cvr_export_value like = {.struct_size = sizeof like, .type = type};
    CVR_TRY(onnx_new_value(m, NULL, &t->value, err));
    onnx_tensor *more = onnx_grow(m->host, m->tensors, m->n_tensors, &m->tensors_capacity, sizeof *more);
    if (!more) return onnx_no_memory(err);
    onnx_set_type(m, t->value, &like);
    m->tensors = more;
    more[m->n_tensors++] = *t;
    m->values[t->value].wanted = wanted;
    m->values[t->value].tensor = m->n_tensors;
    return CVR_OK;
}

int32_t onnx_value_of(onnx_model *m, cvr_value v, cvr_onnx_value *out, cvr_error *err) {
    cvr_export_value is;
    *out = v < m->n_of ? m->of[v] : 0;
    if (*out || v == CVR_NONE) return CVR_OK;
    m->x->value(m->x, v, &is);
    if (is.kind >= CVR_VALUE_PARAMETER) {
        onnx_tensor t = {.source = v,
                         .bytes = (uint64_t)cvr_numel(is.type->rank, is.type->shape) * cvr_dtype_size(is.type->dtype)};
        CVR_TRY(onnx_add_tensor(m, &t, is.type, is.name, err));
        *out = t.value;
    } else {
        CVR_TRY(onnx_new_value(m, NULL, out, err));
        onnx_set_type(m, *out, &is);
    }
    m->of[v] = *out;
    return CVR_OK;
}

/* ---- what ops are given ---- */

int32_t onnx_write_constant(const cvr_onnx *o, const cvr_type *type, const void *data, cvr_onnx_value *out,
                            cvr_error *err) {
    onnx_model *m = o->ctx;
    const uint64_t bytes = (uint64_t)cvr_numel(type->rank, type->shape) * cvr_dtype_size(type->dtype);
    onnx_tensor t = {.bytes = bytes};
    for (uint64_t i = 0; i < m->n_tensors; i++) { /* one tensor for equal numbers */
        const onnx_tensor *old = &m->tensors[i];
        const cvr_type *is = m->values[old->value].type;
        if (!old->data || old->bytes != bytes || is->dtype != type->dtype || is->rank != type->rank ||
            memcmp(is->shape, type->shape, sizeof is->shape) != 0 || memcmp(old->data, data, bytes) != 0)
            continue;
        *out = old->value;
        return CVR_OK;
    }
    t.data = m->host->alloc(m->host, bytes + 8, 64);
    if (!t.data) return onnx_no_memory(err);
    memcpy(t.data, data, bytes);
    const int32_t status = onnx_add_tensor(m, &t, type, "constant", err);
    if (status != CVR_OK) m->host->free(m->host, t.data);
    *out = t.value;
    return status;
}

int32_t onnx_write_batch(const cvr_onnx *o, cvr_onnx_value *out, cvr_error *err) {
    onnx_model *m = o->ctx;
    const cvr_onnx_attr axis = cvr_onnx_int("axis", 0);
    cvr_onnx_value in[2] = {0, 0}, shape = 0;
    if (!m->batch) {
        CVR_TRY(onnx_new_value(m, "batch", &m->batch, err));
        CVR_TRY(onnx_value_of(m, m->x->input(m->x, 0), &in[0], err));
        CVR_TRY(cvr_onnx_emit1(o, "Shape", in[0], &shape, err));
        in[0] = shape;
        CVR_TRY(cvr_onnx_i64(o, 0, &in[1], err));
        CVR_TRY(cvr_onnx_emit(o, "Gather", in, 2, &axis, 1, &m->batch, err));
    }
    *out = m->batch;
    return CVR_OK;
}

/* AttributeProto: name 1, f 2, i 3, s 4, ints 8, type 20 (FLOAT 1, INT 2, STRING 3, INTS 7). */
static void put_attr(onnx_model *m, const cvr_onnx_attr *a) {
    onnx_bytes *to = &m->scratch[1];
    to->n = 0;
    onnx_put_text(to, 1, a->name);
    switch (a->kind) {
    case CVR_ONNX_INT: onnx_put_int(to, 3, a->i); break;
    case CVR_ONNX_FLOAT: onnx_put_float(to, 2, (float)a->f); break;
    case CVR_ONNX_STRING: onnx_put_text(to, 4, a->s); break;
    default:
        for (uint32_t i = 0; i < a->n; i++) onnx_put_int(to, 8, a->ints[i]);
    }
    onnx_put_int(to, 20,
                 a->kind == CVR_ONNX_INT      ? 2
                 : a->kind == CVR_ONNX_FLOAT  ? 1
                 : a->kind == CVR_ONNX_STRING ? 3
                                              : 7);
    onnx_put_message(&m->scratch[0], 5, to);
}

static int32_t note_domain(onnx_model *m, const char *domain, cvr_error *err) {
    for (uint32_t i = 0; i < m->n_domains; i++)
        if (strcmp(m->domains[i], domain) == 0) return CVR_OK;
    if (m->n_domains == sizeof m->domains / sizeof *m->domains)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "an ONNX file of more than 16 domains");
    m->domains[m->n_domains++] = domain;
    return CVR_OK;
}

/* The node has the layer's name, and its op's behind it from the second node on. */
static void node_name(const onnx_model *m, const cvr_onnx_node *n, char *name, size_t size) {
    const char *scope = *m->scope ? m->scope : m->op;
    const int32_t last = n->n_outputs && n->outputs[0] && m->values[n->outputs[0]].has_type;
    if (last)
        (void)snprintf(name, size, "%.400s", scope);
    else
        (void)snprintf(name, size, "%.400s/%.80s", scope, n->type);
}

static int32_t name_outputs(onnx_model *m, const cvr_onnx_node *n, const char *name, cvr_error *err) {
    char text[600];
    for (uint32_t i = 0; i < n->n_outputs; i++) {
        if (!n->outputs[i]) CVR_TRY(onnx_new_value(m, NULL, &n->outputs[i], err));
        if (n->outputs[i] >= m->n_values || m->values[n->outputs[i]].made || m->values[n->outputs[i]].tensor)
            return cvr_fail(err, CVR_ERR_PLUGIN, "node %s makes a value that is there already", n->type);
        m->values[n->outputs[i]].made = 1;
        if (m->values[n->outputs[i]].name) continue;
        (void)snprintf(text, sizeof text, i ? "%s_output_%u" : "%s_output", name, i);
        CVR_TRY(name_value(m, n->outputs[i], text, err));
    }
    return CVR_OK;
}

/* Each is made before, or is a tensor, which is now read. */
static int32_t check_inputs(onnx_model *m, const cvr_onnx_node *n, cvr_error *err) {
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        const cvr_onnx_value v = n->inputs[i];
        if (v < m->n_values && m->values[v].tensor) {
            m->tensors[m->values[v].tensor - 1].read = 1;
            if (!m->values[v].name) CVR_TRY(name_value(m, v, m->values[v].wanted, err));
        }
        if (v >= m->n_values || (v && !m->values[v].made && !m->values[v].tensor))
            return cvr_fail(err, CVR_ERR_PLUGIN, "node %s reads a value that no node before it makes", n->type);
    }
    return CVR_OK;
}

/* NodeProto: input 1, output 2, name 3, op_type 4, attribute 5, domain 7. */
int32_t onnx_write_node(const cvr_onnx *o, const cvr_onnx_node *n, cvr_error *err) {
    onnx_model *m = o->ctx;
    onnx_bytes *to = &m->scratch[0];
    cvr_onnx_value own = 0;
    int32_t folded;
    char name[512];
    if (n->struct_size < sizeof *n || !n->type) return cvr_fail(err, CVR_ERR_PLUGIN, "a node without a type");
    CVR_TRY(onnx_fold_node(m, n, &folded, err));
    if (folded) return CVR_OK;
    CVR_TRY(check_inputs(m, n, err));
    node_name(m, n, name, sizeof name);
    CVR_TRY(name_outputs(m, n, name, err));
    /* Nodes and values share the table of names, so that both are unique. */
    CVR_TRY(onnx_new_value(m, name, &own, err));
    to->n = 0;
    for (uint32_t i = 0; i < n->n_inputs; i++) onnx_put_text(to, 1, n->inputs[i] ? m->values[n->inputs[i]].name : "");
    for (uint32_t i = 0; i < n->n_outputs; i++) onnx_put_text(to, 2, m->values[n->outputs[i]].name);
    onnx_put_text(to, 3, m->values[own].name);
    onnx_put_text(to, 4, n->type);
    for (uint32_t i = 0; i < n->n_attrs; i++) put_attr(m, &n->attrs[i]);
    if (n->domain) {
        CVR_TRY(note_domain(m, n->domain, err));
        onnx_put_text(to, 7, n->domain);
    }
    onnx_put_message(&m->nodes, GRAPH_NODE, to);
    return m->nodes.failed ? onnx_no_memory(err) : CVR_OK;
}

/* ---- types ---- */

/* ValueInfoProto: name 1, type 2; TypeProto: tensor_type 1 {elem_type 1, shape 2 {dim 1 {dim_value 1, dim_param 2}}} */
void onnx_put_info(onnx_model *m, onnx_bytes *to, uint32_t field, cvr_onnx_value v, const char *name) {
    const onnx_value *is = &m->values[v];
    onnx_bytes *dim = &m->scratch[0], *shape = &m->scratch[1], *type = &m->scratch[2], *info = &m->scratch[3];
    shape->n = type->n = info->n = 0;
    for (uint32_t i = 0; i < is->type->rank; i++) {
        dim->n = 0;
        if (!is->per_picture[i])
            onnx_put_int(dim, 1, is->type->shape[i]);
        else if (is->per_picture[i] == 1)
            onnx_put_text(dim, 2, "batch");
        onnx_put_message(shape, 1, dim);
    }
    onnx_put_int(type, 1, cvr_onnx_type_of(is->type->dtype));
    onnx_put_message(type, 2, shape);
    dim->n = 0;
    onnx_put_message(dim, 1, type);
    onnx_put_text(info, 1, name);
    onnx_put_message(info, 2, dim);
    onnx_put_message(to, field, info);
}

void onnx_model_clear(onnx_model *m) {
    for (uint64_t v = 0; v < m->n_values; v++) {
        m->host->free(m->host, m->values[v].name);
        m->host->free(m->host, m->values[v].type);
    }
    for (uint64_t i = 0; i < m->n_tensors; i++) m->host->free(m->host, m->tensors[i].data);
    m->host->free(m->host, m->values);
    m->host->free(m->host, m->tensors);
    m->host->free(m->host, m->table);
    m->host->free(m->host, m->of);
    m->host->free(m->host, m->inputs);
    m->host->free(m->host, m->results);
    onnx_clear(&m->nodes);
    onnx_clear(&m->infos);
    for (int i = 0; i < 4; i++) onnx_clear(&m->scratch[i]);
}
