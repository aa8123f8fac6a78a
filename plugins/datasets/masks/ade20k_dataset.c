/*
 * The data set "ade20k": the scene parsing benchmark of MIT (Zhou et al., 2017), ADEChallengeData2016. A mask's 0 is
 * what has no class, and k is class k - 1.
 */
#include "../folder/folder_list.h"
#include "../guess_path.h"
#include "masks.h"

#define CLASSES 150

/* As the benchmark's objectInfo150.txt numbers them, each by the first of its names. */
/* clang-format off */
static const char *const names[CLASSES] = {
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet", "sidewalk",
    "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water", "painting", "sofa",
    "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp",
    "bathtub", "railing", "cushion", "base", "box", "column", "signboard", "chest of drawers", "counter", "sand",
    "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path", "stairs", "runway", "case", "pool table",
    "pillow", "screen door", "stairway", "river", "bridge", "bookcase", "blind", "coffee table", "toilet", "flower",
    "book", "hill", "bench", "countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat",
    "bar", "arcade machine", "hovel", "bus", "towel", "light", "truck", "tower", "chandelier", "awning", "streetlight",
    "booth", "television receiver", "airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator",
    "ottoman", "bottle", "buffet", "poster", "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer",
    "plaything", "swimming pool", "stool", "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle",
    "oven", "ball", "food", "step", "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake",
    "dishwasher", "screen", "blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan",
    "pier", "crt screen", "plate", "monitor", "bulletin board", "shower", "radiator", "glass", "clock", "flag"};
/* clang-format on */

static int32_t fill(mask_data *d, const cvr_dataset_args *args, cvr_error *err) {
    static const char *const below[] = {"", "ADEChallengeData2016", NULL}, *const splits[] = {"training", "validation"};
    char base[4096], images[4096], masks[4096];
    CVR_TRY(masks_need_root(args, "images and annotations", err));
    CVR_TRY(masks_find_base(args->root, below, "annotations", base, sizeof base, err));
    const int n = snprintf(images, sizeof images, "%.4000s/images/%s", base, splits[args->split]),
              k = snprintf(masks, sizeof masks, "%.4000s/annotations/%s", base, splits[args->split]);
    if (n < 0 || k < 0) return cvr_fail(err, CVR_ERR_INVALID, "a path that cannot be written");
    if (!folder_exists(images) || !folder_exists(masks))
        return masks_fail_folder(
            folder_exists(images) ? masks : images,
            "no such folder; set data.root to ADEChallengeData2016, which holds images/training and "
            "annotations/training",
            err);
    CVR_TRY(masks_name_classes(d, names, CLASSES, err));
    for (int i = 0; i <= CLASSES; i++) d->values.class_of[i] = i ? (int16_t)(i - 1) : MASK_IGNORED;
    const mask_trees trees = {images, masks, "", "", ""};
    return masks_list(d, &trees, args, 0, err);
}

static int32_t open_ade20k(const cvr_dataset_args *args, void **self, cvr_error *err) {
    return masks_open(fill, args, self, err);
}

static int32_t guess_ade20k(const cvr_guess_args *g, cvr_propose_fn each, void *ctx, int32_t *sure, cvr_error *err) {
    static const char *const usual[] = {"annotations/training", "ADEChallengeData2016/annotations/training", NULL};
    (void)each, (void)ctx, (void)err;
    if (cvr_guess_wants(g, CVR_FIELD_MASK) && guess_first(g->path, usual)) *sure = 80;
    return CVR_OK;
}

const cvr_dataset_desc ade20k_dataset = {
    .struct_size = sizeof ade20k_dataset,
    .name = "ade20k",
    .doc = "ADE20K scene parsing: ADEChallengeData2016 with images and annotations; 150 classes, 0 does not count",
    .open = open_ade20k,
    MASKS_FUNCTIONS,
    .guess = guess_ade20k,
};
