/* Weights in files: every parameter and buffer under its name, in logical order, by whichever weights plugin knows the
 * format. */
#include "session.h"

/* ---- loading ---- */

typedef struct loading {
    cvr_session *s;
    bool *found;
    cvr_text problems;
    size_t n_problems;
} loading;

static void problem(loading *l, const char *what, const char *name) {
    if (l->n_problems++ < 12) cvr_text_add(&l->problems, "\n  %s %s", what, name);
}

static int32_t on_weight(void *ctx, const cvr_weight *w, cvr_error *err) {
    loading *l = ctx;
    char why[400], have[160], want[160];
    const int64_t i = cvr_store_find(l->s->store, w->name);
    if (i < 0 || cvr_store_get(l->s->store, (size_t)i)->kind == CVR_STORE_SLOT) {
        problem(l, "unexpected:", w->name);
        return CVR_OK;
    }
    const cvr_store_entry *e = cvr_store_get(l->s->store, (size_t)i);
    l->found[i] = true;
    if (w->dtype == e->type.dtype && w->rank == e->type.rank &&
        memcmp(w->shape, e->type.shape, w->rank * sizeof *w->shape) == 0) {
        return cvr_store_write(l->s->store, (size_t)i, w->data, err);
    }
    size_t n = (size_t)snprintf(have, sizeof have, "(");
    for (uint32_t k = 0; k < w->rank && n < sizeof have; k++)
        n += (size_t)snprintf(have + n, sizeof have - n, "%s%lld", k ? ", " : "", (long long)w->shape[k]);
    n = (size_t)snprintf(want, sizeof want, "(");
    for (uint32_t k = 0; k < e->type.rank && n < sizeof want; k++)
        n += (size_t)snprintf(want + n, sizeof want - n, "%s%lld", k ? ", " : "", (long long)e->type.shape[k]);
    (void)snprintf(why, sizeof why, "misshapen: the file has %s%s), the network %s%s):",
                   w->source_dtype ? w->source_dtype : cvr_dtype_name(w->dtype), have, cvr_dtype_name(e->type.dtype),
                   want);
    problem(l, why, w->name);
    return CVR_OK;
}

static const cvr_weights_desc *format_of(cvr_plugins *p, const cvr_mapping *m) {
    const char *name;
    for (size_t i = 0; (name = cvr_plugins_name(p, CVR_KIND_WEIGHTS, i)); i++) {
        const void *desc;
        if (cvr_plugins_find(p, CVR_KIND_WEIGHTS, name, &desc, NULL) != CVR_OK) continue;
        const cvr_weights_desc *w = desc;
        if (w->probe(m->bytes, m->n < 64 ? m->n : 64, m->n)) return w;
    }
    return NULL;
}

int32_t cvr_session_load_weights(cvr_session *s, const char *path, cvr_error *err) {
    cvr_mapping map;
    loading l = {.s = s, .found = cvr_calloc(cvr_store_count(s->store) + 1, sizeof *l.found)};
    if (!l.found) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    int32_t status = cvr_fs_map(path, &map, err);
    if (status == CVR_OK) {
        const cvr_weights_desc *format = format_of(s->plugins, &map);
        status = format ? format->read(cvr_plugins_host(s->plugins), map.bytes, map.n, on_weight, &l, err)
                        : cvr_fail(err, CVR_ERR_FORMAT,
                                   "is no file of weights that any plugin knows (safetensors); give another file");
    }
    for (size_t i = 0; status == CVR_OK && i < cvr_store_count(s->store); i++) {
        const cvr_store_entry *e = cvr_store_get(s->store, i);
        if (!l.found[i] && e->kind != CVR_STORE_SLOT) problem(&l, "missing:", e->name);
    }
    if (status == CVR_OK && l.n_problems) {
        status = cvr_fail(err, CVR_ERR_FORMAT,
                          "does not fit this network, %zu tensor%s differ%s; choose the model that made it:%.800s",
                          l.n_problems, l.n_problems == 1 ? "" : "s", l.n_problems == 1 ? "s" : "",
                          l.problems.s ? l.problems.s : "");
    }
    if (status != CVR_OK) cvr_fail_at(err, path, 0, status);
    cvr_text_clear(&l.problems);
    cvr_fs_unmap(&map);
    cvr_free(l.found);
    return status;
}

/* ---- saving ---- */

typedef struct saving {
    cvr_weight *weights;
    const cvr_weight **pointers;
    char *data;
    size_t n;
} saving;

static int32_t gather(cvr_session *s, saving *to, cvr_error *err) {
    uint64_t bytes = 0, at = 0;
    const size_t count = cvr_store_count(s->store);
    for (size_t i = 0; i < count; i++) bytes += (cvr_store_get(s->store, i)->bytes + 7) / 8 * 8;
    to->weights = cvr_calloc(count + 1, sizeof *to->weights);
    to->pointers = cvr_calloc(count + 1, sizeof *to->pointers);
    to->data = cvr_alloc_aligned(bytes + 8, 64);
    if (!to->weights || !to->pointers || !to->data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        const cvr_store_entry *e = cvr_store_get(s->store, i);
        if (e->kind == CVR_STORE_SLOT) continue;
        cvr_weight *w = &to->weights[to->n];
        *w = (cvr_weight){.struct_size = sizeof *w,
                          .name = e->name,
                          .dtype = e->type.dtype,
                          .rank = e->type.rank,
                          .data = to->data + at,
                          .bytes = e->bytes};
        for (uint32_t k = 0; k < e->type.rank; k++) w->shape[k] = e->type.shape[k];
        const int32_t status = cvr_store_read(s->store, i, to->data + at, err);
        if (status != CVR_OK) return status;
        to->pointers[to->n++] = w;
        at += (e->bytes + 7) / 8 * 8;
    }
    return CVR_OK;
}

static int32_t to_writer(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    return cvr_writer_put(ctx, bytes, n, err);
}

int32_t cvr_session_save_weights(cvr_session *s, const char *path, cvr_error *err) {
    const void *desc;
    cvr_writer w;
    saving all = {0};
    int32_t status = cvr_plugins_find(s->plugins, CVR_KIND_WEIGHTS, "safetensors", &desc, err);
    if (status == CVR_OK) status = gather(s, &all, err);
    if (status == CVR_OK) status = cvr_writer_open(&w, path, err);
    if (status == CVR_OK) {
        const cvr_weights_desc *format = desc;
        status = format->write(cvr_plugins_host(s->plugins), all.pointers, all.n, NULL, 0, to_writer, &w, err);
        if (status == CVR_OK)
            status = cvr_writer_commit(&w, false, err);
        else
            cvr_writer_abandon(&w);
    }
    cvr_free(all.weights);
    cvr_free((void *)(uintptr_t)all.pointers);
    cvr_free(all.data);
    return status;
}
