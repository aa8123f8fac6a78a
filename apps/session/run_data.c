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
    CVR_TRY(CVR_CALL(s->dataset, open, NULL, err, &args, &sp->self));
    sp->desc = s->dataset;
    sp->present = true;
    return CVR_OK;
}

int64_t data_stride(const settings *s) {
    const cvr_model_desc *m = s->model_desc;
    int64_t stride = 1;
    if (m && m->stride && s->task->pads) CVR_CALL_TO(stride, m, stride, NULL, s->model_attrs);
    return stride < INT32_MAX ? stride : INT32_MAX; /* a canvas of that is refused as too large */
}

/* Sizes of batches with boxes: more would be planned for longer than their padding costs. */
#define BOX_SHAPES 8

/* Unpadded as long as there are not too many sizes. */
static void one_by_one(const settings *s, cvr_batches_options *o) {
    o->batch = 1;
    if (!s->data->shapes) o->shapes = MOST_VIEWS;
}

void data_batch_options(const run_data *d, const settings *s, cvr_plugins *p, uint32_t which, cvr_batches_options *o) {
    const split *sp = &d->splits[which];
    const bool probes = d->probes, trains = which == CVR_SPLIT_TRAIN && !probes;
    *o = (cvr_batches_options){.plugins = p,
                               .dataset = sp->cache ? sample_cache_desc(sp->cache) : sp->desc,
                               .self = sp->cache ? sp->cache : sp->self,
                               .transforms = d->splits[probes ? CVR_SPLIT_VAL : which].transforms,
                               .n_transforms = d->splits[probes ? CVR_SPLIT_VAL : which].n_transforms,
                               .wants = s->wants,
                               .n_wants = s->n_wants,
                               .n_classes = d->task.n_classes,
                               .batch = s->train->batch,
                               .limit = s->data->limit,
                               .most_rows = s->data->max_boxes,
                               .shapes = s->data->shapes          ? s->data->shapes
                                         : settings_with_boxes(s) ? BOX_SHAPES
                                                                  : 1,
                               .stride = data_stride(s),
                               .pads = s->task->pads != 0,
                               .without_targets = !trains,
                               .shuffle = trains && s->data->shuffle,
                               .drop_last = trains && s->data->drop_last,
                               .skip_bad = s->data->on_error == 1,
                               .leave_out = !trains,
                               .in_parts = trains && s->train->grad_accum > 1,
                               .run_ahead = trains,
                               .reduced = s->data->decode == 1,
                               .closes = trains && s->train->close_mosaic > 0,
                               .closes_at = s->train->epochs - s->train->close_mosaic,
                               .workers = (uint32_t)s->data->workers,
                               .seed = (uint64_t)s->run->seed,
                               .size_hint = "set data.img_size, and give [augment], if there is one, a resize or crop"};
    if (which == CVR_SPLIT_VAL && s->protocol.single) one_by_one(s, o);
    if (trains) sampler_options(d, s, o);
    if (trains) multi_scale_options(d, s, o);
}

int32_t data_suggest_skip(const settings *s, int32_t status, cvr_error *err) {
    const bool bad_file =
        err && *err->file && (status == CVR_ERR_FORMAT || status == CVR_ERR_IO || status == CVR_ERR_UNSUPPORTED);
    const size_t n = bad_file && s->data->on_error == 0 ? strlen(err->message) : sizeof err->message;
    if (n < sizeof err->message)
        (void)snprintf(err->message + n, sizeof err->message - n,
                       "; data.on_error=skip leaves such files out, cvrun check names them all");
    return status;
}

static int32_t open_batches(run_data *d, const settings *s, cvr_plugins *p, uint32_t which, cvr_error *err) {
    cvr_batches_options o;
    data_batch_options(d, s, p, which, &o);
    return data_suggest_skip(s, cvr_batches_create(&d->splits[which].batches, &o, err), err);
}

/* Validation's samples as the data has them, for their masks. */
static int32_t open_untouched(run_data *d, const settings *s, cvr_plugins *p, cvr_error *err) {
    const split *val = &d->splits[CVR_SPLIT_VAL];
    cvr_batches_options o;
    size_t normaliser = 0;
    data_batch_options(d, s, p, CVR_SPLIT_VAL, &o);
    while (val->transforms[normaliser].desc->stage != CVR_STAGE_NORMALISE) normaliser++;
    one_by_one(s, &o);
    o.transforms = &val->transforms[normaliser];
    o.n_transforms = 1;
    o.workers = o.workers ? 1 : 0;
    return data_suggest_skip(s, cvr_batches_create(&d->untouched, &o, err), err);
}

static cvr_canvas size_of(const cvr_batches *b) {
    const cvr_canvas *c;
    return b && cvr_batches_canvases(b, &c) ? c[0] : (cvr_canvas){0, 0};
}

