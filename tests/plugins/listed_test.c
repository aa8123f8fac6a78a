/*
 * The data sets csv, imagenet and tar: what they give, and what they say of lists and archives that are not right.
 * Every file is made here.
 */
#include "../support/scratch.h"
#include "../support/test_host.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <zlib.h>

static test_host host;

static void load(void) {
    test_host_init(&host);
    test_host_load(&host, "dataset_csv");
    test_host_load(&host, "dataset_folder");
    test_host_load(&host, "dataset_tar");
    test_host_load(&host, "codec_png");
    host.offer_images = 1;
    scratch_open("listed");
}

static void unload(void) {
    scratch_close();
    cr_expect_eq(host.live, 0, "memory was left behind");
}

TestSuite(listed, .init = load, .fini = unload);

/* A PNG of one grey pixel. */
static test_bytes picture(uint8_t grey) {
    const cvr_codec_desc *const png = test_host_find(&host, CVR_KIND_CODEC, "png");
    const cvr_image image = {sizeof image, 1, 1, 1, &grey, NULL};
    test_bytes out = {NULL, 0};
    cr_assert_eq(png->encode(&host.host, &image, test_bytes_sink, &out, NULL), CVR_OK);
    return out;
}

static void put_picture(const char *name, uint8_t grey) {
    test_bytes b = picture(grey);
    scratch_put(name, b.bytes, b.n);
    test_bytes_free(&b);
}

typedef struct opened {
    const cvr_dataset_desc *d;
    void *self;
    int32_t status;
    cvr_error err;
} opened;

static opened open_split(const char *name, uint32_t split, const void *attrs, const char *train) {
    opened o = {test_host_find(&host, CVR_KIND_DATASET, name), NULL, 0, CVR_ERROR_INIT};
    const cvr_dataset_args args = {.struct_size = sizeof args,
                                   .host = &host.host,
                                   .attrs = attrs,
                                   .root = scratch_root,
                                   .train = train,
                                   .val = "",
                                   .split = split,
                                   .seed = 4};
    o.status = o.d->open(&args, &o.self, &o.err);
    cr_assert(o.status == CVR_OK || (!o.self && o.err.message[0] && host.live == 0), "%s", o.err.message);
    return o;
}

static opened must_open(const char *name, uint32_t split, const void *attrs) {
    const opened o = open_split(name, split, attrs, "");
    cr_assert_eq(o.status, CVR_OK, "%s: %s", o.err.file, o.err.message);
    return o;
}

static void refuses(opened o, const char *file, uint32_t line, const char *says) {
    cr_expect_neq(o.status, CVR_OK, "it should have said '%s'", says);
    cr_expect(strstr(o.err.file, file) && (!line || o.err.line == line), "%s:%u", o.err.file, o.err.line);
    cr_expect(strstr(o.err.message, says), "'%s' does not say '%s'", o.err.message, says);
    if (o.self) o.d->close(o.self);
}

/* The picture's level, and its label: a number, or "011" for one of several classes. */
static void expect_sample(opened o, int64_t index, uint8_t grey, const char *label) {
    test_sample s;
    cvr_error err = CVR_ERROR_INIT;
    char got[32] = "";
    test_sample_init(&s);
    cr_assert_eq(o.d->read(o.self, index, &s.sample, &err), CVR_OK, "%s: %s", err.file, err.message);
    const cvr_field *const f = cvr_sample_find(&s.sample, CVR_FIELD_IMAGE), *const y = cvr_sample_find(&s.sample,
                                                                                                       CVR_FIELD_LABEL);
    cr_assert(f && y);
    cr_expect(f->shape[2] == 3 && ((const uint8_t *)f->data)[1] == grey, "sample %lld", (long long)index);
    if (y->dtype == CVR_I64) {
        (void)snprintf(got, sizeof got, "%lld", (long long)*(const int64_t *)y->data);
        cr_expect_eq(o.d->label(o.self, index), *(const int64_t *)y->data);
    }
    for (int64_t i = 0; y->dtype == CVR_F32 && i < y->shape[0]; i++)
        got[i] = (char)('0' + (int)((const float *)y->data)[i]);
    cr_expect_str_eq(got, label, "sample %lld: %s, not %s", (long long)index, got, label);
    test_sample_free(&s);
}

