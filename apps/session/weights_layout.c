/* Files of weights as they are read for a network: with names, or in the order of its layers. */
#include "session_parts.h"

/* The network's tensors as a file may have them, without data. */
typedef struct layout {
    cvr_weight *all;
    const cvr_weight **pointers;
    uint64_t n;
} layout;

static int32_t layout_make(const cvr_weights_reading *r, layout *l, cvr_error *err) {
    const size_t count = cvr_store_count(r->store);
    l->all = cvr_calloc(count + 1, sizeof *l->all);
    l->pointers = cvr_calloc(count + 1, sizeof *l->pointers);
    if (!l->all || !l->pointers) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        const cvr_store_entry *e = cvr_store_get(r->store, i);
        if (!weights_are_of(r->network, e)) continue;
        cvr_weight *w = &l->all[l->n];
        *w = (cvr_weight){.struct_size = sizeof *w, .name = e->name, .dtype = e->type.dtype, .rank = e->type.rank};
        for (uint32_t k = 0; k < CVR_MAX_RANK; k++) w->shape[k] = e->type.shape[k];
        l->pointers[l->n++] = w;
    }
    return CVR_OK;
}

int32_t cvr_weights_read(const cvr_weights_reading *r, cvr_weight_fn each, void *ctx, cvr_error *err) {
    const cvr_weights_desc *format = r->format;
    const cvr_mapping *m = r->map;
    layout l = {0};
    int32_t status;
    if (!format->read_for || !r->store) return CVR_CALL(format, read, NULL, err, r->host, m->bytes, m->n, each, ctx);
    CVR_TRY_OUT(layout_make(r, &l, err));
    CVR_TRY_OUT(CVR_CALL(format, read_for, NULL, err, r->host, m->bytes, m->n, l.pointers, l.n, each, ctx));
out:
    cvr_free(l.all);
    cvr_free((void *)(uintptr_t)l.pointers);
    return status;
}

void weights_shape_text(char *out, size_t size, uint32_t rank, const int64_t *shape) {
    size_t n = (size_t)snprintf(out, size, "(");
    for (uint32_t k = 0; k < rank && n < size; k++)
        n += (size_t)snprintf(out + n, size - n, "%s%lld", k ? ", " : "", (long long)shape[k]);
    if (n < size) (void)snprintf(out + n, size - n, ")");
}
