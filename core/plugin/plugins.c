/*
 * Plugins on demand: manifests say who provides what, a name that is asked for loads its plugin (plugin_load.c), and
 * what a plugin registers takes effect as a whole or not at all. Here: the host's table, opening and closing.
 */
#define _GNU_SOURCE /* dladdr, secure_getenv */
#include "calls.h"
#include "loader.h"
#include <dlfcn.h>
#include <stdlib.h>

/* ---- the host table ---- */

static void host_log(const cvr_host *host, uint32_t level, const char *text) {
    char who[256] = "a plugin";
    (void)host;
    if (level <= CVR_LOG_DEBUG && text) {
        cvr_log(level, "%s", text);
        return;
    }
    (void)cvr_call_describe(who, sizeof who);
    cvr_log(CVR_LOG_WARNING, "%s logs %s%s with level %u (0 to %u are known)", who, text ? text : "no text",
            text ? "," : "", level, CVR_LOG_DEBUG);
}

static void *host_alloc(const cvr_host *host, uint64_t bytes, uint64_t align) {
    (void)host;
    return cvr_alloc_aligned(bytes, align);
}

static void host_free(const cvr_host *host, void *p) {
    (void)host;
    cvr_free(p);
}

static const void *host_get(const cvr_host *host, const char *service) {
    const cvr_plugins *p = host->ctx;
    for (size_t i = 0; service && i < p->n_services; i++) {
        if (strcmp(p->services[i].name, service) == 0) return p->services[i].table;
    }
    return NULL;
}

const cvr_host *cvr_plugins_host(const cvr_plugins *p) {
    return &p->host;
}

int32_t cvr_plugins_offer(cvr_plugins *p, const char *service, const void *table) {
    size_t i = 0;
    while (i < p->n_services && strcmp(p->services[i].name, service) != 0) i++;
    plugin_service *more = cvr_grow(p->services, i, &p->services_capacity, sizeof *more);
    if (!more) return CVR_ERR_NOMEM;
    p->services = more;
    more[i] = (plugin_service){service, table};
    if (i == p->n_services) p->n_services++;
    return CVR_OK;
}

int32_t plugins_own(cvr_plugins *p, void *block) {
    void **more = cvr_grow(p->owned, p->n_owned, &p->owned_capacity, sizeof *more);
    if (!more) return CVR_ERR_NOMEM;
    p->owned = more;
    more[p->n_owned++] = block;
    return CVR_OK;
}

void plugins_host_table(cvr_plugins *p) {
    p->host = (cvr_host){sizeof p->host, p, host_log, host_alloc, host_free, host_get};
}

/* ---- manifests ---- */

static char *default_manifest(void) {
    Dl_info where;
    if (!dladdr((void *)(uintptr_t)&cvr_plugins_open, &where) || !where.dli_fname) return NULL;
    char *real = realpath(where.dli_fname, NULL);
    char *folder = real ? cvr_fs_dirname(real) : NULL;
    char *manifest = folder ? cvr_fs_join(folder, "cvrun/plugins.ini") : NULL;
    free(real);
    cvr_free(folder);
    return manifest;
}

static int32_t read_path(cvr_plugins *p, const char *path, cvr_error *err) {
    if (!cvr_fs_is_folder(path)) return manifest_read(p, path, err);
    char *file = cvr_fs_join(path, "plugins.ini");
    if (!file) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = manifest_read(p, file, err);
    cvr_free(file);
    return status;
}

/* An entry of CVR_PLUGIN_PATH: what is wrong with it is said in its own words. */
static int32_t read_entry(cvr_plugins *p, const char *path, cvr_error *err) {
    const char *dot = strrchr(path, '.'), *what = NULL;
    char *file = cvr_fs_join(path, "plugins.ini");
    if (!file) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (!cvr_fs_exists(path))
        what = "is not there";
    else if (cvr_fs_is_folder(path) && !cvr_fs_exists(file))
        what = "has no plugins.ini; `cvr-manifest plugins.ini FILE.so ...` writes one, and so does cvr_add_plugin() of "
               "CMake";
    else if (dot && strcmp(dot, ".so") == 0)
        what = "is a plugin; name its folder, where a plugins.ini lists it";
    cvr_free(file);
    if (!what) return read_path(p, path, err);
    cvr_fail(err, CVR_ERR_PLUGIN, "this entry of CVR_PLUGIN_PATH %s", what);
    return cvr_fail_at(err, path, 0, CVR_ERR_PLUGIN);
}

