/*
 * The data set "csv": a file of rows, each with a picture's file and its class or classes.
 */
#include "csv_list.h"
#include <unistd.h>

typedef struct csv {
    csv_list list;
    dataset_pictures pictures;
} csv;

static int32_t check_attrs(const csv_attrs *a, cvr_error *err) {
    if (a->label_columns[0] && a->label_separator[0])
        return cvr_fail(err, CVR_ERR_USAGE, "data.label_columns and data.label_separator exclude each other; drop one");
    if (strlen(a->label_separator) > 1)
        return cvr_fail(err, CVR_ERR_USAGE, "data.label_separator is one character, such as |");
    if (strcmp(a->delimiter, "tab") != 0 && strlen(a->delimiter) != 1)
        return cvr_fail(err, CVR_ERR_USAGE, "data.delimiter is one character, or `tab`");
    return CVR_OK;
}

/* data.train or data.val, else data.root/train.csv or val.csv, or that with .gz. */
static int32_t file_of(const cvr_dataset_args *args, uint32_t split, char *path, uint64_t size, cvr_error *err) {
    const char *const given = split == CVR_SPLIT_TRAIN ? args->train : args->val, *const name = split == CVR_SPLIT_TRAIN
                                                                                                    ? "train.csv"
                                                                                                    : "val.csv";
    if (given[0]) return dataset_path(path, size, "", given, err);
    if (!args->root[0])
        return cvr_fail(err, CVR_ERR_USAGE,
                        "data.root is not set; give the folder that holds train.csv and val.csv, or set data.train");
    if (dataset_file_find(args->root, name, path, size)) return CVR_OK;
    return dataset_path(path, size, args->root, name, err);
}

/* data.images, else data.root, else the folder of the CSV file. */
static int32_t folder_of(const cvr_dataset_args *args, const char *file, char *path, uint64_t size, cvr_error *err) {
    const csv_attrs *const a = args->attrs;
    const char *const given = a->images[0] ? a->images : args->root;
    if (given[0]) return dataset_path(path, size, "", given, err);
    CVR_TRY(dataset_path(path, size, "", file, err));
    char *const slash = strrchr(path, '/');
    *(slash ? slash : path) = '\0';
    return CVR_OK;
}

/* Training's file counts the classes, also for validation; validation without it counts its own. */
static int32_t read_lists(csv *d, const cvr_dataset_args *args, cvr_error *err) {
    const csv_attrs *const a = args->attrs;
    char train[4096], mine[4096], images[4096];
    CVR_TRY(file_of(args, CVR_SPLIT_TRAIN, train, sizeof train, err));
    if (a->val_split > 0 && args->val[0])
        return cvr_fail(err, CVR_ERR_USAGE, "data.val_split and data.val exclude each other; drop one of the two");
    const int32_t own = args->split == CVR_SPLIT_TRAIN || a->val_split > 0;
    CVR_TRY(file_of(args, own ? CVR_SPLIT_TRAIN : args->split, mine, sizeof mine, err));
    CVR_TRY(folder_of(args, mine, images, sizeof images, err));
    if (own) {
        CVR_TRY(csv_list_read(&d->list, a, train, images, 1, 1, err));
        return a->val_split > 0 ? csv_list_split(&d->list, args->split, a->val_split, args->seed, err) : CVR_OK;
    }
    const int32_t counted = access(train, F_OK) == 0;
    if (counted) CVR_TRY(csv_list_read(&d->list, a, train, images, 1, 0, err));
    return csv_list_read(&d->list, a, mine, images, !counted, 1, err);
}

static void close_csv(void *self) {
    csv *const d = self;
    if (!d) return;
    const cvr_host *const host = d->list.host;
    csv_list_free(&d->list);
    host->free(host, d);
}

