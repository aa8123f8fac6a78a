/*
 * The data set "idx": MNIST and what has its layout (http://yann.lecun.com/exdb/mnist), plain or gzip. The decompressed
 * bytes stay in memory.
 */
#include "../idx_file.h"

typedef struct idx_attrs {
    const char *train_images, *train_labels, *val_images, *val_labels;
    int64_t classes;
} idx_attrs;

typedef struct idx {
    const cvr_host *host;
    uint8_t *images; /* (n, height, width) */
    uint8_t *labels; /* (n) */
    int64_t n, height, width, classes;
    int64_t channels;
    char images_path[4096], labels_path[4096];
    char names[256][4];
} idx;

/* The path of one of the four files: the recipe's own, else the usual name in data.root. */
static int32_t locate(const cvr_dataset_args *args, const char *given, const char *usual, char *buf, uint64_t size,
                      cvr_error *err) {
    if (given[0] != '\0') {
        const int n = snprintf(buf, size, "%s", given);
        return n >= 0 && (uint64_t)n < size ? CVR_OK
                                            : cvr_fail(err, CVR_ERR_INVALID, "a path that is too long: %.100s", given);
    }
    if (args->root[0] == '\0') {
        return cvr_fail(err, CVR_ERR_USAGE, "data.root is not set; give the folder that holds %s", usual);
    }
    if (dataset_file_find(args->root, usual, buf, size)) return CVR_OK;
    (void)cvr_fail(err, CVR_ERR_IO, "no %s or %s.gz here; check data.root", usual, usual);
    return cvr_fail_at(err, args->root, 0, CVR_ERR_IO);
}

/* Classes are counted over both splits, so that training and validation agree. The other split may be absent. */
static int32_t count_classes(idx *d, const cvr_dataset_args *args, cvr_error *err) {
    const idx_attrs *const a = args->attrs;
    const int32_t train = args->split == CVR_SPLIT_TRAIN;
    int64_t top = idx_file_highest(d->labels, d->n);
    char path[4096];
    idx_header h = {IDX_MAGIC_LABELS, 1, {0, 0, 0}};
    uint8_t *labels = NULL;
    d->classes = a->classes;
    if (a->classes > 0) return CVR_OK;
    const char *const given = train ? a->val_labels : a->train_labels;
    if (locate(args, given, train ? "t10k-labels-idx1-ubyte" : "train-labels-idx1-ubyte", path, sizeof path, NULL) ==
        CVR_OK) {
        const int32_t status = idx_file_read(args->host, path, &h, &labels, err);
        if (status == CVR_OK && idx_file_highest(labels, h.shape[0]) > top) top = idx_file_highest(labels, h.shape[0]);
        if (labels) args->host->free(args->host, labels);
        if (status != CVR_OK) return status;
    }
    d->classes = top + 1;
    return CVR_OK;
}

static int32_t check_labels(const idx *d, cvr_error *err) {
    for (int64_t i = 0; i < d->n; i++) {
        if (d->labels[i] < d->classes) continue;
        char what[160];
        (void)snprintf(what, sizeof what,
                       "label %lld is %d, but data.classes = %lld; raise data.classes or mend the file", (long long)i,
                       d->labels[i], (long long)d->classes);
        return dataset_file_fail_path(d->labels_path, err, CVR_ERR_FORMAT, what);
    }
    return CVR_OK;
}

static int32_t read_files(idx *d, const cvr_dataset_args *args, cvr_error *err) {
    const idx_attrs *const a = args->attrs;
    const int32_t train = args->split == CVR_SPLIT_TRAIN;
    idx_header images = {IDX_MAGIC_IMAGES, 3, {0, 0, 0}}, labels = {IDX_MAGIC_LABELS, 1, {0, 0, 0}};
    CVR_TRY(locate(args, train ? a->train_images : a->val_images,
                   train ? "train-images-idx3-ubyte" : "t10k-images-idx3-ubyte", d->images_path, sizeof d->images_path,
                   err));
    CVR_TRY(locate(args, train ? a->train_labels : a->val_labels,
                   train ? "train-labels-idx1-ubyte" : "t10k-labels-idx1-ubyte", d->labels_path, sizeof d->labels_path,
                   err));
    CVR_TRY(idx_file_read(args->host, d->images_path, &images, &d->images, err));
    CVR_TRY(idx_file_read(args->host, d->labels_path, &labels, &d->labels, err));
    if (images.shape[0] != labels.shape[0]) {
        char what[160];
        (void)snprintf(what, sizeof what,
                       "%lld labels for %lld pictures; these files do not belong together, give the right ones",
                       (long long)labels.shape[0], (long long)images.shape[0]);
        return dataset_file_fail_path(d->labels_path, err, CVR_ERR_FORMAT, what);
    }
    d->n = images.shape[0];
    d->height = images.shape[1];
    d->width = images.shape[2];
    CVR_TRY(count_classes(d, args, err));
    return check_labels(d, err);
}

