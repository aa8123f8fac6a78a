/*
 * Reading tables of colours.
 */
#include "colour_table.h"
#include "../csv_table.h"
#include "../dataset_picture.h"
#include <stdlib.h>
#include <strings.h>

#define MOST_CLASSES 255 /* the number behind the last is MASK_IGNORED */
#define BLANKS " \t"

void colour_table_free(colour_table *t) {
    if (t->rows) t->host->free(t->host, t->rows);
    *t = (colour_table){.host = t->host};
}

/* One row as it was read; `name` points into the line. */
typedef struct colour_line {
    char *name;
    uint32_t rgb;
} colour_line;

/* Takes blanks away from both ends. */
static char *trim(char *s) {
    s += strspn(s, BLANKS);
    for (char *end = s + strlen(s); end > s && strchr(BLANKS, end[-1]); end--) end[-1] = '\0';
    return s;
}

/* A whole number from 0 to 255 and nothing else. */
static int32_t is_level(const char *s, size_t n, uint32_t *level) {
    if (n < 1 || n > 3) return 0;
    *level = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9') return 0;
        *level = 10 * *level + (uint32_t)(s[i] - '0');
    }
    return *level <= 255;
}

static int32_t is_gap(char c, int32_t commas) {
    return commas ? c == ',' : c == ' ' || c == '\t';
}

/* The number at the line's beginning, and what comes behind it; NULL: there is none. */
static char *take_first(char *s, int32_t commas, uint32_t *level) {
    size_t n = 0;
    s += strspn(s, BLANKS);
    while (s[n] && !is_gap(s[n], commas)) n++;
    size_t end = n;
    while (end && strchr(BLANKS, s[end - 1])) end--;
    if (!is_level(s, end, level) || !s[n]) return NULL;
    return s + n + 1;
}

/* The number at the line's end, which is cut off; 0: there is none. */
static int32_t take_last(char *s, int32_t commas, uint32_t *level) {
    char *at = s + strlen(s);
    while (at > s && !is_gap(at[-1], commas)) at--;
    if (at == s) return 0;
    const char *const word = at + strspn(at, BLANKS);
    if (!is_level(word, strlen(word), level)) return 0;
    at[-1] = '\0';
    (void)trim(s);
    return 1;
}

static int32_t parse_numbers_first(char *s, int32_t commas, colour_line *out) {
    uint32_t level;
    out->rgb = 0;
    for (int i = 0; i < 3; i++) {
        s = take_first(s, commas, &level);
        if (!s) return 0;
        out->rgb = out->rgb << 8 | level;
    }
    out->name = trim(s);
    return *out->name != '\0';
}

static int32_t parse_name_first(char *s, int32_t commas, colour_line *out) {
    uint32_t level;
    out->rgb = 0;
    for (uint32_t i = 0; i < 3; i++) {
        if (!take_last(s, commas, &level)) return 0;
        out->rgb |= level << 8 * i;
    }
    out->name = trim(s);
    return *out->name != '\0';
}

/* The next name of a list with commas, without blanks around it; NULL at its end. */
static const char *next_name(const char **list, size_t *n) {
    *list += strspn(*list, " ,");
    if (!**list) return NULL;
    const char *const name = *list;
    *n = strcspn(name, ",");
    *list += *n;
    while (*n && name[*n - 1] == ' ') --*n;
    return name;
}

static int32_t is_listed(colour_table *t, const char *name, const char *list) {
    size_t n;
    uint64_t bit = 1;
    for (const char *listed; (listed = next_name(&list, &n)); bit <<= 1) {
        if (n != strlen(name) || strncasecmp(listed, name, n) != 0) continue;
        t->ignored |= bit;
        return 1;
    }
    return 0;
}

void colour_table_warn(const colour_table *t, const char *path, const char *ignored) {
    char line[1200];
    size_t n;
    uint64_t bit = 1;
    for (const char *name; (name = next_name(&ignored, &n)) && bit; bit <<= 1) {
        if (t->ignored & bit || (n == 4 && strncasecmp(name, "void", n) == 0)) continue;
        (void)snprintf(line, sizeof line, "%.900s: no class `%.*s`, which data.ignored_classes names", path,
                       (int)(n < 200 ? n : 200), name);
        t->host->log(t->host, CVR_LOG_WARNING, line);
    }
}

static int32_t add_row(colour_table *t, const colour_line *line, const char *ignored, name_table *classes,
                       cvr_error *err) {
    int64_t number = MASK_IGNORED;
    colour_row *const rows = dataset_grow(t->host, t->rows, t->n, 1, &t->room, sizeof *rows);
    if (!rows) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a table of colours");
    t->rows = rows;
    if (!is_listed(t, line->name, ignored)) CVR_TRY(name_table_put(classes, line->name, &number, err));
    rows[t->n++] = (colour_row){line->rgb, (uint32_t)number};
    return CVR_OK;
}

static int by_rgb(const void *a, const void *b) {
    const colour_row *const x = a, *const y = b;
    return x->rgb < y->rgb ? -1 : x->rgb > y->rgb;
}

static int32_t fail_file(const char *path, int32_t status, cvr_error *err) {
    return cvr_fail_at(err, path, 0, status);
}

/* Two classes of one colour cannot be told apart. */
static int32_t sort_rows(colour_table *t, const char *path, cvr_error *err) {
    qsort(t->rows, t->n, sizeof *t->rows, by_rgb);
    for (uint64_t i = 1; i < t->n; i++) {
        const uint32_t c = t->rows[i].rgb;
        if (c != t->rows[i - 1].rgb) continue;
        return fail_file(path,
                         cvr_fail(err, CVR_ERR_FORMAT, "the colour %u %u %u stands here twice; remove one of the rows",
                                  c >> 16, c >> 8 & 255, c & 255),
                         err);
    }
    return CVR_OK;
}

int32_t colour_table_read(colour_table *t, const char *path, const char *ignored, name_table *classes, cvr_error *err) {
    csv_table lines = {0};
    int32_t status;
    CVR_TRY_OUT(csv_table_read(t->host, path, CSV_LINES, &lines, err));
    for (uint64_t i = 0; i < lines.n_rows; i++) {
        char *const text = trim(lines.text + lines.cells[lines.rows[i].first]);
        const int32_t commas = strchr(text, ',') != NULL;
        colour_line line = {0};
        if (*text == '\0' || *text == '#') continue;
        if (!parse_numbers_first(text, commas, &line) && !parse_name_first(text, commas, &line)) {
            if (i == 0 && !strpbrk(text, "0123456789")) continue; /* titles */
            CVR_TRY_OUT(csv_table_fail(
                &lines, path, i, "not `red green blue name` or `name,red,green,blue`, with levels of 0 to 255", err));
        }
        CVR_TRY_OUT(add_row(t, &line, ignored, classes, err));
    }
    if (classes->n == 0 || classes->n > MOST_CLASSES)
        CVR_TRY_OUT(fail_file(path,
                              cvr_fail(err, CVR_ERR_FORMAT, "%llu classes; a table of colours has 1 to %d",
                                       (unsigned long long)classes->n, MOST_CLASSES),
                              err));
    CVR_TRY_OUT(sort_rows(t, path, err));
out:
    csv_table_free(&lines);
    return status;
}

const colour_row *colour_table_find(const colour_table *t, uint32_t rgb) {
    const colour_row key = {rgb, 0};
    return t->n ? bsearch(&key, t->rows, t->n, sizeof key, by_rgb) : NULL;
}
