/*
 * The data sets masks, voc, cityscapes, ade20k and camvid: which mask goes with which picture, what its values stand
 * for, and what is said of masks that are not right. Every file is made here, but for a JPEG with an EXIF orientation.
 */
#include "../support/scratch.h"
#include "../support/test_host.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

static test_host host;

static void load(void) {
    test_host_init(&host);
    test_host_load(&host, "dataset_masks");
    test_host_load(&host, "dataset_voc");
    test_host_load(&host, "codec_png");
    test_host_load(&host, "codec_jpeg");
    test_host_load(&host, "weights_safetensors");
    host.offer_images = 1;
    scratch_open("masks");
}

static void unload(void) {
    scratch_close();
    cr_expect_eq(host.live, 0, "memory was left behind");
}

TestSuite(masks, .init = load, .fini = unload);

/* ---- files ---- */

/* A PNG of one row; with `palette` its pixels are indices. */
static void put_png(const char *name, const uint8_t *pixels, int64_t width, int64_t channels, const uint8_t *palette) {
    const cvr_codec_desc *const png = test_host_find(&host, CVR_KIND_CODEC, "png");
    uint8_t copy[64];
    cr_assert_leq((size_t)(width * channels), sizeof copy);
    memcpy(copy, pixels, (size_t)(width * channels));
    const cvr_image image = {sizeof image, width, 1, channels, copy, palette};
    test_bytes out = {NULL, 0};
    cr_assert_eq(png->encode(&host.host, &image, test_bytes_sink, &out, NULL), CVR_OK);
    scratch_put(name, out.bytes, out.n);
    test_bytes_free(&out);
}

#define WIDTH 4

/* A picture of 4 x 1 pixels whose first level is `grey`. */
static void put_picture(const char *name, uint8_t grey) {
    const uint8_t pixels[WIDTH] = {grey, 2, 3, 4};
    put_png(name, pixels, WIDTH, 1, NULL);
}

/* A mask of 4 x 1 numbers. */
static void put_mask(const char *name, int a, int b, int c, int d) {
    const uint8_t pixels[WIDTH] = {(uint8_t)a, (uint8_t)b, (uint8_t)c, (uint8_t)d};
    put_png(name, pixels, WIDTH, 1, NULL);
}

/* ---- data ---- */

typedef struct masks_attrs {
    double val_split;
    const char *images, *masks, *image_suffix, *mask_suffix, *class_names;
    int64_t classes, n_values, values[255], n_ignored, ignored[16];
    const char *colours, *ignored_classes;
} masks_attrs;

static masks_attrs defaults(void) {
    return (masks_attrs){.images = "images",
                         .masks = "masks",
                         .image_suffix = "",
                         .mask_suffix = "",
                         .class_names = "",
                         .n_ignored = 1,
                         .ignored = {255},
                         .colours = "",
                         .ignored_classes = ""};
}

typedef struct opened {
    const cvr_dataset_desc *d;
    void *self;
    int32_t status;
    cvr_error err;
} opened;

static opened open_paths(const char *name, uint32_t split, const void *attrs, const char *train, const char *val) {
    opened o = {test_host_find(&host, CVR_KIND_DATASET, name), NULL, 0, CVR_ERROR_INIT};
    const cvr_dataset_args args = {.struct_size = sizeof args,
                                   .host = &host.host,
                                   .attrs = attrs,
                                   .root = scratch_root,
                                   .train = train,
                                   .val = val,
                                   .split = split,
                                   .seed = 4};
    o.status = o.d->open(&args, &o.self, &o.err);
    cr_assert(o.status == CVR_OK || (!o.self && o.err.message[0] && host.live == 0), "%s", o.err.message);
    return o;
}

static opened must_open(const char *name, uint32_t split, const void *attrs) {
    const opened o = open_paths(name, split, attrs, "", "");
    cr_assert_eq(o.status, CVR_OK, "%s: %s", o.err.file, o.err.message);
    return o;
}

static void refuses(opened o, const char *file, const char *says) {
    cr_expect_neq(o.status, CVR_OK, "it should have said '%s'", says);
    cr_expect(strstr(o.err.file, file), "file '%s', not '%s'", o.err.file, file);
    cr_expect(strstr(o.err.message, says), "'%s' does not say '%s'", o.err.message, says);
    if (o.self) o.d->close(o.self);
}

