/*
 * Views of a picture: windows, the mirrored picture, other sizes, and what is measured. The judge is the plain network
 * on pictures that the test itself cuts, mirrors and resizes, merged by the test's own few lines of the same rules.
 */
#include "../../apps/session/resample.h"
#include <criterion/criterion.h>
#include <cvr/session.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static cvr_error err;
static char folder[64];

static void good(int32_t status) {
    cr_assert_eq(status, CVR_OK, "%s", err.message);
}

/* A convolution whose window reaches past borders, so that it matters where a picture ends. */
static const char recipe[] = "[run]\nseed = 3\nname = v\ntask = segment\n"
                             "[data]\nformat = scenes\nfields = mask\ntrain_size = 4\nval_size = 5\nimg_size = 32\n"
                             "workers = 0\nitem_scale = 0.4,0.9\n"
                             "[net]\nc1 = conv2d 6 kernel_size=3 padding=1\nr1 = relu\n"
                             "out = conv2d num_classes kernel_size=3 padding=1\n"
                             "[train]\nepochs = 1\nbatch = 4\n";

/* Its sides have to be multiples of 8: pictures are padded. */
static const char unet[] =
    "[run]\nseed = 3\nname = u\ntask = segment\n[data]\nformat = scenes\nfields = mask\nworkers = 0\n"
    "[model]\nname = unet\nwidth = 4\ndepth = 3\n";
static const char *recipe_file = "v.ini";

static const char *in_folder(const char *name) {
    static char path[4][200];
    static int turn;
    char *to = path[turn++ % 4];
    (void)snprintf(to, sizeof path[0], "%s/%s", folder, name);
    return to;
}

/* Memory of a test, until its end. */
static void *kept[4096];
static size_t n_kept;
static void *keep(size_t n, size_t size) {
    cr_assert_lt(n_kept, 4096);
    return kept[n_kept++] = calloc(n + 1, size);
}

static cvr_session *plain_session; /* of plain(); NULL: not open yet */

