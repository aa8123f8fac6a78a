/* Plans what case_build.c built, runs it, and looks whether anything was written that should not have been. */
#include "case_run.h"
#include <stdlib.h>

#define GUARD_BYTES 4096u
#define GUARD_VALUE 0xA5

/* ---- planning ---- */

/* Guard bytes lie where the host may look. */
static bool is_guarded(const case_run *r) {
    return (cvr_device_backend(r->machine->device)->flags & CVR_BACKEND_HOST_VISIBLE) != 0;
}

static int32_t check_guards(const case_run *r, cvr_error *err) {
    uint64_t bytes = 0;
    const uint8_t *block = is_guarded(r) ? cvr_arena_block(r->arena, 0, &bytes) : NULL;
    for (uint32_t i = 1; block && i <= GUARD_BYTES; i++) {
        const bool before = block[-(int64_t)i] == GUARD_VALUE, past = block[bytes + i - 1] == GUARD_VALUE;
        if (before && past) continue;
        return cvr_fail(err, CVR_ERR_PLUGIN, "something wrote outside the arena, %s it", before ? "past" : "before");
    }
    return CVR_OK;
}

static int32_t plan(case_run *r, cvr_error *err) {
    cvr_device *d = r->machine->device;
    CVR_TRY(cvr_store_place(r->store, d, err));
    CVR_TRY(cvr_program_plan(&r->program, r->graph, d, r->machine->pool, r->machine->fallback, err));
    CVR_TRY(cvr_arena_create(&r->arena, d, &r->program, 1, GUARD_BYTES, err));
    uint64_t bytes = 0;
    uint8_t *block = is_guarded(r) ? cvr_arena_block(r->arena, 0, &bytes) : NULL;
    if (block) {
        memset(block, 0xFF, bytes); /* what a kernel leaves out is NaN */
        memset(block - GUARD_BYTES, GUARD_VALUE, GUARD_BYTES);
        memset(block + bytes, GUARD_VALUE, GUARD_BYTES);
    }
    return cvr_program_bind(r->program, r->arena, err);
}

int32_t case_open(case_run **out, const case_machine *m, const layer_case *c, cvr_error *err) {
    case_run *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    r->machine = m;
    int32_t status;
    CVR_TRY_OUT(cvr_store_create(&r->store, 1, err));
    CVR_TRY_OUT(cvr_graph_create(&r->graph, m->plugins, r->store, c->training, err));
    cvr_graph_math(r->graph, c->math);
    cvr_graph_nondeterministic(r->graph); /* all that there is is tried */
    CVR_TRY_OUT(case_build(r, c, err));
    if (m->built) m->built(m->built_ctx, r->graph);
    CVR_TRY_OUT(plan(r, err));
out:
    if (status == CVR_OK)
        *out = r;
    else
        case_close(&r);
    return status;
}

void case_close(case_run **run) {
    case_run *r = *run;
    if (!r) return;
    cvr_program_destroy(&r->program);
    cvr_arena_destroy(&r->arena);
    cvr_graph_destroy(&r->graph);
    cvr_store_destroy(&r->store);
    free(r);
    *run = NULL;
}

uint32_t case_outputs(const case_run *run) {
    return run->n_outputs;
}

const cvr_type *case_output_type(const case_run *run, uint32_t i) {
    const cvr_builder *b = cvr_graph_builder(run->graph);
    return b->type(b, run->outputs[i]);
}

cvr_store *case_store(const case_run *run) {
    return run->store;
}
const cvr_program *case_program(const case_run *run) {
    return run->program;
}

/* ---- running ---- */

static int32_t write_slot(case_run *r, const char *name, const void *logical, cvr_error *err) {
    const int32_t slot = cvr_program_slot(r->program, name);
    if (slot < 0) return CVR_OK;
    const cvr_type *t = cvr_program_slot_type(r->program, slot);
    void *memory = calloc(1, case_bytes(t) + 1);
    if (!memory) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    cvr_from_logical(t, logical, memory);
    const int32_t status = cvr_program_write(r->program, slot, memory, err);
    free(memory);
    return status;
}

static int32_t write_all(case_run *r, const layer_case *c, cvr_error *err) {
    static const int64_t seed = 1234567, step = 3;
    static const float scale = 1.0f;
    char name[100];
    for (uint32_t i = 0; i < c->n_inputs; i++) {
        (void)snprintf(name, sizeof name, "in%u", i);
        if (c->inputs[i].data) CVR_TRY(write_slot(r, name, c->inputs[i].data, err));
    }
    for (uint32_t i = 0; i < c->n_gradients && c->backward; i++) {
        if (!c->gradients[i].data) continue;
        (void)snprintf(name, sizeof name, "gout%u", i);
        if (case_bytes(&c->gradients[i].type) != case_bytes(case_output_type(r, i)))
            return cvr_fail(err, CVR_ERR_INVALID, "the gradient given for output %u has another size", i);
        CVR_TRY(write_slot(r, name, c->gradients[i].data, err));
    }
    CVR_TRY(write_slot(r, "seed", &seed, err));
    CVR_TRY(write_slot(r, "step", &step, err));
    CVR_TRY(write_slot(r, "loss_scale", &scale, err));
    for (uint32_t i = 0; i < c->n_params; i++) {
        (void)snprintf(name, sizeof name, CASE_SCOPE ".%s", c->params[i].name);
        const int64_t at = cvr_store_find(r->store, name);
        if (at < 0) return cvr_fail(err, CVR_ERR_NOTFOUND, "the layer has no parameter %s", c->params[i].name);
        const cvr_store_entry *e = cvr_store_get(r->store, (size_t)at);
        if (e->bytes != case_bytes(&c->params[i].type) || e->type.dtype != c->params[i].type.dtype)
            return cvr_fail(err, CVR_ERR_INVALID, "parameter %s has another size or type", c->params[i].name);
        CVR_TRY(cvr_store_write(r->store, (size_t)at, c->params[i].data, err));
    }
    return CVR_OK;
}