static void expect_masks(opened o, int64_t index, int a, int b, int c, int d) {
    const int want[WIDTH] = {a, b, c, d};
    cvr_error err = CVR_ERROR_INIT;
    test_sample s;
    test_sample_init(&s);
    cr_assert_eq(o.d->read(o.self, index, &s.sample, &err), CVR_OK, "%s: %s", err.file, err.message);
    const cvr_field *const mask = cvr_sample_find(&s.sample, CVR_FIELD_MASK), *const image = cvr_sample_find(
                                                                                  &s.sample, CVR_FIELD_IMAGE);
    cr_assert(mask && image && mask->dtype == CVR_U8 && mask->rank == 2);
    cr_assert(mask->shape[0] == 1 && mask->shape[1] == WIDTH && image->shape[1] == WIDTH && image->shape[2] == 3);
    for (int i = 0; i < WIDTH; i++)
        cr_expect_eq(((const uint8_t *)mask->data)[i], want[i], "pixel %d is %d", i, ((const uint8_t *)mask->data)[i]);
    cr_expect(s.origin.height == 1 && s.origin.width == WIDTH && s.origin.path);
    test_sample_free(&s);
}

/* Reading this sample fails, with a message about this file. */
static void expect_bad(opened o, int64_t index, const char *file, const char *says) {
    cvr_error err = CVR_ERROR_INIT;
    test_sample s;
    test_sample_init(&s);
    cr_expect_neq(o.d->read(o.self, index, &s.sample, &err), CVR_OK, "it should have said '%s'", says);
    cr_expect(strstr(err.file, file), "file '%s', not '%s'", err.file, file);
    cr_expect(strstr(err.message, says), "'%s' does not say '%s'", err.message, says);
    test_sample_free(&s);
}

static void expect_name(opened o, int64_t i, const char *name) {
    cr_expect_str_eq(o.d->class_name(o.self, i), name);
}

/* ---- masks: where pictures and masks are ---- */

Test(masks, train_and_val_hold_images_and_masks) {
    const masks_attrs a = defaults();
    scratch_put_text("classes.txt", "ground\nthing\nother thing\n");
    put_picture("train/images/b.png", 1);
    put_picture("train/images/sub/a.png", 2);
    put_mask("train/masks/b.png", 0, 1, 2, 255);
    put_mask("train/masks/sub/a.png", 2, 2, 2, 2);
    put_picture("val/images/x.png", 3);
    put_mask("val/masks/x.png", 1, 1, 0, 0);
    opened o = must_open("masks", CVR_SPLIT_TRAIN, &a);
    cr_assert(o.d->count(o.self) == 2 && o.d->n_classes(o.self) == 3);
    expect_name(o, 2, "other thing");
    expect_masks(o, 0, 0, 1, 2, 255);
    expect_masks(o, 1, 2, 2, 2, 2);
    cr_expect(o.d->label(o.self, 0) == -1 && strcmp(o.d->kind(o.self, 1), CVR_FIELD_MASK) == 0 &&
              !o.d->kind(o.self, 2));
    o.d->close(o.self);
    o = must_open("masks", CVR_SPLIT_VAL, &a);
    cr_assert_eq(o.d->count(o.self), 1);
    expect_masks(o, 0, 1, 1, 0, 0);
    o.d->close(o.self);
}

Test(masks, images_and_masks_hold_train_and_val) {
    masks_attrs a = defaults();
    a.classes = 2;
    a.images = "img_dir";
    a.masks = "ann_dir";
    put_picture("img_dir/train/a.png", 1);
    put_mask("ann_dir/train/a.png", 0, 1, 1, 0);
    put_picture("img_dir/val/b.png", 1);
    put_mask("ann_dir/val/b.png", 1, 1, 1, 0);
    opened o = must_open("masks", CVR_SPLIT_TRAIN, &a);
    expect_masks(o, 0, 0, 1, 1, 0);
    expect_name(o, 1, "1");
    o.d->close(o.self);
    o = must_open("masks", CVR_SPLIT_VAL, &a);
    expect_masks(o, 0, 1, 1, 1, 0);
    o.d->close(o.self);
}

