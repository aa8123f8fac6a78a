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

int32_t cvr_plugins_describe(const char *file, cvr_text *section, cvr_error *err) {
    const cvr_plugin *plugin;
    registry staged = {0};
    cvr_text provides = {0};
    const char *isa = NULL, *slash = strrchr(file, '/');
    cvr_plugins none = {.n = 0};
    plugins_host_table(&none);
    int32_t status;
    CVR_TRY_OUT(plugin_open(file, &plugin, err));
    CVR_TRY_OUT(plugin_load(&none.host, plugin, &staged, err));
    for (size_t i = 0; i < staged.n; i++) {
        const registry_entry *e = &staged.entries[i];
        char token[TOKEN_SIZE];
        const int n = snprintf(token, sizeof token, "%s:%s", kind_word(e->kind), e->name);
        if (n < 0 || n >= TOKEN_SIZE) {
            status =
                cvr_fail(err, CVR_ERR_PLUGIN, "%s: the name `%.100s...` is too long; at most %d bytes with its kind",
                         file, e->name, TOKEN_SIZE - 1);
            break;
        }
        if (!has_token(provides.s, token, (size_t)n)) cvr_text_add(&provides, "%s%s", provides.n ? " " : "", token);
        const char *own = strcmp(e->kind, CVR_KIND_KERNEL) == 0 ? ((const cvr_kernel_desc *)e->desc)->isa : "";
        if (!own) own = "";
        isa = isa && strcmp(isa, own) != 0 ? "" : own; /* a plugin needs what all of its kernels need */
    }
    cvr_text_add(section, "[%s]\nfile = ", plugin->id);
    cvr_ini_add_value(section, slash ? slash + 1 : file);
    cvr_text_add(section, "\n");
    if (provides.s) wrap_tokens(section, "provides", provides.s);
    wrap_tokens(section, "requires", plugin->requires_);
    if (isa && *isa) cvr_text_add(section, "isa = %s\n", isa);
    if (plugin->shutdown) plugin->shutdown();
    if (section->failed || provides.failed) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
out:
    cvr_text_clear(&provides);
    registry_clear(&staged);
    return status;
}
