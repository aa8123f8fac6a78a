/*
 * Plugins on demand: manifests say who provides what, a name that is asked for loads its plugin, and what a plugin
 * registers takes effect as a whole or not at all.
 */
#define _GNU_SOURCE /* dladdr, secure_getenv */
#include "loader.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>

/* ---- the host table ---- */

static void host_log(const cvr_host *host, uint32_t level, const char *text) {
    (void)host;
    cvr_log(level, "%s", text);
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
    for (size_t i = 0; i < p->n_services; i++) {
        if (strcmp(p->services[i].name, service) == 0) return p->services[i].table;
    }
    return NULL;
}

const cvr_host *cvr_plugins_host(const cvr_plugins *p) {
    return &p->host;
}

void cvr_plugins_offer(cvr_plugins *p, const char *service, const void *table) {
    size_t i = 0;
    while (i < p->n_services && strcmp(p->services[i].name, service) != 0) i++;
    if (i == sizeof p->services / sizeof *p->services) return;
    p->services[i].name = service;
    p->services[i].table = table;
    if (i == p->n_services) p->n_services++;
}

void plugins_own(cvr_plugins *p, void *block) {
    p->owned[p->n_owned++] = block;
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

static int32_t read_defaults(cvr_plugins *p, cvr_error *err) {
    char *manifest = default_manifest();
    int32_t status =
        manifest ? manifest_read(p, manifest, err) : cvr_fail(err, CVR_ERR_IO, "cannot tell where libcvr.so lies, or out of memory");
    cvr_free(manifest);
    const char *more = secure_getenv("CVR_PLUGIN_PATH");
    while (status == CVR_OK && more && *more) {
        const size_t n = strcspn(more, ":");
        char *path = cvr_strndup(more, n);
        if (!path)
            status = cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        else if (n)
            status = read_path(p, path, err);
        cvr_free(path);
        more += n + (more[n] == ':');
    }
    return status;
}

int32_t cvr_plugins_open(cvr_plugins **out, const char *const *manifests, size_t n, cvr_error *err) {
    cvr_plugins *p = cvr_calloc(1, sizeof *p);
    if (!p) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    p->host = (cvr_host){sizeof p->host, p, host_log, host_alloc, host_free, host_get};
    registry staged = {0};
    const cvr_plugin self = {.magic = CVR_PLUGIN_MAGIC, .id = "core", .load = core_ops_load};
    int32_t status = plugin_load(&p->host, &self, &staged, err);
    if (status == CVR_OK) status = registry_commit(&p->registry, &staged, err);
    registry_clear(&staged);
    for (size_t i = 0; manifests && status == CVR_OK && i < n; i++) status = read_path(p, manifests[i], err);
    if (!manifests && status == CVR_OK) status = read_defaults(p, err);
    if (status != CVR_OK) cvr_plugins_close(&p);
    *out = p;
    return status;
}

static void free_candidate(candidate *c) {
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
    for (size_t i = p->n_loaded; i-- > 0;) {
        if (p->loaded[i]->shutdown) p->loaded[i]->shutdown();
    }
    registry_clear(&p->registry);
    for (size_t i = 0; i < p->n; i++) free_candidate(&p->candidates[i]);
    for (size_t i = 0; i < p->n_owned; i++) cvr_free(p->owned[i]);
    cvr_free(p->candidates);
    cvr_free(p->loaded);
    cvr_free(p->isa_limit);
    cvr_free(p->name_answer);
    cvr_free(p);
    *plugins = NULL;
}

/* ---- loading ---- */

static bool provided_by_anyone(const cvr_plugins *p, const char *token, size_t n) {
    for (size_t i = 0; i < p->n; i++) {
        if (has_token(p->candidates[i].provides.s, token, n)) return true;
    }
    const char *colon = memchr(token, ':', n);
    for (size_t i = 0; colon && i < p->registry.n; i++) {
        const registry_entry *e = &p->registry.entries[i];
        const size_t length = n - (size_t)(colon + 1 - token);
        if (kind_of_word(token, (size_t)(colon - token)) == e->kind && strlen(e->name) == length &&
            memcmp(e->name, colon + 1, length) == 0)
            return true;
    }
    return false;
}

static int32_t check_requires(const cvr_plugins *p, const char *list, cvr_error *err) {
    for (const char *t = list; t && *t;) {
        t += strspn(t, " ");
        const size_t n = strcspn(t, " ");
        if (n && !provided_by_anyone(p, t, n)) {
            return cvr_fail(err, CVR_ERR_PLUGIN, "needs %.*s, which no manifest provides; add the plugin that has it",
                            (int)n, t);
        }
        t += n;
    }
    return CVR_OK;
}

/* Looked up once: every plugin that is loaded is compared with all the others. */
static bool find_file(candidate *c) {
    struct stat st;
    if (!c->inode && stat(c->file, &st) == 0) {
        c->device = st.st_dev;
        c->inode = st.st_ino;
    }
    return c->inode != 0;
}

/* The file must lie inside the manifest's folder also after symbolic links are followed, and be no other plugin's. */
static int32_t check_place(const cvr_plugins *p, candidate *c, cvr_error *err) {
    char *real = realpath(c->file, NULL);
    if (!real || !find_file(c)) {
        free(real);
        return cvr_fail(err, CVR_ERR_PLUGIN, "the file is not there; build the plugin or take it out of the manifest");
    }
    const size_t n = strlen(c->root);
    const bool inside = strncmp(real, c->root, n) == 0 && (real[n] == '/' || n == 1);
    free(real);
    if (!inside)
        return cvr_fail(err, CVR_ERR_PLUGIN, "lies outside the manifest's folder %s; plugins must be inside it",
                        c->root);
    for (size_t i = 0; i < p->n; i++) {
        candidate *other = &p->candidates[i];
        if (other != c && find_file(other) && other->inode == c->inode && other->device == c->device) {
            return cvr_fail(err, CVR_ERR_PLUGIN, "is the same file as plugin `%s`; list it once", other->id);
        }
    }
    return CVR_OK;
}

/* What was registered and what the manifest says must be the same. */
static int32_t check_provides(const candidate *c, const registry *staged, cvr_error *err) {
    for (size_t i = 0; i < staged->n; i++) {
        char token[160];
        const int n =
            snprintf(token, sizeof token, "%s:%s", kind_word(staged->entries[i].kind), staged->entries[i].name);
        if (!has_token(c->provides.s, token, (size_t)n)) {
            return cvr_fail(err, CVR_ERR_PLUGIN,
                            "registers %s, which the manifest does not list; run cvr-manifest again", token);
        }
    }
    for (const char *t = c->provides.s; t && *t;) {
        t += strspn(t, " ");
        const size_t n = strcspn(t, " ");
        bool found = false;
        for (size_t i = 0; i < staged->n && !found; i++) {
            char token[160];
            const int length =
                snprintf(token, sizeof token, "%s:%s", kind_word(staged->entries[i].kind), staged->entries[i].name);
            found = (size_t)length == n && memcmp(token, t, n) == 0;
        }
        if (n && !found)
            return cvr_fail(err, CVR_ERR_PLUGIN,
                            "does not register %.*s, which the manifest promises; run cvr-manifest again", (int)n, t);
        t += n;
    }
    return CVR_OK;
}

/* Whether this machine has a CPU feature that may be used. */
static bool has_feature(const cvr_plugins *p, const char *name, size_t n) {
    char word[64];
    const char *missing;
    const int length = snprintf(word, sizeof word, "%.*s", (int)n, name);
    return length < (int)sizeof word && cvr_cpu_has(word, &missing) &&
           (!p->isa_limit || has_token(p->isa_limit, name, n));
}

/* Whether the machine has all features of `isa`, and none with a "!" before it. */
static bool isa_allowed(const cvr_plugins *p, const char *isa, const char **missing) {
    for (const char *t = isa ? isa : ""; *t;) {
        const size_t n = strcspn(t, " "), without = *t == '!';
        if (n && has_feature(p, t + without, n - without) == (without == 1)) {
            *missing = t;
            return false;
        }
        t += n + strspn(t + n, " ");
    }
    return true;
}

static int32_t isa_refused(const char *missing, cvr_error *err) {
    const int n = (int)strcspn(missing, " ");
    if (*missing == '!')
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "is for machines without the CPU feature %.*s", n - 1, missing + 1);
    return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                    "needs the CPU feature %.*s, which this machine lacks or backend.isa leaves out", n, missing);
}

