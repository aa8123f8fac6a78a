/*
 * INI files by inih. Debian's inih tells no line numbers, cuts lines over 199 bytes and names over 49, and takes an
 * indented line for another value of the key above. So it is fed through a reader that counts lines and refuses those.
 */
#include <ctype.h>
#include <cvr/config.h>
#include <ini.h>

#define INI_LONGEST_LINE 198
#define INI_LONGEST_NAME 48
#define INI_LARGEST_FILE (1u << 20)

typedef struct ini_state {
    const char *path;
    const char *bytes;
    size_t n, at;
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

/* What inih would misread in this line, or NULL. */
static const char *misread(const char *line, size_t n) {
    if (memchr(line, '\0', n)) return "a NUL byte; this is not a text file";
    if (n > INI_LONGEST_LINE) return "the line is longer than 198 bytes; split it";
    if (n == 0 || *line == ';' || *line == '#') return NULL;
    if (isspace((unsigned char)*line)) {
        for (size_t i = 0; i < n; i++) {
            if (!isspace((unsigned char)line[i])) return "the line is indented; start it in the first column";
        }
        return NULL;
    }
    const char *end = *line == '[' ? memchr(line, ']', n) : memchr(line, '=', n);
    if (*line == '[' && !end) return "a section needs a closing ]";
    if (*line != '[' && !end) return "expected `key = value` or `[section]`";
    if (end == line) return "a key is missing before `=`";
    if (end - line > INI_LONGEST_NAME) return "the name is longer than 48 bytes";
    return NULL;
}

/* fgets for inih: one line without its newline, so that inih's own limits are never met. */
static char *ini_next_line(char *str, int num, void *stream) {
    ini_state *s = stream;
    if (s->status != CVR_OK || s->at >= s->n || num < INI_LONGEST_LINE + 2) return NULL;
    const char *line = s->bytes + s->at;
    const char *newline = memchr(line, '\n', s->n - s->at);
    size_t n = newline ? (size_t)(newline - line) : s->n - s->at;
    s->at += n + 1;
    s->line++;
    if (n && line[n - 1] == '\r') n--;
    const char *why = misread(line, n);
    if (why) {
        ini_refuse(s, why);
        return NULL;
    }
    memcpy(str, line, n);
    memcpy(str + n, "\n", 2);
    return str;
}

static int ini_on_value(void *user, const char *section, const char *name, const char *value) {
    ini_state *s = user;
    if (s->status != CVR_OK) return 0;
    if (!*section) {
        ini_refuse(s, "a key stands before the first [section]; put it under one");
    } else {
        s->status = s->each(s->ctx, section, name, value, s->line, s->err);
        if (s->status != CVR_OK) cvr_fail_at(s->err, s->path, s->line, s->status);
    }
    return s->status == CVR_OK;
}

int32_t cvr_ini_read(const char *path, cvr_ini_fn each, void *ctx, cvr_error *err) {
    uint8_t *bytes = NULL;
    ini_state s = {.path = path, .each = each, .ctx = ctx, .err = err};
    uint64_t n = 0;
    CVR_TRY(cvr_fs_read(path, INI_LARGEST_FILE, &bytes, &n, err));
    s.bytes = (const char *)bytes;
    s.n = n;
    if (n >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) s.at = 3;
    const int rc = ini_parse_stream(ini_next_line, &s, ini_on_value, &s);
    if (s.status == CVR_OK && rc != 0) {
        s.line = rc > 0 ? (uint32_t)rc : 0;
        ini_refuse(&s, "not `key = value`, nor `[section]`");
    }
    cvr_free(bytes);
    return s.status;
}
