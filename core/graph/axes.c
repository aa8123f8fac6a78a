/* Asks every op of a graph how it ties axes (cvr/plugin/axes.h), and joins what is tied. */
#include "axes.h"

/* Most elements of all axes together: 16 million sets of 10 bytes. */
#define MOST_ELEMENTS (1u << 24)

static uint32_t find_set(uint32_t *parent, uint32_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
}

static void join_sets(cvr_channels *a, uint32_t x, uint32_t y) {
    x = find_set(a->parent, x);
    y = find_set(a->parent, y);
    if (x == y) return;
    if (y < x) { /* the first element stands for its set, whatever the order of ties */
        const uint32_t t = x;
        x = y;
        y = t;
    }
    a->parent[y] = x;
    a->flags[x] |= a->flags[y];
    if (!a->why[x]) a->why[x] = a->why[y];
}

static size_t number_of(const cvr_channels *a, cvr_value v, uint32_t axis) {
    size_t at = a->first[v];
    for (uint32_t i = 0; i < axis; i++) at += (size_t)a->g->values[v]->type.shape[i];
    return at;
}

uint32_t axes_set(const cvr_channels *a, cvr_value v, uint32_t axis, int64_t i) {
    return find_set(a->parent, (uint32_t)(number_of(a, v, axis) + (size_t)i));
}

int64_t axes_left(const cvr_channels *a, cvr_value v, uint32_t axis, int64_t from, int64_t n) {
    const size_t at = number_of(a, v, axis) + (size_t)from;
    int64_t left = 0;
    for (int64_t i = 0; i < n; i++) left += !a->gone[find_set(a->parent, (uint32_t)(at + (size_t)i))];
    return left;
}

static void fix_axis(cvr_channels *a, cvr_value v, uint32_t axis, uint32_t why) {
    const size_t at = number_of(a, v, axis);
    for (int64_t i = 0; i < a->g->values[v]->type.shape[axis]; i++) {
        const uint32_t set = find_set(a->parent, (uint32_t)(at + (size_t)i));
        if (!a->why[set]) a->why[set] = why;
    }
}

static void fix_value(cvr_channels *a, cvr_value v, uint32_t why) {
    for (uint32_t i = 0; i < a->g->values[v]->type.rank; i++) fix_axis(a, v, i, why);
}

/* ---- what an op is given ---- */

typedef struct node_axes {
    cvr_axes api;
    cvr_channels *all;
    const ir_node *n;
    uint64_t flags; /* of the op's trait */
    const cvr_type *inputs[CVR_MAX_IO], *outputs[CVR_MAX_IO];
    uint32_t mentioned[2 * CVR_MAX_IO]; /* by port, a bit an axis */
    bool failed;
} node_axes;

static cvr_value value_at(const node_axes *n, uint32_t port) {
    if (port < CVR_AXES_OUTPUT) return port < n->n->n_inputs ? n->n->inputs[port] : CVR_NONE;
    return port - CVR_AXES_OUTPUT < n->n->n_outputs ? n->n->outputs[port - CVR_AXES_OUTPUT] : CVR_NONE;
}

static bool fits(const node_axes *n, const cvr_axis_run *r, int64_t count) {
    const cvr_value v = value_at(n, r->port);
    const cvr_type *t = &n->all->g->values[v]->type;
    int64_t last;
    if (r->axis >= t->rank || r->repeat < 1 || r->first < 0 || r->step < 0) return false;
    return count == 0 || (!__builtin_mul_overflow((count - 1) / r->repeat, r->step, &last) &&
                          !__builtin_add_overflow(last, r->first, &last) && last < t->shape[r->axis]);
}

