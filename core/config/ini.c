/*
 * INI files: `[section]` and `key = value` lines of any length. A line is a comment that begins with `;` or `#`, and so
 * is what follows a `;` behind white space. A value that would not read back as it is stands in double quotes, with
 * \\ \" \n and \r in C's meaning; so whatever a program writes by cvr_ini_add_value it reads again.
 */
#include <cvr/config.h>

#define INI_LARGEST_FILE (1u << 22)

static const char blanks[] = " \t\r\v\f", escapes[] = "\\\"nr", escaped[] = "\\\"\n\r";

static bool is_blank(char c) {
    return c && strchr(blanks, c);
}

static char *trim(char *s) {
    s += strspn(s, blanks);
    size_t n = strlen(s);
    while (n && is_blank(s[n - 1])) s[--n] = '\0';
    return s;
}

/* Where a comment begins behind white space, or NULL. */
static char *find_comment(const char *s) {
    for (const char *p = s; (p = strchr(p, ';')); p++)
        if (p > s && is_blank(p[-1])) return (char *)(uintptr_t)p;
    return NULL;
}

bool cvr_ini_is_key(const char *key) {
    const size_t n = strlen(key);
    return n && !strchr("[;#", *key) && !is_blank(*key) && !is_blank(key[n - 1]) && !strpbrk(key, "=\n\r") &&
           !find_comment(key);
}

void cvr_ini_add_value(cvr_text *t, const char *value) {
    const size_t n = strlen(value);
    if (!n || (*value != '"' && *value != ';' && !is_blank(*value) && !is_blank(value[n - 1]) &&
               !strpbrk(value, "\n\r") && !find_comment(value))) {
        cvr_text_add_bytes(t, value, n);
        return;
    }
    cvr_text_add(t, "\"");
    for (const char *p = value; *p; p++) {
        const char *code = strchr(escaped, *p);
        if (code)
            cvr_text_add(t, "\\%c", escapes[code - escaped]);
        else
            cvr_text_add_bytes(t, p, 1);
    }
    cvr_text_add(t, "\"");
}

/* A quoted value in place; what is wrong with it, or NULL. */
static const char *unquote(char *value) {
    char *to = value;
    const char *p = value + 1;
    for (; *p && *p != '"'; p++) {
        const char *code = *p == '\\' && p[1] ? strchr(escapes, p[1]) : NULL;
        if (*p == '\\' && !code) return "a backslash between quotes is written \\\\";
        if (code) p++;
        *to++ = code ? escaped[code - escapes] : *p;
    }
    if (!*p) return "the closing quote is missing";
    p += 1 + strspn(p + 1, blanks);
    if (*p && *p != ';') return "text behind the closing quote; a quote within is written \\\"";
    *to = '\0';
    return NULL;
}

static const char *read_section(char *line, const char **section) {
    char *end = strchr(line, ']');
    if (!end) return "a section needs a closing ]";
    if (end == line + 1) return "a section needs a name";
    const char *rest = end + 1 + strspn(end + 1, blanks);
    if (*rest && *rest != ';' && *rest != '#') return "text behind ]; put it on a line of its own";
    *end = '\0';
    *section = line + 1;
    return NULL;
}

/* Splits a line into key and value, *value NULL where it has none; what is wrong with it, or NULL. */
static const char *read_line(char *line, const char **section, const char **key, const char **value) {
    *value = NULL;
    if (*line == '\0' || *line == ';' || *line == '#') return NULL;
    if (is_blank(*line)) return *trim(line) ? "the line is indented; start it in the first column" : NULL;
    if (*line == '[') return read_section(line, section);
    char *equals = strchr(line, '=');
    if (!equals) return "expected `key = value` or `[section]`";
    char *v = equals + 1;
    *equals = '\0';
    *key = trim(line);
    if (!**key) return "a key is missing before `=`";
    if (!cvr_ini_is_key(*key)) return "expected `key = value` or `[section]`";
    if (!*section) return "a key stands before the first [section]; put it under one";
    *value = v += strspn(v, blanks);
    if (*v == '"') return unquote(v);
    char *comment = find_comment(equals + 1);
    if (comment) *comment = '\0';
    *value = trim(equals + 1);
    return NULL;
}

int32_t cvr_ini_read(const char *path, cvr_ini_fn each, void *ctx, cvr_error *err) {
    uint8_t *bytes = NULL;
    uint64_t n = 0;
    CVR_TRY(cvr_fs_read(path, INI_LARGEST_FILE, &bytes, &n, err));
    const char *section = NULL, *key = NULL, *value = NULL;
    char *line = (char *)bytes, *const end = line + n; /* a NUL stands at the end */
    int32_t status = CVR_OK;
    if (n >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0) line += 3;
    for (uint32_t number = 1; line < end && status == CVR_OK; number++) {
        char *const newline = memchr(line, '\n', (size_t)(end - line)), *const stop = newline ? newline : end;
        *stop = '\0';
        const char *why = strlen(line) < (size_t)(stop - line) ? "a NUL byte; this is not a text file"
                                                               : read_line(line, &section, &key, &value);
        if (why)
            status = cvr_fail(err, CVR_ERR_USAGE, "%s", why);
        else if (value)
            status = each(ctx, section, key, value, number, err);
        if (status != CVR_OK) cvr_fail_at(err, path, number, status);
        line = stop + 1;
    }
    cvr_free(bytes);
    return status;
}
