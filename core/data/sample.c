/* One sample: read by the data set, taken through the transforms; with partners where a transform takes several. */
#include "parts.h"

static cvr_rng sample_rng(const pipeline *p, sample_place at, size_t place) {
    cvr_rng r;
    const uint64_t key = cvr_rng_mix(cvr_rng_mix(p->o.seed, 0x61756767ull), (uint64_t)at.epoch);
    cvr_rng_start(&r, at.branch ? cvr_rng_mix(key, at.branch) : key, cvr_rng_mix((uint64_t)at.index, place));
    return r;
}

const cvr_transform *sample_step(const pipeline *p, sample_place at, size_t place) {
    return at.variant ? &p->o.variants[at.variant - 1][place] : &p->o.transforms[place];
}

int32_t transform_failed(const cvr_transform *t, int32_t status, cvr_error *err) {
    char text[sizeof err->message];
    if (!err) return status;
    (void)snprintf(text, sizeof text, "%s: %.900s", t->desc->name,
                   err->message[0] ? err->message : "it failed and did not say why");
    memcpy(err->message, text, sizeof text);
    if (err->code == CVR_OK) err->code = CVR_ERR_PLUGIN;
    return status;
}

int32_t sample_draw(const pipeline *p, const cvr_sample *s, sample_place at, size_t place, double *params,
                    cvr_error *err) {
    const cvr_transform *t = sample_step(p, at, place);
    cvr_rng r = sample_rng(p, at, place);
    memset(params, 0, CVR_AUGMENT_PARAMS * sizeof *params);
    const int32_t status =
        t->desc->make_params ? CVR_CALL(t->desc, make_params, NULL, err, t->attrs, s, &r, params) : CVR_OK;
    return status == CVR_OK ? CVR_OK : transform_failed(t, status, err);
}

/* Partner k of a sample, for the transform at `place`: any sample of the data, as it comes to that place. */
static int32_t make_partner(workbench *w, sample_place at, size_t place, uint32_t k, cvr_sample **out, cvr_error *err) {
    const pipeline *p = w->pipeline;
    arena_sample *partner;
    cvr_rng r;
    const uint64_t branch = 1 | cvr_rng_mix(cvr_rng_mix(at.branch, (uint64_t)at.index), place << 8 | k);
    cvr_rng_start(&r, cvr_rng_mix(cvr_rng_mix(p->o.seed, 0x70617274ull), (uint64_t)at.epoch), branch);
    const int64_t index = pipeline_sample(p, (int64_t)cvr_rng_below(&r, (uint64_t)p->n_samples));
    CVR_TRY(workbench_take(w, &partner, err));
    *out = &partner->sample;
    const size_t end = p->o.transforms[place].desc->fresh ? 0 : place;
    return sample_make(w, partner, (sample_place){index, at.epoch, branch, at.variant}, end, err);
}

static int32_t apply_many(workbench *w, arena_sample *s, sample_place at, size_t place, const double *params,
                          cvr_error *err) {
    const cvr_transform *t = sample_step(w->pipeline, at, place);
    cvr_sample *all[SAMPLE_MOST_PARTNERS] = {&s->sample};
    const size_t used = w->used;
    uint32_t n = t->desc->n_samples;
    int32_t status, alone = 0;
    if (t->desc->alone) CVR_CALL_TO(alone, t->desc, alone, NULL, t->attrs, params);
    if (alone) n = 1;
    for (uint32_t k = 1; k < n; k++) CVR_TRY_OUT(make_partner(w, at, place, k, &all[k], err));
    status = CVR_CALL(t->desc, apply_many, NULL, err, t->attrs, params, all, n);
out:
    w->used = used;
    return status;
}

