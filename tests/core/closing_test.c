/*
 * Transforms that the last epochs do without, partners that come fresh or not at all, and batches whose pictures have
 * other sizes (train.multi_scale): the same for any number of threads and from any batch on.
 */
#include <criterion/criterion.h>
#include <cvr/batches.h>
#include <cvr/config.h>

#define SAMPLES 12
#define SIDE 4

/* ---- sample i is a grey square of the level 8 i + 8 ---- */

static int64_t count(const void *self) {
    (void)self;
    return SAMPLES;
}

static int32_t read_sample(const void *self, int64_t i, cvr_sample *s, cvr_error *err) {
    const cvr_field like = {
        .name = "image", .kind = CVR_FIELD_IMAGE, .dtype = CVR_U8, .rank = 3, .shape = {SIDE, SIDE, 1, 1}};
    cvr_field *f;
    (void)self;
    CVR_TRY(s->add(s, &like, &f, err));
    memset(f->data, (int)(8 * i + 8), SIDE * SIDE);
    return CVR_OK;
}

static void describe(const void *self, int64_t i, char *buf, uint64_t size) {
    (void)self;
    (void)snprintf(buf, size, "sample-%lld", (long long)i);
}

static const char *kind(const void *self, uint32_t i) {
    (void)self;
    return i == 0 ? CVR_FIELD_IMAGE : NULL;
}

static const cvr_dataset_desc dataset = {.struct_size = sizeof dataset,
                                         .name = "test",
                                         .count = count,
                                         .read = read_sample,
                                         .describe = describe,
                                         .kind = kind};

/* ---- transforms ---- */

static uint8_t *pixels_of(const cvr_sample *s) {
    return cvr_sample_find(s, CVR_FIELD_IMAGE)->data;
}

/* Every level is one more. */
static int32_t more_apply(const void *attrs, const double *params, cvr_sample *s, cvr_error *err) {
    (void)attrs, (void)params, (void)err;
    for (int i = 0; i < SIDE * SIDE; i++) pixels_of(s)[i]++;
    return CVR_OK;
}
static const cvr_augment_desc more = {.struct_size = sizeof more, .name = "more", .apply = more_apply};

/* A corner of 2 x 2. */
static int32_t corner_apply(const void *attrs, const double *params, cvr_sample *s, cvr_error *err) {
    cvr_field *f = cvr_sample_find(s, CVR_FIELD_IMAGE);
    (void)attrs, (void)params, (void)err;
    f->shape[0] = f->shape[1] = 2;
    return CVR_OK;
}
static const cvr_augment_desc corner = {
    .struct_size = sizeof corner, .name = "corner", .apply = corner_apply, .moves = 1, .closes = 1};

/* By a coin, the first pixel becomes 100 and the partner's, the second the number of samples. */
static int32_t coin(const void *attrs, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    (void)attrs, (void)s, (void)err;
    params[0] = cvr_rng_uniform(rng) < 0.5;
    return CVR_OK;
}
static int32_t is_alone(const void *attrs, const double *params) {
    (void)attrs;
    return params[0] == 0;
}
static int32_t pair_apply(const void *attrs, const double *params, cvr_sample *const *samples, uint32_t n,
                          cvr_error *err) {
    uint8_t *x = pixels_of(samples[0]);
    (void)attrs, (void)err;
    cr_assert_eq(n, params[0] == 0 ? 1 : 2);
    if (n == 2) x[0] = (uint8_t)(100 + *pixels_of(samples[1]));
    x[1] = (uint8_t)n;
    return CVR_OK;
}
#define PAIR(name_, ...)                                                                                               \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_augment_desc), .name = name_, .n_params = 1, .n_samples = 2, .make_params = coin,    \
        .apply_many = pair_apply, .alone = is_alone, __VA_ARGS__                                                       \
    }
static const cvr_augment_desc pair = PAIR("pair", .closes = 1), fresh_pair = PAIR("fresh_pair", .fresh = 1);

/* ---- batches ---- */

static cvr_plugins *plugins;
static cvr_transform normalize, resize[3];

static const cvr_augment_desc *find(const char *name) {
    const void *desc;
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(cvr_plugins_find(plugins, CVR_KIND_AUGMENT, name, &desc, &err), CVR_OK, "%s", err.message);
    return desc;
}

