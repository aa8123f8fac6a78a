/*
 * A program: a plan with memory, recorded once and replayed. Runs of nodes that the device can record make segments;
 * nodes that must run on the host, with copies, stand between them.
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

/* An input that is an output, too, as where a compressor looks at the picture, has a slot of each name: one counts. */
int32_t cvr_program_input(const cvr_program *p, size_t i) {
    for (size_t k = 0; k < p->n_slots; k++) {
        const ir_value *v = p->graph->values[p->slots[k]];
        if (v->kind == VALUE_INPUT && p->slot_names[k] == v->name && i-- == 0) return (int32_t)k;
    }
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

void *plan_block_address(const cvr_program *p, int64_t block) {
    const plan_block *b = &p->plan.blocks[block];
    return p->arena->blocks.all[b->arena].address + p->arena->margin + b->offset;
}

static void *value_address(const cvr_program *p, cvr_value v) {
    const ir_value *value = p->graph->values[v];
    if (value->kind == VALUE_STORED) return store_address(p->graph->store, value->store_index);
    const int64_t block = p->plan.block_of[v];
    return block < 0 ? NULL : (char *)plan_block_address(p, block) + p->plan.within[v] * p->plan.align;
}

cvr_value root_value(const cvr_program *p, cvr_value v) {
    for (size_t i = p->plan.n; i-- > 0;) {
        const ir_node *n = p->plan.nodes[i].node;
        if ((n->op->flags & CVR_OP_ALIAS) && n->outputs[0] == v) v = n->inputs[0];
    }
    return v;
}

/* A view of stored memory has no block of its own: it lies where its root lies. */
void *root_address(const cvr_program *p, cvr_value v) {
    void *address = value_address(p, v);
    return address ? address : value_address(p, root_value(p, v));
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
    return p->graph->values[v]->kind == VALUE_SCALAR ? p->scalars + p->plan.within[v] * p->plan.align : NULL;
}

static size_t input_index(const cvr_program *p, cvr_value v) {
    size_t i = 0;
    while (i < p->n_inputs && p->inputs[i] != v) i++;
    return i;
}

int32_t cvr_program_begin_write(cvr_program *p, int32_t slot, const void *bytes, cvr_error *err) {
    const cvr_value v = p->slots[slot];
    const uint64_t n = type_bytes(&p->graph->values[v]->type);
    const size_t input = input_index(p, v);
    char *scalar = scalar_address(p, v);
    if (scalar) {
        if (p->scalars_up > p->device->uploads_done) CVR_TRY(device_wait_uploads(p->device, err));
        memcpy(scalar, bytes, n);
        p->scalars_changed = true;
        return CVR_OK;
    }
    take_arena(p);
    if (!n) return CVR_OK;
    if (input >= p->n_inputs || device_is_host(p->device))
        return device_upload(p->device, value_address(p, v), bytes, n, err);
    CVR_TRY(landing_write(p, input + 1, bytes, n, err));
    p->inputs_up = p->device->uploads;
    return CVR_OK;
}

int32_t cvr_program_write(cvr_program *p, int32_t slot, const void *bytes, cvr_error *err) {
    CVR_TRY(cvr_program_begin_write(p, slot, bytes, err));
    return device_wait_uploads(p->device, err);
}

int32_t cvr_program_begin_read(cvr_program *p, int32_t slot, void *bytes, cvr_error *err) {
    const cvr_value v = p->slots[slot];
    const device_bytes b = {bytes, root_address(p, v), type_bytes(&p->graph->values[v]->type)};
    return scalar_address(p, v) || !b.bytes ? cvr_program_read(p, slot, bytes, err)
                                            : device_start_download(p->device, &b, err);
}

int32_t cvr_program_read(cvr_program *p, int32_t slot, void *bytes, cvr_error *err) {
    const cvr_value v = p->slots[slot];
    const uint64_t n = type_bytes(&p->graph->values[v]->type);
    const char *scalar = scalar_address(p, v);
    if (scalar) memcpy(bytes, scalar, n);
    return n && !scalar ? device_download(p->device, bytes, root_address(p, v), n, err) : CVR_OK;
}

int32_t cvr_program_wait(cvr_program *p, cvr_error *err) {
    return device_settle(p->device, err);
}

/* ---- planning ---- */

/* The inputs that something reads. */
static int32_t collect_inputs(cvr_program *p, cvr_error *err) {
    const cvr_graph *g = p->graph;
    p->inputs = cvr_calloc(g->n_values, sizeof *p->inputs);
    p->landed = cvr_calloc(g->n_values, sizeof *p->landed);
    if (!p->inputs || !p->landed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t v = 1; v < g->n_values; v++)
        if (g->values[v]->kind == VALUE_INPUT && p->plan.block_of[v] >= 0) p->inputs[p->n_inputs++] = (cvr_value)v;
    return CVR_OK;
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
    CVR_TRY_OUT(collect_inputs(p, err));
    p->scalars = cvr_calloc((size_t)p->plan.n_scalars + 1, (size_t)p->plan.align);
    if (!p->scalars) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    for (size_t i = 0; i < p->plan.n; i++) p->changes_store = p->changes_store || p->plan.nodes[i].node->op->mutates;
out:
    if (status != CVR_OK) cvr_program_destroy(&p);
    *out = p;
    return status;
}

uint64_t cvr_program_id(const cvr_program *p) {
    return p->id;
}

void cvr_program_destroy(cvr_program **program) {
    cvr_program *p = *program;
    if (!p) return;
    cvr_program_unbind(p);
    cvr_free(p->scalars);
    cvr_free(p->inputs);
    cvr_free(p->landed);
    cvr_free(p->slots);
    cvr_free((void *)(uintptr_t)p->slot_names);
    plan_clear(&p->plan);
    cvr_free(p);
    *program = NULL;
}

/* ---- running ---- */

/* What kernels keep of stored values, if these may have changed since. */
static int32_t prepare(cvr_program *p, cvr_error *err) {
    take_arena(p);
    const uint64_t now = store_changes(p->graph->store) + 1;
    if (!p->prepare_recording || p->prepared_at == now) return CVR_OK;
    const int32_t status = device_replay(p->device, p->prepare_recording, err);
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
    const uint64_t bytes = p->plan.n_scalars * p->plan.align;
    if (device_is_host(p->device))
        return device_upload(p->device, plan_block_address(p, p->plan.scalars), p->scalars, bytes, err);
    CVR_TRY(landing_write(p, 0, p->scalars, bytes, err));
    p->scalars_up = p->device->uploads;
    return CVR_OK;
}

/* ---- vetoes ---- */

#define VETOES_AT_ONCE 16

typedef struct veto_number {
    const ir_output *output;
    uint64_t bits; /* as the run made it */
} veto_number;

static bool says_no(const cvr_program *p, const veto_number *v) {
    float number;
    memcpy(&number, &v->bits, sizeof number);
    if (v->output->veto == VETO_NOT_FINITE) return !isfinite(number);
    return p->graph->values[v->output->value]->type.dtype == CVR_F32 ? number != 0 : v->bits != 0;
}

/* Reads the next outputs that may veto updates, all with one wait; their number. */
static int32_t read_vetoes(cvr_program *p, size_t *next, veto_number *all, size_t *n, cvr_error *err) {
    const cvr_graph *g = p->graph;
    int32_t status = CVR_OK;
    for (*n = 0; *next < g->n_outputs && *n < VETOES_AT_ONCE && status == CVR_OK; ++*next) {
        const ir_output *o = &g->outputs[*next];
        if (!o->veto) continue;
        veto_number *v = &all[(*n)++];
        *v = (veto_number){.output = o};
        const device_bytes b = {&v->bits, root_address(p, o->value), type_bytes(&g->values[o->value]->type)};
        status = device_start_download(p->device, &b, err);
    }
    const int32_t waited = device_wait(p->device, status == CVR_OK ? err : NULL);
    return status == CVR_OK ? waited : status;
}

/* Whether an output that may says no to the updates. */
static int32_t ask_vetoes(cvr_program *p, cvr_error *err) {
    veto_number all[VETOES_AT_ONCE];
    p->asked = true;
    for (size_t next = 0, n; next < p->graph->n_outputs;) {
        CVR_TRY(read_vetoes(p, &next, all, &n, err));
        for (size_t i = 0; i < n; i++) p->vetoed = p->vetoed || says_no(p, &all[i]);
    }
    return CVR_OK;
}

int32_t cvr_program_vetoed(cvr_program *p, bool *vetoed, cvr_error *err) {
    if (p->plan.guarded && !p->asked) CVR_TRY(ask_vetoes(p, err));
    *vetoed = p->vetoed;
    return CVR_OK;
}

int32_t cvr_program_run(cvr_program *p, cvr_error *err) {
    CVR_TRY(prepare(p, err));
    CVR_TRY(write_scalars(p, err));
    if (!device_is_host(p->device)) CVR_TRY(landing_take(p, err));
    p->asked = p->vetoed = false;
    if (p->changes_store) change_store(p);
    for (size_t i = 0; i < p->n_segments; i++) {
        const segment *s = &p->segments[i];
        if (i == p->updates) CVR_TRY(ask_vetoes(p, err));
        if (p->vetoed) break;
        CVR_TRY(s->recording ? device_replay(p->device, s->recording, err) : host_segment_run(p, s, err));
    }
    /* The host's copy of the inputs may change again now. That of the scalars is ours, and waits for its next change.
     */
    return p->inputs_up > p->device->uploads_done ? device_wait_uploads(p->device, err) : CVR_OK;
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
                            .fallback = n->fallback ? n->fallback : "",
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
