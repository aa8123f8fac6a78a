/* Builds one layer into a graph, with its gradients, and runs it. */
#include "layer_case.h"
#include <stdlib.h>

#define SCOPE "t"
#define GUARD_BYTES 4096u
#define GUARD_VALUE 0xA5

struct case_run {
    const case_machine *machine;
    cvr_store *store;
    cvr_graph *graph;
    cvr_program *program;
    cvr_arena *arena; /* guard, memory, guard */
    uint32_t n_outputs;
    cvr_value inputs[CASE_MOST_IO], outputs[CASE_MOST_IO];
};

/* ---- machines ---- */

static const cvr_plugin_info *find_pack(const cvr_plugins *plugins, const char *id) {
    for (size_t i = 0; i < cvr_plugins_count(plugins); i++) {
        const cvr_plugin_info *info = cvr_plugins_info(plugins, i);
        if (strcmp(info->id, id) == 0) return info;
    }
    return NULL;
}

int32_t machine_open(case_machine *m, const char *backend, const char *isa, uint32_t threads, cvr_error *err) {
    cvr_plugins *plugins;
    memset(m, 0, sizeof *m);
    CVR_TRY(cvr_plugins_open(&plugins, NULL, 0, err));
    return machine_open_on(m, plugins, backend, isa, threads, err);
}

int32_t machine_open_on(case_machine *m, cvr_plugins *plugins, const char *backend, const char *isa, uint32_t threads,
                        cvr_error *err) {
    int32_t status = CVR_OK;
    memset(m, 0, sizeof *m);
    m->plugins = plugins;
    m->fallback = CVR_FALLBACK_ALLOW;
    (void)snprintf(m->label, sizeof m->label, "%s%s%s/%u", backend, isa ? "/" : "", isa ? isa : "", threads);
    if (isa) {
        const cvr_plugin_info *pack = find_pack(m->plugins, isa);
        if (strcmp(isa, "base") != 0 && !pack) {
            CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOTFOUND, "there is no kernel pack %s", isa));
        } else {
            cvr_plugins_limit_isa(m->plugins, pack ? pack->isa : "base");
        }
    }
    CVR_TRY_OUT(cvr_pool_create(&m->pool, threads, err));
    CVR_TRY_OUT(cvr_device_open(&m->device, m->plugins, &(cvr_device_choice){.backend = backend}, m->pool, err));
out:
    if (status != CVR_OK) machine_close(m);
    return status;
}

void machine_close(case_machine *m) {
    cvr_device_close(&m->device);
    cvr_plugins_close(&m->plugins);
    if (m->pool) cvr_pool_destroy(&m->pool);
}

bool machine_has_pack(const char *pack, char *missing, size_t size) {
    cvr_plugins *plugins;
    const char *feature = "its plugin";
    if (strcmp(pack, "base") == 0) return true;
    if (cvr_plugins_open(&plugins, NULL, 0, NULL) != CVR_OK) return false;
    const cvr_plugin_info *info = find_pack(plugins, pack);
    const bool has = info && cvr_cpu_has(info->isa, &feature);
    (void)snprintf(missing, size, "%.*s", (int)strcspn(feature, " "), feature);
    cvr_plugins_close(&plugins);
    return has;
}

/* ---- building ---- */

static bool wants_gradient(const layer_case *c, uint32_t i) {
    return c->backward && c->inputs[i].type.dtype == CVR_F32 && !c->inputs[i].constant;
}

static int32_t call_layer(case_run *r, const char *layer, const char *name, const cvr_value *in, uint32_t n,
                          cvr_value *out, cvr_error *err) {
    const cvr_builder *b = cvr_graph_builder(r->graph);
    const cvr_layer_call call = {.struct_size = sizeof call,
                                 .layer = layer,
                                 .name = name,
                                 .settings = "",
                                 .inputs = in,
                                 .outputs = out,
                                 .n_inputs = n,
                                 .n_outputs = 1};
    return b->layer(b, &call, err);
}

