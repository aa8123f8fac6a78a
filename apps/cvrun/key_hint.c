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
                search_schema(s, e.section, &e.schema);
    cvr_plugins_close(&plugins);
}

/* What other programs call what is called otherwise here. */
static const char *habit(const char *key) {
    static const char *const all[][2] = {
        {"cfg", "the file of a network is its model: model=FILE.cfg; settings stand in a recipe, RECIPE.ini"},
        {"resume", "a run goes on by `cvrun train --resume RUN_DIR`"},
        {"lr0", "it is lr=0.01 here, where the schedule begins"},
        {"lrf", "it is sched.lr_min here, where the schedule ends: a learning rate, and no share of one"},
        {"img", "it is imgsz=640 here"},
        {"batch_size", "it is batch=16 here"},
        {"pretrained", "it is weights=FILE here"},
        {"amp", "it is backend.precision=auto here"},
        {"half", "it is backend.precision=f16 here, or bf16"},
        {"cos_lr", "it is sched.name=cosine here"},
        {"optimizer", "it is optim.name=adamw here"},
        {"mode", "it is the first word: cvrun train, val, predict"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i][0], key) == 0) return all[i][1];
    return NULL;
}

void hint_at_section(const char *setting, cvr_error *err) {
    const cvr_recipe_section *section;
    char key[64], unknown[100], names[200] = "";
    key_search s = {.key = key};
    (void)snprintf(key, sizeof key, "%.*s", (int)strcspn(setting, "="), setting);
    (void)snprintf(unknown, sizeof unknown, "unknown setting `%s`;", key);
    if (strncmp(err->message, unknown, strlen(unknown)) != 0) return;
    const char *const meant = habit(key);
    if (meant) {
        (void)snprintf(err->message, sizeof err->message, "%s %s", unknown, meant);
        return;
    }
    for (size_t i = 0; (section = help_section(i)); i++) search_schema(&s, section->name, &section->schema);
    search_plugins(&s);
    for (size_t i = 0, n = 0; i < s.n && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s`%s.%s`", i ? " or " : "", s.sections[i], key);
    if (s.n) (void)snprintf(err->message, sizeof err->message, "%s did you mean %s?", unknown, names);
}

/* ---- a file in place of a recipe ---- */

static bool ends_in(const char *path, const char *ending) {
    const size_t n = strlen(path), length = strlen(ending);
    return n > length && strcmp(path + n - length, ending) == 0;
}

static bool is_network(cvr_plugins *p, const char *path) {
    const char *name, *const dot = strrchr(path, '.');
    for (size_t i = 0; dot && (name = cvr_plugins_name(p, CVR_KIND_MODEL, i)); i++) {
        cvr_error ignored = CVR_ERROR_INIT;
        const void *found;
        if (cvr_plugins_find(p, CVR_KIND_MODEL, name, &found, &ignored) != CVR_OK) continue;
        const cvr_model_desc *const m = found;
        if (m->file && strcmp(dot + 1, m->file) == 0) return true;
    }
    return false;
}

static bool is_weights(cvr_plugins *p, const char *path) {
    const char *name;
    for (size_t i = 0; (name = cvr_plugins_name(p, CVR_KIND_WEIGHTS, i)); i++) {
        cvr_error ignored = CVR_ERROR_INIT;
        const void *found;
        if (cvr_plugins_find(p, CVR_KIND_WEIGHTS, name, &found, &ignored) != CVR_OK) continue;
        if (ends_in(path, ((const cvr_weights_desc *)found)->extension)) return true;
    }
    return ends_in(path, ".pt");
}

/* The run folder that RUN/weights/FILE lies in, or NULL; free with cvr_free. */
static char *run_of_weights(const char *path) {
    char *folder = cvr_fs_dirname(path), *run = folder ? cvr_fs_dirname(folder) : NULL,
         *config = run ? cvr_fs_join(run, "config.ini") : NULL;
    const bool is_run = config && cvr_fs_exists(config);
    cvr_free(config);
    cvr_free(folder);
    if (is_run) return run;
    cvr_free(run);
    return NULL;
}

void hint_at_file(const char *path, cvr_error *err) {
    cvr_error ignored = CVR_ERROR_INIT;
    cvr_plugins *plugins;
    if (!path || strcmp(err->file, path) != 0 || !cvr_fs_exists(path) || cvr_fs_is_folder(path)) return;
    const bool open = cvr_plugins_open(&plugins, NULL, 0, &ignored) == CVR_OK;
    const bool network = open && is_network(plugins, path), weights = open && !network && is_weights(plugins, path);
    char *const run = weights ? run_of_weights(path) : NULL;
    if (network || weights) cvr_error_init(err);
    if (network)
        cvr_fail(err, CVR_ERR_USAGE, "is the file of a network, and no recipe; write model=%.300s", path);
    else if (weights)
        cvr_fail(err, CVR_ERR_USAGE, "is a file of weights, and no recipe; write %.300s weights=%.300s",
                 run ? run : "model=NAME", path);
    if (network || weights) cvr_fail_at(err, path, 0, CVR_ERR_USAGE);
    cvr_free(run);
    cvr_plugins_close(&plugins);
}
