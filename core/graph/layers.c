/* The builder's layers and parameters: layers name what they make after their place, "layer1.0.conv1.weight". */
#include "ir.h"

#define DEEPEST_LAYER 32u

/* Puts the layer in front of its error, once. */
static int32_t name_layer(const char *scope, const char *layer, int32_t status, cvr_error *err) {
    if (!err || strncmp(err->message, "layer ", 6) == 0) return status;
    char text[sizeof err->message];
    (void)snprintf(text, sizeof text, "layer %s (%s): %.700s", scope, layer, err->message);
    memcpy(err->message, text, sizeof text);
    return status;
}

static int32_t build_layer(cvr_graph *g, const cvr_layer_desc *layer, const cvr_layer_call *call, cvr_error *err) {
    const cvr_schema schema = {layer->attrs, layer->n_attrs};
    cvr_value outputs[CVR_MAX_IO] = {CVR_NONE};
    void *attrs = NULL;
    char what[120];
    if (call->n_inputs < layer->min_inputs || call->n_inputs > layer->max_inputs) {
        return cvr_fail(err, CVR_ERR_USAGE, "it has %u inputs; it takes %u to %u", call->n_inputs, layer->min_inputs,
                        layer->max_inputs);
    }
    if (call->n_outputs > layer->n_outputs || layer->n_outputs > CVR_MAX_IO) {
        return cvr_fail(err, CVR_ERR_PLUGIN, "%u outputs wanted; it has %u", call->n_outputs, layer->n_outputs);
    }
    for (uint32_t i = 0; i < call->n_inputs; i++) {
        if (call->inputs[i] == CVR_NONE || call->inputs[i] >= g->n_values)
            return cvr_fail(err, CVR_ERR_PLUGIN, "input %u is missing", i);
    }
    (void)snprintf(what, sizeof what, "%s", layer->name);
    int32_t status = cvr_attrs_parse(&schema, call->settings ? call->settings : "", NULL, what, &attrs, err);
    if (status == CVR_OK) status = layer->build(&g->builder, attrs, call->inputs, call->n_inputs, outputs, err);
    cvr_free(attrs);
    for (uint32_t i = 0; status == CVR_OK && i < call->n_outputs; i++) {
        if (outputs[i] == CVR_NONE || outputs[i] >= g->n_values)
            return cvr_fail(err, CVR_ERR_PLUGIN, "its `build` left output %u out", i);
        call->outputs[i] = outputs[i];
    }
    return status;
}

int32_t builder_layer(const cvr_builder *b, const cvr_layer_call *call, cvr_error *err) {
    cvr_graph *g = b->ctx;
    const void *layer;
    const size_t before = g->scope.n;
    if (g->depth == DEEPEST_LAYER)
        return cvr_fail(err, CVR_ERR_PLUGIN, "layer %s: more than %u layers within each other", call->name,
                        DEEPEST_LAYER);
    int32_t status = cvr_plugins_find(g->plugins, CVR_KIND_LAYER, call->layer, &layer, err);
    if (status != CVR_OK) return status;
    cvr_text_add(&g->scope, "%s%s", before ? "." : "", call->name);
    if (g->scope.failed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    g->depth++;
    status = build_layer(g, layer, call, err);
    g->depth--;
    if (status != CVR_OK) status = name_layer(g->scope.s, call->layer, status, err);
    g->scope.n = before;
    g->scope.s[before] = '\0';
    return status;
}

/* One value for each stored entry of a graph. */
static int32_t stored_value(cvr_graph *g, const store_request *r, cvr_value *out, cvr_error *err) {
    size_t index;
    int32_t status = check_type(&r->type, r->name, err);
    if (status == CVR_OK) status = store_declare(g->store, r, &index, err);
    if (status != CVR_OK) return status;
    for (size_t i = 1; i < g->n_values; i++) {
        if (g->values[i]->kind == VALUE_STORED && g->values[i]->store_index == index) {
            *out = (cvr_value)i;
            return CVR_OK;
        }
    }
    status = graph_add_value(g, &r->type, VALUE_STORED, out, err);
    if (status != CVR_OK) return status;
    g->values[*out]->store_index = index;
    g->values[*out]->needs_gradient = g->builder.training && (r->flags & CVR_PARAM_TRAINABLE);
    return CVR_OK;
}

static int32_t declare(cvr_graph *g, const char *prefix, const cvr_param_decl *decl, uint32_t kind, cvr_value *out,
                       cvr_error *err) {
    if (!decl->name || !decl->init || decl->rank > CVR_MAX_RANK)
        return cvr_fail(err, CVR_ERR_PLUGIN, "a parameter without name, shape or init");
    cvr_text name = {0};
    cvr_text_add(&name, "%s%s%s", prefix, *prefix ? "." : "", decl->name);
    if (name.failed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    store_request r = {.name = name.s, .kind = kind, .flags = decl->flags, .init = *decl->init};
    cvr_type_set(&r.type, decl->dtype, decl->rank, decl->shape);
    memcpy(r.type.order, decl->order, sizeof r.type.order);
    const int32_t status = stored_value(g, &r, out, err);
    cvr_text_clear(&name);
    return status;
}

int32_t builder_param(const cvr_builder *b, const cvr_param_decl *decl, cvr_value *out, cvr_error *err) {
    cvr_graph *g = b->ctx;
    const uint32_t kind = decl->flags & CVR_PARAM_TRAINABLE ? CVR_STORE_PARAM : CVR_STORE_BUFFER;
    return declare(g, b->scope(b), decl, kind, out, err);
}

int32_t builder_slot(const cvr_builder *b, cvr_value param, const cvr_param_decl *decl, cvr_value *out,
                     cvr_error *err) {
    cvr_graph *g = b->ctx;
    if (param >= g->n_values || param == CVR_NONE || g->values[param]->kind != VALUE_STORED) {
        return cvr_fail(err, CVR_ERR_PLUGIN, "optimizer state `%s` is asked for something that is no parameter",
                        decl->name);
    }
    return declare(g, cvr_store_get(g->store, g->values[param]->store_index)->name, decl, CVR_STORE_SLOT, out, err);
}
