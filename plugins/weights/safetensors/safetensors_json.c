/*
 * The strict subset of JSON (RFC 8259) that a safetensors header is made of: objects, arrays, strings, whole numbers.
 * The grammar of the header is of fixed depth and the reader follows it, so that nothing here recurses.
 */
#include "safetensors.h"

int32_t st_json_fail(const st_json *j, const char *what) {
    return cvr_fail(j->err, CVR_ERR_FORMAT, "safetensors header, byte %llu: %s; the file is damaged or not safetensors",
                    (unsigned long long)(j->at - j->start + 8), what);
}

static void skip_space(st_json *j) {
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r')) j->at++;
}

int32_t st_json_accept(st_json *j, char c) {
    skip_space(j);
    if (j->at == j->end || *j->at != (uint8_t)c) return 0;
    j->at++;
    return 1;
}

int32_t st_json_expect(st_json *j, char c) {
    char what[32];
    if (st_json_accept(j, c)) return CVR_OK;
    (void)snprintf(what, sizeof what, "'%c' expected", c);
    return st_json_fail(j, j->at == j->end ? "the header ends too early" : what);
}

int32_t st_json_end(st_json *j) {
    skip_space(j);
    return j->at == j->end ? CVR_OK : st_json_fail(j, "text after the closing '}'");
}

const char *st_show(const char *name, char buf[ST_SHOWN]) {
    uint64_t n = strnlen(name, ST_SHOWN - 1);
    /* Never cut within a UTF-8 sequence. */
    while (n == ST_SHOWN - 1 && n > 0 && ((uint8_t)name[n] & 0xc0) == 0x80) n--;
    for (uint64_t i = 0; i < n; i++) buf[i] = (uint8_t)name[i] < 0x20 || name[i] == 0x7f ? '?' : name[i];
    buf[n] = '\0';
    return buf;
}

/* The four hex digits after \u; -1 where they are none. */
static int32_t hex4(st_json *j) {
    int32_t v = 0;
    if (j->end - j->at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        const uint8_t c = *j->at++;
        const int32_t d = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (d < 0) return -1;
        v = v * 16 + d;
    }
    return v;
}

static void put_utf8(st_json *j, int32_t cp) {
    char *t = j->text;
    if (cp < 0x80) {
        *t++ = (char)cp;
    } else if (cp < 0x800) {
        *t++ = (char)(0xc0 | cp >> 6);
        *t++ = (char)(0x80 | (cp & 0x3f));
    } else if (cp < 0x10000) {
        *t++ = (char)(0xe0 | cp >> 12);
        *t++ = (char)(0x80 | (cp >> 6 & 0x3f));
        *t++ = (char)(0x80 | (cp & 0x3f));
    } else {
        *t++ = (char)(0xf0 | cp >> 18);
        *t++ = (char)(0x80 | (cp >> 12 & 0x3f));
        *t++ = (char)(0x80 | (cp >> 6 & 0x3f));
        *t++ = (char)(0x80 | (cp & 0x3f));
    }
    j->text = t;
}

/* After \u: one unit of UTF-16, or a pair of surrogates. */
static int32_t unicode_escape(st_json *j) {
    int32_t cp = hex4(j);
    if (cp >= 0xd800 && cp < 0xdc00) {
        if (j->end - j->at < 6 || j->at[0] != '\\' || j->at[1] != 'u') return st_json_fail(j, "half a surrogate pair");
        j->at += 2;
        const int32_t low = hex4(j);
        if (low < 0xdc00 || low > 0xdfff) return st_json_fail(j, "half a surrogate pair");
        cp = 0x10000 + (cp - 0xd800) * 0x400 + (low - 0xdc00);
    }
    if (cp < 0 || (cp >= 0xdc00 && cp < 0xe000)) return st_json_fail(j, "bad \\u escape in a string");
    if (cp == 0) return st_json_fail(j, "a NUL in a string");
    put_utf8(j, cp);
    return CVR_OK;
}

static int32_t escape(st_json *j) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (j->at == j->end) return st_json_fail(j, "the header ends within a string");
    const char c = (char)*j->at++;
    if (c == 'u') return unicode_escape(j);
    const char *k = c ? strchr(from, c) : NULL;
    if (!k) return st_json_fail(j, "unknown escape in a string");
    *j->text++ = to[k - from];
    return CVR_OK;
}

/* A decoded string is shorter than its source with the two quotes, so `text` cannot overflow: it is as long as the
 * header. */
int32_t st_json_string(st_json *j, const char **out) {
    *out = j->text;
    CVR_TRY(st_json_expect(j, '"'));
    for (;;) {
        if (j->at == j->end) return st_json_fail(j, "the header ends within a string");
        if (*j->at == '"') break;
        if (*j->at == '\\') {
            j->at++;
            CVR_TRY(escape(j));
            continue;
        }
        const uint64_t len = *j->at < 0x20 ? 0 : cvr_utf8_length(j->at, (uint64_t)(j->end - j->at));
        if (len == 0) return st_json_fail(j, "a byte that may not stand in a string");
        memcpy(j->text, j->at, len);
        j->text += len;
        j->at += len;
    }
    j->at++;
    *j->text++ = '\0';
    return CVR_OK;
}

int32_t st_json_integer(st_json *j, int64_t *out) {
    int64_t v = 0;
    skip_space(j);
    const uint8_t *const first = j->at;
    for (; j->at < j->end && *j->at >= '0' && *j->at <= '9'; j->at++) {
        const int64_t d = *j->at - '0';
        if (v > (INT64_MAX - d) / 10) return st_json_fail(j, "a number that is too large");
        v = v * 10 + d;
    }
    if (j->at == first) return st_json_fail(j, "a whole number, 0 or more, expected");
    if (*first == '0' && j->at - first > 1) return st_json_fail(j, "a number with a leading zero");
    if (j->at < j->end && (*j->at == '.' || *j->at == 'e' || *j->at == 'E')) {
        return st_json_fail(j, "a whole number expected");
    }
    *out = v;
    return CVR_OK;
}