static int32_t load_into(cvr_plugins *p, candidate *c, registry *staged, cvr_error *err) {
    const char *missing = NULL;
    int32_t status = check_place(p, c, err);
    if (status == CVR_OK) status = check_requires(p, c->requires_.s, err);
    if (status == CVR_OK && !isa_allowed(p, c->isa.s, &missing)) status = isa_refused(missing, err);
    if (status == CVR_OK) status = plugin_open(c->file, &c->plugin, err);
    if (status == CVR_OK && strcmp(c->plugin->id, c->id) != 0) {
        status = cvr_fail(err, CVR_ERR_PLUGIN, "calls itself `%s`, the manifest calls it `%s`; correct the manifest",
                          c->plugin->id, c->id);
    }
    if (status == CVR_OK) status = check_requires(p, c->plugin->requires_, err);
    if (status == CVR_OK) status = plugin_load(&p->host, c->plugin, staged, err);
    if (status == CVR_OK) status = check_provides(c, staged, err);
    if (status == CVR_OK) status = registry_commit(&p->registry, staged, err);
    return status;
}

/* Loads a candidate once; afterwards says the same as the first time. */
static int32_t load(cvr_plugins *p, candidate *c, cvr_error *err) {
    if (c->info.state == CVR_PLUGIN_LOADED) return CVR_OK;
    if (c->info.state == CVR_PLUGIN_REFUSED)
        return cvr_fail(err, CVR_ERR_PLUGIN, "plugin `%s` was refused: %s", c->id, c->reason.s);
    cvr_error local;
    cvr_error_init(&local);
    registry staged = {0};
    const cvr_plugin **more = cvr_grow(p->loaded, p->n_loaded, &p->loaded_capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    p->loaded = more;
    const int32_t status = load_into(p, c, &staged, &local);
    registry_clear(&staged);
    if (status != CVR_OK) {
        c->info.state = CVR_PLUGIN_REFUSED;
        cvr_text_add(&c->reason, "%s", local.message);
        cvr_fail(err, status, "plugin `%s` was refused: %s", c->id, local.message);
        return cvr_fail_at(err, c->file, 0, status);
    }
    c->info.state = CVR_PLUGIN_LOADED;
    char *version = cvr_strdup(c->plugin->version);
    if (version) {
        cvr_free(c->version);
        c->version = version;
    }
    p->loaded[p->n_loaded++] = c->plugin;
    cvr_log(CVR_LOG_DEBUG, "loaded plugin %s %s", c->id, c->version);
    return CVR_OK;
}

void cvr_plugins_load_all(cvr_plugins *p) {
    for (size_t i = 0; i < p->n; i++) (void)load(p, &p->candidates[i], NULL);
}

/* ---- looking up ---- */

static int32_t not_found(cvr_plugins *p, const char *kind, const char *name, cvr_error *err) {
    const char *names[512], *known;
    size_t n = 0;
    for (size_t i = 0; n < 512 && (known = cvr_plugins_name(p, kind, i)); i++) {
        char *copy = cvr_strdup(known);
        if (copy) names[n++] = copy;
    }
    const char *nearest = cvr_nearest(name, names, n);
    if (nearest)
        cvr_fail(err, CVR_ERR_NOTFOUND, "there is no %s `%s`; did you mean `%s`?", kind_word(kind), name, nearest);
    else
        cvr_fail(err, CVR_ERR_NOTFOUND, "there is no %s `%s`; `cvrun plugins` lists what there is", kind_word(kind),
                 name);
    for (size_t i = 0; i < n; i++) cvr_free((void *)(uintptr_t)names[i]);
    return CVR_ERR_NOTFOUND;
}

int32_t cvr_plugins_find(cvr_plugins *p, const char *kind, const char *name, const void **desc, cvr_error *err) {
    const registry_entry *e = registry_find(&p->registry, kind, name);
    if (!e) {
        char token[160];
        const int n = snprintf(token, sizeof token, "%s:%s", kind_word(kind), name);
        candidate *found = NULL;
        for (size_t i = 0; i < p->n; i++) {
            candidate *c = &p->candidates[i];
            if (!has_token(c->provides.s, token, (size_t)n)) continue;
            if (found) {
                return cvr_fail(err, CVR_ERR_PLUGIN,
                                "%s is provided by `%s` (%s) and by `%s` (%s); take one out of its manifest", token,
                                found->id, found->file, c->id, c->file);
            }
            found = c;
        }
        if (!found) return not_found(p, kind, name, err);
        const int32_t status = load(p, found, err);
        if (status != CVR_OK) return status;
        e = registry_find(&p->registry, kind, name);
    }
    *desc = e->desc;
    return CVR_OK;
}

/* Higher priority first; equal: by plugin id, so that load order never matters. The reference is everybody's last
 * resort. */
static bool goes_before(const registry_entry *a, const registry_entry *b) {
    const cvr_kernel_desc *ka = a->desc, *kb = b->desc;
    const bool ra = strcmp(ka->backend, "reference") == 0, rb = strcmp(kb->backend, "reference") == 0;
    if (ra != rb) return rb;
    return ka->priority != kb->priority ? ka->priority > kb->priority : strcmp(a->owner, b->owner) < 0;
}

/* True where `name`, BACKEND/OP, is for this op and this backend; NULL stands for any. */
static bool is_kernel_of(const char *name, size_t n, const char *backend, const char *op) {
    const char *slash = memchr(name, '/', n);
    if (!slash) return false;
    const size_t b = (size_t)(slash - name), rest = n - b - 1;
    if (backend && (strlen(backend) != b || memcmp(backend, name, b) != 0)) return false;
    return !op || (strlen(op) == rest && memcmp(op, slash + 1, rest) == 0);
}

static bool provides_kernel(const char *list, const char *backend, const char *op) {
    for (const char *t = list; t && *t;) {
        const size_t n = strcspn(t, " ");
        if (n > 7 && memcmp(t, "kernel:", 7) == 0 && is_kernel_of(t + 7, n - 7, backend, op)) return true;
        t += n + strspn(t + n, " ");
    }
    return false;
}

/* Loads whoever has kernels for this op; one that will not load is no reason to stop while others do. */
static void load_kernels(cvr_plugins *p, const char *backend, const char *op) {
    for (size_t i = 0; i < p->n; i++) {
        candidate *c = &p->candidates[i];
        if (c->info.state != CVR_PLUGIN_LISTED || !provides_kernel(c->provides.s, backend, op)) continue;
        cvr_error why;
        cvr_error_init(&why);
        const int32_t status = load(p, c, &why);
        if (status != CVR_OK && status != CVR_ERR_UNSUPPORTED) cvr_log(CVR_LOG_WARNING, "%s", why.message);
    }
}

int32_t cvr_plugins_kernels(cvr_plugins *p, const cvr_op_desc *op, const char *backend,
                            const cvr_kernel_desc *const **kernels, size_t *n, cvr_error *err) {
    *n = 0;
    const char *name = op ? op->name : NULL;
    load_kernels(p, backend, name);
    const registry_entry **found = cvr_calloc(p->registry.n + 1, sizeof *found);
    if (!found) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < p->registry.n; i++) {
        const registry_entry *e = &p->registry.entries[i];
        const cvr_kernel_desc *k = e->desc;
        const char *missing;
        if (strcmp(e->kind, CVR_KIND_KERNEL) != 0 || !is_kernel_of(e->name, strlen(e->name), backend, name)) continue;
        if (!backend && strcmp(k->payload_kind, CVR_PAYLOAD_CPU_FN) != 0) continue;
        if ((op && k->op_version != op->version) || !isa_allowed(p, k->isa, &missing)) continue;
        size_t at = (*n)++;
        for (; at > 0 && goes_before(e, found[at - 1]); at--) found[at] = found[at - 1];
        found[at] = e;
    }
    const cvr_kernel_desc **list = (const cvr_kernel_desc **)(void *)found;
    for (size_t i = 0; i < *n; i++) list[i] = found[i]->desc;
    *kernels = list;
    return CVR_OK;
}

