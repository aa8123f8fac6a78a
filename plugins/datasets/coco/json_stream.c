/*
 * yajl, fed a chunk at a time.
 *
 * yajl does not look whether it was given the memory that it asked for. So it gets a region of its own that is enough
 * for the longest value that is taken: its two buffers double until they hold it and one chunk, and what they were
 * before is not used again.
 */
#include "json_stream.h"
#include "../dataset_file.h"
#include "../dataset_picture.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <yajl/yajl_parse.h>

#define CHUNK (UINT64_C(1) << 16)
#define LONGEST (UINT64_C(1) << 18) /* bytes of one value, or of blanks */
#define REGION (UINT64_C(1) << 22)
#define REGION_LEAST (UINT64_C(1) << 15) /* for yajl itself */
#define DEEPEST 64u

typedef struct region {
    uint8_t *base;
    uint64_t room, used, last; /* where the last block begins */
} region;

typedef struct json_stream {
    const cvr_host *host;
    json_event_fn each;
    void *ctx;
    cvr_error *err;
    const char *path; /* "": bytes in memory */
    yajl_handle yajl;
    region region;
    int32_t status;
    uint32_t depth, line;
    const uint8_t *chunk;
    uint64_t start;   /* of the chunk in the file */
    uint64_t counted; /* bytes of the chunk whose line ends are counted */
    uint64_t last;    /* where the last event ended */
} json_stream;

/* ---- memory: each block behind its size ---- */

static void *region_get(void *ctx, size_t n) {
    region *const r = ctx;
    const uint64_t bytes = (n + 31) / 16 * 16;
    if (n > r->room || bytes > r->room - r->used) return NULL;
    uint8_t *const block = r->base + r->used;
    memcpy(block, &bytes, sizeof bytes);
    r->last = r->used;
    r->used += bytes;
    return block + 16;
}

static void region_put(void *ctx, void *p) {
    region *const r = ctx;
    if (p && (uint8_t *)p - 16 == r->base + r->last) r->used = r->last;
}

static void *region_resize(void *ctx, void *p, size_t n) {
    region *const r = ctx;
    uint64_t old = 0;
    if (p) memcpy(&old, (uint8_t *)p - 16, sizeof old);
    region_put(r, p);
    void *const block = region_get(r, n);
    if (block && p && block != p) memcpy(block, p, old - 16 < n ? old - 16 : n);
    return block;
}

/* ---- events ---- */

/* The line that the stream is at, from 1. */
static uint32_t line_of(json_stream *s) {
    const uint64_t to = yajl_get_bytes_consumed(s->yajl);
    while (s->counted < to) {
        const uint8_t *const end = memchr(s->chunk + s->counted, '\n', to - s->counted);
        if (!end) break;
        s->line++;
        s->counted = (uint64_t)(end - s->chunk) + 1;
    }
    s->counted = to > s->counted ? to : s->counted;
    return s->line;
}

static int event(json_stream *s, enum json_kind kind, const char *text, uint64_t n) {
    s->last = s->start + yajl_get_bytes_consumed(s->yajl);
    if (kind == JSON_END_MAP || kind == JSON_END_LIST) s->depth--;
    const json_event e = {kind, s->depth, text, n, s->last};
    if (kind == JSON_BEGIN_MAP || kind == JSON_BEGIN_LIST) s->depth++;
    s->status = s->depth > DEEPEST ? cvr_fail(s->err, CVR_ERR_FORMAT,
                                              "maps and lists nested %u deep; is this the right file?", DEEPEST)
                                   : s->each(s->ctx, &e, s->err);
    return s->status == CVR_OK;
}

static int on_null(void *ctx) {
    return event(ctx, JSON_NULL, "null", 4);
}
static int on_bool(void *ctx, int value) {
    return event(ctx, JSON_BOOL, value ? "1" : "0", 1);
}
static int on_number(void *ctx, const char *text, size_t n) {
    return event(ctx, JSON_NUMBER, text, n);
}
static int on_string(void *ctx, const unsigned char *text, size_t n) {
    return event(ctx, JSON_STRING, (const char *)text, n);
}
static int on_key(void *ctx, const unsigned char *text, size_t n) {
    return event(ctx, JSON_KEY, (const char *)text, n);
}
static int on_begin_map(void *ctx) {
    return event(ctx, JSON_BEGIN_MAP, "{", 1);
}
static int on_end_map(void *ctx) {
    return event(ctx, JSON_END_MAP, "}", 1);
}
static int on_begin_list(void *ctx) {
    return event(ctx, JSON_BEGIN_LIST, "[", 1);
}
static int on_end_list(void *ctx) {
    return event(ctx, JSON_END_LIST, "]", 1);
}

/* ---- driving it ---- */

static int32_t name_place(json_stream *s, int32_t status) {
    return *s->path ? cvr_fail_at(s->err, s->path, line_of(s), status) : status;
}

/* What yajl says is cut at its first line's end. */
static int32_t fail_syntax(json_stream *s) {
    unsigned char *const why = yajl_get_error(s->yajl, 0, NULL, 0);
    char text[200];
    (void)snprintf(text, sizeof text, "%.190s", why ? (const char *)why : "damaged");
    text[strcspn(text, "\n")] = '\0';
    const int32_t status = cvr_fail(
        s->err, CVR_ERR_FORMAT, "byte %llu: this is no JSON (%s); NaN and Infinity are none either: write it anew",
        (unsigned long long)(s->start + yajl_get_bytes_consumed(s->yajl)), dataset_printable(text));
    return name_place(s, status);
}

