/*
 * The data set "folder" (torchvision ImageFolder): root/train/CLASS and root/val/CLASS, or data.train and data.val, or
 * one tree and val_split. Files are listed whose names end as some codec's pictures do; the bytes decide how they are
 * decoded.
 */
#include "../guess_path.h"
#include "folder.h"

typedef struct folder_attrs {
    double val_split;
} folder_attrs;

/* The trees that a recipe means: where this split lies, and where the classes are counted. */
typedef struct trees {
    char split[4096], classes[4096];
    int32_t shared; /* one tree for both splits */
} trees;

/* data.train or data.val, else data.root/train or data.root/val. */
static int32_t side(const cvr_dataset_args *args, uint32_t split, char *to, uint64_t size, cvr_error *err) {
    const char *const given = split == CVR_SPLIT_TRAIN ? args->train : args->val;
    if (given[0] != '\0') return dataset_path(to, size, "", given, err);
    if (args->root[0] == '\0') {
        return cvr_fail(err, CVR_ERR_USAGE, "data.root is not set; give the folder that holds train/ and val/");
    }
    return dataset_path(to, size, args->root, split == CVR_SPLIT_TRAIN ? "train" : "val", err);
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
            return cvr_fail_at(err, t->split, 0, status);
        }
        /* Validation without the training tree counts its own classes. */
        return folder_exists(t->classes) ? CVR_OK : dataset_path(t->classes, sizeof t->classes, "", t->split, err);
    }
    const int32_t has_val =
        args->val[0] != '\0' || (side(args, CVR_SPLIT_VAL, val, sizeof val, NULL) == CVR_OK && folder_exists(val));
    if (has_val) {
        return cvr_fail(err, CVR_ERR_USAGE,
                        "data.val_split is set, but there is a folder of validation pictures; drop one of the two");
    }
    if (!folder_exists(t->classes) && args->train[0] == '\0')
        CVR_TRY(dataset_path(t->classes, sizeof t->classes, "", args->root, err));
    return dataset_path(t->split, sizeof t->split, "", t->classes, err);
}

int64_t folder_class_of(const folder_list *l, const char *name) {
    for (uint64_t i = 0; i < l->n_classes; i++) {
        if (strcmp(l->text + l->classes[i], name) == 0) return (int64_t)i;
    }
    return -1;
}

int32_t folder_list_tree(folder *d, const char *root, cvr_error *err) {
    folder_list here = {.host = d->host, .image = d->pictures.image};
    int32_t status = folder_list_classes(&here, root, err);
    for (uint64_t i = 0; i < here.n_classes && status == CVR_OK; i++) {
        const char *const name = here.text + here.classes[i];
        const int64_t label = folder_class_of(&d->list, name);
        if (label < 0) {
            status = cvr_fail(err, CVR_ERR_FORMAT,
                              "class folder '%.200s' is not among the training classes; remove or rename it", name);
            (void)cvr_fail_at(err, root, 0, status);
        } else {
            status = folder_list_class(&d->list, root, label, err);
        }
    }
    d->list.outside = here.outside;
    (void)snprintf(d->list.first_outside, sizeof d->list.first_outside, "%s", here.first_outside);
    folder_list_free(&here);
    return status;
}

void folder_close(void *self) {
    folder *const d = self;
    if (!d) return;
    folder_list_free(&d->list);
    name_table_free(&d->shown);
    d->host->free(d->host, d);
}

int32_t folder_new(const cvr_dataset_args *args, folder **out, cvr_error *err) {
    dataset_pictures pictures;
    CVR_TRY(dataset_pictures_open(args, &pictures, err));
    folder *const d = *out = args->host->alloc(args->host, sizeof *d, 16);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the list of pictures");
    *d = (folder){.host = args->host,
                  .pictures = pictures,
                  .list = {.host = args->host, .image = pictures.image},
                  .shown = {.host = args->host}};
    return CVR_OK;
}

