/*
 * A network for an exporter (cvr/plugin/exporter.h): nodes that its format can say, what depends on the size of a batch
 * found out by comparing two graphs of different batches, and what depends on parameters alone computed beforehand.
 */
#include "export_parts.h"

/* Ops that change the order of elements in memory, by which nothing changes in logical order. */
static bool is_reorder(const ir_node *n) {
    return strcmp(n->op->name, "to_logical") == 0 || strcmp(n->op->name, "from_logical") == 0;
}

/* ---- ops that the format can say ---- */

static int32_t exporter_keeps(const lowering *l, cvr_graph *g, const ir_node *n, bool *keep, cvr_error *err) {
    const cvr_exporter_desc *e = l->ctx;
    int32_t takes;
    CVR_CALL_TO(takes, e, takes, n->name, n->op);
    *keep = takes || is_reorder(n);
    if (*keep || n->op->decompose || node_is_program(g, n)) return CVR_OK;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                    "layer %s: op %s cannot be written as %s, and means nothing in other ops; %s",
                    *n->scope ? n->scope : n->name, n->op->name, e->name, e->remedy);
}

/* ---- the order of elements ---- */

/* Who reads the output of such an op reads its input. */
static int32_t forget_order(cvr_graph *g, cvr_error *err) {
    cvr_value *same = cvr_calloc(g->n_values, sizeof *same);
    size_t n_kept = 0;
    if (!same) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t v = 0; v < g->n_values; v++) same[v] = (cvr_value)v;
    for (size_t i = 0; i < g->n_nodes; i++) {
        ir_node *n = g->nodes[i];
        for (uint32_t k = 0; k < n->n_inputs; k++) n->inputs[k] = same[n->inputs[k]];
        if (is_reorder(n)) {
            same[n->outputs[0]] = n->inputs[0];
            graph_free_node(n);
        } else {
            g->nodes[n_kept++] = n;
        }
    }
    g->n_nodes = n_kept;
    for (size_t i = 0; i < g->n_ends; i++) g->ends[i]->value = same[g->ends[i]->value];
    cvr_free(same);
    return CVR_OK;
}

/* ---- what is needed, and what is constant ---- */

static bool is_result(const exporting *e, const cvr_io_output *o) {
    return o->role == e->job->role;
}

static bool makes_needed(const exporting *e, const ir_node *n) {
    bool needed = false;
    for (uint32_t k = 0; k < n->n_outputs; k++) needed = needed || e->needed[n->outputs[k]];
    return needed;
}

static bool has_pictures(const exporting *e, cvr_value v) {
    bool any = false;
    for (uint32_t i = 0; i < CVR_MAX_RANK; i++) any = any || e->per_picture[v][i] != 0;
    return any;
}

/* A node whose inputs all are, and all of whose values are of one size whatever the batch. */
static bool makes_constants(const exporting *e, const ir_node *n) {
    bool all = n->op->mutates == 0 && !cvr_op_trait(n->op, CVR_TRAIT_STORED);
    for (uint32_t k = 0; k < n->n_inputs; k++)
        all = all && (!n->inputs[k] || (e->constant[n->inputs[k]] && !has_pictures(e, n->inputs[k])));
    for (uint32_t k = 0; k < n->n_outputs; k++) all = all && !has_pictures(e, n->outputs[k]);
    return all;
}

static void find_needed(exporting *e) {
    const cvr_graph *g = e->g;
    for (size_t i = 0; i < g->n_ends; i++)
        if (is_result(e, g->ends[i])) e->needed[g->ends[i]->value] = true;
    for (size_t i = g->n_nodes; i-- > 0;)
        for (uint32_t k = 0; makes_needed(e, g->nodes[i]) && k < g->nodes[i]->n_inputs; k++)
            e->needed[g->nodes[i]->inputs[k]] = true;
    e->needed[CVR_NONE] = false;
}