/* One op, its settings packed after its own schema; the result is its first output, output K of `op@K`, or of `op@*`
 * all. */
static int32_t call_op(case_run *r, char *op, const char *settings, const cvr_value *in, uint32_t n, cvr_value *out,
                       cvr_error *err) {
    const cvr_builder *b = cvr_graph_builder(r->graph);
    const void *found;
    void *attrs = NULL;
    char *at = strchr(op, '@');
    const bool every = at && at[1] == '*';
    const unsigned long which = at ? strtoul(at + 1, NULL, 10) : 0;
    if (at) *at = '\0';
    CVR_TRY(cvr_plugins_find(r->machine->plugins, CVR_KIND_OP, op, &found, err));
    const cvr_op_desc *desc = found;
    const cvr_schema schema = {desc->attrs, desc->n_attrs};
    cvr_value all[CVR_MAX_IO];
    if ((which && which >= desc->n_outputs) || (every && desc->n_outputs > CASE_MOST_IO))
        return cvr_fail(err, CVR_ERR_INVALID, "op %s has no output %lu", op, which);
    CVR_TRY(cvr_attrs_parse(&schema, settings, NULL, op, &attrs, err));
    r->n_outputs = every || !desc->n_outputs ? desc->n_outputs : 1;
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = op,
                              .attrs = attrs,
                              .attrs_size = cvr_schema_size(&schema, err),
                              .inputs = in,
                              .outputs = all,
                              .n_inputs = n,
                              .n_outputs = desc->n_outputs};
    const int32_t status = b->emit(b, &call, err);
    for (uint32_t i = 0; i < r->n_outputs; i++) out[i] = all[every ? i : which];
    cvr_free(attrs);
    return status;
}

/* "LAYER settings" or "op:NAME settings" */
static int32_t build_step(case_run *r, char *step, const char *scope, const cvr_value *in, uint32_t n, cvr_error *err) {
    const cvr_builder *b = cvr_graph_builder(r->graph);
    const void *found;
    step += strspn(step, " ");
    char *settings = step + strcspn(step, " ");
    if (*settings) *settings++ = '\0';
    if (strncmp(step, "op:", 3) == 0) return call_op(r, step + 3, settings, in, n, r->outputs, err);
    CVR_TRY(cvr_plugins_find(r->machine->plugins, CVR_KIND_LAYER, step, &found, err));
    r->n_outputs = ((const cvr_layer_desc *)found)->n_outputs;
    if (r->n_outputs > CASE_MOST_IO) r->n_outputs = 1; /* as many as its settings say: the first will do */

    const cvr_layer_call call = {.struct_size = sizeof call,
                                 .layer = step,
                                 .name = scope,
                                 .settings = settings,
                                 .inputs = in,
                                 .outputs = r->outputs,
                                 .n_inputs = n,
                                 .n_outputs = r->n_outputs};
    return b->layer(b, &call, err);
}

/* The first step takes the inputs, those after a ` > ` the first output of the one before. */
static int32_t build_steps(case_run *r, const layer_case *c, cvr_error *err) {
    char text[sizeof c->layer + sizeof c->settings + 2], scope[32] = SCOPE;
    (void)snprintf(text, sizeof text, "%s %s", c->layer, c->settings);
    char *step = text, *next = strstr(step, " > ");
    if (next) *next = '\0';
    CVR_TRY(build_step(r, step, scope, r->inputs, c->n_inputs, err));
    for (uint32_t i = 1; next; i++) {
        const cvr_value in = r->outputs[0];
        step = next + 3;
        next = strstr(step, " > ");
        if (next) *next = '\0';
        (void)snprintf(scope, sizeof scope, SCOPE ".s%u", i);
        CVR_TRY(build_step(r, step, scope, &in, 1, err));
    }
    return CVR_OK;
}

