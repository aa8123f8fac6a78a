/*
 * The data set "idx": MNIST and what has its layout (http://yann.lecun.com/exdb/mnist), plain or gzip. The decompressed
 * bytes stay in memory.
 */
#include "../dataset_file.h"

#define MAGIC_IMAGES 0x00000803u /* u8, 3 dimensions */
#define MAGIC_LABELS 0x00000801u /* u8, 1 dimension */

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

static uint32_t big_u32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* What an IDX file declares. */
typedef struct idx_header {
    uint32_t magic;
    uint32_t rank;
    int64_t shape[3];
} idx_header;

/* Reads the header and makes sure that the file could hold what it declares, before anything is allocated. */
static int32_t read_header(dataset_file *f, idx_header *h, cvr_error *err) {
    uint8_t raw[16];
    uint64_t got = 0, total = 1;
    const uint64_t size = 4 + 4 * (uint64_t)h->rank;
    int32_t status = dataset_file_read(f, raw, size, &got, err);
    if (status != CVR_OK) return status;
    if (got < size) return dataset_file_fail(f, err, "too short for an IDX file; download it again");
    if (big_u32(raw) != h->magic) {
        char what[160];
        (void)snprintf(what, sizeof what,
                       "not an IDX file of %s: it begins with 0x%08x, 0x%08x is expected; check the path",
                       h->rank == 3 ? "pictures" : "labels", (unsigned)big_u32(raw), (unsigned)h->magic);
        return dataset_file_fail(f, err, what);
    }
    for (uint32_t i = 0; i < h->rank; i++) {
        h->shape[i] = big_u32(raw + 4 + 4 * i);
        if (h->shape[i] == 0) return dataset_file_fail(f, err, "it declares that it is empty; download it again");
        /* Three numbers of 32 bits overflow 64: divide. */
        if ((uint64_t)h->shape[i] > dataset_file_limit(f) / total) {
            return dataset_file_fail(f, err, "it declares more than it could hold; download it again");
        }
        total *= (uint64_t)h->shape[i];
    }
    return CVR_OK;
}

/* The whole of one IDX file; `h` says what is expected and gets the shape. */
static int32_t read_idx(const cvr_host *host, const char *path, idx_header *h, uint8_t **out, cvr_error *err) {
    dataset_file *f = NULL;
    uint64_t got = 0, rest = 0, total = 1;
    uint8_t extra;
    int32_t status = dataset_file_open(host, path, &f, err);
    if (status == CVR_OK) status = read_header(f, h, err);
    for (uint32_t i = 0; i < h->rank && status == CVR_OK; i++) total *= (uint64_t)h->shape[i];
    if (status == CVR_OK) {
        *out = host->alloc(host, total, 64);
        if (!*out)
            status =
                cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the %llu bytes of %s", (unsigned long long)total, path);
    }
    if (status == CVR_OK) status = dataset_file_read(f, *out, total, &got, err);
    if (status == CVR_OK) status = dataset_file_read(f, &extra, 1, &rest, err);
    if (status == CVR_OK && got < total) {
        status = dataset_file_fail(f, err, "it ends before what it declares; download it again");
    }
    if (status == CVR_OK && rest > 0) {
        status = dataset_file_fail(f, err, "it goes on after what it declares; download it again");
    }
    dataset_file_close(f);
    return status;
}

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

static int64_t highest(const uint8_t *labels, int64_t n) {
    int64_t top = 0;
    for (int64_t i = 0; i < n; i++) top = labels[i] > top ? labels[i] : top;
    return top;
}

/* Classes are counted over both splits, so that training and validation agree. The other split may be absent. */
static int32_t count_classes(idx *d, const cvr_dataset_args *args, cvr_error *err) {
    const idx_attrs *const a = args->attrs;
    const int32_t train = args->split == CVR_SPLIT_TRAIN;
    int64_t top = highest(d->labels, d->n);
    char path[4096];
    idx_header h = {MAGIC_LABELS, 1, {0, 0, 0}};
    uint8_t *labels = NULL;
    d->classes = a->classes;
    if (a->classes > 0) return CVR_OK;
    const char *const given = train ? a->val_labels : a->train_labels;
    if (locate(args, given, train ? "t10k-labels-idx1-ubyte" : "train-labels-idx1-ubyte", path, sizeof path, NULL) ==
        CVR_OK) {
        const int32_t status = read_idx(args->host, path, &h, &labels, err);
        if (status == CVR_OK && highest(labels, h.shape[0]) > top) top = highest(labels, h.shape[0]);
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
    idx_header images = {MAGIC_IMAGES, 3, {0, 0, 0}}, labels = {MAGIC_LABELS, 1, {0, 0, 0}};
    int32_t status = locate(args, train ? a->train_images : a->val_images,
                            train ? "train-images-idx3-ubyte" : "t10k-images-idx3-ubyte", d->images_path,
                            sizeof d->images_path, err);
    if (status == CVR_OK) {
        status = locate(args, train ? a->train_labels : a->val_labels,
                        train ? "train-labels-idx1-ubyte" : "t10k-labels-idx1-ubyte", d->labels_path,
                        sizeof d->labels_path, err);
    }
    if (status == CVR_OK) status = read_idx(args->host, d->images_path, &images, &d->images, err);
    if (status == CVR_OK) status = read_idx(args->host, d->labels_path, &labels, &d->labels, err);
    if (status != CVR_OK) return status;
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
    status = count_classes(d, args, err);
    return status == CVR_OK ? check_labels(d, err) : status;
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
