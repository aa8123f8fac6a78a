/*
 * Reading safetensors: the header's entries, then the one layout that the format allows, then the tensors.
 */
#include "safetensors.h"
#include <stdlib.h>

static const st_dtype dtypes[] = {
    {"F32", 32, CVR_F32},      {"F16", 16, CVR_F16},
    {"BF16", 16, CVR_BF16},    {"I64", 64, CVR_I64},
    {"I32", 32, CVR_I32},      {"I8", 8, CVR_I8},
    {"U8", 8, CVR_U8},         {"BOOL", 8, CVR_FILE_BOOL},
    {"F64", 64, CVR_FILE_F64}, {"U64", 64, CVR_FILE_U64},
    {"U32", 32, CVR_FILE_U32}, {"I16", 16, CVR_FILE_I16},
    {"U16", 16, CVR_FILE_U16}, {"C64", 64, 0},
    {"F8_E4M3", 8, 0},         {"F8_E5M2", 8, 0},
    {"F8_E8M0", 8, 0},         {"F4", 4, 0},
    {"F6_E2M3", 6, 0},         {"F6_E3M2", 6, 0},
};

const st_dtype *st_dtype_of_word(const char *word) {
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(dtypes[i].word, word) == 0) return &dtypes[i];
    }
    return NULL;
}

const st_dtype *st_dtype_of_code(uint32_t dtype) {
    for (size_t i = 0; dtype != 0 && i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (dtypes[i].dtype == dtype) return &dtypes[i];
    }
    return NULL;
}

/* One entry of the header: the weight, and where its bytes lie in the data. */
typedef struct entry {
    cvr_weight w;
    uint64_t begin, end;
} entry;

typedef struct header {
    const cvr_host *host;
    st_json json;
    char *text; /* every decoded string */
    entry *entries;
    uint64_t n, room;
    const char **keys; /* scratch for finding names that are there twice; room for as many as the header has ':' */
} header;

static int32_t grow(header *h) {
    const uint64_t room = h->room ? h->room * 2 : 64;
    entry *const bigger = h->host->alloc(h->host, room * sizeof *bigger, 16);
    if (!bigger)
        return cvr_fail(h->json.err, CVR_ERR_NOMEM, "out of memory for %llu tensors", (unsigned long long)room);
    if (h->n) memcpy(bigger, h->entries, h->n * sizeof *bigger);
    if (h->entries) h->host->free(h->host, h->entries);
    h->entries = bigger;
    h->room = room;
    return CVR_OK;
}

static int32_t fail_tensor(const header *h, const char *name, const char *what) {
    char shown[ST_SHOWN];
    return cvr_fail(h->json.err, CVR_ERR_FORMAT,
                    "safetensors header, byte %llu: tensor '%s': %s; the file is damaged or not safetensors",
                    (unsigned long long)(h->json.at - h->json.start + 8), st_show(name, shown), what);
}

/* "shape": [2, 3] */
static int32_t read_shape(header *h, cvr_weight *w) {
    st_json *const j = &h->json;
    CVR_TRY(st_json_expect(j, '['));
    if (st_json_accept(j, ']')) return CVR_OK;
    for (;;) {
        if (w->rank == 8) return fail_tensor(h, w->name, "more than 8 dimensions");
        CVR_TRY(st_json_integer(j, &w->shape[w->rank]));
        w->rank++;
        if (st_json_accept(j, ']')) return CVR_OK;
        CVR_TRY(st_json_expect(j, ','));
    }
}

/* "data_offsets": [begin, end] */
static int32_t read_offsets(header *h, entry *e) {
    int64_t begin = 0, end = 0;
    st_json *const j = &h->json;
    CVR_TRY(st_json_expect(j, '['));
    CVR_TRY(st_json_integer(j, &begin));
    CVR_TRY(st_json_expect(j, ','));
    CVR_TRY(st_json_integer(j, &end));
    CVR_TRY(st_json_expect(j, ']'));
    if (begin > end) return fail_tensor(h, e->w.name, "data_offsets end before they begin");
    e->begin = (uint64_t)begin;
    e->end = (uint64_t)end;
    return CVR_OK;
}

