/*
 * The data set "folder" (torchvision ImageFolder): root/train/CLASS and root/val/CLASS, or data.train and data.val, or
 * one tree and val_split. Files are listed whose names end as some codec's pictures do; the bytes decide how they are
 * decoded.
 */
#include "folder_list.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct folder_attrs {
    double val_split;
} folder_attrs;

typedef struct folder {
    const cvr_host *host;
    const cvr_image_service *image;
    folder_list list;
    uint32_t channels;
} folder;

/* The trees that a recipe means: where this split lies, and where the classes are counted. */
typedef struct trees {
    char split[4096], classes[4096];
    int32_t shared; /* one tree for both splits */
} trees;

static int32_t put_path(char *to, uint64_t size, const char *dir, const char *sub, cvr_error *err) {
    const int n = snprintf(to, size, "%s%s%s", dir, sub[0] ? "/" : "", sub);
    return n >= 0 && (uint64_t)n < size ? CVR_OK
                                        : cvr_fail(err, CVR_ERR_INVALID, "a path of over 4095 bytes: %.100s...", dir);
}

/* data.train or data.val, else data.root/train or data.root/val. */
static int32_t side(const cvr_dataset_args *args, uint32_t split, char *to, uint64_t size, cvr_error *err) {
    const char *const given = split == CVR_SPLIT_TRAIN ? args->train : args->val;
    if (given[0] != '\0') return put_path(to, size, given, "", err);
    if (args->root[0] == '\0') {
        return cvr_fail(err, CVR_ERR_USAGE, "data.root is not set; give the folder that holds train/ and val/");
    }
    return put_path(to, size, args->root, split == CVR_SPLIT_TRAIN ? "train" : "val", err);
}

static int32_t find_trees(const cvr_dataset_args *args, trees *t, cvr_error *err) {
    const double val_split = ((const folder_attrs *)args->attrs)->val_split;
    char val[4096];
    CVR_TRY(side(args, CVR_SPLIT_TRAIN, t->classes, sizeof t->classes, err));
    t->shared = val_split > 0;
    if (!t->shared) {
        CVR_TRY(side(args, args->split, t->split, sizeof t->split, err));
        if (!folder_exists(t->split)) {
            const char *const word = args->split == CVR_SPLIT_TRAIN ? "train" : "val";
            const int32_t status = cvr_fail(
                err, CVR_ERR_IO, "no such folder; make it, or set data.%s, or data.val_split = 0.1 for one tree", word);
            return folder_fail_at(err, t->split, status);
        }
        /* Validation without the training tree counts its own classes. */
        return folder_exists(t->classes) ? CVR_OK : put_path(t->classes, sizeof t->classes, t->split, "", err);
    }
    const int32_t has_val =
        args->val[0] != '\0' || (side(args, CVR_SPLIT_VAL, val, sizeof val, NULL) == CVR_OK && folder_exists(val));
    if (has_val) {
        return cvr_fail(err, CVR_ERR_USAGE,
                        "data.val_split is set, but there is a folder of validation pictures; drop one of the two");
    }
    if (!folder_exists(t->classes) && args->train[0] == '\0')
        CVR_TRY(put_path(t->classes, sizeof t->classes, args->root, "", err));
    return put_path(t->split, sizeof t->split, t->classes, "", err);
}

static int64_t class_of(const folder_list *l, const char *name) {
    for (uint64_t i = 0; i < l->n_classes; i++) {
        if (strcmp(l->text + l->classes[i], name) == 0) return (int64_t)i;
    }
    return -1;
}

/* Lists the folders of this split under the numbers that training gives them. */
static int32_t list_split(folder *d, const trees *t, cvr_error *err) {
    folder_list here = {.host = d->host, .image = d->image};
    int32_t status = folder_list_classes(&here, t->split, err);
    for (uint64_t i = 0; i < here.n_classes && status == CVR_OK; i++) {
        const char *const name = here.text + here.classes[i];
        const int64_t label = class_of(&d->list, name);
        if (label < 0) {
            status = cvr_fail(err, CVR_ERR_FORMAT,
                              "class folder '%.200s' is not among the training classes; remove or rename it", name);
            (void)folder_fail_at(err, t->split, status);
        } else {
            status = folder_list_class(&d->list, t->split, label, err);
        }
    }
    d->list.outside = here.outside;
    (void)snprintf(d->list.first_outside, sizeof d->list.first_outside, "%s", here.first_outside);
    folder_list_free(&here);
    return status;
}

static void close_folder(void *self) {
    folder *const d = self;
    if (!d) return;
    folder_list_free(&d->list);
    d->host->free(d->host, d);
}

static int32_t open_folder(const cvr_dataset_args *args, void **self, cvr_error *err) {
    const double val_split = ((const folder_attrs *)args->attrs)->val_split;
    trees t;
    *self = NULL;
    const cvr_image_service *const image = args->host->get(args->host, CVR_SERVICE_IMAGE);
    if (!image) return cvr_fail(err, CVR_ERR_NOTFOUND, "this host decodes no pictures (%s)", CVR_SERVICE_IMAGE);
    folder *const d = args->host->alloc(args->host, sizeof *d, 16);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the list of pictures");
    *d = (folder){.host = args->host,
                  .image = image,
                  .list = {.host = args->host, .image = image},
                  .channels = args->channels ? args->channels : 3}; /* a grey picture among coloured ones is made RGB */
    int32_t status;
    CVR_TRY_OUT(find_trees(args, &t, err));
    CVR_TRY_OUT(folder_list_classes(&d->list, t.classes, err));
    CVR_TRY_OUT(list_split(d, &t, err));
    if (!t.shared || args->split == CVR_SPLIT_TRAIN) folder_list_warn(&d->list, t.split);
    if (t.shared) CVR_TRY_OUT(folder_list_split(&d->list, args->split, val_split, args->seed, err));
    if (d->list.n == 0)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE,
                             "data.val_split leaves this split without pictures; add pictures or change it"));
