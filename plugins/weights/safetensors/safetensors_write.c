/*
 * Writing safetensors. The header names the tensors in byte order; the data holds the wide types first, so that every
 * tensor is aligned to its elements (PyTorch views the data in place). The bytes depend on the tensors only.
 */
#include "safetensors.h"
#include <stdlib.h>

typedef struct header_text {
    char *s;
    uint64_t n, room;
    const cvr_host *host;
    int32_t failed;
} header_text;

typedef struct item {
    const cvr_weight *w;
    const st_dtype *type;
    uint64_t begin;
} item;

typedef struct pair {
    const char *key, *value;
} pair;

static void put(header_text *t, const char *s, uint64_t n) {
    if (t->failed) return;
    if (t->n + n > t->room) {
        const uint64_t room = (t->n + n) * 2 + 4096;
        char *const bigger = t->host->alloc(t->host, room, 8);
        if (!bigger) {
            t->failed = 1;
            return;
        }
        if (t->n) memcpy(bigger, t->s, t->n);
        if (t->s) t->host->free(t->host, t->s);
        t->s = bigger;
        t->room = room;
    }
    memcpy(t->s + t->n, s, n);
    t->n += n;
}

static void put_text(header_text *t, const char *s) {
    put(t, s, strlen(s));
}

static void put_string(header_text *t, const char *s) {
    static const char named[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
    put(t, "\"", 1);
    for (; *s; s++) {
        const char *const k = strchr(named, *s);
        char buf[8];
        if (k) {
            buf[0] = '\\';
            buf[1] = letters[k - named];
            put(t, buf, 2);
        } else if ((uint8_t)*s < 0x20) {
            put(t, buf, (uint64_t)snprintf(buf, sizeof buf, "\\u%04x", (unsigned)(uint8_t)*s));
        } else {
            put(t, s, 1);
        }
    }
    put(t, "\"", 1);
}

static void put_number(header_text *t, uint64_t v) {
    char buf[32];
    put(t, buf, (uint64_t)snprintf(buf, sizeof buf, "%llu", (unsigned long long)v));
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const item *)a)->w->name, ((const item *)b)->w->name);
}

static int by_width(const void *a, const void *b) {
    const item *const x = *(const item *const *)a, *const y = *(const item *const *)b;
    if (x->type->bits != y->type->bits) return x->type->bits > y->type->bits ? -1 : 1;
    return x < y ? -1 : x > y; /* the items lie in the order of their names */
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const pair *)a)->key, ((const pair *)b)->key);
}

static int32_t is_utf8(const char *s) {
    const uint8_t *p = (const uint8_t *)s;
    for (uint64_t n = strlen(s), len = 0; n > 0; n -= len, p += len) {
        len = cvr_utf8_length(p, n);
        if (len == 0) return 0;
    }
    return 1;
}

static int32_t fail_weight(cvr_error *err, const cvr_weight *w, const char *what) {
    char shown[ST_SHOWN];
    return cvr_fail(err, CVR_ERR_INVALID, "safetensors: tensor '%s' cannot be written: %s", st_show(w->name, shown),
                    what);
}

static int32_t check_weight(item *it, const cvr_weight *w, cvr_error *err) {
    it->w = w;
    it->type = st_dtype_of_code(w->dtype);
    if (!it->type) return fail_weight(err, w, "the format has no such type");
    if (w->rank > 8) return fail_weight(err, w, "it has more than 8 dimensions");
    if (!is_utf8(w->name)) return fail_weight(err, w, "its name is not UTF-8; rename it");
    if (strcmp(w->name, ST_METADATA) == 0)
        return fail_weight(err, w, "the format keeps this name for itself; rename it");
    uint64_t bytes = it->type->bits / 8;
    for (uint32_t i = 0; i < w->rank; i++) {
        if (w->shape[i] < 0 || (w->shape[i] > 0 && bytes > INT64_MAX / (uint64_t)w->shape[i])) {
            return fail_weight(err, w, "its shape makes no sense");
        }
        bytes *= (uint64_t)w->shape[i];
    }
    return bytes == w->bytes ? CVR_OK : fail_weight(err, w, "its shape and its number of bytes differ");
}