static int32_t feed(json_stream *s, const uint8_t *bytes, uint64_t n) {
    uint64_t skip = s->start == 0 && n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* a byte order mark */
    s->chunk = bytes + skip;
    s->start += skip;
    s->counted = 0;
    const yajl_status y = yajl_parse(s->yajl, bytes + skip, n - skip);
    if (s->status != CVR_OK) return name_place(s, s->status);
    if (y != yajl_status_ok) return fail_syntax(s);
    (void)line_of(s);
    s->start += n - skip;
    if (s->start - s->last > LONGEST)
        return name_place(s, cvr_fail(s->err, CVR_ERR_FORMAT, "a value of over %llu bytes; is this the right file?",
                                      (unsigned long long)LONGEST));
    return CVR_OK;
}

static int32_t finish(json_stream *s) {
    static const uint8_t nothing[1] = {0};
    s->chunk = nothing;
    const yajl_status y = yajl_complete_parse(s->yajl);
    s->counted = yajl_get_bytes_consumed(s->yajl); /* of the last chunk, which is gone */
    if (s->status != CVR_OK) return name_place(s, s->status);
    if (y == yajl_status_ok) return CVR_OK;
    return name_place(s, cvr_fail(s->err, CVR_ERR_FORMAT, "byte %llu: the JSON ends too early; write it anew",
                                  (unsigned long long)s->start));
}

/* `most`: bytes that can come. */
static int32_t start(json_stream *s, uint64_t most) {
    static const yajl_callbacks callbacks = {on_null,      on_bool, NULL,       NULL,          on_number,  on_string,
                                             on_begin_map, on_key,  on_end_map, on_begin_list, on_end_list};
    yajl_alloc_funcs memory = {region_get, region_resize, region_put, &s->region};
    s->region.room = most < (REGION - REGION_LEAST) / 8 ? REGION_LEAST + 8 * most : REGION;
    s->region.base = s->host->alloc(s->host, s->region.room, 64);
    if (s->region.base) s->yajl = yajl_alloc(&callbacks, &memory, s);
    return s->yajl ? CVR_OK : cvr_fail(s->err, CVR_ERR_NOMEM, "out of memory for reading JSON");
}

static void stop(json_stream *s) {
    if (s->yajl) yajl_free(s->yajl);
    if (s->region.base) s->host->free(s->host, s->region.base);
}

int32_t json_stream_bytes(const cvr_host *host, const char *bytes, uint64_t n, json_event_fn each, void *ctx,
                          cvr_error *err) {
    json_stream s = {.host = host, .each = each, .ctx = ctx, .err = err, .path = "", .line = 1};
    int32_t status;
    CVR_TRY_OUT(start(&s, n));
    for (uint64_t at = 0; at < n; at += CHUNK)
        CVR_TRY_OUT(feed(&s, (const uint8_t *)bytes + at, n - at < CHUNK ? n - at : CHUNK));
    status = finish(&s);
out:
    stop(&s);
    return status;
}

int32_t json_stream_file(const cvr_host *host, const char *path, json_event_fn each, void *ctx, cvr_error *err) {
    json_stream s = {.host = host, .each = each, .ctx = ctx, .err = err, .path = path, .line = 1};
    dataset_file *f = NULL;
    uint8_t *chunk = NULL;
    uint64_t got;
    int32_t status;
    CVR_TRY_OUT(dataset_file_open(host, path, &f, err));
    CVR_TRY_OUT(start(&s, dataset_file_limit(f)));
    chunk = host->alloc(host, CHUNK, 64);
    if (!chunk) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory for reading JSON"));
    do {
        CVR_TRY_OUT(dataset_file_read(f, chunk, CHUNK, &got, err));
        if (got) CVR_TRY_OUT(feed(&s, chunk, got));
    } while (got == CHUNK);
    status = finish(&s);
out:
    stop(&s);
    if (chunk) host->free(host, chunk);
    dataset_file_close(f);
    return status;
}

/* ---- numbers ---- */

int32_t json_number(const json_event *e, double *out) {
    char text[64], *end;
    if (e->kind != JSON_NUMBER || e->n == 0 || e->n >= sizeof text) return 0;
    memcpy(text, e->text, e->n);
    text[e->n] = '\0';
    *out = strtod(text, &end);
    return *end == '\0' && isfinite(*out);
}

int32_t json_whole(const json_event *e, int64_t *out) {
    char text[64], *end;
    double x;
    if (e->kind == JSON_BOOL) {
        *out = e->text[0] == '1';
        return 1;
    }
    if (e->kind != JSON_NUMBER || e->n == 0 || e->n >= sizeof text) return 0;
    memcpy(text, e->text, e->n);
    text[e->n] = '\0';
    errno = 0;
    *out = strtoll(text, &end, 10);
    if (*end == '\0') return errno == 0;
    if (!json_number(e, &x) || x != floor(x) || fabs(x) > 9e15) return 0; /* 5.0 is whole as well */
    *out = (int64_t)x;
    return 1;
}
