/*
 * Demand-driven pictures: transforms of geometry say, from the last to the first, which part of their input they need,
 * so that a decoder decodes that and no more. (The scheme of Cupitt and Martinez, "VIPS: an image processing system for
 * large images", 1996, for a chain instead of a graph.)
 */
#include "parts.h"

#define MOST_SIDE 1000000

static int32_t broken(const part_plan *p, size_t i, const char *what, cvr_error *err) {
    return cvr_fail(err, CVR_ERR_PLUGIN, "%s: %s", p->p->o.transforms[i].desc->name, what);
}

static cvr_part_step step_of(part_plan *p, size_t i) {
    return (cvr_part_step){sizeof(cvr_part_step), sample_step(p->p, p->at, i)->attrs, p->params[i], &p->parts[i],
                           &p->parts[i + 1]};
}

/* Sizes from the first to the last. */
static int32_t forward(part_plan *p, int64_t channels, cvr_error *err) {
    for (size_t i = 0; i < p->n; i++) {
        cvr_part *const out = &p->parts[i + 1];
        const cvr_sample *header = workbench_header(p->w, p->parts[i].height, p->parts[i].width, channels);
        CVR_TRY(sample_draw(p->p, header, p->at, i, p->params[i], err));
        const cvr_part_step step = step_of(p, i);
        const int32_t status = CVR_CALL(p->p->o.transforms[i].desc, part_size, NULL, err, &step);
        if (status != CVR_OK) return transform_failed(&p->p->o.transforms[i], status, err);
        if (out->height < 1 || out->width < 1 || out->height > MOST_SIDE || out->width > MOST_SIDE) {
            return cvr_fail(err, CVR_ERR_INVALID, "%s: a picture would become %lld x %lld; change its size",
                            p->p->o.transforms[i].desc->name, (long long)out->width, (long long)out->height);
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
        const int32_t status = CVR_CALL(p->p->o.transforms[i].desc, part_source, NULL, err, &step);
        if (status != CVR_OK) return transform_failed(&p->p->o.transforms[i], status, err);
        if (i > 0 || !p->p->o.reduced || in->reduce < 1) in->reduce = 1;
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
    CVR_TRY(forward(p, channels, err));
    CVR_TRY(backward(p, err));
    *want = p->parts[0];
    return CVR_OK;
}

void parts_begin(part_plan *p, workbench *w, arena_sample *s, sample_place at, size_t end) {
    p->w = w;
    p->s = s;
    p->p = s->pipeline;
    p->at = at;
    p->n = p->p->parts < end ? p->p->parts : end;
    p->chosen = false;
    p->given = (cvr_part){0};
    p->request = (cvr_part_request){sizeof p->request, p, choose, &p->given};
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
        const int32_t status = CVR_CALL(p->p->o.transforms[i].desc, part_apply, NULL, err, &step, &p->s->sample);
        if (status != CVR_OK) return transform_failed(&p->p->o.transforms[i], status, err);
        if (!holds(p, &p->parts[i + 1])) return broken(p, i, "part_apply left another part than it was to make", err);
    }
    return CVR_OK;
}
