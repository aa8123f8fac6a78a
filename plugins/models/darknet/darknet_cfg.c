/* Darknet's .cfg files as sections and options; see the header. */
#include "darknet_cfg.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int32_t darknet_cfg_fail(const darknet_cfg *c, uint32_t line, cvr_error *err, const char *format, ...) {
    char text[sizeof err->message];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e) *p = '?'; /* words of the file, which others wrote */
    return cvr_fail_at(err, c->path, line, cvr_fail(err, CVR_ERR_FORMAT, "%s", text));
}

/* ---- lines ---- */

/* Darknet drops every blank of a line. */
static void drop_blanks(char *line) {
    char *to = line;
    for (const char *p = line; *p; p++)
        if (*p != ' ' && *p != '\t' && *p != '\r' && *p != '\n') *to++ = *p;
    *to = '\0';
}

static int32_t add_section(darknet_cfg *c, char *line, uint32_t number, cvr_error *err) {
    const size_t n = strlen(line);
    if (n < 3 || line[n - 1] != ']')
        return darknet_cfg_fail(c, number, err, "`%.60s` is no section; write [NAME] on a line of its own", line);
    if (c->n_sections == DARKNET_MOST_SECTIONS)
        return darknet_cfg_fail(c, number, err, "more than %u layers; is this a network?", DARKNET_MOST_SECTIONS - 1);
    line[n - 1] = '\0';
    c->sections[c->n_sections++] = (darknet_section){.name = line + 1, .line = number, .first = c->n_options};
    return CVR_OK;
}

static int32_t add_option(darknet_cfg *c, char *line, uint32_t number, cvr_error *err) {
    char *equals = strchr(line, '=');
    if (!equals || equals == line)
        return darknet_cfg_fail(c, number, err, "`%.60s` is neither [section] nor key=value; correct the line", line);
    if (!c->n_sections)
        return darknet_cfg_fail(c, number, err, "`%.60s` stands before any section; a network begins with [net]", line);
    if (c->n_options == DARKNET_MOST_OPTIONS)
        return darknet_cfg_fail(c, number, err, "more than %u keys; is this a network?", DARKNET_MOST_OPTIONS);
    *equals = '\0';
    c->options[c->n_options++] = (darknet_option){.key = line, .value = equals + 1, .line = number};
    c->sections[c->n_sections - 1].count++;
    return CVR_OK;
}

static int32_t add_line(darknet_cfg *c, char *line, uint32_t number, cvr_error *err) {
    drop_blanks(line);
    if (!*line || *line == '#' || *line == ';') return CVR_OK;
    return *line == '[' ? add_section(c, line, number, err) : add_option(c, line, number, err);
}

static int32_t add_lines(darknet_cfg *c, uint64_t n, cvr_error *err) {
    uint32_t number = 0;
    for (char *line = c->text, *end = c->text + n; line < end; number++) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop) stop = end;
        *stop = '\0'; /* the text has a byte more */
        CVR_TRY(add_line(c, line, number + 1, err));
        line = stop + 1;
    }
    if (!c->n_sections) return darknet_cfg_fail(c, 0, err, "has no section; a network begins with [net]");
    const char *name = c->sections[0].name;
    if (strcmp(name, "net") != 0 && strcmp(name, "network") != 0)
        return darknet_cfg_fail(c, c->sections[0].line, err,
                                "the first section is [%.60s]; a network begins with [net]", name);
    return CVR_OK;
}

/* ---- the file ---- */

