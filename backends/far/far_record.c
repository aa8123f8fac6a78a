/*
 * Launches on translated addresses. A function of the host gets arguments whose tensors lie where the host has them;
 * device code (far.fn/1) gets the device's, records its dispatches here, and is run group by group.
 */
#include "../host/host_recorder.h"
#include "far_device.h"

#define FAR_CONSTANTS 128u

/* What a node of device code does, in order. */
typedef struct far_step {
    const cvr_far_entry *entry; /* NULL: a fill, or (from) a copy */
    cvr_far_group group;
    uint8_t params[CVR_PARAMS_MOST];
    uint32_t constants[FAR_CONSTANTS];
    void *to;
    const void *from;
    uint64_t bytes;
    uint32_t word, shared_bytes;
} far_step;

/* One launch, with arguments of its own. */
typedef struct far_launch {
    cvr_launch launch;
    const cvr_kernel_args *given; /* as they came, with the device's addresses */
    cvr_kernel_args args;
    cvr_tensor *tensors;
    const cvr_tensor **pointers; /* inputs, then outputs */
    far_step **steps;            /* of device code */
    uint64_t n_steps, capacity;
} far_launch;

typedef struct far_recording {
    const cvr_host *host;
    far_launch *all;
    const cvr_launch **launches;
    const cvr_launch_service *service;
    const cvr_profiler *profiler;
    uint64_t n, id;
} far_recording;

typedef struct far_recorder {
    cvr_recorder table;
    far_device *d;
    far_launch *l;
} far_recorder;

/* ---- functions of the host ---- */

static void *zeroed(const cvr_host *host, uint64_t n, uint64_t size) {
    void *p = host->alloc(host, n * size + 1, 64);
    if (p) memset(p, 0, n * size + 1);
    return p;
}

static int32_t check_aligned(const cvr_launch *l, const void *address, cvr_error *err) {
    if ((uintptr_t)address % FAR_ALIGNMENT == 0) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "far: %s has a tensor at %p, which is no multiple of %u", l->name, address,
                    FAR_ALIGNMENT);
}

static int32_t translate(far_device *d, const cvr_launch *from, far_launch *to, cvr_error *err) {
    const cvr_kernel_args *a = from->args;
    const uint32_t n = a->n_inputs + a->n_outputs;
    to->tensors = (cvr_tensor *)zeroed(d->host, n, sizeof *to->tensors);
    to->pointers = (const cvr_tensor **)zeroed(d->host, n, sizeof *to->pointers);
    if (!to->tensors || !to->pointers) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i < n; i++) {
        const cvr_tensor *t = i < a->n_inputs ? a->inputs[i] : a->outputs[i - a->n_inputs];
        if (!t) continue;
        CVR_TRY(check_aligned(from, t->data, err));
        to->tensors[i] = *t;
        to->tensors[i].data = far_to_host(t->data);
        to->pointers[i] = &to->tensors[i];
    }
    to->given = a;
    to->args = *a;
    to->args.inputs = to->pointers;
    to->args.outputs = (cvr_tensor **)(void *)(to->pointers + a->n_inputs);
    if (a->workspace_size) to->args.workspace = far_to_host(a->workspace);
    if (a->prepared) to->args.prepared = far_to_host(a->prepared);
    to->launch = *from;
    to->launch.args = &to->args;
    return CVR_OK;
}

/* ---- device code ---- */

static int32_t new_step(const far_recorder *r, far_step **out, cvr_error *err) {
    far_launch *l = r->l;
    const cvr_host *host = r->d->host;
    far_step **more = (far_step **)host_grow(host, l->steps, l->n_steps, &l->capacity, sizeof *more);
    if (more) l->steps = more;
    *out = more ? (far_step *)zeroed(host, 1, sizeof **out) : NULL;
    if (!*out) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    l->steps[l->n_steps++] = *out;
    return CVR_OK;
}

