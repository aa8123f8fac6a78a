/*
 * The data sets idx, cifar, folder and fake: what they give, and how they meet files that are damaged, lie or vanish.
 * Every file is made here.
 */
#include "../support/scratch.h"
#include "../support/test_host.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static test_host host;

static void load(void) {
    test_host_init(&host);
    test_host_load(&host, "dataset_idx");
    test_host_load(&host, "dataset_cifar");
    test_host_load(&host, "dataset_folder");
    test_host_load(&host, "dataset_fake");
    test_host_load(&host, "codec_png");
    host.offer_images = 1;
    scratch_open("datasets");
}

static void unload(void) {
    scratch_close();
    cr_expect_eq(host.live, 0, "memory was left behind");
}

TestSuite(datasets, .init = load, .fini = unload);

static const cvr_dataset_desc *kind(const char *name) {
    return test_host_find(&host, CVR_KIND_DATASET, name);
}

typedef struct opened {
    const cvr_dataset_desc *d;
    void *self;
    int32_t status;
    cvr_error err;
} opened;

static opened open_args(const char *name, cvr_dataset_args args, const void *attrs) {
    opened o = {kind(name), NULL, 0, {0}};
    cvr_error_init(&o.err);
    args.struct_size = sizeof args;
    args.host = &host.host;
    args.attrs = attrs;
    if (!args.root) args.root = scratch_root;
    if (!args.train) args.train = "";
    if (!args.val) args.val = "";
    o.status = o.d->open(&args, &o.self, &o.err);
    if (o.status != CVR_OK) {
        cr_assert_null(o.self);
        cr_assert(o.err.message[0], "no message");
        cr_assert_eq(host.live, 0, "memory was left behind");
    }
    return o;
}

/* An error of this code that names a file whose path has `file` in it, and says `says`. */
static void expect_error(opened o, int32_t code, const char *file, const char *says) {
    cr_expect_eq(o.status, code, "status %d: %s", o.status, o.err.message);
    cr_expect(strstr(o.err.file, file), "file '%s', not '%s'", o.err.file, file);
    cr_expect(strstr(o.err.message, says), "'%s' does not say '%s'", o.err.message, says);
    if (o.self) o.d->close(o.self);
}

/* What a sample holds is what the data set said before it was read. */
static void expect_as_told(opened o, int64_t index, const test_sample *s) {
    const cvr_origin *const origin = &s->origin;
    const cvr_field *const image = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE);
    uint32_t n = 0;
    int64_t height, width;
    while (o.d->kind(o.self, n)) cr_expect(cvr_sample_find(&s->sample, o.d->kind(o.self, n++)));
    cr_expect_eq(n, s->sample.n_fields);
    if (!o.d->size) return;
    cr_assert_eq(o.d->size(o.self, index, &height, &width, NULL), CVR_OK);
    cr_expect(height == image->shape[0] && width == image->shape[1]);
    cr_expect(height == origin->height && width == origin->width);
}

/* ---- idx ---- */

typedef struct idx_attrs {
    const char *train_images, *train_labels, *val_images, *val_labels;
    int64_t classes;
} idx_attrs;
static const idx_attrs idx_defaults = {"", "", "", "", 0};

#define COUNT 5
#define HEIGHT 3
#define WIDTH 4
#define IMAGES (16 + COUNT * HEIGHT * WIDTH)
#define LABELS (8 + COUNT)

static void put_u32(uint8_t *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> 8 * (3 - i));
}

static void make_images(uint8_t file[IMAGES]) {
    put_u32(file, 0x803);
    put_u32(file + 4, COUNT);
    put_u32(file + 8, HEIGHT);
    put_u32(file + 12, WIDTH);
    for (int i = 0; i < COUNT * HEIGHT * WIDTH; i++) file[16 + i] = (uint8_t)(i * 37);
}

static void make_labels(uint8_t file[LABELS]) {
    put_u32(file, 0x801);
    put_u32(file + 4, COUNT);
    for (int i = 0; i < COUNT; i++) file[8 + i] = (uint8_t)(i * 2 % 7);
}

/* gzip in memory; for the caller to free. */
static uint8_t *gzip(const void *bytes, uint64_t n, uint64_t *out_n) {
    z_stream z;
    memset(&z, 0, sizeof z);
    cr_assert_eq(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    const uLong room = deflateBound(&z, (uLong)n) + 64;
    uint8_t *const out = malloc(room);
    uint8_t *const in = malloc(n + 1);
    memcpy(in, bytes, n);
    z.next_in = in;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)room;
    cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    *out_n = room - z.avail_out;
    (void)deflateEnd(&z);
    free(in);
    return out;
}

