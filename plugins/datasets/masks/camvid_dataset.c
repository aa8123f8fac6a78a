/*
 * The data set "camvid" (Brostow, Fauqueur, Cipolla, 2009), in the forms that it is passed on in: masks of colours
 * beside a table of them, train/ and train_labels/ (or the original's 701_StillsRaw_full and LabeledApproved_full), and
 * SegNet's masks of 11 classes, train/ and trainannot/, whose number 11 does not count.
 */
#include "../folder/folder_list.h"
#include "masks.h"

typedef struct camvid_attrs {
    double val_split;
    const char *colours, *ignored_classes;
} camvid_attrs;

static const char *const names[] = {"sky",        "building", "pole", "road",       "pavement", "tree",
                                    "signsymbol", "fence",    "car",  "pedestrian", "bicyclist"};
#define CLASSES ((int64_t)(sizeof names / sizeof *names))

/* Where masks lie: beside the folder of pictures, whose name they have with an addition. */
typedef struct form {
    const char *addition, *suffix; /* of the folder, of the files */
    int32_t numbers;               /* masks of numbers */
} form;

static const form forms[] = {{"annot", "", 1}, {"_labels", "_L", 0}};
static const form published = {"", "_L", 0}; /* one tree for both splits */

/* The folders of this split. */
typedef struct camvid_folders {
    const form *form;
    char images[4096], masks[4096];
} camvid_folders;

/* data.train or data.val, else root/train or root/val; and masks beside it. `form` stays NULL where there are none. */
static int32_t find_split(const cvr_dataset_args *args, camvid_folders *f, cvr_error *err) {
    const int32_t train = args->split == CVR_SPLIT_TRAIN;
    const char *const given = train ? args->train : args->val;
    CVR_TRY(dataset_path(f->images, sizeof f->images, *given ? "" : args->root,
                         *given  ? given
                         : train ? "train"
                                 : "val",
                         err));
    for (size_t i = 0; i < sizeof forms / sizeof *forms && !f->form; i++) {
        const int n = snprintf(f->masks, sizeof f->masks, "%s%s", f->images, forms[i].addition);
        if (n > 0 && n < (int)sizeof f->masks && folder_exists(f->masks)) f->form = &forms[i];
    }
    return CVR_OK;
}

static int32_t find_folders(const cvr_dataset_args *args, camvid_folders *f, cvr_error *err) {
    CVR_TRY(find_split(args, f, err));
    if (f->form) return CVR_OK;
    CVR_TRY(dataset_path(f->masks, sizeof f->masks, args->root, "LabeledApproved_full", err));
    if (!folder_exists(f->masks))
        return masks_fail_folder(
            f->images,
            "no folder of masks beside this, of the same name with annot or _labels behind it; set "
            "data.root to CamVid's folder",
            err);
    f->form = &published;
    return dataset_path(f->images, sizeof f->images, args->root, "701_StillsRaw_full", err);
}

static int32_t name_colours(mask_data *d, const cvr_dataset_args *args, cvr_error *err) {
    static const char *const tables[] = {"class_dict.csv", "label_colors.txt", NULL};
    const camvid_attrs *const a = args->attrs;
    if (a->colours[0])
        CVR_TRY(dataset_path(d->table, sizeof d->table, "", a->colours, err));
    else
        CVR_TRY(masks_find_file(args->root, tables, d->table, sizeof d->table, err));
    if (!d->table[0])
        return masks_fail_folder(
            args->root,
            "no class_dict.csv or label_colors.txt here, which say what the masks' colours are; set "
            "data.colours to such a file",
            err);
    return masks_read_colours(d, args, a->ignored_classes, err);
}

static int32_t name_numbers(mask_data *d, cvr_error *err) {
    CVR_TRY(masks_name_classes(d, names, CLASSES, err));
    d->values.class_of[CLASSES] = MASK_IGNORED;
    return CVR_OK;
}

static int32_t fill(mask_data *d, const cvr_dataset_args *args, cvr_error *err) {
    const camvid_attrs *const a = args->attrs;
    camvid_folders f = {.form = NULL};
    if (!args->root[0]) return cvr_fail(err, CVR_ERR_USAGE, "data.root is not set; give CamVid's folder");
    CVR_TRY(find_folders(args, &f, err));
    const int32_t shared = f.form == &published;
    if (shared != (a->val_split > 0))
        return cvr_fail(err, CVR_ERR_USAGE,
                        shared ? "CamVid's 701 pictures are one tree here; set data.val_split = 0.15 or so"
                               : "data.val_split is set, but there is a folder of validation pictures; drop it");
    if (!folder_exists(f.images)) return masks_fail_folder(f.images, "no such folder; put it beside the masks", err);
    CVR_TRY(f.form->numbers ? name_numbers(d, err) : name_colours(d, args, err));
    const mask_trees trees = {f.images, f.masks, "", f.form->suffix, ""};
    return masks_list(d, &trees, args, a->val_split, err);
}

static int32_t open_camvid(const cvr_dataset_args *args, void **self, cvr_error *err) {
    return masks_open(fill, args, self, err);
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(FLOAT, "val_split", "0",
             "share of the pictures that validates, where there is one tree; drawn by the seed",
             CVR_ATTR_BETWEEN(0, 0.99)),
    CVR_ATTR(PATH, "colours", "",
             "lines `red green blue name` or `name,red,green,blue`; default: class_dict.csv or label_colors.txt in "
             "data.root. Lines of one name are one class"),
    CVR_ATTR(STRING, "ignored_classes", "Void", "classes of that file whose pixels do not count, with commas between"),
};

const cvr_dataset_desc camvid_dataset = {
    .struct_size = sizeof camvid_dataset,
    .name = "camvid",
    .doc = "CamVid: masks of colours with a table of them, or SegNet's of 11 classes",
    .n_attrs = sizeof attrs / sizeof *attrs,
    .attrs = attrs,
    .open = open_camvid,
    MASKS_FUNCTIONS,
};
