/*
 * The data set "yolo": where pictures, labels and names are, and its settings.
 */
#include "../csv_table.h"
#include "../folder/folder_list.h"
#include "../guess_path.h"
#include "yolo.h"
#include <unistd.h>

typedef struct yolo_attrs {
    const char *annotations, *class_names;
    double val_split;
    int64_t masks, empty;
} yolo_attrs;

static int32_t fail_at(const char *path, int32_t status, cvr_error *err) {
    return cvr_fail_at(err, path, 0, status);
}

/* ---- box_data.own ---- */

static void free_own(box_data *d) {
    yolo_own *const own = d->own;
    if (own->corners) own->host->free(own->host, own->corners);
    own->host->free(own->host, own);
}

int32_t yolo_create(const cvr_dataset_args *args, box_data **out, cvr_error *err) {
    CVR_TRY(box_data_create(args, out, err));
    yolo_own *const own = args->host->alloc(args->host, sizeof *own, 16);
    if (!own) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for labels");
    *own = (yolo_own){.host = args->host};
    (*out)->own = own;
    (*out)->free_own = free_own;
    (*out)->shares = 1;
    (*out)->shape = yolo_shape;
    return CVR_OK;
}

/* ---- pictures and their labels ---- */

/* The last /images/ of the path becomes /labels/ (Darknet: also /JPEGImages/), the ending .txt; or beside the picture,
 * where only that is there. */
static int32_t label_path(const char *picture, char path[YOLO_PATH], cvr_error *err) {
    static const char *const parts[] = {"/images/", "/JPEGImages/"};
    char beside[YOLO_PATH];
    const char *const slash = strrchr(picture, '/'), *dot = strrchr(picture, '.');
    if (!dot || (slash && dot < slash)) dot = picture + strlen(picture);
    int n = snprintf(beside, sizeof beside, "%.*s.txt", (int)(dot - picture), picture);
    if (n < 0 || n >= (int)sizeof beside)
        return cvr_fail(err, CVR_ERR_INVALID, "a path of over 4095 bytes; move the data");
    (void)snprintf(path, YOLO_PATH, "%s", beside);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *last = NULL;
        for (const char *at = beside; (at = strstr(at, parts[i])); at++) last = at;
        if (!last) continue;
        n = snprintf(path, YOLO_PATH, "%.*s/labels/%s", (int)(last - beside), beside, last + strlen(parts[i]));
        if (n < 0 || n >= YOLO_PATH) return cvr_fail(err, CVR_ERR_INVALID, "a path of over 4095 bytes; move the data");
        if (access(path, F_OK) != 0 && access(beside, F_OK) == 0) (void)snprintf(path, YOLO_PATH, "%s", beside);
        break;
    }
    return CVR_OK;
}

static int32_t add_picture(box_data *d, const char *picture, cvr_error *err) {
    char label[YOLO_PATH];
    uint64_t source;
    CVR_TRY(label_path(picture, label, err));
    CVR_TRY(box_data_text(d, label, &source, err));
    return box_data_picture(d, picture, source, err);
}

static int32_t add_folder(box_data *d, const char *folder, int32_t warns, cvr_error *err) {
    folder_list l = {.host = d->host, .image = d->images.image};
    int32_t status = folder_list_flat(&l, folder, err);
    for (uint64_t i = 0; status == CVR_OK && i < l.n; i++) status = add_picture(d, l.text + l.items[i].path, err);
    if (status == CVR_OK && warns) folder_list_warn(&l, folder);
    folder_list_free(&l);
    return status;
}

/* The first of these folders that `name` is in; else below the first. */
static int32_t find_in(const char *const *folders, const char *name, char path[YOLO_PATH], cvr_error *err) {
    for (const char *const *f = folders; *f; f++) {
        CVR_TRY(dataset_path(path, YOLO_PATH, *f, name, err));
        if (access(path, F_OK) == 0) return CVR_OK;
    }
    return dataset_path(path, YOLO_PATH, *folders, name, err);
}

static void cut_name(char *path) {
    char *const slash = strrchr(path, '/');
    if (slash) *slash = '\0';
}

/* A text file with a picture a line, relative to its own folder, or to that of the description, or above that. */
static int32_t add_list(box_data *d, const char *list, const char *base, cvr_error *err) {
    char own[YOLO_PATH], above[YOLO_PATH], picture[YOLO_PATH];
    const char *const folders[] = {own, base, above, NULL};
    csv_table lines = {0};
    int32_t status;
    (void)snprintf(own, sizeof own, "%s", list);
    (void)snprintf(above, sizeof above, "%s", base);
    cut_name(own);
    cut_name(above);
    CVR_TRY_OUT(csv_table_read(d->host, list, CSV_LINES, &lines, err));
    for (uint64_t i = 0; i < lines.n_rows; i++) {
        char *line = lines.text + lines.cells[lines.rows[i].first];
        for (size_t n = strlen(line); n && strchr(" \t\r", line[n - 1]);) line[--n] = '\0';
        if (strncmp(line, "./", 2) == 0) line += 2;
        if (!*line) continue;
        CVR_TRY_OUT(find_in(folders, line, picture, err));
        CVR_TRY_OUT(add_picture(d, picture, err));
    }
out:
    csv_table_free(&lines);
    return status;
}