static void write_gzip(const char *path, const void *bytes, uint64_t n) {
    uint64_t packed = 0;
    uint8_t *const z = gzip(bytes, n, &packed);
    test_write_file(path, z, packed);
    free(z);
}

static void make_mnist(const char *images_name, const char *labels_name) {
    uint8_t images[IMAGES], labels[LABELS];
    make_images(images);
    make_labels(labels);
    test_write_file(scratch_path(images_name), images, sizeof images);
    test_write_file(scratch_path(labels_name), labels, sizeof labels);
}

static void expect_idx(opened o, int64_t channels) {
    cr_assert_eq(o.status, CVR_OK, "%s: %s", o.err.file, o.err.message);
    cr_expect_eq(o.d->count(o.self), COUNT);
    cr_expect_eq(o.d->n_classes(o.self), 7);
    cr_expect_str_eq(o.d->class_name(o.self, 6), "6");
    for (int64_t i = 0; i < COUNT; i++) {
        test_sample s;
        cvr_error err;
        cvr_error_init(&err);
        test_sample_init(&s);
        cr_assert_eq(o.d->read(o.self, i, &s.sample, &err), CVR_OK, "%s", err.message);
        const cvr_field *const f = cvr_sample_find(&s.sample, CVR_FIELD_IMAGE);
        const cvr_field *const y = cvr_sample_find(&s.sample, CVR_FIELD_LABEL);
        cr_assert(f && y && f->shape[0] == HEIGHT && f->shape[1] == WIDTH && f->shape[2] == channels);
        for (int64_t k = 0; k < HEIGHT * WIDTH * channels; k++) {
            cr_assert_eq(((const uint8_t *)f->data)[k], (uint8_t)((i * HEIGHT * WIDTH + k / channels) * 37));
        }
        cr_expect(*(const int64_t *)y->data == i * 2 % 7 && o.d->label(o.self, i) == i * 2 % 7);
        expect_as_told(o, i, &s);
        test_sample_free(&s);
    }
}

