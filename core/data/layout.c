/* The columns of a batch, learned from one sample, the task's wants and the transforms. */
#include "layout.h"

/* The device does what comes after the samples' stage where every transform there can be emitted. */
static bool can_emit(const pipeline *p) {
    for (size_t i = p->normalises; i < p->o.n_transforms; i++) {
        if (!p->o.transforms[i].desc->emit) return false;
    }
    return true;
}

static int32_t add_column(layout *l, column_kind is, const char *name, column **out, cvr_error *err) {
    if (l->n == LAYOUT_MOST_COLUMNS)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "a batch of more than %u parts", LAYOUT_MOST_COLUMNS);
    *out = &l->columns[l->n++];
    **out = (column){.is = is, .count = -1, .shape = {1, 1, 1, 1}};
    (void)snprintf((*out)->name, sizeof(*out)->name, "%.95s", name);
    return CVR_OK;
}

/* The index of a class becomes a share for each, where a transform or the task wants it so. */
static bool is_softened(const pipeline *p, const cvr_field *f, uint32_t dtype) {
    if (f->rank != 0 || f->dtype != CVR_I64) return false;
    if (dtype == CVR_F32 && pipeline_kind(p, f->kind)->classes) return true;
    for (size_t i = 0; i < p->o.n_transforms; i++) {
        const cvr_augment_desc *d = p->o.transforms[i].desc;
        for (uint32_t k = 0; d->softens && k < d->n_kinds; k++) {
            if (cvr_field_is(f, d->kinds[k])) return true;
        }
    }
    return false;
}

static int32_t add_field(layout *l, const pipeline *p, const cvr_field *f, uint32_t dtype, cvr_error *err) {
    column *c = NULL;
    CVR_TRY(add_column(l, COLUMN_FIELD, l->n ? f->name : "image", &c, err));
    c->kind = pipeline_kind(p, f->kind);
    c->dtype = dtype ? dtype : f->dtype;
    c->rank = f->rank;
    memcpy(c->shape, f->shape, sizeof c->shape);
    /* A share for each class has one axis more than the class itself, and is never rounded. */
    c->softened = is_softened(p, f, dtype);
    if (c->softened) c->shape[0] = p->o.n_classes;
    if (c->softened || (f->dtype == CVR_F32 && f->rank == 1 && c->kind->rank == 0)) {
        c->dtype = CVR_F32;
        c->rank = 1;
    } else if (f->rank != c->kind->rank || (c->kind->dtype && f->dtype != c->kind->dtype)) {
        return cvr_fail(err, CVR_ERR_PLUGIN, "field `%s` is %s of rank %u, not what the kind `%s` says", f->name,
                        cvr_dtype_name(f->dtype), f->rank, f->kind);
    }
    c->ragged = c->kind->axis != NULL;
    c->inner = c->rank == 3 && c->kind->height_axis != 0;
    l->n_fields = l->n;
    return CVR_OK;
}

/* The data's own: mixing has not come yet. */
static int32_t check_several(const cvr_want *want, const cvr_field *f, cvr_error *err) {
    if (!want->several || f->dtype != CVR_F32 || f->rank != 1) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE, "the pictures of this data have several classes each; %s", want->several);
}

static int32_t add_wants(layout *l, const pipeline *p, const arena_sample *s, cvr_error *err) {
    l->have_targets = true;
    for (size_t i = 0; i < p->o.n_wants; i++) {
        const cvr_want *want = p->o.wants[i];
        const cvr_field *f = sample_field(s, want->field);
        if (f && cvr_field_is(f, want->kind)) {
            CVR_TRY(check_several(want, f, err));
            CVR_TRY(add_field(l, p, f, want->dtype, err));
        } else if (!f && p->o.without_targets) {
            l->have_targets = false;
            l->n = l->n_fields = 1;
            return CVR_OK;
        } else {
            (void)cvr_fail(err, CVR_ERR_INVALID, "it has no `%s`, which this task needs for each picture%s%s",
                           want->field, want->remedy ? "; " : "", want->remedy ? want->remedy : "");
            return pipeline_fail_at(p, s->origin.index, CVR_ERR_INVALID, err);
        }
    }
    return CVR_OK;
}

