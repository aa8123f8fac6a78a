/* predict.raw: the network's results as a file of tensors. */
#include "predict_raw.h"

/* 20 x 30 and 30 x 20 are as many numbers, and are no one tensor. */
static bool same_shape(const cvr_type *a, const cvr_type *b) {
    bool same = a->rank == b->rank && a->dtype == b->dtype;
    for (uint32_t i = 0; same && i < a->rank; i++) same = a->shape[i] == b->shape[i];
    return same;
}

static size_t size_of(const cvr_type *type) {
    return (size_t)cvr_numel(type->rank, type->shape) * cvr_dtype_size(type->dtype);
}

static raw_result *find(raw_results *p, const char *name, const cvr_type *type) {
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->each[i].name, name) == 0) return &p->each[i];
    raw_result *more = cvr_grow(p->each, p->n, &p->capacity, sizeof *more);
    char *const copy = more ? cvr_strdup(name) : NULL;
    p->each = more ? more : p->each;
    if (copy) more[p->n++] = (raw_result){.name = copy, .type = *type};
    return copy ? &more[p->n - 1] : NULL;
}

void raw_add(raw_results *p, const char *name, const cvr_type *type, const void *output) {
    const size_t size = size_of(type);
    raw_result *const r = p->failed ? NULL : find(p, name, type);
    uint8_t *const more = r && same_shape(type, &r->type) ? cvr_grow(r->data, r->n, &r->capacity, size) : NULL;
    p->failed = !more;
    if (!more) return;
    memcpy(more + r->n++ * size, output, size);
    r->data = more;
}

void raw_clear(raw_results *p) {
    for (size_t i = 0; i < p->n; i++) {
        cvr_free(p->each[i].name);
        cvr_free(p->each[i].data);
    }
    cvr_free(p->each);
}

static int32_t to_writer(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    return cvr_writer_put(ctx, bytes, n, err);
}

/* The first axis counts pictures. */
static cvr_weight as_weight(const raw_result *r) {
    cvr_weight w = {.struct_size = sizeof w,
                    .name = r->name,
                    .dtype = r->type.dtype,
                    .rank = r->type.rank,
                    .data = r->data,
                    .bytes = r->n * size_of(&r->type)};
    memcpy(w.shape, r->type.shape, sizeof r->type.shape);
    w.shape[0] *= (int64_t)r->n;
    return w;
}

int32_t raw_write(const raw_results *p, cvr_plugins *plugins, const char *folder, cvr_error *err) {
    const void *desc;
    cvr_writer w;
    if (p->failed)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "predict.raw: the results of these pictures differ in size, so that they fit in no one "
                        "tensor; predict one picture at a time, or bring them to one size (val.crop_size, and "
                        "val.protocol=crop for masks)");
    if (!p->n) return CVR_OK;
    cvr_weight *const all = cvr_calloc(p->n, sizeof *all);
    const cvr_weight **const each = cvr_calloc(p->n, sizeof *each);
    char *const path = cvr_fs_join(folder, "raw.safetensors");
    int32_t status = all && each && path ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    CVR_TRY_OUT(status);
    for (size_t i = 0; i < p->n; i++) {
        all[i] = as_weight(&p->each[i]);
        each[i] = &all[i];
    }
    CVR_TRY_OUT(cvr_plugins_find(plugins, CVR_KIND_WEIGHTS, "safetensors", &desc, err));
    CVR_TRY_OUT(cvr_writer_open(&w, path, err));
    const cvr_weights_desc *format = desc;
    status = CVR_CALL(format, write, NULL, err, cvr_plugins_host(plugins), each, p->n, NULL, 0, to_writer, &w);
    if (status == CVR_OK)
        status = cvr_writer_commit(&w, false, err);
    else
        cvr_writer_abandon(&w);
out:
    cvr_free(path);
    cvr_free(all);
    cvr_free(each);
    return status;
}
