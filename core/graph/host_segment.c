/*
 * Nodes that the device cannot run, one after another on the host: what they read of the device's comes once, before
 * the first of them; what others read afterwards goes back once, after the last. What they pass on among themselves
 * stays on the host. Where the backend maps its memory, they work in place.
 */
#include "bound.h"

static int32_t value_of(cvr_program *p, segment *s, cvr_value v, host_value **out, cvr_error *err) {
    const cvr_value root = root_value(p, v);
    for (size_t i = 0; i < s->n_values; i++) {
        *out = &s->values[i];
        if (s->values[i].root == root) return CVR_OK;
    }
    host_value *more = cvr_grow(s->values, s->n_values, &s->capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    s->values = more;
    *out = &more[s->n_values++];
    **out = (host_value){.root = root, .bytes = type_bytes(&p->graph->values[root]->type)};
    return CVR_OK;
}

/* What is read before a node here has written it comes from the device. */
static int32_t find_values(cvr_program *p, segment *s, cvr_error *err) {
    for (size_t i = s->first; i < s->first + s->n; i++) {
        const ir_node *n = p->nodes[i].plan->node;
        for (uint32_t k = 0; k < n->n_inputs + n->n_outputs; k++) {
            host_value *v;
            if (!n->inputs[k]) continue;
            CVR_TRY(value_of(p, s, n->inputs[k], &v, err));
            v->comes = v->comes || (k < n->n_inputs && !v->written);
            v->written = v->written || k >= n->n_inputs || (k < 64 && (n->op->mutates >> k & 1));
        }
    }
    return CVR_OK;
}

/* A stored value outlives the run, another what its block in the plan says. */
static bool is_read_later(const cvr_program *p, const segment *s, cvr_value root) {
    const int64_t block = p->plan.block_of[root];
    return block < 0 || p->plan.blocks[block].last > p->nodes[s->first + s->n - 1].launch.index;
}

/* All of a segment's values where they are, if the host sees all of them there. */
static int32_t map_values(cvr_program *p, segment *s, bool *mapped, cvr_error *err) {
    const cvr_device *d = p->device;
    *mapped = d->backend->map != NULL;
    for (size_t i = 0; i < s->n_values && *mapped; i++) {
        host_value *v = &s->values[i];
        void *host = NULL;
        CVR_TRY(CVR_CALL(d->backend, map, NULL, err, d->self, root_address(p, v->root), v->bytes, &host));
        v->address = host;
        *mapped = host != NULL;
    }
    for (size_t i = 0; i < s->n_values && *mapped; i++) s->values[i].comes = s->values[i].goes = false;
    return CVR_OK;
}

static int32_t take_memory(cvr_program *p, segment *s, bool mapped, cvr_error *err) {
    uint64_t values = 0, workspace = 0;
    for (size_t i = 0; i < s->n_values && !mapped; i++) values += align_up(s->values[i].bytes, 64);
    for (size_t i = s->first; i < s->first + s->n; i++)
        if (p->nodes[i].plan->workspace > workspace) workspace = p->nodes[i].plan->workspace;
    s->memory = cvr_alloc_aligned(values + workspace + 64, 64);
    if (!s->memory) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for what the device leaves to the host");
    char *at = s->memory;
    for (size_t i = s->first; i < s->first + s->n; i++) p->nodes[i].args.workspace = s->memory + values;
    for (size_t i = 0; i < s->n_values && !mapped; i++) {
        host_value *v = &s->values[i];
        v->address = at;
        v->goes = v->written && is_read_later(p, s, v->root);
        at += align_up(v->bytes, 64);
    }
    return CVR_OK;
}

int32_t host_segment_bind(cvr_program *p, segment *s, cvr_error *err) {
    bool mapped;
    CVR_TRY(find_values(p, s, err));
    CVR_TRY(map_values(p, s, &mapped, err));
    CVR_TRY(take_memory(p, s, mapped, err));
    for (size_t i = s->first; i < s->first + s->n; i++) {
        bound_node *b = &p->nodes[i];
        for (uint32_t k = 0; k < b->args.n_inputs + b->args.n_outputs; k++) {
            host_value *v;
            if (!b->plan->node->inputs[k]) continue;
            CVR_TRY(value_of(p, s, b->plan->node->inputs[k], &v, err));
            b->all[k].data = v->address;
        }
    }
    return CVR_OK;
}

void host_segment_clear(segment *s) {
    cvr_free(s->values);
    cvr_free(s->memory);
}

/* ---- running ---- */

static int32_t run_node(const cvr_program *p, const bound_node *b, cvr_error *err) {
    const cvr_device *d = p->device;
    const cvr_cpu_fn *fn = b->launch.kernel->payload;
    cvr_call_enter(b->launch.kernel, "run", b->launch.name, err);
    return cvr_call_leave(d->run_host ? d->run_host(d->self, &b->launch, err) : fn->run(&b->args, err), err);
}

int32_t host_segment_run(cvr_program *p, const segment *s, cvr_error *err) {
    cvr_device *d = p->device;
    for (size_t i = 0; i < s->n_values; i++) {
        const host_value *v = &s->values[i];
        const device_bytes b = {v->address, root_address(p, v->root), v->bytes};
        if (v->comes && v->bytes) CVR_TRY(device_start_download(d, &b, err));
    }
    CVR_TRY(device_settle(d, err));
    for (size_t i = s->first; i < s->first + s->n; i++) CVR_TRY(run_node(p, &p->nodes[i], err));
    for (size_t i = 0; i < s->n_values; i++) {
        const host_value *v = &s->values[i];
        const device_bytes b = {root_address(p, v->root), v->address, v->bytes};
        if (v->goes && v->bytes) CVR_TRY(device_start_upload(d, &b, d->last, err));
    }
    return CVR_OK;
}