static int32_t cast_to(case_run *r, uint32_t dtype, cvr_value *v, cvr_error *err) {
    const cvr_builder *b = cvr_graph_builder(r->graph);
    const cvr_cast_attrs attrs = {dtype};
    const uint32_t has = b->type(b, *v)->dtype;
    if (has == dtype || (has != CVR_F32 && has != CVR_BF16 && has != CVR_F16)) return CVR_OK;
    return cvr_emit(b, "cast", &attrs, sizeof attrs, v, 1, v, err);
}

/* The inputs that the case's first step updates in place: an optimizer's, where it is an op. */
static uint64_t mutated(const case_run *r, const layer_case *c) {
    const void *op;
    char name[sizeof c->layer];
    if (strncmp(c->layer, "op:", 3) != 0) return 0;
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(c->layer + 3, "@"), c->layer + 3);
    if (cvr_plugins_find(r->machine->plugins, CVR_KIND_OP, name, &op, NULL) != CVR_OK) return 0;
    return ((const cvr_op_desc *)op)->mutates;
}

int32_t case_stored_input(const cvr_builder *b, const char *name, const cvr_type *type, cvr_value *out,
                          cvr_error *err) {
    const cvr_init zero = {.struct_size = sizeof zero, .kind = CVR_INIT_CONSTANT};
    cvr_param_decl decl = {
        .struct_size = sizeof decl, .name = name, .dtype = type->dtype, .rank = type->rank, .init = &zero};
    memcpy(decl.shape, type->shape, sizeof decl.shape);
    memcpy(decl.order, type->order, sizeof decl.order);
    return b->param(b, &decl, out, err);
}

static int32_t build_forward(case_run *r, const layer_case *c, cvr_error *err) {
    char name[32];
    const uint64_t updated = mutated(r, c);
    for (uint32_t i = 0; i < c->n_inputs; i++) {
        (void)snprintf(name, sizeof name, "in%u", i);
        if (!c->inputs[i].type.dtype) continue; /* absent */
        if (updated >> i & 1) {                 /* drawn as buffers are (draw_rest) */
            (void)snprintf(name, sizeof name, SCOPE ".in%u", i);
            CVR_TRY(case_stored_input(cvr_graph_builder(r->graph), name, &c->inputs[i].type, &r->inputs[i], err));
            continue;
        }
        CVR_TRY(cvr_graph_input(r->graph, name, &c->inputs[i].type, &r->inputs[i], err));
        if (wants_gradient(c, i)) cvr_graph_wants_gradient(r->graph, r->inputs[i]);
    }
    cvr_value given[CASE_MOST_IO];
    memcpy(given, r->inputs, sizeof given);
    for (uint32_t i = 0; i < c->n_inputs && c->low; i++) {
        if (updated >> i & 1) continue;
        if (!c->inputs[i].constant || c->inputs[i].activation) CVR_TRY(cast_to(r, c->low, &r->inputs[i], err));
    }
    CVR_TRY(build_steps(r, c, err));
    memcpy(r->inputs, given, sizeof given);
    for (uint32_t i = 0; i < r->n_outputs; i++) {
        (void)snprintf(name, sizeof name, "out%u", i);
        if (c->low) CVR_TRY(cast_to(r, CVR_F32, &r->outputs[i], err));
        CVR_TRY(cvr_graph_output(r->graph, name, r->outputs[i], err));
    }
    for (uint32_t i = 0; i < c->n_inputs && c->keep_inputs; i++) {
        (void)snprintf(name, sizeof name, "kept%u", i);
        if (r->inputs[i]) CVR_TRY(cvr_graph_output(r->graph, name, r->inputs[i], err));
    }
    return CVR_OK;
}

/* Passes may put other values in the places of the outputs. */
static int32_t network_passes(case_run *r, const layer_case *c, cvr_error *err) {
    char name[32];
    if (!c->passes) return CVR_OK;
    CVR_TRY(cvr_graph_passes(r->graph, CVR_PASS_NETWORK, c->passes, err));
    for (uint32_t i = 0; i < r->n_outputs; i++) {
        (void)snprintf(name, sizeof name, "out%u", i);
        r->outputs[i] = cvr_graph_output_value(r->graph, name);
    }
    return CVR_OK;
}

