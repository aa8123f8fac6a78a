/*
 * INI files by inih. Debian's inih tells no line numbers, cuts lines over 199 bytes and names over 49, and takes an
 * indented line for another value of the key above. So it is fed through a reader that counts lines and refuses what it
 * would misread. A value that is quoted, or longer than inih takes, goes around it: inih sees a short one in its place.
 *
 * A line is a comment that begins with `;` or `#`, and so is what follows a `;` behind white space. A value that would
 * not read back as it is stands in double quotes, with \\ \" \n and \r in C's meaning; so whatever a program writes by
 * cvr_ini_add_value it reads again.
 */
#include <cvr/config.h>
#include <ini.h>

#define INI_LONGEST_LINE 198
#define INI_LONGEST_NAME 48
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
    return n && n <= INI_LONGEST_NAME && !strchr("[;#", *key) && !is_blank(*key) && !is_blank(key[n - 1]) &&
           !strpbrk(key, "=\n\r") && !find_comment(key);
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

typedef struct ini_state {
    const char *path;
    char *at, *end; /* a NUL stands at the end */
    char *held;     /* the value of this line, where it goes around inih */
    uint32_t line;
    cvr_ini_fn each;
    void *ctx;
    cvr_error *err;
    int32_t status;
} ini_state;

static void ini_refuse(ini_state *s, const char *why) {
    cvr_fail(s->err, CVR_ERR_USAGE, "%s", why);
    s->status = cvr_fail_at(s->err, s->path, s->line, CVR_ERR_USAGE);
}

static const char *misread_section(const char *line) {
    const char *end = strchr(line, ']');
    if (!end) return "a section needs a closing ]";
    if (end == line + 1) return "a section needs a name";
    if (end - line > INI_LONGEST_NAME) return "the name is longer than 48 bytes";
    const char *rest = end + 1 + strspn(end + 1, blanks);
    return *rest && *rest != ';' && *rest != '#' ? "text behind ]; put it on a line of its own" : NULL;
}

/* What inih would misread in this line, or NULL. Takes the value out where it is to go around inih. */
static const char *settle_line(ini_state *s, char *line) {
    if (*line == '\0' || *line == ';' || *line == '#') return NULL;
    if (is_blank(*line)) return *trim(line) ? "the line is indented; start it in the first column" : NULL;
    if (*line == '[') return misread_section(line);
    char *equals = strchr(line, '=');
    if (!equals) return "expected `key = value` or `[section]`";
    char *value = equals + 1 + strspn(equals + 1, blanks), *key_end = equals;
    while (key_end > line && is_blank(key_end[-1])) key_end--;
    if (key_end == line) return "a key is missing before `=`";
    if (key_end - line > INI_LONGEST_NAME) return "the name is longer than 48 bytes";
    const char after = *key_end;
    *key_end = '\0';
    const bool readable = cvr_ini_is_key(line);
    *key_end = after;
    if (!readable) return "expected `key = value` or `[section]`";
    if (*value != '"' && strlen(line) <= INI_LONGEST_LINE) return NULL;
    s->held = value;
    if (*value == '"') return unquote(value);
    char *comment = find_comment(value);
    if (comment) *comment = '\0';
    trim(value);
    return NULL;
}

/* fgets for inih: one line, so short that inih's own limits are never met. */
static char *ini_next_line(char *str, int num, void *stream) {
    ini_state *s = stream;
    if (s->status != CVR_OK || s->at >= s->end || num < INI_LONGEST_LINE + 2) return NULL;
    char *line = s->at, *newline = memchr(line, '\n', (size_t)(s->end - line)), *stop = newline ? newline : s->end;
    *stop = '\0';
    s->at = stop + 1;
    s->line++;
    s->held = NULL;
    const char *why =
        strlen(line) < (size_t)(stop - line) ? "a NUL byte; this is not a text file" : settle_line(s, line);
    if (why) {
        ini_refuse(s, why);
        return NULL;
    }
    if (s->held)
        (void)snprintf(str, (size_t)num, "%.*s= -\n", (int)strcspn(line, "="), line);
    else if (*line == ';' || *line == '#')
        memcpy(str, "\n", 2);
    else
        (void)snprintf(str, (size_t)num, "%s\n", trim(line));
    return str;
}

static int ini_on_value(void *user, const char *section, const char *name, const char *value) {
    ini_state *s = user;
    if (s->status != CVR_OK) return 0;
    if (!*section) {
        ini_refuse(s, "a key stands before the first [section]; put it under one");
    } else {
        s->status = s->each(s->ctx, section, name, s->held ? s->held : value, s->line, s->err);
        if (s->status != CVR_OK) cvr_fail_at(s->err, s->path, s->line, s->status);
    }
    return s->status == CVR_OK;
}

int32_t cvr_ini_read(const char *path, cvr_ini_fn each, void *ctx, cvr_error *err) {
    uint8_t *bytes = NULL;
    ini_state s = {.path = path, .each = each, .ctx = ctx, .err = err};
    uint64_t n = 0;
    CVR_TRY(cvr_fs_read(path, INI_LARGEST_FILE, &bytes, &n, err));
    s.at = (char *)bytes;
    s.end = s.at + n;
    if (n >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) s.at += 3;
    const int rc = ini_parse_stream(ini_next_line, &s, ini_on_value, &s);
    if (s.status == CVR_OK && rc != 0) {
        s.line = rc > 0 ? (uint32_t)rc : 0;
        ini_refuse(&s, "not `key = value`, nor `[section]`");
    }
    cvr_free(bytes);
    return s.status;
}
