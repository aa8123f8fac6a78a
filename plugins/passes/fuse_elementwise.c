/*
 * The pass "fuse_elementwise": elementwise ops that feed each other alone become one op, a program (see
 * ops/elementwise.h), forward and backward; with it goes the sum of the result's columns, a bias's gradient. What an op
 * is as a program it says itself (CVR_TRAIT_ELEMENTWISE), so that a stranger's activation joins in.
 *
 * A group grows downwards from its first node, the head, and stands where that stood: all its inputs are made before.
 * So no value lives longer than it did, and those between the members do not live at all.
 */
#include "chain.h"

#include <cvr/plugin/ops/elementwise.h>

#define MOST_MEMBERS 8u

typedef struct group {
    uint64_t members[MOST_MEMBERS]; /* in the graph's order; [0]: the head */
    uint32_t n;
    uint32_t steps, constants, inputs; /* at most */
    uint64_t sum;                      /* the node that sums the result's columns, or CVR_NO_NODE */
    cvr_value result;
} group;

typedef struct fusion {
    const cvr_rewriter *r;
    uint8_t *taken;   /* by node: part of a group */
    uint64_t *sum_of; /* by node: who sums the columns of its output, or CVR_NO_NODE */
} fusion;

/* ---- what may be fused ---- */

static const cvr_type *type_of(const fusion *f, cvr_value v) {
    return f->r->builder->type(f->r->builder, v);
}

static const cvr_elementwise_trait *program_of(const cvr_node_view *n) {
    return (const cvr_elementwise_trait *)cvr_op_trait(n->op, CVR_TRAIT_ELEMENTWISE);
}

/* The node's op as a program; 0 where it says nothing that could be one. */
static int read_program(const cvr_node_view *n, cvr_steps *s) {
    const cvr_elementwise_trait *t = program_of(n);
    memset(s, 0, sizeof *s);
    s->struct_size = sizeof *s;
    if (!t) return 0;
    t->steps(n->attrs, s);
    return cvr_steps_valid(s, CVR_ELEMENTWISE_INPUTS);
}

static int is_number(const cvr_type *t) {
    return t->dtype == CVR_F32 || t->dtype == CVR_BF16;
}

/* Whether the op says what it is, and its inputs repeat as a program's may. `whole` (may be NULL): one that does not.
 */
static int is_elementwise(const fusion *f, const cvr_node_view *n, cvr_value *whole) {
    const cvr_type *y = n->n_outputs == 1 ? type_of(f, n->outputs[0]) : NULL;
    cvr_value same = CVR_NONE;
    int64_t inner, size;
    if (!y || !program_of(n) || y->order[0] != 0) return 0;
    for (uint32_t k = 0; k < n->n_inputs; k++) {
        const cvr_type *x = n->inputs[k] ? type_of(f, n->inputs[k]) : NULL;
        if (!x || (is_number(x) && x->order[0] != 0)) return 0;
        if (!is_number(x)) continue;
        if (!cvr_elementwise_repeat(y->rank, y->shape, x->rank, x->shape, &inner, &size)) return 0;
        if (!same && chain_same_shape(x, y) && x->dtype == y->dtype) same = n->inputs[k];
    }
    if (whole) *whole = same;
    return same != CVR_NONE;
}

/* Whether the group has room for the node's program: what it may add at most, less the value that leads to it. */
static int has_room(const group *g, const cvr_node_view *n, const cvr_steps *s) {
    return g->n < MOST_MEMBERS && g->steps + s->n_steps <= CVR_ELEMENTWISE_STEPS &&
           g->constants + s->n_constants <= CVR_ELEMENTWISE_STEPS && g->inputs + n->n_inputs <= CVR_ELEMENTWISE_INPUTS;
}

static void add_member(group *g, uint64_t i, const cvr_node_view *n, const cvr_steps *s) {
    uint32_t at = g->n++;
    for (; at > 0 && g->members[at - 1] > i; at--) g->members[at] = g->members[at - 1];
    g->members[at] = i;
    g->steps += s->n_steps;
    g->constants += s->n_constants;
    g->inputs += n->n_inputs;
}

static int join(const fusion *f, group *g, uint64_t i, cvr_value from);

/* Whether v is known before the head, or is made by a node that can join. */
static int reachable(const fusion *f, group *g, cvr_value v) {
    const uint64_t by = f->r->producer(f->r, v);
    if (by == CVR_NO_NODE || by < g->members[0]) return 1;
    return f->r->uses(f->r, v, NULL) == 1 && join(f, g, by, CVR_NONE);
}

