/*
 * The file: a ModelProto (onnx.proto). Sizes are known before a byte is written, so that tensors go straight from the
 * network to the file. Protocol Buffers end at 2 GiB: where a model comes near, its large tensors are in a file beside
 * it.
 */
#include "onnx_model.h"

#define MOST_BYTES ((uint64_t)0x7fffffff - 65536)
#define LARGE 1024u /* bytes of a tensor that goes to the other file */
#define ALIGN 4096u /* where it begins there, so that it can be mapped */
#define SUFFIX ".data"

static int64_t ir_version(int64_t opset) {
    return opset < 15 ? 7 : opset < 19 ? 8 : opset < 21 ? 9 : 10;
}

static void put_entry(onnx_model *m, onnx_bytes *to, const char *key, const char *value) {
    onnx_bytes *entry = &m->scratch[1];
    entry->n = 0;
    onnx_put_text(entry, 1, key);
    onnx_put_text(entry, 2, value);
    onnx_put_message(to, 13, entry);
}

/* TensorProto: dims 1, data_type 2, name 8, raw_data 9, external_data 13 {key 1, value 2}, data_location 14. All but
 * the numbers themselves. */
static void put_tensor_head(onnx_model *m, const onnx_tensor *t, int64_t offset, onnx_bytes *to) {
    const onnx_value *v = &m->values[t->value];
    char text[32];
    to->n = 0;
    for (uint32_t i = 0; i < v->type->rank; i++) onnx_put_int(to, 1, v->type->shape[i]);
    onnx_put_int(to, 2, cvr_onnx_type_of(v->type->dtype));
    onnx_put_text(to, 8, v->name);
    if (offset < 0) {
        onnx_put_length(to, 9, t->bytes);
        return;
    }
    char location[600];
    (void)snprintf(location, sizeof location, "%.500s" SUFFIX, m->x->file);
    put_entry(m, to, "location", location);
    (void)snprintf(text, sizeof text, "%lld", (long long)offset);
    put_entry(m, to, "offset", text);
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)t->bytes);
    put_entry(m, to, "length", text);
    onnx_put_int(to, 14, 1);
}

static int32_t put(onnx_model *m, const onnx_bytes *b, cvr_error *err) {
    if (b->failed) return onnx_no_memory(err);
    return b->n ? m->x->put(m->x, b->p, b->n, err) : CVR_OK;
}

/* to: axis i is axis perm[i] of from; row-major both */
static void turn(const cvr_type *to, const int64_t *perm, const char *in, char *out) {
    const size_t size = cvr_dtype_size(to->dtype);
    int64_t steps[CVR_MAX_RANK], step = 1, at[CVR_MAX_RANK] = {0};
    for (uint32_t axis = to->rank; axis-- > 0;)
        for (uint32_t i = 0; i < to->rank; i++)
            if (perm[i] == (int64_t)axis) {
                steps[i] = step;
                step *= to->shape[i];
            }
    for (int64_t k = 0, n = cvr_numel(to->rank, to->shape), from = 0; k < n; k++) {
        memcpy(out + (size_t)k * size, in + (size_t)from * size, size);
        for (uint32_t i = to->rank; i-- > 0;) {
            from += steps[i];
            if (++at[i] < to->shape[i]) break;
            from -= steps[i] * to->shape[i];
            at[i] = 0;
        }
    }
}

static int32_t put_numbers(onnx_model *m, const onnx_tensor *t, cvr_error *err) {
    const int32_t direct = t->source == CVR_NONE && !t->permuted;
    if (direct) return m->x->put(m->x, t->data, t->bytes, err);
    char *numbers = m->host->alloc(m->host, t->bytes + 8, 64),
         *turned = t->permuted ? m->host->alloc(m->host, t->bytes + 8, 64) : NULL;
    int32_t status = numbers && (turned || !t->permuted) ? CVR_OK : onnx_no_memory(err);
    CVR_TRY_OUT(status);
    if (t->source == CVR_NONE)
        memcpy(numbers, t->data, t->bytes);
    else
        CVR_TRY_OUT(m->x->read(m->x, t->source, numbers, err));
    if (turned) turn(m->values[t->value].type, t->perm, numbers, turned);
    CVR_TRY_OUT(m->x->put(m->x, turned ? turned : numbers, t->bytes, err));
out:
    m->host->free(m->host, numbers);
    m->host->free(m->host, turned);
    return status;
}

/* Where each tensor begins in the other file; -1: it is in the model. */
static uint64_t place_tensors(const onnx_model *m, int32_t external, int64_t *offsets) {
    uint64_t at = 0;
    for (uint64_t i = 0; i < m->n_tensors; i++) {
        const int32_t there = external && m->tensors[i].read && m->tensors[i].bytes >= LARGE;
        at = there ? (at + ALIGN - 1) / ALIGN * ALIGN : at;
        offsets[i] = there ? (int64_t)at : -1;
        at += there ? m->tensors[i].bytes : 0;
    }
    return at;
}

/* Fills up to where the next tensor begins. */
static int32_t write_data(onnx_model *m, const int64_t *offsets, cvr_error *err) {
    static const uint8_t zeros[ALIGN];
    uint64_t at = 0;
    CVR_TRY(m->x->begin(m->x, SUFFIX, err));
    for (uint64_t i = 0; i < m->n_tensors; i++) {
        if (offsets[i] < 0) continue;
        CVR_TRY(m->x->put(m->x, zeros, (uint64_t)offsets[i] - at, err));
        CVR_TRY(put_numbers(m, &m->tensors[i], err));
        at = (uint64_t)offsets[i] + m->tensors[i].bytes;
    }
    return CVR_OK;
}

