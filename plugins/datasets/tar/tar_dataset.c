/*
 * The data set "tar": pictures and labels in tar archives, as webdataset has them. The archives are gone through once;
 * then samples are read from wherever they are, so that they are shuffled as any other data.
 */
#include "../csv_table.h"
#include "../dataset_picture.h"
#include "tar_shards.h"

typedef struct tar_attrs {
    int64_t classes;
    const char *class_names, *label_key;
} tar_attrs;

typedef struct tar {
    tar_index index;
    dataset_pictures pictures;
    name_table names; /* of the classes; where they are numbers only, those */
} tar;

/* data.train or data.val; else archives in data.root whose names begin with the split's, or in a folder of its name. */
static int32_t find_shards(tar_index *x, const cvr_dataset_args *args, uint32_t split, cvr_error *err) {
    static const char *const usual[2][2] = {{"train*.tar", "train/*.tar"}, {"val*.tar", "val/*.tar"}};
    const char *const given = split == CVR_SPLIT_TRAIN ? args->train : args->val;
    char pattern[4096];
    if (given[0]) return tar_shards_find(x, given, err);
    if (!args->root[0])
        return cvr_fail(err, CVR_ERR_USAGE, "data.root is not set; give the folder of the archives, or set data.train");
    CVR_TRY(dataset_path(pattern, sizeof pattern, args->root, usual[split][0], err));
    if (tar_shards_find(x, pattern, NULL) == CVR_OK) return CVR_OK;
    CVR_TRY(dataset_path(pattern, sizeof pattern, args->root, usual[split][1], err));
    return tar_shards_find(x, pattern, err);
}

static tar_index new_index(const tar *d, const cvr_dataset_args *args) {
    return (tar_index){.host = args->host,
                       .image = d->pictures.image,
                       .label_key = ((const tar_attrs *)args->attrs)->label_key,
                       .shards = {.host = args->host},
                       .highest = -1};
}

static int32_t read_names(tar *d, const char *path, cvr_error *err) {
    csv_table t = {0};
    int32_t status;
    CVR_TRY_OUT(csv_table_read(d->index.host, path, CSV_LINES, &t, err));
    CVR_TRY_OUT(csv_table_names(&t, path, 0, "a name that stands there twice", &d->names, err));
out:
    csv_table_free(&t);
    return status;
}

/* One more than the highest label of training, which validation has to look up. */
static int32_t count_classes(tar *d, const cvr_dataset_args *args, int64_t *n, cvr_error *err) {
    *n = d->index.highest + 1;
    if (args->split == CVR_SPLIT_TRAIN) return CVR_OK;
    tar_index train = new_index(d, args);
    int32_t status = CVR_OK;
    if (find_shards(&train, args, CVR_SPLIT_TRAIN, NULL) == CVR_OK) status = tar_index_make(&train, err);
    if (train.highest >= *n) *n = train.highest + 1;
    tar_index_free(&train);
    return status;
}

static int32_t name_classes(tar *d, const cvr_dataset_args *args, cvr_error *err) {
    const tar_attrs *const a = args->attrs;
    int64_t n = a->classes, number;
    if (a->class_names[0]) {
        CVR_TRY(read_names(d, a->class_names, err));
        n = (int64_t)d->names.n;
    } else {
        if (n == 0) CVR_TRY(count_classes(d, args, &n, err));
        for (int64_t i = 0; i < n; i++) {
            char name[32];
            (void)snprintf(name, sizeof name, "%lld", (long long)i);
            CVR_TRY(name_table_put(&d->names, name, &number, err));
        }
    }
    if (d->index.highest < n) return CVR_OK;
    return cvr_fail(err, CVR_ERR_FORMAT,
                    "there is a label %lld, and %lld classes; mend data.classes or data.class_names",
                    (long long)d->index.highest, (long long)n);
}

static void close_tar(void *self) {
    tar *const d = self;
    if (!d) return;
    const cvr_host *const host = d->index.host;
    tar_index_free(&d->index);
    name_table_free(&d->names);
    host->free(host, d);
}

static int32_t open_tar(const cvr_dataset_args *args, void **self, cvr_error *err) {
    dataset_pictures pictures;
    int32_t status;
    *self = NULL;
    CVR_TRY(dataset_pictures_open(args, &pictures, err));
    tar *const d = args->host->alloc(args->host, sizeof *d, 16);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the index of the archives");
    *d = (tar){.pictures = pictures, .names = {.host = args->host}};
    d->index = new_index(d, args);
    CVR_TRY_OUT(find_shards(&d->index, args, args->split, err));
    CVR_TRY_OUT(tar_index_make(&d->index, err));
    CVR_TRY_OUT(name_classes(d, args, err));
out:
    if (status == CVR_OK)
        *self = d;
    else
        close_tar(d);
    return status;
}

static int64_t count(const void *self) {
    return (int64_t)((const tar *)self)->index.n;
}

static int64_t n_classes(const void *self) {
    return (int64_t)((const tar *)self)->names.n;
}

static const char *class_name(const void *self, int64_t i) {
    return name_table_get(&((const tar *)self)->names, i);
}

static int64_t label(const void *self, int64_t index) {
    return ((const tar *)self)->index.samples[index].label;
}

static void describe(const void *self, int64_t index, char *buf, uint64_t size) {
    const tar_index *const x = &((const tar *)self)->index;
    const tar_sample *const s = &x->samples[index];
    (void)snprintf(buf, size, "%s:%s", name_table_get(&x->shards, s->shard), x->text + s->key);
}

/* The archive is opened for each sample: there may be more of them than a process may have open. */
static int32_t read_bytes(const tar_index *x, const tar_sample *s, uint8_t *bytes, cvr_error *err) {
    tar_file f;
    int32_t status;
    CVR_TRY_OUT(tar_file_open(&f, name_table_get(&x->shards, s->shard), err));
    CVR_TRY_OUT(tar_file_read(&f, s->offset, bytes, s->size, err));
out:
    tar_file_close(&f);
    return status;
}

static int32_t read_sample(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    const tar *const d = self;
    const tar_sample *const s = &d->index.samples[index];
    char name[512];
    uint8_t *const bytes = out->alloc(out, s->size + 1);
    if (!bytes)
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a picture of %llu bytes", (unsigned long long)s->size);
    CVR_TRY(read_bytes(&d->index, s, bytes, err));
    const int32_t status = dataset_picture_add(&d->pictures, bytes, s->size, out, err);
    if (status == CVR_OK) return dataset_label_add(s->label, out, err);
    describe(self, index, name, sizeof name);
    return cvr_fail_at(err, name, 0, status);
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(INT, "classes", "0", "number of classes; 0: one more than the highest label of both splits",
             CVR_ATTR_BETWEEN(0, 65536)),
    CVR_ATTR(PATH, "class_names", "", "a file with the name of class 0, 1, ... a line"),
    CVR_ATTR(STRING, "label_key", "label", "where a .json has the class's number"),
};

static const cvr_dataset_desc dataset = {
    .struct_size = sizeof dataset,
    .name = "tar",
    .doc = "Shards as webdataset has them: tar archives of NAME.jpg (or .png, ...) with NAME.cls or NAME.json",
    .n_attrs = sizeof attrs / sizeof attrs[0],
    .attrs = attrs,
    .open = open_tar,
    .close = close_tar,
    .count = count,
    .n_classes = n_classes,
    .class_name = class_name,
    .read = read_sample,
    .describe = describe,
    .label = label,
    .kind = dataset_picture_kind,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_DATASET, &dataset, err);
}

CVR_DEFINE_PLUGIN("dataset_tar", "0.1.0", "", load)
