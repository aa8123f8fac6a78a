/*
 * The data set "masks": pictures and masks of the same names, as a folder `images` and a folder `masks`, in data.root's
 * train/ and val/ or the other way round, or in one tree with data.val_split. `cvrun pack as=masks` writes it.
 */
#include "../csv_table.h"
#include "../folder/folder_list.h"
#include "../guess_path.h"
#include "masks.h"

#define MOST_IGNORED 16

typedef struct masks_attrs {
    double val_split;
    const char *images, *masks;
    const char *image_suffix, *mask_suffix;
    const char *class_names;
    int64_t classes;
    int64_t n_values, values[MASK_IGNORED];
    int64_t n_ignored, ignored[MOST_IGNORED];
    const char *colours, *ignored_classes;
} masks_attrs;

/* The two folders of a split. */
typedef struct sides {
    char images[4096], masks[4096];
} sides;

/* DIR/images and DIR/masks, or DIR/images/WORD and DIR/masks/WORD. */
static int32_t sides_in(const masks_attrs *a, const char *dir, const char *word, sides *s, cvr_error *err) {
    char images[4096], masks[4096];
    CVR_TRY(dataset_path(images, sizeof images, dir, a->images, err));
    CVR_TRY(dataset_path(masks, sizeof masks, dir, a->masks, err));
    /* The word "" is the folder itself. */
    CVR_TRY(dataset_path(s->images, sizeof s->images, *word ? images : "", *word ? word : images, err));
    return dataset_path(s->masks, sizeof s->masks, *word ? masks : "", *word ? word : masks, err);
}

/* data.train or data.val, else what data.root has of a split. */
static int32_t find_sides(const cvr_dataset_args *args, uint32_t split, sides *s, cvr_error *err) {
    const masks_attrs *const a = args->attrs;
    const char *const given = split == CVR_SPLIT_TRAIN ? args->train : args->val, *const word = split == CVR_SPLIT_TRAIN
                                                                                                    ? "train"
                                                                                                    : "val";
    char dir[4096];
    if (given[0]) return sides_in(a, given, "", s, err);
    CVR_TRY(sides_in(a, args->root, word, s, err));
    if (folder_exists(s->images)) return CVR_OK;
    CVR_TRY(dataset_path(dir, sizeof dir, args->root, word, err));
    return sides_in(a, dir, "", s, err);
}

/* One tree for both splits: data.train, or what data.root holds. */
static int32_t find_tree(const cvr_dataset_args *args, sides *s, cvr_error *err) {
    sides val;
    CVR_TRY(find_sides(args, CVR_SPLIT_VAL, &val, err));
    if (args->val[0] || folder_exists(val.images))
        return cvr_fail(err, CVR_ERR_USAGE,
                        "data.val_split is set, but there is a folder of validation pictures; drop one of the two");
    CVR_TRY(find_sides(args, CVR_SPLIT_TRAIN, s, err));
    if (args->train[0] || folder_exists(s->images)) return CVR_OK;
    return sides_in(args->attrs, args->root, "", s, err);
}

/* Where names of classes lie: data.root, or beside what data.train or data.val is. */
static int32_t find_names(const cvr_dataset_args *args, char *path, uint64_t size, cvr_error *err) {
    static const char *const names[] = {"classes.txt", "class_names.txt", NULL};
    const masks_attrs *const a = args->attrs;
    const char *const folders[] = {args->root, args->train, args->val};
    char folder[4096];
    path[0] = '\0';
    if (a->class_names[0]) return dataset_path(path, size, "", a->class_names, err);
    for (int i = 0; i < 6 && !path[0]; i++) {
        if (!folders[i / 2][0]) continue;
        CVR_TRY(dataset_path(folder, sizeof folder, i % 2 ? folders[i / 2] : "", i % 2 ? ".." : folders[i / 2], err));
        if (i != 1) CVR_TRY(masks_find_file(folder, names, path, size, err));
    }
    return CVR_OK;
}

static int32_t read_names(mask_data *d, const char *path, cvr_error *err) {
    csv_table lines = {0};
    int32_t status;
    CVR_TRY_OUT(csv_table_read(d->host, path, CSV_LINES, &lines, err));
    CVR_TRY_OUT(csv_table_names(&lines, path, 0, "a class that was named before; a name a line", &d->classes, err));
out:
    csv_table_free(&lines);
    return status;
}