/* ModelProto without its graph: ir_version 1, producer_name 2, producer_version 3, then opset_import 8 {domain 1,
 * version 2} and metadata_props 14 {key 1, value 2}. */
static void put_model(onnx_model *m, onnx_bytes *head, onnx_bytes *tail) {
    onnx_bytes *entry = &m->scratch[0];
    onnx_put_int(head, 1, ir_version(m->attrs->opset));
    onnx_put_text(head, 2, "cvrun");
    onnx_put_text(head, 3, "0.1.0");
    for (uint32_t i = 0; i <= m->n_domains; i++) {
        entry->n = 0;
        onnx_put_text(entry, 1, i ? m->domains[i - 1] : "");
        onnx_put_int(entry, 2, i ? 1 : m->attrs->opset);
        onnx_put_message(tail, 8, entry);
    }
    for (uint64_t i = 0; i < m->x->n_metadata; i++) {
        entry->n = 0;
        onnx_put_text(entry, 1, m->x->metadata[2 * i]);
        onnx_put_text(entry, 2, m->x->metadata[2 * i + 1]);
        onnx_put_message(tail, 14, entry);
    }
}

/* The name of the graph, its inputs and its results. */
static void put_ends(onnx_model *m, onnx_bytes *to) {
    const char *name = "network";
    for (uint64_t i = 0; i < m->x->n_metadata; i++)
        if (strcmp(m->x->metadata[2 * i], "model") == 0) name = m->x->metadata[2 * i + 1];
    onnx_put_text(to, GRAPH_NAME, name);
    for (uint32_t i = 0; i < m->n_inputs; i++)
        onnx_put_info(m, to, GRAPH_INPUT, m->inputs[i], m->values[m->inputs[i]].name);
    for (uint32_t i = 0; i < m->n_results; i++)
        onnx_put_info(m, to, GRAPH_OUTPUT, m->results[i], m->values[m->results[i]].name);
}

/* Key and head of a tensor's field, behind which its numbers follow, where they are in the model; returns how many
 * bytes they are. */
static uint64_t put_tensor(onnx_model *m, uint64_t i, int64_t offset, onnx_bytes *to) {
    onnx_bytes *head = &m->scratch[2];
    const uint64_t numbers = offset < 0 ? m->tensors[i].bytes : 0;
    put_tensor_head(m, &m->tensors[i], offset, head);
    to->n = 0;
    onnx_put_length(to, GRAPH_TENSOR, head->n + numbers);
    onnx_add(to, head->p, head->n);
    return numbers;
}

static int32_t write_graph(onnx_model *m, const int64_t *offsets, const onnx_bytes *ends, cvr_error *err) {
    onnx_bytes *field = &m->scratch[3];
    uint64_t n = m->nodes.n + ends->n + m->infos.n;
    for (uint64_t i = 0; i < m->n_tensors; i++) {
        if (!m->tensors[i].read) continue;
        n += put_tensor(m, i, offsets[i], field);
        n += field->n;
    }
    field->n = 0;
    onnx_put_length(field, 7, n);
    CVR_TRY(put(m, field, err));
    CVR_TRY(put(m, &m->nodes, err));
    for (uint64_t i = 0; i < m->n_tensors; i++) {
        if (!m->tensors[i].read) continue;
        const uint64_t numbers = put_tensor(m, i, offsets[i], field);
        CVR_TRY(put(m, field, err));
        if (numbers) CVR_TRY(put_numbers(m, &m->tensors[i], err));
    }
    CVR_TRY(put(m, ends, err));
    return put(m, &m->infos, err);
}

static int32_t write_model(onnx_model *m, const int64_t *offsets, cvr_error *err) {
    onnx_bytes head = {.host = m->host}, tail = {.host = m->host}, ends = {.host = m->host};
    int32_t status;
    put_model(m, &head, &tail);
    put_ends(m, &ends);
    CVR_TRY_OUT(m->x->begin(m->x, "", err));
    CVR_TRY_OUT(put(m, &head, err));
    CVR_TRY_OUT(write_graph(m, offsets, &ends, err));
    CVR_TRY_OUT(put(m, &tail, err));
out:
    onnx_clear(&head);
    onnx_clear(&tail);
    onnx_clear(&ends);
    return status;
}

/* Tensors that are larger than a file can be are known before anything is written. */
int32_t onnx_write_file(onnx_model *m, cvr_error *err) {
    uint64_t all = m->nodes.n + m->infos.n;
    int64_t *offsets = m->host->alloc(m->host, (m->n_tensors + 1) * sizeof *offsets, 64);
    int32_t status = offsets ? CVR_OK : onnx_no_memory(err);
    for (uint64_t i = 0; i < m->n_tensors; i++) all += m->tensors[i].read ? m->tensors[i].bytes + 1024 : 0;
    const int32_t external = m->attrs->external || all > MOST_BYTES;
    CVR_TRY_OUT(status);
    if (place_tensors(m, external, offsets)) CVR_TRY_OUT(write_data(m, offsets, err));
    CVR_TRY_OUT(write_model(m, offsets, err));
out:
    m->host->free(m->host, offsets);
    return status;
}