static int32_t sizes_differ(const settings *s, const char *key, cvr_canvas a, const char *what, cvr_canvas b,
                            cvr_error *err) {
    cvr_fail(err, CVR_ERR_USAGE,
             "training pictures are %lldx%lld, and %s %lldx%lld; the size is one setting: set data.img_size and leave "
             "`size` out of [augment], or set val.resize_size and val.crop_size where they are to differ",
             (long long)a.width, (long long)a.height, what, (long long)b.width, (long long)b.height);
    return settings_blame(s, cvr_config_blame(s->config, "data", key, CVR_ERR_USAGE, err), err);
}

/* No line of [augment] has a size of its own, so that those with data.img_size do not suffice. */
static int32_t not_brought(const settings *s, cvr_canvas are, cvr_error *err) {
    const long long said = (long long)s->data->img_size;
    cvr_fail(err, CVR_ERR_USAGE,
             "nothing in [augment] brings pictures to data.img_size = %lldx%lld, the first is %lldx%lld; add "
             "`random_resized_crop =`, or `resize =` and `center_crop =`",
             said, said, (long long)are.width, (long long)are.height);
    return settings_blame(s, cvr_config_blame(s->config, "data", "img_size", CVR_ERR_USAGE, err), err);
}

/* Where a task takes pictures of one size, training's are of that which the recipe says, and as large as validation's.
 * Only a size for validation alone, as some references have it, may be another. */
static int32_t check_sizes(const run_data *d, const settings *s, cvr_error *err) {
    const cvr_canvas train = size_of(d->splits[CVR_SPLIT_TRAIN].batches),
                     val = size_of(d->splits[CVR_SPLIT_VAL].batches), said = {s->data->img_size, s->data->img_size};
    if (s->task->pads || d->probes || !train.height) return CVR_OK;
    const bool other = said.height && (train.height != said.height || train.width != said.width);
    if (other && !data_size_is_given(d, s)) return not_brought(s, train, err);
    if (other) return sizes_differ(s, "img_size", train, "data.img_size says", said, err);
    if (!val.height || s->val->resize_size >= 0 || s->val->crop_size >= 0) return CVR_OK;
    if (train.height == val.height && train.width == val.width) return CVR_OK;
    return sizes_differ(s, "root", train, "those to validate are", val, err);
}

/* A run whose pictures came as they were remembers their size: whatever it looks at later is made so. */
void data_settle_size(const run_data *d, settings *s) {
    const cvr_canvas train = size_of(d->splits[CVR_SPLIT_TRAIN].batches);
    const bool as_they_are = s->data->img_size == 0 && s->val->resize_size <= 0 && s->val->crop_size <= 0;
    if (s->task->pads || !as_they_are || train.height < 1 || train.height != train.width) return;
    s->data->img_size = train.height;
    s->val->resize_size = s->val->crop_size = -1;
}

/* data.mean and data.std have one number for all channels, or one for each. */
static int32_t check_counts(const settings *s, int64_t channels, cvr_error *err) {
    const struct { const char *key, *text; } both[] = {{"mean", s->data->mean}, {"std", s->data->std}};
    for (int i = 0; i < 2; i++) {
        int64_t n = 1;
        if (strcmp(both[i].text, "imagenet") == 0) n = s->model->in_channels == 1 ? 1 : 3;
        for (const char *c = both[i].text; *c; c++) n += *c == ',';
        if (n == 1 || n == channels) continue;
        cvr_fail(err, CVR_ERR_USAGE,
                 "data.%s = %s has %lld numbers, and pictures have %lld channel%s; give one, or one for each%s",
                 both[i].key, both[i].text, (long long)n, (long long)channels, channels == 1 ? "" : "s",
                 s->model->in_channels ? "" : ", or set model.in_channels");
        return settings_blame(s, cvr_config_blame(s->config, "data", both[i].key, CVR_ERR_USAGE, err), err);
    }
    return CVR_OK;
}

static int32_t check_channels(run_data *d, const settings *s, cvr_error *err) {
    const cvr_batches *train = d->splits[CVR_SPLIT_TRAIN].batches, *val = d->splits[CVR_SPLIT_VAL].batches;
    d->channels = cvr_batches_channels(train ? train : val);
    if (!train || !val || cvr_batches_channels(val) == d->channels) return check_counts(s, d->channels, err);
    return cvr_fail(err, CVR_ERR_INVALID,
                    "training pictures have %lld channels, validation's %lld; set model.in_channels",
                    (long long)d->channels, (long long)cvr_batches_channels(val));
}

static bool wants_split(const settings *s, uint32_t which, bool trains, bool evaluates) {
    return which == CVR_SPLIT_TRAIN ? trains : evaluates || (trains && s->val->interval > 0);
}

