/*
 * Weights in files: every parameter and buffer under its name, in logical order, by whichever weights plugin knows the
 * format. A file is gone through three times: for its names, to see what fits, and to load it.
 */
#include "session_parts.h"

#define MOST_PROBLEMS 12

typedef enum fate { FATE_MISSING, FATE_LOADED, FATE_CAST, FATE_NEW } fate;

typedef struct loading {
    cvr_store *store;
    const weights_rules *rules;
    char **names; /* of the file's tensors */
    size_t n_names, names_capacity;
    size_t prefix; /* bytes that are left out in front of each name */
    fate *fates;   /* of the store's entries */
    bool head_is_new, writing;
    cvr_text problems, skipped;
    size_t n_problems, n_skipped;
} loading;

/* ---- which entry a name means ---- */

static bool is_wanted(const loading *l, const cvr_store_entry *e) {
    return e->role <= CVR_STORE_BUFFER && strcmp(e->network, l->rules->network) == 0;
}

static bool is_head(const cvr_store_entry *e) {
    return strcmp(e->stage, "head") == 0;
}

static int64_t find_entry(const loading *l, const char *name) {
    char full[1024];
    const char *network = l->rules->network;
    if (snprintf(full, sizeof full, "%s%s%s", network, *network ? "." : "", name) >= (int)sizeof full) return -1;
    const int64_t i = cvr_store_find(l->store, full);
    return i >= 0 && is_wanted(l, cvr_store_get(l->store, (size_t)i)) ? i : -1;
}

static int32_t on_name(void *ctx, const cvr_weight *w, cvr_error *err) {
    loading *l = ctx;
    char **more = cvr_grow(l->names, l->n_names, &l->names_capacity, sizeof *more);
    if (more) l->names = more;
    char *name = more ? cvr_strdup(w->name) : NULL;
    if (!name) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    more[l->n_names++] = name;
    return CVR_OK;
}

/* "module.", "model.": of the prefixes that end in a dot and that all names have, the shortest that leaves the most
 * names of the network. */
static void find_prefix(loading *l) {
    size_t best = 0;
    for (size_t at = 0; l->n_names;) {
        size_t fit = 0;
        for (size_t i = 0; i < l->n_names; i++) fit += find_entry(l, l->names[i] + at) >= 0;
        if (fit > best) {
            best = fit;
            l->prefix = at;
        }
        const char *first = l->names[0], *dot = strchr(first + at, '.');
        if (!dot || !dot[1]) return;
        const size_t next = (size_t)(dot + 1 - first);
        for (size_t i = 1; i < l->n_names; i++)
            if (strncmp(l->names[i], first, next) != 0) return;
        at = next;
    }
}

/* ---- one tensor ---- */

static void problem(loading *l, const char *what, const char *name) {
    if (l->n_problems++ < MOST_PROBLEMS) cvr_text_add(&l->problems, "\n  %s %s", what, name);
}

static void skip(loading *l, const char *name) {
    if (l->n_skipped++ < MOST_PROBLEMS) cvr_text_add(&l->skipped, "%s%s", l->n_skipped > 1 ? ", " : "", name);
}

static void shape_text(char *out, size_t size, uint32_t rank, const int64_t *shape) {
    size_t n = (size_t)snprintf(out, size, "(");
    for (uint32_t k = 0; k < rank && n < size; k++)
        n += (size_t)snprintf(out + n, size - n, "%s%lld", k ? ", " : "", (long long)shape[k]);
    if (n < size) (void)snprintf(out + n, size - n, ")");
}

static void misshapen(loading *l, const cvr_weight *w, const cvr_store_entry *e) {
    char why[400], have[160], want[160];
    shape_text(have, sizeof have, w->rank, w->shape);
    shape_text(want, sizeof want, e->type.rank, e->type.shape);
    (void)snprintf(why, sizeof why, "misshapen: the file has %s%s, the network %s%s:",
                   w->source_dtype ? w->source_dtype : cvr_dtype_name(w->dtype), have, cvr_dtype_name(e->type.dtype),
                   want);
    problem(l, why, w->name);
}

