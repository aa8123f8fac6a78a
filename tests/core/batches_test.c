/*
 * Batches of named fields: ragged axes with their counts, canvases and padding, soft labels, transforms of several
 * samples and of whole batches, the order of stages, how pictures travel, and what is refused. The data set and most
 * transforms are the test's own, so that every number is known.
 */
#include <criterion/criterion.h>
#include <cvr/batches.h>
#include <cvr/config.h>
#include <math.h>

#define SAMPLES 10

/* ---- a data set: sample i is 4 + i % 3 rows by 5 + i % 4 columns of the level 10 * i, with i % 4 boxes ---- */

static int64_t height_of(int64_t i) {
    return 4 + i % 3;
}
static int64_t width_of(int64_t i) {
    return 5 + i % 4;
}
static int64_t boxes_of(int64_t i) {
    return i % 4;
}

static int64_t count(const void *self) {
    (void)self;
    return SAMPLES;
}

static int32_t add(cvr_sample *s, const char *name, const char *kind, uint32_t dtype, uint32_t rank,
                   const int64_t shape[4], cvr_field **f, cvr_error *err) {
    cvr_field like = {.name = name, .kind = kind, .dtype = dtype, .rank = rank};
    memcpy(like.shape, shape, sizeof like.shape);
    return s->add(s, &like, f, err);
}

/* `self` says what the data has beside pictures. */
typedef struct data {
    bool labels, boxes, same_size;
    bool empty; /* sample 3 has a box without height, and one that is not a number */
} data;

static int32_t read_sample(const void *self, int64_t i, cvr_sample *s, cvr_error *err) {
    const data *d = self;
    const int64_t h = d->same_size ? 4 : height_of(i), w = d->same_size ? 5 : width_of(i), n = boxes_of(i);
    cvr_field *f;
    CVR_TRY(add(s, "image", CVR_FIELD_IMAGE, CVR_U8, 3, (int64_t[4]){h, w, 3, 1}, &f, err));
    memset(f->data, (int)(10 * i), (size_t)(h * w * 3));
    s->origin->id = 100 + i;
    if (d->labels) {
        CVR_TRY(add(s, "label", CVR_FIELD_LABEL, CVR_I64, 0, (int64_t[4]){1, 1, 1, 1}, &f, err));
        *(int64_t *)f->data = i % 4;
        CVR_TRY(add(s, "mask", CVR_FIELD_MASK, CVR_U8, 2, (int64_t[4]){h, w, 1, 1}, &f, err));
        memset(f->data, (int)i, (size_t)(h * w));
    }
    if (!d->boxes) return CVR_OK;
    CVR_TRY(add(s, "boxes", CVR_FIELD_BOXES, CVR_F32, 2, (int64_t[4]){n, 4, 1, 1}, &f, err));
    for (int64_t k = 0; k < 4 * n; k++) ((float *)f->data)[k] = (float)(100 * i + k);
    if (d->empty && i == 3) ((float *)f->data)[3] = 301, ((float *)f->data)[10] = NAN;
    CVR_TRY(add(s, "box_labels", CVR_FIELD_BOX_LABELS, CVR_I64, 1, (int64_t[4]){n, 1, 1, 1}, &f, err));
    for (int64_t k = 0; k < n; k++) ((int64_t *)f->data)[k] = k;
    CVR_TRY(add(s, "masks", CVR_FIELD_MASKS, CVR_U8, 3, (int64_t[4]){n, h, w, 1}, &f, err));
    for (int64_t k = 0; k < n; k++) memset((uint8_t *)f->data + k * h * w, (int)(k + 1), (size_t)(h * w));
    return CVR_OK;
}

static void describe(const void *self, int64_t i, char *buf, uint64_t size) {
    (void)self;
    (void)snprintf(buf, size, "sample-%lld", (long long)i);
}

static const char *kind(const void *self, uint32_t i) {
    const data *d = self;
    const char *kinds[6] = {CVR_FIELD_IMAGE};
    uint32_t n = 1;
    if (d->labels) kinds[n++] = CVR_FIELD_LABEL, kinds[n++] = CVR_FIELD_MASK;
    if (d->boxes) kinds[n++] = CVR_FIELD_BOXES, kinds[n++] = CVR_FIELD_BOX_LABELS, kinds[n++] = CVR_FIELD_MASKS;
    return i < n ? kinds[i] : NULL;
}

static int64_t rows(const void *self, int64_t i, const char *axis) {
    (void)self;
    return strcmp(axis, "object") == 0 ? boxes_of(i) : -1;
}

static int32_t size(const void *self, int64_t i, int64_t *h, int64_t *w, cvr_error *err) {
    const data *d = self;
    (void)err;
    *h = d->same_size ? 4 : height_of(i);
    *w = d->same_size ? 5 : width_of(i);
    return CVR_OK;
}