static cvr_transform made(const char *name, const char *settings) {
    cvr_transform t = {.desc = find(name)};
    const cvr_schema schema = {t.desc->attrs, t.desc->n_attrs};
    void *attrs;
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(cvr_attrs_parse(&schema, settings, NULL, "test", &attrs, &err), CVR_OK, "%s", err.message);
    t.attrs = attrs;
    return t;
}

static void set_up(void) {
    static const char *const sizes[] = {"4,4", "6,6", "9,9"};
    cvr_error err = CVR_ERROR_INIT;
    cr_assert_eq(cvr_plugins_open(&plugins, NULL, 0, &err), CVR_OK, "%s", err.message);
    normalize = made("normalize", "mean=0 std=1");
    for (int i = 0; i < 3; i++) resize[i] = made("resize", sizes[i]);
}

static void tear_down(void) {
    for (int i = 0; i < 3; i++) cvr_free((void *)(uintptr_t)resize[i].attrs);
    cvr_free((void *)(uintptr_t)normalize.attrs);
    cvr_plugins_close(&plugins);
}

TestSuite(closing, .init = set_up, .fini = tear_down);

static cvr_batches_options options(const cvr_transform *t, size_t n) {
    return (cvr_batches_options){.plugins = plugins,
                                 .dataset = &dataset,
                                 .transforms = t,
                                 .n_transforms = n,
                                 .n_classes = 2,
                                 .batch = 4,
                                 .run_ahead = true,
                                 .shuffle = true,
                                 .seed = 5,
                                 .size_hint = "make them alike"};
}

/* The first two pixels of every picture of epochs 0 and 1, from batch `first` on, and the sides of the batches. */
typedef struct seen {
    uint8_t first[2 * SAMPLES], second[2 * SAMPLES];
    int64_t index[2 * SAMPLES], side[6], n, batches;
} seen;

