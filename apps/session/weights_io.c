/*
 * Weights from files: every parameter and buffer under its name, in logical order, by whichever weights plugin knows
 * the format. A file is gone through three times: for its names, to see what fits, and to load it; and once more where
 * torch.nn.utils.prune has left NAME_orig and NAME_mask in place of NAME, whose product it is.
 */
#include "session_parts.h"

#define MOST_PROBLEMS 12
#define MOST_PROBLEM_BYTES 760 /* of what an error has room for */

typedef enum fate { FATE_MISSING, FATE_LOADED, FATE_CAST, FATE_ADAPTED, FATE_ROWS, FATE_NEW } fate;

typedef struct loading {
    cvr_store *store;
    const weights_rules *rules;
    char **names; /* of the file's tensors */
    size_t n_names, names_capacity;
    size_t prefix;                             /* bytes that are left out in front of each name */
    bool aliases;                              /* names are another implementation's */
    fate *fates;                               /* of the store's entries */
    bool counts;                               /* the file has counters of batches, which some formats have not */
    bool head_is_new, writing, masks, masking; /* masks: some were seen; masking: they are what is read now */
    cvr_text problems, skipped, unreal;        /* unreal: with numbers that are none */
    size_t n_problems, n_told, n_skipped, n_unreal, n_beyond; /* n_beyond: problems that head = new would leave out */
} loading;

/* ---- which entry a name means ---- */

/* How many batches a norm has seen. */
static bool is_counter(const cvr_store_entry *e) {
    return e->role == CVR_STORE_BUFFER && e->type.dtype == CVR_I64;
}

static bool is_head(const cvr_store_entry *e) {
    return strcmp(e->stage, "head") == 0;
}

/* Bytes of a name without the ending that pruning gives it. */
static size_t pruned_length(const char *name, bool *mask) {
    const size_t n = strlen(name);
    *mask = n > 5 && strcmp(name + n - 5, "_mask") == 0;
    return n > 5 && (*mask || strcmp(name + n - 5, "_orig") == 0) ? n - 5 : n;
}

static int64_t find_named(const loading *l, const char *name, size_t n) {
    char full[1024], given[1024], own[1024];
    const char *network = l->rules->network;
    if (snprintf(given, sizeof given, "%.*s", (int)n, name) >= (int)sizeof given) return -1;
    if (l->aliases && !l->rules->alias(given, own, sizeof own)) return -1;
    if (snprintf(full, sizeof full, "%s%s%s", network, *network ? "." : "", l->aliases ? own : given) >=
        (int)sizeof full)
        return -1;
    const int64_t i = cvr_store_find(l->store, full);
    return i >= 0 && weights_are_of(l->rules->network, cvr_store_get(l->store, (size_t)i)) ? i : -1;
}

/* `mask`: the name is that of a mask of the entry. */
static int64_t find_entry(const loading *l, const char *name, bool *mask) {
    const int64_t i = find_named(l, name, strlen(name));
    const size_t n = pruned_length(name, mask);
    if (i < 0) return find_named(l, name, n);
    *mask = false;
    return i;
}

static int32_t on_name(void *ctx, const cvr_weight *w, cvr_error *err) {
    loading *l = ctx;
    CVR_TRY(cvr_weight_check(w, err));
    char **more = cvr_grow(l->names, l->n_names, &l->names_capacity, sizeof *more);
    if (more) l->names = more;
    char *name = more ? cvr_strdup(w->name) : NULL;
    if (!name) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    more[l->n_names++] = name;
    return CVR_OK;
}

/* "module.", "model.": of the prefixes that end in a dot and that all names have, the shortest that leaves the most
 * names of the network. */
static size_t find_prefix(loading *l) {
    size_t best = 0;
    bool mask;
    for (size_t at = 0; l->n_names;) {
        size_t fit = 0;
        for (size_t i = 0; i < l->n_names; i++) fit += find_entry(l, l->names[i] + at, &mask) >= 0;
        if (fit > best) {
            best = fit;
            l->prefix = at;
        }
        const char *first = l->names[0], *dot = strchr(first + at, '.');
        if (!dot || !dot[1]) break;
        const size_t next = (size_t)(dot + 1 - first);
        for (size_t i = 1; i < l->n_names; i++)
            if (strncmp(l->names[i], first, next) != 0) return best;
        at = next;
    }
    return best;
}

/* Whose names they are: the network's, or another implementation's where more of those mean something here. */
static void find_names(loading *l) {
    const size_t own = find_prefix(l), prefix = l->prefix;
    if (!l->rules->alias) return;
    l->aliases = true;
    l->prefix = 0;
    if (find_prefix(l) > own) return;
    l->aliases = false;
    l->prefix = prefix;
}

