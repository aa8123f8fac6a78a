/* Lists of the names of classes, and classes.txt: a name a line, `\n`, `\r` and `\\` for what a line cannot hold. */
#include "run_data.h"
#include <cvr/session.h>
#include <stdlib.h>

#define LARGEST_CLASSES (1u << 24)

void cvr_text_add_class(cvr_text *t, const char *name) {
    for (const char *c = name; *c; c++) {
        if (*c == '\n' || *c == '\r' || *c == '\\')
            cvr_text_add(t, "\\%c", *c == '\n' ? 'n' : *c == '\r' ? 'r' : '\\');
        else
            cvr_text_add_bytes(t, c, 1);
    }
    cvr_text_add(t, "\n");
}

void class_names_clear(class_names *c) {
    for (int64_t i = 0; c->names && i < c->n; i++) cvr_free(c->names[i]);
    cvr_free(c->names);
    *c = (class_names){0};
}

static void unescape(char *name) {
    char *to = name;
    for (const char *p = name; *p; p++) {
        const char next = *p == '\\' ? p[1] : '\0';
        const bool code = next == 'n' || next == 'r' || next == '\\';
        *to++ = !code ? *p : next == 'n' ? '\n' : next == 'r' ? '\r' : '\\';
        if (code) p++;
    }
    *to = '\0';
}

int32_t class_names_read(class_names *c, const char *path, cvr_error *err) {
    uint8_t *bytes;
    uint64_t size;
    CVR_TRY(cvr_fs_read(path, LARGEST_CLASSES, &bytes, &size, err));
    *c = (class_names){0};
    for (uint64_t i = 0; i < size && c->n <= MOST_CLASSES; i++) c->n += bytes[i] == '\n' || (i + 1 == size && bytes[i] != '\n');
    if (c->n > MOST_CLASSES) {
        cvr_free(bytes);
        *c = (class_names){0};
        cvr_fail(err, CVR_ERR_FORMAT, "has more than %d lines, and each is a class; is this a list of classes?",
                 MOST_CLASSES);
        return cvr_fail_at(err, path, 0, CVR_ERR_FORMAT);
    }
    c->names = cvr_calloc((size_t)c->n + 1, sizeof *c->names);
    const char *p = (const char *)bytes;
    bool good = c->names != NULL;
    for (int64_t i = 0; good && i < c->n; i++) {
        const size_t line = strcspn(p, "\n"), length = line && p[line - 1] == '\r' ? line - 1 : line;
        good = (c->names[i] = cvr_strndup(p, length)) != NULL;
        if (good) unescape(c->names[i]);
        p += line + 1;
    }
    cvr_free(bytes);
    if (good) return CVR_OK;
    class_names_clear(c);
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int32_t check_distinct(const class_names *c, cvr_error *err) {
    char **sorted = cvr_calloc((size_t)c->n + 1, sizeof *sorted);
    int32_t status = CVR_OK;
    if (!sorted) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memcpy(sorted, c->names, (size_t)c->n * sizeof *sorted);
    qsort(sorted, (size_t)c->n, sizeof *sorted, compare_names);
    if (!*sorted[0])
        status = cvr_fail(err, CVR_ERR_USAGE, "data.names has a class without a name; write a name for each, a,b,c");
    for (int64_t i = 1; i < c->n && status == CVR_OK; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            status = cvr_fail(err, CVR_ERR_USAGE, "data.names has two classes `%.200s`; rename one of them", sorted[i]);
    cvr_free(sorted);
    return status;
}

int32_t class_names_split(class_names *c, const char *text, cvr_error *err) {
    int64_t n = 1;
    *c = (class_names){0};
    for (const char *p = text; *p; p++) n += *p == ',';
    if (n > MOST_CLASSES)
        return cvr_fail(err, CVR_ERR_USAGE, "data.names has %lld names, and there may be %d", (long long)n,
                        MOST_CLASSES);
    *c = (class_names){.names = cvr_calloc((size_t)n, sizeof *c->names)};
    if (!c->names) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (const char *p = text; c->n < n; c->n++) {
        const size_t length = strcspn(p, ","), blank = strspn(p, " ");
        const size_t from = blank < length ? blank : length;
        size_t to = length;
        while (to > from && p[to - 1] == ' ') to--;
        c->names[c->n] = cvr_strndup(p + from, to - from);
        if (!c->names[c->n]) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        p += length + 1;
    }
    return check_distinct(c, err);
}

int64_t class_names_find(const class_names *c, const char *name, int64_t likely) {
    if (likely < c->n && strcmp(c->names[likely], name) == 0) return likely;
    for (int64_t i = 0; i < c->n; i++)
        if (strcmp(c->names[i], name) == 0) return i;
    return -1;
}

bool class_names_same(const class_names *a, const class_names *b) {
    bool same = a->n == b->n;
    for (int64_t i = 0; same && i < a->n; i++) same = strcmp(a->names[i], b->names[i]) == 0;
    return same;
}

bool class_names_are_numbers(const class_names *c) {
    char number[24];
    for (int64_t i = 0; i < c->n; i++) {
        (void)snprintf(number, sizeof number, "%lld", (long long)i);
        if (strcmp(c->names[i], number) != 0) return false;
    }
    return true;
}

const char *class_names_list(const class_names *c, char *to, size_t size) {
    size_t at = 0;
    *to = '\0';
    for (int64_t i = 0; i < c->n && at < size; i++)
        at += (size_t)snprintf(to + at, size - at, "%s%.40s", i ? "," : "", c->names[i]);
    if (at >= size) memcpy(to + size - 4, "...", 4);
    return to;
}
