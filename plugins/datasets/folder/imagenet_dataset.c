/*
 * The data set "imagenet": ILSVRC 2012 as people have it. Training pictures lie in synset folders, train/n01440764.
 * Those of validation lie likewise, or in one folder with a list beside it: Kaggle's LOC_val_solution.csv, or the
 * development kit's ground truth, whose numbers count the synsets of another list.
 */
#include "../csv_table.h"
#include "folder.h"
#include <unistd.h>

typedef struct imagenet_attrs {
    const char *val_list, *val_classes, *class_names;
} imagenet_attrs;

/* The folder that holds train/ and val/: data.root, or where Kaggle's archive has them. */
static int32_t find_base(const cvr_dataset_args *args, char *base, uint64_t size, cvr_error *err) {
    static const char *const below[] = {NULL, "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC"}, *const sides[] = {"train", "val"};
    char path[4096];
    for (int i = 0; i < 6; i++) {
        const char *const sub = below[i / 2];
        CVR_TRY(dataset_path(base, size, sub ? args->root : "", sub ? sub : args->root, err));
        CVR_TRY(dataset_path(path, sizeof path, base, sides[i % 2], err));
        if (folder_exists(path)) return CVR_OK;
    }
    return dataset_path(base, size, "", args->root, err);
}

static int32_t side(const cvr_dataset_args *args, uint32_t split, char *path, uint64_t size, cvr_error *err) {
    const char *const given = split == CVR_SPLIT_TRAIN ? args->train : args->val;
    char base[4096];
    if (given[0]) return dataset_path(path, size, "", given, err);
    if (!args->root[0])
        return cvr_fail(err, CVR_ERR_USAGE, "data.root is not set; give the folder that holds train/ and val/");
    CVR_TRY(find_base(args, base, sizeof base, err));
    return dataset_path(path, size, base, split == CVR_SPLIT_TRAIN ? "train" : "val", err);
}

/* The file that a key names, else the first of these that lies in data.root or above val/; "" where there is none. */
static int32_t find_file(const cvr_dataset_args *args, const char *given, const char *const *names, char *path,
                         uint64_t size, cvr_error *err) {
    char val[4096];
    path[0] = '\0';
    if (given[0]) return dataset_path(path, size, "", given, err);
    CVR_TRY(side(args, CVR_SPLIT_VAL, val, sizeof val, err));
    char *const slash = strrchr(val, '/');
    if (slash) *slash = '\0';
    for (; *names; names++) {
        for (int i = 0; i < 2; i++) {
            CVR_TRY(dataset_path(path, size, i ? val : args->root, *names, err));
            if (access(path, F_OK) == 0) return CVR_OK;
        }
    }
    path[0] = '\0';
    return CVR_OK;
}

/* Lines "n01440764 tench, Tinca tinca": what the classes are called. */
static int32_t read_names(folder *d, const char *path, cvr_error *err) {
    csv_table t = {0};
    name_table synsets = {.host = d->host};
    int32_t status;
    CVR_TRY_OUT(csv_table_read(d->host, path, CSV_LINES, &t, err));
    for (uint64_t i = 0; i < t.n_rows; i++) {
        char *const line = t.text + t.cells[t.rows[i].first], *const space = strchr(line, ' ');
        if (!space || !space[1]) CVR_TRY_OUT(csv_table_fail(&t, path, i, "not a synset, a space and a name", err));
        *space = '\0';
    }
    CVR_TRY_OUT(csv_table_names(&t, path, 0, "a synset that was named before", &synsets, err));
    for (uint64_t k = 0; k < d->list.n_classes; k++) {
        const char *const synset = d->list.text + d->list.classes[k];
        const int64_t row = name_table_find(&synsets, synset);
        int64_t number;
        const char *const name = row >= 0 ? csv_table_cell(&t, (uint64_t)row, 0) + strlen(synset) + 1 : synset;
        CVR_TRY_OUT(name_table_put(&d->shown, name, &number, err));
        /* Two classes of one name keep their synsets. */
        if (number != (int64_t)k) CVR_TRY_OUT(name_table_put(&d->shown, synset, &number, err));
    }
out:
    name_table_free(&synsets);
    csv_table_free(&t);
    return status;
}