/* ---- one tensor ---- */

static void problem(loading *l, const char *what, const char *name) {
    if (l->n_problems++ == l->n_told && l->problems.n + strlen(what) + strlen(name) < MOST_PROBLEM_BYTES) {
        cvr_text_add(&l->problems, "\n  %s %s", what, name);
        l->n_told++;
    }
}

static void skip(loading *l, const char *name) {
    if (l->n_skipped++ < MOST_PROBLEMS) cvr_text_add(&l->skipped, "%s%s", l->n_skipped > 1 ? ", " : "", name);
}

static void misshapen(loading *l, const cvr_weight *w, const cvr_store_entry *e) {
    char why[400], have[160], want[160];
    weights_shape_text(have, sizeof have, w->rank, w->shape);
    weights_shape_text(want, sizeof want, e->type.rank, e->type.shape);
    (void)snprintf(why, sizeof why, "misshapen: the file has %s%s, the network %s%s:",
                   w->source_dtype ? w->source_dtype : cvr_dtype_name(w->dtype), have, cvr_dtype_name(e->type.dtype),
                   want);
    problem(l, why, w->name);
    l->n_beyond += is_head(e);
}

/* An entry and its running mean, which starts as the entry does. */
static int32_t write_entry(loading *l, size_t i, const cvr_weight *w, cvr_error *err) {
    const cvr_store_entry *e = cvr_store_get(l->store, i);
    const void *data = w->data;
    void *cast = NULL, *fitted = NULL;
    int32_t status = CVR_OK;
    if (w->dtype != e->type.dtype) {
        const int64_t n = cvr_numel(w->rank, w->shape);
        cast = cvr_alloc_aligned((uint64_t)n * cvr_dtype_size(e->type.dtype) + 8, 64);
        if (!cast) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        weights_cast(e->type.dtype, cast, w->dtype, w->data, n);
        data = cast;
    }
    if (l->fates[i] == FATE_ROWS || l->fates[i] == FATE_ADAPTED) {
        fitted = cvr_alloc_aligned(e->bytes + 8, 64);
        if (!fitted) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
        if (l->fates[i] == FATE_ROWS) {
            CVR_TRY_OUT(cvr_store_read(l->store, i, fitted, err));
            weights_take_rows(l->rules, e, fitted, data);
        } else {
            weights_adapt(&e->type, fitted, w->rank, w->shape, data);
        }
        data = fitted;
    }
    if (!weights_finite(e->type.dtype, data, cvr_numel(e->type.rank, e->type.shape)) && l->n_unreal++ < MOST_PROBLEMS)
        cvr_text_add(&l->unreal, "%s%s", l->n_unreal > 1 ? ", " : "", e->name);
    CVR_TRY_OUT(cvr_store_write(l->store, i, data, err));
    const int64_t average = cvr_store_average(l->store, i);
    if (average >= 0) CVR_TRY_OUT(cvr_store_write(l->store, (size_t)average, data, err));
out:
    cvr_free(fitted);
    cvr_free(cast);
    return status;
}

static bool fits_entry(const loading *l, const cvr_weight *w, const cvr_store_entry *e) {
    if (w->rank == e->type.rank && memcmp(w->shape, e->type.shape, w->rank * sizeof *w->shape) == 0) return true;
    return l->aliases && weights_fit_another(&e->type, w->rank, w->shape);
}

/* In each pass: a mask has the shape of what it masks. */
static int32_t on_mask(loading *l, size_t i, const cvr_weight *w, cvr_error *err) {
    const cvr_store_entry *e = cvr_store_get(l->store, i);
    if (l->masking) return l->fates[i] == FATE_NEW ? CVR_OK : weights_fold_mask(l->store, i, w, err);
    l->masks = true;
    const bool fits = fits_entry(l, w, e) && weights_cast(CVR_F32, NULL, w->dtype, NULL, 0);
    if (!fits && is_head(e) && l->rules->head != WEIGHTS_HEAD_KEEP)
        l->head_is_new = true;
    else if (!fits && !l->writing)
        misshapen(l, w, e);
    return fits && !l->writing ? weights_check_mask(w, err) : CVR_OK;
}

/* Whether it is a mask that the network itself has (masks.c): NAME_mask beside NAME. */
static bool is_own_mask(const loading *l, const cvr_weight *w, const cvr_store_entry *e) {
    const char *const name = w->name + l->prefix;
    bool mask;
    const size_t n = pruned_length(name, &mask);
    const int64_t of = mask && e->role == CVR_STORE_BUFFER ? find_named(l, name, n) : -1;
    return of >= 0 && fits_entry(l, w, cvr_store_get(l->store, (size_t)of));
}

