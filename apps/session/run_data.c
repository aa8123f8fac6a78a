/* Opens the splits of the data, and makes batches of them. */
#include "run_data.h"

static int32_t open_split(run_data *d, const settings *s, cvr_plugins *p, uint32_t which, cvr_error *err) {
    split *sp = &d->splits[which];
    const cvr_dataset_args args = {.struct_size = sizeof args,
                                   .host = cvr_plugins_host(p),
                                   .attrs = s->dataset_attrs,
                                   .root = s->data->root,
                                   .train = s->data->train,
                                   .val = s->data->val,
                                   .split = which,
                                   .channels = (uint32_t)s->model->in_channels,
                                   .img_size = s->data->img_size,
                                   .seed = (uint64_t)s->run->seed};
    CVR_TRY(s->dataset->open(&args, &sp->self, err));
    sp->present = true;
    return CVR_OK;
}

static int64_t stride_of(const settings *s) {
    const cvr_model_desc *m = s->model_desc;
    const int64_t stride = m && m->stride && s->task->pads ? m->stride(s->model_attrs) : 1;
    return stride < INT32_MAX ? stride : INT32_MAX; /* a canvas of that is refused as too large */
}

void data_batch_options(const run_data *d, const settings *s, cvr_plugins *p, uint32_t which, cvr_batches_options *o) {
    const split *sp = &d->splits[which];
    const bool probes = d->probes, trains = which == CVR_SPLIT_TRAIN && !probes;
    *o = (cvr_batches_options){.plugins = p,
                               .dataset = s->dataset,
                               .self = sp->self,
                               .transforms = d->splits[probes ? CVR_SPLIT_VAL : which].transforms,
                               .n_transforms = d->splits[probes ? CVR_SPLIT_VAL : which].n_transforms,
                               .wants = s->task->wants,
                               .n_wants = s->task->n_wants,
                               .n_classes = d->task.n_classes,
                               .batch = s->train->batch,
                               .limit = s->data->limit,
                               .most_rows = s->data->max_boxes,
                               .shapes = s->data->shapes,
                               .stride = stride_of(s),
                               .pads = s->task->pads != 0,
                               .without_targets = !trains,
                               .shuffle = trains && s->data->shuffle,
                               .drop_last = trains && s->data->drop_last,
                               .skip_bad = s->data->on_error == 1,
                               .in_parts = trains && s->train->grad_accum > 1,
                               .run_ahead = trains,
                               .reduced = s->data->decode == 1,
                               .workers = (uint32_t)s->data->workers,
                               .seed = (uint64_t)s->run->seed,
                               .size_hint = s->data->img_size ? "add a resize or crop to [augment]"
                                                              : "set data.img_size, so that all are made alike"};
}

static int32_t open_batches(run_data *d, const settings *s, cvr_plugins *p, uint32_t which, cvr_error *err) {
    cvr_batches_options o;
    data_batch_options(d, s, p, which, &o);
    return cvr_batches_create(&d->splits[which].batches, &o, err);
}

static int32_t check_channels(run_data *d, cvr_error *err) {
    const cvr_batches *train = d->splits[CVR_SPLIT_TRAIN].batches, *val = d->splits[CVR_SPLIT_VAL].batches;
    d->channels = cvr_batches_channels(train ? train : val);
    if (!train || !val || cvr_batches_channels(val) == d->channels) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID,
                    "training pictures have %lld channels, validation's %lld; set model.in_channels",
                    (long long)d->channels, (long long)cvr_batches_channels(val));
}

static bool wants_split(const settings *s, uint32_t which, bool trains, bool evaluates) {
    return which == CVR_SPLIT_TRAIN ? trains : evaluates || (trains && s->val->interval > 0);
}

int32_t data_open_splits(run_data *d, const settings *s, cvr_plugins *p, bool trains, bool evaluates, cvr_error *err) {
    const cvr_image_service *images;
    CVR_TRY(cvr_plugins_image_service(p, &images, err));
    for (uint32_t i = 0; i < 2; i++)
        if (wants_split(s, i, trains, evaluates)) CVR_TRY(open_split(d, s, p, i, err));
    return data_open_classes(d, s, p, err);
}

int32_t data_open(run_data *d, const settings *s, cvr_plugins *p, bool trains, bool evaluates, cvr_error *err) {
    const double start = cvr_now();
    CVR_TRY(data_open_splits(d, s, p, trains, evaluates, err));
    for (uint32_t i = 0; i < 2; i++)
        if (wants_split(s, i, trains, evaluates)) CVR_TRY(open_batches(d, s, p, i, err));
    CVR_TRY(check_channels(d, err));
    d->seconds = cvr_now() - start;
    return CVR_OK;
}

int32_t data_open_pictures(run_data *d, const settings *s, cvr_plugins *p, cvr_error *err) {
    cvr_batches_options o;
    CVR_TRY(data_open_classes(d, s, p, err));
    d->channels = s->model->in_channels ? s->model->in_channels : 3;
    data_batch_options(d, s, p, CVR_SPLIT_VAL, &o);
    return cvr_batches_open_pictures(&d->pictures, &o, d->channels, err);
}

void data_close(run_data *d, const settings *s) {
    cvr_batches_destroy(&d->pictures);
    for (int i = 0; i < 2; i++) {
        split *sp = &d->splits[i];
        features_destroy(&sp->features);
        cvr_batches_destroy(&sp->batches);
        if (sp->present) s->dataset->close(sp->self);
        for (size_t k = 0; k < sp->n_transforms; k++) cvr_free((void *)(uintptr_t)sp->transforms[k].attrs);
        cvr_free(sp->transforms);
    }
    data_close_classes(d);
}