static void tie(const cvr_axes *api, const cvr_axis_run *x, const cvr_axis_run *y, int64_t n) {
    node_axes *node = api->ctx;
    cvr_channels *a = node->all;
    const cvr_value v = value_at(node, x->port), w = value_at(node, y->port);
    if (v == CVR_NONE || w == CVR_NONE) return;
    if (n < 0 || !fits(node, x, n) || !fits(node, y, n)) {
        node->failed = true;
        return;
    }
    const size_t from = number_of(a, v, x->axis), to = number_of(a, w, y->axis);
    for (int64_t k = 0; k < n; k++) {
        const uint32_t i = (uint32_t)(from + (size_t)(x->first + k / x->repeat * x->step));
        join_sets(a, i, (uint32_t)(to + (size_t)(y->first + k / y->repeat * y->step)));
        a->flags[find_set(a->parent, i)] |= (uint8_t)node->flags;
    }
    node->mentioned[x->port] |= 1u << x->axis;
    node->mentioned[y->port] |= 1u << y->axis;
}

static uint32_t fixed(const cvr_axes *api, uint32_t port, uint32_t axis) {
    const node_axes *node = api->ctx;
    const cvr_channels *a = node->all;
    const cvr_value v = value_at(node, port);
    if (v == CVR_NONE || axis >= a->g->values[v]->type.rank) return 1;
    for (int64_t i = 0; i < a->g->values[v]->type.shape[axis]; i++)
        if (a->why[axes_set(a, v, axis, i)]) return 1;
    return 0;
}

static int64_t left(const cvr_axes *api, uint32_t port, uint32_t axis, int64_t first, int64_t n) {
    const node_axes *node = api->ctx;
    const cvr_channels *a = node->all;
    const cvr_value v = value_at(node, port);
    if (v == CVR_NONE || axis >= a->g->values[v]->type.rank || first < 0 || n < 0 ||
        n > a->g->values[v]->type.shape[axis] - first)
        return 0;
    return axes_left(a, v, axis, first, n);
}

static void begin_node(node_axes *to, cvr_channels *a, const ir_node *n) {
    *to = (node_axes){.all = a, .n = n};
    for (uint32_t i = 0; i < n->n_inputs; i++) to->inputs[i] = n->inputs[i] ? &a->g->values[n->inputs[i]]->type : NULL;
    for (uint32_t i = 0; i < n->n_outputs; i++) to->outputs[i] = &a->g->values[n->outputs[i]]->type;
    to->api = (cvr_axes){.struct_size = sizeof to->api,
                         .ctx = to,
                         .attrs = n->attrs,
                         .inputs = to->inputs,
                         .outputs = to->outputs,
                         .n_inputs = n->n_inputs,
                         .n_outputs = n->n_outputs,
                         .tie = tie,
                         .fixed = fixed,
                         .left = left};
}

/* What an elementwise op need not say. */
static void tie_elementwise(node_axes *n) {
    for (uint32_t k = 0; k < n->n->n_inputs; k++)
        if (n->inputs[k] && n->inputs[k]->rank == n->outputs[0]->rank &&
            memcmp(n->inputs[k]->shape, n->outputs[0]->shape, sizeof n->inputs[k]->shape) == 0)
            for (uint32_t i = 0; i < n->inputs[k]->rank; i++) cvr_axes_tie(&n->api, k, i, CVR_AXES_OUTPUT, i);
}

/* Sums of what two nodes made; a learned number that is added makes no stream. */
static bool sums_two(const cvr_graph *g, const ir_node *n) {
    uint32_t made = 0;
    for (uint32_t i = 0; i < n->n_inputs; i++) made += n->inputs[i] && g->values[n->inputs[i]]->kind == VALUE_TEMP;
    return made > 1;
}

