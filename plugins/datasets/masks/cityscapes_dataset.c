/*
 * The data set "cityscapes" (Cordts et al., 2016): leftImg8bit/SPLIT/CITY/STEM_leftImg8bit.png, and masks of label ids
 * in gtFine, of which 19 count in training.
 */
#include "../folder/folder_list.h"
#include "../guess_path.h"
#include "masks.h"

typedef struct cityscapes_attrs {
    int64_t masks, labels;
} cityscapes_attrs;

#define CLASSES 19

static const char *const names[CLASSES] = {
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky",  "person",   "rider",    "car",  "truck", "bus",  "train",         "motorcycle",   "bicycle"};
/* The label id of each. */
static const uint8_t ids[CLASSES] = {7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33};

/* Ids of 0 to 33 that are none of the classes do not count; licence plates, -1, are 255 in 8 bits. */
static void number_ids(mask_data *d) {
    for (int i = 0; i <= 33; i++) d->values.class_of[i] = MASK_IGNORED;
    for (int i = 0; i < CLASSES; i++) d->values.class_of[ids[i]] = (int16_t)i;
}

static int32_t fill(mask_data *d, const cvr_dataset_args *args, cvr_error *err) {
    static const char *const folders[] = {"gtFine", "gtCoarse"}, *const kinds[] = {"labelIds", "labelTrainIds"},
                             *const splits[] = {"train", "val"};
    const cityscapes_attrs *const a = args->attrs;
    char images[4096], masks[4096], suffix[64];
    CVR_TRY(masks_need_root(args, "leftImg8bit and gtFine", err));
    const int n = snprintf(images, sizeof images, "%s/leftImg8bit/%s", args->root, splits[args->split]),
              k = snprintf(masks, sizeof masks, "%s/%s/%s", args->root, folders[a->masks], splits[args->split]);
    if (n < 0 || k < 0 || n >= (int)sizeof images || k >= (int)sizeof masks)
        return cvr_fail(err, CVR_ERR_INVALID, "a path of over 4095 bytes; move the data");
    (void)snprintf(suffix, sizeof suffix, "_%s_%s", folders[a->masks], kinds[a->labels]);
    if (!folder_exists(images) || !folder_exists(masks))
        return masks_fail_folder(folder_exists(images) ? masks : images,
                                 "no such folder; set data.root to the folder that holds leftImg8bit and gtFine", err);
    CVR_TRY(masks_name_classes(d, names, CLASSES, err));
    if (a->labels == 0) number_ids(d);
    const mask_trees trees = {images, masks, "_leftImg8bit", suffix, ""};
    return masks_list(d, &trees, args, 0, err);
}

static int32_t open_cityscapes(const cvr_dataset_args *args, void **self, cvr_error *err) {
    return masks_open(fill, args, self, err);
}

static int32_t guess_cityscapes(const cvr_guess_args *g, cvr_propose_fn each, void *ctx, int32_t *sure,
                                cvr_error *err) {
    const int32_t fine = guess_has(g->path, "gtFine");
    if (!cvr_guess_wants(g, CVR_FIELD_MASK) || !guess_has(g->path, "leftImg8bit")) return CVR_OK;
    *sure = fine || guess_has(g->path, "gtCoarse") ? 90 : 0;
    return *sure && !fine ? each(ctx, "data.masks", "gtCoarse", err) : CVR_OK;
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(CHOICE, "masks", "gtFine", "which masks", .choices = "gtFine|gtCoarse"),
    CVR_ATTR(CHOICE, "labels", "ids",
             "which files: ids: *_labelIds.png, of which 19 classes count; train_ids: *_labelTrainIds.png, which has "
             "these already",
             .choices = "ids|train_ids"),
};

const cvr_dataset_desc cityscapes_dataset = {
    .struct_size = sizeof cityscapes_dataset,
    .name = "cityscapes",
    .doc = "Cityscapes: leftImg8bit and gtFine; the 19 classes of training",
    .n_attrs = sizeof attrs / sizeof *attrs,
    .attrs = attrs,
    .open = open_cityscapes,
    MASKS_FUNCTIONS,
    .guess = guess_cityscapes,
};
