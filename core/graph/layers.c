/* The builder's layers and parameters: layers name what they make after their place, "layer1.0.conv1.weight". */
#include "ir.h"

#define DEEPEST_LAYER 32u

/* Puts the layer in front of its error, once. */
static int32_t name_layer(const char *scope, const char *layer, int32_t status, cvr_error *err) {
    if (!err || strncmp(err->message, "layer ", 6) == 0) return status;
    char text[sizeof err->message];
    (void)snprintf(text, sizeof text, "layer %s (%s): %.700s", scope, layer,
                   err->message[0] ? err->message : "it failed and did not say why");
    memcpy(err->message, text, sizeof text);
    return status;
}

/* ---- settings from outside of the model ---- */

int32_t cvr_graph_override_layers(cvr_graph *g, const cvr_setting *const *lines, size_t n, cvr_error *err) {
    cvr_free(g->overrides_used);
    g->overrides_used = cvr_calloc(n + 1, sizeof *g->overrides_used);
    if (!g->overrides_used) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    g->overrides = lines;
    g->n_overrides = n;
    return CVR_OK;
}

static int32_t blame_override(const cvr_setting *s, int32_t status, cvr_error *err) {
    return s->file ? cvr_fail_at(err, s->file, s->line, status) : status;
}

int32_t cvr_graph_overrides_used(const cvr_graph *g, cvr_error *err) {
    for (size_t i = 0; i < g->n_overrides; i++)
        if (!g->overrides_used[i])
            return blame_override(g->overrides[i], graph_no_layer(g, "the network has", g->overrides[i]->key, err),
                                  err);
    return CVR_OK;
}

/* The layer's settings, packed: the model's, then what overrides them, as a later line wins. */
static int32_t pack_settings(cvr_graph *g, const cvr_layer_desc *layer, const char *settings, void **attrs,
                             cvr_error *err) {
    const cvr_schema schema = {layer->attrs, layer->n_attrs};
    const cvr_setting *own = NULL;
    cvr_text all = {0};
    int32_t status;
    for (size_t i = 0; i < g->n_overrides && !own; i++) {
        if (strcmp(g->overrides[i]->key, graph_own_name(g, g->scope.s)) != 0) continue;
        own = g->overrides[i];
        g->overrides_used[i] = true;
    }
    for (const char *t = own ? own->value : ""; *t; t += strspn(t, " \t")) {
        const size_t n = strcspn(t, " \t");
        if (n && !memchr(t, '=', n))
            CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE, "`%.*s` is not key=value, such as out_channels=48", (int)n, t));
        t += n;
    }
    cvr_text_add(&all, "%s\n%s", settings ? settings : "", own ? own->value : "");
    if (all.failed) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    CVR_TRY_OUT(cvr_attrs_parse(&schema, all.s, NULL, layer->name, attrs, err));
out:
    cvr_text_clear(&all);
    return own && status != CVR_OK ? blame_override(own, status, err) : status;
}

/* ---- layers ---- */

static int32_t check_call(const cvr_graph *g, const cvr_layer_desc *layer, const cvr_layer_call *call, cvr_error *err) {
    if (call->n_inputs < layer->min_inputs || call->n_inputs > layer->max_inputs)
        return cvr_fail(err, CVR_ERR_USAGE, "it has %u inputs; it takes %u to %u", call->n_inputs, layer->min_inputs,
                        layer->max_inputs);
    if (call->n_outputs > layer->n_outputs || layer->n_outputs > CVR_MAX_IO)
        return cvr_fail(err, CVR_ERR_USAGE, "%u outputs wanted; it has %u", call->n_outputs, layer->n_outputs);
    for (uint32_t i = 0; i < call->n_inputs; i++) {
        if (call->inputs[i] == CVR_NONE || call->inputs[i] >= g->n_values)
            return cvr_fail(err, CVR_ERR_PLUGIN, "input %u is missing", i);
    }
    return CVR_OK;
}