static seen see(const cvr_batches_options *o, int64_t first, uint32_t workers) {
    cvr_batches_options mine = *o;
    cvr_batches *b;
    cvr_batch batch;
    cvr_error err = CVR_ERROR_INIT;
    seen s = {.n = 0};
    mine.workers = workers;
    cr_assert_eq(cvr_batches_create(&b, &mine, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_batches_begin(b, first / 3, first % 3, &err), CVR_OK);
    for (int64_t k = first; k < 6; k++) {
        cr_assert_eq(cvr_batches_next(b, &batch, &err), CVR_OK, "%s", err.message);
        const cvr_tensor *t = &cvr_batch_find(&batch.view, "image")->tensor;
        cr_assert_eq(t->dtype, CVR_U8);
        const uint64_t picture = (uint64_t)(batch.canvas.height * batch.canvas.width);
        s.side[s.batches++] = batch.canvas.height;
        for (int64_t i = 0; i < batch.view.n; i++, s.n++) {
            const uint8_t *x = (const uint8_t *)t->data + (uint64_t)i * picture;
            s.first[s.n] = x[0];
            s.second[s.n] = x[1];
            s.index[s.n] = batch.view.origins[i]->index;
        }
    }
    cvr_batches_destroy(&b);
    return s;
}

/* What comes after batch `first` of two epochs is the same, with any threads. */
static void same_from(const cvr_batches_options *o, const seen *all, int64_t first) {
    for (uint32_t workers = 0; workers < 4; workers++) {
        const seen s = see(o, first, workers);
        cr_assert_eq(s.n, all->n - 4 * first);
        cr_expect_arr_eq(s.first, all->first + 4 * first, (size_t)s.n, "%u workers from batch %d", workers, (int)first);
        cr_expect_arr_eq(s.second, all->second + 4 * first, (size_t)s.n);
        cr_expect_arr_eq(s.side, all->side + first, (size_t)s.batches * sizeof *s.side);
    }
}

Test(closing, the_last_epochs_do_without) {
    const cvr_transform t[] = {{.desc = &more}, {.desc = &pair}, normalize};
    cvr_batches_options o = options(t, 3);
    int pairs = 0;
    o.closes = true;
    o.closes_at = 1;
    const seen s = see(&o, 0, 0);
    cr_assert_eq(s.n, 2 * SAMPLES);
    for (int i = 0; i < 2 * SAMPLES; i++) {
        const uint8_t own = (uint8_t)(8 * s.index[i] + 9);
        if (i >= SAMPLES) cr_expect(s.first[i] == own && s.second[i] == own, "epoch 1 has a pair");
        if (i < SAMPLES && s.second[i] == 1) cr_expect_eq(s.first[i], own);
        if (i < SAMPLES && s.second[i] == 2) cr_expect_eq(s.first[i] % 8, 109 % 8, "the partner skipped a transform");
        if (i < SAMPLES) cr_expect(s.second[i] == 1 || s.second[i] == 2);
        pairs += i < SAMPLES && s.second[i] == 2;
    }
    cr_expect(pairs > 1 && pairs < SAMPLES - 1, "%d pairs", pairs);
    same_from(&o, &s, 0);
    same_from(&o, &s, 2);
    o.closes = false;
    const seen open = see(&o, 0, 2);
    for (int i = 0; i < SAMPLES; i++) cr_expect_eq(open.first[i], s.first[i]);
    for (int i = SAMPLES; i < 2 * SAMPLES; i++) cr_expect(open.second[i] == 1 || open.second[i] == 2);
}

Test(closing, a_fresh_partner_is_as_the_data_has_it) {
    const cvr_transform t[] = {{.desc = &more}, {.desc = &fresh_pair}, normalize};
    const cvr_batches_options o = options(t, 3);
    const seen s = see(&o, 0, 2);
    int pairs = 0;
    for (int i = 0; i < 2 * SAMPLES; i++) {
        if (s.second[i] != 2) continue;
        cr_expect_eq(s.first[i] % 8, 108 % 8);
        pairs++;
    }
    cr_expect_gt(pairs, 4);
}

/* ---- several sizes ---- */

Test(closing, sizes_of_the_last_epochs_are_learned) {
    const cvr_transform t[] = {{.desc = &corner}, normalize};
    cvr_batches_options o = options(t, 2);
    o.pads = true;
    o.shapes = 2;
    o.closes = true;
    o.closes_at = 1;
    const seen s = see(&o, 0, 1);
    for (int k = 0; k < 6; k++) cr_expect_eq(s.side[k], k < 3 ? 2 : SIDE);
}

Test(closing, batches_in_a_row_have_a_size_of_their_own) {
    const cvr_transform lists[3][2] = {{resize[0], normalize}, {resize[1], normalize}, {resize[2], normalize}};
    const cvr_transform *const variants[] = {lists[1], lists[2]};
    cvr_batches_options o = options(lists[0], 2);
    const cvr_canvas *canvases;
    cvr_batches *b;
    cvr_error err = CVR_ERROR_INIT;
    int sizes[10] = {0};
    o.variants = variants;
    o.n_variants = 2;
    o.variant_every = 2;
    cr_assert_eq(cvr_batches_create(&b, &o, &err), CVR_OK, "%s", err.message);
    cr_assert_eq(cvr_batches_canvases(b, &canvases), 3);
    cr_expect(canvases[0].height == 9 && canvases[1].height == 6 && canvases[2].height == 4);
    cvr_batches_destroy(&b);
    for (o.seed = 0; o.seed < 8; o.seed++) {
        const seen s = see(&o, 0, 0);
        for (int k = 0; k < 6; k += 2) {
            cr_expect(s.side[k] == s.side[k + 1] && (s.side[k] == 6 || s.side[k] == 9), "side %d", (int)s.side[k]);
            sizes[s.side[k]]++;
        }
    }
    cr_expect(sizes[6] > 5 && sizes[9] > 5, "%d and %d", sizes[6], sizes[9]);
    const seen s = see(&o, 0, 1);
    same_from(&o, &s, 0);
    same_from(&o, &s, 1);
    same_from(&o, &s, 5);
    o.closes = true;
    o.closes_at = 1;
    const seen closed = see(&o, 0, 2);
    for (int k = 0; k < 6; k++) cr_expect_eq(closed.side[k], k < 3 ? s.side[k] : 4);
}
