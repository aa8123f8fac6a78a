/*
 * The memory plan. Nodes run in the order in which they were added; a value lives from the node that makes it to the
 * last that reads it. Views share their input's block, and so does a result that its kernel may write over a dying
 * input. Blocks are then placed, largest first, at the lowest offset where nothing alive at the same time lies.
 */
#include "plan.h"
#include <unistd.h>

/* ---- which nodes run ---- */

static int32_t live_nodes(plan *p, const cvr_graph *g, cvr_error *err) {
    bool *read = graph_find_read(g, false);
    p->nodes = cvr_calloc(g->n_nodes + 1, sizeof *p->nodes);
    for (size_t i = 0; read && p->nodes && i < g->n_nodes; i++)
        if (graph_node_runs(g->nodes[i], read))
            p->nodes[p->n++] = (plan_node){.node = g->nodes[i], .workspace_block = -1, .prepared_block = -1};
    const bool good = read && p->nodes;
    cvr_free(read);
    return good ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

/* A second network, such as a teacher, is one that is read once a step and may be far larger than the one that is
 * trained. What kernels make of its weights would lie in the arena all the time, several times the weights' own bytes;
 * made anew each step it lies in a workspace, one layer's at a time. */
static bool is_guest(const cvr_graph *g, cvr_value v) {
    return *cvr_store_get(g->store, g->values[v]->store_index)->network != '\0';
}

/* By value: whether it is stored, and stays as it is from run to run, so that kernels may prepare it: nothing here
 * updates it, and no gradient that another program would take reaches it. */
static int32_t find_constants(const plan *p, const cvr_graph *g, bool **out, cvr_error *err) {
    bool *constant = cvr_calloc(g->n_values, sizeof *constant);
    if (!constant) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t v = 1; v < g->n_values; v++)
        constant[v] = g->values[v]->kind == VALUE_STORED && !g->values[v]->needs_gradient && !is_guest(g, (cvr_value)v);
    for (size_t i = 0; i < p->n; i++) {
        const ir_node *n = p->nodes[i].node;
        for (uint32_t k = 0; k < n->n_inputs && k < 64; k++)
            if (n->op->mutates >> k & 1) constant[n->inputs[k]] = false;
    }
    *out = constant;
    return CVR_OK;
}

/* Where updates begin, if something may veto them. */
static int32_t find_updates(plan *p, const cvr_graph *g, cvr_error *err) {
    size_t first = p->n, vetoes = 0;
    for (size_t i = p->n; i-- > 0;)
        if (node_is_update(p->nodes[i].node)) first = i;
    p->updates = p->n;
    for (size_t k = 0; k < g->n_outputs; k++) vetoes += g->outputs[k].veto != VETO_NEVER;
    if (!vetoes) return CVR_OK;
    for (size_t i = first; i < p->n; i++)
        for (uint32_t o = 0; o < p->nodes[i].node->n_outputs; o++)
            for (size_t k = 0; k < g->n_outputs; k++)
                if (g->outputs[k].value == p->nodes[i].node->outputs[o])
                    return cvr_fail(err, CVR_ERR_PLUGIN,
                                    "%s, an output, is made after the first update, which `%s` may veto",
                                    g->outputs[k].name, p->nodes[i].node->name);
    p->guarded = first < p->n;
    for (size_t i = first; i < p->n; i++)
        if (p->nodes[i].node->op->mutates && !node_obeys_vetoes(g, p->nodes[i].node)) p->guarded = false;
    p->updates = p->guarded ? p->n : first;
    return CVR_OK;
}

/* ---- which kernels ---- */

/* Any backend's kernel that is a plain function of the host will do. */
static const char *const host_kernels[] = {NULL};

/* What a kernel asks for must be something that a machine can have; the host's own memory is known. */
static int32_t check_bytes(const plan_request *r, const plan_node *n, const char *callback, uint64_t bytes,
                           cvr_error *err) {
    const bool host = n->on_host || device_is_host(r->device);
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    const uint64_t most = host && pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : (uint64_t)1 << 48;
    if (bytes <= most) return CVR_OK;
    char is[32], has[32];
    return cvr_call_blame(n->kernel, callback, n->node->name, err, "asks for %s (%llu bytes); there are %s",
                          cvr_bytes_text(bytes, is), (unsigned long long)bytes, cvr_bytes_text(most, has));
}

