/*
 * Recipes: the settings of a run, each with its origin. Keys are judged when someone who knows them binds them, so that
 * a section takes its common keys and those of the plugin that it chose, and nothing else.
 */
#include <cvr/config.h>
#include <unistd.h>

typedef struct binding {
    const char *section;
    cvr_schema schema;
    void *packed;
} binding;

struct cvr_config {
    char *path, *folder;
    cvr_setting *settings;
    size_t n, capacity;
    binding *bindings;
    size_t n_bindings, bindings_capacity;
    const cvr_setting **lines; /* of the section asked for last */
    cvr_text answer;           /* of cvr_config_get */
    char origin[600];
};

static const char *const sections[] = {"run",     "backend", "model", "net",     "layers",     "widths", "data",
                                       "augment", "train",   "optim", "sched",   "val",        "probe",  "predict",
                                       "export",  "quant",   "prune", "distill", "compressed", "log"};
#define N_SECTIONS (sizeof sections / sizeof *sections)

/* Settings that need no section on the command line. */
static const struct {
    const char *key, *section, *full;
} bare_keys[] = {
    {"epochs", "train", "epochs"}, {"batch", "train", "batch"},     {"imgsz", "data", "img_size"},
    {"lr", "optim", "lr"},         {"device", "backend", "device"}, {"workers", "data", "workers"},
    {"name", "run", "name"},       {"seed", "run", "seed"},         {"weights", "model", "weights"},
    {"data", "data", "root"},      {"model", "model", "name"},      {"backend", "backend", "name"},
};
#define N_BARE (sizeof bare_keys / sizeof *bare_keys)

static const char command_line[] = "command line";

static const char *known_section(const char *name) {
    for (size_t i = 0; i < N_SECTIONS; i++) {
        if (strcmp(sections[i], name) == 0) return sections[i];
    }
    return NULL;
}

static bool may_repeat(const char *section) {
    return strcmp(section, "augment") == 0;
}

static cvr_setting *find(const cvr_config *c, const char *section, const char *key) {
    for (size_t i = 0; i < c->n; i++) {
        const cvr_setting *s = &c->settings[i];
        if (!s->left && strcmp(s->section, section) == 0 && strcmp(s->key, key) == 0) return &c->settings[i];
    }
    return NULL;
}

