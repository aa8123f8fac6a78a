/* One batch: its samples, made in any order, and what is done once all are there. */
#include "slot.h"

static const cvr_canvas LEFT_OUT = {0, 0}; /* the size of a sample that was */

int32_t slot_allocate(slot *s, const layout *l, int64_t batch, cvr_error *err) {
    for (size_t i = 0; i < l->n; i++) {
        const column *c = &l->columns[i];
        const uint64_t bytes = c->is == COLUMN_BATCH_PARAMS ? c->bytes : c->bytes * (uint64_t)batch;
        s->pointers[i] = &s->tensors[i];
        if (bytes <= s->bytes[i]) continue;
        cvr_free(s->memory[i]);
        s->memory[i] = cvr_alloc_aligned(bytes, 64);
        s->bytes[i] = s->memory[i] ? bytes : 0;
    }
    if (!s->sizes) s->sizes = cvr_calloc((size_t)batch, sizeof *s->sizes);
    if (!s->origins) s->origins = cvr_calloc((size_t)batch, sizeof *s->origins);
    if (!s->origin_pointers) s->origin_pointers = cvr_calloc((size_t)batch, sizeof *s->origin_pointers);
    bool good = s->sizes && s->origins && s->origin_pointers;
    for (size_t i = 0; i < l->n; i++) good = good && s->memory[i];
    for (int64_t i = 0; good && i < batch; i++) s->origin_pointers[i] = &s->origins[i];
    return good
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for batches of %lld; lower train.batch", (long long)batch);
}

void slot_free(slot *s) {
    for (size_t i = 0; i < LAYOUT_MOST_COLUMNS; i++) cvr_free(s->memory[i]);
    cvr_free(s->sizes);
    cvr_free(s->origins);
    cvr_free(s->origin_pointers);
}

static void put_numbers(const column *c, void *memory, int64_t i, const double *params) {
    float *to = (float *)memory + i * c->shape[0];
    for (int64_t k = 0; k < c->shape[0]; k++) to[k] = (float)params[k];
}

/* All pictures of some batches in a row have one size. */
static size_t variant_of(const pipeline *p, int64_t position, int64_t epoch) {
    const cvr_batches_options *o = &p->o;
    cvr_rng r;
    if (o->n_variants == 0 || pipeline_is_closing(p, epoch)) return 0;
    cvr_rng_start(&r, cvr_rng_mix(o->seed, 0x7363616cull), (uint64_t)(position / o->variant_every));
    return 1 + cvr_rng_below(&r, o->n_variants);
}

sample_place slot_place(const pipeline *p, int64_t position, int64_t i, int64_t index, int64_t epoch) {
    const uint64_t at = (uint64_t)(position * p->o.batch + i);
    return (sample_place){index, epoch, p->o.arrange ? cvr_rng_mix(0x636f7079ull, at) : 0,
                          variant_of(p, position, epoch)};
}

int32_t slot_put(slot *s, const layout *l, workbench *w, const arena_sample *from, int64_t i, int64_t epoch,
                 cvr_error *err) {
    const pipeline *p = w->pipeline;
    const sample_place at = slot_place(p, s->position, i, from->origin.index, epoch);
    s->origins[i] = from->origin;
    const int32_t status = collate(l, p, from, i, s->memory, &s->sizes[i], err);
    if (status != CVR_OK) return pipeline_fail_at(p, at.index, status, err);
    for (size_t k = l->n_fields; k < l->n; k++) {
        double params[CVR_AUGMENT_PARAMS];
        if (l->columns[k].is != COLUMN_PARAMS) continue;
        CVR_TRY(sample_draw(p, &from->sample, at, l->columns[k].place, params, err));
        put_numbers(&l->columns[k], s->memory[k], i, params);
    }
    return CVR_OK;
}

/* A sample is bad, too, if it does not fit in with the others. */
int32_t slot_make(slot *s, const layout *l, workbench *w, int64_t i, int64_t epoch, cvr_error *err) {
    sample_place at = slot_place(w->pipeline, s->position, i, s->origins[i].index, epoch);
    arena_sample *sample;
    for (int64_t tries = 1;; tries++) {
        w->used = 0;
        CVR_TRY(workbench_take(w, &sample, err));
        int32_t status = sample_make_this(w, sample, at, l->end, err);
        if (status == CVR_OK) status = slot_put(s, l, w, sample, i, epoch, err);
        if (status == CVR_OK || !sample_pass_over(w, &at, tries, err)) return status;
        s->sizes[i] = LEFT_OUT;
        if (w->pipeline->o.leave_out) return CVR_OK;
    }
}

/* ---- a whole batch ---- */