/* Every picture of one tree is in one split, the same whoever asks. */
Test(masks, one_tree_is_shared_out) {
    masks_attrs a = defaults();
    char name[64], seen[2][20] = {{0}};
    a.classes = 20;
    a.val_split = 0.3;
    for (int i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof name, "images/%02d.png", i);
        put_picture(name, 1);
        (void)snprintf(name, sizeof name, "masks/%02d.png", i);
        put_mask(name, i, i, i, i);
    }
    for (uint32_t split = 0; split < 2; split++) {
        opened o = must_open("masks", split, &a);
        cr_expect_eq(o.d->count(o.self), split == CVR_SPLIT_VAL ? 6 : 14);
        for (int64_t i = 0; i < o.d->count(o.self); i++) {
            char path[512];
            o.d->describe(o.self, i, path, sizeof path);
            const int number = atoi(strrchr(path, '/') + 1);
            seen[split][number] = 1;
            expect_masks(o, i, number, number, number, number);
        }
        o.d->close(o.self);
    }
    for (int i = 0; i < 20; i++) cr_expect_eq(seen[0][i] + seen[1][i], 1, "picture %d", i);
    put_picture("val/images/00.png", 1);
    refuses(open_paths("masks", CVR_SPLIT_TRAIN, &a, "", ""), "", "drop one of the two");
}

Test(masks, names_with_suffixes_in_one_folder) {
    masks_attrs a = defaults();
    a.classes = 3;
    a.images = a.masks = ".";
    a.image_suffix = "_sat";
    a.mask_suffix = "_mask";
    put_picture("train/1_sat.png", 1);
    put_mask("train/1_mask.png", 0, 1, 2, 0);
    put_picture("train/other.png", 1);
    const opened o = open_paths("masks", CVR_SPLIT_TRAIN, &a, scratch_path("train"), "");
    cr_assert_eq(o.status, CVR_OK, "%s", o.err.message);
    cr_expect_eq(o.d->count(o.self), 1);
    expect_masks(o, 0, 0, 1, 2, 0);
    o.d->close(o.self);
}

/* Pictures that have no suffix are told from the masks beside them. */
Test(masks, a_suffix_of_the_masks_alone_in_one_folder) {
    masks_attrs a = defaults();
    a.classes = 3;
    a.images = a.masks = ".";
    a.mask_suffix = "_mask";
    put_picture("train/1.png", 1);
    put_mask("train/1_mask.png", 0, 1, 2, 0);
    const opened o = open_paths("masks", CVR_SPLIT_TRAIN, &a, scratch_path("train"), "");
    cr_assert_eq(o.status, CVR_OK, "%s", o.err.message);
    cr_expect_eq(o.d->count(o.self), 1);
    expect_masks(o, 0, 0, 1, 2, 0);
    o.d->close(o.self);
}

Test(masks, names_that_do_not_match_are_told) {
    masks_attrs a = defaults();
    a.classes = 2;
    refuses(open_paths("masks", CVR_SPLIT_TRAIN, &a, "", ""), "train/images", "no such folder");
    put_picture("train/images/a.png", 1);
    refuses(open_paths("masks", CVR_SPLIT_TRAIN, &a, "", ""), "train/masks", "no such folder");
    put_mask("train/masks/a_mask.png", 0, 0, 0, 0);
    refuses(open_paths("masks", CVR_SPLIT_TRAIN, &a, "", ""), "train/masks", "set data.mask_suffix = _mask");
    a.mask_suffix = "_m";
    refuses(open_paths("masks", CVR_SPLIT_TRAIN, &a, "", ""), "train/masks", "the mask of a is to be called a_m");
    a.mask_suffix = "_mask";
    put_picture("train/images/b.png", 1);
    put_mask("train/masks/c_mask.png", 0, 0, 0, 0);
    const opened o = must_open("masks", CVR_SPLIT_TRAIN, &a);
    cr_expect(strstr(host.last_log, "1 of 2 masks go with no picture"), "%s", host.last_log);
    expect_masks(o, 0, 0, 0, 0, 0);
    expect_bad(o, 1, "images/b.png", "a picture without a mask; put the mask at ");
    expect_bad(o, 1, "images/b.png", "train/masks/b_mask.png");
    o.d->close(o.self);
    put_picture("train/masks/a_mask.jpg", 0);
    refuses(open_paths("masks", CVR_SPLIT_TRAIN, &a, "", ""), "a_mask",
            "another file has this name but for its ending");
}