static void find_constants(exporting *e) {
    const cvr_graph *g = e->g;
    for (size_t v = 1; v < g->n_values; v++) e->constant[v] = g->values[v]->kind == VALUE_STORED;
    for (size_t i = 0; i < g->n_nodes; i++)
        if (makes_constants(e, g->nodes[i]))
            for (uint32_t k = 0; k < g->nodes[i]->n_outputs; k++) e->constant[g->nodes[i]->outputs[k]] = true;
}

/* What is written: nodes, inputs, results. */
static void list_parts(exporting *e) {
    const cvr_graph *g = e->g;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const ir_node *n = g->nodes[i];
        if (makes_needed(e, n) && !makes_constants(e, n)) e->nodes[e->api.n_nodes++] = n;
    }
    for (size_t v = 1; v < g->n_values; v++)
        if (g->values[v]->kind == VALUE_INPUT && e->needed[v]) e->inputs[e->api.n_inputs++] = (cvr_value)v;
    for (size_t i = 0; i < g->n_ends; i++)
        if (is_result(e, g->ends[i])) e->outputs[e->api.n_outputs++] = g->ends[i];
    for (uint64_t i = 0; i < e->api.n_nodes; i++)
        for (uint32_t k = 0; k < e->nodes[i]->n_inputs; k++) e->read[e->nodes[i]->inputs[k]] = true;
    for (uint32_t i = 0; i < e->api.n_outputs; i++) e->read[e->outputs[i]->value] = true;
    e->read[CVR_NONE] = false;
}

/* ---- computing constants ---- */

/* Reads the outputs "0", "1", ... of the program, which are the values `v` of it. */
static int32_t read_computed(exporting *e, cvr_program *p, cvr_error *err) {
    char name[32];
    for (size_t v = 1; v < e->g->n_values; v++) {
        (void)snprintf(name, sizeof name, "%zu", v);
        const int32_t slot = cvr_program_slot(p, name);
        if (slot < 0) continue;
        const cvr_type *t = cvr_program_slot_type(p, slot);
        const size_t bytes = (size_t)type_bytes(t) + 8;
        void *memory = cvr_alloc_aligned(bytes, 64);
        e->computed[v] = cvr_alloc_aligned(bytes, 64);
        int32_t status =
            memory && e->computed[v] ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for constants");
        if (status == CVR_OK) status = cvr_program_read(p, slot, memory, err);
        if (status == CVR_OK) cvr_to_logical(t, memory, e->computed[v]);
        cvr_free(memory);
        CVR_TRY(status);
    }
    return CVR_OK;
}

static int32_t run_constants(exporting *e, cvr_error *err) {
    const cvr_export_job *j = e->job;
    cvr_program *p = NULL;
    cvr_arena *arena = NULL;
    int32_t status;
    CVR_TRY_OUT(cvr_program_plan(&p, j->another, j->device, j->pool, CVR_FALLBACK_ALLOW, err));
    CVR_TRY_OUT(cvr_arena_create(&arena, j->device, &p, 1, 0, err));
    CVR_TRY_OUT(cvr_program_bind(p, arena, err));
    CVR_TRY_OUT(cvr_program_run(p, err));
    CVR_TRY_OUT(read_computed(e, p, err));
out:
    cvr_program_destroy(&p);
    cvr_arena_destroy(&arena);
    return status;
}

/* The other graph, whose values have the same numbers, computes what is read of constants: they become its only
 * outputs, each named by its number. */
static int32_t compute_constants(exporting *e, cvr_error *err) {
    cvr_graph *other = e->job->another;
    char name[32];
    for (size_t i = 0; i < other->n_outputs; i++) {
        other->values[other->outputs[i].value]->kept = false;
        cvr_free(other->outputs[i].name);
    }
    other->n_outputs = 0;
    for (size_t v = 1; v < e->g->n_values; v++) {
        if (!e->read[v] || !e->constant[v] || e->g->values[v]->kind == VALUE_STORED) continue;
        (void)snprintf(name, sizeof name, "%zu", v);
        CVR_TRY(cvr_graph_output(other, name, (cvr_value)v, err));
    }
    return other->n_outputs ? run_constants(e, err) : CVR_OK;
}