static int32_t open_csv(const cvr_dataset_args *args, void **self, cvr_error *err) {
    dataset_pictures pictures;
    int32_t status;
    *self = NULL;
    CVR_TRY(check_attrs(args->attrs, err));
    CVR_TRY(dataset_pictures_open(args, &pictures, err));
    csv *const d = args->host->alloc(args->host, sizeof *d, 16);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the list of pictures");
    *d = (csv){.list = {.host = args->host, .classes = {.host = args->host}}, .pictures = pictures};
    CVR_TRY_OUT(read_lists(d, args, err));
    if (d->list.n == 0)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE,
                             "data.val_split leaves this split without pictures; add pictures or change it"));
out:
    if (status == CVR_OK)
        *self = d;
    else
        close_csv(d);
    return status;
}

static int64_t count(const void *self) {
    return (int64_t)((const csv *)self)->list.n;
}

static int64_t n_classes(const void *self) {
    return (int64_t)((const csv *)self)->list.classes.n;
}

static const char *class_name(const void *self, int64_t i) {
    return name_table_get(&((const csv *)self)->list.classes, i);
}

static int64_t label(const void *self, int64_t index) {
    const csv_list *const l = &((const csv *)self)->list;
    return l->multi ? -1 : l->ids[l->items[index].first];
}

static const char *path_of(const csv_list *l, int64_t index) {
    return l->text + l->items[index].path;
}

static int32_t add_labels(const csv_list *l, int64_t index, cvr_sample *out, cvr_error *err) {
    const struct csv_item *const item = &l->items[index];
    float *labels = NULL;
    if (!l->multi) return dataset_label_add(l->ids[item->first], out, err);
    CVR_TRY(dataset_labels_add((int64_t)l->classes.n, out, &labels, err));
    for (uint64_t i = 0; i < item->n_ids; i++) labels[l->ids[item->first + i]] = 1;
    return CVR_OK;
}

static int32_t read_sample(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    const csv *const d = self;
    const char *const path = path_of(&d->list, index);
    uint8_t *bytes = NULL;
    uint64_t n = 0;
    CVR_TRY(dataset_picture_read(path, out, &bytes, &n, err));
    const int32_t status = dataset_picture_add(&d->pictures, bytes, n, out, err);
    if (status != CVR_OK) return cvr_fail_at(err, path, 0, status);
    CVR_TRY(add_labels(&d->list, index, out, err));
    out->origin->path = path;
    return CVR_OK;
}

static void describe(const void *self, int64_t index, char *buf, uint64_t size) {
    (void)snprintf(buf, size, "%s", path_of(&((const csv *)self)->list, index));
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(FLOAT, "val_split", "0", "share of every class that validates, where one file has both; drawn by the seed",
             CVR_ATTR_BETWEEN(0, 0.99)),
    CVR_ATTR(BOOL, "header", "yes", "whether the first row names the columns"),
    CVR_ATTR(STRING, "delimiter", ",", "what stands between cells: a character, or `tab`"),
    CVR_ATTR(STRING, "file_column", "", "the pictures' files: a name, or a number from 1; default: the first"),
    CVR_ATTR(STRING, "label_column", "", "their class: likewise; default: the second"),
    CVR_ATTR(STRING, "label_columns", "",
             "a column of 0 and 1 a class, instead: names or numbers with commas between them; *: all other columns"),
    CVR_ATTR(STRING, "label_separator", "", "several classes in a cell, with this character between them"),
    CVR_ATTR(PATH, "images", "", "folder that the files are in; default: data.root, or the CSV file's folder"),
    CVR_ATTR(STRING, "suffix", "", "what is put behind each file's name, such as .jpg"),
};

static const cvr_dataset_desc dataset = {
    .struct_size = sizeof dataset,
    .name = "csv",
    .doc = "A CSV file (RFC 4180) of pictures' files and their class, or classes: train.csv and val.csv",
    .n_attrs = sizeof attrs / sizeof attrs[0],
    .attrs = attrs,
    .open = open_csv,
    .close = close_csv,
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

CVR_DEFINE_PLUGIN("dataset_csv", "0.1.0", "", load)
