/*
 * The growing text of the reports, and its numbers, CSV cells (RFC 4180) and JSON strings (RFC 8259).
 */
#include "report_file.h"
#include <math.h>

void text_open(text *t, const cvr_host *host) {
    memset(t, 0, sizeof *t);
    t->host = host;
}

void text_close(text *t) {
    if (t->bytes) t->host->free(t->host, t->bytes);
    text_open(t, t->host);
}

void text_add(text *t, const void *bytes, uint64_t n) {
    if (t->failed) return;
    if (n > t->room - t->n) {
        const uint64_t room = (t->n + n) * 2 + 1024;
        char *const bigger = t->host->alloc(t->host, room, 16);
        if (!bigger) {
            t->failed = 1;
            return;
        }
        if (t->n) memcpy(bigger, t->bytes, t->n);
        if (t->bytes) t->host->free(t->host, t->bytes);
        t->bytes = bigger;
        t->room = room;
    }
    if (n) memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
}

void text_put(text *t, const char *s) {
    text_add(t, s, strlen(s));
}

void text_int(text *t, int64_t v) {
    char digits[32];
    text_add(t, digits, (uint64_t)snprintf(digits, sizeof digits, "%lld", (long long)v));
}

void text_number(text *t, double v) {
    char digits[64];
    if (isnan(v)) return;
    const int n = snprintf(digits, sizeof digits, "%.9g", v);
    for (int i = 0; i < n; i++) {
        if (digits[i] == ',') digits[i] = '.'; /* the decimal point of some locales */
    }
    text_add(t, digits, (uint64_t)n);
}

void text_cell(text *t, const char *s) {
    if (s[strcspn(s, ",\"\r\n")] == '\0') {
        text_put(t, s);
        return;
    }
    text_put(t, "\"");
    for (; *s; s++) {
        if (*s == '"') text_put(t, "\"");
        text_add(t, s, 1);
    }
    text_put(t, "\"");
}

void text_json(text *t, const char *s) {
    char piece[8];
    text_put(t, "\"");
    while (*s) {
        const uint64_t n = cvr_json_char(piece, &s);
        text_add(t, piece, n);
    }
    text_put(t, "\"");
}

void text_json_number(text *t, double v) {
    if (isfinite(v)) {
        text_number(t, v);
    } else {
        text_put(t, "null");
    }
}

int32_t text_check(const text *t, cvr_error *err) {
    return t->failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a report") : CVR_OK;
}
