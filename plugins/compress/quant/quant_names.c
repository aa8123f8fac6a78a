/* What values and nodes are called, and which nodes follow one another. */
#include "quant.h"

#include <cvr/plugin/rng.h>

/* A table of the first node of each name; later ones count up from the one before. */
static void count_names(quant_names *names, const cvr_rewriter *r, uint64_t *table, uint64_t slots) {
    for (uint64_t i = 0; i < slots; i++) table[i] = CVR_NO_NODE;
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        cvr_node_view n, other;
        r->node(r, i, &n);
        uint64_t at = cvr_hash(n.name) & (slots - 1);
        for (; table[at] != CVR_NO_NODE; at = (at + 1) & (slots - 1)) {
            r->node(r, table[at], &other);
            if (strcmp(other.name, n.name) == 0) break;
        }
        names->repeat[i] = table[at] == CVR_NO_NODE ? 0 : names->repeat[table[at]] + 1;
        table[at] = i;
    }
}

int32_t quant_names_open(quant_names *names, const cvr_rewriter *r, cvr_error *err) {
    uint64_t slots = 64;
    while (slots < 2 * r->n_nodes) slots *= 2;
    *names = (quant_names){.host = r->host};
    names->repeat = r->host->alloc(r->host, (r->n_nodes + 1) * sizeof *names->repeat, 16);
    uint64_t *table = r->host->alloc(r->host, slots * sizeof *table, 16);
    if (names->repeat && table) count_names(names, r, table, slots);
    const int32_t good = names->repeat && table;
    r->host->free(r->host, table);
    if (good) return CVR_OK;
    quant_names_close(names);
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

void quant_names_close(quant_names *names) {
    if (names->host) names->host->free(names->host, names->repeat);
    names->repeat = NULL;
}

void quant_node_key(const quant_names *names, const cvr_rewriter *r, uint64_t i, char key[QUANT_KEY]) {
    cvr_node_view n;
    r->node(r, i, &n);
    if (names->repeat[i])
        (void)snprintf(key, QUANT_KEY, "%.480s#%u", n.name, names->repeat[i] + 1);
    else
        (void)snprintf(key, QUANT_KEY, "%.480s", n.name);
}

void quant_value_key(const quant_names *names, const cvr_rewriter *r, cvr_value v, char key[QUANT_KEY]) {
    const uint64_t at = r->producer(r, v);
    cvr_value_view view = {.struct_size = sizeof view};
    cvr_node_view n;
    if (at == CVR_NO_NODE) {
        r->value(r, v, &view);
        (void)snprintf(key, QUANT_KEY, "input:%.480s", view.name);
        return;
    }
    quant_node_key(names, r, at, key);
    r->node(r, at, &n);
    for (uint32_t k = 1; k < n.n_outputs; k++)
        if (n.outputs[k] == v) (void)snprintf(key + strlen(key), QUANT_KEY - strlen(key), ":%u", k);
}

const cvr_int8_trait *quant_trait(const cvr_rewriter *r, uint64_t i) {
    cvr_node_view n;
    r->node(r, i, &n);
    const cvr_int8_trait *t = n.backward ? NULL : cvr_op_trait(n.op, CVR_TRAIT_INT8);
    if (!t || (t->flags & CVR_INT8_CLAMP)) return NULL;
    for (uint32_t k = 1; k < n.n_outputs; k++)
        if (r->uses(r, n.outputs[k], NULL)) return NULL;
    return t;
}

/* A batch norm that evaluation has as part of the layer before it. */
static int is_folded(const cvr_node_view *layer, const cvr_node_view *next) {
    const cvr_int8_trait *t = cvr_op_trait(layer->op, CVR_TRAIT_INT8);
    return t && t->weight && cvr_op_trait(next->op, CVR_TRAIT_BATCH_NORM) && next->inputs[0] == layer->outputs[0];
}

uint64_t quant_tail(const cvr_rewriter *r, uint64_t i) {
    for (;;) {
        cvr_node_view n, next;
        uint64_t reader;
        r->node(r, i, &n);
        if (r->uses(r, n.outputs[0], &reader) != 1 || reader == CVR_NO_NODE) return i;
        r->node(r, reader, &next);
        const cvr_int8_trait *t = cvr_op_trait(next.op, CVR_TRAIT_INT8);
        if (!is_folded(&n, &next) && (!t || !(t->flags & CVR_INT8_CLAMP))) return i;
        i = reader;
    }
}

uint64_t quant_bounds(const cvr_rewriter *r, uint64_t i, uint64_t tail) {
    uint64_t all = 0;
    cvr_node_view n;
    r->node(r, i, &n);
    while (i != tail) {
        (void)r->uses(r, n.outputs[0], &i);
        r->node(r, i, &n);
        const cvr_int8_trait *t = cvr_op_trait(n.op, CVR_TRAIT_INT8);
        if (!t || !(t->flags & CVR_INT8_CLAMP)) continue;
        all = all * 31 + cvr_hash(n.op->name);
        for (uint64_t k = 0; k < n.attrs_size; k++) all = all * 31 + ((const uint8_t *)n.attrs)[k];
    }
    return all;
}

cvr_value quant_weight_of(const cvr_rewriter *r, uint64_t i) {
    cvr_node_view n;
    r->node(r, i, &n);
    const cvr_int8_trait *t = cvr_op_trait(n.op, CVR_TRAIT_INT8);
    for (uint32_t k = 0; t && k < n.n_inputs; k++)
        if (t->weight >> k & 1) return n.inputs[k];
    return CVR_NONE;
}

void quant_param_name(const quant_names *names, uint64_t i, const char *what, char *name, size_t size) {
    if (names->repeat[i])
        (void)snprintf(name, size, "%s_%u", what, names->repeat[i] + 1);
    else
        (void)snprintf(name, size, "%s", what);
}
