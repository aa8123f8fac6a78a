/* One program of the network: planned, with its slots looked up, and run on a batch. */
#include "network.h"

static uint64_t bytes_of(const cvr_type *t) {
    return (uint64_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(t->dtype);
}

/* ---- slots ---- */

static int32_t find_inputs(net_program *p, bool probes, cvr_error *err) {
    size_t n = 0;
    while (cvr_program_input(p->program, n) >= 0) n++;
    p->inputs = cvr_calloc(n + 1, sizeof *p->inputs);
    if (!p->inputs) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (; p->n_inputs < n; p->n_inputs++) {
        const int32_t slot = cvr_program_input(p->program, p->n_inputs);
        const bool picture = strcmp(cvr_program_slot_name(p->program, slot), "image") == 0;
        if (probes && picture && p->key.purpose != PROGRAM_FEATURES)
            return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                            "[probe]: the losses of this network need more than what its head reads");
        p->inputs[p->n_inputs] = (program_input){cvr_program_slot_name(p->program, slot), slot,
                                                 bytes_of(cvr_program_slot_type(p->program, slot))};
    }
    return CVR_OK;
}

cvr_tensor net_tensor_of(const cvr_type *t) {
    cvr_tensor x = {
        .struct_size = sizeof x, .dtype = t->dtype, .rank = t->rank, .pixel_stride = t->rank == 4 ? t->shape[1] : 0};
    memcpy(x.shape, t->shape, sizeof x.shape);
    memcpy(x.order, t->order, sizeof x.order);
    return x;
}

static void add_result(net_program *p, const cvr_io_output *o) {
    program_output *r = &p->results[p->n_results];
    r->slot = cvr_program_slot_of(p->program, o->value);
    r->type = cvr_program_slot_type(p->program, r->slot);
    r->tensor = (cvr_named_tensor){.struct_size = sizeof r->tensor, .name = o->name, .kind = ""};
    r->tensor.tensor = net_tensor_of(r->type);
    p->result_views[p->n_results++] = &r->tensor;
}

static int32_t find_outputs(net_program *p, cvr_error *err) {
    const cvr_io *io = cvr_graph_io(p->graph);
    const cvr_io_output *o;
    uint32_t n = 0;
    while (io->output(io, n)) n++;
    p->results = cvr_calloc(n + 1u, sizeof *p->results);
    p->result_views = cvr_calloc(n + 1u, sizeof *p->result_views);
    p->loss_names = cvr_calloc(n + 1u, sizeof *p->loss_names);
    p->loss_slots = cvr_calloc(n + 1u, sizeof *p->loss_slots);
    p->losses = cvr_calloc(n + 1u, sizeof *p->losses);
    if (!p->results || !p->result_views || !p->loss_names || !p->loss_slots || !p->losses)
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; (o = io->output(io, i)); i++) {
        if (o->role == CVR_ROLE_RESULT) add_result(p, o);
        if (o->role != CVR_ROLE_LOSS) continue;
        p->loss_names[p->n_losses] = o->name;
        p->loss_slots[p->n_losses++] = cvr_program_slot_of(p->program, o->value);
    }
    return CVR_OK;
}

/* Scalars, and where net_scalars has them. */
static const struct {
    const char *name;
    size_t offset;
    bool real; /* f32, from a double */
} scalar_fields[] = {
    {"lr", offsetof(net_scalars, lr), true},
    {"loss_scale", offsetof(net_scalars, loss_scale), true},
    {"loss_unscale", offsetof(net_scalars, loss_unscale), true},
    {"average_weight", offsetof(net_scalars, average_weight), true},
    {"step", offsetof(net_scalars, step), false},
    {"updates", offsetof(net_scalars, updates), false},
    {"micro_step", offsetof(net_scalars, micro_step), false},
    {"seed", offsetof(net_scalars, seed), false},
    {"samples", offsetof(net_scalars, samples), false},
    {"closing", offsetof(net_scalars, closing), true},
    {"epoch", offsetof(net_scalars, epoch), true},
};
#define N_SCALARS (sizeof scalar_fields / sizeof *scalar_fields)
CVR_STATIC_ASSERT(N_SCALARS == sizeof((net_program *)0)->scalars / sizeof(int32_t), "a slot for each scalar");

static int32_t find_slots(net_program *p, bool probes, cvr_error *err) {
    for (size_t i = 0; i < N_SCALARS; i++) p->scalars[i] = cvr_program_slot(p->program, scalar_fields[i].name);
    for (unsigned i = 0; i < MOST_PHASES; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "updates_%u", i + 1);
        p->thaw_updates[i] = cvr_program_slot(p->program, name);
    }
    p->total = cvr_program_slot(p->program, "total loss");
    CVR_TRY(find_inputs(p, probes, err));
    return find_outputs(p, err);
}

/* ---- making ---- */