static int32_t open_folder(const cvr_dataset_args *args, void **self, cvr_error *err) {
    const double val_split = ((const folder_attrs *)args->attrs)->val_split;
    trees t;
    folder *d;
    int32_t status;
    *self = NULL;
    CVR_TRY(folder_new(args, &d, err));
    CVR_TRY_OUT(find_trees(args, &t, err));
    CVR_TRY_OUT(folder_list_classes(&d->list, t.classes, err));
    CVR_TRY_OUT(folder_list_tree(d, t.split, err));
    if (!t.shared || args->split == CVR_SPLIT_TRAIN) folder_list_warn(&d->list, t.split);
    if (t.shared) folder_list_split(&d->list, args->split, val_split, args->seed);
    if (d->list.n == 0)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE,
                             "data.val_split leaves this split without pictures; add pictures or change it"));
out:
    if (status == CVR_OK)
        *self = d;
    else
        folder_close(d);
    return status;
}

int64_t folder_count(const void *self) {
    return (int64_t)((const folder *)self)->list.n;
}

int64_t folder_n_classes(const void *self) {
    return (int64_t)((const folder *)self)->list.n_classes;
}

const char *folder_class_name(const void *self, int64_t i) {
    const folder *const d = self;
    return d->shown.n ? name_table_get(&d->shown, i) : d->list.text + d->list.classes[i];
}

int64_t folder_label(const void *self, int64_t index) {
    return ((const folder *)self)->list.items[index].label;
}

static const char *path_of(const folder *d, int64_t index) {
    return d->list.text + d->list.items[index].path;
}

int32_t folder_read(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    const folder *const d = self;
    const char *const path = path_of(d, index);
    uint8_t *bytes = NULL;
    uint64_t n = 0;
    CVR_TRY(dataset_picture_read(path, out, &bytes, &n, err));
    const int32_t status = dataset_picture_add(&d->pictures, bytes, n, out, err);
    if (status != CVR_OK) return cvr_fail_at(err, path, 0, status);
    CVR_TRY(dataset_label_add(folder_label(self, index), out, err));
    out->origin->path = path;
    return CVR_OK;
}

void folder_describe(const void *self, int64_t index, char *buf, uint64_t size) {
    (void)snprintf(buf, size, "%s", path_of(self, index));
}

/* ---- guessing ---- */

static int32_t is_picture(const void *ctx, const char *parent, const char *name) {
    const cvr_image_service *const images = ctx;
    (void)parent;
    return images->is_picture(images, name);
}

static int32_t is_class(const void *ctx, const char *parent, const char *name) {
    char path[4400];
    const int n = snprintf(path, sizeof path, "%s/%s", parent, name);
    return n > 0 && n < (int)sizeof path && guess_any(path, is_picture, ctx);
}

/* Whether a folder in it has pictures. */
static int32_t has_classes(const cvr_image_service *images, const char *root, const char *below) {
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/%s", root, below);
    return n > 0 && n < (int)sizeof path && guess_any(path, is_class, images);
}

static int32_t guess_classes(const cvr_guess_args *g, cvr_propose_fn each, void *ctx, int32_t *sure, cvr_error *err) {
    const cvr_image_service *const images = g->host->get(g->host, CVR_SERVICE_IMAGE);
    if (!images || !g->is_folder || !cvr_guess_wants(g, CVR_FIELD_LABEL)) return CVR_OK;
    const int32_t train = has_classes(images, g->path, "train");
    *sure = train ? 60 : has_classes(images, g->path, ".") ? 40 : 0;
    if (!*sure || (train && guess_has(g->path, "val"))) return CVR_OK;
    return each(ctx, "data.val_split", GUESS_VAL_SPLIT, err);
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
    .close = folder_close,
    .count = folder_count,
    .n_classes = folder_n_classes,
    .class_name = folder_class_name,
    .read = folder_read,
    .describe = folder_describe,
    .label = folder_label,
    .kind = dataset_picture_kind,
    .guess = guess_classes,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_DATASET, &dataset, err));
    return r->add(r, CVR_KIND_DATASET, &folder_imagenet, err);
}

CVR_DEFINE_PLUGIN("dataset_folder", "0.1.0", "", load)