Test(datasets, idx_plain_and_gzip_and_rgb) {
    uint8_t images[IMAGES], labels[LABELS];
    char name[64];
    make_images(images);
    make_labels(labels);
    make_mnist("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    write_gzip(scratch_path("t10k-images-idx3-ubyte.gz"), images, sizeof images);
    /* gzip under a plain name: the bytes decide. */
    write_gzip(scratch_path("t10k-labels-idx1-ubyte"), labels, sizeof labels);
    opened o = open_args("idx", (cvr_dataset_args){.split = CVR_SPLIT_TRAIN, .channels = 1}, &idx_defaults);
    expect_idx(o, 1);
    o.d->close(o.self);
    o = open_args("idx", (cvr_dataset_args){.split = CVR_SPLIT_VAL, .channels = 3}, &idx_defaults);
    expect_idx(o, 3);
    o.d->describe(o.self, 2, name, sizeof name);
    cr_expect_str_eq(name, "t10k-images-idx3-ubyte.gz[2]");
    o.d->close(o.self);
}

Test(datasets, idx_explicit_paths) {
    const idx_attrs given = {scratch_path("a"), scratch_path("b"), "", "", 0};
    make_mnist("a", "b");
    opened o = open_args("idx", (cvr_dataset_args){.root = "", .split = CVR_SPLIT_TRAIN}, &given);
    expect_idx(o, 1);
    o.d->close(o.self);
}

Test(datasets, idx_counts_classes_over_both_splits) {
    uint8_t labels[LABELS];
    make_mnist("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    make_mnist("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte");
    make_labels(labels);
    labels[8] = 41;
    test_write_file(scratch_path("train-labels-idx1-ubyte"), labels, sizeof labels);
    opened o = open_args("idx", (cvr_dataset_args){.split = CVR_SPLIT_VAL}, &idx_defaults);
    cr_assert_eq(o.status, CVR_OK, "%s", o.err.message);
    cr_expect_eq(o.d->n_classes(o.self), 42);
    o.d->close(o.self);
}

static opened open_idx(void) {
    return open_args("idx", (cvr_dataset_args){.split = CVR_SPLIT_TRAIN}, &idx_defaults);
}

Test(datasets, idx_every_truncation_is_an_error) {
    uint8_t images[IMAGES], labels[LABELS];
    uint64_t n = 0;
    make_images(images);
    make_labels(labels);
    make_mnist("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    for (uint64_t cut = 0; cut < IMAGES; cut++) {
        test_write_file(scratch_path("train-images-idx3-ubyte"), images, cut);
        expect_error(open_idx(), CVR_ERR_FORMAT, "train-images", "again");
    }
    uint8_t *const z = gzip(images, IMAGES, &n);
    for (uint64_t cut = 0; cut < n; cut++) {
        test_write_file(scratch_path("train-images-idx3-ubyte"), z, cut);
        const opened o = open_idx();
        cr_assert_eq(o.status, CVR_ERR_FORMAT, "cut at %llu of %llu was taken", (unsigned long long)cut,
                     (unsigned long long)n);
        cr_assert(strstr(o.err.file, "train-images"));
    }
    free(z);
    make_mnist("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    for (uint64_t cut = 0; cut < LABELS; cut++) {
        test_write_file(scratch_path("train-labels-idx1-ubyte"), labels, cut);
        expect_error(open_idx(), CVR_ERR_FORMAT, "train-labels", "again");
    }
}

Test(datasets, idx_flipped_bytes_do_no_harm) {
    uint8_t images[IMAGES];
    uint64_t n = 0;
    cvr_rng rng;
    make_images(images);
    make_mnist("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    uint8_t *const z = gzip(images, IMAGES, &n), *const bad = malloc(n > IMAGES ? n : IMAGES);
    cvr_rng_start(&rng, 9, 0);
    for (int i = 0; i < 2000; i++) {
        const uint64_t size = i % 2 ? n : IMAGES;
        memcpy(bad, i % 2 ? z : images, size);
        for (uint64_t k = 1 + cvr_rng_below(&rng, 3); k > 0; k--) {
            bad[cvr_rng_below(&rng, i % 4 < 2 ? 16 : size)] = (uint8_t)cvr_rng_u32(&rng);
        }
        test_write_file(scratch_path("train-images-idx3-ubyte"), bad, size);
        opened o = open_idx();
        if (o.self) o.d->close(o.self);
    }
    cr_expect_lt(host.most, 1u << 20, "%llu bytes were asked for", (unsigned long long)host.most);
    free(z);
    free(bad);
}

Test(datasets, idx_lies_are_found_out) {
    uint8_t images[IMAGES + 1] = {0}, labels[LABELS];
    const idx_attrs three = {"", "", "", "", 3};
    make_mnist("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    make_images(images);
    test_write_file(scratch_path("train-images-idx3-ubyte"), images, IMAGES + 1);
    expect_error(open_idx(), CVR_ERR_FORMAT, "train-images", "goes on");
    for (int i = 0; i < 3; i++) {
        make_images(images);
        put_u32(images + 4 + 4 * i, 0xffffffff);
        test_write_file(scratch_path("train-images-idx3-ubyte"), images, IMAGES);
        expect_error(open_idx(), CVR_ERR_FORMAT, "train-images", "more than it could hold");
        write_gzip(scratch_path("train-images-idx3-ubyte"), images, IMAGES);
        expect_error(open_idx(), CVR_ERR_FORMAT, "train-images", "more than it could hold");
    }
    memset(images + 4, 0xff, 12);
    test_write_file(scratch_path("train-images-idx3-ubyte"), images, IMAGES);
    expect_error(open_idx(), CVR_ERR_FORMAT, "train-images", "more than it could hold");
    cr_expect_lt(host.most, 1u << 20, "%llu bytes were asked for", (unsigned long long)host.most);
    make_labels(labels);
    test_write_file(scratch_path("train-images-idx3-ubyte"), labels, LABELS + 0);
    expect_error(open_idx(), CVR_ERR_FORMAT, "train-images", "again");
    make_mnist("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    make_images(images);
    put_u32(images, 0x12345678);
    test_write_file(scratch_path("train-images-idx3-ubyte"), images, IMAGES);
    expect_error(open_idx(), CVR_ERR_FORMAT, "train-images", "0x12345678");
    make_images(images);
    put_u32(images + 4, COUNT - 1);
    test_write_file(scratch_path("train-images-idx3-ubyte"), images, IMAGES - HEIGHT * WIDTH);
    expect_error(open_idx(), CVR_ERR_FORMAT, "train-labels", "5 labels for 4 pictures");
    make_mnist("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    expect_error(open_args("idx", (cvr_dataset_args){.split = CVR_SPLIT_TRAIN}, &three), CVR_ERR_FORMAT, "train-labels",
                 "data.classes = 3");
}

Test(datasets, idx_missing_files_are_named) {
    expect_error(open_idx(), CVR_ERR_IO, scratch_root, "train-images-idx3-ubyte");
    expect_error(open_args("idx", (cvr_dataset_args){.root = ""}, &idx_defaults), CVR_ERR_USAGE, "", "data.root");
    expect_error(open_args("idx", (cvr_dataset_args){.train = "/x"}, &idx_defaults), CVR_ERR_USAGE, "", "data.train");
    make_mnist("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    cr_assert_eq(unlink(scratch_path("train-images-idx3-ubyte")), 0);
    scratch_folders("train-images-idx3-ubyte");
    expect_error(open_idx(), CVR_ERR_FORMAT, "train-images", "not a file");
}

/* Two gzip members are one file; what follows and is none is an error. */
Test(datasets, gzip_members_and_what_follows_them) {
    uint8_t images[IMAGES], both[4096];
    uint64_t a = 0, b = 0;
    make_images(images);
    make_mnist("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    uint8_t *const first = gzip(images, 20, &a), *const second = gzip(images + 20, IMAGES - 20, &b);
    memcpy(both, first, a);
    memcpy(both + a, second, b);
    test_write_file(scratch_path("train-images-idx3-ubyte"), both, a + b);
    opened o = open_idx();
    expect_idx(o, 1);
    o.d->close(o.self);
    both[a + b] = 'x';
    test_write_file(scratch_path("train-images-idx3-ubyte"), both, a + b + 1);
    expect_error(open_idx(), CVR_ERR_FORMAT, "train-images", "after the end");
    free(first);
    free(second);
}

/* ---- cifar ---- */

typedef struct cifar_attrs {
    int64_t coarse;
} cifar_attrs;
static const cifar_attrs fine = {0}, coarse = {1};

/* `n` records; the label bytes are (index % classes), pixel k of record i is i * 7 + k. */
static uint8_t *make_records(int n, int labels, int classes, uint64_t *size) {
    const int record = labels + 3072;
    uint8_t *const file = malloc((size_t)(n * record));
    for (int i = 0; i < n; i++) {
        file[i * record] = (uint8_t)(i % (labels == 2 ? 20 : classes));
        if (labels == 2) file[i * record + 1] = (uint8_t)((i + 3) % classes);
        for (int k = 0; k < 3072; k++) file[i * record + labels + k] = (uint8_t)(i * 7 + k);
    }
    *size = (uint64_t)(n * record);
    return file;
}

static opened open_cifar(uint32_t split, uint32_t channels, const cifar_attrs *attrs) {
    return open_args("cifar", (cvr_dataset_args){.split = split, .channels = channels}, attrs);
}

static void expect_rgb(opened o, int64_t index, int seed, int64_t label) {
    test_sample s;
    cvr_error err;
    cvr_error_init(&err);
    test_sample_init(&s);
    cr_assert_eq(o.d->read(o.self, index, &s.sample, &err), CVR_OK, "%s", err.message);
    const cvr_field *const f = cvr_sample_find(&s.sample, CVR_FIELD_IMAGE);
    cr_assert(f->shape[0] == 32 && f->shape[1] == 32 && f->shape[2] == 3);
    for (int i = 0; i < 1024; i++) {
        for (int c = 0; c < 3; c++) {
            cr_assert_eq(((const uint8_t *)f->data)[3 * i + c], (uint8_t)(seed * 7 + c * 1024 + i));
        }
    }
    cr_expect_eq(*(const int64_t *)cvr_sample_find(&s.sample, CVR_FIELD_LABEL)->data, label);
    cr_expect_eq(o.d->label(o.self, index), label);
    expect_as_told(o, index, &s);
    test_sample_free(&s);
}

Test(datasets, cifar10_in_its_folder) {
    uint64_t n = 0;
    char name[64];
    uint8_t *const file = make_records(3, 1, 10, &n);
    scratch_folders("cifar-10-batches-bin");
    for (int i = 1; i <= 5; i++) {
        (void)snprintf(name, sizeof name, "cifar-10-batches-bin/data_batch_%d.bin%s", i, i == 4 ? ".gz" : "");
        if (i == 4)
            write_gzip(scratch_path(name), file, n);
        else
            test_write_file(scratch_path(name), file, n);
    }
    opened o = open_cifar(CVR_SPLIT_TRAIN, 3, &fine);
    cr_assert_eq(o.status, CVR_OK, "%s", o.err.message);
    cr_expect(o.d->count(o.self) == 15 && o.d->n_classes(o.self) == 10);
    cr_expect_str_eq(o.d->class_name(o.self, 4), "4");
    expect_rgb(o, 11, 2, 2);
    o.d->describe(o.self, 11, name, sizeof name);
    cr_expect_str_eq(name, "data_batch_4.bin.gz[2]");
    o.d->close(o.self);
    static const char names[] = "plane\ncar\nbird\ncat\ndeer\r\ndog\nfrog\nhorse\nship\ntruck\n\n";
    test_write_file(scratch_path("cifar-10-batches-bin/batches.meta.txt"), names, sizeof names - 1);
    o = open_cifar(CVR_SPLIT_TRAIN, 3, &fine);
    cr_assert_eq(o.status, CVR_OK, "%s", o.err.message);
    cr_expect_str_eq(o.d->class_name(o.self, 4), "deer");
    cr_expect_str_eq(o.d->class_name(o.self, 9), "truck");
    o.d->close(o.self);
    test_write_file(scratch_path("cifar-10-batches-bin/batches.meta.txt"), "one\ntwo\n", 8);
    expect_error(open_cifar(CVR_SPLIT_TRAIN, 3, &fine), CVR_ERR_FORMAT, "batches.meta.txt", "too few");
    cr_assert_eq(unlink(scratch_path("cifar-10-batches-bin/batches.meta.txt")), 0);
    cr_assert_eq(unlink(scratch_path("cifar-10-batches-bin/data_batch_3.bin")), 0);
    expect_error(open_cifar(CVR_SPLIT_TRAIN, 3, &fine), CVR_ERR_IO, "cifar-10", "data_batch_3.bin");
    expect_error(open_cifar(CVR_SPLIT_VAL, 3, &fine), CVR_ERR_IO, scratch_root, "test_batch.bin");
    free(file);
}

Test(datasets, cifar100_fine_coarse_and_grey) {
    uint64_t n = 0;
    uint8_t *const file = make_records(4, 2, 100, &n);
    test_write_file(scratch_path("test.bin"), file, n);
    opened o = open_cifar(CVR_SPLIT_VAL, 0, &fine);
    cr_assert_eq(o.status, CVR_OK, "%s", o.err.message);
    cr_expect(o.d->count(o.self) == 4 && o.d->n_classes(o.self) == 100);
    expect_rgb(o, 3, 3, 6);
    o.d->close(o.self);
    o = open_cifar(CVR_SPLIT_VAL, 1, &coarse);
    cr_assert_eq(o.status, CVR_OK, "%s", o.err.message);
    cr_expect_eq(o.d->n_classes(o.self), 20);
    cr_expect_eq(o.d->label(o.self, 3), 3);
    test_sample s;
    test_sample_init(&s);
    cr_assert_eq(o.d->read(o.self, 0, &s.sample, NULL), CVR_OK);
    const cvr_field *const f = cvr_sample_find(&s.sample, CVR_FIELD_IMAGE);
    cr_assert_eq(f->shape[2], 1);
    cr_expect_eq(((const uint8_t *)f->data)[200], (19595 * 200 + 38470 * 200 + 7471 * 200 + 0x8000) >> 16);
    test_sample_free(&s);
    o.d->close(o.self);
    free(file);
}

/* Gzip's size is not told: a small file must not fill the memory. */
Test(datasets, cifar_has_a_largest_file) {
    uint64_t n = 0, packed = 0;
    uint8_t *const file = calloc(1000, 3073);
    uint8_t *const z = gzip(file, n = 1000 * 3073, &packed), *const many = malloc(101 * packed);
    for (uint64_t i = 0; i < 101; i++) memcpy(many + i * packed, z, packed);
    test_write_file(scratch_path("test_batch.bin"), many, 101 * packed);
    expect_error(open_cifar(CVR_SPLIT_VAL, 3, &fine), CVR_ERR_FORMAT, "test_batch.bin", "more than 100,000 records");
    file[3 * 3073] = 99; /* found before the rest is read */
    test_write_file(scratch_path("test_batch.bin"), file, n);
    expect_error(open_cifar(CVR_SPLIT_VAL, 3, &fine), CVR_ERR_FORMAT, "test_batch.bin", "record 3 has label 99");
    free(file);
    free(z);
    free(many);
}

Test(datasets, cifar_damage_is_named) {
    uint64_t n = 0, packed = 0;
    uint8_t *const file = make_records(2, 1, 10, &n);
    uint8_t *const z = gzip(file, n, &packed);
    for (uint64_t cut = 0; cut < n; cut++) {
        if (cut == 3073) continue; /* a file of one record is whole */
        test_write_file(scratch_path("test_batch.bin"), file, cut);
        const opened o = open_cifar(CVR_SPLIT_VAL, 3, &fine);
        cr_assert_eq(o.status, CVR_ERR_FORMAT, "cut at %llu was taken", (unsigned long long)cut);
        cr_assert(strstr(o.err.file, "test_batch.bin"));
    }
    for (uint64_t cut = 0; cut < packed; cut++) {
        test_write_file(scratch_path("test_batch.bin"), z, cut);
        const opened o = open_cifar(CVR_SPLIT_VAL, 3, &fine);
        cr_assert_eq(o.status, CVR_ERR_FORMAT, "cut at %llu was taken", (unsigned long long)cut);
    }
    file[3073] = 10;
    test_write_file(scratch_path("test_batch.bin"), file, n);
    expect_error(open_cifar(CVR_SPLIT_VAL, 3, &fine), CVR_ERR_FORMAT, "test_batch.bin", "record 1 has label 10");
    file[3073] = 1;
    test_write_file(scratch_path("test_batch.bin"), file, n);
    expect_error(open_cifar(CVR_SPLIT_VAL, 3, &coarse), CVR_ERR_USAGE, "", "CIFAR-100");
    free(file);
    free(z);
}

/* ---- folder ---- */

typedef struct folder_attrs {
    double val_split;
} folder_attrs;
static const folder_attrs no_split = {0}, tenth = {0.1};

/* A PNG of one pixel with this grey value. */
static void make_picture(const char *name, uint8_t grey) {
    const cvr_codec_desc *const png = test_host_find(&host, CVR_KIND_CODEC, "png");
    const cvr_image image = {sizeof image, 1, 1, 1, &grey, NULL};
    test_bytes out = {NULL, 0};
    cr_assert_eq(png->encode(&host.host, &image, test_bytes_sink, &out, NULL), CVR_OK);
    test_write_file(scratch_path(name), out.bytes, out.n);
    test_bytes_free(&out);
}

static opened open_folder(uint32_t split, const folder_attrs *attrs) {
    return open_args("folder", (cvr_dataset_args){.split = split, .channels = 3, .seed = 4}, attrs);
}

static void expect_picture(opened o, int64_t index, uint8_t grey, int64_t label, const char *path) {
    char name[512];
    test_sample s;
    cvr_error err;
    cvr_error_init(&err);
    test_sample_init(&s);
    cr_assert_eq(o.d->read(o.self, index, &s.sample, &err), CVR_OK, "%s: %s", err.file, err.message);
    const cvr_field *const f = cvr_sample_find(&s.sample, CVR_FIELD_IMAGE);
    cr_expect(f->shape[0] == 1 && f->shape[1] == 1 && f->shape[2] == 3 && ((const uint8_t *)f->data)[2] == grey);
    cr_expect_eq(*(const int64_t *)cvr_sample_find(&s.sample, CVR_FIELD_LABEL)->data, label);
    o.d->describe(o.self, index, name, sizeof name);
    cr_expect_str_eq(name, scratch_path(path));
    cr_expect_str_eq(s.origin.path, scratch_path(path));
    expect_as_told(o, index, &s);
    test_sample_free(&s);
}

Test(datasets, folder_lists_as_imagefolder_does) {
    scratch_folders("train/dog/b");
    scratch_folders("train/Cat");
    scratch_folders("train/.hidden");
    scratch_folders("val/dog");
    make_picture("train/dog/z.PNG", 1);
    make_picture("train/dog/b/a.png", 2);
    make_picture("train/dog/b/B.jpg", 3); /* a PNG by its bytes */
    make_picture("train/dog/notes.txt", 9);
    make_picture("train/Cat/x.jpeg", 4);
    make_picture("train/stray.png", 9);
    make_picture("val/dog/v.png", 5);
    opened o = open_folder(CVR_SPLIT_TRAIN, &no_split);
    cr_assert_eq(o.status, CVR_OK, "%s", o.err.message);
    cr_assert(o.d->count(o.self) == 4 && o.d->n_classes(o.self) == 2);
    cr_expect_str_eq(o.d->class_name(o.self, 0), "Cat");
    cr_expect_str_eq(o.d->class_name(o.self, 1), "dog");
    expect_picture(o, 0, 4, 0, "train/Cat/x.jpeg");
    expect_picture(o, 1, 1, 1, "train/dog/z.PNG");
    expect_picture(o, 2, 3, 1, "train/dog/b/B.jpg");
    expect_picture(o, 3, 2, 1, "train/dog/b/a.png");
    o.d->close(o.self);
    /* Validation has only one of the classes and keeps its number. */
    o = open_folder(CVR_SPLIT_VAL, &no_split);
    cr_assert_eq(o.status, CVR_OK, "%s", o.err.message);
    cr_expect_eq(o.d->n_classes(o.self), 2);
    expect_picture(o, 0, 5, 1, "val/dog/v.png");
    o.d->close(o.self);
}

/* What is hidden is left out, what cannot be read is said, and what is missing is there to be missed; a picture of one
 * channel is RGB where nobody asks for grey. */
Test(datasets, folder_hidden_missing_and_other_formats) {
    scratch_folders("train/a/.ipynb_checkpoints");
    make_picture("train/a/1.png", 7);
    make_picture("train/a/._1.png", 9);
    make_picture("train/a/.ipynb_checkpoints/1-checkpoint.png", 9);
    make_picture("train/a/x.webp", 9);
    make_picture("train/a/y.BMP", 9);
    cr_assert_eq(symlink("/nowhere/2.png", scratch_path("train/a/2.png")), 0);
    cr_assert_eq(symlink("/nowhere/notes", scratch_path("train/a/notes")), 0);
    opened o = open_args("folder", (cvr_dataset_args){.split = CVR_SPLIT_TRAIN}, &no_split);
    cr_assert_eq(o.status, CVR_OK, "%s", o.err.message);
    cr_assert_eq(o.d->count(o.self), 2);
    cr_expect(strstr(host.last_log, "train: 2 pictures are left out"), "%s", host.last_log);
    expect_picture(o, 0, 7, 0, "train/a/1.png");
    test_sample s;
    cvr_error err = CVR_ERROR_INIT;
    test_sample_init(&s);
    cr_expect_eq(o.d->read(o.self, 1, &s.sample, &err), CVR_ERR_IO);
    cr_expect(strstr(err.file, "train/a/2.png"));
    test_sample_free(&s);
    o.d->close(o.self);
    scratch_folders("train/b");
    make_picture("train/b/x.tif", 9);
    expect_error(open_folder(CVR_SPLIT_TRAIN, &no_split), CVR_ERR_IO, "/train/b", "convert them");
}

Test(datasets, folder_from_two_given_trees) {
    char train[512], val[512];
    scratch_folders("a/x");
    scratch_folders("b/x");
    make_picture("a/x/1.png", 1);
    make_picture("b/x/2.png", 2);
    (void)snprintf(train, sizeof train, "%s/a", scratch_root);
    (void)snprintf(val, sizeof val, "%s/b", scratch_root);
    opened o = open_args(
        "folder", (cvr_dataset_args){.root = "", .train = train, .val = val, .split = CVR_SPLIT_VAL, .channels = 3},
        &no_split);
    cr_assert_eq(o.status, CVR_OK, "%s", o.err.message);
    expect_picture(o, 0, 2, 0, "b/x/2.png");
    o.d->close(o.self);
}

Test(datasets, folder_val_split_parts_every_class) {
    int seen[2][20] = {{0}};
    scratch_folders("a");
    scratch_folders("b");
    for (int i = 0; i < 20; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "a/%02d.png", i);
        make_picture(name, (uint8_t)i);
        (void)snprintf(name, sizeof name, "b/%02d.png", i);
        if (i < 3) make_picture(name, (uint8_t)i);
    }
    for (uint32_t split = 0; split < 2; split++) {
        for (int again = 0; again < 2; again++) {
            opened o = open_folder(split, &tenth);
            cr_assert_eq(o.status, CVR_OK, "%s", o.err.message);
            /* A tenth of 20, and one of 3 where it would round to none. */
            cr_expect_eq(o.d->count(o.self), split == CVR_SPLIT_VAL ? 3 : 20);
            int64_t last = -1;
            for (int64_t i = 0; i < o.d->count(o.self); i++) {
                char path[512];
                o.d->describe(o.self, i, path, sizeof path);
                const int number = atoi(path + strlen(path) - 6);
                const int64_t label = o.d->label(o.self, i);
                seen[label][number] += 1 << 4 * split;
                cr_expect_gt(label * 100 + number, last, "not in byte order");
                last = label * 100 + number;
            }
            o.d->close(o.self);
        }
    }
    /* Each picture twice in one split, never in the other. */
    for (int i = 0; i < 23; i++) {
        const int s = i < 20 ? seen[0][i] : seen[1][i - 20];
        cr_expect(s == 0x02 || s == 0x20, "picture %d: %x", i, (unsigned)s);
    }
}

Test(datasets, folder_trouble_is_named) {
    expect_error(open_folder(CVR_SPLIT_TRAIN, &no_split), CVR_ERR_IO, "/train", "no such folder");
    expect_error(open_args("folder", (cvr_dataset_args){.root = ""}, &no_split), CVR_ERR_USAGE, "", "data.root");
    scratch_folders("train");
    expect_error(open_folder(CVR_SPLIT_TRAIN, &no_split), CVR_ERR_IO, "/train", "no class folders");
    scratch_folders("train/a");
    scratch_folders("train/empty");
    make_picture("train/a/1.png", 1);
    make_picture("train/empty/notes.txt", 1);
    expect_error(open_folder(CVR_SPLIT_TRAIN, &no_split), CVR_ERR_IO, "/train/empty", "without pictures");
    make_picture("train/empty/2.png", 1);
    scratch_folders("val/new");
    make_picture("val/new/1.png", 1);
    expect_error(open_folder(CVR_SPLIT_VAL, &no_split), CVR_ERR_FORMAT, "/val", "'new'");
    expect_error(open_folder(CVR_SPLIT_VAL, &tenth), CVR_ERR_USAGE, "", "drop one");
    cr_assert_eq(symlink("..", scratch_path("train/a/loop")), 0);
    expect_error(open_folder(CVR_SPLIT_TRAIN, &no_split), CVR_ERR_IO, "loop", "link to a folder above");
    host.offer_images = 0;
    expect_error(open_folder(CVR_SPLIT_TRAIN, &no_split), CVR_ERR_NOTFOUND, "", "cvr.host.image/1");
}

Test(datasets, folder_bad_pictures_are_named) {
    static const char *const files[] = {"train/a/1.png", "train/a/2.png", "train/a/3.png"};
    scratch_folders("train/a");
    for (int i = 0; i < 3; i++) make_picture(files[i], 1);
    opened o = open_folder(CVR_SPLIT_TRAIN, &no_split);
    cr_assert_eq(o.status, CVR_OK, "%s", o.err.message);
    cr_assert_eq(unlink(scratch_path(files[0])), 0);
    test_write_file(scratch_path(files[1]), "no picture", 10);
    test_write_file(scratch_path(files[2]), "", 0);
    for (int64_t i = 0; i < 3; i++) {
        test_sample s;
        cvr_error err;
        cvr_error_init(&err);
        test_sample_init(&s);
        cr_expect_eq(o.d->read(o.self, i, &s.sample, &err), i ? CVR_ERR_FORMAT : CVR_ERR_IO);
        cr_expect(strstr(err.file, files[i]) && err.message[0], "%s: %s", err.file, err.message);
        test_sample_free(&s);
    }
    o.d->close(o.self);
}

/* ---- fake ---- */

typedef struct fake_attrs {
    int64_t size, classes, masks;
} fake_attrs;

static void read_fake(opened o, int64_t index, uint8_t *pixels, uint64_t n) {
    test_sample s;
    test_sample_init(&s);
    cr_assert_eq(o.d->read(o.self, index, &s.sample, NULL), CVR_OK);
    memcpy(pixels, cvr_sample_find(&s.sample, CVR_FIELD_IMAGE)->data, n);
    cr_expect_eq(*(const int64_t *)cvr_sample_find(&s.sample, CVR_FIELD_LABEL)->data, o.d->label(o.self, index));
    expect_as_told(o, index, &s);
    test_sample_free(&s);
}

Test(datasets, fake_depends_on_seed_split_and_index_only) {
    const fake_attrs attrs = {1000, 4, 0};
    uint8_t pictures[5][7 * 7 * 3];
    int counts[4] = {0};
    double sum = 0;
    opened o = open_args("fake", (cvr_dataset_args){.img_size = 7, .channels = 3, .seed = 1}, &attrs);
    cr_assert_eq(o.status, CVR_OK);
    cr_expect(o.d->count(o.self) == 1000 && o.d->n_classes(o.self) == 4);
    read_fake(o, 5, pictures[0], sizeof pictures[0]);
    read_fake(o, 6, pictures[1], sizeof pictures[0]);
    read_fake(o, 5, pictures[2], sizeof pictures[0]);
    for (int64_t i = 0; i < 1000; i++) counts[o.d->label(o.self, i)]++;
    o.d->close(o.self);
    o = open_args("fake", (cvr_dataset_args){.img_size = 7, .channels = 3, .seed = 2}, &attrs);
    read_fake(o, 5, pictures[3], sizeof pictures[0]);
    o.d->close(o.self);
    o = open_args("fake", (cvr_dataset_args){.img_size = 7, .channels = 3, .seed = 1, .split = CVR_SPLIT_VAL}, &attrs);
    read_fake(o, 5, pictures[4], sizeof pictures[0]);
    o.d->close(o.self);
    cr_expect_eq(memcmp(pictures[0], pictures[2], sizeof pictures[0]), 0);
    cr_expect_neq(memcmp(pictures[0], pictures[1], sizeof pictures[0]), 0);
    cr_expect_neq(memcmp(pictures[0], pictures[3], sizeof pictures[0]), 0);
    cr_expect_neq(memcmp(pictures[0], pictures[4], sizeof pictures[0]), 0);
    for (size_t i = 0; i < sizeof pictures; i++) sum += (&pictures[0][0])[i];
    cr_expect_float_eq(sum / sizeof pictures, 127.5, 15);
    for (int i = 0; i < 4; i++) cr_expect_float_eq(counts[i], 250, 60);
}