int32_t cvr_plugins_fast_bf16(cvr_plugins *p, const cvr_backend_desc *backend, const cvr_kernel_desc **out,
                              cvr_error *err) {
    *out = NULL;
    for (uint32_t b = 0; b < backend->n_runs && !*out; b++) {
        const cvr_kernel_desc *const *kernels;
        size_t n;
        const int32_t status = cvr_plugins_kernels(p, NULL, backend->runs[b], &kernels, &n, err);
        if (status != CVR_OK) return status;
        for (size_t i = 0; i < n && !*out; i++) {
            if (kernels[i]->flags & CVR_KERNEL_FAST_BF16) *out = kernels[i];
        }
        cvr_free((void *)(uintptr_t)kernels);
    }
    return CVR_OK;
}

const char *cvr_plugins_name(cvr_plugins *p, const char *kind, size_t index) {
    const char *before = "", *word = kind_word(kind);
    char *best = NULL;
    for (size_t rank = 0; word && rank <= index; rank++) { /* the smallest name after the one before */
        char *next = NULL;
        for (size_t i = 0; i < p->n + p->registry.n; i++) {
            const char *list = i < p->n ? p->candidates[i].provides.s : NULL;
            const registry_entry *e = i < p->n ? NULL : &p->registry.entries[i - p->n];
            for (const char *t = list ? list : ""; list && *t;) {
                const size_t n = strcspn(t, " "), w = strlen(word);
                if (n > w && memcmp(t, word, w) == 0 && t[w] == ':') {
                    char *name = cvr_strndup(t + w + 1, n - w - 1);
                    if (name && strcmp(name, before) > 0 && (!next || strcmp(name, next) < 0)) {
                        cvr_free(next);
                        next = name;
                    } else {
                        cvr_free(name);
                    }
                }
                t += n + strspn(t + n, " ");
            }
            if (e && strcmp(e->kind, kind) == 0 && strcmp(e->name, before) > 0 &&
                (!next || strcmp(e->name, next) < 0)) {
                cvr_free(next);
                next = cvr_strdup(e->name);
            }
        }
        cvr_free(best);
        best = next;
        if (!best) break;
        before = best;
    }
    cvr_free(p->name_answer);
    p->name_answer = best;
    return best;
}