/* "ImageId,PredictionString": a picture's name without its ending, and a synset with the boxes behind it. */
static int32_t label_by_csv(folder *d, const char *path, cvr_error *err) {
    csv_table t = {0};
    name_table names = {.host = d->host};
    int32_t status;
    CVR_TRY_OUT(csv_table_read(d->host, path, ',', &t, err));
    if (csv_table_columns(&t) < 2) CVR_TRY_OUT(csv_table_fail(&t, path, 0, "not a picture's name and a synset", err));
    CVR_TRY_OUT(csv_table_names(&t, path, 0, "a picture that was listed before", &names, err));
    for (uint64_t i = 0; i < d->list.n; i++) {
        char name[256], synset[64];
        (void)snprintf(name, sizeof name, "%.255s", d->list.text + d->list.items[i].name);
        char *const ending = strrchr(name, '.');
        if (ending) *ending = '\0';
        const int64_t row = name_table_find(&names, name);
        const char *const cell = row >= 0 ? csv_table_cell(&t, (uint64_t)row, 1) : "";
        (void)snprintf(synset, sizeof synset, "%.*s", (int)(strcspn(cell, " ") < 63 ? strcspn(cell, " ") : 63), cell);
        d->list.items[i].label = folder_class_of(&d->list, synset);
        if (d->list.items[i].label < 0)
            CVR_TRY_OUT(cvr_fail_at(
                err, path, 0,
                cvr_fail(err, CVR_ERR_FORMAT, "it names no training class for %.200s; is it the right list?", name)));
    }
out:
    name_table_free(&names);
    csv_table_free(&t);
    return status;
}

/* The synset of each number, from 1: a file of lines that begin with a synset. Its classes in this data. */
static int32_t read_numbers(const folder *d, const char *path, csv_table *t, cvr_error *err) {
    CVR_TRY(csv_table_read(d->host, path, CSV_LINES, t, err));
    for (uint64_t i = 0; i < t->n_rows; i++) {
        char *const line = t->text + t->cells[t->rows[i].first];
        line[strcspn(line, " \t,")] = '\0';
        if (folder_class_of(&d->list, line) < 0)
            return csv_table_fail(t, path, i, "a synset that no training folder has", err);
    }
    return CVR_OK;
}

/* A number a line; line i goes with picture i, by name. */
static int32_t label_by_numbers(folder *d, const char *path, const char *classes, cvr_error *err) {
    csv_table t = {0}, synsets = {0};
    int32_t status;
    CVR_TRY_OUT(csv_table_read(d->host, path, CSV_LINES, &t, err));
    if (t.n_rows != d->list.n)
        CVR_TRY_OUT(cvr_fail_at(err, path, 0,
                                cvr_fail(err, CVR_ERR_FORMAT, "%llu lines for %llu pictures; is it the right list?",
                                         (unsigned long long)t.n_rows, (unsigned long long)d->list.n)));
    CVR_TRY_OUT(read_numbers(d, classes, &synsets, err));
    for (uint64_t i = 0; i < t.n_rows; i++) {
        const char *const cell = csv_table_cell(&t, i, 0);
        uint64_t number = 0;
        for (const char *c = cell; *c >= '0' && *c <= '9' && number < 1000000; c++)
            number = 10 * number + (uint64_t)(*c - '0');
        if (strspn(cell, "0123456789") != strlen(cell) || number < 1 || number > synsets.n_rows)
            CVR_TRY_OUT(csv_table_fail(&t, path, i, "not a number of a class; see data.val_classes", err));
        d->list.items[i].label = folder_class_of(&d->list, csv_table_cell(&synsets, number - 1, 0));
    }
out:
    csv_table_free(&synsets);
    csv_table_free(&t);
    return status;
}

