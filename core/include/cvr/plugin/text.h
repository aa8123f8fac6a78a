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

/* Bytes (1 to 4) of the UTF-8 character (RFC 3629) that begins a NUL-terminated text; 0 where none begins, and at its
 * end. */
static inline uint32_t cvr_utf8_length(const char *text) {
    const unsigned char *const s = (const unsigned char *)text;
    const uint32_t n = s[0] == 0     ? 0
                       : s[0] < 0x80 ? 1
                       : s[0] < 0xc2 ? 0
                       : s[0] < 0xe0 ? 2
                       : s[0] < 0xf0 ? 3
                       : s[0] < 0xf5 ? 4
                                     : 0;
    if (n >= 2) {
        /* Neither overlong forms, nor surrogates, nor numbers past U+10FFFF. */
        const unsigned lowest = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
        const unsigned highest = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
        if (s[1] < lowest || s[1] > highest) return 0;
    }
    for (uint32_t i = 2; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
    }
    return n;
}

/*
 * A JSON string, quotes included, NUL-terminated; bytes that are not UTF-8 become U+FFFD. A text that does not fit is
 * cut at a character. Returns its length. `size` is at least 3.
 */
static inline uint64_t cvr_json_string(char *out, uint64_t size, const char *text) {
    uint64_t n = 0;
    out[n++] = '"';
    while (*text) {
        char piece[8];
        uint32_t length = cvr_utf8_length(text), from = length ? length : 1;
        if (length == 0) {
            memcpy(piece, "\xef\xbf\xbd", 3);
            length = 3;
        } else if (*text == '"' || *text == '\\') {
            piece[0] = '\\';
            piece[1] = *text;
            length = 2;
        } else if ((unsigned char)*text < 0x20) {
            (void)snprintf(piece, sizeof piece, "\\u%04x", (unsigned)*text);
            length = 6;
        } else {
            memcpy(piece, text, length);
        }
        if (n + length + 2 > size) break;
        memcpy(out + n, piece, length);
        n += length;
        text += from;
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