/* ---- ragged axes ---- */

/* data.max_boxes, or the most rows of any sample, times what the transforms may make of them. */
static int32_t most_rows(const pipeline *p, const char *axis, int64_t *most, cvr_error *err) {
    const cvr_dataset_desc *d = p->o.dataset;
    *most = p->o.most_rows > 0 ? p->o.most_rows : 1;
    if (p->o.most_rows > 0) return CVR_OK;
    for (int64_t i = 0; i < p->n_samples; i++) {
        const int64_t rows = d->rows ? d->rows(p->o.self, pipeline_sample(p, i), axis) : -1;
        if (rows < 0)
            return cvr_fail(err, CVR_ERR_USAGE,
                            "the data does not say how many rows of `%s` a sample has at most; "
                            "set data.max_boxes",
                            axis);
        if (rows > *most) *most = rows;
    }
    for (size_t i = 0; i < p->o.n_transforms; i++) {
        const int64_t times = p->o.transforms[i].desc->multiplies;
        if (times > 1 && __builtin_mul_overflow(*most, times, most))
            return cvr_fail(err, CVR_ERR_USAGE, "too many rows of `%s`; set data.max_boxes", axis);
    }
    return CVR_OK;
}

static int32_t add_count(layout *l, const pipeline *p, column *field, cvr_error *err) {
    const char *axis = field->kind->axis;
    char name[96];
    column *c = NULL;
    for (size_t i = l->n_fields; i < l->n && field->count < 0; i++) {
        if (strcmp(l->columns[i].axis, axis) == 0) field->count = (int32_t)i;
    }
    if (field->count < 0) {
        (void)snprintf(name, sizeof name, "%.80s_count", axis);
        CVR_TRY(add_column(l, COLUMN_COUNT, name, &c, err));
        c->dtype = CVR_I64;
        c->axis = axis;
        CVR_TRY(most_rows(p, axis, &c->shape[0], err));
        field->count = (int32_t)l->n - 1;
    }
    field->shape[0] = l->columns[field->count].shape[0];
    return CVR_OK;
}

/* Where pictures are padded, the network may want to know where each ends. */
static int32_t add_size(layout *l, cvr_error *err) {
    column *c = NULL;
    CVR_TRY(add_column(l, COLUMN_SIZE, "image_size", &c, err));
    c->dtype = CVR_F32;
    c->rank = 1;
    c->shape[0] = 2;
    return CVR_OK;
}

/* ---- parameters of transforms on the device ---- */

static int32_t add_params(layout *l, const pipeline *p, cvr_error *err) {
    for (size_t i = p->normalises; i < p->o.n_transforms; i++) {
        const cvr_augment_desc *d = p->o.transforms[i].desc;
        column *c = NULL;
        char name[96];
        if (d->n_params == 0) continue;
        (void)snprintf(name, sizeof name, "%.64s_%zu", d->name, i);
        CVR_TRY(add_column(l, d->stage == CVR_STAGE_BATCH ? COLUMN_BATCH_PARAMS : COLUMN_PARAMS, name, &c, err));
        c->dtype = CVR_F32;
        c->rank = 1;
        c->shape[0] = d->n_params;
        c->place = i;
    }
    return CVR_OK;
}

/* What an f32 picture is padded with is 0; in u8 it is the level that comes nearest to it. The transform is asked, on a
 * picture of all levels (1, 256, C). */
static int32_t find_pad(layout *l, workbench *w, cvr_error *err) {
    const pipeline *p = w->pipeline;
    const int64_t channels = l->channels;
    arena_sample *s;
    const size_t used = w->used;
    cvr_field *f, like = {.name = "image", .kind = CVR_FIELD_IMAGE, .dtype = CVR_U8, .rank = 3};
    like.shape[0] = 1, like.shape[1] = 256, like.shape[2] = channels;
    CVR_TRY(workbench_take(w, &s, err));
    w->used = used;
    sample_reset(s, 0);
    CVR_TRY(s->sample.add(&s->sample, &like, &f, err));
    for (int64_t i = 0; i < 256 * channels; i++) ((uint8_t *)f->data)[i] = (uint8_t)(i / channels);
    CVR_TRY(sample_transform(w, s, (sample_place){0}, p->normalises, p->normalises + 1, err));
    const float *x = f->data;
    for (int64_t c = 0; c < channels && f->dtype == CVR_F32; c++) {
        for (int64_t k = 1; k < 256; k++) {
            if (fabsf(x[k * channels + c]) < fabsf(x[l->pad[c] * channels + c])) l->pad[c] = (uint8_t)k;
        }
    }
    return CVR_OK;
}