static int32_t add_result(case_result *out, const char *name, const cvr_type *type, cvr_error *err) {
    cvr_type plain = *type;
    memset(plain.order, 0, sizeof plain.order); /* read back in logical order */
    if (out->n == CASE_MOST_RESULTS || !case_tensor_set(&out->all[out->n], name, &plain, NULL))
        return cvr_fail(err, CVR_ERR_NOMEM, "too many results");
    out->n++;
    return CVR_OK;
}

static int32_t read_slot(case_run *r, const char *name, case_result *out, cvr_error *err) {
    const int32_t slot = cvr_program_slot(r->program, name);
    if (slot < 0) return CVR_OK;
    const cvr_type *t = cvr_program_slot_type(r->program, slot);
    int32_t status;
    CVR_TRY(add_result(out, name, t, err));
    void *memory = calloc(1, case_bytes(t) + 1);
    if (!memory) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    CVR_TRY_OUT(cvr_program_read(r->program, slot, memory, err));
    cvr_to_logical(t, memory, out->all[out->n - 1].data);
out:
    free(memory);
    return status;
}

static int32_t read_all(case_run *r, case_result *out, cvr_error *err) {
    static const char *const kinds[] = {"out", "gin", "kept"};
    char name[120];
    for (size_t k = 0; k < 3; k++) {
        for (uint32_t i = 0; i < CASE_MOST_IO; i++) {
            (void)snprintf(name, sizeof name, "%s%u", kinds[k], i);
            CVR_TRY(read_slot(r, name, out, err));
        }
    }
    for (size_t i = 0; i < cvr_store_count(r->store); i++) {
        const cvr_store_entry *e = cvr_store_get(r->store, i);
        (void)snprintf(name, sizeof name, "gparam.%.100s", e->name + strlen(CASE_SCOPE "."));
        CVR_TRY(read_slot(r, name, out, err));
        (void)snprintf(name, sizeof name, "after.%.100s", e->name + strlen(CASE_SCOPE "."));
        CVR_TRY(add_result(out, name, &e->type, err));
        CVR_TRY(cvr_store_read(r->store, i, out->all[out->n - 1].data, err));
    }
    return CVR_OK;
}

/* What the plan promised to keep, and parameters (not buffers), must be as they were given. */
static int32_t check_unchanged(const layer_case *c, const case_run *r, const case_result *out, cvr_error *err) {
    char name[100];
    for (uint32_t i = 0; i < c->n_inputs && c->keep_inputs; i++) {
        (void)snprintf(name, sizeof name, "kept%u", i);
        const case_tensor *kept = case_result_find(out, name);
        if (!c->inputs[i].data) continue;
        if (!kept || memcmp(kept->data, c->inputs[i].data, case_bytes(&kept->type)) != 0)
            return cvr_fail(err, CVR_ERR_PLUGIN, "input %u was kept, and yet it changed", i);
    }
    for (uint32_t i = 0; i < c->n_params; i++) {
        (void)snprintf(name, sizeof name, CASE_SCOPE ".%s", c->params[i].name);
        const cvr_store_entry *e = cvr_store_get(r->store, (size_t)cvr_store_find(r->store, name));
        (void)snprintf(name, sizeof name, "after.%s", c->params[i].name);
        const case_tensor *after = case_result_find(out, name);
        if (e->role == CVR_STORE_TRAINED && memcmp(after->data, c->params[i].data, case_bytes(&after->type)) != 0)
            return cvr_fail(err, CVR_ERR_PLUGIN, "parameter %s changed, though nothing updates it", c->params[i].name);
    }
    return CVR_OK;
}

int32_t case_execute(case_run *run, const layer_case *c, case_result *out, cvr_error *err) {
    memset(out, 0, sizeof *out);
    int32_t status;
    CVR_TRY_OUT(write_all(run, c, err));
    CVR_TRY_OUT(cvr_program_run(run->program, err));
    CVR_TRY_OUT(read_all(run, out, err));
    CVR_TRY_OUT(check_guards(run, err));
    CVR_TRY_OUT(check_unchanged(c, run, out, err));
out:
    if (status != CVR_OK) case_result_clear(out);
    return status;
}

int32_t case_result_of(const case_machine *m, const layer_case *c, case_result *out, cvr_error *err) {
    case_run *run;
    memset(out, 0, sizeof *out);
    int32_t status;
    CVR_TRY_OUT(case_open(&run, m, c, err));
    CVR_TRY_OUT(case_execute(run, c, out, err));
out:
    case_close(&run);
    return status;
}
