/*
 * Pictures decoded part by part: whatever the transforms, batches are those of whole pictures, bit for bit; and reduced
 * pictures are near them.
 */
#include <criterion/criterion.h>
#include <cvr/batches.h>
#include <cvr/config.h>
#include <cvr/plugins.h>
#include <cvr/writer.h>
#include <jpeglib.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define PICTURES 12
#define MOST 4

static char folder[64];

static void path_of(int i, char *path, size_t size) {
    (void)snprintf(path, size, "%s/c%d/%02d.jpg", folder, i % 2, i);
}

/* Waves of several lengths, so that averages over a few pixels say little about single ones. */
static void write_picture(const char *path, int i, int width, int height) {
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    FILE *const f = fopen(path, "wb");
    cr_assert(f);
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_stdio_dest(&c, f);
    c.image_width = (JDIMENSION)width;
    c.image_height = (JDIMENSION)height;
    c.input_components = 3;
    c.in_color_space = JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 92, TRUE);
    if (i % 4 == 3) jpeg_simple_progression(&c);
    jpeg_start_compress(&c, TRUE);
    unsigned char row[3 * 700];
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < 3 * width; x++)
            row[x] =
                (unsigned char)(127 + 60 * sin(0.02 * x + 0.1 * y + i) + 40 * sin(0.11 * x * (1 + x % 3) - 0.05 * y));
        JSAMPROW rows[1] = {row};
        (void)jpeg_write_scanlines(&c, rows, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    (void)fclose(f);
}

static void make_folder(void) {
    char path[128];
    cvr_error err;
    cvr_error_init(&err);
    (void)snprintf(folder, sizeof folder, "/tmp/cvr_parts_XXXXXX");
    cr_assert(mkdtemp(folder));
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/c%d", folder, i);
        cr_assert_eq(cvr_fs_mkdirs(path, &err), CVR_OK);
    }
    for (int i = 0; i < PICTURES; i++) {
        path_of(i, path, sizeof path);
        write_picture(path, i, 200 + 37 * i, 560 - 31 * i);
    }
}

static void remove_folder(void) {
    char path[128];
    for (int i = 0; i < PICTURES; i++) {
        path_of(i, path, sizeof path);
        (void)unlink(path);
    }
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/c%d", folder, i);
        (void)rmdir(path);
    }
    (void)rmdir(folder);
}

TestSuite(parts, .init = make_folder, .fini = remove_folder);

typedef struct chain {
    const char *steps[MOST][2];
} chain;

static const chain chains[] = {
    {{{"random_resized_crop", "64"}, {"random_horizontal_flip", ""}}},
    {{{"random_resized_crop", "40,90 scale=0.02,0.4"}, {"random_vertical_flip", ""}, {"random_horizontal_flip", ""}}},
    {{{"random_resized_crop", "50 interpolation=nearest"}, {"random_horizontal_flip", "1"}}},
    {{{"random_resized_crop", "50 antialias=no"}, {"color_jitter", "brightness=0.4 contrast=0.4 hue=0.1"}}},
    {{{"resize", "96"}, {"center_crop", "80"}}},
    {{{"resize", "96"}, {"random_crop", "64"}, {"random_horizontal_flip", ""}, {"center_crop", "60,50"}}},
    {{{"resize", "600"}, {"center_crop", "300"}, {"resize", "31,57"}}},
    {{{"center_crop", "300,800"}, {"random_horizontal_flip", ""}}},
    {{{"random_horizontal_flip", "1"}, {"random_crop", "100 padding=8 padding_mode=reflect"}, {"resize", "40"}}},
    {{{"random_rotation", "20"}, {"center_crop", "64"}}},
};
#define N_CHAINS (sizeof chains / sizeof chains[0])

typedef struct setup {
    cvr_plugins *plugins;
    cvr_batches_options o;
    cvr_transform transforms[MOST + 1];
    void *attrs[MOST + 2], *self;
    cvr_error err;
} setup;

static void *parse(setup *s, const cvr_attr_desc *const *attrs, uint32_t n, const char *text) {
    const cvr_schema schema = {attrs, n};
    void *packed;
    cr_assert_eq(cvr_attrs_parse(&schema, text, NULL, "test", &packed, &s->err), CVR_OK, "%s", s->err.message);
    return packed;
}

static void add_transform(setup *s, const char *name, const char *settings) {
    const void *desc;
    cvr_transform *const t = &s->transforms[s->o.n_transforms];
    cr_assert_eq(cvr_plugins_find(s->plugins, CVR_KIND_AUGMENT, name, &desc, &s->err), CVR_OK);
    t->desc = desc;
    t->attrs = parse(s, t->desc->attrs, t->desc->n_attrs, settings);
    s->attrs[MOST + 1 - s->o.n_transforms++] = (void *)(uintptr_t)t->attrs;
}

