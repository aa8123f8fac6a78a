/* "cvr.host.state/1": bytes that plugins keep by name, which checkpoints have. */
#include "session_parts.h"

static bool is_name(const char *s) {
    const size_t n = strlen(s);
    for (size_t i = 0; i < n; i++)
        if (s[i] <= ' ' || s[i] > '~') return false;
    return n > 0 && n <= 96;
}

static plugin_blob *find_blob(const plugin_state *s, const char *name) {
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->blobs[i].name, name) == 0) return &s->blobs[i];
    return NULL;
}

static void forget(plugin_state *s, plugin_blob *b) {
    if (!b) return;
    cvr_free(b->name);
    cvr_free(b->bytes);
    memmove(b, b + 1, (size_t)(s->blobs + s->n - (b + 1)) * sizeof *b);
    s->n--;
}

int32_t plugin_state_put(plugin_state *s, const char *name, const void *bytes, uint64_t n, cvr_error *err) {
    if (!name || !is_name(name))
        return cvr_fail(err, CVR_ERR_PLUGIN, "state of a plugin needs a name of 1 to 96 printable characters");
    plugin_blob *b = find_blob(s, name);
    if (n > CVR_STATE_BYTES || (!b && s->n == CVR_STATE_NAMES))
        return cvr_fail(err, CVR_ERR_PLUGIN, "state `%s`: %llu bytes, after %zu others; %u of at most %u bytes fit",
                        name, (unsigned long long)n, s->n, CVR_STATE_NAMES, CVR_STATE_BYTES);
    if (n == 0) {
        forget(s, b);
        return CVR_OK;
    }
    void *copy = cvr_alloc_aligned(n, 8);
    plugin_blob *more = b ? s->blobs : cvr_grow(s->blobs, s->n, &s->capacity, sizeof *more);
    if (more) s->blobs = more;
    char *own = b ? b->name : cvr_strdup(name);
    if (!copy || !more || !own) {
        cvr_free(copy);
        if (!b) cvr_free(own);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    memcpy(copy, bytes, n);
    if (b) cvr_free(b->bytes);
    plugin_blob *to = b ? b : &more[s->n++];
    *to = (plugin_blob){own, copy, n};
    return CVR_OK;
}

static int32_t service_put(const cvr_state_service *service, const char *name, const void *bytes, uint64_t n,
                           cvr_error *err) {
    return plugin_state_put(service->ctx, name, bytes, n, err);
}

const void *plugin_state_get(const plugin_state *s, const char *name, uint64_t *n) {
    const plugin_blob *b = find_blob(s, name);
    if (n) *n = b ? b->n : 0;
    return b ? b->bytes : NULL;
}

static const void *service_get(const cvr_state_service *service, const char *name, uint64_t *n) {
    return plugin_state_get(service->ctx, name, n);
}

void plugin_state_open(plugin_state *s) {
    s->service = (cvr_state_service){sizeof s->service, s, service_put, service_get};
}

void plugin_state_clear(plugin_state *s) {
    for (size_t i = 0; i < s->n; i++) {
        cvr_free(s->blobs[i].name);
        cvr_free(s->blobs[i].bytes);
    }
    cvr_free(s->blobs);
    s->blobs = NULL;
    s->n = s->capacity = 0;
}