/* Whether the field ends where the memory does that the arena gave; memory of others' cannot be looked at. */
static bool has_memory(const arena_sample *s, const cvr_field *f) {
    uint64_t bytes = cvr_dtype_size(f->dtype);
    for (uint32_t k = 0; k < f->rank; k++)
        if (__builtin_mul_overflow(bytes, (uint64_t)f->shape[k], &bytes)) return false;
    for (uint32_t i = 0; i < s->n_blocks; i++) {
        const uintptr_t from = (uintptr_t)s->blocks[i].memory, at = (uintptr_t)f->data;
        if (at >= from && at < from + s->blocks[i].bytes) return bytes <= s->blocks[i].used - (at - from);
    }
    return true;
}

/* A sample that a plugin had its hands on has fields as arena_add makes them, so that what follows need not look. */
static int32_t check_fields(const arena_sample *s, const char *who, cvr_error *err) {
    const uint32_t n = s->sample.n_fields;
    for (uint32_t i = 0; i < n && n <= SAMPLE_MOST_FIELDS; i++) {
        const cvr_field *f = &s->fields[i];
        bool good = f->name && f->kind && pipeline_kind(s->pipeline, f->kind) && f->data && f->rank <= 4;
        for (uint32_t k = 0; good && k < 4; k++) good = k < f->rank ? f->shape[k] >= 0 : f->shape[k] == 1;
        if (good && !has_memory(s, f))
            return cvr_fail(err, CVR_ERR_PLUGIN,
                            "%s: it left field %u (`%s`) with a shape of more elements than its memory has", who, i,
                            f->name);
        if (!good)
            return cvr_fail(err, CVR_ERR_PLUGIN, "%s: it left field %u (`%s`) without a kind, a shape or data", who, i,
                            f->name ? f->name : "");
    }
    return n <= SAMPLE_MOST_FIELDS ? CVR_OK : cvr_fail(err, CVR_ERR_PLUGIN, "%s: it left %u fields", who, n);
}

int32_t sample_transform(workbench *w, arena_sample *s, sample_place at, size_t first, size_t end, cvr_error *err) {
    const pipeline *p = w->pipeline;
    for (size_t i = first; i < end; i++) {
        const cvr_transform *t = sample_step(p, at, i);
        double params[CVR_AUGMENT_PARAMS];
        if (t->desc->closes && pipeline_is_closing(p, at.epoch)) continue;
        for (uint32_t k = 0; k < s->sample.n_fields; k++)
            CVR_TRY(transform_takes(t, pipeline_kind(p, s->sample.fields[k]->kind), err));
        CVR_TRY(sample_draw(p, &s->sample, at, i, params, err));
        const int32_t status = t->desc->apply_many ? apply_many(w, s, at, i, params, err)
                                                   : CVR_CALL(t->desc, apply, NULL, err, t->attrs, params, &s->sample);
        if (status != CVR_OK) return transform_failed(t, status, err);
        CVR_TRY(check_fields(s, t->desc->name, err));
    }
    return CVR_OK;
}

int32_t check_picture(const arena_sample *s, cvr_error *err) {
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE);
    if (!f || f->rank != 3 || (f->dtype != CVR_U8 && f->dtype != CVR_F32) || f->shape[2] < 1 || f->shape[2] > 4 ||
        f->shape[0] < 1 || f->shape[1] < 1)
        return cvr_fail(err, CVR_ERR_PLUGIN, "the transforms left no picture of 1 to 4 channels");
    return CVR_OK;
}

const cvr_field *sample_field(const arena_sample *s, const char *name) {
    for (uint32_t i = 0; i < s->sample.n_fields; i++) {
        if (strcmp(s->fields[i].name, name) == 0) return &s->fields[i];
    }
    return NULL;
}

/* A data set that does not say how large the picture is has given all of it. */
static void complete_origin(arena_sample *s, const part_plan *plan) {
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE);
    if (s->origin.height || !f) return;
    s->origin.height = plan->chosen ? plan->parts[0].height : f->shape[0];
    s->origin.width = plan->chosen ? plan->parts[0].width : f->shape[1];
}