static void close_idx(void *self) {
    idx *const d = self;
    if (!d) return;
    if (d->images) d->host->free(d->host, d->images);
    if (d->labels) d->host->free(d->host, d->labels);
    d->host->free(d->host, d);
}

static int32_t open_idx(const cvr_dataset_args *args, void **self, cvr_error *err) {
    *self = NULL;
    if (args->train[0] != '\0' || args->val[0] != '\0') {
        return cvr_fail(
            err, CVR_ERR_USAGE,
            "data.train and data.val are folders of pictures; for idx give data.root, or data.train_images, "
            "data.train_labels, data.val_images and data.val_labels");
    }
    idx *const d = args->host->alloc(args->host, sizeof *d, 64);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for an IDX data set");
    memset(d, 0, sizeof *d);
    d->host = args->host;
    d->channels = args->channels == 3 ? 3 : 1;
    for (int i = 0; i < 256; i++) (void)snprintf(d->names[i], sizeof d->names[i], "%u", (unsigned)(uint8_t)i);
    const int32_t status = read_files(d, args, err);
    if (status == CVR_OK)
        *self = d;
    else
        close_idx(d);
    return status;
}

static int64_t count(const void *self) {
    return ((const idx *)self)->n;
}

static int64_t n_classes(const void *self) {
    return ((const idx *)self)->classes;
}

static const char *class_name(const void *self, int64_t i) {
    return ((const idx *)self)->names[i];
}

static int64_t label(const void *self, int64_t index) {
    return ((const idx *)self)->labels[index];
}

static int32_t read_sample(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    const idx *const d = self;
    const int64_t n = d->height * d->width;
    const cvr_field image = {.name = "image",
                             .kind = CVR_FIELD_IMAGE,
                             .dtype = CVR_U8,
                             .rank = 3,
                             .shape = {d->height, d->width, d->channels}};
    const cvr_field target = {.name = "label", .kind = CVR_FIELD_LABEL, .dtype = CVR_I64};
    cvr_field *field = NULL;
    CVR_TRY(out->add(out, &image, &field, err));
    const uint8_t *const from = d->images + index * n;
    uint8_t *const to = field->data; /* (H,W,C) */
    if (d->channels == 1) memcpy(to, from, (size_t)n);
    for (int64_t i = 0; i < n && d->channels == 3; i++) to[3 * i] = to[3 * i + 1] = to[3 * i + 2] = from[i];
    CVR_TRY(out->add(out, &target, &field, err));
    *(int64_t *)field->data = d->labels[index];
    out->origin->height = d->height;
    out->origin->width = d->width;
    return CVR_OK;
}

static const char *kind(const void *self, uint32_t i) {
    static const char *const kinds[] = {CVR_FIELD_IMAGE, CVR_FIELD_LABEL};
    (void)self;
    return i < 2 ? kinds[i] : NULL;
}

static int32_t size_of(const void *self, int64_t index, int64_t *height, int64_t *width, cvr_error *err) {
    const idx *const d = self;
    (void)index, (void)err;
    *height = d->height;
    *width = d->width;
    return CVR_OK;
}

static void describe(const void *self, int64_t index, char *buf, uint64_t size) {
    const idx *const d = self;
    (void)snprintf(buf, size, "%s[%lld]", dataset_file_base(d->images_path), (long long)index);
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(PATH, "train_images", "",
             "pictures to train on; default: train-images-idx3-ubyte, or that with .gz, in data.root"),
    CVR_ATTR(PATH, "train_labels", "", "their labels; default: train-labels-idx1-ubyte"),
    CVR_ATTR(PATH, "val_images", "", "pictures to validate on; default: t10k-images-idx3-ubyte"),
    CVR_ATTR(PATH, "val_labels", "", "their labels; default: t10k-labels-idx1-ubyte"),
    CVR_ATTR(INT, "classes", "0", "number of classes; 0: one more than the highest label of both splits",
             CVR_ATTR_BETWEEN(0, 256)),
};

static const cvr_dataset_desc dataset = {
    .struct_size = sizeof dataset,
    .name = "idx",
    .doc = "MNIST, FashionMNIST and what has their layout: IDX files, plain or gzip",
    .n_attrs = sizeof attrs / sizeof attrs[0],
    .attrs = attrs,
    .open = open_idx,
    .close = close_idx,
    .count = count,
    .n_classes = n_classes,
    .class_name = class_name,
    .read = read_sample,
    .describe = describe,
    .label = label,
    .kind = kind,
    .size = size_of,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_DATASET, &dataset, err);
}

CVR_DEFINE_PLUGIN("dataset_idx", "0.1.0", "", load)