/* Takes node i into the group if that can be: `from`, one of its inputs, is made there. */
static int join(const fusion *f, group *g, uint64_t i, cvr_value from) {
    cvr_node_view n, head;
    cvr_steps s;
    f->r->node(f->r, i, &n);
    f->r->node(f->r, g->members[0], &head);
    if (f->taken[i] || n.backward != head.backward || !is_elementwise(f, &n, NULL)) return 0;
    if (!read_program(&n, &s) || !has_room(g, &n, &s)) return 0;
    const cvr_type *y = type_of(f, n.outputs[0]), *first = type_of(f, head.outputs[0]);
    if (!chain_same_shape(y, first) || y->dtype != first->dtype) return 0;
    for (uint32_t k = 0; k < n.n_inputs; k++)
        if (n.inputs[k] != from && !reachable(f, g, n.inputs[k])) return 0;
    if (!has_room(g, &n, &s)) return 0;
    add_member(g, i, &n, &s);
    return 1;
}

/* The group that node i, elementwise, is the head of; alone where nothing joins it. */
static group grow(const fusion *f, uint64_t i, const cvr_node_view *head) {
    group g = {.sum = CVR_NO_NODE, .result = head->outputs[0]};
    uint64_t last = i, next;
    cvr_steps s;
    if (!read_program(head, &s) || !has_room(&g, head, &s)) return g;
    add_member(&g, i, head, &s);
    while (f->r->uses(f->r, g.result, &next) == 1 && next != CVR_NO_NODE) {
        const group before = g;
        cvr_node_view n;
        if (!join(f, &g, next, g.result)) {
            g = before;
            break;
        }
        f->r->node(f->r, next, &n);
        g.result = n.outputs[0];
        last = next;
    }
    g.sum = f->sum_of[last];
    return g;
}

/* ---- the program ---- */

typedef struct writer {
    cvr_steps program;
    cvr_value inputs[CVR_ELEMENTWISE_INPUTS];
    uint32_t n_inputs;
    cvr_value made[MOST_MEMBERS]; /* members' outputs, and the results that they are */
    uint32_t result[MOST_MEMBERS];
    uint32_t n_made;
} writer;

/* The operand that a value is; an input of the program where no member makes it. */
static uint32_t operand_of(writer *w, cvr_value v) {
    for (uint32_t i = 0; i < w->n_made; i++)
        if (w->made[i] == v) return CVR_STEP_RESULT + w->result[i];
    for (uint32_t i = 0; i < w->n_inputs; i++)
        if (w->inputs[i] == v) return i;
    w->inputs[w->n_inputs] = v;
    return w->n_inputs++;
}

static int is_made(const writer *w, cvr_value v) {
    for (uint32_t i = 0; i < w->n_made; i++)
        if (w->made[i] == v) return 1;
    return 0;
}

/* An operand of a member's program, in the group's; `first`: the member's first step. */
static uint32_t translate(writer *w, const cvr_steps *s, const cvr_value *operands, uint32_t first, uint32_t from) {
    if (from >= CVR_STEP_CONSTANT) return cvr_constant(&w->program, s->constants[from - CVR_STEP_CONSTANT]);
    return from >= CVR_STEP_RESULT ? first + from : operand_of(w, operands[from]);
}

/* Writes down what one member is. */
static int32_t write_member(const fusion *f, writer *w, uint64_t i, cvr_error *err) {
    cvr_value inputs[CVR_MAX_IO], operands[CVR_MAX_IO];
    cvr_node_view n;
    cvr_steps s;
    f->r->node(f->r, i, &n);
    for (uint32_t k = 0; k < n.n_inputs; k++)
        inputs[k] = operands[k] = is_made(w, n.inputs[k]) ? n.inputs[k] : f->r->current(f->r, n.inputs[k]);
    cvr_operands_args a = {sizeof a, n.attrs, inputs, operands, n.n_inputs, n.n_inputs};
    (void)read_program(&n, &s); /* it could be read when the node joined */
    if (program_of(&n)->operands) CVR_TRY(program_of(&n)->operands(f->r->builder, &a, err));
    if (!cvr_steps_valid(&s, a.n_operands))
        return cvr_fail(err, CVR_ERR_PLUGIN, "op %s: its program names an input that it does not have", n.op->name);
    const uint32_t first = w->program.n_steps;
    for (uint32_t k = 0; k < s.n_steps; k++) {
        uint32_t to[4] = {0};
        for (uint32_t j = 0; j < cvr_step_operands(s.steps[k].code); j++)
            to[j] = translate(w, &s, operands, first, s.steps[k].operands[j]);
        (void)cvr_step4(&w->program, s.steps[k].code, to[0], to[1], to[2], to[3]);
    }
    w->made[w->n_made] = n.outputs[0];
    w->result[w->n_made++] = w->program.n_steps - 1;
    return CVR_OK;
}

