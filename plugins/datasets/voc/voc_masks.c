/*
 * Pascal VOC's segmentation. Lists in ImageSets/Segmentation name the pictures; masks are PNGs whose palette's indices
 * are the classes, 255 along the borders of objects.
 */
#include "../csv_table.h"
#include "../folder/folder_list.h"
#include "../masks/masks.h"
#include "voc.h"
#include <unistd.h>

const char *const voc_names[1 + VOC_CLASSES] = {
    "background", "aeroplane", "bicycle",     "bird",  "boat",        "bottle", "bus",
    "car",        "cat",       "chair",       "cow",   "diningtable", "dog",    "horse",
    "motorbike",  "person",    "pottedplant", "sheep", "sofa",        "train",  "tvmonitor"};

/* data.train or data.val, else the split's own list. */
static int32_t find_list(const cvr_dataset_args *args, const char *base, char *path, uint64_t size, cvr_error *err) {
    const int32_t train = args->split == CVR_SPLIT_TRAIN;
    const char *const given = train ? args->train : args->val;
    if (given[0]) return dataset_path(path, size, "", given, err);
    CVR_TRY(dataset_path(path, size, base,
                         train ? "ImageSets/Segmentation/train.txt" : "ImageSets/Segmentation/val.txt", err));
    if (access(path, F_OK) == 0) return CVR_OK;
    return cvr_fail_at(err, path, 0,
                       cvr_fail(err, CVR_ERR_IO,
                                "no such list; set data.root to the folder that holds ImageSets, JPEGImages and "
                                "SegmentationClass, or data.%s to a list",
                                train ? "train" : "val"));
}

/* A name a line, without folder and ending. */
static int32_t add_line(mask_data *d, const char *base, const char *folder, const char *name, cvr_error *err) {
    char picture[4096], mask[4096];
    const int n = snprintf(picture, sizeof picture, "%s/JPEGImages/%s.jpg", base, name),
              k = snprintf(mask, sizeof mask, "%s/%s/%s.png", base, folder, name);
    if (n < 0 || k < 0 || n >= (int)sizeof picture || k >= (int)sizeof mask)
        return cvr_fail(err, CVR_ERR_INVALID, "a path of over 4095 bytes; move the data");
    return mask_list_add(&d->list, picture, mask, err);
}

int32_t voc_base(const cvr_dataset_args *args, char *base, uint64_t size, cvr_error *err) {
    static const char *const below[] = {"", "VOC2012", "VOCdevkit/VOC2012", "VOC2007", "VOCdevkit/VOC2007", NULL};
    if (!args->root[0])
        return cvr_fail(err, CVR_ERR_USAGE, "data.root is not set; give the folder VOC2012, or one that holds it");
    return masks_find_base(args->root, below, "JPEGImages", base, size, err);
}

/* Either of the two will do: whoever has only one is told what is missing. */
int32_t voc_has_masks(const cvr_dataset_args *args) {
    const char *const parts[2] = {((const voc_attrs *)args->attrs)->masks, "ImageSets/Segmentation"};
    char base[4096], path[4096];
    int32_t has = 0;
    if (!args->root[0] || voc_base(args, base, sizeof base, NULL) != CVR_OK) return 0;
    for (int i = 0; i < 2; i++)
        has |= dataset_path(path, sizeof path, base, parts[i], NULL) == CVR_OK && folder_exists(path);
    return has;
}

static int32_t fill(mask_data *d, const cvr_dataset_args *args, cvr_error *err) {
    const voc_attrs *const a = args->attrs;
    csv_table lines = {0};
    name_table seen = {.host = d->host};
    char base[4096], path[4096];
    int32_t status;
    CVR_TRY(voc_base(args, base, sizeof base, err));
    CVR_TRY(find_list(args, base, path, sizeof path, err));
    CVR_TRY_OUT(masks_name_classes(d, voc_names, 1 + VOC_CLASSES, err));
    CVR_TRY_OUT(csv_table_read(d->host, path, CSV_LINES, &lines, err));
    for (uint64_t i = 0; i < lines.n_rows; i++) {
        char *const line = lines.text + lines.cells[lines.rows[i].first];
        line[strcspn(line, " \t")] = '\0';
        if (!*line) CVR_TRY_OUT(csv_table_fail(&lines, path, i, "not the name of a picture", err));
        CVR_TRY_OUT(add_line(d, base, a->masks, line, err));
    }
    CVR_TRY_OUT(csv_table_names(&lines, path, 0, "a picture that was listed before; remove the line", &seen, err));
out:
    name_table_free(&seen);
    csv_table_free(&lines);
    return status;
}

static int32_t open_voc(const cvr_dataset_args *args, void **self, cvr_error *err) {
    return masks_open(fill, args, self, err);
}

const cvr_dataset_desc voc_masks = {
    .struct_size = sizeof voc_masks,
    .name = "voc",
    .open = open_voc,
    MASKS_FUNCTIONS,
    .size = masks_size,
};