/* ---- what the description says ---- */

/* The folder that the paths of a description count from: `path`, where it exists, else its own; for Darknet, which
 * counts from where it is started, its own or the one above. */
static int32_t find_base(yolo_plan *p, const char *file, const cvr_dataset_args *args, cvr_error *err) {
    char path[YOLO_PATH], line[3200];
    CVR_TRY(dataset_path(p->base, YOLO_PATH, "", file, err));
    cut_name(p->base);
    if (!p->path[0]) return CVR_OK;
    CVR_TRY(dataset_path(path, sizeof path, p->base, p->path, err));
    if (folder_exists(path)) return dataset_path(p->base, YOLO_PATH, "", path, err);
    (void)snprintf(line, sizeof line, "%.1000s: `path` is %.1000s, which is no folder; %.1000s is taken instead", file,
                   p->path, p->base);
    if (args->split == CVR_SPLIT_TRAIN) args->host->log(args->host, CVR_LOG_WARNING, line);
    return CVR_OK;
}

/* The description names what is in none of the folders: each of them is told once. */
static int32_t not_found(const char *file, const char *name, const char *const *folders, cvr_error *err) {
    char places[700] = "";
    for (const char *const *f = folders; *f; f++) {
        const size_t n = strlen(places);
        int32_t told = 0;
        for (const char *const *g = folders; g < f; g++) told = told || strcmp(*g, *f) == 0;
        if (!told && n < sizeof places - 1)
            (void)snprintf(places + n, sizeof places - n, "%s%.300s", n ? ", " : "", **f ? *f : "/");
    }
    return fail_at(file,
                   cvr_fail(err, CVR_ERR_IO, "`%.200s` is in none of these folders: %s; correct the path, or move it",
                            name, places),
                   err);
}

static int32_t find_entry(const char *file, const char *base, const char *name, char path[YOLO_PATH], cvr_error *err) {
    char own[YOLO_PATH], above[YOLO_PATH];
    const char *const folders[] = {base, own, above, NULL};
    (void)snprintf(own, sizeof own, "%s", file);
    cut_name(own);
    (void)snprintf(above, sizeof above, "%s", own);
    cut_name(above);
    CVR_TRY(find_in(folders, name, path, err));
    if (access(path, F_OK) == 0 || name[0] == '/') return CVR_OK;
    if (strncmp(name, "../", 3) != 0) return not_found(file, name, folders, err);
    return dataset_path(path, YOLO_PATH, base, name + 3, err); /* Roboflow: ../train/images beside data.yaml */
}

static int32_t add_entry(box_data *d, const char *path, const char *base, int32_t warns, cvr_error *err) {
    if (folder_exists(path)) return add_folder(d, path, warns, err);
    if (guess_ends(path, ".txt")) return add_list(d, path, base, err);
    return fail_at(path,
                   cvr_fail(err, CVR_ERR_IO,
                            "no such folder of pictures, nor a .txt file that lists them; see data.train, "
                            "data.val, or the file that describes the data"),
                   err);
}

static int32_t add_planned(box_data *d, const yolo_plan *p, const char *file, uint32_t split, int32_t warns,
                           cvr_error *err) {
    char path[YOLO_PATH];
    for (const char *at = p->splits[split]; at && *at; at += strlen(at) + 1) {
        CVR_TRY(find_entry(file, p->base, at, path, err));
        CVR_TRY(add_entry(d, path, p->base, warns, err));
    }
    return CVR_OK;
}

/* ---- without a description ---- */

static int32_t add_usual(box_data *d, const cvr_dataset_args *args, uint32_t split, int32_t warns, cvr_error *err) {
    static const char *const usual[2][4] = {{"images/train", "images/train2017", "train/images", "train"},
                                            {"images/val", "images/val2017", "valid/images", "val/images"}};
    const yolo_attrs *const a = args->attrs;
    char path[YOLO_PATH];
    if (!args->root[0])
        return cvr_fail(err, CVR_ERR_USAGE,
                        "data.root is not set; give the folder that holds data.yaml, or images and labels");
    for (int i = 0; i < 4; i++) {
        CVR_TRY(dataset_path(path, sizeof path, args->root, usual[split][i], err));
        if (folder_exists(path)) return add_folder(d, path, warns, err);
    }
    CVR_TRY(dataset_path(path, sizeof path, args->root, "images", err));
    if (a->val_split > 0) return add_folder(d, folder_exists(path) ? path : args->root, warns, err);
    return fail_at(args->root,
                   cvr_fail(err, CVR_ERR_IO,
                            "neither data.yaml nor %s is here; set data.%s, or data.val_split where all "
                            "pictures are together",
                            usual[split][0], split ? "val" : "train"),
                   err);
}