static void setup(void) {
    cvr_error_init(&err);
    (void)snprintf(folder, sizeof folder, "/tmp/views_test_XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    setenv("CVR_PLUGIN_PATH", CVR_TEST_PLUGINS, 1);
    good(cvr_fs_write(in_folder("v.ini"), recipe, sizeof recipe - 1, &err));
    good(cvr_fs_write(in_folder("u.ini"), unet, sizeof unet - 1, &err));
}

static void teardown(void) {
    char command[100];
    cvr_session_close(&plain_session);
    while (n_kept) free(kept[--n_kept]);
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(views, .init = setup, .fini = teardown);

/* Overrides, up to a NULL. */
static int32_t try_open(cvr_session **s, uint32_t purpose, const char *const *overrides) {
    size_t n = 0;
    while (overrides[n]) n++;
    const cvr_session_options o = {
        .path = in_folder(recipe_file), .overrides = overrides, .n_overrides = n, .purpose = purpose};
    return cvr_session_open(s, &o, &err);
}
static cvr_session *open_session(uint32_t purpose, const char *const *overrides) {
    cvr_session *s;
    good(try_open(&s, purpose, overrides));
    return s;
}

/* ---- pictures ---- */

/* (H, W, C) in memory. */
typedef struct grid {
    int64_t height, width, channels;
    float *data;
} grid;

static grid grid_new(int64_t height, int64_t width, int64_t channels) {
    return (grid){height, width, channels, keep((size_t)(height * width * channels), sizeof(float))};
}
static float *at(const grid *g, int64_t y, int64_t x) {
    return g->data + (y * g->width + x) * g->channels;
}

static grid made_up(int64_t height, int64_t width) {
    grid g = grid_new(height, width, 3);
    for (int64_t i = 0; i < height * width * 3; i++) g.data[i] = (float)((i * i * 7 + i * 31) % 251);
    return g;
}

/* What lies outside is 0, as pictures without a mean are padded. */
static grid cut(const grid *g, int64_t top, int64_t left, int64_t height, int64_t width) {
    grid c = grid_new(height, width, g->channels);
    for (int64_t y = 0; y < height && top + y < g->height; y++)
        for (int64_t x = 0; x < width && left + x < g->width; x++)
            memcpy(at(&c, y, x), at(g, top + y, left + x), (size_t)g->channels * sizeof(float));
    return c;
}

static grid mirror(const grid *g) {
    grid m = grid_new(g->height, g->width, g->channels);
    for (int64_t y = 0; y < g->height; y++)
        for (int64_t x = 0; x < g->width; x++)
            memcpy(at(&m, y, g->width - 1 - x), at(g, y, x), (size_t)g->channels * sizeof(float));
    return m;
}

static double place(int64_t d, int64_t in, int64_t out) {
    const double s = ((double)d + 0.5) * (double)in / (double)out - 0.5;
    return s < 0 ? 0 : s;
}

static grid resized(const grid *g, int64_t height, int64_t width, bool levels) {
    grid r = grid_new(height, width, g->channels);
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            for (int64_t c = 0; c < g->channels; c++) {
                const double v = place(y, g->height, height), u = place(x, g->width, width);
                const int64_t y0 = (int64_t)v, x0 = (int64_t)u, y1 = y0 + (y0 + 1 < g->height),
                              x1 = x0 + (x0 + 1 < g->width);
                const double a = v - (double)y0, b = u - (double)x0;
                const double m = (1 - a) * ((1 - b) * (double)at(g, y0, x0)[c] + b * (double)at(g, y0, x1)[c]) +
                                 a * ((1 - b) * (double)at(g, y1, x0)[c] + b * (double)at(g, y1, x1)[c]);
                at(&r, y, x)[c] = (float)(levels ? floor(m + 0.5) : m);
            }
    return r;
}

static int32_t to_writer(void *ctx, const void *bytes, uint64_t n, cvr_error *e) {
    return cvr_writer_put(ctx, bytes, n, e);
}

static void write_picture(cvr_session *s, const char *path, const grid *g) {
    const cvr_image_service *images;
    cvr_writer w;
    const int64_t n = g->height * g->width * 3;
    cvr_image image = {sizeof image, g->width, g->height, 3, keep((size_t)n, 1), NULL};
    for (int64_t i = 0; i < n; i++) image.data[i] = (uint8_t)g->data[i];
    good(cvr_plugins_image_service(cvr_session_plugins(s), &images, &err));
    good(cvr_writer_open(&w, path, &err));
    good(images->encode(images, "png", &image, to_writer, &w, &err));
    good(cvr_writer_commit(&w, false, &err));
}

/* ---- what the network says ---- */

typedef struct said {
    grid raw;
    uint8_t *png;
    uint64_t n;
    int rows; /* of the table */
} said;

static void on_text(const cvr_prediction_sink *s, const char *text) {
    (void)s, (void)text;
}
static void on_row(const cvr_prediction_sink *s, const char *text) {
    (void)text;
    ((said *)s->ctx)->rows++;
}
static int32_t on_file(const cvr_prediction_sink *s, const char *suffix, const void *bytes, uint64_t n,
                       const char **name, cvr_error *e) {
    said *to = s->ctx;
    (void)e;
    if (name) *name = "x.png";
    if (strcmp(suffix, "_mask.png") != 0) return CVR_OK;
    to->png = keep(n, 1);
    memcpy(to->png, bytes, to->n = n);
    return CVR_OK;
}
static void on_begin(void *ctx, const char *path, int64_t width, int64_t height) {
    (void)ctx, (void)path, (void)width, (void)height;
}
static void on_raw(void *ctx, const char *name, const cvr_type *t, const void *elements) {
    said *to = ctx;
    cr_assert_str_eq(name, "output");
    to->raw = grid_new(t->shape[2], t->shape[3], t->shape[1]);
    for (int64_t c = 0, i = 0; c < t->shape[1]; c++)
        for (int64_t p = 0; p < t->shape[2] * t->shape[3]; p++, i++)
            to->raw.data[p * t->shape[1] + c] = ((const float *)elements)[i];
}

static said predict(cvr_session *s, const grid *g) {
    said to = {.n = 0};
    const cvr_prediction_sink sink = {
        .struct_size = sizeof sink, .ctx = &to, .json = on_text, .csv = on_row, .line = on_text, .file = on_file};
    const cvr_predict_options o = {.sink = &sink, .begin = on_begin, .raw = on_raw, .ctx = &to, .pictures = true};
    const char *path = in_folder("picture.png");
    write_picture(s, path, g);
    good(cvr_predict_file(s, path, &o, &err));
    return to;
}

/* The logits of the plain network, on pictures as they are. */
static grid plain(const grid *g) {
    const char *const as_they_are[] = {"val.resize_size=0", "val.crop_size=0", "model.num_classes=3", NULL};
    if (!plain_session) plain_session = open_session(CVR_FOR_PREDICTION, as_they_are);
    return predict(plain_session, g).raw;
}

static void softmax(float *x, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < n; k++) sum += exp((double)x[k]);
    for (int64_t k = 0; k < n; k++) x[k] = (float)(exp((double)x[k]) / sum);
}

static void add(grid *to, const grid *g) {
    for (int64_t i = 0; i < to->height * to->width * to->channels; i++) to->data[i] += g->data[i];
}

static void expect_same(const grid *got, const grid *want, const char *what) {
    double worst = 0;
    cr_assert(got->height == want->height && got->width == want->width && got->channels == want->channels, "%s", what);
    for (int64_t i = 0; i < want->height * want->width * want->channels; i++)
        worst = fmax(worst, fabs((double)got->data[i] - (double)want->data[i]) / (1 + fabs((double)want->data[i])));
    cr_expect_lt(worst, 2e-5, "%s: off by %g", what, worst);
}

/* Windows of 5 whose beginnings are listed, averaged; the picture of 9 x 11, or a smaller one. */
static grid averaged(const grid *picture, const int64_t *tops, int64_t rows, const int64_t *lefts, int64_t columns) {
    grid sum = grid_new(picture->height, picture->width, 3), times = grid_new(picture->height, picture->width, 1);
    for (int64_t i = 0; i < rows * columns; i++) {
        const int64_t top = tops[i / columns], left = lefts[i % columns];
        grid window = cut(picture, top, left, 5, 5), logits = plain(&window);
        for (int64_t y = 0; y < 5 && top + y < sum.height; y++)
            for (int64_t x = 0; x < 5 && left + x < sum.width; x++) {
                for (int64_t k = 0; k < 3; k++) at(&sum, top + y, left + x)[k] += at(&logits, y, x)[k];
                at(&times, top + y, left + x)[0]++;
            }
    }
    for (int64_t i = 0; i < sum.height * sum.width * 3; i++) sum.data[i] /= times.data[i / 3];
    return sum;
}

#define SESSION(...)                                                                                                   \
    open_session(CVR_FOR_PREDICTION,                                                                                   \
                 (const char *const[]){"val.resize_size=0", "model.num_classes=3", __VA_ARGS__, NULL})

/* (9 - 5 + 2) / 3 + 1 windows down, (11 - 5 + 2) / 3 + 1 across: the last of a column moves back inside. */
Test(views, windows) {
    static const int64_t tops[] = {0, 3, 4}, lefts[] = {0, 3, 6}, none[] = {0};
    cvr_session *s = SESSION("val.crop_size=5", "val.stride=3");
    grid picture = made_up(9, 11), want = averaged(&picture, tops, 3, lefts, 3);
    said got = predict(s, &picture);
    expect_same(&got.raw, &want, "windows");
    cr_expect_eq(got.rows, 3, "the table has a row for each class");
    grid small = made_up(3, 8), less = averaged(&small, none, 1, lefts, 2);
    said little = predict(s, &small);
    expect_same(&little.raw, &less, "a picture that is smaller than the window");
    cvr_session_close(&s);
}

Test(views, mirrored) {
    cvr_session *s = SESSION("val.crop_size=0", "val.flip=yes");
    grid picture = made_up(6, 7), turned = mirror(&picture), a = plain(&picture), b = plain(&turned), back = mirror(&b);
    for (int64_t i = 0; i < 6 * 7; i++) {
        softmax(a.data + 3 * i, 3);
        softmax(back.data + 3 * i, 3);
    }
    add(&a, &back);
    for (int64_t i = 0; i < 6 * 7 * 3; i++) a.data[i] = logf(a.data[i] / 2);
    said got = predict(s, &picture);
    expect_same(&got.raw, &a, "mirrored");
    cvr_session_close(&s);
}

Test(views, sizes) {
    cvr_session *s = SESSION("val.crop_size=0", "val.scales=0.5,1,1.5");
    static const double scales[] = {0.5, 1, 1.5};
    grid picture = made_up(7, 10), sum = grid_new(7, 10, 3);
    for (int i = 0; i < 3; i++) {
        grid other = resized(&picture, (int64_t)(7 * scales[i] + 0.5), (int64_t)(10 * scales[i] + 0.5), true);
        grid logits = plain(&other), full = resized(&logits, 7, 10, false);
        for (int64_t k = 0; k < 70; k++) softmax(full.data + 3 * k, 3);
        add(&sum, &full);
    }
    for (int64_t i = 0; i < 210; i++) sum.data[i] = logf(sum.data[i] / 3);
    said got = predict(s, &picture);
    expect_same(&got.raw, &sum, "sizes");
    cvr_session_close(&s);
}

/* Of a mask in VOC's colours. */
static int class_of(const uint8_t *p) {
    static const uint8_t colours[11][3] = {{0, 0, 0},   {128, 0, 0},   {0, 128, 0},   {128, 128, 0},
                                           {0, 0, 128}, {128, 0, 128}, {0, 128, 128}, {128, 128, 128},
                                           {64, 0, 0},  {192, 0, 0},   {64, 128, 0}};
    for (int k = 0; k < 11; k++)
        if (memcmp(p, colours[k], 3) == 0) return k;
    return -1;
}

static void *plain_alloc(void *ctx, uint64_t bytes) {
    (void)ctx;
    return keep(bytes, 1);
}

static cvr_image mask_of(cvr_session *s, const said *r) {
    const cvr_image_service *images;
    cvr_image mask = {.struct_size = sizeof mask};
    good(cvr_plugins_image_service(cvr_session_plugins(s), &images, &err));
    good(images->decode(images, r->png, r->n, 3, plain_alloc, NULL, &mask, &err));
    return mask;
}

static int largest(const float *x, int64_t n) {
    int k = 0;
    for (int i = 1; i < n; i++) k = x[i] > x[k] ? i : k;
    return k;
}

/* The network sees a smaller picture; its logits are brought to the original's size before the largest is taken. */
Test(views, original_size) {
    cvr_session *s =
        open_session(CVR_FOR_PREDICTION, (const char *const[]){"val.resize_size=6", "model.num_classes=3", NULL});
    cvr_session *small =
        open_session(CVR_FOR_PREDICTION,
                     (const char *const[]){"val.resize_size=6", "val.protocol=resized", "model.num_classes=3", NULL});
    grid picture = made_up(12, 19);
    said got = predict(s, &picture), seen = predict(small, &picture);
    cr_assert(seen.raw.height == 6 && seen.raw.width == 9);
    expect_same(&got.raw, &seen.raw, "what the network said");
    grid full = resized(&seen.raw, 12, 19, false);
    const cvr_image mask = mask_of(s, &got);
    cr_assert(mask.height == 12 && mask.width == 19);
    int other = 0;
    for (int64_t i = 0; i < 12 * 19; i++) other += class_of(mask.data + 3 * i) != largest(full.data + 3 * i, 3);
    cr_expect_eq(other, 0, "%d pixels differ", other);
    cvr_session_close(&s);
    cvr_session_close(&small);
}

/* ---- evaluation ---- */

static double metric(const cvr_metrics *m, const char *name) {
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->names[i], name) == 0) return m->values[i];
    return NAN;
}