static const cvr_far_entry *find_entry(const cvr_code *code, const char *name) {
    const cvr_far_entry *const *entries = (const cvr_far_entry *const *)code->bytes;
    for (uint64_t i = 0; i < code->n_bytes / sizeof *entries; i++) {
        const cvr_far_entry *e = entries[i];
        if (e && e->struct_size >= sizeof *e && e->name && e->run && strcmp(e->name, name) == 0) return e;
    }
    return NULL;
}

static int32_t on_dispatch(const cvr_recorder *table, const cvr_dispatch *d, cvr_error *err) {
    const far_recorder *r = (const far_recorder *)table->ctx;
    const cvr_far_entry *entry = find_entry(d->code, d->entry);
    far_step *s;
    if (!entry) return cvr_fail(err, CVR_ERR_PLUGIN, "the code has no entry `%.60s`", d->entry);
    if (d->n_constants > FAR_CONSTANTS)
        return cvr_fail(err, CVR_ERR_PLUGIN, "entry %.60s: %u constants; %u are possible", d->entry, d->n_constants,
                        FAR_CONSTANTS);
    CVR_TRY(new_step(r, &s, err));
    s->entry = entry;
    if (d->params_size) memcpy(s->params, d->params, d->params_size);
    if (d->n_constants) memcpy(s->constants, d->constants, d->n_constants * sizeof *s->constants);
    s->group = (cvr_far_group){.struct_size = sizeof s->group,
                               .params = s->params,
                               .constants = s->constants,
                               .params_size = d->params_size,
                               .n_constants = d->n_constants,
                               .shared_bytes = d->shared_bytes};
    memcpy(s->group.groups, d->groups, sizeof d->groups);
    memcpy(s->group.threads, d->threads, sizeof d->threads);
    return CVR_OK;
}

static int32_t on_fill(const cvr_recorder *table, void *to, uint64_t bytes, uint32_t word, cvr_error *err) {
    const far_recorder *r = (const far_recorder *)table->ctx;
    far_step *s;
    CVR_TRY(new_step(r, &s, err));
    s->to = far_to_host(to);
    s->bytes = bytes;
    s->word = word;
    return CVR_OK;
}

static int32_t on_copy(const cvr_recorder *table, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    const far_recorder *r = (const far_recorder *)table->ctx;
    far_step *s;
    CVR_TRY(new_step(r, &s, err));
    s->to = far_to_host(to);
    s->from = far_to_host(from);
    s->bytes = bytes;
    return CVR_OK;
}

/* The payload is judged here: the core does not know it. */
static int32_t record_code(far_device *d, far_launch *own, const cvr_launch *l, cvr_error *err) {
    far_recorder r = {.table = {.struct_size = sizeof r.table,
                                .device = &d->info,
                                .dispatch = on_dispatch,
                                .fill = on_fill,
                                .copy = on_copy},
                      .d = d,
                      .l = own};
    r.table.ctx = &r;
    return host_record_code(d->host, l, &r.table, "far", err);
}

static void *host_of(uint64_t address) {
    return (void *)(uintptr_t)(address - FAR_OFFSET);
}

static int32_t run_groups(const cvr_host *host, const far_step *s, cvr_error *err) {
    cvr_far_group g = s->group;
    int32_t status = CVR_OK;
    g.host = host_of;
    g.shared = g.shared_bytes ? zeroed(host, 1, g.shared_bytes) : NULL;
    if (g.shared_bytes && !g.shared) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (g.index[2] = 0; g.index[2] < g.groups[2]; g.index[2]++)
        for (g.index[1] = 0; g.index[1] < g.groups[1]; g.index[1]++)
            for (g.index[0] = 0; g.index[0] < g.groups[0]; g.index[0]++) CVR_TRY_OUT(s->entry->run(&g, err));
out:
    host->free(host, g.shared);
    return status;
}

static int32_t run_step(const cvr_host *host, const far_step *s, cvr_error *err) {
    if (s->entry) return run_groups(host, s, err);
    if (s->from) memmove(s->to, s->from, s->bytes);
    for (uint64_t i = 0; !s->from && i < s->bytes; i += 4) memcpy((uint8_t *)s->to + i, &s->word, 4);
    return CVR_OK;
}

/* ---- recordings ---- */