/* NAME and NAME_orig, say: one of them would have the other's fate. Another network's head may have more layers than
 * this one's; what they stand for is none of this one's. */
static void twice(loading *l, const cvr_weight *w, const cvr_store_entry *e) {
    if (l->aliases && is_head(e) && l->rules->head != WEIGHTS_HEAD_KEEP) {
        l->head_is_new = true;
        return;
    }
    problem(l, "twice in the file, under another name too:", w->name);
    l->n_beyond += l->aliases && is_head(e);
}

/* How many batches a norm has seen, of one that keeps no such count: it is frozen here. torchvision's drop it, too. */
static bool is_lost_count(const loading *l, const cvr_weight *w) {
    static const char count[] = "num_batches_tracked";
    const char *const name = w->name + l->prefix;
    const size_t n = strlen(name), end = sizeof count - 1;
    char mean[1024];
    if (w->rank != 0 || n < end || strcmp(name + n - end, count) != 0) return false;
    const int length = snprintf(mean, sizeof mean, "%.*srunning_mean", (int)(n - end), name);
    return length < (int)sizeof mean && find_named(l, mean, (size_t)length) >= 0;
}

static int32_t on_weight(void *ctx, const cvr_weight *w, cvr_error *err) {
    loading *l = ctx;
    bool mask;
    CVR_TRY(cvr_weight_check(w, err));
    const int64_t i = find_entry(l, w->name + l->prefix, &mask);
    if (i >= 0 && mask) return on_mask(l, (size_t)i, w, err);
    if (l->masking) return CVR_OK;
    if (i < 0) {
        if (l->writing || is_lost_count(l, w)) return CVR_OK;
        if (l->rules->subset)
            skip(l, w->name);
        else
            problem(l, "unexpected:", w->name);
        return CVR_OK;
    }
    const cvr_store_entry *e = cvr_store_get(l->store, (size_t)i);
    const bool fits = fits_entry(l, w, e);
    l->counts = l->counts || is_counter(e);
    if (l->writing) return l->fates[i] == FATE_NEW ? CVR_OK : write_entry(l, (size_t)i, w, err);
    if (l->fates[i] != FATE_MISSING) {
        twice(l, w, e);
        return CVR_OK;
    }
    const bool casts = w->dtype == e->type.dtype || weights_cast(e->type.dtype, NULL, w->dtype, NULL, 0),
               rows = casts && is_head(e) && weights_has_rows(l->rules, w, e);
    const bool adapts = casts && !fits && weights_adapt(&e->type, NULL, w->rank, w->shape, NULL);
    if (rows || adapts) {
        l->fates[i] = rows ? FATE_ROWS : FATE_ADAPTED;
        return CVR_OK;
    }
    if (l->rules->head != WEIGHTS_HEAD_KEEP && is_head(e) && (!fits || l->rules->head == WEIGHTS_HEAD_NEW))
        l->head_is_new = true;
    else if (!fits || !casts)
        misshapen(l, w, e);
    l->fates[i] = w->dtype == e->type.dtype ? FATE_LOADED : FATE_CAST;
    return fits && casts && is_own_mask(l, w, e) ? weights_check_mask(w, err) : CVR_OK;
}

/* What stands on a backbone: a file of a classifier's weights has the backbone alone. */
static bool is_beyond_backbone(const cvr_store_entry *e) {
    return *e->stage && strncmp(e->stage, "backbone", 8) != 0;
}

/* Whether the file has nothing of what stands on the backbone, but perhaps for last layers of its own. A network whose
 * last layers are all that stands there is a classifier: its file has them. */
static bool is_backbone_alone(const loading *l) {
    size_t n = 0;
    for (size_t i = 0; i < cvr_store_count(l->store); i++) {
        const cvr_store_entry *e = cvr_store_get(l->store, i);
        if (!weights_are_of(l->rules->network, e) || !is_beyond_backbone(e) || is_head(e)) continue;
        if (l->fates[i] != FATE_MISSING) return false;
        n++;
    }
    return n > 0;
}

/* What the file does not have. Counters may be missing: files of before PyTorch 0.4.1 have none. With model.head = new,
 * or auto where the file is of the backbone alone, so may all that stands on the backbone. */
static void judge_missing(loading *l) {
    const uint32_t head = l->rules->head;
    const bool anew = head == WEIGHTS_HEAD_NEW || (head == WEIGHTS_HEAD_AUTO && is_backbone_alone(l));
    for (size_t i = 0; i < cvr_store_count(l->store); i++) {
        const cvr_store_entry *e = cvr_store_get(l->store, i);
        if (!weights_are_of(l->rules->network, e)) continue;
        if (is_head(e) && (l->head_is_new || anew)) l->fates[i] = FATE_NEW;
        if (l->fates[i] == FATE_MISSING && anew && is_beyond_backbone(e)) l->fates[i] = FATE_NEW;
        if (l->fates[i] != FATE_MISSING || is_counter(e) || l->rules->subset) continue;
        problem(l, "missing:", e->name);
        l->n_beyond += is_beyond_backbone(e);
    }
}

