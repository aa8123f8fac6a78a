/*
 * train.multi_scale: pictures of several sizes, one for some batches in a row. For each size there is a list of
 * transforms, as if data.img_size were that size; batches.h draws one of the lists. As many programs are planned.
 */
#include "run_data.h"

static int32_t blame(const settings *s, cvr_error *err) {
    return settings_blame(s, cvr_config_blame(s->config, "train", "multi_scale", CVR_ERR_USAGE, err), err);
}

/* The sizes, the first of them in sides[0]; their number. */
static int32_t list_sides(const settings *s, int64_t *sides, size_t *n, cvr_error *err) {
    const train_settings *t = s->train;
    const int64_t *x = t->multi_scale;
    *n = 0;
    if (t->n_multi_scale == 0) return CVR_OK;
    if (t->n_multi_scale != 3 || x[0] > x[1] || (x[1] - x[0]) / x[2] >= MOST_SIDES)
        cvr_fail(err, CVR_ERR_USAGE,
                 "train.multi_scale is the least side, the most and the step between, 320,608,32, and of these at most "
                 "%d",
                 MOST_SIDES);
    else if (!settings_with_boxes(s))
        cvr_fail(err, CVR_ERR_USAGE, "train.multi_scale is for tasks with boxes, and %s has none", s->task->name);
    else if (s->data->img_size < 1 || s->data->img_size_long)
        cvr_fail(err, CVR_ERR_USAGE,
                 "train.multi_scale needs data.img_size to be the side of a square, which validation and the last "
                 "epochs have");
    else
        for (int64_t side = x[0]; side <= x[1]; side += x[2]) sides[(*n)++] = side;
    return *n ? CVR_OK : blame(s, err);
}

int32_t multi_scale_open(run_data *d, const settings *s, cvr_plugins *p, cvr_error *err) {
    multi_scale *m = &d->multi_scale;
    const int64_t img_size = s->data->img_size;
    int32_t status = CVR_OK;
    size_t n;
    CVR_TRY(list_sides(s, m->sides, &n, err));
    for (; m->n < n && status == CVR_OK; m->n++) {
        s->data->img_size = m->sides[m->n];
        status = data_train_transforms(&d->task, &m->lists[m->n], s, p, err);
    }
    s->data->img_size = img_size;
    for (size_t i = 0; i < m->n; i++) m->transforms[i] = m->lists[i].transforms;
    return status;
}

void multi_scale_options(const run_data *d, const settings *s, cvr_batches_options *o) {
    o->variants = d->multi_scale.transforms;
    o->n_variants = d->multi_scale.n;
    o->variant_every = s->train->multi_scale_every;
}

/* Every size has a canvas, unless a line of [augment] has made another of it. */
int32_t multi_scale_check(const run_data *d, const settings *s, cvr_error *err) {
    const multi_scale *m = &d->multi_scale;
    const cvr_batches *b = d->splits[CVR_SPLIT_TRAIN].batches;
    const int64_t stride = data_stride(s);
    const cvr_canvas *canvases;
    const size_t n = b && m->n ? cvr_batches_canvases(b, &canvases) : 0;
    for (size_t i = 0; n && i < m->n; i++) {
        const int64_t side = s->task->pads ? (m->sides[i] + stride - 1) / stride * stride : m->sides[i];
        bool found = false;
        for (size_t k = 0; k < n; k++) found = found || (canvases[k].height == side && canvases[k].width == side);
        if (found) continue;
        cvr_fail(err, CVR_ERR_USAGE,
                 "train.multi_scale: pictures with a side of %lld are not made so, since a line of [augment] has a "
                 "size of its own; leave `size` out of it",
                 (long long)m->sides[i]);
        return blame(s, err);
    }
    return CVR_OK;
}

void multi_scale_close(run_data *d) {
    multi_scale *m = &d->multi_scale;
    for (size_t i = 0; i < m->n; i++) data_free_transforms(&m->lists[i]);
    m->n = 0;
}
