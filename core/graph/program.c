/*
 * A program: a plan with memory, recorded once and replayed. Runs of nodes that the device can record make segments; a
 * node that must run on the host, with copies, stands between two of them.
 */
#include "bound.h"
#include <math.h>

/* ---- slots ---- */

static int32_t collect_slots(cvr_program *p, cvr_error *err) {
    const cvr_graph *g = p->graph;
    p->slots = cvr_calloc(g->n_values + g->n_outputs, sizeof *p->slots);
    p->slot_names = cvr_calloc(g->n_values + g->n_outputs, sizeof *p->slot_names);
    if (!p->slots || !p->slot_names) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 1; i < g->n_values; i++) {
        if (!g->values[i]->name || p->plan.block_of[i] < 0) continue; /* an input that nothing reads */
        p->slot_names[p->n_slots] = g->values[i]->name;
        p->slots[p->n_slots++] = (cvr_value)i;
    }
    for (size_t i = 0; i < g->n_outputs; i++) {
        p->slot_names[p->n_slots] = g->outputs[i].name;
        p->slots[p->n_slots++] = g->outputs[i].value;
    }
    return CVR_OK;
}

int32_t cvr_program_slot(const cvr_program *p, const char *name) {
    for (size_t i = 0; i < p->n_slots; i++) {
        if (strcmp(p->slot_names[i], name) == 0) return (int32_t)i;
    }
    return -1;
}

const char *cvr_program_slot_name(const cvr_program *p, int32_t slot) {
    return p->slot_names[slot];
}

int32_t cvr_program_input(const cvr_program *p, size_t i) {
    for (size_t k = 0; k < p->n_slots; k++)
        if (p->graph->values[p->slots[k]]->kind == VALUE_INPUT && i-- == 0) return (int32_t)k;
    return -1;
}

int32_t cvr_program_slot_of(const cvr_program *p, cvr_value v) {
    for (size_t i = p->n_slots; i-- > 0;) {
        if (p->slots[i] == v) return (int32_t)i;
    }
    return -1;
}

const cvr_type *cvr_program_slot_type(const cvr_program *p, int32_t slot) {
    return &p->graph->values[p->slots[slot]]->type;
}

static void *value_address(const cvr_program *p, cvr_value v) {
    const ir_value *value = p->graph->values[v];
    if (value->kind == VALUE_STORED) return store_address(p->graph->store, value->store_index);
    const int64_t block = p->plan.block_of[v];
    return block < 0 ? NULL : p->arena + p->plan.blocks[block].offset + p->plan.within[v] * (uint64_t)ARENA_ALIGN;
}

/* A view of stored memory has no block of its own: it lies where its root lies. */
void *root_address(const cvr_program *p, cvr_value v) {
    void *address = value_address(p, v);
    for (size_t i = 0; !address && i < p->plan.n; i++) {
        const ir_node *n = p->plan.nodes[i].node;
        if ((n->op->flags & CVR_OP_ALIAS) && n->outputs[0] == v) return root_address(p, n->inputs[0]);
    }
    return address;
}

/* The arena may be another program's as well: what this one prepared and wrote is gone. */
static void take_arena(cvr_program *p) {
    if (p->device->last_program != p->id) {
        p->prepared_at = 0;
        p->scalars_changed = true;
    }
    p->device->last_program = p->id;
}

/* A scalar waits here for the next run, which takes all at once. */
static void *scalar_address(const cvr_program *p, cvr_value v) {
    return p->graph->values[v]->kind == VALUE_SCALAR ? p->scalars + p->plan.within[v] * (size_t)ARENA_ALIGN : NULL;
}

int32_t cvr_program_write(cvr_program *p, int32_t slot, const void *bytes, cvr_error *err) {
    const cvr_value v = p->slots[slot];
    const uint64_t n = type_bytes(&p->graph->values[v]->type);
    char *scalar = scalar_address(p, v);
    if (scalar) {
        memcpy(scalar, bytes, n);
        p->scalars_changed = true;
        return CVR_OK;
    }
    take_arena(p);
    return n ? CVR_CALL(p->device->backend, upload, NULL, err, p->device->self, value_address(p, v), bytes, n) : CVR_OK;
}