/* Samples that were left out make the batch smaller. */
static void close_gaps(slot *s, const layout *l) {
    s->kept = 0;
    for (int64_t i = 0; i < s->n; i++) {
        if (s->sizes[i].height == LEFT_OUT.height) continue;
        for (size_t k = 0; k < l->n && s->kept < i; k++) {
            const uint64_t bytes = l->columns[k].bytes;
            char *memory = s->memory[k];
            if (l->columns[k].is == COLUMN_BATCH_PARAMS) continue;
            memcpy(memory + (uint64_t)s->kept * bytes, memory + (uint64_t)i * bytes, bytes);
        }
        s->sizes[s->kept] = s->sizes[i];
        s->origins[s->kept++] = s->origins[i];
    }
}

static void set_tensors(slot *s, const layout *l) {
    for (size_t i = 0; i < l->n; i++) {
        const column *c = &l->columns[i];
        cvr_type type;
        column_type(c, s->kept, s->canvas, &type);
        s->tensors[i] = (cvr_named_tensor){.struct_size = sizeof s->tensors[i],
                                           .name = c->name,
                                           .kind = c->kind ? c->kind->name : "",
                                           .tensor = {.struct_size = sizeof s->tensors[i].tensor,
                                                      .dtype = type.dtype,
                                                      .rank = type.rank,
                                                      .pixel_stride = type.rank == 4 ? type.shape[1] : 0,
                                                      .data = s->memory[i]},
                                           .counts = c->count < 0 ? NULL : &s->tensors[c->count].tensor};
        memcpy(s->tensors[i].tensor.shape, type.shape, sizeof type.shape);
    }
}

/* One of the transforms of whole batches. The others' numbers are 0. */
static int32_t transform_batch(slot *s, const layout *l, workbench *w, int64_t epoch, int64_t position,
                               cvr_error *err) {
    const pipeline *p = w->pipeline;
    const size_t n = p->o.n_transforms - p->batch_first;
    double params[CVR_AUGMENT_PARAMS] = {0};
    cvr_rng r;
    if (n == 0) return CVR_OK;
    cvr_rng_start(&r, cvr_rng_mix(cvr_rng_mix(p->o.seed, 0x63686f69ull), (uint64_t)epoch), (uint64_t)position);
    const size_t place = p->batch_first + (n > 1 ? cvr_rng_below(&r, n) : 0);
    const cvr_transform *t = &p->o.transforms[place];
    const cvr_sample *header = workbench_header(w, s->canvas.height, s->canvas.width, l->channels);
    CVR_TRY(sample_draw(p, header, (sample_place){position, epoch, BRANCH_BATCHES, 0}, place, params, err));
    for (size_t k = l->n_fields; k < l->n; k++) {
        static const double zeros[CVR_AUGMENT_PARAMS];
        const column *c = &l->columns[k];
        if (c->is == COLUMN_BATCH_PARAMS) put_numbers(c, s->memory[k], 0, c->place == place ? params : zeros);
    }
    const size_t first = l->on_device ? 1 : 0; /* the device does the pictures */
    const cvr_batch_view view = {.struct_size = sizeof view,
                                 .n = s->kept,
                                 .n_fields = (uint32_t)(l->n_fields - first),
                                 .fields = s->pointers + first,
                                 .origins = s->origin_pointers};
    const cvr_augment_batch batch = {sizeof batch, &view, p->o.n_classes};
    const int32_t status = CVR_CALL(t->desc, apply_batch, NULL, err, t->attrs, params, &batch);
    return status == CVR_OK ? CVR_OK : transform_failed(t, status, err);
}

int32_t slot_finish(slot *s, const layout *l, workbench *w, int64_t epoch, int64_t position, cvr_error *err) {
    cvr_canvas all = {0, 0};
    close_gaps(s, l);
    if (s->kept == 0) return CVR_OK;
    for (int64_t i = 0; i < s->kept; i++) {
        if (s->sizes[i].height > all.height) all.height = s->sizes[i].height;
        if (s->sizes[i].width > all.width) all.width = s->sizes[i].width;
    }
    s->canvas = *layout_canvas(l, all.height, all.width);
    collate_canvas(l, s->kept, s->canvas, s->memory);
    set_tensors(s, l);
    return transform_batch(s, l, w, epoch, position, err);
}

void slot_view(const slot *s, const layout *l, cvr_batch *out) {
    out->view = (cvr_batch_view){.struct_size = sizeof out->view,
                                 .n = s->kept,
                                 .n_fields = (uint32_t)l->n,
                                 .fields = s->pointers,
                                 .origins = s->origin_pointers};
    out->canvas = s->canvas;
}
