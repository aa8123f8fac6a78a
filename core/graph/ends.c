/*
 * The ends of a network (cvr_io): what it reads, and what it gives, by name and role. They are how a model, a task and
 * whoever runs the program speak of the same values.
 */
#include "ir.h"

static ir_value *find_input(const cvr_graph *g, const char *name, cvr_value *v) {
    for (size_t i = 1; i < g->n_values; i++) {
        if (g->values[i]->kind != VALUE_INPUT || strcmp(g->values[i]->name, name) != 0) continue;
        *v = (cvr_value)i;
        return g->values[i];
    }
    return NULL;
}

cvr_value cvr_graph_input_value(const cvr_graph *g, const char *name) {
    cvr_value v = CVR_NONE;
    const ir_value *input = find_input(g, name, &v);
    return input && input->stand_in ? input->stand_in : v;
}

int32_t cvr_graph_stand_in(cvr_graph *g, const char *name, cvr_value v, cvr_error *err) {
    cvr_value ignored;
    ir_value *input = find_input(g, name, &ignored);
    if (!input) return cvr_fail(err, CVR_ERR_INVALID, "there is no input %s", name);
    input->stand_in = v;
    return CVR_OK;
}

static cvr_value io_input(const cvr_io *io, const char *name) {
    return cvr_graph_input_value(io->ctx, name);
}

static const cvr_io_output *io_output(const cvr_io *io, uint32_t i) {
    const cvr_graph *g = io->ctx;
    return i < g->n_ends ? g->ends[i] : NULL;
}

/* The node that makes another number of rows of the batch's, on the way to v. */
static const ir_node *row_changer(const cvr_graph *g, cvr_value v, int64_t batch) {
    for (size_t i = g->n_nodes; i-- > 0;) {
        const ir_node *n = g->nodes[i];
        bool makes = false;
        for (uint32_t k = 0; k < n->n_outputs; k++) makes = makes || n->outputs[k] == v;
        if (!makes || n->n_inputs == 0 || !n->inputs[0]) continue;
        v = n->inputs[0];
        if (g->values[v]->type.rank && g->values[v]->type.shape[0] == batch) return n;
    }
    return NULL;
}

/* Results have a row for each picture of the batch. */
static int32_t check_rows(const cvr_graph *g, const char *name, cvr_value v, cvr_error *err) {
    cvr_value image = CVR_NONE;
    const ir_value *in = find_input(g, "image", &image);
    const cvr_type *t = &g->values[v]->type;
    if (!in || !in->type.rank || (t->rank && t->shape[0] == in->type.shape[0])) return CVR_OK;
    char shape[160];
    print_shape(t, shape, sizeof shape);
    const ir_node *n = row_changer(g, v, in->type.shape[0]);
    if (n)
        (void)cvr_call_blame(n->op, "infer", n->name, err,
                             "makes another number of rows: the result `%s` has shape %s for a batch of %lld", name,
                             shape, (long long)in->type.shape[0]);
    else
        (void)cvr_fail(err, CVR_ERR_INVALID, "the result `%s` has shape %s for a batch of %lld", name, shape,
                       (long long)in->type.shape[0]);
    return cvr_fail_as(err, CVR_ERR_INVALID);
}

static int32_t check_end(const cvr_graph *g, const char *name, uint32_t role, cvr_value v, cvr_error *err) {
    if (!name || !*name || role < CVR_ROLE_RESULT || role > CVR_ROLE_HEAD || v == CVR_NONE || v >= g->n_values)
        return cvr_fail(err, CVR_ERR_PLUGIN, "an output of the network needs a name, a role and a value");
    for (size_t i = 0; i < g->n_ends; i++) {
        if (g->ends[i]->role == role && strcmp(g->ends[i]->name, name) == 0)
            return cvr_fail(err, CVR_ERR_INVALID, "two outputs of the network are called %s; give one another name",
                            name);
    }
    const cvr_type *t = &g->values[v]->type;
    if (role == CVR_ROLE_HEAD) return CVR_OK; /* anchors are the same for all pictures */
    if (role != CVR_ROLE_LOSS) return check_rows(g, name, v, err);
    if (t->rank == 0 && t->dtype == CVR_F32) return CVR_OK;
    char shape[160];
    print_shape(t, shape, sizeof shape);
    return cvr_fail(err, CVR_ERR_INVALID, "the loss %s has shape %s; it must be one f32 number", name, shape);
}

int32_t graph_add_end(cvr_graph *g, const char *name, uint32_t role, cvr_value v, cvr_error *err) {
    cvr_io_output **more = cvr_grow(g->ends, g->n_ends, &g->ends_capacity, sizeof *more);
    if (more) g->ends = more;
    cvr_io_output *end = more ? cvr_calloc(1, sizeof *end) : NULL;
    char *copy = end ? cvr_strdup(name) : NULL;
    if (!copy) {
        cvr_free(end);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    *end = (cvr_io_output){.struct_size = sizeof *end, .name = copy, .role = role, .value = v};
    g->ends[g->n_ends++] = end;
    return CVR_OK;
}

/* Auxiliary results are read by losses alone, and heads by an export alone, so the program does not keep them. */
static int32_t io_put(const cvr_io *io, const char *name, uint32_t role, cvr_value v, cvr_error *err) {
    cvr_graph *g = io->ctx;
    CVR_TRY(check_end(g, name, role, v, err));
    if (role == CVR_ROLE_AUXILIARY && !g->builder.training) return CVR_OK;
    if (role == CVR_ROLE_HEAD) return g->builder.training ? CVR_OK : graph_add_end(g, name, role, v, err);
    const uint32_t dtype = g->values[v]->type.dtype;
    if (dtype == CVR_BF16 || dtype == CVR_F16) CVR_TRY(graph_cast(g, v, CVR_F32, &v, err));
    CVR_TRY(graph_add_end(g, name, role, v, err));
    return role == CVR_ROLE_AUXILIARY ? CVR_OK : cvr_graph_output(g, name, v, err);
}

static void io_weigh(const cvr_io *io, const char *name, double weight) {
    const cvr_graph *g = io->ctx;
    for (size_t i = 0; i < g->n_ends; i++)
        if (g->ends[i]->role == CVR_ROLE_AUXILIARY && strcmp(g->ends[i]->name, name) == 0) g->ends[i]->weight = weight;
}

const cvr_io *cvr_graph_io(const cvr_graph *g) {
    return &g->io;
}

void graph_open_io(cvr_graph *g) {
    g->io = (cvr_io){sizeof g->io, g, io_input, io_put, io_output, io_weigh};
}

void graph_close_io(cvr_graph *g) {
    for (size_t i = 0; i < g->n_ends; i++) {
        cvr_free((void *)(uintptr_t)g->ends[i]->name);
        cvr_free(g->ends[i]);
    }
    cvr_free(g->ends);
}
