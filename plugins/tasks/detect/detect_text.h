/* Text that grows, in the host's memory; what failed is told once, at the end. */
#ifndef CVR_DETECT_TEXT_H
#define CVR_DETECT_TEXT_H

#include "host_array.h"
#include <stdarg.h>

typedef struct detect_text {
    const cvr_host *host;
    host_array chars;
    int32_t failed;
} detect_text;

/* n bytes, and a NUL behind them. */
static inline void detect_text_put(detect_text *t, const char *bytes, uint64_t n) {
    if (t->failed || host_array_room(&t->chars, t->host, n + 1, 1, NULL) != CVR_OK) {
        t->failed = 1;
        return;
    }
    memcpy((char *)t->chars.data + t->chars.n, bytes, n);
    t->chars.n += n;
    ((char *)t->chars.data)[t->chars.n] = '\0';
}

/* At most 1,500 bytes at a time. */
static inline void CVR_PRINTF(2, 3) detect_text_add(detect_text *t, const char *format, ...) {
    char piece[1536];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    if (n > 0) detect_text_put(t, piece, (uint64_t)n < sizeof piece ? (uint64_t)n : sizeof piece - 1);
}

static inline const char *detect_text_of(const detect_text *t) {
    return t->chars.data ? t->chars.data : "";
}

/* Back to nothing. */
static inline void detect_text_clear(detect_text *t) {
    t->chars.n = 0;
    detect_text_put(t, "", 0);
}

static inline int32_t detect_text_check(const detect_text *t, cvr_error *err) {
    return t->failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory for what was found") : CVR_OK;
}

static inline void detect_text_free(detect_text *t) {
    host_array_free(&t->chars, t->host);
}

#endif