static const cvr_dataset_desc dataset = {.struct_size = sizeof dataset,
                                         .name = "test",
                                         .count = count,
                                         .read = read_sample,
                                         .describe = describe,
                                         .kind = kind,
                                         .rows = rows,
                                         .size = size};

/* ---- transforms ---- */

/* (x / 255 - 0.5) / 0.25 on the host: it cannot be emitted. */
static int32_t normal_apply(const void *attrs, const double *params, cvr_sample *s, cvr_error *err) {
    cvr_field *f = cvr_sample_find(s, CVR_FIELD_IMAGE);
    const int64_t n = f->shape[0] * f->shape[1] * f->shape[2];
    (void)attrs, (void)params;
    float *to = s->alloc(s, (uint64_t)n * sizeof *to);
    if (!to) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++) to[i] = ((float)((uint8_t *)f->data)[i] / 255.0f - 0.5f) / 0.25f;
    f->dtype = CVR_F32;
    f->data = to;
    return CVR_OK;
}
static const cvr_augment_desc normal = {
    .struct_size = sizeof normal, .name = "normal", .stage = CVR_STAGE_NORMALISE, .apply = normal_apply};

/* The first pixel becomes the sum of all samples' first pixels, by their labels' and its own draw. */
static int32_t sum_params(const void *attrs, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    (void)attrs, (void)s, (void)err;
    params[0] = (double)cvr_rng_below(rng, 5);
    return CVR_OK;
}
static int32_t sum_apply(const void *attrs, const double *params, cvr_sample *const *samples, uint32_t n,
                         cvr_error *err) {
    uint8_t *to = cvr_sample_find(samples[0], CVR_FIELD_IMAGE)->data;
    (void)attrs, (void)err;
    for (uint32_t k = 1; k < n; k++)
        to[0] = (uint8_t)(to[0] + *(uint8_t *)cvr_sample_find(samples[k], CVR_FIELD_IMAGE)->data);
    to[1] = (uint8_t)params[0];
    return CVR_OK;
}
static const char *const all_kinds[] = {CVR_FIELD_LABEL, CVR_FIELD_MASK, CVR_FIELD_BOXES, CVR_FIELD_BOX_LABELS,
                                        CVR_FIELD_MASKS};
static const cvr_augment_desc sum_of_three = {.struct_size = sizeof sum_of_three,
                                              .name = "sum_of_three",
                                              .n_params = 1,
                                              .n_samples = 3,
                                              .multiplies = 3,
                                              .kinds = all_kinds,
                                              .n_kinds = 5,
                                              .make_params = sum_params,
                                              .apply_many = sum_apply};

/* Keeps every second box. */
static int32_t half_apply(const void *attrs, const double *params, cvr_sample *s, cvr_error *err) {
    const cvr_field *f = cvr_sample_find(s, CVR_FIELD_BOXES);
    uint8_t keep[8];
    (void)attrs, (void)params;
    for (int i = 0; i < 8; i++) keep[i] = i % 2 == 1;
    return s->filter(s, "object", keep, f->shape[0], err);
}
/* A crop that leaves nothing of the first box. */
static int32_t emptying_apply(const void *attrs, const double *params, cvr_sample *s, cvr_error *err) {
    const cvr_field *f = cvr_sample_find(s, CVR_FIELD_BOXES);
    (void)attrs, (void)params, (void)err;
    if (f->shape[0]) ((float *)f->data)[2] = ((float *)f->data)[0];
    return CVR_OK;
}
static const cvr_augment_desc emptying = {.struct_size = sizeof emptying, .name = "emptying", .apply = emptying_apply};

static const cvr_augment_desc every_second = {
    .struct_size = sizeof every_second, .name = "every_second", .apply = half_apply};

/* Rolls labels and pictures by one: labels are shares by then. */
static int32_t roll_params(const void *attrs, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const cvr_field *f = cvr_sample_find(s, CVR_FIELD_IMAGE);
    (void)attrs;
    if (f->data || f->shape[2] != 3) return cvr_fail(err, CVR_ERR_INVALID, "not a header");
    params[0] = *(const double *)attrs;
    params[1] = cvr_rng_uniform(rng);
    return CVR_OK;
}
static int32_t roll_apply(const void *attrs, const double *params, const cvr_augment_batch *batch, cvr_error *err) {
    const cvr_named_tensor *label = cvr_batch_find(batch->batch, "label"),
                           *image = cvr_batch_find(batch->batch, "image");
    (void)attrs;
    if (label->tensor.dtype != CVR_F32 || label->tensor.rank != 2 || label->tensor.shape[1] != batch->n_classes)
        return cvr_fail(err, CVR_ERR_INVALID, "labels are not shares");
    float *x = label->tensor.data;
    for (int64_t i = 0; i < label->tensor.shape[0] * 4; i++) x[i] *= (float)params[0];
    if (image) *(float *)image->tensor.data = (float)params[0];
    return CVR_OK;
}
static const char *const label_kind[] = {CVR_FIELD_LABEL};
static const cvr_augment_desc roll = {.struct_size = sizeof roll,
                                      .name = "roll",
                                      .n_params = 2,
                                      .stage = CVR_STAGE_BATCH,
                                      .kinds = label_kind,
                                      .n_kinds = 1,
                                      .softens = 1,
                                      .make_params = roll_params,
                                      .apply_batch = roll_apply};