/* ---- csv ---- */

typedef struct csv_attrs {
    double val_split;
    int64_t header;
    const char *delimiter, *file_column, *label_column, *label_columns, *label_separator, *images, *suffix;
} csv_attrs;

static const csv_attrs plain = {0, 1, ",", "", "", "", "", "", ""};

Test(listed, csv_with_a_header) {
    put_picture("pictures/a b,\"1\".png", 1);
    put_picture("pictures/c.png", 2);
    put_picture("v.png", 3);
    scratch_put_text(
        "train.csv",
        "\xef\xbb\xbflabel,\"file\"\r\ndog,\"pictures/a b,\"\"1\"\".png\"\r\n\r\n\"the\ncat\",pictures/c.png");
    scratch_put_text("val.csv", "label,file\ndog,v.png\n");
    csv_attrs a = plain;
    a.file_column = "file";
    a.label_column = "label";
    opened o = must_open("csv", CVR_SPLIT_TRAIN, &a);
    cr_assert(o.d->count(o.self) == 2 && o.d->n_classes(o.self) == 2);
    cr_expect_str_eq(o.d->class_name(o.self, 0), "dog");
    cr_expect_str_eq(o.d->class_name(o.self, 1), "the\ncat");
    expect_sample(o, 0, 1, "0");
    expect_sample(o, 1, 2, "1");
    o.d->close(o.self);
    o = must_open("csv", CVR_SPLIT_VAL, &a); /* has the classes of training */
    cr_expect_eq(o.d->n_classes(o.self), 2);
    expect_sample(o, 0, 3, "0");
    o.d->close(o.self);
}

Test(listed, csv_without_a_header_and_gzip) {
    const csv_attrs a = {0, 0, ";", "2", "1", "", "", scratch_path("p"), ".png"};
    put_picture("p/7.png", 7);
    put_picture("p/8.png", 8);
    gzFile z = gzopen(scratch_path("train.csv.gz"), "wb");
    cr_assert(z && gzputs(z, "10;7\n9;8\n") > 0 && gzclose(z) == Z_OK);
    opened o = must_open("csv", CVR_SPLIT_TRAIN, &a);
    cr_expect_str_eq(o.d->class_name(o.self, 0), "9"); /* numbers stand in the order of numbers */
    expect_sample(o, 0, 7, "1");
    expect_sample(o, 1, 8, "0");
    o.d->close(o.self);
}

Test(listed, csv_of_several_classes) {
    csv_attrs a = plain;
    put_picture("x.png", 1);
    put_picture("y.png", 2);
    scratch_put_text("train.csv", "f,cat,dog,owl\nx.png,0,1,1\ny.png,0,0,0\n");
    a.label_columns = "*";
    opened o = must_open("csv", CVR_SPLIT_TRAIN, &a);
    expect_sample(o, 0, 1, "011");
    expect_sample(o, 1, 2, "000");
    cr_expect_eq(o.d->label(o.self, 0), -1);
    o.d->close(o.self);
    a.label_columns = "owl,cat";
    o = must_open("csv", CVR_SPLIT_TRAIN, &a);
    cr_expect_str_eq(o.d->class_name(o.self, 0), "cat"); /* as the columns stand */
    expect_sample(o, 0, 1, "01");
    o.d->close(o.self);
    scratch_put_text("train.csv", "f,classes\nx.png,owl | cat\ny.png,dog|cat\nx.png,\n");
    a.label_columns = "";
    a.label_separator = "|";
    o = must_open("csv", CVR_SPLIT_TRAIN, &a);
    expect_sample(o, 0, 1, "101");
    expect_sample(o, 1, 2, "110");
    expect_sample(o, 2, 1, "000");
    o.d->close(o.self);
}

