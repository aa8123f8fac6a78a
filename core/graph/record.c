/*
 * Gives a program its memory and records its launches: what is prepared by itself, then the nodes, cut where one has to
 * run on the host and in front of the first update where something may veto it. A program may be bound again and again.
 */
#include "bound.h"

static void add_range(bound_node *b, void *address, uint64_t bytes, uint32_t flags) {
    if (!bytes) return;
    cvr_range *r = &b->ranges[b->launch.n_touches];
    *r = (cvr_range){.struct_size = sizeof *r, .address = address, .bytes = bytes, .flags = flags};
    b->touches[b->launch.n_touches++] = r;
}

/* What the launch reads and writes. What an input and an output share in place is there twice. */
static int32_t bind_ranges(bound_node *b, cvr_error *err) {
    const ir_node *n = b->plan->node;
    const uint32_t total = n->n_inputs + n->n_outputs;
    b->ranges = cvr_calloc((size_t)total + 2, sizeof *b->ranges);
    b->touches = cvr_calloc((size_t)total + 2, sizeof *b->touches);
    if (!b->ranges || !b->touches) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (uint32_t k = 0; k < total; k++) {
        const bool written = k >= n->n_inputs || (k < 64 && (n->op->mutates >> k & 1));
        const uint32_t read = k < n->n_inputs ? CVR_RANGE_READ : 0;
        const cvr_tensor *t = &b->all[k];
        if (!n->inputs[k]) continue;
        add_range(b, t->data, (uint64_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(t->dtype),
                  read | (written ? CVR_RANGE_WRITE : 0));
    }
    add_range(b, b->args.workspace, b->args.workspace_size, CVR_RANGE_READ | CVR_RANGE_WRITE);
    add_range(b, b->args.prepared, b->args.prepared_size, CVR_RANGE_READ);
    b->launch.touches = b->touches;
    return CVR_OK;
}

static int32_t bind_node(cvr_program *p, bound_node *b, plan_node *n, size_t index, cvr_error *err) {
    const ir_node *node = n->node;
    const uint32_t total = node->n_inputs + node->n_outputs;
    b->plan = n;
    b->all = total <= 2 ? b->tensors : cvr_calloc(total, sizeof *b->all);
    b->in = cvr_calloc((size_t)total + 1, sizeof *b->in);
    if (!b->all || !b->in) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    b->out = (cvr_tensor **)(void *)(b->in + node->n_inputs);
    for (uint32_t k = 0; k < total; k++) {
        const cvr_value v = node->inputs[k]; /* outputs follow the inputs in one block */
        if (v == CVR_NONE) continue;
        b->all[k] = tensor_of(&p->graph->values[v]->type);
        if (!n->on_host) b->all[k].data = root_address(p, v);
        b->in[k] = &b->all[k];
    }
    b->args = (cvr_kernel_args){.struct_size = sizeof b->args,
                                .attrs = node->attrs,
                                .inputs = b->in,
                                .outputs = b->out,
                                .workspace_size = n->workspace,
                                .pool = p->pool,
                                .n_inputs = node->n_inputs,
                                .n_outputs = node->n_outputs,
                                .prepared_size = n->prepared,
                                .device = cvr_kernel_is_host(n->kernel) ? NULL : p->device->info};
    if (n->workspace_block >= 0) b->args.workspace = plan_block_address(p, n->workspace_block);
    if (n->prepared_block >= 0) b->args.prepared = plan_block_address(p, n->prepared_block);
    b->launch = (cvr_launch){.struct_size = sizeof b->launch,
                             .kernel = n->kernel,
                             .args = &b->args,
                             .name = node->name,
                             .index = index,
                             .op = node->op,
                             .attrs_size = node->attrs_size};
    return n->on_host ? CVR_OK : bind_ranges(b, err);
}

static int32_t record(cvr_program *p, const cvr_launch *const *launches, size_t n, void **recording, cvr_error *err) {
    const cvr_record_request r = {.struct_size = sizeof r,
                                  .launches = launches,
                                  .n_launches = n,
                                  .id = p->id,
                                  .kept = p->kept,
                                  .n_kept = p->n_kept};
    return CVR_CALL(p->device->backend, record, NULL, err, p->device->self, &r, recording);
}

/* ---- segments ---- */

/* Whether two nodes can be in one segment: both on the host, or both in one recording. The first update begins one
 * where something may veto it. */
static bool together(const cvr_program *p, const plan_node *a, const plan_node *b) {
    if (b == p->plan.nodes + p->plan.updates || a->on_host != b->on_host) return false;
    return a->on_host || (a->kernel->flags & b->kernel->flags & CVR_KERNEL_RECORDABLE);
}

static int32_t record_segments(cvr_program *p, size_t n, cvr_error *err) {
    p->segments = cvr_calloc(n + 1, sizeof *p->segments);
    p->launches = cvr_calloc(n + 1, sizeof *p->launches);
    if (!p->segments || !p->launches) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) p->launches[i] = &p->nodes[i].launch;
    const plan_node *updates = p->plan.nodes + p->plan.updates;
    p->updates = SIZE_MAX;
    for (size_t i = 0; i < n;) {
        segment *s = &p->segments[p->n_segments++];
        *s = (segment){.first = i, .n = 1};
        if (p->updates == SIZE_MAX && p->nodes[i].plan >= updates) p->updates = p->n_segments - 1;
        for (i++; i < n && together(p, p->nodes[i - 1].plan, p->nodes[i].plan); i++) s->n++;
        if (p->nodes[s->first].plan->on_host)
            CVR_TRY(host_segment_bind(p, s, err));
        else
            CVR_TRY(record(p, p->launches + s->first, s->n, &s->recording, err));
    }
    return CVR_OK;
}

