/*
 * The checkpoint, weights/last.state: one file with everything that a run needs to go on bit for bit.
 *
 *   "CVRSTAT1"   u64 length of the header   header   tensors, one after the other   u64 hash of all before
 *
 * The header is text: `key value` lines, numbers with a fraction in hexadecimal, a `metric` line for each epoch, then
 * `tensor DTYPE BYTES NAME` lines, and `state BYTES NAME` lines for what plugins keep, whose bytes follow the tensors'.
 * The tensors are in logical order, so that another backend can go on. The file before stays as last.state.1; the
 * newest valid one counts.
 */
#include "session_parts.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define STATE_MAGIC "CVRSTAT1"
#define LARGEST_HEADER (1u << 26)
#define LONGEST_TIME 1e12 /* seconds */

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

#define THAWED_AT(phase_)                                                                                              \
    { "thawed_at_" #phase_, offsetof(train_state, thawed_at) + (phase_ - 1) * sizeof(int64_t), false }
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
    {"vetoed", offsetof(train_state, vetoed), false},
    {"epoch_vetoed", offsetof(train_state, epoch_vetoed), false},
    {"pictures", offsetof(train_state, pictures), false},
    {"stale", offsetof(train_state, stale), false},
    {"samples", offsetof(train_state, samples), false},
    {"batch_size", offsetof(train_state, batch_size), false},
    {"shuffle", offsetof(train_state, shuffle), false},
    {"sampler", offsetof(train_state, sampler), false},
    {"repeat", offsetof(train_state, repeat), false},
    {"aspect_groups", offsetof(train_state, groups), false},
    {"seed", offsetof(train_state, seed), false},
    {"phase", offsetof(train_state, phase), false},
    THAWED_AT(1),
    THAWED_AT(2),
    THAWED_AT(3),
    THAWED_AT(4),
    THAWED_AT(5),
    THAWED_AT(6),
    THAWED_AT(7),
    THAWED_AT(8),
    {"loss_sum", offsetof(train_state, loss_sum), true},
    {"seconds", offsetof(train_state, seconds), true},
    {"wait_seconds", offsetof(train_state, wait_seconds), true},
    {"epoch_seconds", offsetof(train_state, epoch_seconds), true},
    {"epoch_wait", offsetof(train_state, epoch_wait), true},
    {"best_value", offsetof(train_state, best_value), true},
    {"best_loss", offsetof(train_state, best_loss), true},
    {"lr", offsetof(train_state, lr), true},
    {"loss_scale", offsetof(train_state, loss_scale), true},
    {"scaled_steps", offsetof(train_state, scaled_steps), false},
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
    cvr_text_add(t, "backend %s%s%s\n", s->net.backend, *s->net.chosen ? "/" : "", s->net.chosen);
    for (size_t i = 0; i < state->n_history; i++) cvr_text_add(t, "metric %a\n", state->history[i]);
    for (size_t i = 0; i < cvr_store_count(s->net.store); i++) {
        const cvr_store_entry *e = cvr_store_get(s->net.store, i);
        if (!cvr_store_in_checkpoint(e)) continue;
        cvr_text_add(t, "tensor %s %llu %s\n", cvr_dtype_name(e->type.dtype), (unsigned long long)e->bytes, e->name);
    }
    for (size_t i = 0; i < s->plugin_state.n; i++)
        cvr_text_add(t, "state %llu %s\n", (unsigned long long)s->plugin_state.blobs[i].n,
                     s->plugin_state.blobs[i].name);
    while (t->n % 8 && !t->failed) cvr_text_add(t, "\n");
}

/* `n` bytes and zeros up to a multiple of 8. */
static int32_t put_padded(cvr_writer *w, uint64_t *hash, const void *bytes, uint64_t n, cvr_error *err) {
    const uint64_t whole = n / 8 * 8;
    char rest[8] = {0};
    CVR_TRY(put(w, hash, bytes, whole, err)); /* hashed by words of 8 bytes */
    if (n == whole) return CVR_OK;
    memcpy(rest, (const char *)bytes + whole, n - whole);
    return put(w, hash, rest, 8, err);
}

static int32_t put_all(cvr_session *s, cvr_writer *w, const cvr_text *header, void *host, cvr_error *err) {
    uint64_t hash = 0xcbf29ce484222325ull;
    const uint64_t length = header->n;
    CVR_TRY(put(w, &hash, STATE_MAGIC, 8, err));
    CVR_TRY(put(w, &hash, &length, 8, err));
    CVR_TRY(put(w, &hash, header->s, length, err));
    for (size_t i = 0; i < cvr_store_count(s->net.store); i++) {
        const cvr_store_entry *e = cvr_store_get(s->net.store, i);
        if (!cvr_store_in_checkpoint(e)) continue;
        CVR_TRY(cvr_store_read(s->net.store, i, host, err));
        CVR_TRY(put_padded(w, &hash, host, e->bytes, err));
    }
    for (size_t i = 0; i < s->plugin_state.n; i++)
        CVR_TRY(put_padded(w, &hash, s->plugin_state.blobs[i].bytes, s->plugin_state.blobs[i].n, err));
    return cvr_writer_put(w, &hash, 8, err);
}

