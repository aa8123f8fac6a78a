/* What can be said of the transforms and the fields before the first sample is read. */
#include "parts.h"

int64_t pipeline_sample(const pipeline *p, int64_t i) {
    /* With a limit, every (count / limit)-th sample, so that data sorted by class keeps all of its classes. */
    int64_t count;
    CVR_CALL_TO(count, p->o.dataset, count, NULL, p->o.self);
    return (int64_t)((double)i * ((double)count / (double)p->n_samples));
}

const cvr_field_kind *pipeline_kind(const pipeline *p, const char *name) {
    for (size_t i = 0; i < p->n_kinds; i++) {
        if (strcmp(p->kinds[i]->name, name) == 0) return p->kinds[i];
    }
    return NULL;
}

int32_t pipeline_fail_at(const pipeline *p, int64_t index, int32_t status, cvr_error *err) {
    char name[sizeof err->file] = "";
    if (!err) return status;
    if (p->o.dataset)
        CVR_CALL_VOID(p->o.dataset, describe, NULL, p->o.self, index, name, sizeof name);
    else
        (void)snprintf(name, sizeof name, "%s", p->path ? p->path : "");
    return *name ? cvr_fail_at(err, name, 0, status) : status;
}

static int32_t add_kind(pipeline *p, const char *name, cvr_error *err) {
    const void *desc;
    if (pipeline_kind(p, name)) return CVR_OK;
    if (p->n_kinds == SAMPLE_MOST_KINDS)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "more than %u kinds of fields", SAMPLE_MOST_KINDS);
    CVR_TRY(cvr_plugins_find(p->o.plugins, CVR_KIND_FIELD, name, &desc, err));
    p->kinds[p->n_kinds++] = desc;
    return CVR_OK;
}

static bool lists(const cvr_augment_desc *d, const char *kind) {
    for (uint32_t i = 0; i < d->n_kinds; i++) {
        if (strcmp(d->kinds[i], kind) == 0) return true;
    }
    return false;
}

int32_t transform_takes(const cvr_transform *t, const cvr_field_kind *kind, cvr_error *err) {
    const cvr_augment_desc *d = t->desc;
    const bool one = d->n_samples < 2 && d->stage != CVR_STAGE_BATCH;
    if (strcmp(kind->name, CVR_FIELD_IMAGE) == 0 || lists(d, kind->name)) return CVR_OK;
    if ((d->n_kinds == 0 && !d->moves) || (d->moves && one && !kind->places)) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE,
                    "%s: it does not know what becomes of %s; leave it out, or choose a data set without them", d->name,
                    kind->name);
}

static int32_t check_order(pipeline *p, cvr_error *err) {
    const cvr_batches_options *o = &p->o;
    p->normalises = p->batch_first = o->n_transforms;
    for (size_t i = 0; i < o->n_transforms; i++) {
        const cvr_augment_desc *d = o->transforms[i].desc;
        if (i && d->stage < o->transforms[i - 1].desc->stage)
            return cvr_fail(err, CVR_ERR_USAGE, "%s comes after %s, which runs later than it", d->name,
                            o->transforms[i - 1].desc->name);
        if (d->stage == CVR_STAGE_NORMALISE && p->normalises < o->n_transforms)
            return cvr_fail(err, CVR_ERR_USAGE, "%s: pictures are normalised already; remove one of the two", d->name);
        if (d->n_samples > SAMPLE_MOST_PARTNERS)
            return cvr_fail(err, CVR_ERR_PLUGIN, "%s: it takes %u samples, more than %u", d->name, d->n_samples,
                            SAMPLE_MOST_PARTNERS);
        if (d->stage == CVR_STAGE_NORMALISE) p->normalises = i;
        if (d->stage == CVR_STAGE_BATCH && p->batch_first > i) p->batch_first = i;
    }
    return p->normalises < o->n_transforms
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_USAGE, "no transform normalises the pictures; one has to");
}

/* Kinds that nobody has registered are an error where the data has them, or the task wants them; a transform may know
 * of some that are not installed. */
static int32_t find_kinds(pipeline *p, bool *places, cvr_error *err) {
    const cvr_batches_options *o = &p->o;
    cvr_error ignored = CVR_ERROR_INIT;
    const char *name;
    *places = false;
    CVR_TRY(add_kind(p, CVR_FIELD_IMAGE, err));
    for (uint32_t i = 0; o->dataset && i < SAMPLE_MOST_KINDS && (name = o->dataset->kind(o->self, i)); i++) {
        CVR_TRY(add_kind(p, name, err));
        const cvr_field_kind *kind = pipeline_kind(p, name);
        for (size_t k = 0; k < o->n_transforms; k++) CVR_TRY(transform_takes(&o->transforms[k], kind, err));
        *places = *places || (kind->places && strcmp(name, CVR_FIELD_IMAGE) != 0);
    }
    for (size_t i = 0; i < o->n_wants; i++) CVR_TRY(add_kind(p, o->wants[i]->kind, err));
    for (size_t i = 0; i < o->n_transforms; i++) {
        for (uint32_t k = 0; k < o->transforms[i].desc->n_kinds; k++)
            (void)add_kind(p, o->transforms[i].desc->kinds[k], &ignored);
    }
    return CVR_OK;
}

int32_t pipeline_open(pipeline *p, const cvr_batches_options *o, cvr_error *err) {
    bool places;
    p->o = *o;
    int64_t count = 1;
    if (o->dataset) CVR_CALL_TO(count, o->dataset, count, NULL, o->self);
    if (count < 0)
        return cvr_call_blame(o->dataset, "count", NULL, err, "says that it has %lld pictures", (long long)count);
    p->count = count;
    p->n_samples = o->limit > 0 && o->limit < count ? o->limit : count;
    CVR_TRY(check_order(p, err));
    CVR_TRY(find_kinds(p, &places, err));
    /* Parts move pixels only, not the places of other fields. */
    while (!o->whole && !places && p->parts < p->normalises && p->parts < PARTS_MOST_STEPS &&
           o->transforms[p->parts].desc->part_apply)
        p->parts++;
    return CVR_OK;
}