int32_t cvr_program_read(cvr_program *p, int32_t slot, void *bytes, cvr_error *err) {
    const cvr_value v = p->slots[slot];
    const uint64_t n = type_bytes(&p->graph->values[v]->type);
    const char *scalar = scalar_address(p, v);
    if (scalar) memcpy(bytes, scalar, n);
    return n && !scalar
               ? CVR_CALL(p->device->backend, download, NULL, err, p->device->self, bytes, root_address(p, v), n)
               : CVR_OK;
}

/* ---- planning ---- */

/* Host memory that a node on the host needs for copies of its values, and its workspace. */
static uint64_t staging_need(const cvr_graph *g, const plan_node *n) {
    uint64_t bytes = arena_rounded(n->workspace);
    for (uint32_t k = 0; k < n->node->n_inputs + n->node->n_outputs; k++)
        bytes += n->node->inputs[k] ? arena_rounded(type_bytes(&g->values[n->node->inputs[k]]->type)) : 0;
    return bytes;
}

int32_t cvr_program_plan(cvr_program **out, cvr_graph *g, cvr_device *d, const cvr_threadpool *pool, uint32_t fallback,
                         cvr_error *err) {
    static uint64_t programs;
    cvr_program *p = cvr_calloc(1, sizeof *p);
    *out = NULL;
    if (!p) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    p->graph = g;
    p->device = d;
    p->pool = pool;
    p->id = ++programs;
    const plan_request r = {g, d, pool->n_workers, fallback, NULL};
    int32_t status;
    CVR_TRY_OUT(plan_make(&p->plan, &r, err));
    CVR_TRY_OUT(collect_slots(p, err));
    p->scalars = cvr_calloc((size_t)p->plan.n_scalars + 1, ARENA_ALIGN);
    if (!p->scalars) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    for (size_t i = 0; i < p->plan.n; i++) {
        const uint64_t need = p->plan.nodes[i].on_host ? staging_need(g, &p->plan.nodes[i]) : 0;
        if (need > p->staging_bytes) p->staging_bytes = need;
        p->changes_store = p->changes_store || p->plan.nodes[i].node->op->mutates;
    }
out:
    if (status != CVR_OK) cvr_program_destroy(&p);
    *out = p;
    return status;
}

uint64_t cvr_program_arena_bytes(const cvr_program *p) {
    return p->plan.bytes;
}
uint64_t cvr_program_id(const cvr_program *p) {
    return p->id;
}

void cvr_program_destroy(cvr_program **program) {
    cvr_program *p = *program;
    if (!p) return;
    program_unbind(p);
    cvr_free(p->scalars);
    cvr_free(p->slots);
    cvr_free((void *)(uintptr_t)p->slot_names);
    plan_clear(&p->plan);
    cvr_free(p);
    *program = NULL;
}

/* ---- running ---- */

/* A node that the device cannot run: its inputs come to the host, its results and what it updated go back. */
static int32_t run_on_host(cvr_program *p, bound_node *b, cvr_error *err) {
    const cvr_backend_desc *backend = p->device->backend;
    const ir_node *n = b->plan->node;
    const cvr_cpu_fn *fn = b->plan->kernel->payload;
    void *self = p->device->self;
    CVR_TRY(CVR_CALL(backend, sync, NULL, err, self));
    for (uint32_t k = 0; k < n->n_inputs; k++) {
        const uint64_t bytes = n->inputs[k] ? type_bytes(&p->graph->values[n->inputs[k]]->type) : 0;
        if (bytes)
            CVR_TRY(CVR_CALL(backend, download, NULL, err, self, b->all[k].data, root_address(p, n->inputs[k]), bytes));
    }
    cvr_call_enter(b->plan->kernel, "run", n->name, err);
    const int32_t status = p->device->run_host ? p->device->run_host(self, &b->launch, err) : fn->run(&b->args, err);
    CVR_TRY(cvr_call_leave(status, err));
    for (uint32_t k = 0; k < n->n_inputs + n->n_outputs; k++) {
        const bool changed = k >= n->n_inputs || (n->op->mutates >> k & 1);
        const uint64_t bytes = n->inputs[k] && changed ? type_bytes(&p->graph->values[n->inputs[k]]->type) : 0;
        if (bytes)
            CVR_TRY(CVR_CALL(backend, upload, NULL, err, self, root_address(p, n->inputs[k]), b->all[k].data, bytes));
    }
    return CVR_OK;
}

