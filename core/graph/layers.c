/* The builder's layers and parameters: layers name what they make after their place, "layer1.0.conv1.weight". */
#include "ir.h"
#include <math.h>

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
    g->overrides_used = cvr_calloc(n + 1, sizeof *g->overrides_used);
    if (!g->overrides_used) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    g->overrides = lines;
    g->n_overrides = n;
    return CVR_OK;
}

static int32_t blame_override(const cvr_setting *s, int32_t status, cvr_error *err) {
    return s->file ? cvr_fail_at(err, s->file, s->line, status) : status;
}

/* Nobody's layer: the names of those that there are stand on their nodes. */
static int32_t unknown_layer(const cvr_graph *g, const cvr_setting *s, cvr_error *err) {
    const char **names = cvr_calloc(g->n_nodes + 1, sizeof *names);
    size_t n = 0;
    if (!names) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < g->n_nodes; i++)
        if (n == 0 || strcmp(names[n - 1], g->nodes[i]->scope) != 0) names[n++] = g->nodes[i]->scope;
    const char *nearest = cvr_nearest(s->key, names, n);
    cvr_fail(err, CVR_ERR_USAGE, "the network has no layer `%s`; %s%s%s", s->key,
             nearest ? "did you mean `" : "`cvrun info` lists them", nearest ? nearest : "", nearest ? "`?" : "");
    cvr_free(names);
    return blame_override(s, CVR_ERR_USAGE, err);
}

int32_t cvr_graph_overrides_used(const cvr_graph *g, cvr_error *err) {
    for (size_t i = 0; i < g->n_overrides; i++)
        if (!g->overrides_used[i]) return unknown_layer(g, g->overrides[i], err);
    return CVR_OK;
}

/* The layer's settings, packed: the model's, then what overrides them, as the last one given wins. */
static int32_t pack_settings(cvr_graph *g, const cvr_layer_desc *layer, const char *settings, void **attrs,
                             cvr_error *err) {
    const cvr_schema schema = {layer->attrs, layer->n_attrs};
    const cvr_setting *own = NULL;
    cvr_text all = {0};
    int32_t status;
    for (size_t i = 0; i < g->n_overrides && !own; i++) {
        if (strcmp(g->overrides[i]->key, g->scope.s) != 0) continue;
        own = g->overrides[i];
        g->overrides_used[i] = true;
    }
    for (const char *t = own ? own->value : ""; *t; t += strspn(t, " \t")) {
        const size_t n = strcspn(t, " \t");
        if (n && !memchr(t, '=', n))
            CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE, "`%.*s` is not key=value, such as out_channels=48", (int)n, t));
        t += n;
    }
    cvr_text_add(&all, "%s %s", settings ? settings : "", own ? own->value : "");
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

static int32_t build_layer(cvr_graph *g, const cvr_layer_desc *layer, const cvr_layer_call *call, cvr_error *err) {
    cvr_value outputs[CVR_MAX_IO] = {CVR_NONE};
    void *attrs = NULL;
    CVR_TRY(check_call(g, layer, call, err));
    CVR_TRY(pack_settings(g, layer, call->settings, &attrs, err));
    const int32_t status = layer->build(&g->builder, attrs, call->inputs, call->n_inputs, outputs, err);
    cvr_free(attrs);
    if (status != CVR_OK) return status;
    for (g->n_built = 0; g->n_built < layer->n_outputs && outputs[g->n_built];) g->n_built++;
    for (uint32_t i = 0; i < call->n_outputs; i++) {
        if (i >= g->n_built || outputs[i] >= g->n_values)
            return cvr_fail(err, CVR_ERR_USAGE, "%u outputs wanted; it made %u", call->n_outputs, g->n_built);
        call->outputs[i] = outputs[i];
    }
    return CVR_OK;
}