int32_t checkpoint_save(cvr_session *s, const char *folder, const train_state *state, cvr_error *err) {
    cvr_writer w;
    cvr_text header = {0};
    uint64_t largest = 8;
    char *path = cvr_fs_join(folder, "weights/last.state");
    for (size_t i = 0; i < cvr_store_count(s->net.store); i++) {
        const uint64_t bytes = cvr_store_get(s->net.store, i)->bytes;
        largest = bytes > largest ? bytes : largest;
    }
    void *host = cvr_alloc_aligned(largest, 64);
    make_header(s, state, &header);
    int32_t status;
    if (!path || !host || header.failed) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    CVR_TRY_OUT(cvr_writer_open(&w, path, err));
    status = put_all(s, &w, &header, host, err);
    if (status == CVR_OK)
        status = cvr_writer_commit(&w, true, err);
    else
        cvr_writer_abandon(&w);
out:
    cvr_text_clear(&header);
    cvr_free(host);
    cvr_free(path);
    return status;
}

int32_t train_state_remember(train_state *state, double metric, cvr_error *err) {
    double *more = cvr_grow(state->history, state->n_history, &state->history_capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    state->history = more;
    more[state->n_history++] = metric;
    return CVR_OK;
}

void train_state_clear(train_state *state) {
    cvr_free(state->history);
    state->history = NULL;
    state->n_history = state->history_capacity = 0;
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
    uint64_t length = 0, hash;
    memset(f, 0, sizeof *f);
    int32_t status = CVR_OK;
    CVR_TRY(cvr_fs_map(path, &f->map, err));
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

/* One `key value` line into the state, whose fields are there once, finite, and counts and times not below 0, whatever
 * the hash says; `seen` has a bit for each that was. */
static bool read_field(train_state *state, uint64_t *seen, const char *line, cvr_error *err) {
    char *end;
    if (strncmp(line, "metric ", 7) == 0) {
        const double metric = strtod(line + 7, &end);
        return end != line + 7 && *end == '\0' && train_state_remember(state, metric, err) == CVR_OK;
    }
    if (strncmp(line, "backend ", 8) == 0)
        return !*state->place.backend && cvr_place_parse(&state->place, line + 8, NULL) == CVR_OK;
    for (size_t i = 0; i < N_FIELDS; i++) {
        const size_t n = strlen(state_fields[i].key);
        char *field = (char *)state + state_fields[i].offset;
        if (strncmp(line, state_fields[i].key, n) != 0 || line[n] != ' ') continue;
        if (*seen >> i & 1) return false;
        *seen |= 1ull << i;
        if (state_fields[i].real) {
            const double v = *(double *)(void *)field = strtod(line + n + 1, &end);
            const bool time = strstr(state_fields[i].key, "seconds") || strstr(state_fields[i].key, "wait");
            if (!isfinite(v) || (time && (v < 0 || v > LONGEST_TIME))) return false;
            if (strcmp(state_fields[i].key, "lr") == 0 && v < 0) return false;
            if (strcmp(state_fields[i].key, "loss_scale") == 0 && v < 0) return false;
        } else {
            errno = 0;
            const int64_t v = *(int64_t *)(void *)field = strtoll(line + n + 1, &end, 10);
            if (errno || v < 0 || (strcmp(state_fields[i].key, "finished") == 0 && v > 1)) return false;
            if (strcmp(state_fields[i].key, "phase") == 0 && v > MOST_PHASES) return false;
        }
        return end != line + n + 1 && *end == '\0';
    }
    return false;
}

/* What a reading is for. */
typedef struct state_reading {
    cvr_session *s;
    const char *path;
    train_state *state;
    bool plugins_only; /* the tensors are passed over */
    state_file file;
    uint64_t at;
    uint64_t fields; /* a bit for each of state_fields that was read */
    size_t count;
    bool *tensors; /* which entries of the store were read */
} state_reading;

/* The bytes of the next tensor or blob, NULL where the file is too short for them. */
static const uint8_t *take_bytes(state_reading *r, unsigned long long n) {
    if (n > r->file.map.n || padded(n) > r->file.map.n - 8 - r->at) return NULL;
    const uint8_t *bytes = r->file.map.bytes + r->at;
    r->at += padded(n);
    return bytes;
}

/* One tensor of the file into the store. */
static int32_t read_tensor(state_reading *r, const char *line, cvr_error *err) {
    char dtype[8], why[1200];
    unsigned long long bytes;
    int used = 0;
    if (sscanf(line, "tensor %7s %llu %n", dtype, &bytes, &used) != 2 || !used)
        return bad_state(r->path, "has a header that cannot be read", err);
    const uint8_t *data = take_bytes(r, bytes);
    if (!data) return bad_state(r->path, "is cut short", err);
    if (r->plugins_only) return CVR_OK;
    const int64_t i = cvr_store_find(r->s->net.store, line + used);
    const cvr_store_entry *e = i < 0 ? NULL : cvr_store_get(r->s->net.store, (size_t)i);
    if (!e || !cvr_store_in_checkpoint(e) || e->bytes != bytes || strcmp(dtype, cvr_dtype_name(e->type.dtype)) != 0) {
        (void)snprintf(why, sizeof why,
                       "has the tensor %.900s, which this network does not have so; the recipe was changed since",
                       line + used);
        return bad_state(r->path, why, err);
    }
    if (r->tensors[i]) return bad_state(r->path, "has a tensor twice", err);
    if (!weights_finite(e->type.dtype, data, (int64_t)(bytes / cvr_dtype_size(e->type.dtype)))) {
        (void)snprintf(why, sizeof why, "has NaN or infinity in the tensor %.900s; the run had diverged", e->name);
        return bad_state(r->path, why, err);
    }
    r->tensors[i] = true;
    r->count++;
    return cvr_store_write(r->s->net.store, (size_t)i, data, err);
}

static int32_t read_blob(state_reading *r, const char *line, cvr_error *err) {
    unsigned long long bytes;
    int used = 0;
    if (sscanf(line, "state %llu %n", &bytes, &used) != 1 || !used)
        return bad_state(r->path, "has a header that cannot be read", err);
    const uint8_t *data = take_bytes(r, bytes);
    if (!data) return bad_state(r->path, "is cut short", err);
    const int32_t status = plugin_state_put(&r->s->plugin_state, line + used, data, bytes, err);
    return status == CVR_OK ? CVR_OK : cvr_fail_at(err, r->path, 0, status);
}

static int32_t read_line(state_reading *r, const char *line, cvr_error *err) {
    if (strncmp(line, "tensor ", 7) == 0) return read_tensor(r, line, err);
    if (strncmp(line, "state ", 6) == 0) return read_blob(r, line, err);
    return read_field(r->state, &r->fields, line, err) ? CVR_OK
                                                       : bad_state(r->path, "has a header that cannot be read", err);
}

static int32_t read_state(state_reading *r, cvr_error *err) {
    size_t expected = 0;
    CVR_TRY(open_state(r->path, &r->file, err));
    char *header = cvr_strndup(r->file.header, r->file.header_bytes), *save = NULL;
    int32_t status = CVR_OK;
    r->at = r->file.data;
    r->count = 0;
    r->fields = 0;
    r->tensors = cvr_calloc(r->plugins_only ? 1 : cvr_store_count(r->s->net.store) + 1, sizeof *r->tensors);
    if (!header || !r->tensors) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    for (char *line = strtok_r(header, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        CVR_TRY_OUT(read_line(r, line, err));
    for (size_t i = 0; !r->plugins_only && i < cvr_store_count(r->s->net.store); i++)
        expected += cvr_store_in_checkpoint(cvr_store_get(r->s->net.store, i));
    if (r->count != expected)
        CVR_TRY_OUT(bad_state(r->path, "lacks tensors of this network; the recipe was changed since", err));
out:
    cvr_free(header);
    cvr_free(r->tensors);
    cvr_fs_unmap(&r->file.map);
    return status;
}

/* The newest of the two that is valid. */
static int32_t newest(state_reading *r, const char *folder, cvr_error *err) {
    static const char *const names[] = {"weights/last.state", "weights/last.state.1"};
    cvr_error second = CVR_ERROR_INIT;
    int32_t status = CVR_ERR_NOTFOUND;
    for (int i = 0; i < 2 && status != CVR_OK; i++) {
        char *path = cvr_fs_join(folder, names[i]);
        if (!path) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        r->path = path;
        train_state_clear(r->state);
        memset(r->state, 0, sizeof *r->state);
        status = read_state(r, i == 0 ? err : &second);
        if (i == 1 && status == CVR_OK && !r->plugins_only)
            cvr_log(CVR_LOG_WARNING, "%s: %s; going on from the checkpoint before it", err->file, err->message);
        cvr_free(path);
    }
    return status == CVR_OK ? CVR_OK : cvr_fail_as(err, CVR_ERR_FORMAT);
}

int32_t checkpoint_load(cvr_session *s, const char *folder, train_state *state, cvr_error *err) {
    state_reading r = {.s = s, .state = state};
    return newest(&r, folder, err);
}

void checkpoint_load_plugin_state(cvr_session *s, const char *folder) {
    cvr_error none = CVR_ERROR_INIT; /* who loads the rest will hear of it */
    train_state state = {0};
    state_reading r = {.s = s, .state = &state, .plugins_only = true};
    (void)newest(&r, folder, &none);
    train_state_clear(&state);
}