/* An entry and its running mean, which starts as the entry does. */
static int32_t write_entry(loading *l, size_t i, const cvr_weight *w, cvr_error *err) {
    const cvr_store_entry *e = cvr_store_get(l->store, i);
    const void *data = w->data;
    void *cast = NULL;
    if (l->fates[i] == FATE_CAST) {
        cast = cvr_alloc_aligned(e->bytes + 8, 64);
        if (!cast) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        weights_cast(e->type.dtype, cast, w->dtype, w->data, cvr_numel(e->type.rank, e->type.shape));
        data = cast;
    }
    int32_t status;
    CVR_TRY_OUT(cvr_store_write(l->store, i, data, err));
    const int64_t average = cvr_store_average(l->store, i);
    if (average >= 0) CVR_TRY_OUT(cvr_store_write(l->store, (size_t)average, data, err));
out:
    cvr_free(cast);
    return status;
}

static int32_t on_weight(void *ctx, const cvr_weight *w, cvr_error *err) {
    loading *l = ctx;
    const int64_t i = find_entry(l, w->name + l->prefix);
    if (i < 0) {
        if (l->writing) return CVR_OK;
        if (l->rules->subset)
            skip(l, w->name);
        else
            problem(l, "unexpected:", w->name);
        return CVR_OK;
    }
    const cvr_store_entry *e = cvr_store_get(l->store, (size_t)i);
    const bool fits = w->rank == e->type.rank && memcmp(w->shape, e->type.shape, w->rank * sizeof *w->shape) == 0;
    if (l->writing) return l->fates[i] == FATE_NEW ? CVR_OK : write_entry(l, (size_t)i, w, err);
    if (l->rules->head != WEIGHTS_HEAD_KEEP && is_head(e) && (!fits || l->rules->head == WEIGHTS_HEAD_NEW))
        l->head_is_new = true;
    else if (!fits || (w->dtype != e->type.dtype && !weights_cast(e->type.dtype, NULL, w->dtype, NULL, 0)))
        misshapen(l, w, e);
    l->fates[i] = w->dtype == e->type.dtype ? FATE_LOADED : FATE_CAST;
    return CVR_OK;
}

/* What the file does not have. Counters may be missing: files of before PyTorch 0.4.1 have none. */
static void judge_missing(loading *l) {
    for (size_t i = 0; i < cvr_store_count(l->store); i++) {
        const cvr_store_entry *e = cvr_store_get(l->store, i);
        if (!is_wanted(l, e)) continue;
        if (is_head(e) && (l->head_is_new || l->rules->head == WEIGHTS_HEAD_NEW)) l->fates[i] = FATE_NEW;
        const bool counter = e->role == CVR_STORE_BUFFER && e->type.dtype == CVR_I64;
        if (l->fates[i] == FATE_MISSING && !counter && !l->rules->subset) problem(l, "missing:", e->name);
    }
}

/* Whether anything of the file is of use: with model.strict = no, all of it may be missing. */
static bool has_any(const loading *l) {
    for (size_t i = 0; i < cvr_store_count(l->store); i++)
        if (l->fates[i] == FATE_LOADED || l->fates[i] == FATE_CAST) return true;
    return false;
}

/* ---- the whole file ---- */