static int32_t read_defaults(cvr_plugins *p, cvr_error *err) {
    char *manifest = default_manifest();
    int32_t status = manifest ? manifest_read(p, manifest, err)
                              : cvr_fail(err, CVR_ERR_IO, "cannot tell where libcvr.so lies, or out of memory");
    cvr_free(manifest);
    const size_t own = p->n;
    const char *more = secure_getenv("CVR_PLUGIN_PATH");
    while (status == CVR_OK && more && *more) {
        const size_t n = strcspn(more, ":");
        char *path = cvr_strndup(more, n);
        if (!path)
            status = cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        else if (n)
            status = read_entry(p, path, err);
        cvr_free(path);
        more += n + (more[n] == ':');
    }
    for (size_t i = own; i < p->n; i++) p->candidates[i].foreign = true;
    return status;
}

int32_t cvr_plugins_open(cvr_plugins **out, const char *const *manifests, size_t n, cvr_error *err) {
    cvr_plugins *p = cvr_calloc(1, sizeof *p);
    if (!p) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    plugins_host_table(p);
    calls_add_plugins(p);
    registry staged = {0};
    const cvr_plugin self = {.magic = CVR_PLUGIN_MAGIC, .id = "core", .load = core_ops_load};
    int32_t status;
    CVR_TRY_OUT(plugin_load(&p->host, &self, &staged, err));
    CVR_TRY_OUT(registry_commit(&p->registry, &staged, err));
    if (cvr_plugins_offer(p, CVR_SERVICE_LAUNCHES, &calls_launches) != CVR_OK)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    for (size_t i = 0; manifests && i < n; i++) CVR_TRY_OUT(read_path(p, manifests[i], err));
    if (!manifests) CVR_TRY_OUT(read_defaults(p, err));
out:
    registry_clear(&staged);
    if (status != CVR_OK) cvr_plugins_close(&p);
    *out = p;
    return status;
}

void candidate_free(plugin_candidate *c) {
    cvr_free(c->id);
    cvr_free(c->file);
    cvr_free(c->manifest);
    cvr_free(c->root);
    cvr_free(c->version);
    cvr_text_clear(&c->provides);
    cvr_text_clear(&c->requires_);
    cvr_text_clear(&c->isa);
    cvr_text_clear(&c->reason);
}

void cvr_plugins_close(cvr_plugins **plugins) {
    cvr_plugins *p = *plugins;
    if (!p) return;
    for (size_t i = p->n_loaded; i-- > 0;) plugin_shut(p->loaded[i]);
    calls_remove_plugins(p);
    lookup_clear(p);
    registry_clear(&p->registry);
    for (size_t i = 0; i < p->n; i++) candidate_free(&p->candidates[i]);
    for (size_t i = 0; i < p->n_owned; i++) cvr_free(p->owned[i]);
    cvr_free(p->candidates);
    cvr_free(p->loaded);
    cvr_free(p->isa_limit);
    cvr_free(p->services);
    cvr_free(p->owned);
    cvr_free(p);
    *plugins = NULL;
}

/* ---- what there is ---- */

size_t cvr_plugins_count(const cvr_plugins *p) {
    return p->n;
}

const cvr_plugin_info *cvr_plugins_info(const cvr_plugins *p, size_t i) {
    plugin_candidate *c = &p->candidates[i];
    c->info.id = c->id;
    c->info.file = c->file;
    c->info.manifest = c->manifest;
    c->info.provides = c->provides.s ? c->provides.s : "";
    c->info.requires_ = c->requires_.s ? c->requires_.s : "";
    c->info.isa = c->isa.s ? c->isa.s : "";
    c->info.reason = c->reason.s ? c->reason.s : "";
    c->info.version = c->version;
    c->info.foreign = c->foreign;
    return &c->info;
}

void cvr_plugins_limit_isa(cvr_plugins *p, const char *isa) {
    cvr_free(p->isa_limit);
    p->isa_limit = isa ? cvr_strdup(isa) : NULL;
    p->isa_changes++;
}