/* Warnings about nodes that the device leaves to the host are given for the first program only. */
static int32_t plan_program(run_network *n, net_program *p, cvr_error *err) {
    const uint32_t asked = (uint32_t)n->settings->backend->fallback,
                   fallback = asked == CVR_FALLBACK_WARN && n->told ? CVR_FALLBACK_ALLOW : asked;
    CVR_TRY(net_program_build(n, p, err));
    CVR_TRY(cvr_program_plan(&p->program, p->graph, n->device, n->pool, fallback, err));
    n->told = true;
    return find_slots(p, n->probes, err);
}

int32_t net_program_plan(run_network *n, const program_key *key, net_program **out, cvr_error *err) {
    net_program *p = cvr_calloc(1, sizeof *p);
    if (!p) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    p->key = *key;
    const int32_t status = plan_program(n, p, err);
    if (status != CVR_OK) net_program_destroy(&p);
    *out = p;
    return status;
}

void net_program_destroy(net_program **program) {
    net_program *p = *program;
    if (!p) return;
    for (size_t i = 0; i < p->n_results; i++) cvr_free(p->results[i].host);
    cvr_free(p->inputs);
    cvr_free(p->results);
    cvr_free(p->result_views);
    cvr_free(p->loss_names);
    cvr_free(p->loss_slots);
    cvr_free(p->losses);
    cvr_program_destroy(&p->program);
    cvr_graph_destroy(&p->graph);
    cvr_free(p);
    *program = NULL;
}

/* ---- running ---- */

static int32_t write_inputs(net_program *p, const cvr_batch_view *batch, cvr_error *err) {
    for (size_t i = 0; i < p->n_inputs; i++) {
        const program_input *in = &p->inputs[i];
        const cvr_named_tensor *field = cvr_batch_find(batch, in->name);
        if (!field) return cvr_fail(err, CVR_ERR_INVALID, "the batch has no field %s", in->name);
        const cvr_tensor *t = &field->tensor;
        if ((uint64_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(t->dtype) != in->bytes)
            return cvr_fail(err, CVR_ERR_INVALID, "no program was planned for a batch whose %s has this size",
                            in->name);
        CVR_TRY(cvr_program_begin_write(p->program, in->slot, t->data, err));
    }
    return CVR_OK;
}

int32_t net_program_begin(net_program *p, const cvr_batch_view *batch, cvr_error *err) {
    p->begun = NULL;
    CVR_TRY(write_inputs(p, batch, err));
    p->begun = batch->fields;
    return CVR_OK;
}

int32_t net_program_run(net_program *p, const cvr_batch_view *batch, const net_scalars *s, cvr_error *err) {
    const bool begun = batch && p->begun == batch->fields && cvr_program_landed(p->program);
    p->begun = NULL;
    if (batch && !begun) CVR_TRY(write_inputs(p, batch, err));
    for (size_t i = 0; i < N_SCALARS; i++) {
        const char *field = (const char *)s + scalar_fields[i].offset;
        float number = 0;
        if (p->scalars[i] < 0) continue;
        if (scalar_fields[i].real) number = (float)*(const double *)(const void *)field;
        const void *bytes = scalar_fields[i].real ? (const void *)&number : field;
        CVR_TRY(cvr_program_begin_write(p->program, p->scalars[i], bytes, err));
    }
    for (size_t i = 0; i < MOST_PHASES; i++) {
        const int64_t updates = s->updates - (s->thawed_at ? s->thawed_at[i] : 0);
        if (p->thaw_updates[i] >= 0) CVR_TRY(cvr_program_begin_write(p->program, p->thaw_updates[i], &updates, err));
    }
    return cvr_program_run(p->program, err);
}

int32_t net_program_begin_losses(net_program *p, cvr_error *err) {
    if (p->total >= 0) CVR_TRY(cvr_program_begin_read(p->program, p->total, &p->sum, err));
    for (size_t i = 0; i < p->n_losses; i++)
        if (p->loss_slots[i] != p->total)
            CVR_TRY(cvr_program_begin_read(p->program, p->loss_slots[i], &p->losses[i], err));
    return CVR_OK;
}

double net_program_total(const net_program *p) {
    return (double)p->sum;
}

double net_program_loss(const net_program *p, size_t i) {
    return (double)(p->loss_slots[i] == p->total ? p->sum : p->losses[i]);
}

int32_t net_program_losses(net_program *p, double *total, cvr_error *err) {
    CVR_TRY(net_program_begin_losses(p, err));
    CVR_TRY(cvr_program_wait(p->program, err));
    *total = net_program_total(p);
    return CVR_OK;
}

int32_t net_program_results(net_program *p, const cvr_batch_view *batch, cvr_batch_view *out, cvr_error *err) {
    for (size_t i = 0; i < p->n_results; i++) {
        program_output *r = &p->results[i];
        if (!r->host) r->host = cvr_alloc_aligned(bytes_of(r->type) + 8, 64);
        if (!r->host) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the network's results");
        r->tensor.tensor.data = r->host;
        CVR_TRY(cvr_program_read(p->program, r->slot, r->host, err));
    }
    *out = (cvr_batch_view){.struct_size = sizeof *out,
                            .n = batch->n,
                            .n_fields = (uint32_t)p->n_results,
                            .fields = p->result_views,
                            .origins = batch->origins};
    return CVR_OK;
}