static void set_up(setup *s, const chain *c) {
    const cvr_image_service *images;
    const void *desc;
    *s = (setup){.o = {.batch = PICTURES, .seed = 3, .size_hint = ""}};
    cvr_error_init(&s->err);
    cr_assert_eq(cvr_plugins_open(&s->plugins, NULL, 0, &s->err), CVR_OK, "%s", s->err.message);
    cr_assert_eq(cvr_plugins_image_service(s->plugins, &images, &s->err), CVR_OK);
    cr_assert_eq(cvr_plugins_find(s->plugins, CVR_KIND_DATASET, "folder", &desc, &s->err), CVR_OK);
    s->o.dataset = desc;
    s->o.plugins = s->plugins;
    s->attrs[0] = parse(s, s->o.dataset->attrs, s->o.dataset->n_attrs, "");
    const cvr_dataset_args args = {.struct_size = sizeof args,
                                   .host = cvr_plugins_host(s->plugins),
                                   .attrs = s->attrs[0],
                                   .root = "",
                                   .train = folder,
                                   .val = folder,
                                   .channels = 3};
    cr_assert_eq(s->o.dataset->open(&args, &s->self, &s->err), CVR_OK, "%s", s->err.message);
    s->o.self = s->self;
    s->o.transforms = s->transforms;
    for (size_t i = 0; i < MOST && c->steps[i][0]; i++) add_transform(s, c->steps[i][0], c->steps[i][1]);
    add_transform(s, "normalize", "mean=0 std=1");
}

static void tear_down(setup *s) {
    s->o.dataset->close(s->self);
    for (int i = 0; i < MOST + 2; i++) cvr_free(s->attrs[i]);
    cvr_plugins_close(&s->plugins);
}

/* The pixels of one epoch; free with free(). */
static uint8_t *pixels_of(setup *s, bool whole, bool reduced, size_t *n) {
    cvr_batches *b;
    cvr_batch batch;
    s->o.whole = whole;
    s->o.reduced = reduced;
    cr_assert_eq(cvr_batches_create(&b, &s->o, &s->err), CVR_OK, "%s", s->err.message);
    cr_assert_eq(cvr_batches_begin(b, 1, 0, &s->err), CVR_OK);
    cr_assert_eq(cvr_batches_next(b, &batch, &s->err), CVR_OK, "%s", s->err.message);
    const cvr_tensor *const image = &batch.view.fields[0]->tensor;
    cr_assert_eq(image->dtype, CVR_U8);
    *n = (size_t)cvr_numel(image->rank, image->shape);
    uint8_t *const copy = malloc(*n);
    memcpy(copy, image->data, *n);
    cvr_batches_destroy(&b);
    return copy;
}

Test(parts, make_the_batches_of_whole_pictures) {
    for (size_t i = 0; i < N_CHAINS; i++) {
        setup s;
        size_t n, m;
        set_up(&s, &chains[i]);
        uint8_t *const want = pixels_of(&s, true, false, &n), *const got = pixels_of(&s, false, false, &m);
        cr_assert_eq(n, m);
        cr_expect_eq(memcmp(want, got, n * sizeof *want), 0, "chain %zu, that begins with %s", i,
                     chains[i].steps[0][0]);
        free(want);
        free(got);
        tear_down(&s);
    }
}

/* Four and eight times smaller: other pixels, but not other pictures. */
Test(parts, reduced_pictures_are_near) {
    static const chain small = {{{"random_resized_crop", "20 scale=0.4,1"}, {"random_horizontal_flip", ""}}};
    setup s;
    size_t n, m;
    double sum = 0, most = 0;
    set_up(&s, &small);
    uint8_t *const want = pixels_of(&s, true, false, &n), *const got = pixels_of(&s, false, true, &m);
    cr_assert_eq(n, m);
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)want[i] - (double)got[i]);
        sum += d;
        if (d > most) most = d;
    }
    cr_expect_gt(most, 0.5, "nothing was reduced");
    cr_expect_lt(sum / (double)n, 3, "%g levels on average, %g at most", sum / (double)n, most);
    free(want);
    free(got);
    tear_down(&s);
}

/* Cut where no transform looks: still bad. */
Test(parts, a_file_that_ends_early_is_bad) {
    static const chain corner = {{{"random_crop", "8"}}};
    setup s;
    char path[128];
    cvr_batches *b;
    uint8_t *bytes = NULL;
    uint64_t n = 0;
    set_up(&s, &corner);
    path_of(0, path, sizeof path);
    cr_assert_eq(cvr_fs_read(path, 1u << 24, &bytes, &n, &s.err), CVR_OK);
    cr_assert_eq(cvr_fs_write(path, bytes, n - 40, &s.err), CVR_OK);
    cr_expect_neq(cvr_batches_create(&b, &s.o, &s.err), CVR_OK);
    cr_expect(strstr(s.err.message, "ends too early"), "%s", s.err.message);
    cr_expect(strstr(s.err.file, "00.jpg"), "%s", s.err.file);
    cvr_free(bytes);
    tear_down(&s);
}