Test(masks, classes_must_be_known) {
    masks_attrs a = defaults();
    put_picture("train/images/a.png", 1);
    put_mask("train/masks/a.png", 0, 1, 0, 1);
    refuses(open_paths("masks", CVR_SPLIT_TRAIN, &a, "", ""), "", "set data.names or data.classes");
    scratch_put_text("classes.txt", "a\nb\na\n");
    refuses(open_paths("masks", CVR_SPLIT_TRAIN, &a, "", ""), "classes.txt", "named before");
    scratch_put_text("classes.txt", "a\nb\n");
    a.classes = 3;
    refuses(open_paths("masks", CVR_SPLIT_TRAIN, &a, "", ""), "classes.txt", "2 names for data.classes = 3");
    a.classes = 0;
    a.n_values = 3;
    a.values[1] = 1;
    refuses(open_paths("masks", CVR_SPLIT_TRAIN, &a, "", ""), "", "3 values for 2 classes");
    a.n_values = 2;
    a.values[1] = 0;
    refuses(open_paths("masks", CVR_SPLIT_TRAIN, &a, "", ""), "", "data.mask_values has 0 twice");
    a.values[1] = 1;
    opened o = must_open("masks", CVR_SPLIT_TRAIN, &a);
    o.d->close(o.self);
    /* The names lie beside train/ where only that is given. */
    o = open_paths("masks", CVR_SPLIT_TRAIN, &a, scratch_path("train"), "");
    cr_assert_eq(o.status, CVR_OK, "%s", o.err.message);
    expect_name(o, 1, "b");
    o.d->close(o.self);
}

/* ---- masks: what values stand for ---- */

/* VOC's first colours: indices 1 and 2 are 38 and 75 in grey. */
static const uint8_t palette[768] = {0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0};

Test(masks, palettes_colours_of_grey_and_values) {
    masks_attrs a = defaults();
    static const uint8_t indices[WIDTH] = {2, 1, 0, 2}, grey[3 * WIDTH] = {1, 1, 1, 0, 0, 0, 255, 255, 255, 2, 2, 2};
    a.classes = 3;
    put_picture("train/images/a.png", 1);
    put_png("train/masks/a.png", indices, WIDTH, 1, palette);
    put_picture("train/images/b.png", 1);
    put_png("train/masks/b.png", grey, WIDTH, 3, NULL);
    opened o = must_open("masks", CVR_SPLIT_TRAIN, &a);
    expect_masks(o, 0, 2, 1, 0, 2);
    expect_masks(o, 1, 1, 0, 255, 2);
    o.d->close(o.self);
    /* 0 does not count, 1 and 2 are the classes, as with a "reduced zero label". */
    a.classes = 0;
    a.n_values = 2;
    a.values[0] = 1;
    a.values[1] = 2;
    a.n_ignored = 2;
    a.ignored[1] = 0;
    o = must_open("masks", CVR_SPLIT_TRAIN, &a);
    cr_expect_eq(o.d->n_classes(o.self), 2);
    expect_masks(o, 0, 1, 0, 255, 1);
    o.d->close(o.self);
}

Test(masks, black_and_white_is_a_key) {
    masks_attrs a = defaults();
    put_picture("train/images/a.png", 1);
    put_mask("train/masks/a.png", 0, 255, 255, 0);
    a.n_values = 2;
    a.values[1] = 255;
    opened o = must_open("masks", CVR_SPLIT_TRAIN, &a);
    expect_masks(o, 0, 0, 1, 1, 0);
    o.d->close(o.self);
    a = defaults();
    a.classes = 2;
    cr_expect_eq(host.n_logs, 0u);
    o = must_open("masks", CVR_SPLIT_TRAIN, &a);
    cr_expect(strstr(host.last_log, "255 does not count; where it is the second class, set data.mask_values"), "%s",
              host.last_log);
    expect_masks(o, 0, 0, 255, 255, 0);
    o.d->close(o.self);
    a.n_ignored = 0;
    o = must_open("masks", CVR_SPLIT_TRAIN, &a);
    expect_bad(o, 0, "masks/a.png", "set data.mask_values = 0,255");
    o.d->close(o.self);
}

