/* What a plugin file provides, told by loading it: for cvr-manifest. */
#include "loader.h"
#include <cvr/config.h>

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

/* `requires_` is a list as manifests have it. */
static int32_t check_list(const char *list, cvr_error *err) {
    for (const char *t = list; *t;) {
        const size_t n = strcspn(t, " ");
        const char *colon = memchr(t, ':', n);
        if (n && (!colon || !kind_of_word(t, (size_t)(colon - t)) || colon + 1 == t + n))
            return cvr_fail(err, CVR_ERR_PLUGIN, "`requires_`: `%.*s` is not KIND:NAME, such as layer:conv2d", (int)n,
                            t);
        t += n + strspn(t + n, " ");
    }
    return CVR_OK;
}

/* `id`: NULL while the file is not known to be a plugin. */
static int32_t blame_plugin(const char *file, const char *id, int32_t status, cvr_error *err) {
    char why[sizeof err->message];
    (void)snprintf(why, sizeof why, "%s", err->message);
    if (id) (void)snprintf(err->message, sizeof err->message, "plugin `%.96s`: %.900s", id, why);
    return cvr_fail_at(err, file, 0, status);
}

/* What a manifest says of a plugin. */
typedef struct description {
    const cvr_plugin *plugin;
    cvr_text provides;
    cvr_text isa;
} description;

static int32_t add_token(description *d, const registry_entry *e, cvr_error *err) {
    char token[TOKEN_SIZE];
    const int n = snprintf(token, sizeof token, "%s:%s", kind_word(e->kind), e->name);
    if (n < 0 || n >= TOKEN_SIZE)
        return cvr_fail(err, CVR_ERR_PLUGIN, "the name `%.100s...` is too long; at most %d bytes with its kind",
                        e->name, TOKEN_SIZE - 1);
    if (!cvr_has_word(d->provides.s, token, (size_t)n))
        cvr_text_add(&d->provides, "%s%s", d->provides.n ? " " : "", token);
    return CVR_OK;
}

/* Loads it into a registry that is thrown away. */
static int32_t look_into(const char *file, description *d, cvr_error *err) {
    registry staged = {0}, checked = {0};
    const char *isa = NULL, *id = NULL;
    cvr_plugins none = {.n = 0};
    plugins_host_table(&none);
    int32_t status;
    CVR_TRY_OUT(plugin_open(file, &d->plugin, err));
    id = d->plugin->id;
    CVR_TRY_OUT(plugin_load(&none.host, d->plugin, &staged, err));
    CVR_TRY_OUT(check_list(d->plugin->requires_, err));
    for (size_t i = 0; i < staged.n; i++) {
        const registry_entry *e = &staged.entries[i];
        registry_warn(e);
        CVR_TRY_OUT(add_token(d, e, err));
        const cvr_kernel_desc *kernel = strcmp(e->kind, CVR_KIND_KERNEL) == 0 ? e->desc : NULL;
        if (kernel && !cvr_kernel_is_host(kernel)) continue; /* what it needs, it needs of a device */
        const char *own = kernel && kernel->isa ? kernel->isa : "";
        isa = isa && strcmp(isa, own) != 0 ? "" : own; /* a plugin needs what all of its kernels need */
    }
    cvr_text_add(&d->isa, "%s", isa ? isa : "");
    plugin_shut(d->plugin);
    if (d->provides.failed || d->isa.failed) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    CVR_TRY_OUT(registry_commit(&checked, &staged, err));
out:
    registry_clear(&staged);
    registry_clear(&checked);
    return status == CVR_OK ? CVR_OK : blame_plugin(file, id, status, err);
}

static void forget(description *d) {
    cvr_text_clear(&d->provides);
    cvr_text_clear(&d->isa);
}

int32_t cvr_plugins_describe(const char *file, cvr_text *section, cvr_error *err) {
    description d = {NULL, {0}, {0}};
    const char *slash = strrchr(file, '/');
    int32_t status;
    CVR_TRY_OUT(look_into(file, &d, err));
    cvr_text_add(section, "[%s]\nfile = ", d.plugin->id);
    cvr_ini_add_value(section, slash ? slash + 1 : file);
    cvr_text_add(section, "\n");
    if (d.provides.s) wrap_tokens(section, "provides", d.provides.s);
    wrap_tokens(section, "requires", d.plugin->requires_);
    if (*d.isa.s) cvr_text_add(section, "isa = %s\n", d.isa.s);
    if (section->failed) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
out:
    forget(&d);
    return status;
}

int32_t cvr_plugins_add(cvr_plugins *p, const char *file, const char **id, cvr_error *err) {
    description d = {NULL, {0}, {0}};
    int32_t status;
    CVR_TRY_OUT(look_into(file, &d, err));
    *id = d.plugin->id;
    CVR_TRY_OUT(manifest_add(p, file, d.plugin, d.provides.s, d.isa.s, err));
out:
    forget(&d);
    return status;
}
