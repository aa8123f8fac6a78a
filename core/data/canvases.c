/*
 * Canvases: the bounded list of picture sizes for which programs are planned. Where pictures differ in size, as many
 * sizes as are known are collected, and those are merged whose merging adds the fewest pixels, until no more than
 * data.shapes are left. The first holds every picture.
 */
#include "layout.h"
#include <stdlib.h>

#define LEARNED_SAMPLES 256 /* pictures that are made to see how large they become */
#define DRAWS 8             /* epochs whose draws are looked at, where sizes are random and need no pixels */

typedef struct sized {
    cvr_canvas c;
    double pictures; /* how many have this size */
} sized;

typedef struct sizes {
    sized list[LAYOUT_MOST_CANVASES + 1];
    size_t n, most;
} sizes;

static int64_t round_up(int64_t x, int64_t stride) {
    return stride > 1 ? (x + stride - 1) / stride * stride : x;
}

cvr_canvas canvas_of(const cvr_batches_options *o, int64_t height, int64_t width) {
    const int64_t stride = o->pads ? o->stride : 1;
    return (cvr_canvas){round_up(height, stride), round_up(width, stride)};
}

static double area(cvr_canvas c) {
    return (double)c.height * (double)c.width;
}

static cvr_canvas hull(cvr_canvas a, cvr_canvas b) {
    return (cvr_canvas){a.height > b.height ? a.height : b.height, a.width > b.width ? a.width : b.width};
}

/* Merges two of the list. */
static void merge_cheapest(sizes *z) {
    size_t a = 0, b = 1;
    double least = INFINITY;
    for (size_t i = 0; i < z->n; i++) {
        for (size_t k = i + 1; k < z->n; k++) {
            const sized *x = &z->list[i], *y = &z->list[k];
            const double all = area(hull(x->c, y->c)),
                         more = x->pictures * (all - area(x->c)) + y->pictures * (all - area(y->c));
            if (more >= least) continue;
            least = more;
            a = i;
            b = k;
        }
    }
    z->list[a] = (sized){hull(z->list[a].c, z->list[b].c), z->list[a].pictures + z->list[b].pictures};
    z->list[b] = z->list[--z->n];
}

static void add_size(sizes *z, cvr_canvas c) {
    for (size_t i = 0; i < z->n; i++) {
        if (z->list[i].c.height != c.height || z->list[i].c.width != c.width) continue;
        z->list[i].pictures++;
        return;
    }
    z->list[z->n++] = (sized){c, 1};
    if (z->n > LAYOUT_MOST_CANVASES) merge_cheapest(z);
}

/* Whether the size that a picture ends with follows from the one that it has, without pixels. */
static bool sizes_follow(const pipeline *p, bool *random) {
    *random = false;
    for (size_t i = 0; i < p->normalises; i++) {
        const cvr_augment_desc *d = p->o.transforms[i].desc;
        if (!d->part_size && (d->moves || d->n_samples > 1)) return false;
        *random = *random || (d->part_size && d->make_params);
    }
    return p->o.dataset->size != NULL;
}

static int32_t follow_size(const layout *l, workbench *w, sample_place at, cvr_canvas *c, cvr_error *err) {
    const pipeline *p = w->pipeline;
    CVR_TRY(CVR_CALL(p->o.dataset, size, NULL, err, p->o.self, at.index, &c->height, &c->width));
    for (size_t i = 0; i < p->normalises; i++) {
        const cvr_transform *t = &p->o.transforms[i];
        double params[CVR_AUGMENT_PARAMS];
        cvr_part in, out;
        if (!t->desc->part_size) continue;
        CVR_TRY(sample_draw(p, workbench_header(w, c->height, c->width, l->channels), at, i, params, err));
        cvr_part_whole(&in, c->height, c->width);
        out = in;
        const cvr_part_step step = {sizeof step, t->attrs, params, &in, &out};
        CVR_TRY(CVR_CALL(t->desc, part_size, NULL, err, &step));
        *c = (cvr_canvas){out.height, out.width};
    }
    return CVR_OK;
}

static int32_t learn_size(workbench *w, sample_place at, cvr_canvas *c, cvr_error *err) {
    arena_sample *s;
    w->used = 0;
    CVR_TRY(workbench_take(w, &s, err));
    CVR_TRY(sample_make(w, s, at, w->pipeline->normalises, err));
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE);
    *c = (cvr_canvas){f->shape[0], f->shape[1]};
    return CVR_OK;
}

static int32_t collect(sizes *z, const layout *l, workbench *w, cvr_error *err) {
    const pipeline *p = w->pipeline;
    bool random;
    const bool follow = sizes_follow(p, &random);
    const int64_t n = follow || p->n_samples < LEARNED_SAMPLES ? p->n_samples : LEARNED_SAMPLES;
    cvr_canvas all = {0, 0};
    for (int64_t i = 0; i < n; i++) {
        const int64_t index = pipeline_sample(p, (int64_t)((double)i * ((double)p->n_samples / (double)n)));
        for (int64_t epoch = 0; epoch < (follow && random ? DRAWS : 1); epoch++) {
            const sample_place at = {index, epoch, 0};
            cvr_canvas c;
            const int32_t status = follow ? follow_size(l, w, at, &c, err) : learn_size(w, at, &c, err);
            if (status != CVR_OK && p->o.skip_bad) continue;
            if (status != CVR_OK) return pipeline_fail_at(p, index, status, err);
            c = canvas_of(&p->o, c.height, c.width);
            all = hull(all, c);
            add_size(z, c);
        }
    }
    add_size(z, all);
    return CVR_OK;
}

static int by_area(const void *a, const void *b) {
    const double x = area(*(const cvr_canvas *)a), y = area(*(const cvr_canvas *)b);
    return x < y ? 1 : x > y ? -1 : 0;
}

int32_t layout_canvases(layout *l, workbench *w, const cvr_field *image, cvr_error *err) {
    const cvr_batches_options *o = &w->pipeline->o;
    cvr_canvas pitch = {0, 0};
    const size_t most = o->shapes < 1                               ? 1
                        : o->shapes < (int64_t)LAYOUT_MOST_CANVASES ? (size_t)o->shapes
                                                                    : LAYOUT_MOST_CANVASES;
    sizes z = {.n = 0};
    add_size(&z, canvas_of(o, image->shape[0], image->shape[1]));
    if (o->pads) CVR_TRY(collect(&z, l, w, err));
    while (z.n > most) merge_cheapest(&z);
    for (size_t i = 0; i < z.n; i++) {
        l->canvases[l->n_canvases++] = z.list[i].c;
        pitch = hull(pitch, z.list[i].c);
    }
    qsort(l->canvases, l->n_canvases, sizeof *l->canvases, by_area);
    return layout_measure(l, pitch, err);
}

const cvr_canvas *layout_canvas(const layout *l, int64_t height, int64_t width) {
    for (size_t i = l->n_canvases; i-- > 0;) {
        if (l->canvases[i].height >= height && l->canvases[i].width >= width) return &l->canvases[i];
    }
    return NULL;
}
