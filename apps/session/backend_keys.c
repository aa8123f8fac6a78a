/* Keys of [backend] that a backend has of its own: they begin with its name, "far_max_block". */
#include "run_settings.h"

/* Whether the recipe or the command line sets one of them. */
static bool any_given(const settings *s, const cvr_backend_desc *b) {
    bool any = false;
    for (uint32_t i = 0; i < b->n_attrs; i++) any = any || cvr_config_given(s->config, "backend", b->attrs[i]->name);
    return any;
}

int32_t backend_keys_of(settings *s, const cvr_backend_desc *b, const void **attrs, cvr_error *err) {
    const cvr_schema schema = {b->attrs, b->n_attrs};
    for (size_t i = 0; i < s->n_backends; i++) {
        *attrs = s->backends[i].attrs;
        if (strcmp(s->backends[i].name, b->name) == 0) return CVR_OK;
    }
    backend_own *more = cvr_grow(s->backends, s->n_backends, &s->backends_capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    s->backends = more;
    CVR_TRY(cvr_config_bind(s->config, "backend", &schema, attrs, err));
    more[s->n_backends++] = (backend_own){b->name, *attrs};
    return CVR_OK;
}

/* Those of the backend that is named, and of others that are given for a swap. One that does not load has none. */
int32_t backend_keys_bind(settings *s, cvr_plugins *p, cvr_error *err) {
    const char *name;
    for (size_t i = 0; (name = cvr_plugins_name(p, CVR_KIND_BACKEND, i)); i++) {
        const void *desc, *attrs;
        char own[97];
        (void)snprintf(own, sizeof own, "%s", name); /* the list of names grows with what is loaded */
        const int32_t status = cvr_plugins_find(p, CVR_KIND_BACKEND, own, &desc, NULL);
        if (status == CVR_ERR_NOMEM) return cvr_fail(err, status, "out of memory");
        if (status != CVR_OK || (strcmp(own, s->backend->name) != 0 && !any_given(s, desc))) continue;
        CVR_TRY(backend_keys_of(s, desc, &attrs, err));
    }
    return CVR_OK;
}