static int32_t tie_node(cvr_channels *a, size_t i, cvr_error *err) {
    const ir_node *n = a->g->nodes[i];
    const cvr_axes_trait *trait = cvr_op_trait(n->op, CVR_TRAIT_AXES);
    node_axes node;
    begin_node(&node, a, n);
    node.flags = trait ? trait->flags : 0;
    if (!sums_two(a->g, n)) node.flags &= ~(uint64_t)CVR_AXES_SUM;
    if (trait)
        trait->tie(&node.api);
    else if ((n->op->flags & CVR_OP_ORDER_FREE) && n->n_outputs)
        tie_elementwise(&node);
    if (node.failed)
        return cvr_call_blame(n->op, "trait", n->name, err, "ties elements that an axis does not have (%s)",
                              CVR_TRAIT_AXES);
    for (uint32_t port = 0; port < 2 * CVR_MAX_IO; port++) {
        const cvr_value v = value_at(&node, port);
        for (uint32_t axis = 0; v && axis < a->g->values[v]->type.rank; axis++)
            if (!(node.mentioned[port] >> axis & 1)) fix_axis(a, v, axis, (uint32_t)i + 1);
    }
    return CVR_OK;
}

/* ---- all of it ---- */

static int32_t number_elements(cvr_channels *a, cvr_error *err) {
    const cvr_graph *g = a->g;
    uint64_t n = 0;
    a->first = cvr_calloc(g->n_values + 1, sizeof *a->first);
    if (!a->first) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t v = 1; v < g->n_values; v++) {
        a->first[v] = (size_t)n;
        for (uint32_t i = 0; i < g->values[v]->type.rank; i++) n += (uint64_t)g->values[v]->type.shape[i];
        if (n > MOST_ELEMENTS)
            return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                            "the network's values have more than %u rows, columns and channels together; smaller "
                            "pictures will do to prune by",
                            MOST_ELEMENTS);
    }
    a->first[g->n_values] = (size_t)n;
    a->parent = cvr_calloc(n + 1, sizeof *a->parent);
    a->why = cvr_calloc(n + 1, sizeof *a->why);
    a->flags = cvr_calloc(n + 1, 1);
    a->gone = cvr_calloc(n + 1, 1);
    a->before = cvr_calloc(n + 1, 1);
    if (!a->parent || !a->why || !a->flags || !a->gone || !a->before)
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i < n; i++) a->parent[i] = i;
    return CVR_OK;
}

int32_t cvr_channels_create(cvr_channels **out, const cvr_graph *g, cvr_error *err) {
    cvr_channels *a = *out = cvr_calloc(1, sizeof *a);
    int32_t status;
    if (!a) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    a->g = g;
    CVR_TRY_OUT(number_elements(a, err));
    for (size_t v = 1; v < g->n_values; v++)
        if (g->values[v]->kind == VALUE_INPUT || g->values[v]->kind == VALUE_SCALAR || v < g->n_outside)
            fix_value(a, (cvr_value)v, FIXED_BY_INPUT);
    for (size_t i = 0; i < g->n_nodes; i++) CVR_TRY_OUT(tie_node(a, i, err));
    for (size_t i = 0; i < g->n_ends; i++) fix_value(a, g->ends[i]->value, FIXED_BY_OUTPUT);
    for (size_t i = 0; i < g->n_outputs; i++) fix_value(a, g->outputs[i].value, FIXED_BY_OUTPUT);
    CVR_TRY_OUT(axes_find_groups(a, err));
out:
    if (status != CVR_OK) cvr_channels_destroy(out);
    return status;
}

void cvr_channels_destroy(cvr_channels **axes) {
    cvr_channels *a = *axes;
    if (!a) return;
    axes_free_view(a);
    axes_free_groups(a);
    cvr_free(a->first);
    cvr_free(a->parent);
    cvr_free(a->why);
    cvr_free(a->flags);
    cvr_free(a->gone);
    cvr_free(a->before);
    cvr_free(a);
    *axes = NULL;
}

void axes_narrow_attrs(cvr_channels *a, const ir_node *n, void *attrs) {
    const cvr_axes_trait *trait = cvr_op_trait(n->op, CVR_TRAIT_AXES);
    node_axes node;
    if (!trait || !trait->narrow) return;
    begin_node(&node, a, n);
    trait->narrow(&node.api, attrs);
}
