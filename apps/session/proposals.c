/*
 * What a model proposes (cvr_model_desc.proposes): the lowest of all that gives a setting, above its default. A run
 * folder has recorded everything when the run began, so that nothing is proposed there; but a run that goes on with
 * another file of its network, which the command line names, takes from it what the two files say differently.
 */
#include "proposals.h"
#include <stdlib.h>

/* ---- what was told ---- */

/* A proposal without a key. */
static int32_t add_remark(proposals *p, const char *text, cvr_error *err) {
    cvr_text all = {0};
    cvr_text_add(&all, "%s%s%s", p->remarks ? p->remarks : "", p->remarks ? "\n" : "", text);
    cvr_free(p->remarks);
    p->remarks = all.s;
    return all.failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory") : CVR_OK;
}

int32_t proposals_add(void *ctx, const char *key, const char *value, cvr_error *err) {
    proposals *p = ctx;
    const char *dot = key ? strchr(key, '.') : NULL;
    if (key && !*key && value) return add_remark(p, value, err);
    if (!dot || dot == key || !dot[1] || !value)
        return cvr_fail(err, CVR_ERR_PLUGIN, "proposes `%.100s`, which is no section.key with a value", key ? key : "");
    proposal *more = cvr_grow(p->all, p->n, &p->capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    p->all = more;
    proposal *to = &more[p->n++];
    *to = (proposal){cvr_strndup(key, (size_t)(dot - key)), cvr_strdup(dot + 1), cvr_strdup(value)};
    return to->section && to->key && to->value ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

const char *proposals_find(const proposals *p, const char *section, const char *key) {
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->all[i].section, section) == 0 && strcmp(p->all[i].key, key) == 0) return p->all[i].value;
    return NULL;
}

void proposals_clear(proposals *p) {
    for (size_t i = 0; i < p->n; i++) {
        cvr_free(p->all[i].section);
        cvr_free(p->all[i].key);
        cvr_free(p->all[i].value);
    }
    cvr_free(p->all);
    cvr_free(p->remarks);
    *p = (proposals){0};
}

/* ---- a model's ---- */

/* Of [run] a model may speak of its task alone; [backend] and who is told are not its business. Of [model] it may say
 * how many classes its file has, which counts where there is no data to say it (classes.c). */
static bool is_classes(const proposal *p) {
    return strcmp(p->section, "model") == 0 && strcmp(p->key, "num_classes") == 0;
}

static bool may_propose(const proposal *p) {
    static const char *const sections[] = {"data", "augment", "train", "optim", "sched", "val", "predict"};
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (strcmp(p->section, sections[i]) == 0) return true;
    return strcmp(p->section, "run") == 0 && strcmp(p->key, "task") == 0;
}

/* Where the recipe names another optimizer or scheduler, numbers for the proposed one say nothing. */
static bool names_another(const settings *s, const proposals *all, const char *section) {
    const cvr_setting *given = cvr_config_given(s->config, section, "name");
    const char *proposed = proposals_find(all, section, "name");
    const bool chosen = strcmp(section, "optim") == 0 || strcmp(section, "sched") == 0;
    return chosen && given && (!proposed || strcmp(given->value, proposed) != 0);
}

static int32_t apply(settings *s, const proposals *all, cvr_error *err) {
    const cvr_setting *const *lines;
    const bool augmented = cvr_config_lines(s->config, "augment", &lines) > 0;
    for (size_t i = 0; i < all->n; i++) {
        const proposal *p = &all->all[i];
        const cvr_setting setting = {
            .section = p->section, .key = p->key, .value = p->value, .base = ".", .file = s->proposed_by};
        if (is_classes(p)) {
            s->proposed_classes = strtoll(p->value, NULL, 10);
            if (s->proposed_classes < 1 || s->proposed_classes > MOST_CLASSES)
                return cvr_fail(err, CVR_ERR_PLUGIN, "%s proposes %.40s classes, of which there are 1 to %d",
                                s->proposed_by, p->value, MOST_CLASSES);
            continue;
        }
        if (!may_propose(p))
            return cvr_fail(err, CVR_ERR_PLUGIN, "%s proposes %s.%s, which is not a model's to say", s->proposed_by,
                            p->section, p->key);
        if ((augmented && strcmp(p->section, "augment") == 0) || names_another(s, all, p->section)) continue;
        CVR_TRY(cvr_config_suggest(s->config, &setting, false, err));
    }
    return CVR_OK;
}

