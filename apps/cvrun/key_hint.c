/* A key without its section on the command line, `momentum=0.9`: which `section.key` that stands for, told by the
 * schemas of sections and plugins. */
#include "help.h"

#define MOST_SECTIONS 3u

typedef struct key_search {
    const char *key;
    const char *sections[MOST_SECTIONS];
    size_t n;
} key_search;

static void search_schema(key_search *s, const char *section, const cvr_schema *schema) {
    bool here = false;
    for (uint32_t i = 0; i < schema->n; i++) here = here || strcmp(schema->attrs[i]->name, s->key) == 0;
    for (size_t i = 0; i < s->n; i++) here = here && strcmp(s->sections[i], section) != 0;
    if (here && s->n < MOST_SECTIONS) s->sections[s->n++] = section;
}

/* Settings of layers, transforms and passes stand within lines, so that no key leads to them. */
static bool has_keys(const help_kind *k) {
    return strcmp(k->kind, CVR_KIND_LAYER) != 0 && strcmp(k->kind, CVR_KIND_AUGMENT) != 0 &&
           strcmp(k->kind, CVR_KIND_PASS) != 0;
}

static void search_plugins(key_search *s) {
    cvr_error ignored = CVR_ERROR_INIT;
    cvr_plugins *plugins;
    help_entry e;
    if (cvr_plugins_open(&plugins, NULL, 0, &ignored) == CVR_OK)
        for (size_t k = 0; k < n_help_kinds; k++)
            for (size_t i = 0; has_keys(&help_kinds[k]) && help_entry_get(plugins, &help_kinds[k], i, &e); i++)
                search_schema(s, help_kinds[k].section, &e.schema);
    cvr_plugins_close(&plugins);
}

void hint_at_section(const char *setting, cvr_error *err) {
    const cvr_recipe_section *section;
    char key[64], unknown[100], names[200] = "";
    key_search s = {.key = key};
    (void)snprintf(key, sizeof key, "%.*s", (int)strcspn(setting, "="), setting);
    (void)snprintf(unknown, sizeof unknown, "unknown setting `%s`;", key);
    if (strncmp(err->message, unknown, strlen(unknown)) != 0) return;
    for (size_t i = 0; (section = help_section(i)); i++) search_schema(&s, section->name, &section->schema);
    search_plugins(&s);
    for (size_t i = 0, n = 0; i < s.n && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s`%s.%s`", i ? " or " : "", s.sections[i], key);
    if (s.n) (void)snprintf(err->message, sizeof err->message, "%s did you mean %s?", unknown, names);
}