Test(masks, bad_masks_are_named_with_their_remedy) {
    masks_attrs a = defaults();
    static const uint8_t colours[3 * WIDTH] = {9, 9, 9, 128, 0, 0}, narrow[3] = {0, 1, 0};
    a.classes = 2;
    for (int i = 0; i < 6; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "train/images/%d.png", i);
        put_picture(name, 1);
    }
    put_mask("train/masks/0.png", 0, 38, 75, 255);
    put_mask("train/masks/1.png", 0, 1, 2, 7);
    put_png("train/masks/2.png", colours, WIDTH, 3, NULL);
    put_png("train/masks/3.png", narrow, 3, 1, NULL);
    scratch_put_text("train/masks/4.png", "nothing");
    scratch_put("train/masks/5.jpg", "\xff\xd8\xff\xe0 and so on", 15);
    const opened o = must_open("masks", CVR_SPLIT_TRAIN, &a);
    expect_bad(o, 0, "masks/0.png", "the values 38, 75: a VOC palette read as grey; save the palette's indices");
    expect_bad(o, 1, "masks/1.png", "the values 2, 7 in a mask of 2 classes; name every class in classes.txt");
    expect_bad(o, 2, "masks/2.png", "a mask in colours (128 0 0 at x = 1, y = 0); save the numbers of the classes");
    expect_bad(o, 3, "masks/3.png", "the mask is 3 x 1, its picture 4 x 1; make it anew");
    expect_bad(o, 4, "masks/4.png", "no codec");
    expect_bad(o, 5, "masks/5.jpg", "a format that smears its values");
    o.d->close(o.self);
}

/* The JPEG of 9 x 5 is 5 x 9 once it is turned; its mask is as the camera stored the pixels. */
Test(masks, a_mask_that_was_not_turned) {
    masks_attrs a = defaults();
    const uint8_t zeros[45] = {0};
    const cvr_codec_desc *const png = test_host_find(&host, CVR_KIND_CODEC, "png");
    const cvr_image image = {
        .struct_size = sizeof image, .width = 9, .height = 5, .channels = 1, .data = (uint8_t *)(uintptr_t)zeros};
    test_tensors golden;
    test_bytes out = {NULL, 0};
    a.classes = 2;
    test_tensors_read(&golden, &host, CVR_GOLDEN_DIR "/codecs.safetensors");
    const cvr_weight *const jpeg = test_tensors_get(&golden, "jpeg_exif6", "file");
    scratch_put("train/images/a.jpg", jpeg->data, jpeg->bytes);
    test_tensors_free(&golden);
    cr_assert_eq(png->encode(&host.host, &image, test_bytes_sink, &out, NULL), CVR_OK);
    scratch_put("train/masks/a.png", out.bytes, out.n);
    test_bytes_free(&out);
    const opened o = must_open("masks", CVR_SPLIT_TRAIN, &a);
    expect_bad(o, 0, "masks/a.png",
               "the mask is 9 x 5, its picture 5 x 9; the picture is turned by its EXIF orientation");
    o.d->close(o.self);
}

/* ---- memory ---- */

static void *(*alloc_well)(const cvr_host *host, uint64_t bytes, uint64_t align);
static int64_t allocations, failing; /* the `failing`th allocation fails */

static void *alloc_or_fail(const cvr_host *h, uint64_t bytes, uint64_t align) {
    return allocations++ == failing ? NULL : alloc_well(h, bytes, align);
}

/* Whichever allocation fails, opening says so or does without, and gives everything back. */
static void fail_each_allocation(const char *name, const void *attrs) {
    alloc_well = host.host.alloc;
    host.host.alloc = alloc_or_fail;
    for (failing = allocations = 0; allocations >= failing; failing++) {
        allocations = 0;
        const opened o = open_paths(name, CVR_SPLIT_TRAIN, attrs, "", "");
        cr_expect(o.status == CVR_OK || o.status == CVR_ERR_NOMEM, "%s, allocation %lld: %s", name, (long long)failing,
                  o.err.message);
        if (o.self) o.d->close(o.self);
        cr_assert_eq(host.live, 0, "%s, allocation %lld: memory was left behind", name, (long long)failing);
    }
    cr_expect_gt(failing, 10);
    host.host.alloc = alloc_well;
}

Test(masks, memory_that_runs_out) {
    masks_attrs a = defaults();
    char path[512];
    put_picture("train/images/a.png", 1);
    put_mask("train/masks/a.png", 0, 255, 255, 0);
    scratch_put_text("classes.txt", "ground\nthing\n");
    fail_each_allocation("masks", &a);
    scratch_put_text("table", "10 20 30 Car\n255 0 7 Car\n0 0 0 Ground\n");
    (void)snprintf(path, sizeof path, "%s", scratch_path("table"));
    a.colours = path;
    fail_each_allocation("masks", &a);
}

/* ---- colours ---- */