static int32_t add_pictures(box_data *d, const cvr_dataset_args *args, const yolo_plan *p, const char *file,
                            uint32_t split, int32_t warns, cvr_error *err) {
    const char *const given = split == CVR_SPLIT_TRAIN ? args->train : args->val;
    if (given[0]) CVR_TRY(add_entry(d, given, args->root[0] ? args->root : given, warns, err));
    if (!given[0] && p->splits[split]) CVR_TRY(add_planned(d, p, file, split, warns, err));
    if (!given[0] && !p->splits[split] && file[0])
        return fail_at(file,
                       cvr_fail(err, CVR_ERR_FORMAT, "it does not say where the %s pictures are (`%s`)",
                                split ? "validation" : "training", split ? p->darknet ? "valid" : "val" : "train"),
                       err);
    if (!given[0] && !file[0]) CVR_TRY(add_usual(d, args, split, warns, err));
    if (d->n) return CVR_OK;
    return fail_at(given[0]  ? given
                   : file[0] ? file
                             : args->root,
                   cvr_fail(err, CVR_ERR_FORMAT, "not one %s picture is there", split ? "validation" : "training"),
                   err);
}

/* ---- names ---- */

static int32_t read_names(box_data *d, const char *path, cvr_error *err) {
    csv_table lines = {0};
    int32_t status = csv_table_read(d->host, path, CSV_LINES, &lines, err);
    if (status == CVR_OK)
        status = csv_table_names(&lines, path, 0, "a class that was named before; rename it", &d->classes, err);
    csv_table_free(&lines);
    return status;
}

/* data.class_names, the description, or a usual file in data.root; none: numbers. */
static int32_t find_names(box_data *d, const cvr_dataset_args *args, yolo_plan *p, const char *file, cvr_error *err) {
    static const char *const usual[] = {"classes.txt", "obj.names", "labels/classes.txt"};
    const yolo_attrs *const a = args->attrs;
    char path[YOLO_PATH];
    if (a->class_names[0]) return read_names(d, a->class_names, err);
    if (p->names.n) {
        d->classes = p->names;
        p->names = (name_table){.host = d->host};
        return CVR_OK;
    }
    if (p->names_file[0]) {
        CVR_TRY(find_entry(file, p->base, p->names_file, path, err));
        return read_names(d, path, err);
    }
    for (int i = 0; args->root[0] && i < 3; i++) {
        CVR_TRY(dataset_path(path, sizeof path, args->root, usual[i], err));
        if (access(path, F_OK) == 0) return read_names(d, path, err);
    }
    return CVR_OK;
}

static int32_t number_classes(box_data *d, int64_t n, cvr_error *err) {
    char name[32];
    int64_t number;
    for (int64_t i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "%lld", (long long)i);
        CVR_TRY(name_table_put(&d->classes, name, &number, err));
    }
    return CVR_OK;
}

/* ---- opening ---- */

int32_t yolo_usual_plan(const char *root, char file[YOLO_PATH], cvr_error *err) {
    static const char *const usual[] = {"data.yaml", "data.yml", "dataset.yaml", "obj.data"};
    for (int i = 0; root[0] && i < 4; i++) {
        CVR_TRY(dataset_path(file, YOLO_PATH, root, usual[i], err));
        if (access(file, F_OK) == 0) return CVR_OK;
    }
    file[0] = '\0';
    return CVR_OK;
}

static int32_t find_plan(const cvr_dataset_args *args, char file[YOLO_PATH], cvr_error *err) {
    const yolo_attrs *const a = args->attrs;
    if (a->annotations[0]) return dataset_path(file, YOLO_PATH, "", a->annotations, err);
    if (args->root[0] && access(args->root, F_OK) == 0 && !folder_exists(args->root))
        return fail_at(args->root,
                       cvr_fail(err, CVR_ERR_USAGE,
                                "data.root is a folder; give this file, if it describes the data, as data.annotations"),
                       err);
    return yolo_usual_plan(args->root, file, err);
}