/* What the layer made: values that there are, as many as it has or fewer, of which the caller takes what it wants. */
static int32_t take_outputs(cvr_graph *g, const cvr_layer_desc *layer, const cvr_layer_call *call,
                            const cvr_value *outputs, cvr_error *err) {
    for (uint32_t i = 0; i < CVR_MAX_IO; i++) {
        if (outputs[i] >= g->n_values)
            return cvr_call_blame(layer, "build", call->name, err, "sets outputs[%u] to %u, which is no value", i,
                                  outputs[i]);
        if (outputs[i] && i >= layer->n_outputs)
            return cvr_call_blame(layer, "build", call->name, err, "sets outputs[%u]; the layer has %u", i,
                                  layer->n_outputs);
    }
    for (g->n_built = 0; g->n_built < layer->n_outputs && outputs[g->n_built];) g->n_built++;
    if (g->n_built == 0) return cvr_call_blame(layer, "build", call->name, err, "sets no output");
    if (call->n_outputs > g->n_built)
        return cvr_fail(err, CVR_ERR_USAGE, "%u outputs wanted; it made %u", call->n_outputs, g->n_built);
    if (call->n_outputs) memcpy(call->outputs, outputs, call->n_outputs * sizeof *outputs);
    return CVR_OK;
}

static int32_t build_layer(cvr_graph *g, const cvr_layer_desc *layer, const cvr_layer_call *call, cvr_error *err) {
    cvr_value outputs[CVR_MAX_IO] = {CVR_NONE};
    void *attrs = NULL;
    CVR_TRY(check_call(g, layer, call, err));
    CVR_TRY(pack_settings(g, layer, call->settings, &attrs, err));
    const cvr_schema schema = {layer->attrs, layer->n_attrs};
    const uint64_t size = layer->n_attrs ? cvr_schema_size(&schema, NULL) : 0, sum = attrs_sum(attrs, size);
    int32_t status = CVR_CALL(layer, build, call->name, err, &g->builder, attrs, call->inputs, call->n_inputs, outputs);
    status = graph_called(g, layer, "build", call->name, status, err);
    if (status == CVR_OK) status = attrs_check(layer, "build", call->name, attrs, size, sum, err);
    cvr_free(attrs);
    if (status != CVR_OK) return status;
    return take_outputs(g, layer, call, outputs, err);
}

/* The call by itself, before anything of it is read. */
static int32_t check_form(const cvr_layer_call *c, cvr_error *err) {
    const char *what = NULL;
    if (!c || c->struct_size < sizeof *c)
        what = "struct_size";
    else if (!c->layer)
        what = "layer";
    else if (!c->name || !*c->name)
        what = "name";
    else if (c->n_inputs && !c->inputs)
        what = "inputs";
    else if (c->n_outputs && !c->outputs)
        what = "outputs";
    for (uint64_t i = 0; !what && i < c->n_inits; i++)
        if (!c->inits || !c->inits[i] || !c->inits[i]->name || !c->inits[i]->init) what = "inits";
    return what
               ? cvr_fail(err, CVR_ERR_PLUGIN, "layer(): `%s` of its cvr_layer_call is missing or makes no sense", what)
               : CVR_OK;
}

static int32_t add_layer(cvr_graph *g, const cvr_layer_call *call, cvr_error *err) {
    const void *layer;
    const size_t before = g->scope.n;
    const uint32_t training = g->builder.training;
    CVR_TRY(check_form(call, err));
    if (g->depth == DEEPEST_LAYER)
        return cvr_fail(err, CVR_ERR_PLUGIN, "layer %s: more than %u layers within each other", call->name,
                        DEEPEST_LAYER);
    CVR_TRY(cvr_plugins_find(g->plugins, CVR_KIND_LAYER, call->layer, &layer, err));
    cvr_text_add(&g->scope, "%s%s", before ? "." : "", call->name);
    if (g->scope.failed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const layer_frame frame = {layer, call, g->scope.n, g->frame};
    g->frame = &frame;
    g->depth++;
    /* What is frozen may have a part that thaws, so each layer is looked at by itself. */
    if (g->training && !g->network) g->builder.training = !store_freezes(g->store, g->scope.s);
    int32_t status = build_layer(g, layer, call, err);
    g->builder.training = training;
    g->depth--;
    g->frame = frame.outer;
    if (status != CVR_OK) status = name_layer(g->scope.s, call->layer, status, err);
    g->scope.n = before;
    g->scope.s[before] = '\0';
    return status;
}

int32_t builder_layer(const cvr_builder *b, const cvr_layer_call *call, cvr_error *err) {
    cvr_error own;
    if (!err) cvr_error_init(err = &own);
    return graph_noted(b->ctx, add_layer(b->ctx, call, err), err);
}