/* What kernels keep of stored values, if these may have changed since. */
static int32_t prepare(cvr_program *p, cvr_error *err) {
    take_arena(p);
    const uint64_t now = store_changes(p->graph->store) + 1;
    if (!p->prepare_recording || p->prepared_at == now) return CVR_OK;
    const int32_t status = CVR_CALL(p->device->backend, replay, NULL, err, p->device->self, p->prepare_recording);
    p->prepared_at = status == CVR_OK ? now : 0;
    return status;
}

/* Others' preparations are out of date then, but not this program's: it prepares nothing that it changes. */
static void change_store(cvr_program *p) {
    store_changed(p->graph->store);
    if (p->prepared_at) p->prepared_at = store_changes(p->graph->store) + 1;
}

static int32_t write_scalars(cvr_program *p, cvr_error *err) {
    if (!p->scalars_changed || !p->plan.n_scalars) return CVR_OK;
    p->scalars_changed = false;
    return CVR_CALL(p->device->backend, upload, NULL, err, p->device->self,
                    p->arena + p->plan.blocks[p->plan.scalars].offset, p->scalars,
                    p->plan.n_scalars * (uint64_t)ARENA_ALIGN);
}

/* Whether an output that may says no to the updates that come next. */
static int32_t ask_vetoes(cvr_program *p, cvr_error *err) {
    const cvr_graph *g = p->graph;
    CVR_TRY(CVR_CALL(p->device->backend, sync, NULL, err, p->device->self));
    for (size_t i = 0; i < g->n_outputs; i++) {
        const cvr_value v = g->outputs[i].value;
        const cvr_type *t = &g->values[v]->type;
        uint64_t bits = 0;
        float number;
        if (!g->outputs[i].veto) continue;
        CVR_TRY(CVR_CALL(p->device->backend, download, NULL, err, p->device->self, &bits, root_address(p, v),
                         type_bytes(t)));
        memcpy(&number, &bits, sizeof number);
        const bool finite = g->outputs[i].veto == VETO_NOT_FINITE;
        p->vetoed = p->vetoed || (finite ? !isfinite(number) : t->dtype == CVR_F32 ? number != 0 : bits != 0);
    }
    return CVR_OK;
}

bool cvr_program_vetoed(const cvr_program *p) {
    return p->vetoed;
}

int32_t cvr_program_run(cvr_program *p, cvr_error *err) {
    const cvr_backend_desc *backend = p->device->backend;
    CVR_TRY(prepare(p, err));
    CVR_TRY(write_scalars(p, err));
    p->vetoed = false;
    if (p->changes_store) change_store(p);
    for (size_t i = 0; i < p->n_segments; i++) {
        const segment *s = &p->segments[i];
        if (i == p->updates) CVR_TRY(ask_vetoes(p, err));
        if (p->vetoed) break;
        CVR_TRY(s->recording ? CVR_CALL(backend, replay, NULL, err, p->device->self, s->recording)
                             : run_on_host(p, &p->nodes[s->first], err));
    }
    return CVR_CALL(backend, sync, NULL, err, p->device->self);
}

size_t cvr_program_nodes(const cvr_program *p) {
    return p->plan.n;
}

void cvr_program_node(const cvr_program *p, size_t i, cvr_node_info *info) {
    const plan_node *n = &p->plan.nodes[i];
    *info = (cvr_node_info){.name = n->node->name,
                            .op = n->node->op->name,
                            .backend = "view",
                            .isa = "",
                            .why = n->why ? n->why : "",
                            .backward = n->node->backward,
                            .recompute = n->node->recompute};
    for (uint32_t k = 0; k < n->node->n_inputs + n->node->n_outputs; k++) {
        const cvr_value v = n->node->inputs[k]; /* outputs follow the inputs in one block */
        if (v && n->kernel) info->bytes += type_bytes(&p->graph->values[v]->type);
    }
    if (n->node->n_outputs) info->output = &p->graph->values[n->node->outputs[0]]->type;
    if (n->kernel) info->backend = n->kernel->backend;
    if (n->kernel && n->kernel->isa) info->isa = n->kernel->isa;
    info->flops = node_flops(p->graph, n->node);
}