static const uint8_t coloured[3 * WIDTH] = {10, 20, 30, 0, 0, 0, 255, 0, 7, 10, 20, 30};

Test(masks, colours_by_a_table) {
    static const char *const tables[] = {"10 20 30\tRed car\n255 0 7\t\tRoad\n0 0 0 Void\n",
                                         "name,r,g,b\nRed car,10,20,30\nRoad, 255 ,0, 7\nvoid,0,0,0\n",
                                         "# colours\n10,20,30,Red car\n\n255,0,7,Road\n 0, 0, 0, VOID\n"};
    masks_attrs a = defaults();
    char path[512];
    (void)snprintf(path, sizeof path, "%s", scratch_path("table"));
    a.colours = path;
    a.ignored_classes = "other, Void";
    put_picture("train/images/a.png", 1);
    put_png("train/masks/a.png", coloured, WIDTH, 3, NULL);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        scratch_put_text("table", tables[i]);
        const opened o = must_open("masks", CVR_SPLIT_TRAIN, &a);
        cr_assert_eq(o.d->n_classes(o.self), 2, "table %zu", i);
        expect_name(o, 0, "Red car");
        expect_name(o, 1, "Road");
        expect_masks(o, 0, 0, 255, 1, 0);
        cr_expect(strstr(host.last_log, "table: no class `other`, which data.ignored_classes names"), "%s",
                  host.last_log);
        o.d->close(o.self);
    }
    scratch_put_text("table", "10 20 30 Car\n255 0 7 Car\n0 0 0 Ground\n"); /* two colours of one class */
    opened o = must_open("masks", CVR_SPLIT_TRAIN, &a);
    cr_expect_eq(o.d->n_classes(o.self), 2);
    expect_masks(o, 0, 0, 1, 0, 0);
    o.d->close(o.self);
    scratch_put_text("table", "10 20 30 Car\n0 0 0 Ground\n");
    o = must_open("masks", CVR_SPLIT_TRAIN, &a);
    expect_bad(o, 0, "masks/a.png", "the colour 255 0 7, at x = 2, y = 0, is not in ");
    o.d->close(o.self);
}

Test(masks, tables_that_are_not_right) {
    static const struct {
        const char *text, *says;
        uint32_t line;
    } cases[] = {
        {"1 2 3 a\n4 5 b\n", "not `red green blue name`", 2},
        {"1 2 256 a\n", "not `red green blue name`", 1},
        {"1 2 3\n", "not `red green blue name`", 1},
        {"a,1,2,3\nb,1,2,3\n", "the colour 1 2 3 stands here twice", 0},
        {"name,r,g,b\n", "0 classes", 0},
        {"1 2 3 void\n", "0 classes", 0},
        {"", "empty", 0},
    };
    masks_attrs a = defaults();
    char path[512];
    (void)snprintf(path, sizeof path, "%s", scratch_path("table"));
    a.colours = path;
    a.ignored_classes = "void";
    put_picture("train/images/a.png", 1);
    put_png("train/masks/a.png", coloured, WIDTH, 3, NULL);
    refuses(open_paths("masks", CVR_SPLIT_TRAIN, &a, "", ""), "table", "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        scratch_put_text("table", cases[i].text);
        const opened o = open_paths("masks", CVR_SPLIT_TRAIN, &a, "", "");
        cr_expect_eq(o.err.line, cases[i].line, "case %zu: line %u", i, o.err.line);
        refuses(o, "table", cases[i].says);
    }
    a.classes = 2;
    refuses(open_paths("masks", CVR_SPLIT_TRAIN, &a, "", ""), "", "data.colours names the classes");
    a.classes = 0;
    a.ignored[0] = 0;
    refuses(open_paths("masks", CVR_SPLIT_TRAIN, &a, "", ""), "", "data.ignore_index is for masks of numbers");
}

/* ---- the known ones ---- */