size_t cvr_plugins_count(const cvr_plugins *p) {
    return p->n;
}

const cvr_plugin_info *cvr_plugins_info(const cvr_plugins *p, size_t i) {
    candidate *c = &p->candidates[i];
    c->info.id = c->id;
    c->info.file = c->file;
    c->info.manifest = c->manifest;
    c->info.provides = c->provides.s ? c->provides.s : "";
    c->info.requires_ = c->requires_.s ? c->requires_.s : "";
    c->info.isa = c->isa.s ? c->isa.s : "";
    c->info.reason = c->reason.s ? c->reason.s : "";
    c->info.version = c->version;
    return &c->info;
}

void cvr_plugins_limit_isa(cvr_plugins *p, const char *isa) {
    cvr_free(p->isa_limit);
    p->isa_limit = isa ? cvr_strdup(isa) : NULL;
}

/* ---- describing a file, for cvr-manifest ---- */

/* `key = word word ...` lines that stay below what an INI reader takes. */
static void wrap_tokens(cvr_text *out, const char *key, const char *tokens) {
    size_t width = 0;
    for (const char *t = tokens; *t;) {
        const size_t n = strcspn(t, " ");
        if (width == 0 || width + n > 150) {
            cvr_text_add(out, "%s%s = ", width ? "\n" : "", key);
            width = strlen(key) + 3;
        } else {
            cvr_text_add(out, " ");
        }
        cvr_text_add_bytes(out, t, n);
        width += n + 1;
        t += n + strspn(t + n, " ");
    }
    if (width) cvr_text_add(out, "\n");
}

