/*
 * Canvases: the bounded list of picture sizes for which programs are planned. Where pictures differ in size, as many
 * sizes of batches as are known are collected, and those are merged whose merging adds the fewest pixels, until no more
 * than data.shapes are left. The first holds every picture.
 */
#include "ring.h"
#include <stdlib.h>

#define LEARNED_SAMPLES 256 /* pictures that are made to see how large they become */
#define EPOCHS 4            /* whose batches are looked at, where sizes need no pixels */
#define DRAWS 8             /* the same, where sizes are random */
#define LEAST_DRAWS 2048    /* of all pictures together */
#define MOST_EPOCHS 256

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

static void add_size(sizes *z, cvr_canvas c, int64_t pictures) {
    for (size_t i = 0; i < z->n; i++) {
        if (z->list[i].c.height != c.height || z->list[i].c.width != c.width) continue;
        z->list[i].pictures += (double)pictures;
        return;
    }
    z->list[z->n++] = (sized){c, (double)pictures};
    if (z->n > LAYOUT_MOST_CANVASES) merge_cheapest(z);
}

/* ---- the sizes that pictures end with ---- */

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

/* What the transforms from `first` on make of a picture of this size. */
static int32_t follow_from(const layout *l, workbench *w, sample_place at, size_t first, cvr_canvas *c,
                           cvr_error *err) {
    const pipeline *p = w->pipeline;
    for (size_t i = first; i < p->normalises; i++) {
        const cvr_transform *t = sample_step(p, at, i);
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

static int32_t follow_size(const layout *l, workbench *w, sample_place at, cvr_canvas *c, cvr_error *err) {
    const pipeline *p = w->pipeline;
    CVR_TRY(CVR_CALL(p->o.dataset, size, NULL, err, p->o.self, at.index, &c->height, &c->width));
    return follow_from(l, w, at, 0, c, err);
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

/* ---- the sizes of batches ---- */

typedef struct collection {
    const layout *l;
    workbench *w;
    sizes *z;
    size_t variant; /* of the transforms; 0: none */
    cvr_canvas all; /* holds every picture */
    bool varies;    /* a picture has another size in another epoch, or that is not known */
    cvr_canvas batch;
    int64_t in_batch;
} collection;

static void end_batch(collection *k) {
    if (k->in_batch) add_size(k->z, k->batch, k->in_batch);
    k->batch = (cvr_canvas){0, 0};
    k->in_batch = 0;
}

static void add_picture(collection *k, cvr_canvas c) {
    c = canvas_of(&k->w->pipeline->o, c.height, c.width);
    k->all = hull(k->all, c);
    k->batch = hull(k->batch, c);
    if (++k->in_batch == k->w->pipeline->o.batch) end_batch(k);
}

/* Sizes of a picture are kept: where nothing is random they are asked for once. height 0: not asked for; -1: bad */
static int32_t known_size(collection *k, sample_place at, bool random, cvr_canvas *kept, cvr_canvas *c,
                          cvr_error *err) {
    const pipeline *p = k->w->pipeline;
    *c = *kept;
    if (kept->height && !random) return CVR_OK;
    const int32_t status = follow_size(k->l, k->w, at, c, err);
    if (status != CVR_OK && !p->o.skip_bad) return pipeline_fail_at(p, at.index, status, err);
    if (status != CVR_OK) *c = (cvr_canvas){-1, -1};
    if (kept->height && (kept->height != c->height || kept->width != c->width)) k->varies = true;
    *kept = *c;
    return CVR_OK;
}

static int64_t epochs_to_see(const cvr_batches_options *o, int64_t n, bool random) {
    if (!random) return o->shuffle && o->batch > 1 ? EPOCHS : 1;
    const int64_t wanted = LEAST_DRAWS / n;
    return wanted < DRAWS ? DRAWS : wanted < MOST_EPOCHS ? wanted : MOST_EPOCHS;
}

/* The batches of the first epochs, without a pixel of them. */
static int32_t follow_batches(collection *k, bool random, cvr_error *err) {
    const pipeline *p = k->w->pipeline;
    const int64_t n = p->n_samples, epochs = epochs_to_see(&p->o, n, random);
    cvr_canvas c, *kept = cvr_calloc((size_t)n, sizeof *kept);
    int32_t status = kept ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (int64_t epoch = 0; epoch < epochs && status == CVR_OK; epoch++) {
        const int64_t *order = batches_order(k->w->owner, epoch);
        for (int64_t i = 0; i < n && status == CVR_OK; i++) {
            const int64_t position = epoch * k->w->owner->per_epoch + i / p->o.batch;
            const sample_place at = slot_place(p, position, i % p->o.batch, pipeline_sample(p, order[i]), epoch);
            status = known_size(k, at, random, &kept[order[i]], &c, err);
            if (status == CVR_OK && c.height > 0) add_picture(k, c);
        }
        end_batch(k);
    }
    cvr_free(kept);
    return status;
}

/* Where sizes need pixels some pictures are made. Which of them share a batch is not known where batches are arranged:
 * each then counts by itself. */
static int32_t learn_batches(collection *k, int64_t epoch, cvr_error *err) {
    const pipeline *p = k->w->pipeline;
    const int64_t n = p->n_samples < LEARNED_SAMPLES ? p->n_samples : LEARNED_SAMPLES;
    for (int64_t i = 0; i < n; i++) {
        const int64_t index = pipeline_sample(p, (int64_t)((double)i * ((double)p->n_samples / (double)n)));
        cvr_canvas c;
        const int32_t status = learn_size(k->w, (sample_place){.index = index, .epoch = epoch}, &c, err);
        if (status != CVR_OK && p->o.skip_bad) continue;
        if (status != CVR_OK) return pipeline_fail_at(p, index, status, err);
        add_picture(k, c);
        if (p->o.arrange) end_batch(k);
    }
    end_batch(k);
    k->varies = true;
    return CVR_OK;
}

/* Whether pictures of the last epochs are made by fewer transforms. */
static bool closes(const pipeline *p) {
    for (size_t i = 0; i < p->normalises; i++)
        if (p->o.closes && p->o.transforms[i].desc->closes) return true;
    return false;
}

/* ---- the most that pictures may become ---- */

/* What transforms make of pictures of many shapes. */
typedef struct tried {
    cvr_canvas all; /* holds each */
    bool one;       /* they are all alike */
} tried;

/* The transforms from `first` on, and pictures of every shape, `side` pixels high or wide. */
static int32_t try_shapes(collection *k, size_t first, int64_t side, tried *out, cvr_error *err) {
    *out = (tried){.one = true};
    for (int64_t shape = -6; shape <= 6; shape++) {
        for (int64_t draw = 0; draw < DRAWS * 4; draw++) {
            const int64_t other = (int64_t)((double)side * exp2(-fabs((double)shape) / 2));
            cvr_canvas c = {shape < 0 ? other : side, shape < 0 ? side : other};
            const sample_place at = {.index = shape + 6, .epoch = draw, .branch = 1, .variant = k->variant};
            CVR_TRY(follow_from(k->l, k->w, at, first, &c, err));
            c = canvas_of(&k->w->pipeline->o, c.height, c.width);
            out->one = out->one && (!out->all.height || (c.height == out->all.height && c.width == out->all.width));
            out->all = hull(out->all, c);
        }
    }
    return CVR_OK;
}

/* Small and large pictures, through the transforms after the last whose sizes need pixels; false where that fails. */
static bool try_last(collection *k, tried *small, tried *large) {
    const pipeline *p = k->w->pipeline;
    cvr_error ignored = CVR_ERROR_INIT;
    size_t first = 0;
    for (size_t i = 0; i < p->normalises; i++) {
        const cvr_augment_desc *d = p->o.transforms[i].desc;
        if (!d->part_size && (d->moves || d->n_samples > 1)) first = i + 1;
    }
    return try_shapes(k, first, 1200, small, &ignored) == CVR_OK &&
           try_shapes(k, first, 3600, large, &ignored) == CVR_OK;
}

/* Sizes that are random may become larger than any that was seen. Where the last transforms, as a resize, make the same
 * of small and large pictures, that is the bound; where they do not, there is none. */
static void bound_sizes(collection *k) {
    const int64_t asked = k->w->pipeline->o.stride, stride = asked > 1 ? asked : 2; /* of rounding */
    tried small, large;
    if (!try_last(k, &small, &large)) return;
    if (llabs(small.all.height - large.all.height) > stride || llabs(small.all.width - large.all.width) > stride)
        return;
    k->all = hull(k->all, hull(small.all, large.all));
}

/* Where the last transforms make one size of everything, a letterbox after a mosaic, no picture need be made to see. */
static bool has_one_size(collection *k) {
    tried small, large;
    if (!try_last(k, &small, &large) || !small.one || !large.one) return false;
    if (small.all.height != large.all.height || small.all.width != large.all.width) return false;
    k->all = small.all;
    return true;
}

static int32_t collect(sizes *z, const layout *l, workbench *w, cvr_error *err) {
    collection k = {.l = l, .w = w, .z = z};
    bool random;
    if (sizes_follow(w->pipeline, &random)) {
        CVR_TRY(follow_batches(&k, random, err));
    } else if (!has_one_size(&k)) {
        CVR_TRY(learn_batches(&k, 0, err));
        if (closes(w->pipeline)) CVR_TRY(learn_batches(&k, w->pipeline->o.closes_at, err));
    }
    if (k.varies) bound_sizes(&k);
    add_size(z, k.all, 1);
    return CVR_OK;
}

/* train.multi_scale: the sizes are known, and so is what each batch has. A picture is only made where its size does not
 * follow from the transforms: before memory is planned, one of a large side may take more than there is. */
static int32_t add_variants(sizes *z, const layout *l, workbench *w, cvr_error *err) {
    const cvr_batches_options *o = &w->pipeline->o;
    for (size_t v = 1; v <= o->n_variants; v++) {
        collection k = {.l = l, .w = w, .z = z, .variant = v};
        if (!has_one_size(&k)) {
            CVR_TRY(learn_size(w, (sample_place){.variant = v}, &k.all, err));
            k.all = canvas_of(o, k.all.height, k.all.width);
        }
        add_size(z, k.all, 1);
    }
    return CVR_OK;
}

static int by_area(const void *a, const void *b) {
    const double x = area(*(const cvr_canvas *)a), y = area(*(const cvr_canvas *)b);
    return x < y ? 1 : x > y ? -1 : 0;
}

int32_t layout_canvases(layout *l, workbench *w, const cvr_field *image, cvr_error *err) {
    const cvr_batches_options *o = &w->pipeline->o;
    cvr_canvas pitch = {0, 0};
    const size_t most = o->n_variants                               ? LAYOUT_MOST_CANVASES
                        : o->shapes < 1                             ? 1
                        : o->shapes < (int64_t)LAYOUT_MOST_CANVASES ? (size_t)o->shapes
                                                                    : LAYOUT_MOST_CANVASES;
    sizes z = {.n = 0};
    add_size(&z, canvas_of(o, image->shape[0], image->shape[1]), 1);
    if (o->n_variants)
        CVR_TRY(add_variants(&z, l, w, err));
    else if (o->pads)
        CVR_TRY(collect(&z, l, w, err));
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