static void tell(const loading *l, const char *path, const char *format) {
    static const char *const words[] = {"not in the file", "loaded", "cast", "made new"};
    cvr_text t = {0};
    cvr_text_add(&t, "weights from %s (%s)", path, format);
    if (l->prefix) cvr_text_add(&t, ", without the prefix `%.*s`", (int)l->prefix, l->names[0]);
    for (int f = FATE_NEW; f >= FATE_MISSING; f--) {
        cvr_text names = {0};
        size_t n = 0;
        for (size_t i = 0; i < cvr_store_count(l->store); i++) {
            const cvr_store_entry *e = cvr_store_get(l->store, i);
            if (!is_wanted(l, e) || l->fates[i] != (fate)f) continue;
            if (n++ < MOST_PROBLEMS) cvr_text_add(&names, "%s%s", n > 1 ? ", " : "", e->name);
        }
        if (n) cvr_text_add(&t, "\n  %-15s %4zu", words[f], n);
        if (n && f != FATE_LOADED && f != FATE_CAST)
            cvr_text_add(&t, "  %s%s", names.s ? names.s : "", n > MOST_PROBLEMS ? ", ..." : "");
        cvr_text_clear(&names);
    }
    if (l->n_skipped)
        cvr_text_add(&t, "\n  %-15s %4zu  %s%s", "skipped", l->n_skipped, l->skipped.s ? l->skipped.s : "",
                     l->n_skipped > MOST_PROBLEMS ? ", ..." : "");
    if (!t.failed) cvr_log(CVR_LOG_INFO, "%s", t.s);
    cvr_text_clear(&t);
}

/* The plugin whose format the bytes have or, without a map, whose extension the path ends in. */
static const cvr_weights_desc *format_of(cvr_plugins *p, const cvr_mapping *m, const char *path, cvr_error *err) {
    const char *name;
    for (size_t i = 0; (name = cvr_plugins_name(p, CVR_KIND_WEIGHTS, i)); i++) {
        const void *desc;
        const int32_t status = cvr_plugins_find(p, CVR_KIND_WEIGHTS, name, &desc, err);
        if (status == CVR_ERR_NOMEM) return NULL;
        if (status != CVR_OK) continue;
        const cvr_weights_desc *w = desc;
        const size_t n = strlen(path), length = strlen(w->extension);
        if (m ? w->probe(m->bytes, m->n < 64 ? m->n : 64, m->n) != 0
              : n > length && strcmp(path + n - length, w->extension) == 0)
            return w;
    }
    return NULL;
}

static int32_t unknown_format(cvr_plugins *p, cvr_error *err) {
    if (err && err->code == CVR_ERR_NOMEM) return err->code; /* a plugin that might have known it could not be loaded */
    cvr_text known = {0};
    const char *name;
    for (size_t i = 0; (name = cvr_plugins_name(p, CVR_KIND_WEIGHTS, i)); i++)
        cvr_text_add(&known, "%s%s", i ? ", " : "", name);
    const int32_t status = cvr_fail(
        err, CVR_ERR_FORMAT, "is no file of weights that any plugin knows (%s), or out of memory; give another file",
        known.s ? known.s : "there is none");
    cvr_text_clear(&known);
    return status;
}

static int32_t load_mapped(cvr_plugins *plugins, loading *l, const cvr_mapping *m, const char *path, cvr_error *err) {
    const cvr_weights_desc *format = format_of(plugins, m, path, err);
    const cvr_host *host = cvr_plugins_host(plugins);
    if (!format) return unknown_format(plugins, err);
    CVR_TRY(CVR_CALL(format, read, NULL, err, host, m->bytes, m->n, on_name, l));
    find_prefix(l);
    CVR_TRY(CVR_CALL(format, read, NULL, err, host, m->bytes, m->n, on_weight, l));
    judge_missing(l);
    if (l->n_problems)
        return cvr_fail(err, CVR_ERR_FORMAT,
                        "does not fit this network, %zu tensor%s differ%s; choose the model that made it:%.800s",
                        l->n_problems, l->n_problems == 1 ? "" : "s", l->n_problems == 1 ? "s" : "",
                        l->problems.s ? l->problems.s : "");
    if (!has_any(l))
        return cvr_fail(err, CVR_ERR_FORMAT, "has no tensor of this network; choose the model that made it");
    l->writing = true;
    CVR_TRY(CVR_CALL(format, read, NULL, err, host, m->bytes, m->n, on_weight, l));
    tell(l, path, format->name);
    return CVR_OK;
}