int32_t cvr_plugins_describe(const char *file, cvr_text *section, cvr_error *err) {
    const cvr_plugin *plugin;
    registry staged = {0};
    cvr_text provides = {0};
    const char *isa = NULL, *slash = strrchr(file, '/');
    cvr_plugins none = {.host = {sizeof none.host, &none, host_log, host_alloc, host_free, host_get}};
    int32_t status = plugin_open(file, &plugin, err);
    if (status == CVR_OK) status = plugin_load(&none.host, plugin, &staged, err);
    for (size_t i = 0; status == CVR_OK && i < staged.n; i++) {
        const registry_entry *e = &staged.entries[i];
        char token[160];
        const int n = snprintf(token, sizeof token, "%s:%s", kind_word(e->kind), e->name);
        if (!has_token(provides.s, token, (size_t)n)) cvr_text_add(&provides, "%s%s", provides.n ? " " : "", token);
        const char *own = strcmp(e->kind, CVR_KIND_KERNEL) == 0 ? ((const cvr_kernel_desc *)e->desc)->isa : "";
        if (!own) own = "";
        isa = isa && strcmp(isa, own) != 0 ? "" : own; /* a plugin needs what all of its kernels need */
    }
    if (status == CVR_OK) {
        cvr_text_add(section, "[%s]\nfile = %s\n", plugin->id, slash ? slash + 1 : file);
        if (provides.s) wrap_tokens(section, "provides", provides.s);
        wrap_tokens(section, "requires", plugin->requires_);
        if (isa && *isa) cvr_text_add(section, "isa = %s\n", isa);
        if (section->failed || provides.failed) status = cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        if (plugin->shutdown) plugin->shutdown();
    }
    cvr_text_clear(&provides);
    registry_clear(&staged);
    return status;
}