/* The three members of a tensor's object, in any order, each once, and no other. */
static int32_t read_members(header *h, entry *e) {
    static const char *const names[3] = {"dtype", "shape", "data_offsets"};
    uint32_t seen = 0;
    st_json *const j = &h->json;
    CVR_TRY(st_json_expect(j, '{'));
    for (;;) {
        const char *key = NULL;
        uint32_t k = 0;
        CVR_TRY(st_json_string(j, &key));
        while (k < 3 && strcmp(key, names[k]) != 0) k++;
        if (k == 3) return fail_tensor(h, e->w.name, "a member other than dtype, shape and data_offsets");
        if (seen & 1u << k) return fail_tensor(h, e->w.name, "a member that is there twice");
        seen |= 1u << k;
        CVR_TRY(st_json_expect(j, ':'));
        CVR_TRY(k == 0 ? st_json_string(j, &e->w.source_dtype) : k == 1 ? read_shape(h, &e->w) : read_offsets(h, e));
        if (st_json_accept(j, '}')) break;
        CVR_TRY(st_json_expect(j, ','));
    }
    if (seen != 7) return fail_tensor(h, e->w.name, "dtype, shape or data_offsets is missing");
    return CVR_OK;
}

/* Shape times type must be the bytes that the offsets span. Types unknown to us have no size that could be checked. */
static int32_t check_size(const header *h, const entry *e) {
    const st_dtype *const t = st_dtype_of_word(e->w.source_dtype);
    uint64_t bits = t ? t->bits : 0;
    uint32_t empty = 0;
    for (uint32_t i = 0; i < e->w.rank; i++) empty |= e->w.shape[i] == 0;
    if (!t) return CVR_OK;
    for (uint32_t i = 0; i < e->w.rank && !empty; i++) {
        if (bits > UINT64_MAX / (uint64_t)e->w.shape[i]) {
            return fail_tensor(h, e->w.name, "a shape with more elements than can be counted");
        }
        bits *= (uint64_t)e->w.shape[i];
    }
    if (empty) bits = 0;
    if (bits % 8 != 0 || bits / 8 != e->end - e->begin) {
        char what[160];
        (void)snprintf(what, sizeof what, "shape and dtype need %llu bytes, data_offsets give %llu",
                       (unsigned long long)(bits / 8), (unsigned long long)(e->end - e->begin));
        return fail_tensor(h, e->w.name, what);
    }
    return CVR_OK;
}

static int32_t read_tensor(header *h, const char *name) {
    CVR_TRY(h->n == h->room ? grow(h) : CVR_OK);
    entry *const e = &h->entries[h->n];
    memset(e, 0, sizeof *e);
    e->w.struct_size = sizeof e->w;
    e->w.name = name;
    for (int i = 0; i < 8; i++) e->w.shape[i] = 0;
    CVR_TRY(read_members(h, e));
    CVR_TRY(check_size(h, e));
    const st_dtype *const t = st_dtype_of_word(e->w.source_dtype);
    e->w.dtype = t ? t->dtype : 0;
    e->w.bytes = e->end - e->begin;
    for (uint32_t i = e->w.rank; i < 8; i++) e->w.shape[i] = 1;
    h->n++;
    return CVR_OK;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts the keys and refuses the second of two alike. */
static int32_t check_unique(header *h, const char **keys, uint64_t n, const char *what) {
    char shown[ST_SHOWN];
    if (n > 1) qsort(keys, n, sizeof *keys, by_text);
    for (uint64_t i = 1; i < n; i++) {
        if (strcmp(keys[i - 1], keys[i]) == 0) {
            return cvr_fail(h->json.err, CVR_ERR_FORMAT,
                            "safetensors header: %s '%s' is there twice; write the file anew", what,
                            st_show(keys[i], shown));
        }
    }
    return CVR_OK;
}

/* "__metadata__": an object of texts; nobody asks for them, but what is wrong in them is still wrong. */
static int32_t read_metadata(header *h) {
    st_json *const j = &h->json;
    uint64_t n = 0;
    CVR_TRY(st_json_expect(j, '{'));
    if (st_json_accept(j, '}')) return CVR_OK;
    for (;;) {
        const char *value = NULL;
        CVR_TRY(st_json_string(j, &h->keys[n++]));
        CVR_TRY(st_json_expect(j, ':'));
        CVR_TRY(st_json_string(j, &value));
        if (st_json_accept(j, '}')) break;
        CVR_TRY(st_json_expect(j, ','));
    }
    return check_unique(h, h->keys, n, "metadata key");
}

static int32_t read_header(header *h) {
    st_json *const j = &h->json;
    const char *name = NULL;
    int32_t have_metadata = 0;
    CVR_TRY(st_json_expect(j, '{'));
    if (st_json_accept(j, '}')) return st_json_end(j);
    for (;;) {
        CVR_TRY(st_json_string(j, &name));
        CVR_TRY(st_json_expect(j, ':'));
        if (strcmp(name, ST_METADATA) == 0) {
            if (have_metadata) return st_json_fail(j, ST_METADATA " is there twice");
            have_metadata = 1;
            CVR_TRY(read_metadata(h));
        } else {
            CVR_TRY(read_tensor(h, name));
        }
        if (st_json_accept(j, '}')) break;
        CVR_TRY(st_json_expect(j, ','));
    }
    CVR_TRY(st_json_end(j));
    for (uint64_t i = 0; i < h->n; i++) h->keys[i] = h->entries[i].w.name;
    return check_unique(h, h->keys, h->n, "tensor");
}

static int by_place(const void *a, const void *b) {
    const entry *const x = a, *const y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->w.name, y->w.name);
}

