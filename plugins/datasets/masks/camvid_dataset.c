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

/* Folders below data.root by split. */
typedef struct form {
    const char *images[2], *masks[2], *suffix;
    int32_t numbers, shared; /* masks of numbers; one tree for both splits */
} form;

static const form forms[] = {
    {{"train", "val"}, {"trainannot", "valannot"}, "", 1, 0},
    {{"train", "val"}, {"train_labels", "val_labels"}, "_L", 0, 0},
    {{"701_StillsRaw_full", "701_StillsRaw_full"}, {"LabeledApproved_full", "LabeledApproved_full"}, "_L", 0, 1},
};

/* The form that this root has; NULL: none. */
static int32_t find_form(const char *root, const form **out, cvr_error *err) {
    char path[4096];
    *out = NULL;
    for (size_t i = 0; i < sizeof forms / sizeof *forms && !*out; i++) {
        CVR_TRY(dataset_path(path, sizeof path, root, forms[i].masks[0], err));
        if (folder_exists(path)) *out = &forms[i];
    }
    if (*out) return CVR_OK;
    return masks_fail_folder(
        root,
        "none of the folders trainannot, train_labels and LabeledApproved_full is here; set data.root "
        "to CamVid's folder",
        err);
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
    return masks_read_colours(d, a->ignored_classes, err);
}

static int32_t name_numbers(mask_data *d, cvr_error *err) {
    CVR_TRY(masks_name_classes(d, names, CLASSES, err));
    d->values.class_of[CLASSES] = MASK_IGNORED;
    return CVR_OK;
}

static int32_t fill(mask_data *d, const cvr_dataset_args *args, cvr_error *err) {
    const camvid_attrs *const a = args->attrs;
    const form *f;
    char images[4096], masks[4096];
    CVR_TRY(masks_need_root(args, "CamVid", err));
    CVR_TRY(find_form(args->root, &f, err));
    if (f->shared != (a->val_split > 0))
        return cvr_fail(err, CVR_ERR_USAGE,
                        f->shared ? "CamVid's 701 pictures are one tree here; set data.val_split = 0.15 or so"
                                  : "data.val_split is set, but there is a folder of validation pictures; drop it");
    CVR_TRY(dataset_path(images, sizeof images, args->root, f->images[args->split], err));
    CVR_TRY(dataset_path(masks, sizeof masks, args->root, f->masks[args->split], err));
    if (!folder_exists(images) || !folder_exists(masks))
        return masks_fail_folder(folder_exists(images) ? masks : images, "no such folder; put it beside the others",
                                 err);
    CVR_TRY(f->numbers ? name_numbers(d, err) : name_colours(d, args, err));
    const mask_trees trees = {images, masks, "", f->suffix, ""};
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
