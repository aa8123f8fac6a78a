/*
 * The checkpoint, weights/last.state: one file with everything that a run needs to go on bit for bit.
 *
 *   "CVRSTAT1"   u64 length of the header   header   tensors, one after the other   u64 hash of all before
 *
 * The header is text: `key value` lines, numbers with a fraction in hexadecimal, then `tensor DTYPE BYTES NAME` lines.
 * The tensors are in logical order, so that another backend can go on. The file before stays as last.state.1; the
 * newest valid one counts.
 */
#include "session.h"
#include <stdlib.h>

#define STATE_MAGIC "CVRSTAT1"
#define LARGEST_HEADER (1u << 26)

/* FNV-1a over 8-byte words, the rest byte by byte: finds damage, not forgery. */
static uint64_t hash_bytes(uint64_t h, const uint8_t *p, uint64_t n) {
    uint64_t word;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        h = (h ^ word) * 0x100000001b3ull;
        h ^= h >> 29;
    }
    for (; n; n--) h = (h ^ *p++) * 0x100000001b3ull;
    return h;
}

static uint64_t padded(uint64_t n) {
    return (n + 7) / 8 * 8;
}

static const struct {
    const char *key;
    size_t offset;
    bool real;
} state_fields[] = {
    {"step", offsetof(train_state, step), false},
    {"epoch", offsetof(train_state, epoch), false},
    {"batch", offsetof(train_state, batch), false},
    {"epoch_samples", offsetof(train_state, epoch_samples), false},
    {"images", offsetof(train_state, images), false},
    {"best_epoch", offsetof(train_state, best_epoch), false},
    {"finished", offsetof(train_state, finished), false},
    {"loss_sum", offsetof(train_state, loss_sum), true},
    {"seconds", offsetof(train_state, seconds), true},
    {"wait_seconds", offsetof(train_state, wait_seconds), true},
    {"epoch_seconds", offsetof(train_state, epoch_seconds), true},
    {"epoch_wait", offsetof(train_state, epoch_wait), true},
    {"best_value", offsetof(train_state, best_value), true},
};
#define N_FIELDS (sizeof state_fields / sizeof *state_fields)

/* ---- writing ---- */

static int32_t put(cvr_writer *w, uint64_t *hash, const void *bytes, uint64_t n, cvr_error *err) {
    *hash = hash_bytes(*hash, bytes, n);
    return cvr_writer_put(w, bytes, n, err);
}

static void make_header(const cvr_session *s, const train_state *state, cvr_text *t) {
    for (size_t i = 0; i < N_FIELDS; i++) {
        const char *field = (const char *)state + state_fields[i].offset;
        if (state_fields[i].real)
            cvr_text_add(t, "%s %a\n", state_fields[i].key, *(const double *)(const void *)field);
        else
            cvr_text_add(t, "%s %lld\n", state_fields[i].key, (long long)*(const int64_t *)(const void *)field);
    }
    for (size_t i = 0; i < cvr_store_count(s->store); i++) {
        const cvr_store_entry *e = cvr_store_get(s->store, i);
        cvr_text_add(t, "tensor %s %llu %s\n", cvr_dtype_name(e->type.dtype), (unsigned long long)e->bytes, e->name);
    }
}