/* A constant is called as the stored value of its shape that it was made of, if that is not written itself: a folded
 * weight remains the layer's weight. Others have the name of the node that makes them. */
static int32_t name_constants(exporting *e, cvr_error *err) {
    const cvr_graph *g = e->g;
    cvr_value *source = cvr_calloc(g->n_values, sizeof *source);
    if (!source) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t v = 1; v < g->n_values; v++)
        if (g->values[v]->kind == VALUE_STORED) source[v] = (cvr_value)v;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const ir_node *n = g->nodes[i];
        for (uint32_t o = 0; o < n->n_outputs && makes_constants(e, n); o++) {
            const cvr_value v = n->outputs[o];
            for (uint32_t k = 0; k < n->n_inputs && !source[v]; k++) {
                const cvr_value from = source[n->inputs[k]];
                if (from && same_shape(&g->values[from]->type, &g->values[v]->type)) source[v] = from;
            }
            const cvr_value from = source[v];
            const bool takes = e->read[v] && from && !e->read[from];
            e->names[v] = takes ? cvr_store_get(g->store, g->values[from]->store_index)->name : n->name;
            if (takes) e->read[from] = true; /* one name, one value */
        }
    }
    cvr_free(source);
    return CVR_OK;
}

/* ---- what the exporter sees ---- */

static void view_node(const cvr_export *x, uint64_t i, cvr_node_view *out) {
    const exporting *e = x->ctx;
    static const ir_node none = {.name = "", .scope = ""};
    const ir_node *n = i < x->n_nodes ? e->nodes[i] : &none;
    *out = (cvr_node_view){.struct_size = sizeof *out,
                           .op = n->op,
                           .attrs = n->attrs,
                           .attrs_size = n->attrs_size,
                           .inputs = n->inputs,
                           .outputs = n->outputs,
                           .n_inputs = n->n_inputs,
                           .n_outputs = n->n_outputs,
                           .name = n->name,
                           .scope = n->scope};
}

static void view_value(const cvr_export *x, cvr_value v, cvr_export_value *out) {
    const exporting *e = x->ctx;
    const ir_value *value = v != CVR_NONE && v < e->g->n_values ? e->g->values[v] : NULL;
    *out = (cvr_export_value){.struct_size = sizeof *out, .name = ""};
    if (!value) return;
    out->type = &value->type;
    if (!x->batch) memcpy(out->per_picture, e->per_picture[v], sizeof out->per_picture);
    if (value->kind == VALUE_STORED) {
        const cvr_store_entry *entry = cvr_store_get(e->g->store, value->store_index);
        out->name = entry->name;
        out->kind = entry->role == CVR_STORE_BUFFER     ? CVR_VALUE_BUFFER
                    : entry->role == CVR_STORE_CONSTANT ? CVR_VALUE_CONSTANT
                                                        : CVR_VALUE_PARAMETER;
    } else if (e->constant[v]) {
        out->name = e->names[v];
        out->kind = CVR_VALUE_CONSTANT;
    } else {
        out->name = value->name ? value->name : "";
        out->kind = value->kind == VALUE_INPUT ? CVR_VALUE_INPUT : CVR_VALUE_TEMPORARY;
    }
}

static cvr_value get_input(const cvr_export *x, uint32_t i) {
    return i < x->n_inputs ? ((const exporting *)x->ctx)->inputs[i] : CVR_NONE;
}

static cvr_value get_output(const cvr_export *x, uint32_t i, const char **name) {
    const exporting *e = x->ctx;
    if (i >= x->n_outputs) return CVR_NONE;
    if (name) *name = e->outputs[i]->name;
    return e->outputs[i]->value;
}

