/*
 * Text and numbers that several kinds of plugins need in the same way: JSON strings, UTF-8, the largest of some
 * numbers.
 */
#ifndef CVR_PLUGIN_TEXT_H
#define CVR_PLUGIN_TEXT_H

#include "abi.h"
#include <math.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes (1 to 4) of the UTF-8 character (RFC 3629) that begins the `n` bytes at `text`; 0 where none does. A text that
 * ends with a NUL may be said to have 4 bytes. */
static inline uint64_t cvr_utf8_length(const void *text, uint64_t n) {
    const uint8_t *const s = (const uint8_t *)text;
    const uint8_t lead = n ? s[0] : 0x80;
    if (lead < 0x80) return 1;
    const uint64_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (length == 0 || length > n) return 0;
    for (uint64_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
    }
    /* Overlong forms, surrogates, and what lies past U+10FFFF. */
    const int32_t bad = (lead == 0xe0 && s[1] < 0xa0) || (lead == 0xed && s[1] > 0x9f) ||
                        (lead == 0xf0 && s[1] < 0x90) || (lead == 0xf4 && s[1] > 0x8f);
    return bad ? 0 : length;
}

/* The character at *text as a JSON string has it, at most 6 bytes, and their number; moves *text on. */
static inline uint64_t cvr_json_char(char out[8], const char **text) {
    const char c = **text;
    uint64_t n = cvr_utf8_length(*text, 4);
    if (n == 0) {
        memcpy(out, "\\ufffd", n = 6);
        ++*text;
    } else if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = c;
        n = 2;
        ++*text;
    } else if ((uint8_t)c < 0x20) {
        n = (uint64_t)snprintf(out, 8, "\\u%04x", (unsigned)(uint8_t)c);
        ++*text;
    } else {
        memcpy(out, *text, n);
        *text += n;
    }
    return n;
}

/* A JSON string (RFC 8259), quotes included; bytes that are not UTF-8 become U+FFFD. What does not fit into `size` >= 3
 * bytes is cut off after a character. Returns its length. */
static inline uint64_t cvr_json_string(char *out, uint64_t size, const char *text) {
    uint64_t n = 0;
    char piece[8];
    out[n++] = '"';
    while (*text) {
        const uint64_t more = cvr_json_char(piece, &text);
        if (n + more + 2 > size) break;
        memcpy(out + n, piece, more);
        n += more;
    }
    out[n++] = '"';
    out[n] = '\0';
    return n;
}

/* A CSV cell (RFC 4180) in quotes; the same otherwise. */
static inline uint64_t cvr_csv_string(char *out, uint64_t size, const char *text) {
    uint64_t n = 0;
    out[n++] = '"';
    for (; *text && n + 4 <= size; text++) {
        if (*text == '"') out[n++] = '"';
        out[n++] = *text;
    }
    out[n++] = '"';
    out[n] = '\0';
    return n;
}

/* Index of the largest of n >= 1 numbers, the first of equal ones. One that is not a number never wins; 0 where none
 * is. */
static inline int64_t cvr_argmax(const float *x, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++) {
        if (x[i] > x[best] || (isnan(x[best]) && !isnan(x[i]))) best = i;
    }
    return best;
}

#ifdef __cplusplus
}
#endif

#endif
