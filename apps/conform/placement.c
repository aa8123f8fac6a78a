/* See placement.h. */
#include "placement.h"
#include "layer_case.h"
#include <fnmatch.h>

#define PROBES 12u /* of an op and element type; more of them tell no more */

bool placement_wants(const char *patterns, const char *name) {
    char one[160];
    if (!patterns) return true;
    for (const char *p = patterns; *p;) {
        const size_t n = strcspn(p, ",");
        (void)snprintf(one, sizeof one, "%.*s", (int)n, p);
        if (fnmatch(one, name, 0) == 0) return true;
        p += n + (p[n] == ',');
    }
    return false;
}

conform_op *placement_op(conform_board *b, const cvr_op_desc *op) {
    for (uint32_t i = 0; i < b->n_ops; i++)
        if (strcmp(b->ops[i].name, op->name) == 0) return &b->ops[i];
    if (b->n_ops == CONFORM_MOST_OPS) return &b->ops[CONFORM_MOST_OPS - 1];
    conform_op *o = &b->ops[b->n_ops++];
    (void)snprintf(o->name, sizeof o->name, "%s", op->name);
    o->view = (op->flags & CVR_OP_ALIAS) != 0;
    o->of_host = (op->flags & CVR_OP_HOST) != 0;
    return o;
}

conform_place conform_place_of(const conform_op *o) {
    if (o->view) return PLACE_VIEW;
    if (o->of_host) return PLACE_OF_HOST;
    if (!o->planned) return PLACE_UNSEEN;
    if (o->on_host == o->planned) return PLACE_MISS;
    return o->itself ? PLACE_ITSELF : PLACE_OTHER_OPS;
}

/* ---- one node, alone ---- */

typedef struct alone {
    cvr_store *store;
    cvr_graph *graph;
    cvr_program *program;
    cvr_value inputs[CVR_MAX_IO], outputs[CVR_MAX_IO];
} alone;

static int32_t build(alone *a, const cvr_op_desc *op, const void *attrs, uint64_t attrs_size,
                     const cvr_type *const *inputs, uint32_t n, cvr_error *err) {
    char name[32];
    const cvr_builder *b = cvr_graph_builder(a->graph);
    for (uint32_t i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "in%u", i);
        if (!inputs[i]) continue;
        if (op->mutates >> i & 1)
            CVR_TRY(case_stored_input(b, name, inputs[i], &a->inputs[i], err));
        else
            CVR_TRY(cvr_graph_input(a->graph, name, inputs[i], &a->inputs[i], err));
    }
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = op->name,
                              .attrs = attrs,
                              .attrs_size = attrs_size,
                              .inputs = a->inputs,
                              .outputs = a->outputs,
                              .n_inputs = n,
                              .n_outputs = op->n_outputs};
    CVR_TRY(b->emit(b, &call, err));
    for (uint32_t i = 0; i < op->n_outputs; i++) {
        (void)snprintf(name, sizeof name, "out%u", i);
        CVR_TRY(cvr_graph_output(a->graph, name, a->outputs[i], err));
    }
    return CVR_OK;
}

static int32_t plan_alone(const placement_probe *p, alone *a, const cvr_op_desc *op, const void *attrs,
                          uint64_t attrs_size, const cvr_type *const *inputs, uint32_t n, cvr_error *err) {
    CVR_TRY(cvr_store_create(&a->store, 1, err));
    CVR_TRY(cvr_graph_create(&a->graph, p->plugins, a->store, true, err));
    cvr_graph_nondeterministic(a->graph);
    CVR_TRY(build(a, op, attrs, attrs_size, inputs, n, err));
    CVR_TRY(cvr_store_place(a->store, p->device, err));
    return cvr_program_plan(&a->program, a->graph, p->device, p->pool, CVR_FALLBACK_ALLOW, err);
}

/* The op's own node, or one of those that it became, on the host. */
static void note_host(conform_op *o, const cvr_node_info *node) {
    o->on_host++;
    if (*o->reason) return;
    if (strcmp(node->op, o->name) == 0)
        (void)snprintf(o->reason, sizeof o->reason, "%s", node->fallback);
    else
        (void)snprintf(o->reason, sizeof o->reason, "it becomes %.60s, and %.150s", node->op, node->fallback);
}

/* Another op that computes a part of it. */
static void note_part(conform_op *o, const char *part) {
    const size_t n = strlen(o->parts), length = strlen(part);
    for (const char *p = o->parts; *p;) {
        const size_t k = strcspn(p, ",");
        if (k == length && memcmp(p, part, k) == 0) return;
        p += k + (p[k] ? strlen(", ") : 0);
    }
    if (n + strlen(", ") + length < sizeof o->parts)
        (void)snprintf(o->parts + n, sizeof o->parts - n, "%s%s", n ? ", " : "", part);
}

/* The program of the node alone: on the host, by itself, or by the ops that stand in its place. */
static void note_program(conform_op *o, const cvr_program *program) {
    bool host = false, itself = false;
    cvr_node_info node;
    o->planned++;
    for (size_t i = 0; i < cvr_program_nodes(program) && !host; i++) {
        cvr_program_node(program, i, &node);
        if (strcmp(node.op, o->name) == 0 && !*node.fallback) itself = true;
        host = *node.fallback != '\0';
        if (host) note_host(o, &node);
    }
    o->itself = o->itself || itself;
    for (size_t i = 0; i < cvr_program_nodes(program) && !host && !itself; i++) {
        cvr_program_node(program, i, &node);
        note_part(o, node.op);
    }
}

void placement_try(placement_probe *p, const cvr_op_desc *op, const void *attrs, uint64_t attrs_size,
                   const cvr_type *const *inputs, uint32_t n_inputs) {
    alone a = {0};
    cvr_error err = CVR_ERROR_INIT;
    if (!placement_wants(p->wanted, op->name)) return;
    conform_op *o = placement_op(p->board, op);
    board_doing(p->board, NULL, "while %s was planned alone", op->name);
    const int32_t status = plan_alone(p, &a, op, attrs, attrs_size, inputs, n_inputs, &err);
    if (status == CVR_OK)
        note_program(o, a.program);
    else
        (void)snprintf(o->trouble, sizeof o->trouble, "%.230s", err.message);
    cvr_program_destroy(&a.program);
    cvr_graph_destroy(&a.graph);
    cvr_store_destroy(&a.store);
}

/* ---- all of a graph ---- */

/* Which of an op's counters: by the coarsest type of its inputs. */
static uint32_t *probes_of(conform_op *o, const cvr_type *const *inputs, uint32_t n) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (inputs[i] && inputs[i]->dtype == CVR_BF16) at = 1;
        if (inputs[i] && inputs[i]->dtype == CVR_F16) at = 2;
    }
    return &o->probes[at];
}

void placement_look(void *ctx, const cvr_graph *g) {
    placement_probe *p = ctx;
    const cvr_builder *b = cvr_graph_builder(g);
    for (size_t i = 0; i < cvr_graph_nodes(g); i++) {
        cvr_graph_node_info n;
        const cvr_type *inputs[CVR_MAX_IO];
        cvr_graph_node(g, i, &n);
        if (!placement_wants(p->wanted, n.op->name)) continue;
        p->met = true;
        for (uint32_t k = 0; k < n.n_inputs; k++) inputs[k] = n.inputs[k] ? b->type(b, n.inputs[k]) : NULL;
        uint32_t *probes = probes_of(placement_op(p->board, n.op), inputs, n.n_inputs);
        if ((*probes)++ < PROBES) placement_try(p, n.op, n.attrs, n.attrs_size, inputs, n.n_inputs);
    }
}