/* The data as it is, written as pictures and predicted one by one, against the masks. */
static double predicted_accuracy(const char *const *overrides) {
    cvr_session *s = open_session(CVR_FOR_PREDICTION, overrides);
    cvr_session *data = open_session(
        CVR_FOR_EVALUATION, (const char *const[]){"val.resize_size=0", "val.crop_size=0", "train.batch=1", NULL});
    cvr_batches_options o;
    cvr_batches *all;
    cvr_batch b;
    int64_t right = 0, n = 0;
    cr_assert(cvr_session_batch_options(data, CVR_SPLIT_VAL, &o));
    good(cvr_batches_create(&all, &o, &err));
    good(cvr_batches_begin(all, 0, 0, &err));
    for (good(cvr_batches_next(all, &b, &err)); b.view.n; good(cvr_batches_next(all, &b, &err))) {
        const cvr_tensor *x = &b.view.fields[0]->tensor, *mask = &cvr_batch_find(&b.view, "mask")->tensor;
        grid picture = grid_new(x->shape[2], x->shape[3], 3);
        for (int64_t i = 0; i < x->shape[2] * x->shape[3] * 3; i++)
            picture.data[i] =
                x->dtype == CVR_U8 ? ((const uint8_t *)x->data)[i] : 255 * ((const float *)x->data)[i] + 0.5f;
        said r = predict(s, &picture);
        const cvr_image got = mask_of(s, &r);
        for (int64_t i = 0; i < x->shape[2] * x->shape[3]; i++, n++) {
            const int64_t truth = ((const int64_t *)mask->data)[i];
            right += class_of(got.data + 3 * i) == (int)truth;
        }
    }
    cvr_batches_destroy(&all);
    cvr_session_close(&data);
    cvr_session_close(&s);
    return (double)right / (double)n;
}

