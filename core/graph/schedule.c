/*
 * Updates as early as they may run: an optimizer's update stands, when it is emitted, after all gradients, so that
 * every gradient would be kept until the end of the step. Here it moves to just behind the last node that makes one of
 * its inputs or reads what it changes; the gradient's memory is free from there on, and it is still in the cache. What
 * tells updates of a veto (update_guard.c) moves up before them.
 */
#include "ir.h"

typedef struct schedule {
    cvr_graph *g;
    cvr_value *root; /* by value: itself, or what it is a view of */
    size_t *made;    /* by root: one past the last node so far that makes or changes it */
    size_t *seen;    /* by root: one past the last node so far that makes, changes or reads it */
    size_t *behind;  /* by node: where it may stand, as a number of nodes before it */
    size_t *lists;
    ir_node **ordered;
} schedule;

bool node_is_update(const ir_node *n) {
    return n->backward && n->op->mutates != 0 && n->n_outputs == 0;
}

static bool moves_up(const cvr_graph *g, const ir_node *n) {
    return node_is_update(n) || (n->n_outputs == 1 && g->values[n->outputs[0]]->guarded);
}

/* One past the last node that makes something which may veto updates: none may stand before it. */
static size_t vetoes_made(const schedule *s) {
    size_t last = 0;
    for (size_t i = 0; i < s->g->n_outputs; i++) {
        const size_t made = s->g->outputs[i].veto ? s->made[s->root[s->g->outputs[i].value]] : 0;
        last = made > last ? made : last;
    }
    return last;
}

/* Each node's own place is behind its predecessors; that of one which moves up is behind what it depends on. */
static void find_places(schedule *s) {
    const cvr_graph *g = s->g;
    for (size_t v = 0; v < g->n_values; v++) s->root[v] = (cvr_value)v;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const ir_node *n = g->nodes[i];
        const bool moves = moves_up(g, n);
        size_t place = moves ? vetoes_made(s) : 0;
        for (uint32_t k = 0; k < n->n_inputs; k++) {
            const cvr_value v = s->root[n->inputs[k]];
            const size_t after = (n->op->mutates >> k & 1) ? s->seen[v] : s->made[v];
            if (v && after > place) place = after;
        }
        if (n->op->flags & CVR_OP_ALIAS) s->root[n->outputs[0]] = s->root[n->inputs[0]];
        s->behind[i] = moves ? place : i;
        const size_t after = moves ? place : i + 1;
        for (uint32_t k = 0; k < n->n_inputs + n->n_outputs; k++) {
            const cvr_value v = s->root[n->inputs[k]]; /* outputs follow the inputs in one block */
            const bool changed = k >= n->n_inputs || (n->op->mutates >> k & 1);
            if (changed && after > s->made[v]) s->made[v] = after;
            if (after > s->seen[v]) s->seen[v] = after;
        }
    }
}

/* Before node i stand the nodes that move up and whose place is i, in the order in which they were. */
static void put_in_order(schedule *s) {
    cvr_graph *g = s->g;
    size_t n = 0, next = 0;
    size_t *first = s->lists, *chain = s->lists + g->n_nodes + 1; /* what moves up, by place */
    for (size_t i = 0; i <= g->n_nodes; i++) first[i] = SIZE_MAX;
    for (size_t i = g->n_nodes; i-- > 0;) {
        if (!moves_up(g, g->nodes[i])) continue;
        chain[i] = first[s->behind[i]];
        first[s->behind[i]] = i;
    }
    for (; next <= g->n_nodes; next++) {
        for (size_t i = first[next]; i != SIZE_MAX; i = chain[i]) s->ordered[n++] = g->nodes[i];
        if (next < g->n_nodes && !moves_up(g, g->nodes[next])) s->ordered[n++] = g->nodes[next];
    }
    if (n) memcpy(g->nodes, s->ordered, n * sizeof *g->nodes);
}

int32_t cvr_graph_schedule(cvr_graph *g, cvr_error *err) {
    CVR_TRY(graph_guard_updates(g, err));
    schedule s = {.g = g,
                  .root = cvr_calloc(g->n_values, sizeof *s.root),
                  .made = cvr_calloc(g->n_values, sizeof *s.made),
                  .seen = cvr_calloc(g->n_values, sizeof *s.seen),
                  .lists = cvr_calloc(2 * (g->n_nodes + 1), sizeof *s.lists),
                  .behind = cvr_calloc(g->n_nodes + 1, sizeof *s.behind),
                  .ordered = cvr_calloc(g->n_nodes + 1, sizeof *s.ordered)};
    const bool made = s.root && s.made && s.seen && s.lists && s.behind && s.ordered;
    if (made) {
        find_places(&s);
        put_in_order(&s);
    }
    cvr_free(s.root);
    cvr_free(s.made);
    cvr_free(s.seen);
    cvr_free(s.lists);
    cvr_free(s.behind);
    cvr_free(s.ordered);
    return made ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}