static int32_t read_value(const cvr_export *x, cvr_value v, void *out, cvr_error *err) {
    const exporting *e = x->ctx;
    if (v == CVR_NONE || v >= e->g->n_values || !e->constant[v] ||
        (e->g->values[v]->kind != VALUE_STORED && !e->computed[v]))
        return cvr_fail(err, CVR_ERR_PLUGIN, "an exporter reads value %u, which is not stored", v);
    const ir_value *value = e->g->values[v];
    if (e->computed[v]) {
        memcpy(out, e->computed[v], (size_t)type_bytes(&value->type));
        return CVR_OK;
    }
    const int64_t average = cvr_store_average(e->g->store, value->store_index);
    return cvr_store_read(e->g->store, average >= 0 ? (size_t)average : value->store_index, out, err);
}

static int32_t begin_file(const cvr_export *x, const char *suffix, cvr_error *err) {
    const cvr_export_files *f = &((const exporting *)x->ctx)->job->files;
    return f->begin(f->ctx, suffix, err);
}

static int32_t put_bytes(const cvr_export *x, const void *bytes, uint64_t n, cvr_error *err) {
    const cvr_export_files *f = &((const exporting *)x->ctx)->job->files;
    return f->put(f->ctx, bytes, n, err);
}

/* ---- all of it ---- */

static int32_t open_tables(exporting *e, cvr_error *err) {
    const size_t values = e->g->n_values, nodes = e->g->n_nodes + 1;
    e->per_picture = cvr_calloc(values, sizeof *e->per_picture);
    e->needed = cvr_calloc(values, sizeof *e->needed);
    e->constant = cvr_calloc(values, sizeof *e->constant);
    e->read = cvr_calloc(values, sizeof *e->read);
    e->computed = cvr_calloc(values, sizeof *e->computed);
    e->names = cvr_calloc(values, sizeof *e->names);
    e->nodes = cvr_calloc(nodes, sizeof *e->nodes);
    e->inputs = cvr_calloc(values, sizeof *e->inputs);
    e->outputs = cvr_calloc(e->g->n_ends + 1, sizeof *e->outputs);
    const bool all = e->per_picture && e->needed && e->constant && e->read && e->computed && e->names && e->nodes &&
                     e->inputs && e->outputs;
    return all ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static void close_tables(exporting *e) {
    for (size_t v = 0; e->computed && v < e->g->n_values; v++) cvr_free(e->computed[v]);
    cvr_free(e->per_picture);
    cvr_free(e->needed);
    cvr_free(e->constant);
    cvr_free(e->read);
    cvr_free(e->computed);
    cvr_free((void *)(uintptr_t)e->names);
    cvr_free((void *)(uintptr_t)e->nodes);
    cvr_free(e->inputs);
    cvr_free((void *)(uintptr_t)e->outputs);
}

int32_t cvr_graph_export(const cvr_export_job *j, cvr_error *err) {
    exporting e = {.job = j, .g = j->network};
    const lowering l = {.keeps = exporter_keeps, .ctx = (void *)(uintptr_t)j->exporter};
    int32_t status;
    CVR_TRY(lower_graph(j->network, &l, err));
    CVR_TRY(lower_graph(j->another, &l, err));
    CVR_TRY_OUT(open_tables(&e, err));
    e.api = (cvr_export){.struct_size = sizeof e.api,
                         .ctx = &e,
                         .host = cvr_plugins_host(j->network->plugins),
                         .attrs = j->attrs,
                         .file = j->file,
                         .batch = j->free ? 0 : j->batch,
                         .n_metadata = j->n_metadata,
                         .metadata = j->metadata,
                         .node = view_node,
                         .value = view_value,
                         .input = get_input,
                         .output = get_output,
                         .read = read_value,
                         .begin = begin_file,
                         .put = put_bytes};
    CVR_TRY_OUT(export_compare_graphs(&e, err));
    CVR_TRY_OUT(forget_order(e.g, err));
    find_needed(&e);
    find_constants(&e);
    list_parts(&e);
    CVR_TRY_OUT(compute_constants(&e, err));
    CVR_TRY_OUT(name_constants(&e, err));
    CVR_TRY_OUT(CVR_CALL(j->exporter, write, NULL, err, &e.api));
out:
    close_tables(&e);
    return status;
}