Test(listed, csv_split_keeps_each_class_in_both) {
    char text[4096] = "f,l\n";
    csv_attrs a = plain;
    int seen[2][2] = {{0}};
    a.val_split = 0.25;
    for (int i = 0; i < 40; i++) (void)snprintf(text + strlen(text), 64, "%d.png,%s\n", i, i % 5 ? "a" : "b");
    scratch_put_text("train.csv", text);
    for (uint32_t split = 0; split < 2; split++) {
        opened o = must_open("csv", split, &a);
        for (int64_t i = 0; i < o.d->count(o.self); i++) seen[split][o.d->label(o.self, i)]++;
        o.d->close(o.self);
    }
    cr_expect(seen[0][0] == 24 && seen[1][0] == 8 && seen[0][1] == 6 && seen[1][1] == 2);
}

Test(listed, csv_says_what_is_wrong) {
    static const struct {
        const char *text, *says;
        uint32_t line;
    } cases[] = {
        {"f,l\na,b\nc\n", "1 cells in this row", 3},
        {"f,l\na,\"b\n\n", "not closed", 2},
        {"f,l\na,\"b\"c\n", "behind a closing quote", 2},
        {"f,l\na,b\"c\n", "a quote inside", 2},
        {"f,l\n,b\n", "without a file", 2},
        {"f,l\n\na,\n", "without a class", 3},
        {"f,l\n", "no row but the header", 1},
        {"", "an empty file", 0},
        {"f\na\n", "data.label_column", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        scratch_put_text("train.csv", cases[i].text);
        refuses(open_split("csv", CVR_SPLIT_TRAIN, &plain, ""), "train.csv", cases[i].line, cases[i].says);
    }
    csv_attrs a = plain;
    scratch_put_text("train.csv", "f,l\na,b\n");
    scratch_put_text("val.csv", "f,l\na,c\n");
    refuses(open_split("csv", CVR_SPLIT_VAL, &plain, ""), "val.csv", 2, "class 'c' is not among");
    a.label_column = "m";
    refuses(open_split("csv", CVR_SPLIT_TRAIN, &a, ""), "train.csv", 0, "no column `m` among 2");
    a.label_columns = "*";
    refuses(open_split("csv", CVR_SPLIT_TRAIN, &a, ""), "train.csv", 2, "neither 0 nor 1");
    scratch_put_text("train.csv", "f,l,l\na,1,0\n");
    refuses(open_split("csv", CVR_SPLIT_TRAIN, &a, ""), "train.csv", 1, "two columns are called `l`");
    a.label_columns = "";
    a.label_column = "l";
    refuses(open_split("csv", CVR_SPLIT_TRAIN, &a, ""), "train.csv", 1, "two columns are called `l`");
    a.label_columns = "*";
    a.label_separator = "|";
    refuses(open_split("csv", CVR_SPLIT_TRAIN, &a, ""), "", 0, "exclude each other");
    (void)remove(scratch_path("train.csv"));
    refuses(open_split("csv", CVR_SPLIT_TRAIN, &plain, ""), "train.csv", 0, "cannot open");
}

/* ---- imagenet ---- */

typedef struct imagenet_attrs {
    const char *val_list, *val_classes, *class_names;
} imagenet_attrs;
static const imagenet_attrs usual = {"", "", ""};

static void put_imagenet(const char *base) {
    char name[256];
    static const char *const synsets[] = {"n02", "n01", "n03"};
    for (int i = 0; i < 3; i++) {
        (void)snprintf(name, sizeof name, "%strain/%s/%s_1.png", base, synsets[i], synsets[i]);
        put_picture(name, (uint8_t)(i + 1));
        (void)snprintf(name, sizeof name, "%sval/ILSVRC2012_val_0000000%d.png", base, i + 1);
        put_picture(name, (uint8_t)(11 + i));
    }
}

Test(listed, imagenet_as_kaggle_has_it) {
    put_imagenet("ILSVRC/Data/CLS-LOC/");
    scratch_put_text("LOC_synset_mapping.txt", "n01 tench, Tinca tinca\nn02 crane\nn03 crane\n");
    scratch_put_text("LOC_val_solution.csv",
                     "ImageId,PredictionString\nILSVRC2012_val_00000003,n02 1 2 3 4 \n"
                     "ILSVRC2012_val_00000001,n03 1 2 3 4 n03 5 6 7 8 \nILSVRC2012_val_00000002,n01 1 2 3 4\n");
    opened o = must_open("imagenet", CVR_SPLIT_TRAIN, &usual);
    cr_assert(o.d->count(o.self) == 3 && o.d->n_classes(o.self) == 3);
    cr_expect_str_eq(o.d->class_name(o.self, 0), "tench, Tinca tinca");
    cr_expect_str_eq(o.d->class_name(o.self, 1), "crane");
    cr_expect_str_eq(o.d->class_name(o.self, 2), "n03");
    expect_sample(o, 0, 2, "0");
    o.d->close(o.self);
    o = must_open("imagenet", CVR_SPLIT_VAL, &usual);
    expect_sample(o, 0, 11, "2");
    expect_sample(o, 1, 12, "0");
    expect_sample(o, 2, 13, "1");
    o.d->close(o.self);
    scratch_put_text("LOC_val_solution.csv", "ImageId,PredictionString\nILSVRC2012_val_00000001,n03\n");
    refuses(open_split("imagenet", CVR_SPLIT_VAL, &usual, ""), "LOC_val_solution.csv", 0, "ILSVRC2012_val_00000002");
    (void)remove(scratch_path("LOC_val_solution.csv"));
    refuses(open_split("imagenet", CVR_SPLIT_VAL, &usual, ""), "CLS-LOC/val", 0, "data.val_list");
}

Test(listed, imagenet_by_the_development_kit) {
    imagenet_attrs a = usual;
    put_imagenet("");
    scratch_put_text("ILSVRC2012_validation_ground_truth.txt", "2\n3\n1\n");
    refuses(open_split("imagenet", CVR_SPLIT_VAL, &a, ""), "ground_truth", 0, "data.val_classes");
    scratch_put_text("ids.txt", "n03\nn01 fish\nn02\n");
    char ids[512];
    (void)snprintf(ids, sizeof ids, "%s", scratch_path("ids.txt"));
    a.val_classes = ids;
    opened o = must_open("imagenet", CVR_SPLIT_VAL, &a);
    expect_sample(o, 0, 11, "0");
    expect_sample(o, 1, 12, "1");
    expect_sample(o, 2, 13, "2");
    o.d->close(o.self);
    scratch_put_text("ILSVRC2012_validation_ground_truth.txt", "2\n4\n1\n");
    refuses(open_split("imagenet", CVR_SPLIT_VAL, &a, ""), "ground_truth", 2, "not a number of a class");
    scratch_put_text("ILSVRC2012_validation_ground_truth.txt", "2\n1\n");
    refuses(open_split("imagenet", CVR_SPLIT_VAL, &a, ""), "ground_truth", 0, "2 lines for 3 pictures");
    scratch_put_text("ids.txt", "n03\nn09\nn02\n");
    scratch_put_text("ILSVRC2012_validation_ground_truth.txt", "2\n3\n1\n");
    refuses(open_split("imagenet", CVR_SPLIT_VAL, &a, ""), "ids.txt", 2, "no training folder");
    put_picture("val/n01/x.png", 20); /* class folders need no list */
    o = must_open("imagenet", CVR_SPLIT_VAL, &usual);
    cr_expect_eq(o.d->count(o.self), 1);
    expect_sample(o, 0, 20, "0");
    o.d->close(o.self);
}

/* ---- tar ---- */

typedef struct tar_attrs {
    int64_t classes;
    const char *class_names, *label_key;
} tar_attrs;
static const tar_attrs tar_usual = {0, "", "label"};

/* An archive that grows: a header of ustar and the bytes. */
static void add_member(test_bytes *tar, const char *name, char type, const void *bytes, uint64_t n) {
    uint8_t block[512] = {0};
    unsigned sum = 0;
    (void)snprintf((char *)block, 100, "%s", name);
    (void)snprintf((char *)block + 100, 8, "0000644");
    (void)snprintf((char *)block + 124, 12, "%011o", (unsigned)n);
    memcpy(block + 257,
           "ustar\0"
           "00",
           8);
    block[156] = (uint8_t)type;
    memset(block + 148, ' ', 8);
    for (int i = 0; i < 512; i++) sum += block[i];
    (void)snprintf((char *)block + 148, 8, "%06o", sum);
    (void)test_bytes_sink(tar, block, 512, NULL);
    (void)test_bytes_sink(tar, bytes, n, NULL);
    memset(block, 0, sizeof block);
    (void)test_bytes_sink(tar, block, (512 - n % 512) % 512, NULL);
}

static void add_text(test_bytes *tar, const char *name, const char *text) {
    add_member(tar, name, '0', text, strlen(text));
}

static void add_picture(test_bytes *tar, const char *name, uint8_t grey) {
    test_bytes b = picture(grey);
    add_member(tar, name, '0', b.bytes, b.n);
    test_bytes_free(&b);
}

static void write_tar(const char *name, test_bytes *tar, uint64_t zeros) {
    static const uint8_t end[1024];
    (void)test_bytes_sink(tar, end, zeros, NULL);
    scratch_put(name, tar->bytes, tar->n);
    test_bytes_free(tar);
}

Test(listed, tar_shards) {
    test_bytes a = {NULL, 0}, b = {NULL, 0}, v = {NULL, 0};
    add_member(&a, "d/", '5', "", 0);
    add_picture(&a, "d/1.2/x.png", 1); /* the folder's dot ends no name */
    add_text(&a, "d/1.2/x.cls", "2");
    add_text(&a, "d/1.2/x.txt", "a caption");
    add_text(&a, "d/1.2/y.json", "{\"a\": [{\"label\": 1}], \"label\" : 0 }");
    add_picture(&a, "d/1.2/y.png", 2);
    add_picture(&a, "d/1.2/y.seg.png", 9); /* another part of the sample, not its picture */
    write_tar("train-00.tar", &a, 1024);
    /* A long name in two ways. */
    add_member(&b, "././@LongLink", 'L', "long.png", 9);
    add_picture(&b, "short", 3);
    add_member(&b, "x", 'x', "17 path=long.cls\n", 17);
    add_text(&b, "short", " 1\n");
    write_tar("train-01.tar", &b, 0);
    add_picture(&v, "v.png", 4);
    add_text(&v, "v.cls", "1");
    write_tar("val.tar", &v, 512);
    opened o = must_open("tar", CVR_SPLIT_TRAIN, &tar_usual);
    cr_assert(o.d->count(o.self) == 3 && o.d->n_classes(o.self) == 3);
    expect_sample(o, 2, 3, "1");
    expect_sample(o, 0, 1, "2");
    expect_sample(o, 1, 2, "0");
    char name[512];
    o.d->describe(o.self, 0, name, sizeof name);
    cr_expect(strstr(name, "train-00.tar:d/1.2/x"), "%s", name);
    o.d->close(o.self);
    o = must_open("tar", CVR_SPLIT_VAL, &tar_usual);
    cr_expect_eq(o.d->n_classes(o.self), 3);
    expect_sample(o, 0, 4, "1");
    o.d->close(o.self);
    const char *const patterns[] = {"train-{00..01}.tar", "train-{01,00}.tar", "train-0[01].tar", "train-*"};
    for (int i = 0; i < 4; i++) {
        o = open_split("tar", CVR_SPLIT_TRAIN, &tar_usual, scratch_path(patterns[i]));
        cr_assert_eq(o.status, CVR_OK, "%s: %s", patterns[i], o.err.message);
        cr_expect_eq(o.d->count(o.self), 3);
        expect_sample(o, i == 1 ? 0 : 2, 3, "1");
        o.d->close(o.self);
    }
    tar_attrs named = tar_usual;
    scratch_put_text("names", "cat\ndog\nbig owl\n");
    named.class_names = scratch_path("names");
    o = must_open("tar", CVR_SPLIT_TRAIN, &named);
    cr_expect_str_eq(o.d->class_name(o.self, 2), "big owl");
    o.d->close(o.self);
    scratch_put_text("names", "cat\ndog\n");
    refuses(open_split("tar", CVR_SPLIT_TRAIN, &named, ""), "", 0, "label 2, and 2 classes");
    refuses(open_split("tar", CVR_SPLIT_TRAIN, &tar_usual, scratch_path("none-*.tar")), "", 0, "no such archive");
    refuses(open_split("tar", CVR_SPLIT_TRAIN, &tar_usual, scratch_path("train-{0..9999999}.tar")), "", 0,
            "a range of none, or of over 100,000 archives");
}

Test(listed, tar_says_what_is_wrong) {
    static const struct {
        const char *name, *text, *says;
    } cases[] = {
        {"x.txt", "hi", "no sample"},       {"x.cls", "1", "a label without a picture"},
        {"p.cls", "one", "not a number"},   {"p.json", "{\"labels\": 1}", "data.label_key"},
        {"p.cls", "70000", "not a number"}, {"p.png", "x", "two pictures"},
        {"z.png", "x", "without a label"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_bytes t = {NULL, 0};
        if (cases[i].name[0] == 'p') add_picture(&t, "p.png", 1);
        add_text(&t, cases[i].name, cases[i].text);
        write_tar("train.tar", &t, 1024);
        refuses(open_split("tar", CVR_SPLIT_TRAIN, &tar_usual, ""), "train.tar", 0, cases[i].says);
    }
    static const struct {
        const char *name, *bytes;
        uint64_t n;
        const char *says;
        char type;
    } others[] = {{"l.png", "", 0, "sample l: a link in place of a file", '1'},
                  {"l.cls", "", 0, "sample l: a link in place of a file", '2'},
                  {"s.png", "", 0, "a sparse file", 'S'},
                  {"x", "22 GNU.sparse.major=1\n", 22, "a sparse file", 'x'}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        test_bytes t = {NULL, 0};
        add_picture(&t, "p.png", 1);
        add_text(&t, "p.cls", "1");
        add_member(&t, "README", '2', "", 0); /* a link that is no part of a sample */
        add_member(&t, others[i].name, others[i].type, others[i].bytes, others[i].n);
        write_tar("train.tar", &t, 1024);
        refuses(open_split("tar", CVR_SPLIT_TRAIN, &tar_usual, ""), "train.tar", 0, others[i].says);
    }
    test_bytes t = {NULL, 0};
    add_picture(&t, "p.png", 1);
    add_text(&t, "p.cls", "1");
    for (uint64_t cut = 1; cut < t.n; cut += 7) { /* it ends early, or in the padding of its last file */
        scratch_put("train.tar", t.bytes, cut);
        const opened o = open_split("tar", CVR_SPLIT_TRAIN, &tar_usual, "");
        cr_assert(o.status != CVR_OK || cut > t.n - 512, "cut at %llu", (unsigned long long)cut);
        if (o.self) o.d->close(o.self);
    }
    t.bytes[130] = '9';
    scratch_put("train.tar", t.bytes, t.n);
    refuses(open_split("tar", CVR_SPLIT_TRAIN, &tar_usual, ""), "train.tar", 0, "not a tar archive");
    test_bytes_free(&t);
}
