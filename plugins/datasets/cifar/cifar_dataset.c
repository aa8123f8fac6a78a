/*
 * The data set "cifar": the binary versions of CIFAR-10 and CIFAR-100 (https://www.cs.toronto.edu/~kriz/cifar.html),
 * plain or gzip. A record is the label (CIFAR-100: coarse, then fine) and the red, green and blue planes of 32 x 32.
 */
#include "../dataset_file.h"

#define SIDE 32
#define PLANE (SIDE * SIDE)
/* Records that are read at a time; the memory grows with what is really there. */
#define BLOCK 1000u

typedef struct cifar_attrs {
    int64_t coarse;
} cifar_attrs;

typedef struct cifar {
    const cvr_host *host;
    uint8_t *records;
    uint64_t n, room, record; /* records read, records that fit, bytes of one */
    int64_t classes, label_at;
    int64_t channels;
    uint32_t n_files;
    uint32_t reserved;
    uint64_t file_end[5]; /* records up to the end of each file */
    char files[5][48];
    char dir[4096];
    char names[100][64];
} cifar;

static int32_t grow(cifar *d, cvr_error *err) {
    const uint64_t room = d->room ? d->room * 2 : BLOCK;
    uint8_t *const bigger = d->host->alloc(d->host, room * d->record, 64);
    if (!bigger) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for %llu CIFAR pictures", (unsigned long long)room);
    if (d->n) memcpy(bigger, d->records, d->n * d->record);
    if (d->records) d->host->free(d->host, d->records);
    d->records = bigger;
    d->room = room;
    return CVR_OK;
}

static int32_t check_labels(const cifar *d, uint64_t from, const dataset_file *f, cvr_error *err) {
    for (uint64_t i = from; i < d->n; i++) {
        const uint8_t y = d->records[i * d->record + (uint64_t)d->label_at];
        char what[120];
        if (y < d->classes) continue;
        (void)snprintf(what, sizeof what, "record %llu has label %u of %lld classes; download the file again",
                       (unsigned long long)(i - from), (unsigned)y, (long long)d->classes);
        return dataset_file_fail(f, err, what);
    }
    return CVR_OK;
}

static int32_t read_records(cifar *d, dataset_file *f, cvr_error *err) {
    const uint64_t first = d->n;
    for (;;) {
        uint64_t got = 0;
        if (d->n == d->room) CVR_TRY(grow(d, err));
        const uint64_t want = (d->room - d->n) * d->record;
        CVR_TRY(dataset_file_read(f, d->records + d->n * d->record, want, &got, err));
        if (got % d->record != 0) return dataset_file_fail(f, err, "it ends within a record; download it again");
        d->n += got / d->record;
        if (got < want) break;
    }
    if (d->n == first) return dataset_file_fail(f, err, "it is empty; download it again");
    return check_labels(d, first, f, err);
}

static int32_t read_batch(cifar *d, const char *name, cvr_error *err) {
    char path[4200];
    dataset_file *f = NULL;
    if (!dataset_file_find(d->dir, name, path, sizeof path)) {
        char what[160];
        (void)snprintf(what, sizeof what, "no %s or %s.gz here; unpack the whole archive, and check data.root", name,
                       name);
        return dataset_file_fail_path(d->dir, err, CVR_ERR_IO, what);
    }
    int32_t status;
    CVR_TRY_OUT(dataset_file_open(d->host, path, &f, err));
    CVR_TRY_OUT(read_records(d, f, err));
out:
    dataset_file_close(f);
    (void)snprintf(d->files[d->n_files], sizeof d->files[0], "%.47s", dataset_file_base(path));
    d->file_end[d->n_files++] = d->n;
    return status;
}