/* The nodes that prepare something, as launches of their own. */
static int32_t record_preparing(cvr_program *p, size_t n, cvr_error *err) {
    p->preparing = cvr_calloc(n + 1, sizeof *p->preparing);
    p->prepare_launches = cvr_calloc(n + 1, sizeof *p->prepare_launches);
    if (!p->preparing || !p->prepare_launches) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        if (!p->nodes[i].plan->preparing) continue;
        cvr_launch *l = &p->preparing[p->n_preparing];
        *l = p->nodes[i].launch;
        l->kernel = p->nodes[i].plan->preparing;
        l->flags = CVR_LAUNCH_PREPARES;
        p->prepare_launches[p->n_preparing++] = l;
    }
    return p->n_preparing ? record(p, p->prepare_launches, p->n_preparing, &p->prepare_recording, err) : CVR_OK;
}

static void keep_range(cvr_program *p, cvr_value v) {
    cvr_range *r = &p->kept_ranges[p->n_kept];
    *r = (cvr_range){.struct_size = sizeof *r,
                     .address = root_address(p, v),
                     .bytes = type_bytes(&p->graph->values[v]->type),
                     .flags = CVR_RANGE_WRITE};
    p->kept[p->n_kept++] = r;
}

/* What one segment makes and a later one reads. `made`: by value, 1 + the segment that made it last; 0: none. */
static void keep_between(cvr_program *p, size_t n, size_t *made) {
    size_t segment_here = 1;
    for (size_t i = 0; i < n; i++) {
        const ir_node *node = p->nodes[i].plan->node;
        const uint32_t total = node->n_inputs + node->n_outputs;
        if (i && !together(p, p->nodes[i - 1].plan, p->nodes[i].plan)) segment_here++;
        for (uint32_t k = 0; k < total; k++) {
            if (node->inputs[k] == CVR_NONE) continue; /* outputs follow the inputs in one block */
            const cvr_value v = root_value(p, node->inputs[k]);
            if (k < node->n_inputs && made[v] && made[v] != segment_here) {
                keep_range(p, v);
                made[v] = 0; /* once is enough */
            }
            if (k >= node->n_inputs) made[v] = segment_here;
        }
    }
}

/* What a run leaves for others: outputs, and what it changes of the store; and what its segments leave for one another.
 */
static int32_t find_kept(cvr_program *p, size_t n, cvr_error *err) {
    const cvr_graph *g = p->graph;
    size_t most = g->n_outputs + g->n_values;
    for (size_t i = 0; i < n; i++) most += p->nodes[i].plan->node->op->mutates ? p->nodes[i].plan->node->n_inputs : 0;
    p->kept_ranges = cvr_calloc(most + 1, sizeof *p->kept_ranges);
    p->kept = cvr_calloc(most + 1, sizeof *p->kept);
    size_t *made = cvr_calloc(g->n_values + 1, sizeof *made);
    if (!p->kept_ranges || !p->kept || !made) {
        cvr_free(made);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    keep_between(p, n, made);
    cvr_free(made);
    for (size_t i = 0; i < g->n_outputs; i++) keep_range(p, g->outputs[i].value);
    for (size_t i = 0; i < n; i++) {
        const ir_node *node = p->nodes[i].plan->node;
        for (uint32_t k = 0; k < node->n_inputs && k < 64; k++)
            if ((node->op->mutates >> k & 1) && node->inputs[k]) keep_range(p, node->inputs[k]);
    }
    return CVR_OK;
}

void cvr_program_unbind(cvr_program *p) {
    const cvr_backend_desc *backend = p->device->backend;
    if (p->nodes) (void)device_settle(p->device, NULL);
    for (size_t i = 0; i < p->n_segments; i++) {
        if (p->segments[i].recording) CVR_CALL_VOID(backend, discard, NULL, p->device->self, p->segments[i].recording);
        host_segment_clear(&p->segments[i]);
    }
    if (p->prepare_recording) CVR_CALL_VOID(backend, discard, NULL, p->device->self, p->prepare_recording);
    for (size_t i = 0; p->nodes && i < p->plan.n; i++) {
        if (p->nodes[i].all != p->nodes[i].tensors) cvr_free(p->nodes[i].all);
        cvr_free((void *)(uintptr_t)p->nodes[i].in);
        cvr_free(p->nodes[i].ranges);
        cvr_free((void *)(uintptr_t)p->nodes[i].touches);
    }
    cvr_free(p->preparing);
    cvr_free((void *)(uintptr_t)p->prepare_launches);
    cvr_free(p->nodes);
    cvr_free((void *)(uintptr_t)p->launches);
    cvr_free(p->segments);
    cvr_free(p->kept_ranges);
    cvr_free((void *)(uintptr_t)p->kept);
    p->preparing = NULL;
    p->prepare_launches = p->launches = NULL;
    p->nodes = NULL;
    p->segments = NULL;
    p->kept_ranges = NULL;
    p->kept = NULL;
    p->prepare_recording = NULL;
    p->n_segments = p->n_preparing = p->n_kept = 0;
    p->prepared_at = 0;
    p->scalars_changed = true; /* where they lay may be another's */
}

int32_t cvr_program_bind(cvr_program *p, cvr_arena *arena, cvr_error *err) {
    size_t n = 0;
    cvr_program_unbind(p);
    p->arena = arena;
    p->nodes = cvr_calloc(p->plan.n + 1, sizeof *p->nodes);
    if (!p->nodes) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < p->plan.n; i++) {
        if (!p->plan.nodes[i].kernel) continue; /* a view */
        CVR_TRY(bind_node(p, &p->nodes[n], &p->plan.nodes[i], i, err));
        n++;
    }
    CVR_TRY(find_kept(p, n, err));
    CVR_TRY(record_preparing(p, n, err));
    return record_segments(p, n, err);
}
