/*
 * data.aspect_groups: which pictures share a batch, that each comes once, and what padding it saves on sizes such as
 * COCO's, at a tenth, through real batches.
 */
#include "../apps/session/run_data.h"
#include "support/recipe_text.h"
#include <math.h>
#include <stdlib.h>

int32_t settings_blame(const settings *s, int32_t status, cvr_error *err) {
    (void)s, (void)err;
    return status;
}
bool settings_with_boxes(const settings *s) {
    return s->task->pads != 0;
}

#define PICTURES 601 /* no whole batches */
#define BATCH 4

/* Shares of COCO's usual sizes, in hundredths: two thirds lie, a quarter stands. */
static const struct {
    int64_t height, width, share;
} shapes[] = {{48, 64, 28}, {43, 64, 22}, {64, 48, 10}, {64, 43, 9}, {38, 50, 8}, {33, 50, 4}, {50, 38, 4},
              {64, 64, 4},  {56, 64, 1},  {36, 64, 4},  {61, 61, 3}, {27, 64, 2}, {64, 32, 1}};

static int64_t count(const void *self) {
    (void)self;
    return PICTURES;
}

static int32_t size(const void *self, int64_t i, int64_t *h, int64_t *w, cvr_error *err) {
    int64_t at = (int64_t)(cvr_rng_mix(7, (uint64_t)i) % 100);
    size_t k = 0;
    if (self && i % 50 == 7) return cvr_fail(err, CVR_ERR_FORMAT, "bad file");
    while (at >= shapes[k].share) at -= shapes[k++].share;
    *h = shapes[k].height;
    *w = shapes[k].width;
    return CVR_OK;
}

static int32_t read_sample(const void *self, int64_t i, cvr_sample *s, cvr_error *err) {
    cvr_field *f, like = {.name = "image", .kind = CVR_FIELD_IMAGE, .dtype = CVR_U8, .rank = 3, .shape = {1, 1, 1}};
    CVR_TRY(size(self, i, &like.shape[0], &like.shape[1], err));
    CVR_TRY(s->add(s, &like, &f, err));
    memset(f->data, 9, (size_t)(like.shape[0] * like.shape[1]));
    return CVR_OK;
}

static void describe(const void *self, int64_t i, char *buf, uint64_t room) {
    (void)self;
    (void)snprintf(buf, room, "sample-%lld", (long long)i);
}

static const char *kind(const void *self, uint32_t i) {
    (void)self;
    return i ? NULL : CVR_FIELD_IMAGE;
}

static const cvr_dataset_desc sized = {.struct_size = sizeof sized,
                                       .name = "test",
                                       .count = count,
                                       .read = read_sample,
                                       .describe = describe,
                                       .kind = kind,
                                       .size = size};

typedef struct run {
    train_settings train;
    data_settings data;
    run_settings run;
    cvr_task_desc task;
    settings set;
    run_data d;
} run;

static cvr_config *config;
static cvr_plugins *plugins;

