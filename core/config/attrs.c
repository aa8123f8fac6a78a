/*
 * Attributes from text: one schema, one packed struct of 8-byte cells, whoever declared it. Strings live in the same
 * block, after the cells.
 */
#include <cvr/config.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define LARGEST_SCHEMA 65536u

typedef union cell {
    int64_t i;
    double f;
    const char *s;
} cell;

uint64_t cvr_schema_size(const cvr_schema *schema, cvr_error *err) {
    uint64_t cells = 0;
    for (uint32_t i = 0; i < schema->n; i++) {
        const cvr_attr_desc *a = schema->attrs[i];
        if (!a || !a->name || !cvr_attr_cells(a) || a->count > LARGEST_SCHEMA ||
            (a->kind != CVR_ATTR_INT && (a->kind == CVR_ATTR_CHOICE) != (a->choices != NULL))) {
            cvr_fail(err, CVR_ERR_PLUGIN, "attribute %u (%s) is badly declared", i, a && a->name ? a->name : "?");
            return 0;
        }
        cells += cvr_attr_cells(a);
    }
    return cells * sizeof(cell);
}

/* ---- one value ---- */

/* Where a schema names no maximum: counts that can still be multiplied, and numbers that fit any integer. */
#define LARGEST_INT 2147483647.0
#define LARGEST_FLOAT 1e18

static bool check_bounds(const cvr_attr_desc *a, bool integer, double v, cvr_error *err) {
    const double most = a->flags & CVR_ATTR_MAX ? a->max : integer ? LARGEST_INT : LARGEST_FLOAT;
    if ((a->flags & CVR_ATTR_MIN) && v < a->min) {
        cvr_fail(err, CVR_ERR_USAGE, "%s is %.15g; it must be at least %.15g", a->name, v, a->min);
        return false;
    }
    if (v > most || (!(a->flags & CVR_ATTR_MIN) && v < -most)) {
        cvr_fail(err, CVR_ERR_USAGE, "%s is %.15g; it may be %s%.15g", a->name, v, v > 0 ? "at most " : "at least -",
                 most);
        return false;
    }
    return true;
}

static bool parse_number(const cvr_attr_desc *a, const char *text, size_t n, cell *out, cvr_error *err) {
    char word[64], *end = word;
    const bool integer = a->kind == CVR_ATTR_INT || a->kind == CVR_ATTR_INTS;
    if (n < sizeof word) {
        memcpy(word, text, n);
        word[n] = '\0';
        errno = 0;
        out->i = 0;
        if (a->kind == CVR_ATTR_INT && a->choices && strcmp(word, a->choices) == 0) return true;
        if (integer)
            out->i = strtoll(word, &end, 10);
        else
            out->f = strtod(word, &end);
        if (end != word && *end == '\0' && errno == 0 && (integer || isfinite(out->f))) {
            return check_bounds(a, integer, integer ? (double)out->i : out->f, err);
        }
    }
    cvr_fail(err, CVR_ERR_USAGE, "%s = %.*s: not %s", a->name, (int)n, text, integer ? "a whole number" : "a number");
    return false;
}

/* Comma-separated numbers into at most `count` cells; the number of them, or -1. */
static int64_t parse_numbers(const cvr_attr_desc *a, const char *text, cell *out, cvr_error *err) {
    int64_t n = 0;
    if (!*text) return 0;
    for (const char *p = text;; p++) {
        p += strspn(p, " ");
        size_t length = strcspn(p, ",");
        const char *next = p + length;
        while (length && p[length - 1] == ' ') length--;
        if (n == (int64_t)cvr_attr_count(a)) {
            cvr_fail(err, CVR_ERR_USAGE, "%s = %s: at most %u numbers may stand here", a->name, text,
                     cvr_attr_count(a));
            return -1;
        }
        if (!parse_number(a, p, length, &out[n], err)) return -1;
        n++;
        p = next;
        if (!*p) return n;
    }
}

static bool parse_bool(const cvr_attr_desc *a, const char *text, cell *out, cvr_error *err) {
    static const char *const words[] = {"no", "yes", "false", "true", "0", "1", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i]) == 0) {
            out->i = (int64_t)(i & 1);
            return true;
        }
    }
    cvr_fail(err, CVR_ERR_USAGE, "%s = %s: say yes or no", a->name, text);
    return false;
}

