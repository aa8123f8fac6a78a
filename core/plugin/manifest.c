/*
 * Manifests: strict, versioned INI. [manifest] has the version; every other section is a plugin with `file`,
 * `provides`, `requires` and `isa`. provides and requires may stand on several lines. Paths are relative to the
 * manifest and stay inside its folder, and neither the file nor its folder may be writable by others.
 */
#include "loader.h"
#include <cvr/config.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

typedef struct manifest_state {
    cvr_plugins *p;
    const char *path;
    char *root;
    bool has_version;
    size_t first; /* candidate of this manifest */
} manifest_state;

static plugin_candidate *current(manifest_state *s, const char *id) {
    for (size_t i = s->first; i < s->p->n; i++) {
        if (strcmp(s->p->candidates[i].id, id) == 0) return &s->p->candidates[i];
    }
    return NULL;
}

static int32_t add_candidate(manifest_state *s, const char *id, uint32_t line, plugin_candidate **out, cvr_error *err) {
    for (size_t i = 0; i < s->p->n; i++) {
        if (strcmp(s->p->candidates[i].id, id) != 0) continue;
        return cvr_fail(err, CVR_ERR_PLUGIN, "plugin `%s` is listed twice (also in %s:%u); remove one", id,
                        s->p->candidates[i].manifest, s->p->candidates[i].info.line);
    }
    plugin_candidate *more = cvr_grow(s->p->candidates, s->p->n, &s->p->capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    s->p->candidates = more;
    plugin_candidate *c = &more[s->p->n++];
    memset(c, 0, sizeof *c);
    c->id = cvr_strdup(id);
    c->manifest = cvr_strdup(s->path);
    c->root = cvr_strdup(s->root);
    c->version = cvr_strdup("");
    c->info.line = line;
    *out = c;
    return c->id && c->manifest && c->root && c->version ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

/* Every token must be KIND:NAME. */
static int32_t add_tokens(cvr_text *list, const char *value, cvr_error *err) {
    for (const char *p = value; *p;) {
        p += strspn(p, " ");
        const size_t n = strcspn(p, " ");
        if (n == 0) break;
        const char *colon = memchr(p, ':', n);
        if (n >= TOKEN_SIZE)
            return cvr_fail(err, CVR_ERR_PLUGIN, "`%.40s...` is too long; at most %d bytes", p, TOKEN_SIZE - 1);
        if (!colon || !kind_of_word(p, (size_t)(colon - p)) || colon + 1 == p + n) {
            return cvr_fail(err, CVR_ERR_PLUGIN, "`%.*s` is not KIND:NAME, such as layer:conv2d", (int)n, p);
        }
        if (cvr_has_word(list->s, p, n)) return cvr_fail(err, CVR_ERR_PLUGIN, "`%.*s` is listed twice", (int)n, p);
        cvr_text_add(list, "%s%.*s", list->n ? " " : "", (int)n, p);
        p += n;
    }
    return list->failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory") : CVR_OK;
}

static int32_t set_file(plugin_candidate *c, const char *value, cvr_error *err) {
    if (c->file) return cvr_fail(err, CVR_ERR_PLUGIN, "plugin `%s` has two files; keep one", c->id);
    if (!*value || value[0] == '/') {
        return cvr_fail(err, CVR_ERR_PLUGIN, "file = %s: must be a path relative to this manifest, inside its folder",
                        value);
    }
    c->file = cvr_fs_join(c->root, value);
    return c->file ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static int32_t on_manifest_line(void *ctx, const char *section, const char *key, const char *value, uint32_t line,
                                cvr_error *err) {
    manifest_state *s = ctx;
    if (strcmp(section, "manifest") == 0) {
        if (strcmp(key, "version") != 0)
            return cvr_fail(err, CVR_ERR_PLUGIN, "unknown key `%s`; [manifest] has `version`", key);
        if (strcmp(value, "1") != 0)
            return cvr_fail(err, CVR_ERR_PLUGIN, "manifest version %s; this core reads version 1", value);
        s->has_version = true;
        return CVR_OK;
    }
    if (!s->has_version) return cvr_fail(err, CVR_ERR_PLUGIN, "a manifest starts with [manifest] and `version = 1`");
    plugin_candidate *c = current(s, section);
    if (!c) CVR_TRY(add_candidate(s, section, line, &c, err));
    if (strcmp(key, "file") == 0) return set_file(c, value, err);
    if (strcmp(key, "provides") == 0) return add_tokens(&c->provides, value, err);
    if (strcmp(key, "requires") == 0) return add_tokens(&c->requires_, value, err);
    if (strcmp(key, "isa") == 0) {
        cvr_text_clear(&c->isa);
        cvr_text_add(&c->isa, "%s", value);
        return CVR_OK;
    }
    return cvr_fail(err, CVR_ERR_PLUGIN, "unknown key `%s`; a plugin has file, provides, requires and isa", key);
}

/* realpath that reports; free with cvr_free. */
static int32_t real_path(const char *path, char **out, cvr_error *err) {
    char *real = realpath(path, NULL);
    if (!real) {
        cvr_fail(err, CVR_ERR_IO, "%s", strerror(errno));
        return cvr_fail_at(err, path, 0, CVR_ERR_IO);
    }
    *out = cvr_strdup(real);
    free(real);
    return *out ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static int32_t check_writable(const char *path, cvr_error *err) {
    struct stat st;
    if (stat(path, &st) != 0) return cvr_fail(err, CVR_ERR_IO, "%s: %s", path, strerror(errno));
    if (st.st_mode & S_IWOTH) {
        cvr_fail(err, CVR_ERR_PLUGIN, "anyone may write here, so anyone could put code in; run chmod o-w on it");
        return cvr_fail_at(err, path, 0, CVR_ERR_PLUGIN);
    }
    return CVR_OK;
}

int32_t manifest_read(cvr_plugins *p, const char *path, cvr_error *err) {
    manifest_state s = {.p = p, .first = p->n};
    char *real = NULL;
    int32_t status;
    CVR_TRY_OUT(real_path(path, &real, err));
    s.path = real;
    s.root = cvr_fs_dirname(real);
    if (!s.root) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    CVR_TRY_OUT(check_writable(real, err));
    CVR_TRY_OUT(check_writable(s.root, err));
    CVR_TRY_OUT(cvr_ini_read(real, on_manifest_line, &s, err));
    for (size_t i = s.first; i < p->n; i++) {
        if (p->candidates[i].file) continue;
        cvr_fail(err, CVR_ERR_PLUGIN, "plugin `%s` has no `file`", p->candidates[i].id);
        CVR_TRY_OUT(cvr_fail_at(err, real, p->candidates[i].info.line, CVR_ERR_PLUGIN));
    }
    if (!s.has_version) {
        cvr_fail(err, CVR_ERR_PLUGIN, "a manifest starts with [manifest] and `version = 1`");
        CVR_TRY_OUT(cvr_fail_at(err, real, 0, CVR_ERR_PLUGIN));
    }
out:
    if (status == CVR_ERR_USAGE) status = cvr_fail_as(err, CVR_ERR_PLUGIN); /* a manifest is no setting of the user's */
    cvr_free(s.root);
    cvr_free(real);
    return status;
}

static bool is_listed(const cvr_plugins *p, const char *id, const char *real) {
    for (size_t i = 0; i < p->n; i++) {
        const plugin_candidate *c = &p->candidates[i];
        char *other = strcmp(c->id, id) == 0 ? realpath(c->file, NULL) : NULL;
        const bool same = other && strcmp(other, real) == 0;
        free(other);
        if (same) return true;
    }
    return false;
}

/* Takes the plugin of this id off the list, where a manifest has put it there and it is not loaded. */
static void give_way(cvr_plugins *p, const char *id) {
    size_t i = 0;
    while (i < p->n && strcmp(p->candidates[i].id, id) != 0) i++;
    if (i == p->n || p->candidates[i].plugin || !p->candidates[i].info.line) return;
    candidate_free(&p->candidates[i]);
    memmove(&p->candidates[i], &p->candidates[i + 1], (--p->n - i) * sizeof *p->candidates);
}

int32_t manifest_add(cvr_plugins *p, const char *file, const cvr_plugin *plugin, const char *provides, const char *isa,
                     cvr_error *err) {
    manifest_state s = {.p = p};
    char *real = NULL;
    plugin_candidate *c;
    int32_t status;
    CVR_TRY_OUT(real_path(file, &real, err));
    s.path = real;
    s.root = cvr_fs_dirname(real);
    if (!s.root) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    if (is_listed(p, plugin->id, real)) goto out;
    give_way(p, plugin->id);
    CVR_TRY_OUT(add_candidate(&s, plugin->id, 0, &c, err));
    c->file = cvr_strdup(real);
    if (!c->file) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    if (provides) CVR_TRY_OUT(add_tokens(&c->provides, provides, err));
    CVR_TRY_OUT(add_tokens(&c->requires_, plugin->requires_, err));
    cvr_text_add(&c->isa, "%s", isa);
out:
    cvr_free(s.root);
    cvr_free(real);
    return status;
}
