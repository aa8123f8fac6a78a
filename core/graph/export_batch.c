/* What of a network depends on the size of a batch, for its export; see export_parts.h. */
#include "export_parts.h"

static int32_t depends_otherwise(const exporting *e, const ir_node *n, uint32_t axis, int64_t a, int64_t b,
                                 cvr_error *err) {
    const cvr_export_job *j = e->job;
    return cvr_fail(
        err, CVR_ERR_UNSUPPORTED,
        "layer %s: axis %u has %lld elements for a batch of %lld and %lld for one of %lld, so that the batch "
        "cannot be left open; set export.batch to a number",
        *n->scope ? n->scope : n->name, axis, (long long)a, (long long)j->batch, (long long)b,
        (long long)j->another_batch);
}

/* Sizes are those for `batch`, or the same for every picture more. */
static int32_t compare_value(exporting *e, const ir_node *n, cvr_value v, cvr_error *err) {
    const cvr_export_job *j = e->job;
    const cvr_type *a = &j->network->values[v]->type, *b = &j->another->values[v]->type;
    if (a->rank != b->rank) return depends_otherwise(e, n, 0, a->shape[0], b->shape[0], err);
    for (uint32_t i = 0; i < a->rank; i++) {
        if (a->shape[i] == b->shape[i]) continue;
        const int64_t each = a->shape[i] / j->batch;
        const bool even = each && each * j->batch == a->shape[i] && each * j->another_batch == b->shape[i];
        if (!even && j->free) return depends_otherwise(e, n, i, a->shape[i], b->shape[i], err);
        e->per_picture[v][i] = even ? each : 1; /* of a fixed batch only that it depends counts */
    }
    return CVR_OK;
}

/* ---- stored values ---- */

static int32_t read_stored(const cvr_graph *g, cvr_value v, char **out, cvr_error *err) {
    *out = cvr_alloc_aligned((size_t)type_bytes(&g->values[v]->type) + 8, 64);
    if (!*out) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    return cvr_store_read(g->store, g->values[v]->store_index, *out, err);
}

/* Whether all rows of both are the same bytes. */
static int32_t rows_are_alike(const cvr_export_job *j, cvr_value v, bool *alike, cvr_error *err) {
    const size_t row = (size_t)type_bytes(&j->network->values[v]->type) / (size_t)j->batch;
    char *a = NULL, *b = NULL;
    int32_t status;
    CVR_TRY_OUT(read_stored(j->network, v, &a, err));
    CVR_TRY_OUT(read_stored(j->another, v, &b, err));
    *alike = true;
    for (int64_t i = 1; i < j->batch; i++) *alike = *alike && memcmp(a, a + (size_t)i * row, row) == 0;
    for (int64_t i = 0; i < j->another_batch; i++) *alike = *alike && memcmp(a, b + (size_t)i * row, row) == 0;
out:
    cvr_free(a);
    cvr_free(b);
    return status;
}

static bool has_rows_of_pictures(const cvr_export_job *j, const cvr_type *a, const cvr_type *b) {
    bool rows = a->rank == b->rank && a->rank > 0 && a->dtype == b->dtype && a->shape[0] == j->batch &&
                b->shape[0] == j->another_batch;
    for (uint32_t i = 1; rows && i < a->rank; i++) rows = a->shape[i] == b->shape[i];
    return rows;
}

static int32_t compare_stored(exporting *e, cvr_value v, cvr_error *err) {
    const cvr_export_job *j = e->job;
    const ir_value *value = j->network->values[v];
    const cvr_type *a = &value->type, *b = &j->another->values[v]->type;
    const ir_node stored = {.name = (char *)(uintptr_t)cvr_store_get(j->network->store, value->store_index)->name,
                            .scope = ""};
    bool alike = false;
    if (same_shape(a, b)) return CVR_OK;
    if (has_rows_of_pictures(j, a, b)) CVR_TRY(rows_are_alike(j, v, &alike, err));
    if (!alike) return depends_otherwise(e, &stored, 0, a->shape[0], b->shape[0], err);
    e->per_picture[v][0] = 1;
    return CVR_OK;
}

/* ---- both graphs ---- */

static bool same_node(const ir_node *a, const ir_node *b) {
    return a->op == b->op && a->n_inputs == b->n_inputs && a->n_outputs == b->n_outputs &&
           (!a->n_inputs || memcmp(a->inputs, b->inputs, a->n_inputs * sizeof *a->inputs) == 0) &&
           (!a->n_outputs || memcmp(a->outputs, b->outputs, a->n_outputs * sizeof *a->outputs) == 0);
}

int32_t export_compare_graphs(exporting *e, cvr_error *err) {
    const cvr_graph *a = e->job->network, *b = e->job->another;
    bool same = a->n_nodes == b->n_nodes && a->n_values == b->n_values;
    const ir_node images = {.name = "images", .scope = ""};
    for (size_t i = 0; same && i < a->n_nodes; i++) same = same_node(a->nodes[i], b->nodes[i]);
    if (!same)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "the network has other layers for a batch of %lld than for one of %lld, and cannot be exported",
                        (long long)e->job->batch, (long long)e->job->another_batch);
    for (size_t v = 1; v < a->n_values; v++) {
        if (a->values[v]->kind == VALUE_INPUT) CVR_TRY(compare_value(e, &images, (cvr_value)v, err));
        if (a->values[v]->kind == VALUE_STORED && e->job->free) CVR_TRY(compare_stored(e, (cvr_value)v, err));
    }
    for (size_t i = 0; i < a->n_nodes; i++)
        for (uint32_t k = 0; k < a->nodes[i]->n_outputs; k++)
            CVR_TRY(compare_value(e, a->nodes[i], a->nodes[i]->outputs[k], err));
    return CVR_OK;
}
