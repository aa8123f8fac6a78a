/*
 * Gives a program its memory and records its launches: what is prepared by itself, then the nodes, cut where one has to
 * run on the host and in front of the first update where something may veto it. A program may be bound again and again.
 */
#include "bound.h"

static int32_t bind_node(cvr_program *p, bound_node *b, plan_node *n, size_t index, cvr_error *err) {
    const ir_node *node = n->node;
    const uint32_t total = node->n_inputs + node->n_outputs;
    char *host = p->staging;
    b->plan = n;
    b->all = total <= 2 ? b->tensors : cvr_calloc(total, sizeof *b->all);
    b->in = cvr_calloc((size_t)total + 1, sizeof *b->in);
    if (!b->all || !b->in) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    b->out = (cvr_tensor **)(void *)(b->in + node->n_inputs);
    for (uint32_t k = 0; k < total; k++) {
        const cvr_value v = node->inputs[k]; /* outputs follow the inputs in one block */
        if (v == CVR_NONE) continue;
        b->all[k] = tensor_of(&p->graph->values[v]->type);
        b->all[k].data = n->on_host ? host : root_address(p, v);
        if (n->on_host) host += arena_rounded(type_bytes(&p->graph->values[v]->type));
        b->in[k] = &b->all[k];
    }
    b->args = (cvr_kernel_args){.struct_size = sizeof b->args,
                                .attrs = node->attrs,
                                .inputs = b->in,
                                .outputs = b->out,
                                .workspace = n->on_host ? host : NULL,
                                .workspace_size = n->workspace,
                                .pool = p->pool,
                                .n_inputs = node->n_inputs,
                                .n_outputs = node->n_outputs};
    if (n->workspace_block >= 0) b->args.workspace = p->arena + p->plan.blocks[n->workspace_block].offset;
    if (n->prepared_block >= 0) b->args.prepared = p->arena + p->plan.blocks[n->prepared_block].offset;
    b->args.prepared_size = n->prepared;
    b->launch = (cvr_launch){sizeof b->launch, n->kernel, &b->args, node->name, index};
    return CVR_OK;
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
        *s = (segment){i, 1, NULL};
        if (p->updates == SIZE_MAX && p->nodes[i].plan >= updates) p->updates = p->n_segments - 1;
        if (p->nodes[i++].plan->on_host) continue;
        for (; i < n && !p->nodes[i].plan->on_host && p->nodes[i].plan != updates; i++) s->n++;
        const cvr_backend_desc *backend = p->device->backend;
        CVR_TRY(
            CVR_CALL(backend, record, NULL, err, p->device->self, p->launches + s->first, s->n, p->id, &s->recording));
    }
    return CVR_OK;
}

/* The nodes that prepare something, as launches of their own. */
static int32_t record_preparing(cvr_program *p, size_t n, cvr_error *err) {
    const cvr_backend_desc *backend = p->device->backend;
    p->preparing = cvr_calloc(n + 1, sizeof *p->preparing);
    p->prepare_launches = cvr_calloc(n + 1, sizeof *p->prepare_launches);
    if (!p->preparing || !p->prepare_launches) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        if (!p->nodes[i].plan->preparing) continue;
        cvr_launch *l = &p->preparing[p->n_preparing];
        *l = p->nodes[i].launch;
        l->kernel = p->nodes[i].plan->preparing;
        p->prepare_launches[p->n_preparing++] = l;
    }
    if (!p->n_preparing) return CVR_OK;
    return CVR_CALL(backend, record, NULL, err, p->device->self, p->prepare_launches, p->n_preparing, p->id,
                    &p->prepare_recording);
}

void program_unbind(cvr_program *p) {
    const cvr_backend_desc *backend = p->device->backend;
    for (size_t i = 0; i < p->n_segments; i++)
        if (p->segments[i].recording) CVR_CALL_VOID(backend, discard, NULL, p->device->self, p->segments[i].recording);
    if (p->prepare_recording) CVR_CALL_VOID(backend, discard, NULL, p->device->self, p->prepare_recording);
    for (size_t i = 0; p->nodes && i < p->plan.n; i++) {
        if (p->nodes[i].all != p->nodes[i].tensors) cvr_free(p->nodes[i].all);
        cvr_free((void *)(uintptr_t)p->nodes[i].in);
    }
    cvr_free(p->preparing);
    cvr_free((void *)(uintptr_t)p->prepare_launches);
    cvr_free(p->nodes);
    cvr_free((void *)(uintptr_t)p->launches);
    cvr_free(p->segments);
    cvr_free(p->staging);
    p->preparing = NULL;
    p->prepare_launches = p->launches = NULL;
    p->nodes = NULL;
    p->segments = NULL;
    p->staging = NULL;
    p->prepare_recording = NULL;
    p->n_segments = p->n_preparing = 0;
    p->prepared_at = 0;
    p->scalars_changed = true; /* where they lay may be another's */
}

int32_t cvr_program_bind(cvr_program *p, void *arena, cvr_error *err) {
    size_t n = 0;
    program_unbind(p);
    p->arena = arena;
    p->nodes = cvr_calloc(p->plan.n + 1, sizeof *p->nodes);
    if (p->staging_bytes) p->staging = cvr_alloc_aligned(p->staging_bytes, ARENA_ALIGN);
    if (!p->nodes || (p->staging_bytes && !p->staging)) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < p->plan.n; i++) {
        if (!p->plan.nodes[i].kernel) continue; /* a view */
        CVR_TRY(bind_node(p, &p->nodes[n], &p->plan.nodes[i], i, err));
        n++;
    }
    CVR_TRY(record_preparing(p, n, err));
    return record_segments(p, n, err);
}
