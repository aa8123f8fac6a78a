/*
 * Labels of samples: whole numbers. JSON (RFC 8259) is gone through as far as finding a key of the outermost object
 * needs.
 */
#include "tar_label.h"

#define MOST_DEPTH 64

typedef struct json {
    const char *at, *end;
} json;

static void skip_space(json *j) {
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r')) j->at++;
}

static int32_t take(json *j, char c) {
    skip_space(j);
    if (j->at == j->end || *j->at != c) return 0;
    j->at++;
    return 1;
}

/* A string, as it is written between its quotes. */
static int32_t take_string(json *j, const char **text, uint64_t *n) {
    if (!take(j, '"')) return 0;
    *text = j->at;
    while (j->at < j->end && *j->at != '"') j->at += *j->at == '\\' && j->end - j->at > 1 ? 2 : 1;
    if (j->at == j->end) return 0;
    *n = (uint64_t)(j->at++ - *text);
    return 1;
}

/* A number, true, false, null. */
static int32_t skip_word(json *j) {
    const char *const first = j->at;
    while (j->at < j->end && ((*j->at >= '0' && *j->at <= '9') || (*j->at >= 'a' && *j->at <= 'z') || *j->at == '-' ||
                              *j->at == '+' || *j->at == '.' || *j->at == 'E'))
        j->at++;
    return j->at > first;
}

/* Any value: brackets are counted, strings passed over. */
static int32_t skip_value(json *j) {
    const char *text;
    uint64_t n;
    int depth = 0;
    do {
        skip_space(j);
        if (j->at == j->end) return 0;
        const char c = *j->at;
        if (c == '"') {
            if (!take_string(j, &text, &n)) return 0;
        } else if (c == '{' || c == '[') {
            j->at++;
            if (++depth > MOST_DEPTH) return 0;
        } else if (c == '}' || c == ']') {
            j->at++;
            if (--depth < 0) return 0;
        } else if (depth && (c == ',' || c == ':')) {
            j->at++;
        } else if (!skip_word(j)) {
            return 0;
        }
    } while (depth);
    return 1;
}

int64_t tar_label_of_text(const char *text, uint64_t n) {
    json j = {text, text + n};
    int64_t value = 0;
    skip_space(&j);
    const char *const first = j.at;
    while (j.at < j.end && *j.at >= '0' && *j.at <= '9' && value <= TAR_MOST_CLASS)
        value = 10 * value + (*j.at++ - '0');
    const int32_t digits = j.at > first;
    skip_space(&j);
    return digits && j.at == j.end && value <= TAR_MOST_CLASS ? value : -1;
}

int64_t tar_label_of_json(const char *text, uint64_t n, const char *key) {
    json j = {text, text + n};
    const char *name;
    uint64_t length;
    if (!take(&j, '{')) return -1;
    while (take_string(&j, &name, &length) && take(&j, ':')) {
        skip_space(&j);
        const char *const value = j.at;
        if (!skip_value(&j)) return -1;
        if (length == strlen(key) && memcmp(name, key, length) == 0)
            return tar_label_of_text(value, (uint64_t)(j.at - value));
        if (!take(&j, ',')) return -1;
    }
    return -1;
}