/* Samples are kept as the network's classes have them. */
static int32_t open_caches(run_data *d, const settings *s, cvr_error *err) {
    if (!s->data->cache) return CVR_OK;
    atomic_store(&d->cache_left, sample_cache_room(s->cache_size));
    for (int i = 0; i < 2; i++) {
        split *sp = &d->splits[i];
        if (sp->present) CVR_TRY(sample_cache_create(&sp->cache, sp->desc, sp->self, &d->cache_left, err));
    }
    return CVR_OK;
}

int32_t data_open_splits(run_data *d, const settings *s, cvr_plugins *p, bool trains, bool evaluates, cvr_error *err) {
    const cvr_image_service *images;
    if (data_stride(s) < 1)
        return cvr_call_blame(s->model_desc, "stride", NULL, err, "gives %lld; it is 1 or more",
                              (long long)data_stride(s));
    CVR_TRY(cvr_plugins_image_service(p, &images, err));
    for (uint32_t i = 0; i < 2; i++)
        if (wants_split(s, i, trains, evaluates)) CVR_TRY(open_split(d, s, p, i, err));
    CVR_TRY(data_open_classes(d, s, p, trains, err));
    CVR_TRY(open_caches(d, s, err));
    if (!d->splits[CVR_SPLIT_TRAIN].present) return CVR_OK;
    CVR_TRY(sampler_open(d, s, err));
    return sampler_class_weights(d, s, err);
}

/* Whether somebody says how many epochs there are: a run that goes on has recorded it, but a new train.max_batches goes
 * over that. */
static bool epochs_are_given(const settings *s) {
    const cvr_setting *epochs = cvr_config_given(s->config, "train", "epochs"),
                      *batches = cvr_config_given(s->config, "train", "max_batches");
    if (!epochs || !s->run_folder || !batches) return epochs != NULL;
    return strcmp(epochs->file, s->recipe) != 0 || strcmp(batches->file, s->recipe) == 0;
}

static void settle_epochs(const run_data *d, const settings *s) {
    const int64_t n = d->sampler.n, batch = s->train->batch, rest = !s->data->drop_last && n % batch != 0,
                  per_epoch = n / batch + rest;
    if (!s->train->max_batches || per_epoch < 1 || epochs_are_given(s)) return;
    s->train->epochs = (s->train->max_batches + per_epoch - 1) / per_epoch;
}

int32_t data_open_batches(run_data *d, const settings *s, cvr_plugins *p, bool trains, bool evaluates, cvr_error *err) {
    if (trains) settle_epochs(d, s);
    for (uint32_t i = 0; i < 2; i++) {
        cvr_batches_destroy(&d->splits[i].batches);
        if (wants_split(s, i, trains, evaluates)) CVR_TRY(open_batches(d, s, p, i, err));
    }
    cvr_batches_destroy(&d->untouched);
    if (s->protocol.reread && d->splits[CVR_SPLIT_VAL].batches) CVR_TRY(open_untouched(d, s, p, err));
    return CVR_OK;
}

int32_t data_open(run_data *d, const settings *s, cvr_plugins *p, bool trains, bool evaluates, cvr_error *err) {
    const double start = cvr_now();
    CVR_TRY(data_open_splits(d, s, p, trains, evaluates, err));
    CVR_TRY(data_open_batches(d, s, p, trains, evaluates, err));
    CVR_TRY(check_channels(d, s, err));
    CVR_TRY(check_sizes(d, s, err));
    CVR_TRY(multi_scale_check(d, s, err));
    d->seconds = cvr_now() - start;
    return CVR_OK;
}

static int32_t open_pictures(run_data *d, const settings *s, cvr_plugins *p, cvr_error *err) {
    cvr_batches_options o;
    data_batch_options(d, s, p, CVR_SPLIT_VAL, &o);
    return cvr_batches_open_pictures(&d->pictures, &o, d->channels, err);
}

int32_t data_open_for_tiles(run_data *d, const settings *s, cvr_plugins *p, cvr_error *err) {
    if (!d->untouched) CVR_TRY(open_untouched(d, s, p, err));
    return d->pictures ? CVR_OK : open_pictures(d, s, p, err);
}

int32_t data_open_pictures(run_data *d, const settings *s, cvr_plugins *p, cvr_error *err) {
    CVR_TRY(data_open_classes(d, s, p, false, err));
    d->channels = s->model->in_channels ? s->model->in_channels : 3;
    CVR_TRY(check_counts(s, d->channels, err));
    return open_pictures(d, s, p, err);
}

void data_close(run_data *d) {
    cvr_batches_destroy(&d->pictures);
    cvr_batches_destroy(&d->untouched);
    for (int i = 0; i < 2; i++) {
        split *sp = &d->splits[i];
        features_destroy(&sp->features);
        cvr_batches_destroy(&sp->batches);
        sample_cache_destroy(&sp->cache);
        if (sp->present) CVR_CALL_VOID(sp->desc, close, NULL, sp->self);
        data_free_transforms(sp);
    }
    multi_scale_close(d);
    sampler_close(d);
    data_close_classes(d);
}