/* Classes that have no names are called by their numbers. */
static int32_t number_classes(mask_data *d, int64_t n, cvr_error *err) {
    for (int64_t i = 0; i < n; i++) {
        char name[24];
        int64_t number;
        (void)snprintf(name, sizeof name, "%lld", (long long)i);
        CVR_TRY(name_table_put(&d->classes, name, &number, err));
    }
    return CVR_OK;
}

/* How many names data.names gives; the host gives them to the classes. */
static int64_t count_names(const cvr_host *host) {
    const cvr_config_service *const config = host->get(host, CVR_SERVICE_CONFIG);
    const char *const names = config ? config->get(config, "data", "names", NULL) : NULL;
    int64_t n = names && *names;
    for (const char *c = names; n && *c; c++) n += *c == ',';
    return n;
}

static int32_t find_classes(mask_data *d, const cvr_dataset_args *args, cvr_error *err) {
    const masks_attrs *const a = args->attrs;
    const int64_t given = a->classes ? a->classes : a->n_values ? a->n_values : count_names(d->host);
    char path[4096];
    CVR_TRY(find_names(args, path, sizeof path, err));
    CVR_TRY(path[0] ? read_names(d, path, err) : number_classes(d, given, err));
    const int64_t n = (int64_t)d->classes.n;
    if (n == 0)
        return cvr_fail(
            err, CVR_ERR_USAGE,
            "how many classes do the masks have? Put a classes.txt with a name a line into data.root, or set "
            "data.names or data.classes");
    if (n > MASK_IGNORED)
        return cvr_fail(err, CVR_ERR_USAGE, "%lld classes; a mask can tell %d apart", (long long)n, MASK_IGNORED);
    if (a->classes && a->classes != n)
        return cvr_fail_at(err, path, 0,
                           cvr_fail(err, CVR_ERR_USAGE, "%lld names for data.classes = %lld; drop one of the two",
                                    (long long)n, (long long)a->classes));
    return CVR_OK;
}

/* What numbers stand for: a value of mask_values for its class, whatever is ignored. */
static int32_t number_values(mask_data *d, const masks_attrs *a, cvr_error *err) {
    const int64_t n = (int64_t)d->classes.n;
    int16_t *const class_of = d->values.class_of;
    mask_values_count(&d->values, n);
    if (a->n_values && a->n_values != n)
        return cvr_fail(err, CVR_ERR_USAGE, "data.mask_values has %lld values for %lld classes", (long long)a->n_values,
                        (long long)n);
    for (int64_t i = 0; a->n_values && i < 256; i++) class_of[i] = MASK_UNKNOWN;
    for (int64_t i = 0; i < a->n_ignored; i++) class_of[a->ignored[i]] = MASK_IGNORED;
    for (int64_t i = 0; i < a->n_values; i++) {
        if (class_of[a->values[i]] >= 0 && class_of[a->values[i]] != MASK_IGNORED)
            return cvr_fail(err, CVR_ERR_USAGE, "data.mask_values has %lld twice", (long long)a->values[i]);
        class_of[a->values[i]] = (int16_t)i;
    }
    d->values.remedy = "name every class in classes.txt, or set data.mask_values to the values in the order of the "
                       "classes, and data.ignore_index to those that do not count";
    d->values.colour_remedy = "save the numbers of the classes, or set data.colours to a file of lines `red green blue "
                              "name`";
    return CVR_OK;
}

static int32_t find_values(mask_data *d, const cvr_dataset_args *args, cvr_error *err) {
    const masks_attrs *const a = args->attrs;
    if (!a->colours[0]) {
        CVR_TRY(find_classes(d, args, err));
        return number_values(d, a, err);
    }
    if (a->n_values || a->classes || a->class_names[0])
        return cvr_fail(err, CVR_ERR_USAGE,
                        "data.colours names the classes; drop data.mask_values, data.classes and data.class_names");
    if (a->n_ignored != 1 || a->ignored[0] != MASK_IGNORED)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "data.ignore_index is for masks of numbers; with data.colours set data.ignored_classes");
    CVR_TRY(dataset_path(d->table, sizeof d->table, "", a->colours, err));
    return masks_read_colours(d, args, a->ignored_classes, err);
}

