/* The builder's parameters, buffers and optimizer state: named after the layer that declares them, kept by the store.
 */
#include "ir.h"
#include <math.h>

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
    r->network_trains = g->network_trains;
    CVR_TRY_OUT(check_type(&r->type, r->name, err));
    CVR_TRY_OUT(store_declare(g->store, r, &index, err));
    CVR_TRY_OUT(graph_stored(g, index, out, err));
out:
    cvr_text_clear(&full);
    return status;
}

/* The first field of a way to start that makes no sense, or NULL. */
static const char *bad_init(const cvr_init *i) {
    if (!i) return "init";
    if (i->struct_size < sizeof *i) return "init->struct_size";
    if (i->kind < CVR_INIT_CONSTANT || i->kind > CVR_INIT_XAVIER) return "init->kind";
    if (!isfinite(i->a)) return "init->a";
    const bool spread = i->kind == CVR_INIT_NORMAL || i->kind == CVR_INIT_TRUNC_NORMAL;
    if (!isfinite(i->b) || (spread && i->b < 0) || (i->kind == CVR_INIT_UNIFORM && i->b < i->a)) return "init->b";
    return i->kind >= CVR_INIT_KAIMING && i->a < 0 ? "init->a" : NULL;
}

static const char *bad_field(const cvr_param_decl *d) {
    const uint32_t flags = CVR_PARAM_TRAINABLE | CVR_PARAM_NORM | CVR_PARAM_BIAS | CVR_PARAM_CONSTANT | CVR_PARAM_STATE;
    const uint32_t kind = d->flags & (CVR_PARAM_TRAINABLE | CVR_PARAM_CONSTANT | CVR_PARAM_STATE);
    if (!d->name || !*d->name || strlen(d->name) > 200) return "name";
    if (!cvr_dtype_size(d->dtype) || ((d->flags & CVR_PARAM_TRAINABLE) && d->dtype != CVR_F32)) return "dtype";
    if (d->rank > CVR_MAX_RANK) return "rank";
    for (uint32_t i = 0; i < d->rank; i++)
        if (d->shape[i] < 1) return "shape";
    if ((d->flags & ~flags) || (kind & (kind - 1))) return "flags"; /* at most one of the three */
    if (d->reserved) return "reserved";
    return d->values && !d->init ? NULL : bad_init(d->init);
}

static int32_t declare_as(cvr_graph *g, const char *prefix, const cvr_param_decl *decl, uint32_t role, int64_t of,
                          cvr_value *out, cvr_error *err) {
    const char *bad = bad_field(decl);
    if (bad)
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "parameter `%.60s`: `%s` of its cvr_param_decl is missing or makes no sense",
                        decl->name ? decl->name : "", bad);
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

static int32_t check_form(const cvr_param_decl *decl, const cvr_value *out, cvr_error *err) {
    if (decl && decl->struct_size >= sizeof *decl && out) return CVR_OK;
    return cvr_fail(err, CVR_ERR_PLUGIN,
                    "a parameter: `struct_size` of its cvr_param_decl makes no sense, or it has no `out`");
}

static int32_t add_param(cvr_graph *g, const cvr_param_decl *decl, cvr_value *out, cvr_error *err) {
    CVR_TRY(check_form(decl, out, err));
    uint32_t role = decl->flags & CVR_PARAM_TRAINABLE ? CVR_STORE_TRAINED : CVR_STORE_BUFFER;
    if (decl->flags & CVR_PARAM_CONSTANT) role = CVR_STORE_CONSTANT;
    if (decl->flags & CVR_PARAM_STATE) role = CVR_STORE_OPTIMIZER;
    if (g->network && !g->network_trains && role == CVR_STORE_TRAINED) role = CVR_STORE_FROZEN;
    CVR_TRY(declare_as(g, g->builder.scope(&g->builder), decl, role, -1, out, err));
    g->values[*out]->layer = g->frame ? g->frame->layer : NULL;
    if (!g->averages || role > CVR_STORE_BUFFER || g->network) return CVR_OK;
    const size_t index = g->values[*out]->store_index;
    if (cvr_store_get(g->store, index)->role == CVR_STORE_FROZEN) return CVR_OK; /* its mean is itself */
    return graph_companion(g, index, "average", CVR_STORE_AVERAGE, out, err);
}

int32_t builder_param(const cvr_builder *b, const cvr_param_decl *decl, cvr_value *out, cvr_error *err) {
    cvr_error own;
    if (!err) cvr_error_init(err = &own);
    return graph_noted(b->ctx, add_param(b->ctx, decl, out, err), err);
}

static int32_t add_slot(cvr_graph *g, cvr_value param, const cvr_param_decl *decl, cvr_value *out, cvr_error *err) {
    CVR_TRY(check_form(decl, out, err));
    if (param >= g->n_values || param == CVR_NONE || g->values[param]->kind != VALUE_STORED)
        return cvr_fail(err, CVR_ERR_PLUGIN, "optimizer state `%s` is asked for something that is no parameter",
                        decl->name ? decl->name : "");
    const size_t of = g->values[param]->store_index;
    return declare_as(g, cvr_store_get(g->store, of)->name, decl, CVR_STORE_OPTIMIZER, (int64_t)of, out, err);
}

int32_t builder_slot(const cvr_builder *b, cvr_value param, const cvr_param_decl *decl, cvr_value *out,
                     cvr_error *err) {
    cvr_error own;
    if (!err) cvr_error_init(err = &own);
    return graph_noted(b->ctx, add_slot(b->ctx, param, decl, out, err), err);
}