int32_t checkpoint_save(cvr_session *s, const char *folder, const train_state *state, cvr_error *err) {
    cvr_writer w;
    cvr_text header = {0};
    uint64_t hash = 0xcbf29ce484222325ull, largest = 8;
    char *path = cvr_fs_join(folder, "weights/last.state");
    for (size_t i = 0; i < cvr_store_count(s->store); i++) {
        const uint64_t bytes = cvr_store_get(s->store, i)->bytes;
        largest = bytes > largest ? bytes : largest;
    }
    void *host = cvr_calloc(padded(largest), 1); /* zeroed: the padding is written too */
    make_header(s, state, &header);
    int32_t status =
        path && host && !header.failed ? cvr_writer_open(&w, path, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const bool opened = status == CVR_OK;
    while (!header.failed && header.n % 8) cvr_text_add(&header, "\n");
    const uint64_t length = header.n;
    if (status == CVR_OK) status = put(&w, &hash, STATE_MAGIC, 8, err);
    if (status == CVR_OK) status = put(&w, &hash, &length, 8, err);
    if (status == CVR_OK) status = put(&w, &hash, header.s, length, err);
    for (size_t i = 0; i < cvr_store_count(s->store) && status == CVR_OK; i++) {
        memset((char *)host + cvr_store_get(s->store, i)->bytes, 0,
               padded(cvr_store_get(s->store, i)->bytes) - cvr_store_get(s->store, i)->bytes);
        status = cvr_store_read(s->store, i, host, err);
        if (status == CVR_OK) status = put(&w, &hash, host, padded(cvr_store_get(s->store, i)->bytes), err);
    }
    if (status == CVR_OK) status = cvr_writer_put(&w, &hash, 8, err);
    if (status == CVR_OK)
        status = cvr_writer_commit(&w, true, err);
    else if (opened)
        cvr_writer_abandon(&w);
    cvr_text_clear(&header);
    cvr_free(host);
    cvr_free(path);
    return status;
}

/* ---- reading ---- */

typedef struct state_file {
    cvr_mapping map;
    const char *header;
    uint64_t header_bytes, data;
} state_file;

static int32_t bad_state(const char *path, const char *why, cvr_error *err) {
    cvr_fail(err, CVR_ERR_FORMAT, "%s", why);
    return cvr_fail_at(err, path, 0, CVR_ERR_FORMAT);
}

static int32_t open_state(const char *path, state_file *f, cvr_error *err) {
    uint64_t length, hash;
    memset(f, 0, sizeof *f);
    int32_t status = cvr_fs_map(path, &f->map, err);
    if (status != CVR_OK) return status;
    const uint64_t n = f->map.n;
    if (n < 24 || memcmp(f->map.bytes, STATE_MAGIC, 8) != 0) {
        status = bad_state(path, "is not a checkpoint", err);
    } else {
        memcpy(&length, f->map.bytes + 8, 8);
        memcpy(&hash, f->map.bytes + n - 8, 8);
        if (length > LARGEST_HEADER || length > n - 24)
            status = bad_state(path, "is cut short", err);
        else if (hash_bytes(0xcbf29ce484222325ull, f->map.bytes, n - 8) != hash)
            status = bad_state(path, "is damaged or cut short", err);
    }
    if (status != CVR_OK) {
        cvr_fs_unmap(&f->map);
        return status;
    }
    f->header = (const char *)f->map.bytes + 16;
    f->header_bytes = length;
    f->data = 16 + length;
    return CVR_OK;
}

/* One `key value` line into the state; lines of tensors are passed over. */
static bool read_field(train_state *state, const char *line) {
    for (size_t i = 0; i < N_FIELDS; i++) {
        const size_t n = strlen(state_fields[i].key);
        char *field = (char *)state + state_fields[i].offset, *end;
        if (strncmp(line, state_fields[i].key, n) != 0 || line[n] != ' ') continue;
        if (state_fields[i].real)
            *(double *)(void *)field = strtod(line + n + 1, &end);
        else
            *(int64_t *)(void *)field = strtoll(line + n + 1, &end, 10);
        return end != line + n + 1 && *end == '\0';
    }
    return false;
}

/* One tensor of the file into the store. */
static int32_t read_tensor(cvr_session *s, const state_file *f, const char *line, uint64_t *at, size_t *count,
                           const char *path, cvr_error *err) {
    char dtype[8], why[1200];
    unsigned long long bytes;
    int used = 0;
    if (sscanf(line, "tensor %7s %llu %n", dtype, &bytes, &used) != 2 || !used)
        return bad_state(path, "has a header that cannot be read", err);
    const int64_t i = cvr_store_find(s->store, line + used);
    const cvr_store_entry *e = i < 0 ? NULL : cvr_store_get(s->store, (size_t)i);
    if (!e || e->bytes != bytes || strcmp(dtype, cvr_dtype_name(e->type.dtype)) != 0) {
        (void)snprintf(why, sizeof why,
                       "has the tensor %.900s, which this network does not have so; the recipe was changed since",
                       line + used);
        return bad_state(path, why, err);
    }
    if (bytes > f->map.n || padded(bytes) > f->map.n - 8 - *at) return bad_state(path, "is cut short", err);
    const int32_t status = cvr_store_write(s->store, (size_t)i, f->map.bytes + *at, err);
    *at += padded(bytes);
    ++*count;
    return status;
}

static int32_t read_state(cvr_session *s, const char *path, train_state *state, cvr_error *err) {
    state_file f;
    size_t count = 0;
    int32_t status = open_state(path, &f, err);
    if (status != CVR_OK) return status;
    char *header = cvr_strndup(f.header, f.header_bytes), *save = NULL;
    uint64_t at = f.data;
    if (!header) status = cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (char *line = header ? strtok_r(header, "\n", &save) : NULL; line && status == CVR_OK;
         line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "tensor ", 7) != 0) {
            if (!read_field(state, line)) status = bad_state(path, "has a header that cannot be read", err);
        } else if (s) {
            status = read_tensor(s, &f, line, &at, &count, path, err);
        }
    }
    if (status == CVR_OK && s && count != cvr_store_count(s->store))
        status = bad_state(path, "lacks tensors of this network; the recipe was changed since", err);
    cvr_free(header);
    cvr_fs_unmap(&f.map);
    return status;
}

/* The newest of the two that is valid. */
static int32_t newest(cvr_session *s, const char *folder, train_state *state, cvr_error *err) {
    static const char *const names[] = {"weights/last.state", "weights/last.state.1"};
    cvr_error second;
    cvr_error_init(&second);
    int32_t status = CVR_ERR_NOTFOUND;
    for (int i = 0; i < 2 && status != CVR_OK; i++) {
        char *path = cvr_fs_join(folder, names[i]);
        if (!path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        memset(state, 0, sizeof *state);
        status = read_state(s, path, state, i == 0 ? err : &second);
        if (i == 1 && status == CVR_OK)
            cvr_log(CVR_LOG_WARNING, "%s: %s; going on from the checkpoint before it", err->file, err->message);
        cvr_free(path);
    }
    return status == CVR_OK ? CVR_OK : CVR_ERR_FORMAT;
}

int32_t checkpoint_load(cvr_session *s, const char *folder, train_state *state, cvr_error *err) {
    return newest(s, folder, state, err);
}