static void set_up(void) {
    cvr_error err = CVR_ERROR_INIT;
    config = recipe_of_text("[data]\naspect_groups = 3\n");
    cr_assert_eq(cvr_plugins_open(&plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
}

static void tear_down(void) {
    cvr_config_destroy(&config);
    cvr_plugins_close(&plugins);
}

TestSuite(aspect_groups, .init = set_up, .fini = tear_down);

static int32_t open_run(run *r, int64_t groups, const cvr_dataset_desc *desc, cvr_error *err) {
    memset(r, 0, sizeof *r);
    r->train = (train_settings){.repeat = 1, .batch = BATCH, .class_weights = ""};
    r->data = (data_settings){.shuffle = 1, .aspect_groups = groups};
    r->task = (cvr_task_desc){.pads = 1};
    r->set = (settings){
        .config = config, .dataset = desc, .task = &r->task, .train = &r->train, .data = &r->data, .run = &r->run};
    r->d.splits[CVR_SPLIT_TRAIN].desc = desc;
    return sampler_open(&r->d, &r->set, err);
}

static int64_t bin(int64_t i) {
    int64_t h = 0, w = 0, n = 0;
    cr_assert_eq(size(NULL, i, &h, &w, NULL), CVR_OK);
    for (int k = -3; k <= 3; k++) n += (double)h / (double)w >= pow(2, k / 3.0);
    return n;
}

/* Whole batches of one group first, then those of what is left, then the pictures after the last whole batch. */
Test(aspect_groups, batches_are_of_one_group_and_each_picture_comes_once) {
    static int64_t order[PICTURES], again[PICTURES];
    uint8_t seen[PICTURES] = {0};
    run r;
    cvr_error err = CVR_ERROR_INIT;
    cvr_batches_options o = {.batch = BATCH};
    int64_t mixed = 0, last_mixed = -1;
    cr_assert_eq(open_run(&r, -1, &sized, &err), CVR_OK, "%s", err.message);
    cr_expect_eq(r.d.sampler.n_groups, 8, "three bins from 1 to 2 are the default");
    sampler_options(&r.d, &r.set, &o);
    for (int64_t i = 0; i < PICTURES; i++) order[i] = again[i] = PICTURES - 1 - i;
    o.arrange(o.sampler, 0, PICTURES, BATCH, order);
    o.arrange(o.sampler, 0, PICTURES, BATCH, again);
    cr_expect_eq(memcmp(order, again, sizeof order), 0, "the same is not arranged alike twice");
    for (int64_t i = 0; i < PICTURES; i++) seen[order[i]]++;
    for (int64_t i = 0; i < PICTURES; i++) cr_assert_eq(seen[i], 1, "picture %d comes %d times", (int)i, seen[i]);
    for (int64_t i = 0; i + BATCH <= PICTURES; i += BATCH) {
        bool one = true;
        for (int64_t k = 1; k < BATCH; k++) one = one && bin(order[i + k]) == bin(order[i]);
        mixed += !one;
        if (one && last_mixed >= 0) cr_assert_gt(i, PICTURES - 8 * BATCH, "a mixed batch came before others");
        if (!one && last_mixed < 0) last_mixed = i;
        /* within a batch pictures keep the order in which they were */
        for (int64_t k = 1; k < BATCH && one; k++) cr_assert_lt(order[i + k], order[i + k - 1]);
    }
    cr_expect_leq(mixed, 7, "%d batches are of several groups", (int)mixed);
    cr_expect_eq(order[PICTURES - 1], 0, "the picture after the last whole batch stays");
    sampler_close(&r.d);
}

/* Pixels of all batches of two epochs, padding and all, over those of the pictures. */
static double padded(int64_t groups, int64_t most, size_t *canvases) {
    const void *resize, *normalize;
    void *attrs[2];
    run r;
    cvr_error err = CVR_ERROR_INIT;
    const cvr_canvas *list;
    double all = 0, pictures = 0;
    cr_assert_eq(open_run(&r, groups, &sized, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_plugins_find(plugins, CVR_KIND_AUGMENT, "resize", &resize, &err), CVR_OK);
    cr_assert_eq(cvr_plugins_find(plugins, CVR_KIND_AUGMENT, "normalize", &normalize, &err), CVR_OK);
    const cvr_augment_desc *const d[2] = {resize, normalize};
    static const char *const text[2] = {"80 max_size=133 sides=scaled antialias=no", "mean=0.5 std=0.5"};
    for (int i = 0; i < 2; i++) {
        const cvr_schema schema = {d[i]->attrs, d[i]->n_attrs};
        cr_assert_eq(cvr_attrs_parse(&schema, text[i], NULL, "test", &attrs[i], &err), CVR_OK, "%s", err.message);
    }
    const cvr_transform t[] = {{d[0], attrs[0]}, {d[1], attrs[1]}};
    cvr_batches_options o = {.plugins = plugins,
                             .dataset = &sized,
                             .transforms = t,
                             .n_transforms = 2,
                             .n_classes = 1,
                             .batch = BATCH,
                             .shapes = most,
                             .stride = 3,
                             .pads = true,
                             .shuffle = true,
                             .seed = 5,
                             .size_hint = ""};
    cvr_batches *b;
    sampler_options(&r.d, &r.set, &o);
    cr_assert_eq(cvr_batches_create(&b, &o, &err), CVR_OK, "%s", err.message);
    *canvases = cvr_batches_canvases(b, &list);
    for (int64_t epoch = 5; epoch < 7; epoch++) {
        cr_assert_eq(cvr_batches_begin(b, epoch, 0, &err), CVR_OK);
        for (;;) {
            cvr_batch batch;
            cr_assert_eq(cvr_batches_next(b, &batch, &err), CVR_OK, "%s", err.message);
            if (batch.view.n == 0) break;
            all += (double)(batch.view.n * batch.canvas.height * batch.canvas.width);
            const float *sizes = cvr_batch_find(&batch.view, "image_size")->tensor.data;
            for (int64_t i = 0; i < batch.view.n; i++) pictures += (double)sizes[2 * i] * (double)sizes[2 * i + 1];
        }
    }
    cvr_batches_destroy(&b);
    for (int i = 0; i < 2; i++) cvr_free(attrs[i]);
    sampler_close(&r.d);
    return all / pictures;
}

Test(aspect_groups, save_padding_with_few_canvases) {
    static const int64_t most[] = {1, 4, 8, 16, 64};
    double with[5], without[5];
    size_t n, m;
    for (size_t i = 0; i < 5; i++) {
        with[i] = padded(3, most[i], &n);
        without[i] = padded(0, most[i], &m);
        cr_expect(n <= (size_t)most[i] && m <= (size_t)most[i]);
        if (getenv("CVR_TELL"))
            cr_log_info("%2d canvases: %.3f with groups, %.3f without", (int)most[i], with[i], without[i]);
    }
    cr_expect(with[2] < 1.20 && without[2] > 1.3, "%.3f with groups, %.3f without", with[2], without[2]);
    cr_expect_float_eq(with[0], without[0], 1e-9, "one canvas holds all");
}

Test(aspect_groups, refuses_what_has_no_sizes) {
    static cvr_dataset_desc silent;
    run r;
    cvr_error err = CVR_ERROR_INIT;
    silent = sized;
    silent.size = NULL;
    cr_assert_eq(open_run(&r, -1, &silent, &err), CVR_OK);
    cr_expect_eq(r.d.sampler.n_groups, 0, "by default it is left out");
    sampler_close(&r.d);
    cr_expect_eq(open_run(&r, 3, &silent, &err), CVR_ERR_USAGE);
    cr_expect(strstr(err.message, "how large a picture is"), "%s", err.message);
    sampler_close(&r.d);
}

/* Sizes tell, but batches are not padded, or come in the data's order. */
Test(aspect_groups, are_left_out_where_they_are_of_no_use) {
    run r;
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(open_run(&r, 0, &sized, &err), CVR_OK);
    r.data.aspect_groups = -1;
    r.data.shuffle = 0;
    cr_assert_eq(aspect_groups_open(&r.d, &r.set, &err), CVR_OK);
    cr_expect_eq(r.d.sampler.n_groups, 0, "in the data's order");
    r.data.shuffle = 1;
    r.data.img_size = 64;
    cr_assert_eq(aspect_groups_open(&r.d, &r.set, &err), CVR_OK);
    cr_expect_eq(r.d.sampler.n_groups, 0, "of squares");
    r.data.img_size_long = 96;
    cr_assert_eq(aspect_groups_open(&r.d, &r.set, &err), CVR_OK);
    cr_expect_eq(r.d.sampler.n_groups, 8);
    sampler_close(&r.d);
}

/* A bad file is left to who reads it, where such are skipped. */
Test(aspect_groups, bad_files_are_as_data_on_error_says) {
    static char bad;
    run r;
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(open_run(&r, 0, &sized, &err), CVR_OK);
    r.data.aspect_groups = 2;
    r.d.splits[CVR_SPLIT_TRAIN].self = &bad;
    cr_expect_eq(aspect_groups_open(&r.d, &r.set, &err), CVR_ERR_FORMAT);
    sampler_close(&r.d);
    cr_assert_eq(open_run(&r, 0, &sized, &err), CVR_OK);
    r.data.aspect_groups = 2;
    r.data.on_error = 1;
    r.d.splits[CVR_SPLIT_TRAIN].self = &bad;
    cvr_error_init(&err);
    cr_expect_eq(aspect_groups_open(&r.d, &r.set, &err), CVR_OK, "%s", err.message);
    cr_expect(err.code == CVR_OK && r.d.sampler.n_groups == 6);
    sampler_close(&r.d);
}