static void expect_accuracy(const char *const *overrides, const char *protocol) {
    const char *predicts[8] = {"model.num_classes=11"};
    cvr_session *s = open_session(CVR_FOR_EVALUATION, overrides);
    cvr_session_info info;
    cvr_metrics m, again;
    for (size_t i = 0; overrides[i]; i++) predicts[i + 1] = overrides[i];
    good(cvr_evaluate(s, &(cvr_evaluate_options){0}, &m, &err));
    good(cvr_evaluate(s, &(cvr_evaluate_options){0}, &again, &err));
    cvr_session_describe(s, &info);
    cr_expect_str_eq(info.protocol, protocol);
    cr_expect_eq(m.samples, 5);
    cr_expect(isnan(metric(&m, "loss")), "views have no loss");
    cr_expect_eq(metric(&m, "miou"), metric(&again, "miou"), "the second time is another");
    cr_expect_float_eq(metric(&m, "pixel_accuracy"), predicted_accuracy(predicts), 1e-9, "%s", protocol);
    cvr_metrics_clear(&m);
    cvr_metrics_clear(&again);
    cvr_session_close(&s);
}

Test(views, measured_on_the_original) {
    expect_accuracy((const char *const[]){"val.protocol=original", "val.resize_size=21", NULL},
                    "original size, shorter side 21");
    expect_accuracy((const char *const[]){"val.protocol=original", "val.resize_size=40", "val.crop_size=16",
                                          "val.stride=11", "val.flip=yes", NULL},
                    "original size, shorter side 40, windows of 16 every 11 pixels, mirrored too");
}