/* ---- a run that goes on with another file ---- */

typedef struct recorded {
    const char *key;
    char *value;
} recorded;

/* cvr_ini_fn: the key of [model] in config.ini. */
static int32_t note_recorded(void *ctx, const char *section, const char *key, const char *value, uint32_t line,
                             cvr_error *err) {
    recorded *r = ctx;
    (void)line, (void)err;
    if (!r->value && strcmp(section, "model") == 0 && strcmp(key, r->key) == 0) r->value = cvr_strdup(value);
    return CVR_OK;
}

/* What the file said that the run has been trained by. */
static int32_t propose_recorded(const settings *s, proposals *all, cvr_error *err) {
    const cvr_model_desc *m = s->model_desc;
    const cvr_schema schema = {m->attrs, m->n_attrs};
    recorded r = {.key = m->file};
    void *attrs = NULL;
    int32_t status;
    CVR_TRY_OUT(cvr_ini_read(s->recipe, note_recorded, &r, err));
    const cvr_setting setting = {.key = m->file, .value = r.value, .base = s->run_folder};
    CVR_TRY_OUT(cvr_attrs_pack(&schema, &setting, r.value ? 1 : 0, m->name, &attrs, err));
    CVR_TRY_OUT(CVR_CALL(m, proposes, NULL, err, attrs, proposals_add, all));
out:
    cvr_free(attrs);
    cvr_free(r.value);
    return status;
}

/* What differs takes the place of what the run has recorded, but not of what the command line says. Transforms stay. */
static int32_t apply_changes(settings *s, const proposals *was, const proposals *all, cvr_error *err) {
    for (size_t i = 0; i < all->n; i++) {
        const proposal *p = &all->all[i];
        const char *before = proposals_find(was, p->section, p->key);
        const cvr_setting *given = cvr_config_given(s->config, p->section, p->key), to = {.section = p->section,
                                                                                          .key = p->key,
                                                                                          .value = p->value,
                                                                                          .base = ".",
                                                                                          .file = s->proposed_by};
        if (!may_propose(p) || strcmp(p->section, "augment") == 0 || (before && strcmp(before, p->value) == 0))
            continue;
        if (given && strcmp(given->file, s->recipe) != 0) continue;
        CVR_TRY(cvr_config_suggest(s->config, &to, true, err));
        cvr_log(CVR_LOG_INFO, "%s.%s = %s from now on, as the new file of the network says", p->section, p->key,
                p->value);
    }
    return CVR_OK;
}

static int32_t propose_changes(settings *s, cvr_error *err) {
    const cvr_model_desc *m = s->model_desc;
    const cvr_setting *given = m->file ? cvr_config_given(s->config, "model", m->file) : NULL;
    proposals was = {0}, all = {0};
    int32_t status;
    if (!given || !s->trains || strcmp(given->file, s->recipe) == 0) return CVR_OK;
    CVR_TRY_OUT(propose_recorded(s, &was, err));
    CVR_TRY_OUT(CVR_CALL(m, proposes, NULL, err, s->model_attrs, proposals_add, &all));
    CVR_TRY_OUT(apply_changes(s, &was, &all, err));
out:
    proposals_clear(&was);
    proposals_clear(&all);
    return settings_blame(s, status, err);
}