/* ---- batches ---- */

static const cvr_want label_want = {.struct_size = sizeof label_want, .field = "label", .kind = CVR_FIELD_LABEL};
static const cvr_want mask_want = {
    .struct_size = sizeof mask_want, .field = "mask", .kind = CVR_FIELD_MASK, .dtype = CVR_I64, .remedy = "go home"};
static const cvr_want boxes_want = {.struct_size = sizeof boxes_want, .field = "boxes", .kind = CVR_FIELD_BOXES};
static const cvr_want box_labels_want = {
    .struct_size = sizeof box_labels_want, .field = "box_labels", .kind = CVR_FIELD_BOX_LABELS};
static const cvr_want masks_want = {.struct_size = sizeof masks_want, .field = "masks", .kind = CVR_FIELD_MASKS};
static const cvr_want *const label_wants[] = {&label_want, &mask_want};
static const cvr_want *const box_wants[] = {&boxes_want, &box_labels_want, &masks_want};

static const data plain = {.same_size = true}, labelled = {.labels = true, .same_size = true}, boxed = {.boxes = true},
                  sized = {.labels = true};

static cvr_plugins *plugins;
static void *normalize_attrs;
static cvr_transform normalize;

static void set_up(void) {
    cvr_error err = CVR_ERROR_INIT;
    const void *desc;
    cr_assert_eq(cvr_plugins_open(&plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_plugins_find(plugins, CVR_KIND_AUGMENT, "normalize", &desc, &err), CVR_OK, "%s", err.message);
    normalize.desc = desc;
    const cvr_schema schema = {normalize.desc->attrs, normalize.desc->n_attrs};
    cr_assert_eq(cvr_attrs_parse(&schema, "mean=0.5 std=0.25", NULL, "test", &normalize_attrs, &err), CVR_OK);
    normalize.attrs = normalize_attrs;
}

static void tear_down(void) {
    cvr_free(normalize_attrs);
    cvr_plugins_close(&plugins);
}

TestSuite(batches, .init = set_up, .fini = tear_down);

static cvr_batches_options options(const data *d, const cvr_transform *t, size_t n) {
    return (cvr_batches_options){.plugins = plugins,
                                 .dataset = &dataset,
                                 .self = d,
                                 .transforms = t,
                                 .n_transforms = n,
                                 .n_classes = 4,
                                 .batch = 4,
                                 .seed = 7,
                                 .size_hint = "make them alike"};
}

static cvr_batches *open_batches(const cvr_batches_options *o) {
    cvr_batches *b;
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(cvr_batches_create(&b, o, &err), CVR_OK, "%s: %s", err.file, err.message);
    cr_assert_eq(cvr_batches_begin(b, 0, 0, &err), CVR_OK);
    return b;
}

static cvr_batch next(cvr_batches *b) {
    cvr_batch batch;
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(cvr_batches_next(b, &batch, &err), CVR_OK, "%s: %s", err.file, err.message);
    return batch;
}

/* The error that making the first batch ends with. */
static cvr_error refusal(const cvr_batches_options *o) {
    cvr_batches *b;
    cvr_batch batch;
    cvr_error err = CVR_ERROR_INIT;
    int32_t status;
    CVR_TRY_OUT(cvr_batches_create(&b, o, &err));
    CVR_TRY_OUT(cvr_batches_begin(b, 0, 0, &err));
    for (int i = 0; i < 3; i++) CVR_TRY_OUT(cvr_batches_next(b, &batch, &err));
out:
    cr_assert_neq(status, CVR_OK);
    cvr_batches_destroy(&b);
    return err;
}

static const cvr_tensor *tensor(const cvr_batch *b, const char *name) {
    const cvr_named_tensor *t = cvr_batch_find(&b->view, name);
    cr_assert(t, "there is no %s", name);
    return &t->tensor;
}

/* ---- an order of its own ---- */

/* Sample e + 1 at all places of epoch e. */
static void same_sample(const void *sampler, int64_t epoch, int64_t n, int64_t batch, int64_t *order) {
    (void)batch;
    cr_assert(*(const int64_t *)sampler == SAMPLES && n == SAMPLES);
    for (int64_t i = 0; i < n; i++) order[i] = epoch + 1;
}

static int32_t draw_wide(const void *attrs, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    (void)attrs, (void)s, (void)err;
    params[0] = (double)cvr_rng_below(rng, 256);
    return CVR_OK;
}
static int32_t put_wide(const void *attrs, const double *params, cvr_sample *s, cvr_error *err) {
    (void)attrs, (void)err;
    ((uint8_t *)cvr_sample_find(s, CVR_FIELD_IMAGE)->data)[0] = (uint8_t)params[0];
    return CVR_OK;
}
static const cvr_augment_desc wide = {
    .struct_size = sizeof wide, .name = "wide", .n_params = 1, .make_params = draw_wide, .apply = put_wide};

/* First pixels of two epochs, from batch `first` of the first on. */
static int arranged(uint32_t workers, int64_t first, uint8_t *out) {
    static const int64_t samples = SAMPLES;
    const cvr_transform t[] = {{.desc = &wide}, normalize};
    cvr_batches_options o = options(&plain, t, 2);
    cvr_error err = CVR_ERROR_INIT;
    int n = 0;
    o.workers = workers;
    o.shuffle = o.run_ahead = true;
    o.arrange = same_sample;
    o.sampler = &samples;
    cvr_batches *b = open_batches(&o);
    cr_assert_eq(cvr_batches_begin(b, 0, first, &err), CVR_OK);
    for (int64_t k = first; k < 6; k++) {
        const cvr_batch batch = next(b);
        const cvr_tensor *image = tensor(&batch, "image");
        cr_assert_eq(image->dtype, CVR_U8);
        for (int64_t i = 0; i < batch.view.n; i++) {
            cr_expect_eq(batch.view.origins[i]->index, k / 3 + 1);
            out[n++] = ((const uint8_t *)image->data)[i * 4 * 5 * 3];
        }
    }
    cvr_batches_destroy(&b);
    return n;
}

/* A sample that stands at several places has other random numbers at each, the same with any threads and from any
 * batch on. */
Test(batches, an_order_of_its_own) {
    uint8_t all[20], other[20];
    int different = 0;
    cr_assert_eq(arranged(0, 0, all), 20);
    for (int i = 0; i < 20; i++)
        for (int k = 0; k < i; k++) different += all[i] != all[k];
    cr_expect_gt(different, 180, "%d of 190 pairs differ", different);
    for (uint32_t workers = 1; workers < 4; workers += 2) {
        cr_assert_eq(arranged(workers, 0, other), 20);
        cr_expect_eq(memcmp(all, other, 20), 0, "%u workers draw other numbers", workers);
    }
    cr_assert_eq(arranged(2, 2, other), 12);
    cr_expect_eq(memcmp(all + 8, other, 12), 0, "in mid-epoch other numbers are drawn");
}

Test(batches, ragged_fields_are_padded_and_counted) {
    cvr_batches_options o = options(&boxed, &normalize, 1);
    o.wants = box_wants;
    o.n_wants = 3;
    o.pads = true;
    cvr_batches *b = open_batches(&o);
    cvr_batch batch = next(b);
    const cvr_tensor *boxes = tensor(&batch, "boxes"), *counts = tensor(&batch, "object_count"),
                     *labels = tensor(&batch, "box_labels"), *masks = tensor(&batch, "masks");
    cr_expect_eq(cvr_batch_find(&batch.view, "boxes")->counts->data, counts->data);
    cr_assert_eq(boxes->shape[1], 3); /* the most that any sample has */
    cr_assert_eq(masks->rank, 4);
    cr_assert_eq(masks->pixel_stride, 3);
    const int64_t h = masks->shape[2], w = masks->shape[3];
    for (int64_t i = 0; i < 4; i++) {
        cr_expect_eq(((const int64_t *)counts->data)[i], boxes_of(i));
        for (int64_t k = 0; k < 12; k++)
            cr_expect_float_eq(((const float *)boxes->data)[12 * i + k],
                               k < 4 * boxes_of(i) ? (double)(100 * i + k) : 0, 0);
        for (int64_t k = 0; k < 3; k++) {
            cr_expect_eq(((const int64_t *)labels->data)[3 * i + k], k < boxes_of(i) ? k : -1);
            for (int64_t y = 0; y < h; y++) {
                for (int64_t x = 0; x < w; x++) {
                    const int inside = k < boxes_of(i) && y < height_of(i) && x < width_of(i);
                    cr_expect_eq(((const uint8_t *)masks->data)[((i * h + y) * w + x) * 3 + k], inside ? k + 1 : 0);
                }
            }
        }
        cr_expect_eq(batch.view.origins[i]->index, i);
        cr_expect_eq(batch.view.origins[i]->id, 100 + i);
        cr_expect_eq(batch.view.origins[i]->height, height_of(i));
    }
    cvr_batches_destroy(&b);
}

Test(batches, rows_are_filtered_in_one_place) {
    const cvr_transform t[] = {{.desc = &every_second}, normalize};
    cvr_batches_options o = options(&boxed, t, 2);
    o.wants = box_wants;
    o.n_wants = 3;
    o.pads = true;
    cvr_batches *b = open_batches(&o);
    const cvr_batch batch = next(b);
    const int64_t *counts = tensor(&batch, "object_count")->data;
    cr_expect_eq(counts[3], 1);
    cr_expect_eq(counts[1], 0);
    cr_expect_float_eq(((const float *)tensor(&batch, "boxes")->data)[36], 304, 0);
    cr_expect_eq(((const int64_t *)tensor(&batch, "box_labels")->data)[9], 1);
    cvr_batches_destroy(&b);
}

static char last_warning[512];
static int warnings;
static void hear(void *ctx, uint32_t level, const char *message) {
    (void)ctx;
    if (level != CVR_LOG_WARNING) return;
    warnings++;
    (void)snprintf(last_warning, sizeof last_warning, "%s", message);
}

/* Boxes without width or height never come into a batch: neither the data's, of which the user is told once, nor what a
 * transform leaves of others. Labels and masks go with them. */
Test(batches, empty_boxes_are_dropped) {
    static const data empty = {.boxes = true, .empty = true};
    const cvr_transform t[] = {{.desc = &emptying}, normalize};
    for (size_t first = 0; first < 2; first++) {
        cvr_batches_options o = options(&empty, t + first, 2 - first);
        o.wants = box_wants;
        o.n_wants = 3;
        o.pads = true;
        warnings = 0;
        cvr_set_log(hear, NULL);
        cvr_batches *b = open_batches(&o);
        for (int epoch = 0; epoch < 2; epoch++) {
            cvr_error err = CVR_ERROR_INIT;
            cr_assert_eq(cvr_batches_begin(b, epoch, 0, &err), CVR_OK);
            const cvr_batch batch = next(b);
            const int64_t *counts = tensor(&batch, "object_count")->data;
            const int64_t *labels = tensor(&batch, "box_labels")->data;
            cr_expect_eq(counts[2], first ? 2 : 1);
            cr_expect_eq(counts[3], first ? 1 : 0);
            cr_expect_eq(labels[9], first ? 1 : -1);
            cr_expect_eq(labels[6], first ? 0 : 1);
        }
        cvr_set_log(NULL, NULL);
        cr_expect_eq(warnings, 1, "%d warnings", warnings);
        cr_expect_str_eq(last_warning, "sample-3: 2 boxes without width or height are left out");
        cvr_batches_destroy(&b);
    }
}

Test(batches, more_rows_than_there_is_room_for_name_the_sample_and_the_key) {
    cvr_batches_options o = options(&boxed, &normalize, 1);
    o.wants = box_wants;
    o.n_wants = 3;
    o.pads = true;
    o.most_rows = 2;
    const cvr_error err = refusal(&o);
    cr_expect_str_eq(err.file, "sample-3");
    cr_expect(strstr(err.message, "data.max_boxes"), "%s", err.message);
}

/* The pad of u8 pictures is the level that is nearest to 0 when it is normalised: 127 or 128 of a mean of a half. */
Test(batches, pictures_of_several_sizes_lie_on_canvases) {
    cvr_batches_options o = options(&sized, &normalize, 1);
    const cvr_canvas *canvases;
    o.wants = label_wants;
    o.n_wants = 2;
    o.pads = true;
    o.shapes = 3;
    o.stride = 2;
    o.batch = 1;
    cvr_batches *b = open_batches(&o);
    const size_t n = cvr_batches_canvases(b, &canvases);
    cr_assert(n >= 1 && n <= 3, "%zu canvases", n);
    cr_expect_eq(canvases[0].height, 6);
    cr_expect_eq(canvases[0].width, 8);
    for (int64_t i = 0; i < SAMPLES; i++) {
        const cvr_batch batch = next(b);
        const cvr_tensor *image = tensor(&batch, "image"), *mask = tensor(&batch, "mask");
        const int64_t h = image->shape[2], w = image->shape[3];
        bool known = false;
        for (size_t k = 0; k < n; k++) known = known || (canvases[k].height == h && canvases[k].width == w);
        cr_expect(known && h == batch.canvas.height && w == batch.canvas.width);
        cr_expect(h >= height_of(i) && w >= width_of(i));
        for (int64_t y = 0; y < h; y++) {
            for (int64_t x = 0; x < w; x++) {
                const bool inside = y < height_of(i) && x < width_of(i);
                const int pixel = ((const uint8_t *)image->data)[(y * w + x) * 3 + 2];
                cr_expect(inside ? pixel == 10 * i : pixel == 127 || pixel == 128, "%d", pixel);
                cr_expect_eq(((const int64_t *)mask->data)[y * w + x], inside ? i : 255);
            }
        }
    }
    cvr_batches_destroy(&b);
}

/* Normalised on the host, what is added is 0. A batch's canvas holds its largest picture. */
Test(batches, host_normalised_pictures_are_padded_with_0) {
    const cvr_transform t = {.desc = &normal};
    cvr_batches_options o = options(&sized, &t, 1);
    o.pads = true;
    o.shapes = 8;
    cvr_batches *b = open_batches(&o);
    const cvr_batch batch = next(b);
    const cvr_tensor *image = tensor(&batch, "image");
    const int64_t h = image->shape[2], w = image->shape[3];
    cr_assert_eq(image->dtype, CVR_F32);
    for (int64_t i = 0; i < 4; i++) {
        const float want = ((float)(10 * i) / 255.0f - 0.5f) / 0.25f;
        for (int64_t y = 0; y < h; y++) {
            for (int64_t x = 0; x < w; x++) {
                const float got = ((const float *)image->data)[((i * h + y) * w + x) * 3];
                cr_expect(got == (y < height_of(i) && x < width_of(i) ? want : 0), "%g", (double)got);
            }
        }
    }
    cvr_batches_destroy(&b);
}

Test(batches, without_padding_all_pictures_have_one_size) {
    cvr_batches_options o = options(&sized, &normalize, 1);
    const cvr_error err = refusal(&o);
    cr_expect_str_eq(err.file, "sample-1");
    cr_expect_str_eq(err.message, "the picture is 6x5 with 3 channels, the first was 5x4 with 3; make them alike");
}

Test(batches, travel_as_u8_where_the_device_can_normalise) {
    cvr_batches_options o = options(&labelled, &normalize, 1);
    cvr_batches *b = open_batches(&o);
    cvr_batch batch = next(b);
    cr_expect_eq(tensor(&batch, "image")->dtype, CVR_U8);
    cvr_batches_destroy(&b);
    const cvr_transform host = {.desc = &normal};
    o.transforms = &host;
    b = open_batches(&o);
    batch = next(b);
    cr_expect_eq(tensor(&batch, "image")->dtype, CVR_F32);
    cvr_batches_destroy(&b);
}

Test(batches, labels_that_a_transform_softens_are_shares) {
    static const double two = 2;
    const cvr_transform t[] = {{.desc = &normal}, {.desc = &roll, .attrs = &two}};
    cvr_batches_options o = options(&labelled, t, 2);
    o.wants = label_wants;
    o.n_wants = 1;
    const cvr_error no = refusal(&o); /* the data has masks, which the transform does not know */
    cr_expect(strstr(no.message, "roll: ") && strstr(no.message, "mask"), "%s", no.message);
    static const char *const kinds[] = {CVR_FIELD_LABEL, CVR_FIELD_MASK};
    cvr_augment_desc knows = roll;
    knows.kinds = kinds;
    knows.n_kinds = 2;
    const cvr_transform good[] = {{.desc = &normal}, {.desc = &knows, .attrs = &two}};
    o.transforms = good;
    cvr_batches *b = open_batches(&o);
    const cvr_batch batch = next(b);
    const cvr_tensor *label = tensor(&batch, "label");
    cr_assert(label->rank == 2 && label->dtype == CVR_F32 && label->shape[1] == 4);
    for (int64_t i = 0; i < 16; i++) cr_expect_float_eq(((const float *)label->data)[i], i % 4 == i / 4 ? 2.0 : 0.0, 0);
    cr_expect_float_eq(*(const float *)tensor(&batch, "image")->data, 2, 0);
    cvr_batches_destroy(&b);
}

/* Each of two is chosen for about half of the batches, and the choice is the epoch's and position's own. */
Test(batches, two_batch_transforms_are_chosen_between) {
    static const double two = 2, three = 3;
    static const char *const kinds[] = {CVR_FIELD_LABEL, CVR_FIELD_MASK};
    cvr_augment_desc knows = roll;
    knows.kinds = kinds;
    knows.n_kinds = 2;
    const cvr_transform t[] = {{.desc = &normal}, {.desc = &knows, .attrs = &two}, {.desc = &knows, .attrs = &three}};
    cvr_batches_options o = options(&labelled, t, 3);
    o.wants = label_wants;
    o.n_wants = 1;
    o.run_ahead = true;
    int twos[2] = {0, 0};
    for (int round = 0; round < 2; round++) {
        o.workers = round ? 3 : 0;
        cvr_batches *b = open_batches(&o);
        for (int i = 0; i < 60; i++) {
            const cvr_batch batch = next(b);
            const float got = *(const float *)tensor(&batch, "image")->data;
            cr_assert(got == 2 || got == 3);
            twos[round] += got == 2 ? i : 0;
        }
        cvr_batches_destroy(&b);
    }
    cr_expect_eq(twos[0], twos[1]);
    cr_expect(twos[0] > 400 && twos[0] < 1370, "%d", twos[0]); /* of 1770, when each is half: 885 */
}

/* Partners are drawn by sample, epoch and place: the same for any number of workers, and not always the same. */
Test(batches, partners_do_not_depend_on_workers) {
    const cvr_transform t[] = {{.desc = &sum_of_three}, {.desc = &sum_of_three}, normalize};
    uint8_t wanted[60][2];
    int different = 0;
    for (uint32_t workers = 0; workers < 4; workers++) {
        cvr_batches_options o = options(&plain, t, 3);
        o.workers = workers;
        o.batch = 1;
        o.run_ahead = true;
        cvr_batches *b = open_batches(&o);
        for (int i = 0; i < 60; i++) {
            const cvr_batch batch = next(b);
            const uint8_t *pixels = tensor(&batch, "image")->data;
            if (workers == 0) memcpy(wanted[i], pixels, 2);
            cr_expect(memcmp(wanted[i], pixels, 2) == 0, "sample %d with %u workers", i, workers);
            if (i >= SAMPLES && wanted[i][0] != wanted[i - SAMPLES][0]) different++;
        }
        cvr_batches_destroy(&b);
    }
    cr_expect_gt(different, 30);
}

Test(batches, a_transform_multiplies_the_rows) {
    const cvr_transform t[] = {{.desc = &sum_of_three}, normalize};
    cvr_batches_options o = options(&boxed, t, 2);
    o.wants = box_wants;
    o.n_wants = 1;
    o.pads = true;
    cvr_batches *b = open_batches(&o);
    const cvr_batch batch = next(b);
    cr_expect_eq(tensor(&batch, "boxes")->shape[1], 9);
    cvr_batches_destroy(&b);
}

Test(batches, nothing_is_allocated_after_the_first_few) {
    const cvr_transform t[] = {{.desc = &sum_of_three}, {.desc = &sum_of_three}, normalize};
    cvr_batches_options o = options(&sized, t, 3);
    o.pads = true;
    o.shapes = 4;
    o.run_ahead = true;
    cvr_batches *b = open_batches(&o);
    for (int i = 0; i < 40; i++) (void)next(b);
    const uint64_t before = cvr_alloc_count();
    for (int i = 0; i < 40; i++) (void)next(b);
    cr_expect_eq(cvr_alloc_count(), before);
    cvr_batches_destroy(&b);
}

Test(batches, stages_run_in_order_and_one_normalises) {
    const cvr_transform late[] = {normalize, {.desc = &every_second}};
    cvr_batches_options o = options(&boxed, late, 2);
    cvr_error err = refusal(&o);
    cr_expect_str_eq(err.message, "every_second comes after normalize, which runs later than it");
    const cvr_transform twice[] = {normalize, {.desc = &normal}};
    o.transforms = twice;
    err = refusal(&o);
    cr_expect(strstr(err.message, "normalised already"), "%s", err.message);
    o.transforms = late + 1;
    o.n_transforms = 1;
    err = refusal(&o);
    cr_expect(strstr(err.message, "no transform normalises"), "%s", err.message);
}

Test(batches, what_the_task_wants_and_the_data_has_not_is_said) {
    cvr_batches_options o = options(&plain, &normalize, 1);
    o.wants = label_wants + 1;
    o.n_wants = 1;
    const cvr_error err = refusal(&o);
    cr_expect_str_eq(err.message, "it has no `mask`, which this task needs for each picture; go home");
    o.without_targets = true;
    cvr_batches *b = open_batches(&o);
    const cvr_batch batch = next(b);
    cr_expect(!cvr_batches_have_targets(b));
    cr_expect_eq(batch.view.n_fields, 1);
    cvr_batches_destroy(&b);
}

/* A picture that no data set has, on a canvas of its own. */
Test(batches, single_pictures_are_shown) {
    cvr_batches_options o = options(&plain, &normalize, 1);
    uint8_t pixels[7 * 9 * 3];
    const cvr_image image = {.struct_size = sizeof image, .width = 9, .height = 7, .channels = 3, .data = pixels};
    cvr_error err = CVR_ERROR_INIT;
    cvr_batches *b;
    cvr_batch batch;
    memset(pixels, 42, sizeof pixels);
    o.pads = true;
    o.stride = 4;
    cr_assert_eq(cvr_batches_open_pictures(&b, &o, 3, &err), CVR_OK, "%s", err.message);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(cvr_batches_show(b, &image, "here.png", &batch, &err), CVR_OK, "%s", err.message);
        const cvr_tensor *x = tensor(&batch, "image");
        cr_expect(x->shape[2] == 8 && x->shape[3] == 12 && batch.view.n == 1);
        cr_expect_eq(((const uint8_t *)x->data)[0], 42);
        cr_expect_str_eq(batch.view.origins[0]->path, "here.png");
        cr_expect_eq(batch.view.origins[0]->height, 7);
    }
    cvr_batches_destroy(&b);
}