static uint64_t lesser(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* A section takes three bytes, an option two, and either ends its line. */
static int32_t give_memory(darknet_cfg *c, uint64_t n, cvr_error *err) {
    c->text = c->host->alloc(c->host, n + 1, 64);
    c->sections = c->host->alloc(c->host, lesser(n / 3 + 1, DARKNET_MOST_SECTIONS) * sizeof *c->sections, 64);
    c->options = c->host->alloc(c->host, lesser(n / 2 + 1, DARKNET_MOST_OPTIONS) * sizeof *c->options, 64);
    if (!c->text || !c->sections || !c->options) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    c->text[n] = '\0';
    return CVR_OK;
}

int32_t darknet_cfg_parse(const cvr_host *host, const char *path, const char *bytes, uint64_t n, darknet_cfg *out,
                          cvr_error *err) {
    *out = (darknet_cfg){.host = host, .path = path};
    if (n > DARKNET_MOST_BYTES) return darknet_cfg_fail(out, 0, err, "is larger than 1 MiB; is this a network?");
    if (n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) { /* the mark that Windows' editors put before UTF-8 */
        bytes += 3;
        n -= 3;
    }
    if (n && memchr(bytes, 0, (size_t)n)) return darknet_cfg_fail(out, 0, err, "is no text; give a .cfg file");
    CVR_TRY(give_memory(out, n, err));
    if (n) memcpy(out->text, bytes, (size_t)n);
    return add_lines(out, n, err);
}

/* The whole file, at most a byte more than may be. Free with the host. */
static int32_t read_bytes(const cvr_host *host, const char *path, char **bytes, uint64_t *n, cvr_error *err) {
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would wait for who writes into it */
    const int regular = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    FILE *f = regular ? fdopen(fd, "rb") : NULL;
    if (!f && fd >= 0) (void)close(fd);
    if (fd >= 0 && !regular)
        return cvr_fail_at(err, path, 0, cvr_fail(err, CVR_ERR_IO, "is not a regular file; correct model.cfg"));
    if (!f)
        return cvr_fail_at(err, path, 0,
                           cvr_fail(err, CVR_ERR_IO, "cannot be opened (%s); correct model.cfg", strerror(errno)));
    *bytes = host->alloc(host, DARKNET_MOST_BYTES + 1, 64);
    *n = *bytes ? fread(*bytes, 1, DARKNET_MOST_BYTES + 1, f) : 0;
    const int failed = ferror(f);
    (void)fclose(f);
    if (!*bytes) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    return failed ? cvr_fail_at(err, path, 0, cvr_fail(err, CVR_ERR_IO, "cannot be read; give a .cfg file")) : CVR_OK;
}

int32_t darknet_cfg_open(const cvr_host *host, const char *path, darknet_cfg *out, cvr_error *err) {
    char *bytes = NULL;
    uint64_t n = 0;
    *out = (darknet_cfg){.host = host, .path = path};
    if (!*path)
        return cvr_fail(err, CVR_ERR_USAGE, "model.cfg is not set; the model darknet is built from a .cfg file");
    int32_t status = read_bytes(host, path, &bytes, &n, err);
    if (status == CVR_OK) status = darknet_cfg_parse(host, path, bytes, n, out, err);
    if (bytes) host->free(host, bytes);
    return status;
}

void darknet_cfg_close(darknet_cfg *c) {
    if (c->text) c->host->free(c->host, c->text);
    if (c->sections) c->host->free(c->host, c->sections);
    if (c->options) c->host->free(c->host, c->options);
    c->text = NULL;
    c->sections = NULL;
    c->options = NULL;
}

/* ---- values ---- */

/* Of several the first one counts, as in Darknet; the others are told of. */
const darknet_option *darknet_cfg_find(const darknet_cfg *c, const darknet_section *s, const char *key) {
    const darknet_option *found = NULL;
    for (uint32_t i = s->first; i < s->first + s->count; i++)
        if (strcmp(c->options[i].key, key) == 0) {
            c->options[i].used = 1;
            c->options[i].ignored |= found != NULL;
            if (!found) found = &c->options[i];
        }
    return found;
}

static int32_t out_of_bounds(const darknet_cfg *c, const darknet_option *o, const double bounds[2], cvr_error *err) {
    return darknet_cfg_fail(c, o->line, err, "%.40s=%.60s: must be a number from %.12g to %.12g", o->key, o->value,
                            bounds[0], bounds[1]);
}

/* One number at `p`, up to a comma or the end; decimal, as Darknet reads no other (0x10 is 0 there, and inf). */
static int32_t number_at(const darknet_cfg *c, const darknet_option *o, const char *p, int whole,
                         const double bounds[2], double *out, const char **end, cvr_error *err) {
    char *stop;
    *out = strtod(p, &stop);
    const int ends = stop != p && (*stop == ',' || *stop == '\0') && p + strspn(p, "0123456789+-.eE") >= stop;
    if (!ends || !(*out >= bounds[0] && *out <= bounds[1]) || (whole && *out != floor(*out)))
        return out_of_bounds(c, o, bounds, err);
    *end = stop;
    return CVR_OK;
}

static int32_t numbers(const darknet_cfg *c, const darknet_section *s, const char *key, int whole,
                       const double bounds[2], double *out, uint32_t most, uint32_t *n, cvr_error *err) {
    const darknet_option *o = darknet_cfg_find(c, s, key);
    *n = 0;
    for (const char *p = o ? o->value : ""; *p;) {
        if (*n == most)
            return darknet_cfg_fail(c, o->line, err, "%.40s has more than %u numbers; give fewer", o->key, most);
        CVR_TRY(number_at(c, o, p, whole, bounds, &out[(*n)++], &p, err));
        if (*p == ',') p++; /* a comma may also end the list */
    }
    return CVR_OK;
}

static int32_t number(const darknet_cfg *c, const darknet_section *s, const char *key, int whole, double otherwise,
                      const double bounds[2], double *out, cvr_error *err) {
    uint32_t n;
    *out = otherwise;
    const darknet_option *o = darknet_cfg_find(c, s, key);
    if (!o) return CVR_OK;
    CVR_TRY(numbers(c, s, key, whole, bounds, out, 1, &n, err));
    return n == 1 ? CVR_OK : out_of_bounds(c, o, bounds, err);
}

int32_t darknet_cfg_int(const darknet_cfg *c, const darknet_section *s, const char *key, int64_t otherwise,
                        const int64_t bounds[2], int64_t *out, cvr_error *err) {
    const double limits[2] = {(double)bounds[0], (double)bounds[1]};
    double x;
    CVR_TRY(number(c, s, key, 1, (double)otherwise, limits, &x, err));
    *out = (int64_t)x;
    return CVR_OK;
}

int32_t darknet_cfg_float(const darknet_cfg *c, const darknet_section *s, const char *key, double otherwise,
                          const double bounds[2], double *out, cvr_error *err) {
    return number(c, s, key, 0, otherwise, bounds, out, err);
}

int32_t darknet_cfg_floats(const darknet_cfg *c, const darknet_section *s, const char *key, const double bounds[2],
                           double *out, uint32_t most, uint32_t *n, cvr_error *err) {
    return numbers(c, s, key, 0, bounds, out, most, n, err);
}

#define MOST_INTS 256u

int32_t darknet_cfg_ints(const darknet_cfg *c, const darknet_section *s, const char *key, const int64_t bounds[2],
                         int64_t *out, uint32_t most, uint32_t *n, cvr_error *err) {
    const double limits[2] = {(double)bounds[0], (double)bounds[1]};
    double x[MOST_INTS];
    CVR_TRY(numbers(c, s, key, 1, limits, x, most < MOST_INTS ? most : MOST_INTS, n, err));
    for (uint32_t i = 0; i < *n; i++) out[i] = (int64_t)x[i];
    return CVR_OK;
}

/* What follows `key` in a word of `list`: a blank, or `=` and a number. NULL: there is no such word. */
static const char *after_word(const char *list, const char *key) {
    const size_t n = strlen(key);
    for (const char *p = list; n && (p = strstr(p, key)); p += n)
        if (p > list && p[-1] == ' ' && (p[n] == ' ' || p[n] == '=')) return p + n;
    return NULL;
}

static int is_number(const char *text, double x) {
    char *end;
    const double number = strtod(text, &end);
    return end != text && !*end && number == x;
}

void darknet_cfg_ignore(const darknet_cfg *c, const darknet_section *s, const char *key) {
    const darknet_option *o = darknet_cfg_find(c, s, key);
    if (o) c->options[o - c->options].ignored = 1;
}

int32_t darknet_cfg_check_used(const darknet_cfg *c, const darknet_section *s, const char *passed, const char *zero,
                               cvr_error *err) {
    for (uint32_t i = s->first; i < s->first + s->count; i++) {
        darknet_option *o = &c->options[i];
        const char *after = after_word(passed, o->key);
        if (o->used) continue;
        if (after) {
            o->ignored = *after == '=' && !is_number(o->value, strtod(after + 1, NULL));
            continue;
        }
        if (!after_word(zero, o->key))
            return darknet_cfg_fail(c, o->line, err,
                                    "[%.40s] has no key `%.60s` that cvrun knows; correct its name, or delete the line",
                                    s->name, o->key);
        if (strcmp(o->value, "0") != 0)
            return darknet_cfg_fail(
                c, o->line, err, "%.40s=%.60s: cvrun has no such layers; use a network without them", o->key, o->value);
    }
    return CVR_OK;
}