out:
    if (status == CVR_OK)
        *self = d;
    else
        close_folder(d);
    return status;
}

static int64_t count(const void *self) {
    return (int64_t)((const folder *)self)->list.n;
}

static int64_t n_classes(const void *self) {
    return (int64_t)((const folder *)self)->list.n_classes;
}

static const char *class_name(const void *self, int64_t i) {
    const folder_list *const l = &((const folder *)self)->list;
    return l->text + l->classes[i];
}

static int64_t label(const void *self, int64_t index) {
    return ((const folder *)self)->list.items[index].label;
}

static const char *path_of(const folder *d, int64_t index) {
    return d->list.text + d->list.items[index].path;
}

static int32_t fail_read(const char *path, const char *what, cvr_error *err) {
    (void)cvr_fail(err, CVR_ERR_IO, "cannot read the picture: %s; put it back or remove it from the data", what);
    return folder_fail_at(err, path, CVR_ERR_IO);
}

/* The file's bytes, in the sample's memory. */
static int32_t slurp(cvr_sample *s, const char *path, uint8_t **bytes, uint64_t *n, cvr_error *err) {
    struct stat st;
    int32_t status = CVR_OK;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return fail_read(path, strerror(errno), err);
    *n = 0;
    if (fstat(fd, &st) != 0) CVR_TRY_OUT(fail_read(path, strerror(errno), err));
    if (!S_ISREG(st.st_mode)) CVR_TRY_OUT(fail_read(path, "not a file", err));
    *n = (uint64_t)st.st_size;
    *bytes = s->alloc(s, *n + 1);
    if (!*bytes) CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory for reading %s", path));
    for (uint64_t at = 0; at < *n;) {
        const ssize_t got = read(fd, *bytes + at, *n - at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) CVR_TRY_OUT(fail_read(path, strerror(errno), err));
        if (got == 0) CVR_TRY_OUT(fail_read(path, "it became shorter while it was read", err));
        at += (uint64_t)got;
    }
out:
    (void)close(fd);
    return status;
}

static void *sample_alloc(void *ctx, uint64_t bytes) {
    cvr_sample *const s = ctx;
    return s->alloc(s, bytes);
}

/* The decoder asks the sample's arena for memory, so that the pixels are where they stay: the field is added with one
 * pixel, the least that a field can have, and then pointed at them. */
static int32_t add_image(cvr_sample *out, const cvr_image *pixels, cvr_error *err) {
    const cvr_field like = {.name = "image", .kind = CVR_FIELD_IMAGE, .dtype = CVR_U8, .rank = 3, .shape = {1, 1, 1}};
    cvr_field *field = NULL;
    CVR_TRY(out->add(out, &like, &field, err));
    field->shape[0] = pixels->height;
    field->shape[1] = pixels->width;
    field->shape[2] = pixels->channels;
    field->data = pixels->data; /* (H,W,C) */
    return CVR_OK;
}

static int32_t read_sample(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    const folder *const d = self;
    const char *const path = path_of(d, index);
    const cvr_field like = {.name = "label", .kind = CVR_FIELD_LABEL, .dtype = CVR_I64};
    cvr_image pixels = {.struct_size = sizeof pixels};
    cvr_field *target = NULL;
    uint8_t *bytes = NULL;
    uint64_t n = 0;
    CVR_TRY(slurp(out, path, &bytes, &n, err));
    const cvr_picture_job job = {sizeof job, bytes, n, d->channels, sample_alloc, out, out->request, &pixels, 0};
    const int32_t status = d->image->decode_part(d->image, &job, err);
    if (status != CVR_OK) return folder_fail_at(err, path, status);
    CVR_TRY(add_image(out, &pixels, err));
    CVR_TRY(out->add(out, &like, &target, err));
    *(int64_t *)target->data = label(self, index);
    out->origin->path = path;
    return CVR_OK;
}

static const char *kind(const void *self, uint32_t i) {
    static const char *const kinds[] = {CVR_FIELD_IMAGE, CVR_FIELD_LABEL};
    (void)self;
    return i < 2 ? kinds[i] : NULL;
}

static void describe(const void *self, int64_t index, char *buf, uint64_t size) {
    (void)snprintf(buf, size, "%s", path_of(self, index));
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(FLOAT, "val_split", "0",
             "share of every class that validates, where there is one tree for both; drawn by the seed",
             CVR_ATTR_BETWEEN(0, 0.99)),
};

static const cvr_dataset_desc dataset = {
    .struct_size = sizeof dataset,
    .name = "folder",
    .doc = "A folder a class, as ImageFolder has it: train/CLASS and val/CLASS",
    .n_attrs = sizeof attrs / sizeof attrs[0],
    .attrs = attrs,
    .open = open_folder,
    .close = close_folder,
    .count = count,
    .n_classes = n_classes,
    .class_name = class_name,
    .read = read_sample,
    .describe = describe,
    .label = label,
    .kind = kind,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_DATASET, &dataset, err);
}

CVR_DEFINE_PLUGIN("dataset_folder", "0.1.0", "", load)
