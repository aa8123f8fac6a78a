/* The two files by which a run in progress is told what to do. Text: "id NUMBER", then a line an order or an answer. */
#include "control.h"
#include <cvr/plugin/text.h>
#include <cvr/writer.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define LARGEST_FILE 65536u

static const char *const words[] = {"backend", "lr", "checkpoint", "stop"};
#define N_WORDS (sizeof words / sizeof *words)

static int32_t unknown_order(const char *order, size_t length, cvr_error *err) {
    char word[64];
    (void)snprintf(word, sizeof word, "%.*s", (int)(length < 63 ? length : 63), order);
    const char *nearest = cvr_nearest(word, words, N_WORDS);
    return cvr_fail(err, CVR_ERR_USAGE,
                    "unknown order `%s`%s%s%s; orders are backend=NAME[/DEVICE], lr=NUMBER, checkpoint, stop", word,
                    nearest ? "; did you mean `" : "", nearest ? nearest : "", nearest ? "`?" : "");
}

int32_t control_parse(const char *text, control_order *o, cvr_error *err) {
    const char *const equals = strchr(text, '=');
    const size_t length = equals ? (size_t)(equals - text) : strlen(text);
    uint32_t kind = 0;
    char *end;
    while (kind < N_WORDS && (strlen(words[kind]) != length || strncmp(words[kind], text, length) != 0)) kind++;
    if (kind == N_WORDS) return unknown_order(text, length, err);
    *o = (control_order){.kind = kind};
    if (kind == CONTROL_CHECKPOINT || kind == CONTROL_STOP)
        return !equals ? CVR_OK : cvr_fail(err, CVR_ERR_USAGE, "%s takes no value", words[kind]);
    const char *const value = equals ? equals + 1 : "";
    if (kind == CONTROL_LR) {
        o->lr = strtod(value, &end);
        if (end != value && !*end && isfinite(o->lr) && o->lr > 0) return CVR_OK;
        return cvr_fail(err, CVR_ERR_USAGE, "lr=%.40s: a learning rate is a number above 0, such as lr=0.001", value);
    }
    return cvr_place_parse(&o->place, value, err);
}

int32_t cvr_control_check(const char *order, cvr_error *err) {
    control_order o;
    return control_parse(order, &o, err);
}

/* ---- files ---- */

static int32_t write_lines(const char *path, uint64_t id, const char *const *lines, size_t n, cvr_error *err) {
    cvr_text t = {0};
    cvr_text_add(&t, "id %llu\n", (unsigned long long)id);
    for (size_t i = 0; i < n; i++) cvr_text_add(&t, "%s\n", lines[i]);
    const int32_t status =
        t.failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory") : cvr_fs_write_unsynced(path, t.s, t.n, err);
    cvr_text_clear(&t);
    return status;
}

/* The lines after the first, which names whose they are; free with cvr_free. NULL where there is no such file. */
static int32_t read_lines(const char *path, uint64_t *id, char **lines, cvr_error *err) {
    uint8_t *bytes;
    uint64_t n;
    char *end;
    *lines = NULL;
    if (!cvr_fs_exists(path)) return CVR_OK;
    CVR_TRY(cvr_fs_read(path, LARGEST_FILE, &bytes, &n, err));
    *lines = cvr_strndup((const char *)bytes, n);
    cvr_free(bytes);
    if (!*lines) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (strncmp(*lines, "id ", 3) == 0) {
        *id = strtoull(*lines + 3, &end, 10);
        if (end != *lines + 3 && *end == '\n') {
            memmove(*lines, end + 1, strlen(end + 1) + 1);
            return CVR_OK;
        }
    }
    cvr_free(*lines);
    *lines = NULL;
    cvr_fail(err, CVR_ERR_FORMAT, "is no file of `cvrun ctl`; remove it");
    return cvr_fail_at(err, path, 0, CVR_ERR_FORMAT);
}

static int32_t paths_of(const char *folder, control_paths *p, cvr_error *err) {
    p->ask = cvr_fs_join(folder, "control.ask");
    p->said = cvr_fs_join(folder, "control.said");
    return p->ask && p->said ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

int32_t control_paths_open(control_paths *p, const char *folder, cvr_error *err) {
    const int32_t status = paths_of(folder, p, err);
    if (status != CVR_OK) control_paths_free(p);
    return status;
}

void control_paths_free(control_paths *p) {
    cvr_free(p->ask);
    cvr_free(p->said);
    *p = (control_paths){NULL, NULL};
}

int32_t control_take(const control_paths *p, uint64_t *id, char **orders, cvr_error *err) {
    const int32_t status = read_lines(p->ask, id, orders, err);
    if (status != CVR_OK || *orders) (void)unlink(p->ask);
    return status;
}

int32_t control_say(const control_paths *p, uint64_t id, const char *const *lines, size_t n, cvr_error *err) {
    return write_lines(p->said, id, lines, n, err);
}

void control_clear(const control_paths *p) {
    (void)unlink(p->ask);
    (void)unlink(p->said);
}

/* ---- who asks ---- */

/* A file of its own first, then a link under the name, which fails where there is one: no two can ask at once. */
int32_t cvr_control_ask(const char *folder, const char *const *orders, size_t n, uint64_t *id, cvr_error *err) {
    control_paths p = {0};
    cvr_text own = {0};
    int32_t status;
    for (size_t i = 0; i < n; i++) CVR_TRY(cvr_control_check(orders[i], err));
    *id = cvr_rng_mix((uint64_t)getpid(), (uint64_t)(1e9 * cvr_now()));
    CVR_TRY_OUT(control_paths_open(&p, folder, err));
    cvr_text_add(&own, "%s.%llu", p.ask, (unsigned long long)*id);
    CVR_TRY_OUT(own.failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory") : write_lines(own.s, *id, orders, n, err));
    const int failed = link(own.s, p.ask) == 0 ? 0 : errno;
    (void)unlink(own.s);
    if (failed == EEXIST)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE, "other orders wait for this run to obey; try again when it has"));
    if (failed) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_IO, "cannot leave orders: %s", strerror(failed)));
out:
    cvr_text_clear(&own);
    control_paths_free(&p);
    return status == CVR_OK || err->file[0] ? status : cvr_fail_at(err, folder, 0, status);
}

int32_t cvr_control_answer(const char *folder, uint64_t id, cvr_text *said, cvr_error *err) {
    control_paths p = {0};
    uint64_t whose = 0;
    char *lines;
    CVR_TRY(control_paths_open(&p, folder, err));
    const int32_t status = read_lines(p.said, &whose, &lines, err);
    if (status == CVR_OK && lines && whose == id) {
        cvr_text_add(said, "%s", lines);
        (void)unlink(p.said);
    }
    cvr_free(lines);
    control_paths_free(&p);
    return status;
}

void cvr_control_withdraw(const char *folder) {
    control_paths p = {0};
    cvr_error none = CVR_ERROR_INIT; /* what cannot be removed is removed by the next run */
    if (control_paths_open(&p, folder, &none) == CVR_OK) (void)unlink(p.ask);
    control_paths_free(&p);
}
