/*
 * The data set "coco": where its files are, and its settings.
 */
#include "../folder/folder_list.h"
#include "../guess_path.h"
#include "coco.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

typedef struct coco_attrs {
    const char *annotations, *val_annotations;
    double val_split;
    int64_t masks, category_ids, empty;
} coco_attrs;

#define PATH_ROOM 4096

/* ---- box_data.own ---- */

static void free_own(box_data *d) {
    coco_own *const own = d->own;
    if (own->fd >= 0) (void)close(own->fd);
    if (own->categories) own->host->free(own->host, own->categories);
    own->host->free(own->host, own);
}

static int64_t class_id(const box_data *d, int64_t klass) {
    const coco_own *const own = d->own;
    for (uint64_t i = 0; i < own->n; i++)
        if (own->categories[i].klass == klass) return own->categories[i].id;
    return klass + 1; /* one of as_is that the file does not name */
}

int32_t coco_create(const cvr_dataset_args *args, box_data **out, cvr_error *err) {
    CVR_TRY(box_data_create(args, out, err));
    coco_own *const own = args->host->alloc(args->host, sizeof *own, 16);
    if (!own) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the annotations");
    *own = (coco_own){.host = args->host, .fd = -1};
    (*out)->own = own;
    (*out)->free_own = free_own;
    (*out)->class_id = class_id;
    (*out)->one_file = 1;
    return CVR_OK;
}

int32_t coco_open_outlines(box_data *d, const char *path, cvr_error *err) {
    coco_own *const own = d->own;
    uint8_t head[2] = {0};
    own->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (own->fd < 0 || pread(own->fd, head, 2, 0) < 0)
        return cvr_fail_at(err, path, 0, cvr_fail(err, CVR_ERR_IO, "cannot open the file: %s", strerror(errno)));
    if (head[0] == 0x1f && head[1] == 0x8b)
        return cvr_fail_at(err, path, 0,
                           cvr_fail(err, CVR_ERR_UNSUPPORTED,
                                    "outlines cannot be read out of a gzip file; unpack it, or set data.masks = no"));
    d->masks = 1;
    d->shape = coco_shape;
    return CVR_OK;
}

/* ---- files ---- */

/* By split; the first that is there. */
static const char *const files[2][9] = {
    {"annotations/instances_train2017.json", "annotations/instances_train2014.json", "annotations/instances_train.json",
     "train/_annotations.coco.json", "annotations/train.json", "train.json", "annotations.json", "result.json", NULL},
    {"annotations/instances_val2017.json", "annotations/instances_val2014.json", "annotations/instances_val.json",
     "valid/_annotations.coco.json", "val/_annotations.coco.json", "annotations/val.json", "val.json", NULL},
};
static const char *const folders[2][7] = {
    {"train2017", "train2014", "train", "images/train2017", "images/train", "images", NULL},
    {"val2017", "val2014", "val", "valid", "images/val2017", "images/val", "images"},
};

static int32_t find_file(const cvr_dataset_args *args, uint32_t split, char path[PATH_ROOM], cvr_error *err) {
    const coco_attrs *const a = args->attrs;
    const char *const given = split == CVR_SPLIT_TRAIN ? a->annotations : a->val_annotations;
    if (given[0]) return dataset_path(path, PATH_ROOM, "", given, err);
    if (!args->root[0])
        return cvr_fail(err, CVR_ERR_USAGE,
                        "data.root is not set; give COCO's folder, or data.%s, the JSON file, with data.%s, the "
                        "pictures' folder",
                        split == CVR_SPLIT_TRAIN ? "annotations" : "val_annotations",
                        split == CVR_SPLIT_TRAIN ? "train" : "val");
    for (uint32_t i = 0; files[split][i]; i++) {
        CVR_TRY(dataset_path(path, PATH_ROOM, args->root, files[split][i], err));
        if (access(path, F_OK) == 0) return CVR_OK;
    }
    return cvr_fail_at(err, args->root, 0,
                       cvr_fail(err, CVR_ERR_IO, "neither %s nor %s is here; set data.%s to the JSON file",
                                files[split][0], files[split][3],
                                split == CVR_SPLIT_TRAIN ? "annotations" : "val_annotations"));
}

static int32_t holds(const char *folder, const char *name, cvr_error *err) {
    char path[PATH_ROOM];
    return dataset_path(path, sizeof path, folder, name, err) == CVR_OK && access(path, F_OK) == 0;
}

/* A picture that tells which folder they are in: a path that begins with `/` is in any. */
static const char *first_in_folder(const box_data *d) {
    uint64_t i = 0;
    while (i + 1 < d->n && box_data_path(d, i)[0] == '/') i++;
    return box_data_path(d, i);
}

/* The folder of the pictures: what is given, else the first that has `first`, one of them, else the first that is
 * there: whoever reads a picture is told. */
static int32_t find_folder(const cvr_dataset_args *args, uint32_t split, const char *file, const char *first,
                           char path[PATH_ROOM], cvr_error *err) {
    const char *const given = split == CVR_SPLIT_TRAIN ? args->train : args->val;
    char found[PATH_ROOM] = "";
    if (given[0]) return dataset_path(path, PATH_ROOM, "", given, err);
    CVR_TRY(dataset_path(path, PATH_ROOM, "", file, err));
    *strrchr(path, '/') = '\0'; /* beside the annotations, as Roboflow has it */
    if (holds(path, first, err) || !args->root[0]) return CVR_OK;
    for (uint32_t i = 0; i < 7 && folders[split][i]; i++) {
        CVR_TRY(dataset_path(path, PATH_ROOM, args->root, folders[split][i], err));
        if (holds(path, first, err)) return CVR_OK;
        if (!found[0] && folder_exists(path)) CVR_TRY(dataset_path(found, sizeof found, "", path, err));
    }
    return dataset_path(path, PATH_ROOM, "", holds(args->root, first, err) || !found[0] ? args->root : found, err);
}