static bool parse_choice(const cvr_attr_desc *a, const char *text, cell *out, cvr_error *err) {
    out->i = 0;
    for (const char *p = a->choices;; p++, out->i++) {
        const size_t n = strcspn(p, "|");
        if (strlen(text) == n && memcmp(p, text, n) == 0) return true;
        p += n;
        if (!*p) break;
    }
    const char *names[32];
    char *copy = cvr_strdup(a->choices), *save = NULL;
    size_t n_names = 0;
    for (char *p = copy ? strtok_r(copy, "|", &save) : NULL; p && n_names < 32; p = strtok_r(NULL, "|", &save))
        names[n_names++] = p;
    const char *nearest = cvr_nearest(text, names, n_names);
    cvr_fail(err, CVR_ERR_USAGE, "%s = %s: must be one of %s%s%s%s", a->name, text, a->choices,
             nearest ? "; did you mean `" : "", nearest ? nearest : "", nearest ? "`?" : "");
    cvr_free(copy);
    return false;
}

static bool parse_value(const cvr_attr_desc *a, const char *text, cell *out, cvr_error *err) {
    int64_t n;
    switch (a->kind) {
    case CVR_ATTR_BOOL: return parse_bool(a, text, out, err);
    case CVR_ATTR_CHOICE: return parse_choice(a, text, out, err);
    case CVR_ATTR_INTS:
    case CVR_ATTR_FLOATS: return (out->i = parse_numbers(a, text, out + 1, err)) >= 0;
    default: break;
    }
    n = parse_numbers(a, text, out, err);
    if (n == 1) {
        for (uint32_t i = 1; i < cvr_attr_count(a); i++) out[i] = out[0];
    } else if (n >= 0 && n != (int64_t)cvr_attr_count(a)) {
        cvr_fail(err, CVR_ERR_USAGE, "%s = %s: give %s%u numbers", a->name, text, cvr_attr_count(a) > 1 ? "1 or " : "",
                 cvr_attr_count(a));
        return false;
    }
    return n >= 0;
}

/* ---- a schema ---- */

static bool is_text(const cvr_attr_desc *a) {
    return a->kind == CVR_ATTR_STRING || a->kind == CVR_ATTR_PATH;
}

/* The text to keep for a string or path. Free with cvr_free. */
static char *final_text(const cvr_attr_desc *a, const cvr_setting *s, const char *text) {
    if (a->kind == CVR_ATTR_PATH && *text) return cvr_fs_absolute(s && s->base ? s->base : ".", text);
    return cvr_strdup(text);
}

/* The setting for attribute `a`: by name, else by place among the positional ones; the last one given wins. */
static const cvr_setting *find_setting(const cvr_attr_desc *a, const cvr_setting *settings, size_t n, size_t place) {
    const cvr_setting *found = NULL;
    size_t positional = 0;
    for (size_t i = 0; i < n; i++) {
        if (settings[i].key ? strcmp(settings[i].key, a->name) == 0
                            : ((a->flags & CVR_ATTR_POSITIONAL) && positional++ == place))
            found = &settings[i];
    }
    return found;
}

static int32_t check_keys(const cvr_schema *schema, const cvr_setting *settings, size_t n, const char *what,
                          cvr_error *err) {
    const char *names[256];
    size_t n_names = 0, places = 0, positional = 0;
    for (uint32_t i = 0; i < schema->n; i++) {
        if (n_names < 256) names[n_names++] = schema->attrs[i]->name;
        places += (schema->attrs[i]->flags & CVR_ATTR_POSITIONAL) != 0;
    }
    for (size_t i = 0; i < n; i++) {
        const cvr_setting *s = &settings[i];
        bool known = s->key == NULL && positional++ < places;
        for (size_t k = 0; s->key && k < n_names && !known; k++) known = strcmp(names[k], s->key) == 0;
        if (known) continue;
        char hint[400];
        if (!s->key)
            cvr_fail(err, CVR_ERR_USAGE, "%s: `%s` is one value too many; name it key=value", what, s->value);
        else
            cvr_fail(err, CVR_ERR_USAGE, "%s has no setting `%s`; %s", what, s->key,
                     cvr_hint(s->key, names, n_names, hint));
        return s->file ? cvr_fail_at(err, s->file, s->line, CVR_ERR_USAGE) : CVR_ERR_USAGE;
    }
    return CVR_OK;
}