/* Emits the op in place of the group's nodes. */
static int32_t put(const fusion *f, const group *g, cvr_error *err) {
    const cvr_rewriter *r = f->r;
    writer w = {.program = {.struct_size = sizeof w.program}, .n_inputs = 1};
    cvr_elementwise_attrs attrs;
    cvr_node_view head, sum;
    cvr_value outputs[2], whole;
    r->node(r, g->members[0], &head);
    (void)is_elementwise(f, &head, &whole);
    w.inputs[0] = r->current(r, whole);
    CVR_TRY(r->enter(r, g->members[0], err));
    for (uint32_t i = 0; i < g->n; i++) CVR_TRY(write_member(f, &w, g->members[i], err));
    cvr_elementwise_attrs_of(&w.program, &attrs);
    const int sums = g->sum != CVR_NO_NODE;
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = sums ? "elementwise_sum" : "elementwise",
                              .attrs = &attrs,
                              .attrs_size = sizeof attrs,
                              .inputs = w.inputs,
                              .outputs = outputs,
                              .n_inputs = w.n_inputs,
                              .n_outputs = sums ? 2 : 1};
    CVR_TRY(r->builder->emit(r->builder, &call, err));
    CVR_TRY(r->replace(r, g->result, outputs[0], err));
    if (!sums) return CVR_OK;
    r->node(r, g->sum, &sum);
    return r->replace(r, sum.outputs[0], outputs[1], err);
}

/* ---- the graph ---- */

/* Notes for the maker of a value who sums its columns; views between them do not matter. */
static void find_sums(fusion *f) {
    for (uint64_t i = 0; i < f->r->n_nodes; i++) f->sum_of[i] = CVR_NO_NODE;
    for (uint64_t i = 0; i < f->r->n_nodes; i++) {
        cvr_node_view n;
        f->r->node(f->r, i, &n);
        if (!cvr_op_trait(n.op, CVR_TRAIT_COLUMN_SUM)) continue;
        const int64_t columns = type_of(f, n.outputs[0])->shape[0];
        cvr_value x = n.inputs[0];
        uint64_t by = f->r->producer(f->r, x);
        while (by != CVR_NO_NODE) {
            f->r->node(f->r, by, &n);
            if (!(n.op->flags & CVR_OP_ALIAS)) break;
            x = n.inputs[0];
            by = f->r->producer(f->r, x);
        }
        const cvr_type *t = type_of(f, x);
        if (by != CVR_NO_NODE && t->rank >= 2 && t->shape[t->rank == 4 ? 1 : t->rank - 1] == columns) f->sum_of[by] = i;
    }
}

static int32_t fuse_all(fusion *f, cvr_error *err) {
    find_sums(f);
    for (uint64_t i = 0; i < f->r->n_nodes; i++) {
        cvr_node_view n;
        f->r->node(f->r, i, &n);
        const int head = !f->taken[i] && is_elementwise(f, &n, NULL);
        const group g = head ? grow(f, i, &n) : (group){.n = 0, .sum = CVR_NO_NODE};
        if (g.n > 1 || g.sum != CVR_NO_NODE) {
            for (uint32_t k = 0; k < g.n; k++) f->taken[g.members[k]] = 1;
            if (g.sum != CVR_NO_NODE) f->taken[g.sum] = 1;
            CVR_TRY(put(f, &g, err));
        }
        if (f->taken[i])
            f->r->drop(f->r, i);
        else
            CVR_TRY(f->r->keep(f->r, i, err));
    }
    return CVR_OK;
}

static int32_t run(const cvr_rewriter *r, cvr_error *err) {
    const uint64_t n = r->n_nodes + 1;
    fusion f = {.r = r,
                .taken = (uint8_t *)r->host->alloc(r->host, n, 1),
                .sum_of = (uint64_t *)r->host->alloc(r->host, n * sizeof *f.sum_of, sizeof *f.sum_of)};
    int32_t status;
    CVR_TRY_OUT(f.taken && f.sum_of ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    memset(f.taken, 0, n);
    CVR_TRY_OUT(fuse_all(&f, err));
out:
    r->host->free(r->host, f.taken);
    r->host->free(r->host, f.sum_of);
    return status;
}

const cvr_pass_desc fuse_elementwise_pass = {.struct_size = sizeof fuse_elementwise_pass,
                                             .name = "fuse_elementwise",
                                             .doc = "elementwise ops, and sums for biases, as one op",
                                             .stage = CVR_PASS_STEP,
                                             .run = run};