/* Checks everything, brings the items in the order of their names, and gives each its place in the data. */
static int32_t lay_out(item *items, const item **order, const cvr_weight *const *weights, uint64_t n, cvr_error *err) {
    uint64_t at = 0;
    for (uint64_t i = 0; i < n; i++) CVR_TRY(check_weight(&items[i], weights[i], err));
    if (n > 1) qsort(items, n, sizeof *items, by_name);
    for (uint64_t i = 0; i < n; i++) {
        order[i] = &items[i];
        if (i > 0 && strcmp(items[i - 1].w->name, items[i].w->name) == 0) {
            return fail_weight(err, items[i].w, "the name is there twice; rename one");
        }
    }
    if (n > 1) qsort(order, n, sizeof *order, by_width);
    for (uint64_t i = 0; i < n; i++) {
        items[order[i] - items].begin = at;
        at += order[i]->w->bytes;
    }
    return CVR_OK;
}

static int32_t put_metadata(header_text *t, const char *const *metadata, uint64_t n, cvr_error *err) {
    pair *const pairs = t->host->alloc(t->host, (n + 1) * sizeof *pairs, sizeof(void *));
    int32_t status;
    CVR_TRY_OUT(pairs ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the metadata"));
    for (uint64_t i = 0; i < n; i++) {
        pairs[i] = (pair){metadata[2 * i], metadata[2 * i + 1]};
        if (!is_utf8(pairs[i].key) || !is_utf8(pairs[i].value))
            CVR_TRY_OUT(cvr_fail(err, CVR_ERR_INVALID, "safetensors: metadata that is not UTF-8"));
    }
    if (n > 1) qsort(pairs, n, sizeof *pairs, by_key);
    put_text(t, "\"" ST_METADATA "\":{");
    for (uint64_t i = 0; i < n; i++) {
        if (i > 0 && strcmp(pairs[i - 1].key, pairs[i].key) == 0)
            CVR_TRY_OUT(cvr_fail(err, CVR_ERR_INVALID, "safetensors: a metadata key is there twice"));
        if (i > 0) put_text(t, ",");
        put_string(t, pairs[i].key);
        put_text(t, ":");
        put_string(t, pairs[i].value);
    }
    put_text(t, "}");
out:
    if (pairs) t->host->free(t->host, pairs);
    return status;
}

static void put_item(header_text *t, const item *it) {
    put_string(t, it->w->name);
    put_text(t, ":{\"dtype\":");
    put_string(t, it->type->word);
    put_text(t, ",\"shape\":[");
    for (uint32_t i = 0; i < it->w->rank; i++) {
        if (i > 0) put_text(t, ",");
        put_number(t, (uint64_t)it->w->shape[i]);
    }
    put_text(t, "],\"data_offsets\":[");
    put_number(t, it->begin);
    put_text(t, ",");
    put_number(t, it->begin + it->w->bytes);
    put_text(t, "]}");
}

/* The length comes first and is filled in last; spaces bring the data to a multiple of 8. */
static int32_t finish_header(header_text *t, cvr_error *err) {
    put_text(t, "}");
    while (!t->failed && t->n % 8 != 0) put_text(t, " ");
    if (t->failed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a safetensors header");
    const uint64_t len = t->n - 8;
    if (len > ST_MAX_HEADER) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "safetensors: too many tensors for one header");
    for (int i = 0; i < 8; i++) t->s[i] = (char)(uint8_t)(len >> 8 * i);
    return CVR_OK;
}

int32_t st_write(const cvr_host *host, const cvr_weight *const *weights, uint64_t n_weights,
                 const char *const *metadata, uint64_t n_metadata, cvr_sink_fn sink, void *sink_ctx, cvr_error *err) {
    header_text t = {NULL, 0, 0, host, 0};
    item *const items = host->alloc(host, (n_weights + 1) * sizeof *items, sizeof(void *));
    const item **const order = host->alloc(host, (n_weights + 1) * sizeof *order, sizeof(void *));
    int32_t status = CVR_OK;
    if (!items || !order)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory for %llu tensors", (unsigned long long)n_weights));
    CVR_TRY_OUT(lay_out(items, order, weights, n_weights, err));
    put(&t, "\0\0\0\0\0\0\0\0{", 9);
    if (n_metadata > 0) CVR_TRY_OUT(put_metadata(&t, metadata, n_metadata, err));
    for (uint64_t i = 0; i < n_weights; i++) {
        if (i > 0 || n_metadata > 0) put_text(&t, ",");
        put_item(&t, &items[i]);
    }
    CVR_TRY_OUT(finish_header(&t, err));
    CVR_TRY_OUT(sink(sink_ctx, t.s, t.n, err));
    for (uint64_t i = 0; i < n_weights; i++) {
        if (order[i]->w->bytes > 0) CVR_TRY_OUT(sink(sink_ctx, order[i]->w->data, order[i]->w->bytes, err));
    }
out:
    if (t.s) host->free(host, t.s);
    if (items) host->free(host, items);
    if (order) host->free(host, order);
    return status;
}