static int32_t list_flat(folder *d, const cvr_dataset_args *args, const char *val, cvr_error *err) {
    static const char *const lists[] = {"LOC_val_solution.csv", "ILSVRC2012_validation_ground_truth.txt",
                                        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", NULL};
    const imagenet_attrs *const a = args->attrs;
    char list[4096];
    CVR_TRY(find_file(args, a->val_list, lists, list, sizeof list, err));
    if (!list[0]) {
        const int32_t status = cvr_fail(err, CVR_ERR_USAGE,
                                        "pictures without class folders; put LOC_val_solution.csv beside them, or "
                                        "set data.val_list");
        return cvr_fail_at(err, val, 0, status);
    }
    CVR_TRY(folder_list_flat(&d->list, val, err));
    const char *const ending = strrchr(list, '.');
    if (ending && strcmp(ending, ".csv") == 0) return label_by_csv(d, list, err);
    if (a->val_classes[0]) return label_by_numbers(d, list, a->val_classes, err);
    return cvr_fail_at(err, list, 0,
                       cvr_fail(err, CVR_ERR_USAGE,
                                "its numbers count synsets in an order of their own; set data.val_classes to a "
                                "file with a synset a line"));
}

/* Whether this folder has folders in it. */
static int32_t has_folders(const folder *d, const char *path) {
    folder_list here = {.host = d->host, .image = d->pictures.image};
    const int32_t status = folder_list_classes(&here, path, NULL);
    folder_list_free(&here);
    return status == CVR_OK;
}

static int32_t list_pictures(folder *d, const cvr_dataset_args *args, cvr_error *err) {
    static const char *const maps[] = {"LOC_synset_mapping.txt", NULL};
    const imagenet_attrs *const a = args->attrs;
    char train[4096], mine[4096], map[4096];
    CVR_TRY(side(args, CVR_SPLIT_TRAIN, train, sizeof train, err));
    CVR_TRY(side(args, args->split, mine, sizeof mine, err));
    /* Validation without the training tree counts its own classes. */
    CVR_TRY(folder_list_classes(&d->list, folder_exists(train) ? train : mine, err));
    CVR_TRY(find_file(args, a->class_names, maps, map, sizeof map, err));
    if (map[0]) CVR_TRY(read_names(d, map, err));
    if (args->split == CVR_SPLIT_TRAIN || has_folders(d, mine)) return folder_list_tree(d, mine, err);
    return list_flat(d, args, mine, err);
}

static int32_t open_imagenet(const cvr_dataset_args *args, void **self, cvr_error *err) {
    folder *d;
    *self = NULL;
    CVR_TRY(folder_new(args, &d, err));
    const int32_t status = list_pictures(d, args, err);
    if (status == CVR_OK)
        *self = d;
    else
        folder_close(d);
    return status;
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(PATH, "val_list", "",
             "the classes of val/, where it has no class folders; default: LOC_val_solution.csv or "
             "ILSVRC2012_validation_ground_truth.txt, in data.root or beside val/"),
    CVR_ATTR(PATH, "val_classes", "", "for a list of numbers: a file whose line i begins with the synset of number i"),
    CVR_ATTR(PATH, "class_names", "",
             "lines of a synset and its name; default: LOC_synset_mapping.txt, where it is there"),
};

const cvr_dataset_desc folder_imagenet = {
    .struct_size = sizeof folder_imagenet,
    .name = "imagenet",
    .doc = "ImageNet (ILSVRC 2012): synset folders in train/; val/ with the same, or flat with a list",
    .n_attrs = sizeof attrs / sizeof attrs[0],
    .attrs = attrs,
    .open = open_imagenet,
    .close = folder_close,
    .count = folder_count,
    .n_classes = folder_n_classes,
    .class_name = folder_class_name,
    .read = folder_read,
    .describe = folder_describe,
    .label = folder_label,
    .kind = dataset_picture_kind,
};