static int32_t append(cvr_config *c, const cvr_setting *like, cvr_error *err) {
    cvr_setting *more = cvr_grow(c->settings, c->n, &c->capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    c->settings = more;
    cvr_setting s = *like;
    s.key = cvr_strdup(like->key);
    s.value = cvr_strdup(like->value);
    more[c->n++] = s;
    return s.key && s.value ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static int32_t unknown_section(const char *section, cvr_error *err) {
    const char *nearest = cvr_nearest(section, sections, N_SECTIONS);
    if (nearest) return cvr_fail(err, CVR_ERR_USAGE, "unknown section [%s]; did you mean [%s]?", section, nearest);
    return cvr_fail(err, CVR_ERR_USAGE, "unknown section [%s]; `cvrun help sections` lists them", section);
}

static int32_t on_line(void *ctx, const char *section, const char *key, const char *value, uint32_t line,
                       cvr_error *err) {
    cvr_config *c = ctx;
    const char *known = known_section(section);
    if (!known) return unknown_section(section, err);
    const cvr_setting *before = find(c, known, key);
    if (before && !may_repeat(known)) {
        return cvr_fail(err, CVR_ERR_USAGE, "`%s` of [%s] is set twice (first in line %u); keep one", key, section,
                        before->line);
    }
    const cvr_setting s = {
        .section = known, .key = key, .value = value, .base = c->folder, .file = c->path, .line = line};
    return append(c, &s, err);
}

static int32_t create(cvr_config **out, const char *path, const char *folder, cvr_error *err) {
    cvr_config *c = *out = cvr_calloc(1, sizeof *c);
    if (!c) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    c->path = cvr_strdup(path);
    c->folder = folder ? cvr_strdup(folder) : NULL;
    if (c->path && c->folder) return CVR_OK;
    cvr_config_destroy(out);
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

int32_t cvr_config_create(cvr_config **out, cvr_error *err) {
    return create(out, command_line, ".", err);
}

int32_t cvr_config_load(cvr_config **out, const char *path, cvr_error *err) {
    char *folder = cvr_fs_dirname(path);
    cvr_config *c;
    int32_t status = create(&c, path, folder, err);
    cvr_free(folder);
    CVR_TRY_OUT(status);
    CVR_TRY_OUT(cvr_ini_read(path, on_line, c, err));
    if (c->n == 0) {
        cvr_fail(err, CVR_ERR_USAGE, "is empty; a recipe has sections such as [data] and [train]");
        CVR_TRY_OUT(cvr_fail_at(err, path, 0, CVR_ERR_USAGE));
    }
out:
    if (status != CVR_OK) cvr_config_destroy(&c);
    *out = c;
    return status;
}

void cvr_config_destroy(cvr_config **config) {
    cvr_config *c = *config;
    if (!c) return;
    for (size_t i = 0; i < c->n; i++) {
        cvr_free((void *)(uintptr_t)c->settings[i].key);
        cvr_free((void *)(uintptr_t)c->settings[i].value);
    }
    for (size_t i = 0; i < c->n_bindings; i++) cvr_free(c->bindings[i].packed);
    cvr_free(c->settings);
    cvr_free(c->bindings);
    cvr_free(c->lines);
    cvr_text_clear(&c->answer);
    cvr_free(c->path);
    cvr_free(c->folder);
    cvr_free(c);
    *config = NULL;
}

const char *cvr_config_path(const cvr_config *c) {
    return c->path;
}

/* Splits "section.key" or a bare key. */
static int32_t split_key(char *text, const char **section, const char **key, cvr_error *err) {
    char *dot = strchr(text, '.');
    if (dot) {
        *dot = '\0';
        *section = known_section(text);
        *key = dot + 1;
        return *section ? CVR_OK : unknown_section(text, err);
    }
    const char *names[N_BARE];
    for (size_t i = 0; i < N_BARE; i++) {
        names[i] = bare_keys[i].key;
        if (strcmp(text, names[i]) == 0) {
            *section = bare_keys[i].section;
            *key = bare_keys[i].full;
            return CVR_OK;
        }
    }
    const char *nearest = cvr_nearest(text, names, N_BARE);
    if (nearest) return cvr_fail(err, CVR_ERR_USAGE, "unknown setting `%s`; did you mean `%s`?", text, nearest);
    return cvr_fail(err, CVR_ERR_USAGE, "unknown setting `%s`; write section.key=value, such as optim.momentum=0.9",
                    text);
}

const cvr_setting *cvr_config_given(const cvr_config *c, const char *section, const char *key) {
    return find(c, section, key);
}

int32_t cvr_config_suggest(cvr_config *c, const cvr_setting *s, bool replace, cvr_error *err) {
    cvr_setting *before = find(c, s->section, s->key), given = *s;
    given.section = known_section(s->section);
    if (!given.section) return unknown_section(s->section, err);
    if (!replace && may_repeat(s->section)) before = NULL;
    if (!before) return append(c, &given, err);
    if (!replace) return CVR_OK;
    given.key = before->key;
    given.value = cvr_strdup(s->value);
    if (!given.value) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    cvr_free((void *)(uintptr_t)before->value);
    *before = given;
    return CVR_OK;
}

int32_t cvr_config_override(cvr_config *c, const char *text, cvr_error *err) {
    const char *equals = strchr(text, '='), *section = NULL, *key = NULL;
    if (!equals || equals == text) {
        return cvr_fail(err, CVR_ERR_USAGE, "`%s` is not a setting; write key=value, such as epochs=5", text);
    }
    char *name = cvr_strndup(text, (size_t)(equals - text));
    if (!name) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    int32_t status;
    CVR_TRY_OUT(split_key(name, &section, &key, err));
    if (!cvr_ini_is_key(key))
        CVR_TRY_OUT(
            cvr_fail(err, CVR_ERR_USAGE, "`%s` of [%s] cannot be a key; it could not be read back", key, section));
    const cvr_setting s = {.section = section, .key = key, .value = equals + 1, .base = ".", .file = command_line};
    CVR_TRY_OUT(cvr_config_suggest(c, &s, true, err));
out:
    cvr_free(name);
    return status == CVR_OK ? CVR_OK : cvr_fail_at(err, command_line, 0, status);
}

int32_t cvr_config_bind(cvr_config *c, const char *section, const cvr_schema *schema, const void **packed,
                        cvr_error *err) {
    cvr_setting *mine = cvr_calloc(schema->n + 1, sizeof *mine);
    binding *more = cvr_grow(c->bindings, c->n_bindings, &c->bindings_capacity, sizeof *more);
    if (more) c->bindings = more;
    if (!mine || !more) {
        cvr_free(mine);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    size_t n = 0;
    for (uint32_t i = 0; i < schema->n; i++) {
        cvr_setting *s = find(c, section, schema->attrs[i]->name);
        if (!s) continue;
        s->claimed = true;
        mine[n++] = *s;
    }
    char what[80];
    (void)snprintf(what, sizeof what, "[%s]", section);
    binding b = {.section = known_section(section), .schema = *schema};
    int32_t status = cvr_attrs_pack(schema, mine, n, what, &b.packed, err);
    if (status == CVR_OK) {
        c->bindings[c->n_bindings++] = b;
        *packed = b.packed;
    } else if (err) {
        cvr_fail_at(err, c->path, 0, status);
    }
    cvr_free(mine);
    return status;
}

size_t cvr_config_lines(cvr_config *c, const char *section, const cvr_setting *const **lines) {
    size_t n = 0;
    cvr_free(c->lines);
    c->lines = cvr_calloc(c->n + 1, sizeof *c->lines);
    for (size_t i = 0; c->lines && i < c->n; i++) {
        if (strcmp(c->settings[i].section, section) != 0) continue;
        c->settings[i].claimed = true;
        c->lines[n++] = &c->settings[i];
    }
    *lines = c->lines;
    return n;
}

void cvr_config_leave(cvr_config *c, const char *section, const char *file) {
    for (size_t i = 0; i < c->n; i++) {
        cvr_setting *s = &c->settings[i];
        if (!s->claimed && strcmp(s->section, section) == 0 && strcmp(s->file, file) == 0) s->claimed = s->left = true;
    }
}

int32_t cvr_config_finish(const cvr_config *c, cvr_error *err) {
    for (size_t i = 0; i < c->n; i++) {
        const cvr_setting *s = &c->settings[i];
        if (s->claimed) continue;
        const char *names[512];
        size_t n = 0;
        for (size_t b = 0; b < c->n_bindings; b++) {
            if (strcmp(c->bindings[b].section, s->section) != 0) continue;
            for (uint32_t k = 0; k < c->bindings[b].schema.n && n < 512; k++)
                names[n++] = c->bindings[b].schema.attrs[k]->name;
        }
        char hint[400];
        cvr_fail(err, CVR_ERR_USAGE, "unknown key `%s` in [%s]; %s; `cvrun help %s` tells more", s->key, s->section,
                 cvr_hint(s->key, names, n, hint), s->section);
        return cvr_fail_at(err, s->file, s->line, CVR_ERR_USAGE);
    }
    return CVR_OK;
}

/* ---- printing ---- */

static const char default_origin[] = "default";

static void set_origin(const cvr_setting *s, char *buf, size_t size) {
    if (!s)
        (void)snprintf(buf, size, "%s", default_origin);
    else if (s->line)
        (void)snprintf(buf, size, "%s:%u", s->file, s->line);
    else
        (void)snprintf(buf, size, "%s", s->file);
}

/* Sections whose keys are the user's own names. */
static bool is_free(const char *section) {
    return strcmp(section, "net") == 0 || strcmp(section, "layers") == 0 || strcmp(section, "widths") == 0 ||
           strcmp(section, "augment") == 0;
}

typedef void (*print_fn)(void *ctx, const char *section, const char *key, const char *value, const char *origin);

static void each_setting(const cvr_config *c, print_fn print, void *ctx) {
    char origin[600];
    for (size_t k = 0; k < N_SECTIONS; k++) {
        for (size_t b = 0; b < c->n_bindings; b++) {
            const binding *bound = &c->bindings[b];
            if (bound->section != sections[k]) continue;
            for (uint32_t i = 0; i < bound->schema.n; i++) {
                cvr_text value = {0};
                cvr_attr_print(&bound->schema, i, bound->packed, &value);
                set_origin(find(c, sections[k], bound->schema.attrs[i]->name), origin, sizeof origin);
                if (value.s) print(ctx, sections[k], bound->schema.attrs[i]->name, value.s, origin);
                cvr_text_clear(&value);
            }
        }
        if (!is_free(sections[k])) continue;
        for (size_t i = 0; i < c->n; i++) {
            if (c->settings[i].section != sections[k]) continue;
            set_origin(&c->settings[i], origin, sizeof origin);
            print(ctx, sections[k], c->settings[i].key, c->settings[i].value, origin);
        }
    }
}

typedef struct printer {
    cvr_text *out;
    const char *section;
    bool origins;
    bool given;                 /* no defaults */
    const cvr_setting *instead; /* n_instead of them */
    size_t n_instead;
} printer;

static void print_ini(void *ctx, const char *section, const char *key, const char *value, const char *origin) {
    printer *p = ctx;
    if (p->given && strcmp(origin, default_origin) == 0) return;
    for (size_t i = 0; i < p->n_instead; i++)
        if (strcmp(p->instead[i].section, section) == 0 && strcmp(p->instead[i].key, key) == 0)
            value = p->instead[i].value;
    if (p->section != section) cvr_text_add(p->out, "%s[%s]\n", p->section ? "\n" : "", section);
    p->section = section;
    if (p->origins) {
        const size_t start = p->out->n;
        cvr_text_add(p->out, "%-20s = %s", key, value);
        const size_t used = p->out->n - start;
        cvr_text_add(p->out, "%*s%s\n", used < 51 ? (int)(53 - used) : 2, "", origin);
        return;
    }
    cvr_text_add(p->out, "%s = ", key);
    cvr_ini_add_value(p->out, value);
    cvr_text_add(p->out, "\n");
}

static void print_json(void *ctx, const char *section, const char *key, const char *value, const char *origin) {
    printer *p = ctx;
    cvr_text_add(p->out, "%s  {\"section\": ", p->section ? ",\n" : "");
    p->section = section;
    cvr_text_add_json(p->out, section);
    cvr_text_add(p->out, ", \"key\": ");
    cvr_text_add_json(p->out, key);
    cvr_text_add(p->out, ", \"value\": ");
    cvr_text_add_json(p->out, value);
    cvr_text_add(p->out, ", \"origin\": ");
    cvr_text_add_json(p->out, origin);
    cvr_text_add(p->out, "}");
}

void cvr_config_print(const cvr_config *c, bool origins, cvr_text *out) {
    printer p = {.out = out, .origins = origins};
    each_setting(c, print_ini, &p);
}

void cvr_config_print_with(const cvr_config *c, const cvr_setting *instead, size_t n, cvr_text *out) {
    printer p = {.out = out, .instead = instead, .n_instead = n};
    each_setting(c, print_ini, &p);
}

void cvr_config_print_given(const cvr_config *c, cvr_text *out) {
    printer p = {.out = out, .given = true};
    each_setting(c, print_ini, &p);
}

void cvr_config_print_json(const cvr_config *c, cvr_text *out) {
    printer p = {.out = out};
    cvr_text_add(out, "[\n");
    each_setting(c, print_json, &p);
    cvr_text_add(out, "\n]\n");
}

const char *cvr_config_get(cvr_config *c, const char *section, const char *key, const char **origin) {
    for (size_t b = 0; b < c->n_bindings; b++) {
        const binding *bound = &c->bindings[b];
        for (uint32_t i = 0; strcmp(bound->section, section) == 0 && i < bound->schema.n; i++) {
            if (strcmp(bound->schema.attrs[i]->name, key) != 0) continue;
            cvr_text_clear(&c->answer);
            cvr_attr_print(&bound->schema, i, bound->packed, &c->answer);
            set_origin(find(c, section, key), c->origin, sizeof c->origin);
            if (origin) *origin = c->origin;
            return c->answer.s;
        }
    }
    const cvr_setting *given = find(c, section, key);
    if (!given) return NULL;
    set_origin(given, c->origin, sizeof c->origin);
    if (origin) *origin = c->origin;
    return given->value;
}

int32_t cvr_config_blame(const cvr_config *c, const char *section, const char *key, int32_t status, cvr_error *err) {
    const cvr_setting *s = status == CVR_OK ? NULL : find(c, section, key);
    return s ? cvr_fail_at(err, s->file, s->line, status) : status;
}