/* ---- the device's part ---- */

static const void *find_transform(const char *name, const char *settings, void **attrs) {
    const void *desc;
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(cvr_plugins_find(plugins, CVR_KIND_AUGMENT, name, &desc, &err), CVR_OK, "%s", err.message);
    const cvr_augment_desc *d = desc;
    const cvr_schema schema = {d->attrs, d->n_attrs};
    cr_assert_eq(cvr_attrs_parse(&schema, settings, NULL, "test", attrs, &err), CVR_OK, "%s", err.message);
    return d;
}

/* A program that only makes what the network would read of a batch. */
typedef struct machine {
    cvr_store *store;
    cvr_device *device;
    cvr_threadpool *pool;
    cvr_graph *graph;
    cvr_program *program;
    cvr_arena *arena;
} machine;

static void open_machine(machine *m, const cvr_batches *b, const char *backend, int64_t n, cvr_canvas canvas) {
    cvr_error err = CVR_ERROR_INIT;
    cvr_value image;
    const cvr_batch_inputs what = {.n = n, .canvas = canvas};
    cr_assert_eq(cvr_pool_create(&m->pool, 2, &err), CVR_OK);
    cr_assert_eq(cvr_store_create(&m->store, 1, &err), CVR_OK);
    cr_assert_eq(cvr_device_open(&m->device, plugins, &(cvr_device_choice){.backend = backend}, m->pool, &err), CVR_OK,
                 "%s", err.message);
    cr_assert_eq(cvr_graph_create(&m->graph, plugins, m->store, false, &err), CVR_OK);
    cr_assert_eq(cvr_batches_inputs(b, m->graph, &what, &image, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_graph_output(m->graph, "seen", image, &err), CVR_OK);
    cr_assert_eq(cvr_store_place(m->store, m->device, &err), CVR_OK);
    cr_assert_eq(cvr_program_plan(&m->program, m->graph, m->device, m->pool, CVR_FALLBACK_ERROR, &err), CVR_OK, "%s",
                 err.message);
    cr_assert_eq(cvr_arena_create(&m->arena, m->device, &m->program, 1, 0, &err), CVR_OK);
    cr_assert_eq(cvr_program_bind(m->program, m->arena, &err), CVR_OK);
}

static void close_machine(machine *m) {
    cvr_program_destroy(&m->program);
    cvr_graph_destroy(&m->graph);
    cvr_store_destroy(&m->store);
    cvr_arena_destroy(&m->arena);
    cvr_device_close(&m->device);
    cvr_pool_destroy(&m->pool);
}

/* What the device makes of u8 and the numbers that were drawn is, bit for bit, what the host makes. */
static void compare_with_host(const char *backend, const char *isa) {
    void *attrs[3];
    cvr_augment_desc host[3];
    const char *const names[] = {"normalize", "mixup", "cutmix"}, *const settings[] = {
                                                                      "mean=0.485,0.456,0.406 std=0.229,0.224,0.225",
                                                                      "0.4", "1"};
    cvr_transform device_side[3], host_side[3];
    int modes[3] = {0};
    cvr_plugins_limit_isa(plugins, isa);
    for (int i = 0; i < 3; i++) {
        const cvr_augment_desc *d = find_transform(names[i], settings[i], &attrs[i]);
        host[i] = *d;
        host[i].emit = NULL;
        device_side[i] = (cvr_transform){d, attrs[i]};
        host_side[i] = (cvr_transform){&host[i], attrs[i]};
    }
    cvr_batches_options o = options(&plain, device_side, 3), p = options(&plain, host_side, 3);
    o.run_ahead = p.run_ahead = true;
    o.batch = p.batch = 5;
    cvr_batches *a = open_batches(&o), *b = open_batches(&p);
    machine m;
    open_machine(&m, a, backend, 5, (cvr_canvas){4, 5});
    float seen[5 * 4 * 5 * 3];
    for (int i = 0; i < 12; i++) {
        cvr_error err = CVR_ERROR_INIT;
        const cvr_batch x = next(a), y = next(b);
        for (uint32_t k = 0; k < x.view.n_fields; k++) {
            const int32_t slot = cvr_program_slot(m.program, x.view.fields[k]->name);
            cr_assert_geq(slot, 0);
            cr_assert_eq(cvr_program_write(m.program, slot, x.view.fields[k]->tensor.data, &err), CVR_OK);
        }
        cr_assert_eq(cvr_program_run(m.program, &err), CVR_OK, "%s", err.message);
        cr_assert_eq(cvr_program_read(m.program, cvr_program_slot(m.program, "seen"), seen, &err), CVR_OK);
        cr_expect(memcmp(seen, tensor(&y, "image")->data, sizeof seen) == 0, "batch %d on %s %s", i, backend, isa);
        modes[(int)*(const float *)tensor(&x, "mixup_1")->data + (int)*(const float *)tensor(&x, "cutmix_2")->data]++;
    }
    cr_expect(modes[1] > 0 && modes[2] > 0, "%d mixed, %d cut", modes[1], modes[2]);
    close_machine(&m);
    cvr_batches_destroy(&a);
    cvr_batches_destroy(&b);
    for (int i = 0; i < 3; i++) cvr_free(attrs[i]);
}

Test(batches, the_device_makes_the_bits_of_the_host) {
    static const char *const isas[] = {"base", "avx2 fma", NULL};
    compare_with_host("reference", NULL);
    compare_with_host("far", NULL);
    for (int i = 0; i < 3; i++) {
        const char *missing;
        if (isas[i] && strcmp(isas[i], "base") != 0 && !cvr_cpu_has(isas[i], &missing)) continue;
        compare_with_host("cpu", isas[i]);
    }
}