static int32_t fill(mask_data *d, const cvr_dataset_args *args, cvr_error *err) {
    const masks_attrs *const a = args->attrs;
    sides s;
    const char *const word = args->split == CVR_SPLIT_TRAIN ? "train" : "val", *const given =
                                                                                   args->split == CVR_SPLIT_TRAIN
                                                                                       ? args->train
                                                                                       : args->val;
    if (!args->root[0] && !given[0])
        return cvr_fail(err, CVR_ERR_USAGE,
                        "data.root is not set; give the folder that holds train/images, train/masks, val/images and "
                        "val/masks");
    CVR_TRY(a->val_split > 0 ? find_tree(args, &s, err) : find_sides(args, args->split, &s, err));
    if (!folder_exists(s.images)) {
        const int32_t status = cvr_fail(
            err, CVR_ERR_IO,
            "no such folder; make it, or set data.%s, or data.images, or data.val_split = 0.1 for one tree", word);
        return cvr_fail_at(err, s.images, 0, status);
    }
    if (!folder_exists(s.masks)) return masks_fail_folder(s.masks, "no such folder; make it, or set data.masks", err);
    CVR_TRY(find_values(d, args, err));
    const mask_trees trees = {s.images, s.masks, a->image_suffix, a->mask_suffix, "data.mask_suffix"};
    CVR_TRY(masks_list(d, &trees, args, a->val_split, err));
    if (args->split == CVR_SPLIT_TRAIN) masks_warn_of_white(d);
    return CVR_OK;
}

static int32_t open_masks(const cvr_dataset_args *args, void **self, cvr_error *err) {
    return masks_open(fill, args, self, err);
}

static int32_t guess_masks(const cvr_guess_args *g, cvr_propose_fn each, void *ctx, int32_t *sure, cvr_error *err) {
    static const char *const train[] = {"masks/train", "train/masks", "masks", NULL}, *const val[] = {"masks/val",
                                                                                                      "val/masks",
                                                                                                      NULL};
    if (!cvr_guess_wants(g, CVR_FIELD_MASK) || !guess_first(g->path, train)) return CVR_OK;
    *sure = guess_has(g->path, "images") || guess_has(g->path, "train/images") ? 60 : 0;
    return *sure && !guess_first(g->path, val) ? each(ctx, "data.val_split", GUESS_VAL_SPLIT, err) : CVR_OK;
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(FLOAT, "val_split", "0",
             "share of the pictures that validates, where there is one tree; drawn by the seed",
             CVR_ATTR_BETWEEN(0, 0.99)),
    CVR_ATTR(STRING, "images", "images", "name of the folder of pictures"),
    CVR_ATTR(STRING, "masks", "masks", "name of the folder of masks"),
    CVR_ATTR(STRING, "image_suffix", "", "what pictures' names end in before the ending, such as _sat"),
    CVR_ATTR(STRING, "mask_suffix", "", "what masks' names have there instead, such as _mask"),
    CVR_ATTR(PATH, "class_names", "", "a name a line; default: classes.txt or class_names.txt, in data.root"),
    CVR_ATTR(INT, "classes", "0", "number of classes, where no file names them", CVR_ATTR_BETWEEN(0, MASK_IGNORED)),
    CVR_ATTR(
        INTS, "mask_values", "",
        "values in the masks, in the order of the classes: 0,255 for masks of black and white; default: 0, 1, 2, ...",
        .count = MASK_IGNORED, CVR_ATTR_BETWEEN(0, 255)),
    CVR_ATTR(INTS, "ignore_index", "255", "values of pixels that do not count, unless mask_values has them",
             .count = MOST_IGNORED, CVR_ATTR_BETWEEN(0, 255)),
    CVR_ATTR(PATH, "colours", "",
             "masks are in colours: a file of lines `red green blue name`, or `name,red,green,blue`"),
    CVR_ATTR(STRING, "ignored_classes", "", "classes of that file whose pixels do not count, with commas between"),
};

const cvr_dataset_desc masks_dataset = {
    .struct_size = sizeof masks_dataset,
    .name = "masks",
    .doc = "Pictures and masks of the same names: train/images, train/masks, val/images, val/masks",
    .n_attrs = sizeof attrs / sizeof *attrs,
    .attrs = attrs,
    .open = open_masks,
    MASKS_FUNCTIONS,
    .guess = guess_masks,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    static const cvr_dataset_desc *const all[] = {&masks_dataset, &cityscapes_dataset, &ade20k_dataset,
                                                  &camvid_dataset};
    (void)host;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) CVR_TRY(r->add(r, CVR_KIND_DATASET, all[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("dataset_masks", "0.1.0", "", load)