/* Whether attribute `a` is given twice within a line, by its name or by its place: nobody means the one that is passed
 * over. A later line may say it again. */
static int32_t check_twice(const cvr_attr_desc *a, const cvr_setting *settings, size_t n, size_t place,
                           const char *what, cvr_error *err) {
    const cvr_setting *before = NULL;
    size_t positional = 0;
    for (size_t i = 0; i < n; i++) {
        const cvr_setting *s = &settings[i];
        const bool mine =
            s->key ? strcmp(s->key, a->name) == 0 : (a->flags & CVR_ATTR_POSITIONAL) && positional++ == place;
        if (!mine) continue;
        if (before && before->line == s->line)
            return cvr_fail(err, CVR_ERR_USAGE, "%s: `%s` is given twice; keep one", what, a->name);
        before = s;
    }
    return CVR_OK;
}

static int32_t pack_one(const cvr_attr_desc *a, const cvr_setting *s, cell *out, char **text, const char *what,
                        cvr_error *err) {
    const char *value = s ? s->value : a->default_text;
    bool good = value != NULL;
    if (!value) {
        cvr_fail(err, CVR_ERR_USAGE, "%s needs `%s` (%s)", what, a->name, a->doc ? a->doc : "no default");
    } else if (is_text(a)) {
        *text = final_text(a, s, value);
        if (!*text) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    } else {
        good = parse_value(a, value, out, err);
    }
    if (good) return CVR_OK;
    return s && s->file ? cvr_fail_at(err, s->file, s->line, CVR_ERR_USAGE) : CVR_ERR_USAGE;
}

/* Gathers cells and texts into one block. */
static void *join_block(const cvr_schema *schema, const cell *cells, uint64_t size, char **texts) {
    uint64_t total = size;
    for (uint32_t i = 0; i < schema->n; i++) total += texts[i] ? strlen(texts[i]) + 1 : 0;
    char *block = cvr_calloc(total ? total : 1, 1);
    if (!block) return NULL;
    memcpy(block, cells, size);
    char *tail = block + size;
    uint64_t at = 0;
    for (uint32_t i = 0; i < schema->n; at += cvr_attr_cells(schema->attrs[i]), i++) {
        if (!texts[i]) continue;
        const size_t n = strlen(texts[i]) + 1;
        memcpy(tail, texts[i], n);
        memcpy(block + at * sizeof(cell), &tail, sizeof tail);
        tail += n;
    }
    return block;
}

int32_t cvr_attrs_pack(const cvr_schema *schema, const cvr_setting *settings, size_t n, const char *what, void **packed,
                       cvr_error *err) {
    *packed = NULL;
    const uint64_t size = cvr_schema_size(schema, err);
    if (size == 0 && schema->n) return CVR_ERR_PLUGIN;
    int32_t status = CVR_OK;
    CVR_TRY(check_keys(schema, settings, n, what, err));
    cell *cells = cvr_calloc(size / sizeof(cell) + 1, sizeof(cell));
    char **texts = cvr_calloc(schema->n + 1, sizeof *texts);
    if (!cells || !texts) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    uint64_t at = 0;
    size_t place = 0;
    for (uint32_t i = 0; i < schema->n; i++) {
        const cvr_attr_desc *a = schema->attrs[i];
        const cvr_setting *s = find_setting(a, settings, n, place);
        CVR_TRY_OUT(check_twice(a, settings, n, place, what, err));
        place += (a->flags & CVR_ATTR_POSITIONAL) != 0;
        CVR_TRY_OUT(pack_one(a, s, cells + at, &texts[i], what, err));
        at += cvr_attr_cells(a);
    }
    *packed = join_block(schema, cells, size, texts);
    if (!*packed) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
out:
    for (uint32_t i = 0; texts && i < schema->n; i++) cvr_free(texts[i]);
    cvr_free(texts);
    cvr_free(cells);
    return status;
}