/* The folder with the files: data.root itself or the one that the archive unpacks to. Returns 10 or 100, or 0. */
static int32_t find_folder(cifar *d, const char *root, int32_t train) {
    static const struct {
        const char *sub, *train, *val;
        int32_t classes;
    } layouts[] = {
        {"", "data_batch_1.bin", "test_batch.bin", 10},
        {"/cifar-10-batches-bin", "data_batch_1.bin", "test_batch.bin", 10},
        {"", "train.bin", "test.bin", 100},
        {"/cifar-100-binary", "train.bin", "test.bin", 100},
    };
    char path[4200];
    for (int i = 0; i < 4; i++) {
        const int n = snprintf(d->dir, sizeof d->dir, "%s%s", root, layouts[i].sub);
        if (n < 0 || (uint64_t)n >= sizeof d->dir) return 0;
        const char *const name = train ? layouts[i].train : layouts[i].val;
        if (dataset_file_find(d->dir, name, path, sizeof path)) return layouts[i].classes;
    }
    return 0;
}

/* A line a class. Without the file the classes are called by their numbers. */
static int32_t read_names(cifar *d, const char *name, cvr_error *err) {
    char path[4200];
    char text[16384];
    uint64_t got = 0;
    dataset_file *f = NULL;
    for (int i = 0; i < 100; i++) (void)snprintf(d->names[i], sizeof d->names[i], "%d", i);
    if (!dataset_file_find(d->dir, name, path, sizeof path)) return CVR_OK;
    int32_t status;
    int64_t n = 0;
    CVR_TRY_OUT(dataset_file_open(d->host, path, &f, err));
    CVR_TRY_OUT(dataset_file_read(f, text, sizeof text - 1, &got, err));
    for (uint64_t at = 0; at < got && n < d->classes;) {
        uint64_t len = 0;
        while (at + len < got && text[at + len] != '\n') len++;
        const uint64_t end = len > 0 && text[at + len - 1] == '\r' ? len - 1 : len;
        if (end >= sizeof d->names[0] || memchr(text + at, '\0', end))
            CVR_TRY_OUT(dataset_file_fail(f, err, "not a list of class names; download it again, or remove it"));
        if (end > 0) {
            memcpy(d->names[n], text + at, end);
            d->names[n++][end] = '\0';
        }
        at += len + 1;
    }
    if (n < d->classes)
        CVR_TRY_OUT(dataset_file_fail(f, err, "it names too few classes; download it again, or remove it"));
out:
    dataset_file_close(f);
    return status;
}

static int32_t read_files(cifar *d, const cvr_dataset_args *args, cvr_error *err) {
    const cifar_attrs *const a = args->attrs;
    const int32_t train = args->split == CVR_SPLIT_TRAIN;
    const int32_t kind = find_folder(d, args->root, train);
    if (kind == 0) {
        (void)cvr_fail(err, CVR_ERR_IO, "no CIFAR files here (%s, plain or .gz); check data.root",
                       train ? "data_batch_1.bin or train.bin" : "test_batch.bin or test.bin");
        return cvr_fail_at(err, args->root, 0, CVR_ERR_IO);
    }
    if (kind == 10 && a->coarse) return cvr_fail(err, CVR_ERR_USAGE, "data.coarse is for CIFAR-100; remove it");
    d->classes = kind == 10 ? 10 : a->coarse ? 20 : 100;
    d->label_at = kind == 100 && !a->coarse;
    d->record = (kind == 10 ? 1 : 2) + 3 * PLANE;
    if (kind == 100) CVR_TRY(read_batch(d, train ? "train.bin" : "test.bin", err));
    if (kind == 10 && !train) CVR_TRY(read_batch(d, "test_batch.bin", err));
    for (int i = 1; i <= 5 && kind == 10 && train; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "data_batch_%d.bin", i);
        CVR_TRY(read_batch(d, name, err));
    }
    return read_names(d,
                      kind == 10  ? "batches.meta.txt"
                      : a->coarse ? "coarse_label_names.txt"
                                  : "fine_label_names.txt",
                      err);
}

static void close_cifar(void *self) {
    cifar *const d = self;
    if (!d) return;
    if (d->records) d->host->free(d->host, d->records);
    d->host->free(d->host, d);
}

