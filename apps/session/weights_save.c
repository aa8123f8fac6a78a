/* Weights into files: every parameter and buffer under its name, in logical order; running means in their stead. */
#include "session_parts.h"

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
    const cvr_weights_desc *format = weights_format(plugins, NULL, path, err);
    if (!format) return cvr_fail_at(err, path, 0, weights_format_unknown(plugins, err));
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