int32_t builder_layer(const cvr_builder *b, const cvr_layer_call *call, cvr_error *err) {
    cvr_graph *g = b->ctx;
    const void *layer;
    const size_t before = g->scope.n;
    const uint32_t training = g->builder.training;
    if (g->depth == DEEPEST_LAYER)
        return cvr_fail(err, CVR_ERR_PLUGIN, "layer %s: more than %u layers within each other", call->name,
                        DEEPEST_LAYER);
    CVR_TRY(cvr_plugins_find(g->plugins, CVR_KIND_LAYER, call->layer, &layer, err));
    cvr_text_add(&g->scope, "%s%s", before ? "." : "", call->name);
    if (g->scope.failed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const layer_frame frame = {call, g->scope.n, g->frame};
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

/* ---- stored values ---- */

/* What the callers of the layers that are being built say about this parameter; the innermost wins. */
static const cvr_init *init_of(const cvr_graph *g, const char *full) {
    for (const layer_frame *f = g->frame; f; f = f->outer)
        for (uint64_t i = 0; i < f->call->n_inits; i++)
            if (strcmp(full + f->scope + 1, f->call->inits[i]->name) == 0) return f->call->inits[i]->init;
    return NULL;
}

/* A way to start that depends on the shape, as numbers. */
static void settle_init(cvr_init *init, const cvr_type *t) {
    double kernel = 1;
    for (uint32_t i = 2; i < t->rank; i++) kernel *= (double)t->shape[i];
    const double fan_in = (t->rank > 1 ? (double)t->shape[1] : 1) * kernel,
                 fan_out = (t->rank ? (double)t->shape[0] : 1) * kernel;
    if (init->kind == CVR_INIT_KAIMING) {
        init->kind = CVR_INIT_NORMAL;
        init->b = sqrt(init->a / fan_out);
        init->a = 0;
    } else if (init->kind == CVR_INIT_XAVIER) {
        init->kind = CVR_INIT_UNIFORM;
        init->b = sqrt(init->a / (fan_in + fan_out));
        init->a = -init->b;
    }
}

int32_t graph_stored(cvr_graph *g, size_t index, cvr_value *out, cvr_error *err) {
    while (g->n_by_entry <= index) {
        cvr_value *more = cvr_grow(g->by_entry, g->n_by_entry, &g->by_entry_capacity, sizeof *more);
        if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        g->by_entry = more;
        more[g->n_by_entry++] = CVR_NONE;
    }
    *out = g->by_entry[index];
    if (*out) return CVR_OK;
    const cvr_store_entry *e = cvr_store_get(g->store, index);
    CVR_TRY(graph_add_value(g, &e->type, VALUE_STORED, out, err));
    g->by_entry[index] = *out;
    g->values[*out]->store_index = index;
    g->values[*out]->needs_gradient = g->training && e->role == CVR_STORE_TRAINED;
    return CVR_OK;
}

static int32_t declare(cvr_graph *g, store_request *r, const char *prefix, const char *name, cvr_value *out,
                       cvr_error *err) {
    cvr_text full = {0};
    size_t index;
    cvr_text_add(&full, "%s%s%s", prefix, *prefix ? "." : "", name);
    int32_t status;
    if (full.failed) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    r->name = full.s;
    const cvr_init *given = r->of < 0 ? init_of(g, full.s) : NULL;
    if (given) r->init = *given;
    settle_init(&r->init, &r->type);
    r->network = g->network ? g->network : "";
    CVR_TRY_OUT(check_type(&r->type, r->name, err));
    CVR_TRY_OUT(store_declare(g->store, r, &index, err));
    CVR_TRY_OUT(graph_stored(g, index, out, err));
out:
    cvr_text_clear(&full);
    return status;
}

static int32_t declare_as(cvr_graph *g, const char *prefix, const cvr_param_decl *decl, uint32_t role, int64_t of,
                          cvr_value *out, cvr_error *err) {
    if (!decl->name || (!decl->init && !decl->values) || decl->rank > CVR_MAX_RANK)
        return cvr_fail(err, CVR_ERR_PLUGIN, "a parameter without name, shape or init");
    store_request r = {.role = role, .flags = decl->flags, .of = of, .values = decl->values};
    if (decl->init) r.init = *decl->init;
    cvr_type_set(&r.type, decl->dtype, decl->rank, decl->shape);
    memcpy(r.type.order, decl->order, sizeof r.type.order);
    return declare(g, &r, prefix, decl->name, out, err);
}

int32_t graph_companion(cvr_graph *g, size_t of, const char *name, uint32_t role, cvr_value *out, cvr_error *err) {
    const cvr_store_entry *e = cvr_store_get(g->store, of);
    store_request r = {.type = e->type,
                       .role = role,
                       .of = (int64_t)of,
                       .init = {.struct_size = sizeof r.init, .kind = CVR_INIT_CONSTANT}};
    return declare(g, &r, e->name, name, out, err);
}

int32_t builder_param(const cvr_builder *b, const cvr_param_decl *decl, cvr_value *out, cvr_error *err) {
    cvr_graph *g = b->ctx;
    uint32_t role = decl->flags & CVR_PARAM_TRAINABLE ? CVR_STORE_TRAINED : CVR_STORE_BUFFER;
    if (decl->flags & CVR_PARAM_CONSTANT) role = CVR_STORE_CONSTANT;
    if (g->network && role == CVR_STORE_TRAINED) role = CVR_STORE_FROZEN;
    CVR_TRY(declare_as(g, b->scope(b), decl, role, -1, out, err));
    if (!g->averages || role > CVR_STORE_BUFFER || g->network) return CVR_OK;
    const size_t index = g->values[*out]->store_index;
    if (cvr_store_get(g->store, index)->role == CVR_STORE_FROZEN) return CVR_OK; /* its mean is itself */
    return graph_companion(g, index, "average", CVR_STORE_AVERAGE, out, err);
}

int32_t builder_slot(const cvr_builder *b, cvr_value param, const cvr_param_decl *decl, cvr_value *out,
                     cvr_error *err) {
    cvr_graph *g = b->ctx;
    if (param >= g->n_values || param == CVR_NONE || g->values[param]->kind != VALUE_STORED) {
        return cvr_fail(err, CVR_ERR_PLUGIN, "optimizer state `%s` is asked for something that is no parameter",
                        decl->name);
    }
    const size_t of = g->values[param]->store_index;
    return declare_as(g, cvr_store_get(g->store, of)->name, decl, CVR_STORE_OPTIMIZER, (int64_t)of, out, err);
}