static int32_t open_cifar(const cvr_dataset_args *args, void **self, cvr_error *err) {
    *self = NULL;
    if (args->train[0] != '\0' || args->val[0] != '\0') {
        return cvr_fail(err, CVR_ERR_USAGE,
                        "data.train and data.val are folders of pictures; for cifar give data.root");
    }
    if (args->root[0] == '\0') {
        return cvr_fail(err, CVR_ERR_USAGE, "data.root is not set; give the folder that holds the CIFAR files");
    }
    cifar *const d = args->host->alloc(args->host, sizeof *d, 64);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a CIFAR data set");
    memset(d, 0, sizeof *d);
    d->host = args->host;
    d->channels = args->channels == 1 ? 1 : 3;
    const int32_t status = read_files(d, args, err);
    if (status == CVR_OK)
        *self = d;
    else
        close_cifar(d);
    return status;
}

static int64_t count(const void *self) {
    return (int64_t)((const cifar *)self)->n;
}

static int64_t n_classes(const void *self) {
    return ((const cifar *)self)->classes;
}

static const char *class_name(const void *self, int64_t i) {
    return ((const cifar *)self)->names[i];
}

static int64_t label(const void *self, int64_t index) {
    const cifar *const d = self;
    return d->records[(uint64_t)index * d->record + (uint64_t)d->label_at];
}

/* planes: (3,32,32) u8; to: (32,32,3), or (32,32,1) by ITU-R 601-2 luma */
static void interleave(uint8_t *to, const uint8_t *planes, int64_t channels) {
    for (int64_t i = 0; i < PLANE; i++) {
        const uint32_t r = planes[i], g = planes[PLANE + i], b = planes[2 * PLANE + i];
        if (channels == 1) {
            to[i] = (uint8_t)((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16);
        } else {
            to[3 * i] = (uint8_t)r;
            to[3 * i + 1] = (uint8_t)g;
            to[3 * i + 2] = (uint8_t)b;
        }
    }
}

static int32_t read_sample(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    const cifar *const d = self;
    const cvr_field image = {
        .name = "image", .kind = CVR_FIELD_IMAGE, .dtype = CVR_U8, .rank = 3, .shape = {SIDE, SIDE, d->channels}};
    const cvr_field target = {.name = "label", .kind = CVR_FIELD_LABEL, .dtype = CVR_I64};
    cvr_field *field = NULL;
    CVR_TRY(out->add(out, &image, &field, err));
    interleave(field->data, d->records + ((uint64_t)index + 1) * d->record - 3 * PLANE, d->channels);
    CVR_TRY(out->add(out, &target, &field, err));
    *(int64_t *)field->data = label(self, index);
    out->origin->height = out->origin->width = SIDE;
    return CVR_OK;
}

static const char *kind(const void *self, uint32_t i) {
    static const char *const kinds[] = {CVR_FIELD_IMAGE, CVR_FIELD_LABEL};
    (void)self;
    return i < 2 ? kinds[i] : NULL;
}

static int32_t size_of(const void *self, int64_t index, int64_t *height, int64_t *width, cvr_error *err) {
    (void)self, (void)index, (void)err;
    *height = *width = SIDE;
    return CVR_OK;
}

static void describe(const void *self, int64_t index, char *buf, uint64_t size) {
    const cifar *const d = self;
    uint32_t f = 0;
    while (f + 1 < d->n_files && (uint64_t)index >= d->file_end[f]) f++;
    const int64_t first = f ? (int64_t)d->file_end[f - 1] : 0;
    (void)snprintf(buf, size, "%s[%lld]", d->files[f], (long long)(index - first));
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(BOOL, "coarse", "no", "CIFAR-100: the 20 coarse classes instead of the 100"),
};

static const cvr_dataset_desc dataset = {
    .struct_size = sizeof dataset,
    .name = "cifar",
    .doc = "CIFAR-10 and CIFAR-100, binary version, plain or gzip",
    .n_attrs = sizeof attrs / sizeof attrs[0],
    .attrs = attrs,
    .open = open_cifar,
    .close = close_cifar,
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

CVR_DEFINE_PLUGIN("dataset_cifar", "0.1.0", "", load)