/* Whether anything of the file is of use: with model.strict = no, all of it may be missing. */
static bool has_any(const loading *l) {
    for (size_t i = 0; i < cvr_store_count(l->store); i++)
        if (l->fates[i] != FATE_MISSING && l->fates[i] != FATE_NEW) return true;
    return false;
}

/* ---- the whole file ---- */

static void tell(const loading *l, const char *path, const char *format) {
    static const char *const words[] = {"not in the file", "loaded", "cast", "adapted", "rows by name", "made new"};
    cvr_text t = {0};
    cvr_text_add(&t, "weights from %s (%s%s)", path, format, l->aliases ? ", another implementation's names" : "");
    if (l->prefix) cvr_text_add(&t, ", without the prefix `%.*s`", (int)l->prefix, l->names[0]);
    for (int f = FATE_NEW; f >= FATE_MISSING; f--) {
        cvr_text names = {0};
        size_t n = 0;
        for (size_t i = 0; i < cvr_store_count(l->store); i++) {
            const cvr_store_entry *e = cvr_store_get(l->store, i);
            if (!weights_are_of(l->rules->network, e) || l->fates[i] != (fate)f) continue;
            if (f == FATE_MISSING && is_counter(e) && !l->counts) continue;
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
    if (l->n_unreal)
        cvr_log(CVR_LOG_WARNING,
                "%s: NaN or infinity in %zu tensor%s: %s%s; what the network says will be as wrong, so look at the run "
                "that made the file",
                path, l->n_unreal, l->n_unreal == 1 ? "" : "s", l->unreal.s ? l->unreal.s : "?",
                l->n_unreal > MOST_PROBLEMS ? ", ..." : "");
}

static int32_t read_tensors(loading *l, const cvr_weights_desc *format, const cvr_host *host, const cvr_mapping *m,
                            cvr_weight_fn each, cvr_error *err) {
    const cvr_weights_reading r = {format, host, m, l->store, l->rules->network};
    return cvr_weights_read(&r, each, l, err);
}

/* cvr_host.log */
static void say_nothing(const cvr_host *host, uint32_t level, const char *text) {
    (void)host, (void)level, (void)text;
}

/* The file is read several times; what its reader has to say is said the first time. */
static int32_t load_mapped(cvr_plugins *plugins, loading *l, const cvr_mapping *m, const char *path, cvr_error *err) {
    const cvr_weights_desc *format = weights_format(plugins, m, path, err);
    cvr_host host = *cvr_plugins_host(plugins);
    if (!format) return weights_format_unknown(plugins, err);
    CVR_TRY(read_tensors(l, format, &host, m, on_name, err));
    host.log = say_nothing;
    find_names(l);
    CVR_TRY(read_tensors(l, format, &host, m, on_weight, err));
    judge_missing(l);
    if (l->n_problems > l->n_told) cvr_text_add(&l->problems, "\n  and %zu more", l->n_problems - l->n_told);
    if (l->n_problems)
        return cvr_fail(err, CVR_ERR_FORMAT, "does not fit this network, %zu tensor%s differ%s; %s:%.800s",
                        l->n_problems, l->n_problems == 1 ? "" : "s", l->n_problems == 1 ? "s" : "",
                        l->n_beyond == l->n_problems ? "to take its backbone alone set model.head = new"
                                                     : "choose the model that made it",
                        l->problems.s ? l->problems.s : "");
    if (!has_any(l))
        return cvr_fail(err, CVR_ERR_FORMAT, "has no tensor of this network; choose the model that made it");
    l->writing = true;
    CVR_TRY(read_tensors(l, format, &host, m, on_weight, err));
    l->masking = l->masks;
    if (l->masks) CVR_TRY(read_tensors(l, format, &host, m, on_weight, err));
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
    if (rules->foreign) *rules->foreign = l.aliases;
out:
    if (status != CVR_OK) cvr_fail_at(err, path, 0, status);
    for (size_t i = 0; i < l.n_names; i++) cvr_free(l.names[i]);
    cvr_free(l.names);
    cvr_text_clear(&l.problems);
    cvr_text_clear(&l.skipped);
    cvr_text_clear(&l.unreal);
    cvr_fs_unmap(&map);
    cvr_free(l.fates);
    return status;
}
