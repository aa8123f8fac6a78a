/*
 * Demand-driven pictures: transforms of geometry say, from the last to the first, which part of their input they need,
 * so that a decoder decodes that and no more. (The scheme of Cupitt and Martinez, "VIPS: an image processing system for
 * large images", 1996, for a chain instead of a graph.)
 */
#include "parts.h"

#define MOST_SIDE 1000000

static int32_t broken(const part_plan *p, size_t i, const char *what, cvr_error *err) {
    return cvr_fail(err, CVR_ERR_PLUGIN, "%s: %s", p->o->transforms[i].desc->name, what);
}

static cvr_part_step step_of(part_plan *p, size_t i) {
    return (cvr_part_step){sizeof(cvr_part_step), p->o->transforms[i].attrs, p->params[i], &p->parts[i],
                           &p->parts[i + 1]};
}

static void *header_alloc(cvr_sample *s, uint64_t bytes) {
    arena_sample *a = s->ctx;
    return a->sample.alloc(&a->sample, bytes);
}

static int32_t header_add(cvr_sample *s, const cvr_field *like, cvr_field **out, cvr_error *err) {
    (void)s, (void)out;
    return cvr_fail(err, CVR_ERR_PLUGIN, "make_params adds a field `%s`; it may only look", like->name);
}

/* What step i draws, from a sample that has a picture's shape and no pixels. */
static int32_t draw(part_plan *p, size_t i, int64_t channels, cvr_error *err) {
    const cvr_transform *t = &p->o->transforms[i];
    cvr_field image = {.struct_size = sizeof image,
                       .name = "image",
                       .kind = CVR_FIELD_IMAGE,
                       .dtype = CVR_U8,
                       .rank = 3,
                       .shape = {p->parts[i].height, p->parts[i].width, channels, 1}};
    cvr_field *const fields[] = {&image};
    cvr_sample header = {.struct_size = sizeof header,
                         .ctx = p->s,
                         .n_fields = 1,
                         .fields = fields,
                         .alloc = header_alloc,
                         .add = header_add};
    cvr_rng rng;
    if (!t->desc->make_params) return CVR_OK;
    sample_rng(&rng, p->o, p->at, i);
    return t->desc->make_params(t->attrs, &header, &rng, p->params[i], err);
}

/* Sizes from the first to the last. */
static int32_t forward(part_plan *p, int64_t channels, cvr_error *err) {
    for (size_t i = 0; i < p->n; i++) {
        cvr_part *const out = &p->parts[i + 1];
        int32_t status = draw(p, i, channels, err);
        const cvr_part_step step = step_of(p, i);
        if (status == CVR_OK) status = p->o->transforms[i].desc->part_size(&step, err);
        if (status != CVR_OK) return transform_failed(&p->o->transforms[i], status, err);
        if (out->height < 1 || out->width < 1 || out->height > MOST_SIDE || out->width > MOST_SIDE) {
            return cvr_fail(err, CVR_ERR_INVALID, "%s: a picture would become %lld x %lld; change its size",
                            p->o->transforms[i].desc->name, (long long)out->width, (long long)out->height);
        }
        cvr_part_whole(out, out->height, out->width);
    }
    return CVR_OK;
}

/* Parts from the last to the first. Only the decoder reduces, and only where the user wants it to. */
static int32_t backward(part_plan *p, cvr_error *err) {
    for (size_t i = p->n; i-- > 0;) {
        cvr_part *const in = &p->parts[i];
        const int64_t height = in->height, width = in->width;
        const cvr_part_step step = step_of(p, i);
        const int32_t status = p->o->transforms[i].desc->part_source(&step, err);
        if (status != CVR_OK) return transform_failed(&p->o->transforms[i], status, err);
        if (i > 0 || !p->o->reduced || in->reduce < 1) in->reduce = 1;
        /* Widened to whole reduced pixels. */
        const int64_t more_rows = in->top % in->reduce, more_columns = in->left % in->reduce;
        in->top -= more_rows;
        in->rows += more_rows;
        in->left -= more_columns;
        in->columns += more_columns;
        if (in->height != height || in->width != width || !cvr_part_valid(in))
            return broken(p, i, "part_source names a part that its input does not have", err);
    }
    return CVR_OK;
}

static int32_t choose(const cvr_part_request *r, int64_t height, int64_t width, int64_t channels, cvr_part *want,
                      cvr_error *err) {
    part_plan *const p = r->ctx;
    if (p->chosen || height < 1 || width < 1 || height > MOST_SIDE || width > MOST_SIDE || channels < 1)
        return cvr_fail(err, CVR_ERR_PLUGIN, "the decoder asks for a part of a picture of %lld x %lld%s",
                        (long long)width, (long long)height, p->chosen ? ", twice" : "");
    p->chosen = true;
    cvr_part_whole(&p->parts[0], height, width);
    int32_t status = forward(p, channels, err);
    if (status == CVR_OK) status = backward(p, err);
    *want = p->parts[0];
    return status;
}

void parts_begin(part_plan *p, arena_sample *s, const cvr_batches_options *o, sample_place at) {
    p->s = s;
    p->o = o;
    p->at = at;
    p->n = 0;
    p->chosen = false;
    while (!o->whole && p->n < o->n_transforms && p->n < PARTS_MOST_STEPS && o->transforms[p->n].desc->part_apply)
        p->n++;
    p->given = (cvr_part){0};
    p->request = (cvr_part_request){sizeof p->request, p, choose, &p->given};
    memset(p->params, 0, p->n * sizeof *p->params);
}

/* Whether the sample's picture is what `part` says. */
static bool holds(const part_plan *p, const cvr_part *part) {
    const cvr_field *f = cvr_sample_find(&p->s->sample, CVR_FIELD_IMAGE);
    return f && f->rank == 3 && f->data && f->shape[0] == cvr_part_reduced(part->top, part->rows, part->reduce) &&
           f->shape[1] == cvr_part_reduced(part->left, part->columns, part->reduce) && f->shape[2] >= 1;
}

int32_t parts_apply(part_plan *p, cvr_error *err) {
    if (!cvr_part_valid(&p->given) || !cvr_part_covers(&p->given, &p->parts[0]) ||
        p->given.reduce > p->parts[0].reduce || !holds(p, &p->given))
        return cvr_fail(err, CVR_ERR_PLUGIN, "the decoder gave another part of the picture than it was asked for");
    p->parts[0] = p->given;
    for (size_t i = 0; i < p->n; i++) {
        const cvr_part_step step = step_of(p, i);
        const int32_t status = p->o->transforms[i].desc->part_apply(&step, &p->s->sample, err);
        if (status != CVR_OK) return transform_failed(&p->o->transforms[i], status, err);
        if (!holds(p, &p->parts[i + 1])) return broken(p, i, "part_apply left another part than it was to make", err);
    }
    return CVR_OK;
}