/* Workspace, and what is prepared. A node on the host runs on copies, which prepare nothing. */
static int32_t size_node(const plan_request *r, plan_node *n, cvr_error *err) {
    node_signature s;
    make_signature(&s, r, n->node);
    s.sig.prepared = !n->on_host && can_prepare(r, n->node, n->kernel);
    address_signature(&s, r, n->kernel);
    if (n->kernel->workspace) CVR_CALL_TO(n->workspace, n->kernel, workspace, n->node->name, &s.sig);
    if (s.sig.prepared) CVR_CALL_TO(n->prepared, n->kernel, prepared_size, n->node->name, &s.sig);
    CVR_TRY(check_bytes(r, n, "workspace", n->workspace, err));
    CVR_TRY(check_bytes(r, n, "prepared_size", n->prepared, err));
    if (!n->prepared) return CVR_OK;
    n->preparing = cvr_calloc(1, sizeof *n->preparing);
    if (!n->preparing) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *n->preparing = *n->kernel;
    n->preparing->payload = n->kernel->prepare;
    return CVR_OK;
}

/* One line an op and reason: how many nodes, and the first. */
static void add_fallback(const plan *p, size_t at, cvr_text *table) {
    const plan_node *n = &p->nodes[at];
    size_t count = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (p->nodes[i].node->op != n->node->op || !p->nodes[i].fallback ||
            strcmp(p->nodes[i].fallback, n->fallback) != 0)
            continue;
        if (i < at) return;
        count++;
    }
    if (count > 1)
        cvr_text_add(table, "\n  %-28s %s (%s and %zu more)", n->node->op->name, n->fallback, n->node->name, count - 1);
    else
        cvr_text_add(table, "\n  %-28s %s (%s)", n->node->op->name, n->fallback, n->node->name);
}

/* The backend's kernel for a node, or else the host's; `why` says why the backend has none. */
static int32_t choose_kernel(plan_node *n, const plan_request *r, cvr_text *why, cvr_error *err) {
    const cvr_backend_desc *backend = r->device->backend;
    CVR_TRY(resolve_kernel(r, n->node, backend->runs, backend->n_runs, &n->kernel, why, err));
    if (n->kernel) return CVR_OK;
    const bool by_nature = (n->node->op->flags & CVR_OP_HOST) != 0;
    if (!by_nature) n->fallback = cvr_strdup(why->s ? why->s : "");
    if (!by_nature && !n->fallback) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    n->on_host = !device_is_host(r->device);
    CVR_TRY(resolve_kernel(r, n->node, host_kernels, 1, &n->kernel, why, err));
    if (!n->kernel) {
        cvr_text over = {0};
        cvr_plugins_passed_over(r->device->plugins, n->node->op, &over);
        cvr_fail(err, CVR_ERR_UNSUPPORTED, "nothing can compute %s: %.400s; %.500s", n->node->name,
                 why->s ? why->s : "no kernel", over.s ? over.s : "");
        cvr_text_clear(&over);
        return CVR_ERR_UNSUPPORTED;
    }
    n->why = why->s;
    *why = (cvr_text){0};
    return CVR_OK;
}

static int32_t choose_kernels(plan *p, const plan_request *r, cvr_text *table, cvr_error *err) {
    for (size_t i = 0; i < p->n; i++) {
        plan_node *n = &p->nodes[i];
        cvr_text why = {0};
        if (n->node->op->flags & CVR_OP_ALIAS) continue;
        const int32_t status = choose_kernel(n, r, &why, err);
        cvr_text_clear(&why);
        CVR_TRY(status);
        CVR_TRY(size_node(r, n, err));
    }
    for (size_t i = 0; i < p->n; i++)
        if (p->nodes[i].fallback) add_fallback(p, i, table);
    return table->failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory") : CVR_OK;
}