static int32_t record_all(far_device *d, const cvr_record_request *request, far_recording *r, cvr_error *err) {
    for (uint64_t i = 0; i < request->n_launches; i++) {
        const cvr_launch *l = request->launches[i];
        far_launch *own = &r->all[i];
        for (uint32_t k = 0; k < l->n_touches; k++)
            CVR_TRY(far_check_range(d, l->touches[k]->address, l->touches[k]->bytes, l->name, err));
        CVR_TRY(translate(d, l, own, err));
        r->launches[i] = &own->launch;
        if (strcmp(l->kernel->payload_kind, CVR_PAYLOAD_FAR_FN) == 0) CVR_TRY(record_code(d, own, l, err));
    }
    return CVR_OK;
}

int32_t far_record(far_device *d, const cvr_record_request *request, void **recording, cvr_error *err) {
    const cvr_host *host = d->host;
    far_recording *r = (far_recording *)zeroed(host, 1, sizeof *r);
    int32_t status;
    if (!r) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    r->host = host;
    r->n = request->n_launches;
    r->id = request->id;
    r->service = (const cvr_launch_service *)host->get(host, CVR_SERVICE_LAUNCHES);
    r->profiler = (const cvr_profiler *)host->get(host, CVR_SERVICE_PROFILER);
    r->all = (far_launch *)zeroed(host, r->n, sizeof *r->all);
    r->launches = (const cvr_launch **)zeroed(host, r->n, sizeof *r->launches);
    if (!r->all || !r->launches) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    CVR_TRY_OUT(record_all(d, request, r, err));
    *recording = r;
out:
    if (status != CVR_OK) far_discard(d, r);
    return status;
}

void far_discard(far_device *d, void *recording) {
    far_recording *r = (far_recording *)recording;
    const cvr_host *host = d->host;
    for (uint64_t i = 0; r->all && i < r->n; i++) {
        for (uint64_t k = 0; k < r->all[i].n_steps; k++) host->free(host, r->all[i].steps[k]);
        host->free(host, r->all[i].steps);
        host->free(host, r->all[i].tensors);
        host->free(host, (void *)(uintptr_t)r->all[i].pointers);
    }
    host->free(host, r->all);
    host->free(host, (void *)(uintptr_t)r->launches);
    host->free(host, r);
}

/* ---- running ---- */

/* What a kernel does to the descriptor of an output, which it may not, is seen by who gave it. */
static void give_back(const far_launch *l) {
    for (uint32_t i = 0; i < l->args.n_outputs; i++) {
        cvr_tensor *given = l->given->outputs[i], *own = l->args.outputs[i];
        if (!given) continue;
        void *host = own->data;
        own->data = given->data;
        *given = *own;
        own->data = host;
    }
}

static int32_t run_function(const far_launch *l, cvr_error *err) {
    const int32_t status = ((const cvr_cpu_fn *)l->launch.kernel->payload)->run(&l->args, err);
    give_back(l);
    return status;
}

static int32_t run_launch(const far_recording *r, const far_launch *l, cvr_error *err) {
    if (strcmp(l->launch.kernel->payload_kind, CVR_PAYLOAD_CPU_FN) == 0) return run_function(l, err);
    for (uint64_t i = 0; i < l->n_steps; i++) CVR_TRY(run_step(r->host, l->steps[i], err));
    return CVR_OK;
}

int32_t far_run(const void *recording, cvr_error *err) {
    const far_recording *r = (const far_recording *)recording;
    const cvr_profiler *profiler = r->profiler && r->profiler->enabled(r->profiler) ? r->profiler : NULL;
    const cvr_launch **current = r->service ? r->service->current(r->service) : NULL;
    for (uint64_t i = 0; i < r->n; i++) {
        const cvr_launch *l = r->launches[i];
        cvr_launch_note(current, l);
        if (profiler) profiler->begin(profiler, r->id, l->index);
        const int32_t status = run_launch(r, &r->all[i], err);
        if (profiler) profiler->end(profiler, r->id, l->index);
        if (status != CVR_OK) return host_launch_failed(l, "far", status, err);
    }
    cvr_launch_note(current, NULL);
    return CVR_OK;
}