Test(masks, voc) {
    const struct {
        int64_t annotations;
        const char *masks, *class_names;
        double val_split;
        int64_t coordinates, difficult, empty;
    } a = {0, "SegmentationClass", "", 0, 0, 1, 0};
    static const uint8_t indices[WIDTH] = {20, 255, 0, 15};
    scratch_folders("JPEGImages");
    scratch_folders("SegmentationClass");
    refuses(open_paths("voc", CVR_SPLIT_TRAIN, &a, "", ""), "ImageSets/Segmentation/train.txt", "no such list");
    cr_assert(rmdir(scratch_path("JPEGImages")) == 0 && rmdir(scratch_path("SegmentationClass")) == 0);
    put_picture("VOCdevkit/VOC2012/JPEGImages/2007_000032.jpg", 1);
    put_png("VOCdevkit/VOC2012/SegmentationClass/2007_000032.png", indices, WIDTH, 1, palette);
    put_picture("VOCdevkit/VOC2012/JPEGImages/b.jpg", 1);
    put_mask("VOCdevkit/VOC2012/SegmentationClass/b.png", 0, 38, 0, 220);
    put_picture("VOCdevkit/VOC2012/JPEGImages/c.jpg", 1);
    put_png("VOCdevkit/VOC2012/SegmentationClass/c.png", coloured, WIDTH, 3, NULL);
    scratch_put_text("VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt", "2007_000032\nb\nc\n");
    scratch_put_text("VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", "2007_000032 \r\nmissing\n");
    opened o = must_open("voc", CVR_SPLIT_TRAIN, &a);
    cr_assert(o.d->count(o.self) == 3 && o.d->n_classes(o.self) == 21);
    expect_name(o, 0, "background");
    expect_name(o, 20, "tvmonitor");
    expect_masks(o, 0, 20, 255, 0, 15);
    expect_bad(o, 1, "b.png", "a VOC palette read as grey");
    expect_bad(o, 2, "c.png", "a mask in colours (10 20 30 at x = 0, y = 0); save the palette's indices");
    o.d->close(o.self);
    o = must_open("voc", CVR_SPLIT_VAL, &a);
    expect_masks(o, 0, 20, 255, 0, 15);
    expect_bad(o, 1, "JPEGImages/missing.jpg", "No such file");
    o.d->close(o.self);
    scratch_put_text("list", "a\nb\na\n");
    refuses(open_paths("voc", CVR_SPLIT_TRAIN, &a, scratch_path("list"), ""), "list", "listed before");
}

Test(masks, cityscapes) {
    struct {
        int64_t masks, labels;
    } a = {0, 0};
    refuses(open_paths("cityscapes", CVR_SPLIT_TRAIN, &a, "", ""), "leftImg8bit/train", "no such folder");
    put_picture("leftImg8bit/train/ulm/ulm_0_leftImg8bit.png", 1);
    put_mask("gtFine/train/ulm/ulm_0_gtFine_labelIds.png", 7, 33, 29, 0);
    put_mask("gtFine/train/ulm/ulm_0_gtFine_labelTrainIds.png", 0, 18, 255, 13);
    put_mask("gtFine/train/ulm/ulm_0_gtFine_instanceIds.png", 1, 2, 3, 4);
    put_mask("gtCoarse/train/ulm/ulm_0_gtCoarse_labelIds.png", 24, 255, 8, 34);
    opened o = must_open("cityscapes", CVR_SPLIT_TRAIN, &a);
    cr_assert(o.d->count(o.self) == 1 && o.d->n_classes(o.self) == 19);
    expect_name(o, 11, "person");
    expect_masks(o, 0, 0, 18, 255, 255);
    o.d->close(o.self);
    a.labels = 1;
    o = must_open("cityscapes", CVR_SPLIT_TRAIN, &a);
    expect_masks(o, 0, 0, 18, 255, 13);
    o.d->close(o.self);
    a.masks = 1;
    a.labels = 0;
    o = must_open("cityscapes", CVR_SPLIT_TRAIN, &a);
    expect_bad(o, 0, "gtCoarse_labelIds.png", "the value 34 in a mask of 19 classes");
    o.d->close(o.self);
    refuses(open_paths("cityscapes", CVR_SPLIT_TRAIN, &a, scratch_root, ""), "",
            "data.train and data.val mean nothing here");
}

/* Ids and their classes as Cityscapes numbers them; every other id does not count. */
Test(masks, cityscapes_has_nineteen_of_its_ids) {
    static const int ids[19] = {7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33};
    const struct { int64_t masks, labels; } a = {0, 0};
    char name[64];
    for (int i = 0; i < 34; i++) {
        (void)snprintf(name, sizeof name, "leftImg8bit/train/c/%02d_leftImg8bit.png", i);
        put_picture(name, 1);
        (void)snprintf(name, sizeof name, "gtFine/train/c/%02d_gtFine_labelIds.png", i);
        put_mask(name, i, i, i, i);
    }
    const opened o = must_open("cityscapes", CVR_SPLIT_TRAIN, &a);
    for (int i = 0; i < 34; i++) {
        int want = 255;
        for (int k = 0; k < 19; k++) want = ids[k] == i ? k : want;
        expect_masks(o, i, want, want, want, want);
    }
    o.d->close(o.self);
}