/* The tensors, one after the other, must cover the data exactly: no hole, no overlap, nothing left over. */
static int32_t check_layout(header *h, uint64_t size) {
    char shown[ST_SHOWN];
    uint64_t at = 0;
    if (h->n > 1) qsort(h->entries, h->n, sizeof *h->entries, by_place);
    for (uint64_t i = 0; i < h->n; i++) {
        const entry *const e = &h->entries[i];
        const char *const name = st_show(e->w.name, shown);
        if (e->begin != at) {
            return cvr_fail(
                h->json.err, CVR_ERR_FORMAT,
                "safetensors: tensor '%s' begins at byte %llu of the data, %s byte %llu, where the one before "
                "it ends; the file is damaged",
                name, (unsigned long long)e->begin, e->begin < at ? "overlapping" : "leaving a hole after",
                (unsigned long long)at);
        }
        if (e->end > size) {
            return cvr_fail(h->json.err, CVR_ERR_FORMAT,
                            "safetensors: tensor '%s' ends at byte %llu of the data, which has only %llu; the file was "
                            "cut short, copy it again",
                            name, (unsigned long long)e->end, (unsigned long long)size);
        }
        at = e->end;
    }
    if (at != size) {
        return cvr_fail(h->json.err, CVR_ERR_FORMAT,
                        "safetensors: %llu bytes after the last tensor belong to none; the file is damaged",
                        (unsigned long long)(size - at));
    }
    return CVR_OK;
}

static uint64_t little_u64(const uint8_t *p) {
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

/* The length that the file declares for its header, checked against the format's limit and the file's own size. */
static int32_t check_length(const uint8_t *bytes, uint64_t n, uint64_t *len, cvr_error *err) {
    if (n < 8)
        return cvr_fail(err, CVR_ERR_FORMAT, "safetensors: only %llu bytes; the file was cut short",
                        (unsigned long long)n);
    *len = little_u64(bytes);
    if (*len > ST_MAX_HEADER) {
        return cvr_fail(err, CVR_ERR_FORMAT,
                        "safetensors: a header of %llu bytes, over the format's limit of %llu; not "
                        "a safetensors file",
                        (unsigned long long)*len, ST_MAX_HEADER);
    }
    if (*len > n - 8) {
        return cvr_fail(err, CVR_ERR_FORMAT,
                        "safetensors: a header of %llu bytes in a file of %llu; the file was cut "
                        "short, copy it again",
                        (unsigned long long)*len, (unsigned long long)n);
    }
    if (*len < 2 || bytes[8] != '{') {
        return cvr_fail(err, CVR_ERR_FORMAT, "safetensors: the header does not begin with '{'; not a safetensors file");
    }
    return CVR_OK;
}

static uint64_t count_colons(const uint8_t *s, uint64_t n) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < n; i++) count += s[i] == ':';
    return count;
}

int32_t st_read(const cvr_host *host, const uint8_t *bytes, uint64_t n, cvr_weight_fn each, void *ctx, cvr_error *err) {
    header h;
    uint64_t len = 0;
    memset(&h, 0, sizeof h);
    int32_t status = CVR_OK;
    CVR_TRY(check_length(bytes, n, &len, err));
    h.host = host;
    h.text = host->alloc(host, len, 1);
    h.keys = host->alloc(host, (count_colons(bytes + 8, len) + 1) * sizeof *h.keys, sizeof *h.keys);
    h.json = (st_json){bytes + 8, bytes + 8, bytes + 8 + len, h.text, err};
    if (!h.text || !h.keys)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a header of %llu bytes", (unsigned long long)len));
    CVR_TRY_OUT(read_header(&h));
    CVR_TRY_OUT(check_layout(&h, n - 8 - len));
    for (uint64_t i = 0; i < h.n; i++) {
        h.entries[i].w.data = bytes + 8 + len + h.entries[i].begin;
        CVR_TRY_OUT(each(ctx, &h.entries[i].w, err));
    }
out:
    if (h.text) host->free(host, h.text);
    if (h.keys) host->free(host, h.keys);
    if (h.entries) host->free(host, h.entries);
    return status;
}