/* How many bytes of the table's lines, each of which begins with a line feed, fit whole into so many. */
static int whole_lines(const cvr_text *table, int most) {
    if (table->n <= (size_t)most) return (int)table->n;
    int n = most;
    while (n > 0 && table->s[n] != '\n') n--;
    return n > 0 ? n : most;
}

static int32_t tell_fallbacks(const plan_request *r, const cvr_text *table, cvr_error *err) {
    const char *backend = r->device->backend->name;
    if (!table->n || r->fallback == CVR_FALLBACK_ALLOW) return CVR_OK;
    if (r->fallback == CVR_FALLBACK_ERROR) {
        const int n = whole_lines(table, 700);
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "backend %s cannot run all nodes (set backend.fallback=warn to run them on the host):%.*s%s",
                        backend, n, table->s, (size_t)n < table->n ? "\n  and others" : "");
    }
    cvr_log(CVR_LOG_WARNING, "backend %s leaves these nodes to the host:%s", backend, table->s);
    return CVR_OK;
}

/* ---- who shares memory with whom ---- */

static int32_t new_block(plan *p, size_t *capacity, uint64_t bytes, size_t at, int64_t *out, cvr_error *err) {
    plan_block *more = cvr_grow(p->blocks, p->n_blocks, capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    p->blocks = more;
    more[p->n_blocks] = (plan_block){.bytes = align_up(bytes, p->align), .first = at, .last = at};
    *out = (int64_t)p->n_blocks++;
    return CVR_OK;
}

/* Last node that reads each value, counting what its views' readers read. */
static int32_t last_uses(const plan *p, const cvr_graph *g, size_t **out, cvr_error *err) {
    size_t *last = cvr_calloc(g->n_values, sizeof *last);
    if (!last) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < p->n; i++) {
        const ir_node *n = p->nodes[i].node;
        for (uint32_t k = 0; k < n->n_inputs; k++) last[n->inputs[k]] = i;
        for (uint32_t k = 0; k < n->n_outputs; k++) last[n->outputs[k]] = i;
    }
    for (size_t i = 0; i < g->n_outputs; i++) last[g->outputs[i].value] = p->n;
    for (size_t i = p->n; i-- > 0;) {
        const ir_node *n = p->nodes[i].node;
        if (!(n->op->flags & CVR_OP_ALIAS)) continue;
        if (last[n->outputs[0]] > last[n->inputs[0]]) last[n->inputs[0]] = last[n->outputs[0]];
    }
    *out = last;
    return CVR_OK;
}

/* The input whose memory output 0 may take over, or -1: it dies here, has the same size, and nothing else lives in its
 * block. */
static int64_t inplace_input(const plan *p, const cvr_graph *g, const plan_node *n, size_t at) {
    const ir_node *node = n->node;
    if (!n->kernel || n->on_host || node->n_outputs == 0) return -1;
    for (uint32_t k = 0; k < node->n_inputs && k < 64; k++) {
        const cvr_value v = node->inputs[k];
        if (!(n->kernel->inplace >> k & 1) || !v || p->block_of[v] < 0) continue;
        const plan_block *b = &p->blocks[p->block_of[v]];
        bool repeated = false;
        for (uint32_t j = 0; j < node->n_inputs; j++)
            repeated = repeated || (j != k && node->inputs[j] && p->block_of[node->inputs[j]] == p->block_of[v]);
        if (b->last == at && !repeated &&
            type_bytes(&g->values[v]->type) == type_bytes(&g->values[node->outputs[0]]->type))
            return (int64_t)k;
    }
    return -1;
}

static bool is_read(const plan *p, cvr_value v) {
    for (size_t i = 0; i < p->n; i++)
        for (uint32_t k = 0; k < p->nodes[i].node->n_inputs; k++)
            if (p->nodes[i].node->inputs[k] == v) return true;
    return false;
}

/* Inputs that something reads have a block each. Scalars share one, which is written at once, and not anew for every
 * run. */
