/* Builds one layer, or a chain of layers and ops, into a graph, with its gradients. */
#include "case_run.h"
#include <stdlib.h>

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
    char text[sizeof c->layer + sizeof c->settings + 2], scope[32] = CASE_SCOPE;
    (void)snprintf(text, sizeof text, "%s %s", c->layer, c->settings);
    char *step = text, *next = strstr(step, " > ");
    if (next) *next = '\0';
    CVR_TRY(build_step(r, step, scope, r->inputs, c->n_inputs, err));
    for (uint32_t i = 1; next; i++) {
        const cvr_value in = r->outputs[0];
        step = next + 3;
        next = strstr(step, " > ");
        if (next) *next = '\0';
        (void)snprintf(scope, sizeof scope, CASE_SCOPE ".s%u", i);
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
            (void)snprintf(name, sizeof name, CASE_SCOPE ".in%u", i);
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
        (void)snprintf(name, sizeof name, "gparam.%.100s", e->name + strlen(CASE_SCOPE "."));
        if (g) CVR_TRY(cvr_graph_output(r->graph, name, g, err));
    }
    return CVR_OK;
}

int32_t case_build(case_run *r, const layer_case *c, cvr_error *err) {
    CVR_TRY(build_forward(r, c, err));
    CVR_TRY(network_passes(r, c, err));
    if (c->backward) CVR_TRY(build_backward(r, err));
    if (c->backward) CVR_TRY(keep_gradients(r, c, err));
    return c->passes ? cvr_graph_passes(r->graph, CVR_PASS_STEP, c->passes, err) : CVR_OK;
}