/* Reads a sample. What its decoder complains of is said with the file's name, once a file. */
static int32_t read_sample(pipeline *p, arena_sample *s, int64_t index, cvr_error *err) {
    char name[512] = "";
    const bool told =
        p->warned && (atomic_fetch_or(&p->warned[index], 1) & 1); /* another epoch may be reading it, too */
    if (!told) CVR_CALL_VOID(p->o.dataset, describe, NULL, p->o.self, index, name, sizeof name);
    (void)cvr_log_about(told || *name ? name : NULL);
    const int32_t status = CVR_CALL(p->o.dataset, read, NULL, err, p->o.self, index, &s->sample);
    if (!cvr_log_about(NULL) && p->warned && !told) atomic_fetch_and(&p->warned[index], 0xfe);
    return status;
}

static int32_t make_once(workbench *w, arena_sample *s, sample_place at, size_t end, cvr_error *err) {
    pipeline *p = w->pipeline;
    part_plan plan;
    int64_t empty;
    sample_reset(s, at.index);
    parts_begin(&plan, w, s, at, end);
    s->sample.request = plan.n ? &plan.request : NULL;
    const int32_t status = read_sample(p, s, at.index, err);
    s->sample.request = NULL;
    CVR_TRY(status);
    CVR_TRY(check_fields(s, p->o.dataset->name, err));
    CVR_TRY(sample_drop_empty_boxes(s, &empty, err));
    if (empty && !w->looks) sample_tell_empty_boxes(p, at.index, empty);
    complete_origin(s, &plan);
    if (plan.chosen) CVR_TRY(parts_apply(&plan, err));
    CVR_TRY(sample_transform(w, s, at, plan.chosen ? plan.n : 0, end, err));
    CVR_TRY(sample_drop_empty_boxes(s, &empty, err)); /* for a partner, too: what is pasted has a size */
    return check_picture(s, err);
}

int32_t sample_make_this(workbench *w, arena_sample *s, sample_place at, size_t end, cvr_error *err) {
    const pipeline *p = w->pipeline;
    const int32_t status = make_once(w, s, at, end, err);
    if (status == CVR_OK) return CVR_OK;
    if (!err->message[0]) (void)cvr_fail(err, CVR_ERR_PLUGIN, "%s failed and did not say why", p->o.dataset->name);
    return pipeline_fail_at(p, at.index, status, err);
}

bool sample_pass_over(workbench *w, sample_place *at, int64_t tries, cvr_error *err) {
    pipeline *p = w->pipeline;
    if (!p->o.skip_bad || err->code == CVR_ERR_NOMEM || tries == (w->looks ? p->n_samples : SAMPLE_MOST_TRIES))
        return false;
    if (!w->looks) atomic_fetch_add(&p->skipped, 1);
    if (!w->looks && !(p->warned && (atomic_fetch_or(&p->warned[at->index], 2) & 2)))
        cvr_log(CVR_LOG_WARNING, "%s: %s; skipped", err->file, err->message);
    cvr_error_init(err);
    at->index = (at->index + 1) % p->count;
    return true;
}

int32_t sample_make(workbench *w, arena_sample *s, sample_place at, size_t end, cvr_error *err) {
    for (int64_t tries = 1;; tries++) {
        const int32_t status = sample_make_this(w, s, at, end, err);
        if (status == CVR_OK || !sample_pass_over(w, &at, tries, err)) return status;
    }
}

/* A picture from outside any data set. */
int32_t sample_show(workbench *w, arena_sample *s, const cvr_image *image, size_t end, cvr_error *err) {
    cvr_field *f, like = {.name = "image", .kind = CVR_FIELD_IMAGE, .dtype = CVR_U8, .rank = 3};
    like.shape[0] = image->height, like.shape[1] = image->width, like.shape[2] = image->channels;
    sample_reset(s, 0);
    s->origin.path = w->pipeline->path;
    s->origin.height = image->height;
    s->origin.width = image->width;
    CVR_TRY(s->sample.add(&s->sample, &like, &f, err));
    memcpy(f->data, image->data, (size_t)(image->height * image->width * image->channels));
    CVR_TRY(sample_transform(w, s, (sample_place){0}, 0, end, err));
    return check_picture(s, err);
}