/* ---- sizes ---- */

void column_type(const column *c, int64_t n, cvr_canvas canvas, cvr_type *type) {
    int64_t s[5] = {n, c->shape[0], c->shape[1], c->shape[2], c->shape[3]};
    if (c->is == COLUMN_BATCH_PARAMS) {
        cvr_type_set(type, c->dtype, 1, &c->shape[0]);
        return;
    }
    if (c->kind && c->kind->height_axis < c->rank) {
        s[1 + c->kind->height_axis] = canvas.height;
        s[2 + c->kind->height_axis] = canvas.width;
    }
    if (c->rank == 3 && !c->inner) { /* (H, W, C) -> (N, C, H, W) */
        const int64_t interleaved[4] = {n, s[3], s[1], s[2]};
        memcpy(s, interleaved, sizeof interleaved);
    }
    cvr_type_set(type, c->dtype, c->is == COLUMN_COUNT ? 1 : c->rank + 1, s);
}

int32_t layout_measure(layout *l, cvr_canvas pitch, cvr_error *err) {
    l->pitch = pitch;
    for (size_t i = 0; i < l->n; i++) {
        column *c = &l->columns[i];
        if (c->kind && c->kind->height_axis < c->rank) {
            c->shape[c->kind->height_axis] = pitch.height;
            c->shape[c->kind->height_axis + 1] = pitch.width;
        }
        c->bytes = cvr_dtype_size(c->dtype);
        for (uint32_t k = 0; k < c->rank; k++) {
            if (__builtin_mul_overflow(c->bytes, (uint64_t)c->shape[k], &c->bytes) || c->bytes > UINT64_C(1) << 40)
                return cvr_fail(err, CVR_ERR_INVALID, "`%s` is too large for a batch", c->name);
        }
    }
    return CVR_OK;
}

int32_t layout_learn(layout *l, workbench *w, arena_sample *s, cvr_error *err) {
    const pipeline *p = w->pipeline;
    const cvr_field *image = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE);
    l->channels = image->shape[2];
    l->on_device = image->dtype == CVR_U8 && can_emit(p) && (!p->o.in_parts || p->batch_first == p->o.n_transforms);
    l->end = l->on_device ? p->normalises : p->batch_first;
    CVR_TRY(sample_transform(w, s, (sample_place){.index = s->origin.index}, p->normalises, l->end, err));
    CVR_TRY(check_picture(s, err));
    if (!l->on_device && image->dtype != CVR_F32)
        return cvr_fail(err, CVR_ERR_PLUGIN, "%s normalises, and pictures are still %s after it",
                        p->o.transforms[p->normalises].desc->name, cvr_dtype_name(image->dtype));
    CVR_TRY(add_field(l, p, image, 0, err));
    if (p->o.dataset) CVR_TRY(add_wants(l, p, s, err));
    for (size_t i = 0; i < l->n_fields; i++) {
        if (l->columns[i].ragged) CVR_TRY(add_count(l, p, &l->columns[i], err));
    }
    if (p->o.pads) CVR_TRY(add_size(l, err));
    if (l->on_device) CVR_TRY(add_params(l, p, err));
    return l->on_device && p->o.pads ? find_pad(l, w, err) : CVR_OK;
}

int32_t layout_open(layout *l, workbench *w, cvr_error *err) {
    arena_sample *s;
    w->looks = true;
    CVR_TRY(workbench_take(w, &s, err));
    CVR_TRY(sample_make(w, s, (sample_place){0}, w->pipeline->normalises, err));
    CVR_TRY(layout_learn(l, w, s, err));
    return layout_canvases(l, w, cvr_sample_find(&s->sample, CVR_FIELD_IMAGE), err);
}
