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

/* Bytes of the UTF-8 sequence at `s`, which ends with a zero; 0 where there is none (Unicode 15, table 3-7). */
static uint64_t utf8_length(const uint8_t *s) {
    const uint8_t a = s[0], b = a ? s[1] : 0;
    if (a < 0x80) return 1;
    const uint8_t low = a == 0xe0 ? 0xa0 : a == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = a == 0xed ? 0x9f : a == 0xf4 ? 0x8f : 0xbf;
    const uint64_t n = a >= 0xc2 && a <= 0xdf ? 2 : (a & 0xf0) == 0xe0 ? 3 : a >= 0xf0 && a <= 0xf4 ? 4 : 0;
    if (n == 0 || b < low || b > high) return 0;
    for (uint64_t i = 2; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
    }
    return n;
}

void text_json(text *t, const char *s) {
    text_put(t, "\"");
    for (uint64_t n; *s; s += n ? n : 1) {
        char escape[8];
        n = utf8_length((const uint8_t *)s);
        if (n == 0) {
            text_put(t, "\\ufffd");
        } else if (*s == '"' || *s == '\\') {
            text_put(t, "\\");
            text_add(t, s, 1);
        } else if ((uint8_t)*s < 0x20) {
            text_add(t, escape, (uint64_t)snprintf(escape, sizeof escape, "\\u%04x", (unsigned)(uint8_t)*s));
        } else {
            text_add(t, s, n);
        }
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