/* Programs are planned once for each size, whatever comes in between. */
Test(views, planned_once) {
    cvr_session *s = SESSION("val.crop_size=0", "val.flip=yes", "backend.name=counted");
    unsigned long long opens, blocks, first = 0, then = 0;
    char text[160];
    for (int turn = 0; turn < 2; turn++) {
        for (int64_t i = 20; i > 0; i--) {
            grid picture = made_up(4 + i, 4 + i % 7);
            (void)predict(s, &picture);
        }
        cvr_device_describe(cvr_session_device(s), text, sizeof text);
        cr_assert_eq(sscanf(text, "%llu %llu %llu", &opens, &blocks, turn ? &then : &first), 3);
    }
    cr_expect_eq(then, first, "a size that was there was made again");
    cvr_session_close(&s);
}

/* A window whose side the network does not take lies on a larger canvas, and is no larger for it. */
Test(views, windows_on_a_canvas) {
    recipe_file = "u.ini";
    cvr_session *s = open_session(CVR_FOR_PREDICTION, (const char *const[]){"val.resize_size=0", "model.num_classes=3",
                                                                            "val.crop_size=12", "val.stride=12", NULL});
    grid picture = made_up(12, 24), left = cut(&picture, 0, 0, 12, 12), right = cut(&picture, 0, 12, 12, 12);
    said both = predict(s, &picture), a = predict(s, &left), b = predict(s, &right);
    for (int64_t y = 0; y < 12; y++)
        for (int64_t x = 0; x < 24; x++)
            for (int64_t k = 0; k < 3; k++)
                cr_assert_eq(at(&both.raw, y, x)[k], at(x < 12 ? &a.raw : &b.raw, y, x % 12)[k]);
    cvr_session_close(&s);
}

/* ---- refusals ---- */

static void refused(const char *const *overrides, const char *words) {
    cvr_session *s;
    cr_expect_eq(try_open(&s, CVR_FOR_EVALUATION, overrides), CVR_ERR_USAGE);
    cr_expect(strstr(err.message, words), "%s", err.message);
}

Test(views, refuses) {
    refused((const char *const[]){"val.crop_size=0", "val.stride=8", NULL}, "set val.crop_size");
    refused((const char *const[]){"val.crop_size=8", "val.stride=9", NULL}, "val.stride: it is more");
    refused((const char *const[]){"val.protocol=crop", "val.crop_size=8", "val.stride=8", NULL},
            "val.protocol: windows");
    refused((const char *const[]){"val.protocol=crop", "val.crop_size=0", NULL}, "there is no crop");
    refused((const char *const[]){"val.scales=0", NULL}, "scales");
    refused((const char *const[]){"run.task=classify", "val.flip=yes", NULL}, "val.flip: task classify");
}

/* torch's values (interpolate, mode=linear, align_corners=False), and its rule at borders. */
Test(views, resampling) {
    static const float values[] = {1, 4, 9}, want[] = {1, 2.2f, 4, 7, 9};
    const plane p = {values, 1, 3, 1};
    float row[5];
    resample_row(&p, 1, 5, 0, row);
    for (int i = 0; i < 5; i++) cr_expect_float_eq((double)row[i], (double)want[i], 1e-6);
    resample_row(&p, 1, 2, 0, row);
    cr_expect_float_eq((double)row[0], 1.75, 1e-6);
    cr_expect_float_eq((double)row[1], 7.75, 1e-6);
}