/* File names become paths. */
static int32_t set_folder(box_data *d, const char *folder, cvr_error *err) {
    char path[PATH_ROOM], name[PATH_ROOM];
    for (uint64_t i = 0; i < d->n; i++) {
        (void)snprintf(name, sizeof name, "%s", box_data_path(d, i));
        CVR_TRY(dataset_path(path, sizeof path, folder, name, err));
        CVR_TRY(box_data_text(d, path, &d->pictures[i].path, err));
    }
    return CVR_OK;
}

static int32_t fill(box_data *d, const cvr_dataset_args *args, cvr_error *err) {
    const coco_attrs *const a = args->attrs;
    const uint32_t split = a->val_split > 0 ? CVR_SPLIT_TRAIN : args->split;
    char file[PATH_ROOM], folder[PATH_ROOM];
    if (a->val_split > 0 && (args->val[0] || a->val_annotations[0]))
        return cvr_fail(err, CVR_ERR_USAGE, "data.val_split and data.%s exclude each other; drop one of the two",
                        args->val[0] ? "val" : "val_annotations");
    CVR_TRY(find_file(args, split, file, err));
    CVR_TRY(coco_read_file(d, file, a->category_ids == 1, err));
    CVR_TRY(find_folder(args, split, file, first_in_folder(d), folder, err));
    CVR_TRY(set_folder(d, folder, err));
    if (a->val_split > 0) CVR_TRY(box_data_split(d, args->split, a->val_split, args->seed, err));
    if (a->empty && args->split == CVR_SPLIT_TRAIN) CVR_TRY(box_data_drop_empty(d, err));
    if (a->masks) CVR_TRY(coco_open_outlines(d, file, err));
    return box_data_finish(d, file, args->split == CVR_SPLIT_TRAIN || a->val_split == 0, err);
}

static int32_t open_coco(const cvr_dataset_args *args, void **self, cvr_error *err) {
    box_data *d = NULL;
    *self = NULL;
    int32_t status = coco_create(args, &d, err);
    if (status == CVR_OK) status = fill(d, args, err);
    if (status == CVR_OK)
        *self = d;
    else
        box_data_close(d);
    return status;
}

/* ---- guessing ---- */

/* Names of files of which others have a meaning of their own are less sure. */
static int32_t sure_of(const char *file) {
    return strstr(file, "instances_") || strstr(file, ".coco.json") ? 85 : 50;
}

/* A JSON file itself: its pictures are beside it, or beside its folder `annotations`. */
static int32_t guess_file(const cvr_guess_args *g, char folder[PATH_ROOM], cvr_propose_fn each, void *ctx,
                          int32_t *sure, cvr_error *err) {
    if (!guess_ends(g->path, ".json") && !guess_ends(g->path, ".json.gz")) return CVR_OK;
    *sure = 50;
    if (guess_ends(folder, "/annotations")) *strrchr(folder, '/') = '\0';
    CVR_TRY(each(ctx, "data.root", folder, err));
    CVR_TRY(each(ctx, "data.annotations", g->path, err));
    return each(ctx, "data.val_split", GUESS_VAL_SPLIT, err);
}

static int32_t guess_coco(const cvr_guess_args *g, cvr_propose_fn each, void *ctx, int32_t *sure, cvr_error *err) {
    char folder[PATH_ROOM];
    const char *train;
    if (!cvr_guess_wants(g, CVR_FIELD_BOXES)) return CVR_OK;
    CVR_TRY(guess_folder(g, folder, err));
    if (!g->is_folder) {
        CVR_TRY(guess_file(g, folder, each, ctx, sure, err));
    } else if ((train = guess_first(folder, files[CVR_SPLIT_TRAIN]))) {
        *sure = sure_of(train);
        if (!guess_first(folder, files[CVR_SPLIT_VAL])) CVR_TRY(each(ctx, "data.val_split", GUESS_VAL_SPLIT, err));
    }
    return *sure && cvr_guess_wants(g, CVR_FIELD_MASKS) ? each(ctx, "data.masks", "yes", err) : CVR_OK;
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(PATH, "annotations", "",
             "JSON file of the training split; default: annotations/instances_train2017.json, and other usual names"),
    CVR_ATTR(PATH, "val_annotations", "", "of the validation split; default: annotations/instances_val2017.json"),
    CVR_ATTR(FLOAT, "val_split", "0",
             "share of the pictures that validates, where one file has both; drawn by the seed",
             CVR_ATTR_BETWEEN(0, 0.99)),
    CVR_ATTR(BOOL, "masks", "no", "whether samples have the mask of each object"),
    CVR_ATTR(CHOICE, "category_ids", "rank",
             "class of a category: rank among the ids; as_is: id - 1, so that torchvision's 91 COCO classes fit",
             .choices = "rank|as_is"),
    CVR_ATTR(CHOICE, "empty", "keep",
             "training pictures without objects: keep, as background; drop: those, too, whose boxes all have a side of "
             "a pixel or less",
             .choices = "keep|drop"),
};

static const cvr_dataset_desc dataset = {
    .struct_size = sizeof dataset,
    .name = "coco",
    .doc = "COCO's annotations of instances, JSON: boxes, masks, crowds; also Roboflow's and other exports",
    .n_attrs = sizeof attrs / sizeof *attrs,
    .attrs = attrs,
    .open = open_coco,
    BOX_DATA_FUNCTIONS,
    .guess = guess_coco,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_DATASET, &dataset, err);
}

CVR_DEFINE_PLUGIN("dataset_coco", "0.1.0", "", load)
