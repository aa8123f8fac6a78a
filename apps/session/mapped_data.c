/*
 * A data set whose classes are another one's: whatever it says of classes comes under the numbers that the network has
 * for them. To who reads it, it is a data set like any other.
 */
#include "run_data.h"

typedef struct mapped_data {
    cvr_dataset_desc desc; /* this data set's own */
    const cvr_dataset_desc *inner;
    void *self; /* of `inner` */
    int64_t *to;
    int64_t n, n_classes; /* classes of `inner`; those of the network */
    const char *const *names;
} mapped_data;

static int64_t mapped(const mapped_data *m, int64_t klass) {
    return klass >= 0 && klass < m->n ? m->to[klass] : klass;
}

/* A share for each class, (n) f32, becomes (n_classes) f32. */
static int32_t map_shares(const mapped_data *m, cvr_sample *s, cvr_field *f, cvr_error *err) {
    const float *from = f->data;
    float *to = s->alloc(s, (uint64_t)m->n_classes * sizeof *to);
    if (!to)
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the shares of %lld classes", (long long)m->n_classes);
    memset(to, 0, (size_t)m->n_classes * sizeof *to);
    for (int64_t i = 0; i < f->shape[0] && i < m->n; i++)
        if (m->to[i] >= 0) to[m->to[i]] = from[i];
    f->data = to;
    f->shape[0] = m->n_classes;
    return CVR_OK;
}

static int32_t map_field(const mapped_data *m, cvr_sample *s, cvr_field *f, cvr_error *err) {
    const int64_t n = cvr_numel(f->rank, f->shape);
    if (f->dtype == CVR_F32 && f->rank == 1) return map_shares(m, s, f, err);
    for (int64_t i = 0; i < n && f->dtype == CVR_I64; i++) ((int64_t *)f->data)[i] = mapped(m, ((int64_t *)f->data)[i]);
    for (int64_t i = 0; i < n && f->dtype == CVR_U8; i++)
        ((uint8_t *)f->data)[i] = (uint8_t)mapped(m, ((uint8_t *)f->data)[i]);
    return CVR_OK;
}

static int32_t mapped_read(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    const mapped_data *m = self;
    CVR_TRY(m->inner->read(m->self, index, out, err));
    for (uint32_t i = 0; i < out->n_fields; i++) {
        const cvr_field_kind *kind = out->kind(out, out->fields[i]->kind);
        if (kind && kind->classes) CVR_TRY(map_field(m, out, out->fields[i], err));
    }
    return CVR_OK;
}

static void mapped_close(void *self) {
    mapped_data *m = self;
    m->inner->close(m->self);
    cvr_free(m->to);
    cvr_free(m);
}

static int64_t mapped_count(const void *self) {
    const mapped_data *m = self;
    return m->inner->count(m->self);
}

static int64_t mapped_n_classes(const void *self) {
    return ((const mapped_data *)self)->n_classes;
}

static const char *mapped_class_name(const void *self, int64_t i) {
    return ((const mapped_data *)self)->names[i];
}

static void mapped_describe(const void *self, int64_t index, char *buf, uint64_t size) {
    const mapped_data *m = self;
    m->inner->describe(m->self, index, buf, size);
}

static int64_t mapped_label(const void *self, int64_t index) {
    const mapped_data *m = self;
    return mapped(m, m->inner->label(m->self, index));
}

static const char *mapped_kind(const void *self, uint32_t i) {
    const mapped_data *m = self;
    return m->inner->kind(m->self, i);
}

static int64_t mapped_rows(const void *self, int64_t index, const char *axis) {
    const mapped_data *m = self;
    return m->inner->rows(m->self, index, axis);
}

static int32_t mapped_size(const void *self, int64_t index, int64_t *height, int64_t *width, cvr_error *err) {
    const mapped_data *m = self;
    return m->inner->size(m->self, index, height, width, err);
}

typedef struct mapped_objects {
    const mapped_data *m;
    cvr_object_fn each;
    void *ctx;
} mapped_objects;

static int32_t tell_mapped(void *ctx, const cvr_object *object, cvr_error *err) {
    const mapped_objects *to = ctx;
    cvr_object o = *object;
    o.klass = mapped(to->m, o.klass);
    return to->each(to->ctx, &o, err);
}

static int32_t mapped_each_object(const void *self, int64_t index, cvr_object_fn each, void *ctx, cvr_error *err) {
    const mapped_data *m = self;
    mapped_objects to = {m, each, ctx};
    return m->inner->objects(m->self, index, tell_mapped, &to, err);
}

/* Of a class that this data does not have: the number past all of its own. */
static int64_t mapped_class_id(const void *self, int64_t klass) {
    const mapped_data *m = self;
    for (int64_t i = 0; i < m->n; i++)
        if (m->to[i] == klass) return m->inner->class_id(m->self, i);
    return m->n + klass + 1;
}

int32_t split_map_classes(split *sp, const int64_t *to, int64_t n, const cvr_task_info *task, cvr_error *err) {
    bool same = n == task->n_classes;
    for (int64_t i = 0; i < n; i++) same = same && to[i] == i;
    if (same) return CVR_OK;
    mapped_data *m = cvr_calloc(1, sizeof *m);
    int64_t *copy = cvr_calloc((size_t)n + 1, sizeof *copy);
    if (!m || !copy) {
        cvr_free(m);
        cvr_free(copy);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    memcpy(copy, to, (size_t)n * sizeof *copy);
    *m = (mapped_data){.desc = *sp->desc,
                       .inner = sp->desc,
                       .self = sp->self,
                       .to = copy,
                       .n = n,
                       .n_classes = task->n_classes,
                       .names = task->class_names};
    m->desc.close = mapped_close;
    m->desc.count = mapped_count;
    m->desc.n_classes = mapped_n_classes;
    m->desc.class_name = mapped_class_name;
    m->desc.read = mapped_read;
    m->desc.describe = mapped_describe;
    m->desc.label = m->inner->label ? mapped_label : NULL;
    m->desc.kind = mapped_kind;
    m->desc.rows = m->inner->rows ? mapped_rows : NULL;
    m->desc.size = m->inner->size ? mapped_size : NULL;
    m->desc.objects = m->inner->objects ? mapped_each_object : NULL;
    m->desc.class_id = m->inner->class_id ? mapped_class_id : NULL;
    sp->desc = &m->desc;
    sp->self = m;
    return CVR_OK;
}