static int32_t read_labels(box_data *d, int64_t n_classes, int32_t warns, cvr_error *err) {
    uint64_t missing = 0, first = d->n;
    int64_t highest = -1;
    char line[1400];
    for (uint64_t i = 0; i < d->n; i++) {
        CVR_TRY(yolo_label_read(d, i, n_classes, &highest, &missing, err));
        if (missing && first == d->n) first = i;
    }
    if (missing == d->n)
        return fail_at(d->text + d->pictures[0].source,
                       cvr_fail(err, CVR_ERR_IO, "no picture has labels; those of %.400s are looked for here",
                                box_data_path(d, 0)),
                       err);
    (void)snprintf(line, sizeof line,
                   "pictures without a label file, which are background: %llu of %llu, the first is %.500s",
                   (unsigned long long)missing, (unsigned long long)d->n, box_data_path(d, first < d->n ? first : 0));
    if (missing && warns) d->host->log(d->host, CVR_LOG_INFO, line);
    return n_classes < 0 ? number_classes(d, highest < 0 ? 1 : highest + 1, err) : CVR_OK;
}

static int32_t fill(box_data *d, const cvr_dataset_args *args, yolo_plan *p, cvr_error *err) {
    const yolo_attrs *const a = args->attrs;
    const uint32_t split = a->val_split > 0 ? CVR_SPLIT_TRAIN : args->split;
    const int32_t warns = args->split == CVR_SPLIT_TRAIN || a->val_split == 0;
    char file[YOLO_PATH];
    if (a->val_split > 0 && args->val[0])
        return cvr_fail(err, CVR_ERR_USAGE, "data.val_split and data.val exclude each other; drop one of the two");
    d->masks = (int32_t)a->masks;
    CVR_TRY(find_plan(args, file, err));
    if (file[0]) CVR_TRY(guess_ends(file, ".data") ? yolo_darknet_read(p, file, err) : yolo_yaml_read(p, file, err));
    if (file[0]) CVR_TRY(find_base(p, file, args, err));
    CVR_TRY(find_names(d, args, p, file, err));
    if (p->n_classes >= 0 && d->classes.n && (int64_t)d->classes.n != p->n_classes)
        return fail_at(file,
                       cvr_fail(err, CVR_ERR_FORMAT, "it says %lld classes, and %llu are named",
                                (long long)p->n_classes, (unsigned long long)d->classes.n),
                       err);
    if (!d->classes.n && p->n_classes >= 0) CVR_TRY(number_classes(d, p->n_classes, err));
    CVR_TRY(add_pictures(d, args, p, file, split, warns, err));
    CVR_TRY(read_labels(d, d->classes.n ? (int64_t)d->classes.n : -1, warns, err));
    if (a->val_split > 0) CVR_TRY(box_data_split(d, args->split, a->val_split, args->seed, err));
    if (a->empty && args->split == CVR_SPLIT_TRAIN) CVR_TRY(box_data_drop_empty(d, err));
    return box_data_finish(d, file[0] ? file : args->root[0] ? args->root : args->train, warns, err);
}

static int32_t open_yolo(const cvr_dataset_args *args, void **self, cvr_error *err) {
    box_data *d = NULL;
    *self = NULL;
    yolo_plan *const p = args->host->alloc(args->host, sizeof *p, 16);
    if (!p) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the data set yolo");
    memset(p, 0, sizeof *p);
    p->host = p->names.host = args->host;
    p->n_classes = -1;
    int32_t status = yolo_create(args, &d, err);
    if (status == CVR_OK) status = fill(d, args, p, err);
    yolo_plan_free(p);
    args->host->free(args->host, p);
    if (status == CVR_OK)
        *self = d;
    else
        box_data_close(d);
    return status;
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(PATH, "annotations", "", "the file that describes the data; default: data.yaml or obj.data in data.root"),
    CVR_ATTR(PATH, "class_names", "", "a name a line; default: what that file says, else classes.txt, else numbers"),
    CVR_ATTR(FLOAT, "val_split", "0", "share of the pictures that validates, where all are together; drawn by the seed",
             CVR_ATTR_BETWEEN(0, 0.99)),
    CVR_ATTR(BOOL, "masks", "no", "whether samples have the mask of each object, of rows that are outlines"),
    CVR_ATTR(CHOICE, "empty", "keep", "training pictures without objects: keep, as background; or drop",
             .choices = "keep|drop"),
};

static const cvr_dataset_desc dataset = {
    .struct_size = sizeof dataset,
    .name = "yolo",
    .doc = "YOLO's labels, a text file a picture: data.yaml, Darknet's .data, or folders images and labels",
    .n_attrs = sizeof attrs / sizeof *attrs,
    .attrs = attrs,
    .open = open_yolo,
    BOX_DATA_FUNCTIONS,
    .guess = yolo_guess,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_DATASET, &dataset, err);
}

CVR_DEFINE_PLUGIN("dataset_yolo", "0.1.0", "", load)
