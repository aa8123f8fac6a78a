/*
 * Vetoes that the device obeys by itself. An update op may say which of its inputs tells it to do nothing, and by which
 * number (cvr/plugin/idle.h). Where all updates of a step do, that input is made to go through the op `update_guard`,
 * which reads what may veto (the loss, sums of gradients): then nobody has to wait for it in front of the updates.
 */
#include "ir.h"
#include <cvr/plugin/idle.h>

#define AT_ONCE 62 /* vetoes of a node */

static const cvr_idle_trait *idle_of(const ir_node *n) {
    return cvr_op_trait(n->op, CVR_TRAIT_IDLE);
}

bool node_obeys_vetoes(const cvr_graph *g, const ir_node *n) {
    const cvr_idle_trait *idle = idle_of(n);
    return idle && idle->input < n->n_inputs && g->values[n->inputs[idle->input]]->guarded;
}

/* ---- whether it can be done ---- */

static bool is_number(const cvr_type *t) {
    return cvr_numel(t->rank, t->shape) == 1 && (t->dtype == CVR_F32 || t->dtype == CVR_I32 || t->dtype == CVR_I64);
}

static bool can_idle(const cvr_graph *g, const ir_node *n) {
    const cvr_idle_trait *idle = idle_of(n);
    if (!idle || idle->input >= n->n_inputs || !n->inputs[idle->input]) return false;
    const cvr_type *t = &g->values[n->inputs[idle->input]]->type;
    return is_number(t) && t->dtype != CVR_I32;
}

/* Whether something vetoes, update_guard takes all that does, and every update can be told. */
static bool can_guard(const cvr_graph *g) {
    size_t vetoes = 0, updates = 0;
    for (size_t i = 0; i < g->n_outputs; i++) {
        if (g->outputs[i].veto == VETO_NEVER) continue;
        if (!is_number(&g->values[g->outputs[i].value]->type)) return false;
        vetoes++;
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        if (!node_is_update(g->nodes[i])) continue;
        if (!can_idle(g, g->nodes[i])) return false;
        updates++;
    }
    return vetoes && updates;
}

/* ---- doing it ---- */

/* What comes of `x` by the vetoes of one kind, `attrs->finite` or not, from output *next on, as many as fit. */
static int32_t guard_by(cvr_graph *g, cvr_update_guard_attrs *attrs, size_t *next, cvr_value *x, cvr_error *err) {
    cvr_value in[1 + AT_ONCE] = {*x};
    uint32_t n = 1;
    for (; *next < g->n_outputs && n <= AT_ONCE; ++*next) {
        const ir_output *o = &g->outputs[*next];
        if (o->veto == (attrs->finite ? VETO_NOT_FINITE : VETO_NOT_ZERO)) in[n++] = o->value;
    }
    if (n == 1) return CVR_OK;
    CVR_TRY(cvr_emit(&g->builder, "update_guard", attrs, sizeof *attrs, in, n, x, err));
    g->values[*x]->guarded = true;
    return CVR_OK;
}

static int32_t guard_value(cvr_graph *g, cvr_value scalar, double idle, cvr_value *out, cvr_error *err) {
    *out = scalar;
    for (int64_t finite = 0; finite < 2; finite++) {
        cvr_update_guard_attrs attrs = {idle, finite};
        for (size_t next = 0; next < g->n_outputs;) CVR_TRY(guard_by(g, &attrs, &next, out, err));
    }
    return CVR_OK;
}

/* Moves the nodes from `from` on in front of node `to`. */
static int32_t move_up(cvr_graph *g, size_t to, size_t from, cvr_error *err) {
    const size_t n = g->n_nodes - from;
    ir_node **moved = cvr_calloc(n + 1, sizeof *moved);
    if (!moved) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memcpy(moved, g->nodes + from, n * sizeof *moved);
    memmove(g->nodes + to + n, g->nodes + to, (from - to) * sizeof *moved);
    memcpy(g->nodes + to, moved, n * sizeof *moved);
    cvr_free(moved);
    return CVR_OK;
}

/* All updates from node i on that read the same and idle by the same number read the guarded value instead. */
static void read_guarded(cvr_graph *g, size_t i, cvr_value scalar, double idle, cvr_value guarded) {
    for (; i < g->n_nodes; i++) {
        const ir_node *n = g->nodes[i];
        const cvr_idle_trait *t = node_is_update(n) ? idle_of(n) : NULL;
        if (t && t->value == idle && n->inputs[t->input] == scalar) n->inputs[t->input] = guarded;
    }
}

int32_t graph_guard_updates(cvr_graph *g, cvr_error *err) {
    if (!can_guard(g)) return CVR_OK;
    CVR_TRY(graph_enter(g, "", err));
    g->in_backward = true;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const ir_node *n = g->nodes[i];
        const cvr_idle_trait *idle = node_is_update(n) ? idle_of(n) : NULL;
        const size_t count = g->n_nodes;
        cvr_value guarded;
        if (!idle || node_obeys_vetoes(g, n)) continue;
        const cvr_value scalar = n->inputs[idle->input];
        CVR_TRY(guard_value(g, scalar, idle->value, &guarded, err));
        read_guarded(g, i, scalar, idle->value, guarded);
        CVR_TRY(move_up(g, i, count, err));
    }
    return CVR_OK;
}
