/* Loads a plugin that a manifest lists, after everything that can be told without its code has been checked. */
#include "loader.h"
#include <stdlib.h>
#include <sys/stat.h>

static bool provided_by_anyone(const cvr_plugins *p, const char *token, size_t n) {
    for (size_t i = 0; i < p->n; i++) {
        if (cvr_has_word(p->candidates[i].provides.s, token, n)) return true;
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
static bool find_file(plugin_candidate *c) {
    struct stat st;
    if (!c->inode && stat(c->file, &st) == 0) {
        c->device = st.st_dev;
        c->inode = st.st_ino;
    }
    return c->inode != 0;
}

/* The file must lie inside the manifest's folder also after symbolic links are followed, and be no other plugin's. */
static int32_t check_place(const cvr_plugins *p, plugin_candidate *c, cvr_error *err) {
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
        plugin_candidate *other = &p->candidates[i];
        if (other != c && find_file(other) && other->inode == c->inode && other->device == c->device) {
            return cvr_fail(err, CVR_ERR_PLUGIN, "is the same file as plugin `%s`; list it once", other->id);
        }
    }
    return CVR_OK;
}

/* What was registered and what the manifest says must be the same. */
static int32_t check_provides(const plugin_candidate *c, const registry *staged, cvr_error *err) {
    for (size_t i = 0; i < staged->n; i++) {
        char token[TOKEN_SIZE];
        const int n =
            snprintf(token, sizeof token, "%s:%s", kind_word(staged->entries[i].kind), staged->entries[i].name);
        if (n < 0 || n >= TOKEN_SIZE || !cvr_has_word(c->provides.s, token, (size_t)n)) {
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
           (!p->isa_limit || cvr_has_word(p->isa_limit, name, n));
}

/* Whether the machine has all features of `isa`, and none with a "!" before it. */
bool isa_allowed(const cvr_plugins *p, const char *isa, const char **missing) {
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

static int32_t load_into(cvr_plugins *p, plugin_candidate *c, registry *staged, cvr_error *err) {
    const char *missing = NULL;
    CVR_TRY(check_place(p, c, err));
    CVR_TRY(check_requires(p, c->requires_.s, err));
    if (!isa_allowed(p, c->isa.s, &missing)) return isa_refused(missing, err);
    CVR_TRY(plugin_open(c->file, &c->plugin, err));
    if (strcmp(c->plugin->id, c->id) != 0)
        return cvr_fail(err, CVR_ERR_PLUGIN, "calls itself `%s`, the manifest calls it `%s`; correct the manifest",
                        c->plugin->id, c->id);
    CVR_TRY(check_requires(p, c->plugin->requires_, err));
    CVR_TRY(plugin_load(&p->host, c->plugin, staged, err));
    CVR_TRY(check_provides(c, staged, err));
    for (size_t i = 0; i < staged->n; i++) staged->entries[i].foreign = c->foreign;
    return registry_commit(&p->registry, staged, err);
}

/* Loads a candidate once; afterwards says the same as the first time. */
int32_t candidate_load(cvr_plugins *p, plugin_candidate *c, cvr_error *err) {
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
    for (size_t i = 0; i < p->n; i++) (void)candidate_load(p, &p->candidates[i], NULL);
}