/* ---- a line of text ---- */

static bool is_excepted(const char *key, const char *const *except) {
    for (; except && *except; except++) {
        if (strcmp(key, *except) == 0) return true;
    }
    return false;
}

int32_t cvr_attrs_parse(const cvr_schema *schema, const char *text, const char *const *except, const char *what,
                        void **packed, cvr_error *err) {
    size_t n = 0, capacity = 0;
    uint32_t line = 0;
    cvr_setting *settings = NULL;
    int32_t status = CVR_OK;
    char *copy = cvr_strdup(text), *save = NULL;
    if (!copy) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const char *seen = text;
    for (char *word = strtok_r(copy, " \t\n", &save); word; word = strtok_r(NULL, " \t\n", &save)) {
        for (; seen < text + (word - copy); seen++) line += *seen == '\n';
        char *equals = strchr(word, '=');
        if (equals) *equals = '\0';
        if (equals && is_excepted(word, except)) continue;
        cvr_setting *more = cvr_grow(settings, n, &capacity, sizeof *settings);
        if (!more) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
        settings = more;
        settings[n++] = (cvr_setting){.key = equals ? word : NULL, .value = equals ? equals + 1 : word, .line = line};
    }
    CVR_TRY_OUT(cvr_attrs_pack(schema, settings, n, what, packed, err));
out:
    cvr_free(settings);
    cvr_free(copy);
    return status;
}

char *cvr_line_key(const char *text, const char *key) {
    const size_t n = strlen(key);
    for (const char *p = text; *p;) {
        p += strspn(p, " \t");
        const size_t word = strcspn(p, " \t");
        if (word > n && memcmp(p, key, n) == 0 && p[n] == '=') return cvr_strndup(p + n + 1, word - n - 1);
        p += word;
    }
    return NULL;
}

/* ---- back to text ---- */

/* The shortest decimal that reads back as the same number; 2000 rather than 2e+03. */
static void print_float(double v, cvr_text *out) {
    char word[32];
    (void)snprintf(word, sizeof word, "%.0f", fabs(v) < 1e9 ? v : 0);
    for (int digits = 1; digits <= 17 && strtod(word, NULL) != v; digits++)
        (void)snprintf(word, sizeof word, "%.*g", digits, v);
    cvr_text_add(out, "%s", word);
}

static void print_choice(const char *choices, int64_t index, cvr_text *out) {
    const char *p = choices;
    for (int64_t i = 0; i < index; i++) p += strcspn(p, "|") + 1;
    cvr_text_add_bytes(out, p, strcspn(p, "|"));
}

void cvr_attr_print(const cvr_schema *schema, uint32_t i, const void *packed, cvr_text *out) {
    const cell *c = packed;
    for (uint32_t k = 0; k < i; k++) c += cvr_attr_cells(schema->attrs[k]);
    const cvr_attr_desc *a = schema->attrs[i];
    int64_t n = cvr_attr_count(a);
    switch (a->kind) {
    case CVR_ATTR_BOOL: cvr_text_add(out, "%s", c->i ? "yes" : "no"); return;
    case CVR_ATTR_CHOICE: print_choice(a->choices, c->i, out); return;
    case CVR_ATTR_STRING:
    case CVR_ATTR_PATH: cvr_text_add(out, "%s", c->s); return;
    case CVR_ATTR_INTS:
    case CVR_ATTR_FLOATS: n = (c++)->i; break;
    default: break;
    }
    for (int64_t k = 0; k < n; k++) {
        if (k) cvr_text_add(out, ",");
        if (a->kind == CVR_ATTR_INT && a->choices && c[k].i == 0)
            cvr_text_add(out, "%s", a->choices);
        else if (a->kind == CVR_ATTR_INT || a->kind == CVR_ATTR_INTS)
            cvr_text_add(out, "%lld", (long long)c[k].i);
        else
            print_float(c[k].f, out);
    }
    cvr_text_add(out, "%s", "");
}