static int32_t assign_inputs(plan *p, const cvr_graph *g, const size_t *last, size_t *capacity, cvr_error *err) {
    for (size_t v = 1; v < g->n_values; v++) {
        if (g->values[v]->kind == VALUE_SCALAR) p->within[v] = p->n_scalars++;
        if (g->values[v]->kind != VALUE_INPUT || (last[v] < p->n && !is_read(p, (cvr_value)v))) continue;
        CVR_TRY(new_block(p, capacity, type_bytes(&g->values[v]->type), 0, &p->block_of[v], err));
        p->blocks[p->block_of[v]].last = last[v];
    }
    if (!p->n_scalars) return CVR_OK;
    CVR_TRY(new_block(p, capacity, p->n_scalars * p->align, 0, &p->scalars, err));
    p->blocks[p->scalars].last = p->n;
    for (size_t v = 1; v < g->n_values; v++)
        if (g->values[v]->kind == VALUE_SCALAR) p->block_of[v] = p->scalars;
    return CVR_OK;
}

static int32_t assign_node(plan *p, const cvr_graph *g, const size_t *last, size_t i, size_t *capacity,
                           cvr_error *err) {
    plan_node *n = &p->nodes[i];
    const ir_node *node = n->node;
    const int64_t over = node->op->flags & CVR_OP_ALIAS ? 0 : inplace_input(p, g, n, i);
    for (uint32_t k = 0; k < node->n_outputs; k++) {
        const cvr_value v = node->outputs[k];
        if (k == 0 && over >= 0)
            p->block_of[v] = p->block_of[node->inputs[over]];
        else
            CVR_TRY(new_block(p, capacity, type_bytes(&g->values[v]->type), i, &p->block_of[v], err));
        if (p->block_of[v] >= 0 && last[v] > p->blocks[p->block_of[v]].last) p->blocks[p->block_of[v]].last = last[v];
    }
    if (n->workspace && !n->on_host) CVR_TRY(new_block(p, capacity, n->workspace, i, &n->workspace_block, err));
    if (!n->prepared) return CVR_OK;
    CVR_TRY(new_block(p, capacity, n->prepared, 0, &n->prepared_block, err));
    p->blocks[n->prepared_block].last = p->n;
    return CVR_OK;
}

static int32_t assign_blocks(plan *p, const cvr_graph *g, const size_t *last, cvr_error *err) {
    size_t capacity = 0;
    p->scalars = -1;
    p->block_of = cvr_calloc(g->n_values, sizeof *p->block_of);
    p->within = cvr_calloc(g->n_values, sizeof *p->within);
    if (!p->block_of || !p->within) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t v = 0; v < g->n_values; v++) p->block_of[v] = -1;
    CVR_TRY(assign_inputs(p, g, last, &capacity, err));
    for (size_t i = 0; i < p->n; i++) CVR_TRY(assign_node(p, g, last, i, &capacity, err));
    return CVR_OK;
}

/* ---- where each block lies ---- */

static bool overlaps_in_time(const plan_block *a, const plan_block *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* Lowest offset in its arena at which `b` fits beside those placed already (`placed`, sorted by offset). */
static uint64_t lowest_fit(const plan *p, const size_t *placed, size_t n, const plan_block *b) {
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const plan_block *other = &p->blocks[placed[i]];
        if (other->arena != b->arena || !overlaps_in_time(b, other) || other->offset + other->bytes <= at) continue;
        if (other->offset >= at + b->bytes) break;
        at = other->offset + other->bytes;
    }
    return at;
}

/* What a block is for, of a plan that has not been placed. */
static const char *block_user(const plan *p, size_t block) {
    for (size_t i = 0; i < p->n; i++) {
        const plan_node *n = &p->nodes[i];
        bool its = n->workspace_block == (int64_t)block || n->prepared_block == (int64_t)block;
        for (uint32_t k = 0; k < n->node->n_inputs + n->node->n_outputs; k++)
            its = its || (n->node->inputs[k] && p->block_of[n->node->inputs[k]] == (int64_t)block);
        if (its) return n->node->name;
    }
    return "the network's inputs";
}