/* loss = sum over outputs of sum(out * gradient): the way in for several gradients at once */
static int32_t joined_loss(case_run *r, const cvr_value *gradients, cvr_value *loss, cvr_error *err) {
    *loss = CVR_NONE;
    for (uint32_t i = 0; i < r->n_outputs; i++) {
        cvr_value pair[2] = {r->outputs[i], gradients[i]}, product, sums[2] = {*loss, CVR_NONE};
        char name[32];
        if (!gradients[i]) continue;
        (void)snprintf(name, sizeof name, "join%u", i);
        CVR_TRY(call_layer(r, "mul", name, pair, 2, &product, err));
        CVR_TRY(call_layer(r, "sum", name, &product, 1, &sums[1], err));
        if (*loss)
            CVR_TRY(call_layer(r, "add", name, sums, 2, loss, err));
        else
            *loss = sums[1];
    }
    return CVR_OK;
}

static int32_t build_backward(case_run *r, cvr_error *err) {
    const cvr_builder *b = cvr_graph_builder(r->graph);
    cvr_value gradients[CASE_MOST_IO] = {CVR_NONE};
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n_outputs; i++) {
        const cvr_type type = *b->type(b, r->outputs[i]);
        char name[32];
        if (type.dtype != CVR_F32) continue;
        (void)snprintf(name, sizeof name, "gout%u", i);
        CVR_TRY(cvr_graph_input(r->graph, name, &type, &gradients[i], err));
        n++;
    }
    if (n == 0) return CVR_OK; /* whole numbers have no gradient */
    if (r->n_outputs == 1 && n == 1) return cvr_graph_backward_from(r->graph, r->outputs[0], gradients[0], err);
    cvr_value loss;
    CVR_TRY(joined_loss(r, gradients, &loss, err));
    return cvr_graph_backward(r->graph, loss, err);
}

static int32_t keep_gradients(case_run *r, const layer_case *c, cvr_error *err) {
    char name[120];
    for (uint32_t i = 0; i < c->n_inputs; i++) {
        const cvr_value g = wants_gradient(c, i) ? cvr_graph_gradient(r->graph, r->inputs[i]) : CVR_NONE;
        (void)snprintf(name, sizeof name, "gin%u", i);
        if (g) CVR_TRY(cvr_graph_output(r->graph, name, g, err));
    }
    for (size_t i = 0; i < cvr_store_count(r->store); i++) {
        const cvr_store_entry *e = cvr_store_get(r->store, i);
        const cvr_value g = cvr_graph_gradient(r->graph, cvr_graph_param(r->graph, e->name));
        (void)snprintf(name, sizeof name, "gparam.%.100s", e->name + strlen(SCOPE "."));
        if (g) CVR_TRY(cvr_graph_output(r->graph, name, g, err));
    }
    return CVR_OK;
}

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
    CVR_TRY_OUT(build_forward(r, c, err));
    CVR_TRY_OUT(network_passes(r, c, err));
    if (c->backward) CVR_TRY_OUT(build_backward(r, err));
    if (c->backward) CVR_TRY_OUT(keep_gradients(r, c, err));
    if (c->passes) CVR_TRY_OUT(cvr_graph_passes(r->graph, CVR_PASS_STEP, c->passes, err));
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
        (void)snprintf(name, sizeof name, SCOPE ".%s", c->params[i].name);
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
        (void)snprintf(name, sizeof name, "gparam.%.100s", e->name + strlen(SCOPE "."));
        CVR_TRY(read_slot(r, name, out, err));
        (void)snprintf(name, sizeof name, "after.%.100s", e->name + strlen(SCOPE "."));
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
        (void)snprintf(name, sizeof name, SCOPE ".%s", c->params[i].name);
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