int32_t propose_by_model(settings *s, cvr_error *err) {
    const cvr_model_desc *m = s->model_desc;
    proposals all = {0};
    int32_t status;
    if (!m || !m->proposes) return CVR_OK;
    (void)snprintf(s->proposed_by, sizeof s->proposed_by, "model %.80s", m->name);
    if (s->run_folder) return propose_changes(s, err);
    CVR_TRY_OUT(CVR_CALL(m, proposes, NULL, err, s->model_attrs, proposals_add, &all));
    CVR_TRY_OUT(apply(s, &all, err));
    if (s->trains && all.remarks) cvr_log(CVR_LOG_WARNING, "%s", all.remarks);
out:
    proposals_clear(&all);
    return settings_blame(s, status, err);
}

/* ---- networks in files ---- */

static bool is_model(cvr_plugins *p, const char *name) {
    const char *known;
    for (size_t i = 0; (known = cvr_plugins_name(p, CVR_KIND_MODEL, i)); i++)
        if (strcmp(known, name) == 0) return true;
    return false;
}

const cvr_model_desc *model_of_file(cvr_plugins *p, const char *path) {
    const char *name, *dot = strrchr(path, '.');
    for (size_t i = 0; dot && (name = cvr_plugins_name(p, CVR_KIND_MODEL, i)); i++) {
        cvr_error why = CVR_ERROR_INIT;
        const void *desc = NULL;
        if (cvr_plugins_find(p, CVR_KIND_MODEL, name, &desc, &why) != CVR_OK) continue;
        const cvr_model_desc *m = desc;
        if (m->file && strcmp(m->file, dot + 1) == 0) return m;
    }
    return NULL;
}

/* run.name of a run without a recipe: what the network is called. */
static int32_t name_run(settings *s, const char *model, cvr_error *err) {
    const char *slash = strrchr(model, '/'), *base = slash ? slash + 1 : model, *dot = strrchr(base, '.');
    char *name = cvr_strndup(base, dot && dot != base ? (size_t)(dot - base) : strlen(base));
    const cvr_setting run = {
        .section = "run", .key = "name", .value = name, .base = ".", .file = "named after the model"};
    if (!name) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = cvr_config_suggest(s->config, &run, false, err);
    cvr_free(name);
    return status;
}

/* The same file may be named twice, and the command line's model takes the place of a recipe's file. */
static int32_t check_one_file(settings *s, const cvr_model_desc *m, const cvr_setting *given, const char *path,
                              cvr_error *err) {
    const cvr_setting *other = cvr_config_given(s->config, "model", m->file);
    if (!other || !*other->value || (other->line && !given->line)) return CVR_OK;
    char *second = cvr_fs_absolute(other->base, other->value);
    int32_t status = second ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (second && strcmp(path, second) != 0) {
        cvr_fail(err, CVR_ERR_USAGE, "model.%s = %s, but model.name is another file, %s; leave one of them out",
                 m->file, other->value, given->value);
        status = cvr_config_blame(s->config, "model", m->file, CVR_ERR_USAGE, err);
    }
    cvr_free(second);
    return status;
}

static int32_t take_file(settings *s, const cvr_model_desc *m, const cvr_setting *given, cvr_error *err) {
    char *path = cvr_fs_absolute(given->base, given->value);
    cvr_setting file = *given, name = *given;
    int32_t status;
    file.key = m->file;
    file.value = path;
    file.claimed = name.claimed = false;
    name.value = m->name;
    CVR_TRY_OUT(path ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    CVR_TRY_OUT(check_one_file(s, m, given, path, err));
    CVR_TRY_OUT(cvr_config_suggest(s->config, &file, true, err));
    CVR_TRY_OUT(cvr_config_suggest(s->config, &name, true, err));
out:
    cvr_free(path);
    return status;
}

int32_t propose_model_file(settings *s, cvr_plugins *p, cvr_error *err) {
    const cvr_setting *found = cvr_config_given(s->config, "model", "name");
    if (!found || !*found->value) return CVR_OK;
    if (!s->recipe) CVR_TRY(name_run(s, found->value, err));
    const cvr_setting given = *cvr_config_given(s->config, "model", "name");
    if (is_model(p, given.value)) return CVR_OK;
    const cvr_model_desc *m = model_of_file(p, given.value);
    return m ? take_file(s, m, &given, err) : CVR_OK;
}