int32_t weights_load(cvr_plugins *plugins, cvr_store *store, const weights_rules *rules, const char *path,
                     cvr_error *err) {
    cvr_mapping map = {0};
    loading l = {.store = store, .rules = rules, .fates = cvr_calloc(cvr_store_count(store) + 1, sizeof *l.fates)};
    int32_t status;
    CVR_TRY_OUT(l.fates ? cvr_fs_map(path, &map, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    CVR_TRY_OUT(load_mapped(plugins, &l, &map, path, err));
out:
    if (status != CVR_OK) cvr_fail_at(err, path, 0, status);
    for (size_t i = 0; i < l.n_names; i++) cvr_free(l.names[i]);
    cvr_free(l.names);
    cvr_text_clear(&l.problems);
    cvr_text_clear(&l.skipped);
    cvr_fs_unmap(&map);
    cvr_free(l.fates);
    return status;
}

int32_t cvr_session_load_weights(cvr_session *s, const char *path, cvr_error *err) {
    const bool trains = (s->purpose & CVR_FOR_TRAINING) != 0; /* else a new head would only give wrong numbers */
    const uint32_t head = (uint32_t)s->set.model->head;
    const weights_rules rules = {"", head == WEIGHTS_HEAD_AUTO && !trains ? WEIGHTS_HEAD_KEEP : head,
                                 !s->set.model->strict};
    return weights_load(s->plugins, s->net.store, &rules, path, err);
}

/* ---- saving ---- */

typedef struct saving {
    cvr_weight *weights;
    const cvr_weight **pointers;
    char *data;
    size_t n;
} saving;

static int32_t gather(cvr_store *store, saving *to, cvr_error *err) {
    uint64_t bytes = 0, at = 0;
    const size_t count = cvr_store_count(store);
    for (size_t i = 0; i < count; i++) bytes += (cvr_store_get(store, i)->bytes + 7) / 8 * 8;
    to->weights = cvr_calloc(count + 1, sizeof *to->weights);
    to->pointers = cvr_calloc(count + 1, sizeof *to->pointers);
    to->data = cvr_alloc_aligned(bytes + 8, 64);
    if (!to->weights || !to->pointers || !to->data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        const cvr_store_entry *e = cvr_store_get(store, i);
        const int64_t average = cvr_store_average(store, i);
        if (!cvr_store_in_weights(e)) continue;
        cvr_weight *w = &to->weights[to->n];
        *w = (cvr_weight){.struct_size = sizeof *w,
                          .name = e->name,
                          .dtype = e->type.dtype,
                          .rank = e->type.rank,
                          .data = to->data + at,
                          .bytes = e->bytes};
        for (uint32_t k = 0; k < e->type.rank; k++) w->shape[k] = e->type.shape[k];
        CVR_TRY(cvr_store_read(store, average >= 0 ? (size_t)average : i, to->data + at, err));
        to->pointers[to->n++] = w;
        at += (e->bytes + 7) / 8 * 8;
    }
    return CVR_OK;
}

static int32_t to_writer(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    return cvr_writer_put(ctx, bytes, n, err);
}

int32_t weights_save(cvr_plugins *plugins, cvr_store *store, const char *path, cvr_error *err) {
    cvr_writer w;
    saving all = {0};
    int32_t status;
    const cvr_weights_desc *format = format_of(plugins, NULL, path, err);
    if (!format) return cvr_fail_at(err, path, 0, unknown_format(plugins, err));
    CVR_TRY_OUT(gather(store, &all, err));
    CVR_TRY_OUT(cvr_writer_open(&w, path, err));
    status = CVR_CALL(format, write, NULL, err, cvr_plugins_host(plugins), all.pointers, all.n, NULL, 0, to_writer, &w);
    if (status == CVR_OK)
        status = cvr_writer_commit(&w, false, err);
    else
        cvr_writer_abandon(&w);
out:
    cvr_free(all.weights);
    cvr_free((void *)(uintptr_t)all.pointers);
    cvr_free(all.data);
    return status;
}

int32_t cvr_session_save_weights(cvr_session *s, const char *path, cvr_error *err) {
    return weights_save(s->plugins, s->net.store, path, err);
}