/* In the first arena that has room, the last of which may be a new one. */
static int32_t place_block(plan *p, const size_t *placed, size_t n, plan_block *b, uint64_t most, cvr_error *err) {
    char has[32], wants[32];
    if (b->bytes > most)
        return cvr_fail(err, CVR_ERR_NOMEM,
                        "%s needs %s in one block of memory, and the device gives at most %s; lower train.batch or "
                        "data.img_size",
                        block_user(p, (size_t)(b - p->blocks)), cvr_bytes_text(b->bytes, wants),
                        cvr_bytes_text(most, has));
    for (b->arena = 0; b->arena < p->n_arenas; b->arena++) {
        b->offset = lowest_fit(p, placed, n, b);
        if (b->offset <= most - b->bytes) break;
    }
    if (b->arena == p->n_arenas) b->offset = p->arenas[p->n_arenas++] = 0;
    uint64_t *end = &p->arenas[b->arena];
    if (b->offset + b->bytes > *end) *end = b->offset + b->bytes;
    return CVR_OK;
}

static int32_t place_blocks(plan *p, uint64_t most, cvr_error *err) {
    size_t *order = cvr_calloc(p->n_blocks + 1, sizeof *order), *placed = cvr_calloc(p->n_blocks + 1, sizeof *placed),
           n = 0;
    int32_t status = CVR_OK;
    p->arenas = cvr_calloc(p->n_blocks + 1, sizeof *p->arenas);
    if (!order || !placed || !p->arenas) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    if (most > UINT64_MAX / 4) most = UINT64_MAX / 4; /* what can be counted */
    for (size_t i = 0; i < p->n_blocks; i++) {        /* insertion sort: largest first, equal in order of birth */
        size_t at = i;
        for (; at > 0 && p->blocks[order[at - 1]].bytes < p->blocks[i].bytes; at--) order[at] = order[at - 1];
        order[at] = i;
    }
    for (size_t i = 0; i < p->n_blocks; i++) {
        plan_block *b = &p->blocks[order[i]];
        CVR_TRY_OUT(place_block(p, placed, n, b, most, err));
        size_t at = n++;
        for (; at > 0 && p->blocks[placed[at - 1]].offset > b->offset; at--) placed[at] = placed[at - 1];
        placed[at] = order[i];
    }
    for (size_t i = 0; i < p->n_arenas; i++) p->bytes += p->arenas[i];
out:
    cvr_free(order);
    cvr_free(placed);
    return status;
}

int32_t plan_make(plan *p, const plan_request *request, cvr_error *err) {
    cvr_text table = {0};
    size_t *last = NULL;
    bool *constant = NULL;
    plan_request asked = *request;
    const plan_request *r = &asked;
    int32_t status;
    p->align = r->device->info->alignment;
    CVR_TRY_OUT(lower_for_device(r->graph, r->device, err));
    CVR_TRY_OUT(live_nodes(p, r->graph, err));
    CVR_TRY_OUT(find_updates(p, r->graph, err));
    CVR_TRY_OUT(find_constants(p, r->graph, &constant, err));
    asked.constant = constant;
    CVR_TRY_OUT(choose_kernels(p, r, &table, err));
    CVR_TRY_OUT(tell_fallbacks(r, &table, err));
    CVR_TRY_OUT(last_uses(p, r->graph, &last, err));
    CVR_TRY_OUT(assign_blocks(p, r->graph, last, err));
    CVR_TRY_OUT(place_blocks(p, r->device->info->max_allocation, err));
out:
    cvr_text_clear(&table);
    cvr_free(last);
    cvr_free(constant);
    return status;
}

void plan_clear(plan *p) {
    for (size_t i = 0; p->nodes && i < p->n; i++) {
        cvr_free(p->nodes[i].why);
        cvr_free(p->nodes[i].fallback);
        cvr_free(p->nodes[i].preparing);
    }
    cvr_free(p->nodes);
    cvr_free(p->block_of);
    cvr_free(p->within);
    cvr_free(p->blocks);
    cvr_free(p->arenas);
    memset(p, 0, sizeof *p);
}
