/*
 * JSON as a stream of events (RFC 8259, read by yajl): a file of any size takes no more memory than its longest value.
 */
#ifndef CVR_JSON_STREAM_H
#define CVR_JSON_STREAM_H

#include <cvr/plugin/plugin.h>

enum json_kind {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_KEY,
    JSON_BEGIN_MAP,
    JSON_END_MAP,
    JSON_BEGIN_LIST,
    JSON_END_LIST
};

/* One event. `text` (n bytes, not terminated) is a number as it is written, a string or a key, decoded. `depth`: maps
 * and lists around it, its own not counted. */
typedef struct json_event {
    enum json_kind kind;
    uint32_t depth;
    const char *text;
    uint64_t n;
    uint64_t end; /* bytes of the file up to its end */
} json_event;
typedef int32_t (*json_event_fn)(void *ctx, const json_event *e, cvr_error *err);

/* To the end of the file (plain or gzip), or of these bytes, or until an event fails. Errors name file and line. */
int32_t json_stream_file(const cvr_host *host, const char *path, json_event_fn each, void *ctx, cvr_error *err);
int32_t json_stream_bytes(const cvr_host *host, const char *bytes, uint64_t n, json_event_fn each, void *ctx,
                          cvr_error *err);

/* The number that an event has; 0: it is none, or no whole one. */
int32_t json_number(const json_event *e, double *out);
int32_t json_whole(const json_event *e, int64_t *out);
static inline int32_t json_is(const json_event *e, const char *text) {
    return e->n == strlen(text) && memcmp(e->text, text, e->n) == 0;
}

#endif
