/* "cvr.host.tuning/1": choices that were made by timing, kept so that a run that goes on makes them again. */
#include "services.h"
#include <math.h>

#define TUNING_FILE "tuning"
#define LONGEST 1000u
#define WRITTEN_EVERY 5.0 /* seconds */

static bool is_text(const char *s) {
    const size_t n = s ? strlen(s) : 0;
    return n > 0 && n <= LONGEST && !strpbrk(s, "\t\n");
}

/* The line of a key, or NULL. */
static const char *find_line(const tuning *t, const char *key, size_t n) {
    for (const char *p = t->lines.s; p && *p; p += strcspn(p, "\n") + 1)
        if (strncmp(p, key, n) == 0 && p[n] == '\t') return p;
    return NULL;
}

static int32_t keep_all(tuning *t, cvr_error *err) {
    t->kept = true;
    return t->keep ? t->keep(t->ctx, t->lines.s, t->lines.n, err) : CVR_OK;
}

static const char *tuning_get(const cvr_tuning_service *s, const char *key) {
    tuning *t = s->ctx;
    const char *line = is_text(key) ? find_line(t, key, strlen(key)) : NULL;
    if (!line) return NULL;
    if (!t->kept) (void)keep_all(t, NULL); /* a choice of the cache folder's is one of this run's from now on */
    line += strlen(key) + 1;
    (void)snprintf(t->choice, sizeof t->choice, "%.*s", (int)strcspn(line, "\n"), line);
    return t->choice;
}

static void drop_line(tuning *t, const char *line) {
    const size_t at = (size_t)(line - t->lines.s), n = strcspn(line, "\n") + 1;
    memmove(t->lines.s + at, t->lines.s + at + n, t->lines.n - at - n + 1);
    t->lines.n -= n;
}

static void write_cached(tuning *t) {
    cvr_error err = CVR_ERROR_INIT;
    if (!t->changed) return;
    const bool good = cache_put(TUNING_FILE, t->lines.s, t->lines.n, &err) == CVR_OK;
    if (!good) cvr_log(CVR_LOG_WARNING, "choices by timing were not kept: %s", err.message);
    t->changed = false;
    t->written = good ? cvr_now() : HUGE_VAL; /* said once, and at the end */
}

static int32_t tuning_put(const cvr_tuning_service *s, const char *key, const char *choice, cvr_error *err) {
    tuning *t = s->ctx;
    if (!is_text(key) || !is_text(choice))
        return cvr_fail(err, CVR_ERR_PLUGIN, "a choice is a key and a text of 1 to %u bytes without tab or newline",
                        LONGEST);
    const char *line = find_line(t, key, strlen(key));
    if (line) drop_line(t, line);
    cvr_text_add(&t->lines, "%s\t%s\n", key, choice);
    if (t->lines.failed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    t->changed = true;
    if (cvr_now() - t->written > WRITTEN_EVERY) write_cached(t);
    return keep_all(t, err);
}

/* Whole lines of a key and a choice; whatever else is there is passed over. */
static void add_lines(tuning *t, const char *lines, uint64_t n) {
    for (uint64_t at = 0; at < n;) {
        const char *line = lines + at, *end = memchr(line, '\n', n - at), *tab = memchr(line, '\t', n - at);
        if (!end) return;
        const size_t length = (size_t)(end - line);
        at += length + 1;
        if (!tab || tab == line || tab + 1 >= end || length > 2 * LONGEST || memchr(line, '\0', length)) continue;
        const char *known = find_line(t, line, (size_t)(tab - line));
        if (known) drop_line(t, known);
        cvr_text_add(&t->lines, "%.*s\n", (int)length, line);
    }
}

static void *take(void *ctx, uint64_t n) {
    char **to = ctx;
    return *to = cvr_calloc(1, n + 1);
}

void tuning_open(tuning *t, const char *lines, uint64_t n) {
    char *cached = NULL;
    uint64_t bytes;
    *t = (tuning){.service = {sizeof t->service, t, tuning_get, tuning_put}, .written = cvr_now()};
    if (cache_get(TUNING_FILE, take, &cached, &bytes, NULL) == CVR_OK && cached) add_lines(t, cached, bytes);
    cvr_free(cached);
    if (lines) add_lines(t, lines, n);
}

void tuning_close(tuning *t) {
    write_cached(t);
    cvr_text_clear(&t->lines);
}