Test(masks, ade20k) {
    refuses(open_paths("ade20k", CVR_SPLIT_TRAIN, NULL, "", ""), "images/training", "no such folder");
    put_picture("ADEChallengeData2016/images/training/ADE_train_00000001.jpg", 1);
    put_mask("ADEChallengeData2016/annotations/training/ADE_train_00000001.png", 0, 1, 150, 13);
    put_picture("ADEChallengeData2016/images/training/ADE_train_00000002.jpg", 1);
    put_mask("ADEChallengeData2016/annotations/training/ADE_train_00000002.png", 151, 1, 150, 13);
    const opened o = must_open("ade20k", CVR_SPLIT_TRAIN, NULL);
    cr_assert_eq(o.d->n_classes(o.self), 150);
    expect_name(o, 0, "wall");
    expect_name(o, 12, "person");
    expect_name(o, 149, "flag");
    expect_masks(o, 0, 255, 0, 149, 12);
    expect_bad(o, 1, "00000002.png", "the value 151 in a mask of 150 classes");
    o.d->close(o.self);
}

typedef struct camvid_attrs {
    double val_split;
    const char *colours, *ignored_classes;
} camvid_attrs;

Test(masks, camvid_in_colours) {
    camvid_attrs a = {0, "", "Void"};
    refuses(open_paths("camvid", CVR_SPLIT_TRAIN, &a, "", ""), "/train", "set data.root to CamVid's folder");
    put_picture("train/0001TP.png", 1);
    put_png("train_labels/0001TP_L.png", coloured, WIDTH, 3, NULL);
    refuses(open_paths("camvid", CVR_SPLIT_TRAIN, &a, "", ""), scratch_root, "no class_dict.csv or label_colors.txt");
    scratch_put_text("class_dict.csv", "name,r,g,b\nCar,10,20,30\nRoad,255,0,7\nVoid,0,0,0\n");
    opened o = must_open("camvid", CVR_SPLIT_TRAIN, &a);
    cr_expect_eq(o.d->n_classes(o.self), 2);
    expect_masks(o, 0, 0, 255, 1, 0);
    o.d->close(o.self);
    put_picture("test/x.png", 1);
    put_png("test_labels/x_L.png", coloured, WIDTH, 3, NULL);
    o = open_paths("camvid", CVR_SPLIT_VAL, &a, "", scratch_path("test"));
    cr_assert_eq(o.status, CVR_OK, "%s", o.err.message);
    expect_masks(o, 0, 0, 255, 1, 0);
    o.d->close(o.self);
    a.val_split = 0.1;
    refuses(open_paths("camvid", CVR_SPLIT_TRAIN, &a, "", ""), "", "drop it");
}

Test(masks, camvid_as_it_was_published_and_as_segnet_has_it) {
    camvid_attrs a = {0, "", "Void"};
    scratch_put_text("label_colors.txt", "10 20 30\tCar\n255 0 7\t\tRoad\n0 0 0\t\tVoid\n");
    for (int i = 0; i < 4; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "701_StillsRaw_full/%d.png", i);
        put_picture(name, 1);
        (void)snprintf(name, sizeof name, "LabeledApproved_full/%d_L.png", i);
        put_png(name, coloured, WIDTH, 3, NULL);
    }
    refuses(open_paths("camvid", CVR_SPLIT_TRAIN, &a, "", ""), "", "set data.val_split");
    a.val_split = 0.25;
    opened o = must_open("camvid", CVR_SPLIT_TRAIN, &a);
    cr_expect_eq(o.d->count(o.self), 3);
    expect_masks(o, 0, 0, 255, 1, 0);
    o.d->close(o.self);
    put_picture("train/a.png", 1);
    put_mask("trainannot/a.png", 0, 10, 11, 255);
    a.val_split = 0;
    o = must_open("camvid", CVR_SPLIT_TRAIN, &a);
    cr_expect_eq(o.d->n_classes(o.self), 11);
    expect_name(o, 10, "bicyclist");
    expect_masks(o, 0, 0, 10, 255, 255);
    o.d->close(o.self);
}
