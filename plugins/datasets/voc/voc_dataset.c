/*
 * The data set "voc". The same folders hold masks of classes and boxes of objects, for different lists of pictures and
 * with different classes, so that a sample cannot have both: data.annotations chooses. Where it does not, masks are
 * taken if there are any, since they are the rarer thing; the other is told.
 */
#include "../guess_path.h"
#include "voc.h"

typedef struct voc {
    const cvr_host *host;
    const cvr_dataset_desc *way;
    void *self; /* the way's own */
} voc;

enum { AUTO, MASKS, BOXES };

static const voc *as_voc(const void *self) {
    return self;
}

static const cvr_dataset_desc *choose(const cvr_dataset_args *args) {
    const voc_attrs *const a = args->attrs;
    if (a->annotations != AUTO) return a->annotations == MASKS ? &voc_masks : &voc_boxes;
    if (!voc_has_masks(args)) return &voc_boxes;
    if (args->split == CVR_SPLIT_TRAIN)
        args->host->log(args->host, CVR_LOG_INFO,
                        "voc: the masks of classes are read; for boxes set data.annotations = boxes");
    return &voc_masks;
}

static void close_voc(void *self) {
    voc *const d = self;
    if (!d) return;
    if (d->self) d->way->close(d->self);
    d->host->free(d->host, d);
}

static int32_t open_voc(const cvr_dataset_args *args, void **self, cvr_error *err) {
    *self = NULL;
    voc *const d = args->host->alloc(args->host, sizeof *d, 16);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the list of pictures");
    *d = (voc){.host = args->host, .way = choose(args)};
    const int32_t status = d->way->open(args, &d->self, err);
    if (status == CVR_OK)
        *self = d;
    else
        close_voc(d);
    return status;
}

static int64_t count(const void *self) {
    return as_voc(self)->way->count(as_voc(self)->self);
}

static int64_t n_classes(const void *self) {
    return as_voc(self)->way->n_classes(as_voc(self)->self);
}

static const char *class_name(const void *self, int64_t i) {
    return as_voc(self)->way->class_name(as_voc(self)->self, i);
}

static int32_t read_sample(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    return as_voc(self)->way->read(as_voc(self)->self, index, out, err);
}

static void describe(const void *self, int64_t index, char *buf, uint64_t size) {
    as_voc(self)->way->describe(as_voc(self)->self, index, buf, size);
}

static int64_t label(const void *self, int64_t index) {
    return as_voc(self)->way->label(as_voc(self)->self, index);
}

static const char *kind(const void *self, uint32_t i) {
    return as_voc(self)->way->kind(as_voc(self)->self, i);
}

static int64_t rows(const void *self, int64_t index, const char *axis) {
    const voc *const d = self;
    return d->way->rows ? d->way->rows(d->self, index, axis) : -1;
}

static int32_t size(const void *self, int64_t index, int64_t *height, int64_t *width, cvr_error *err) {
    return as_voc(self)->way->size(as_voc(self)->self, index, height, width, err);
}

static int32_t objects(const void *self, int64_t index, cvr_object_fn each, void *ctx, cvr_error *err) {
    const voc *const d = self;
    return d->way->objects ? d->way->objects(d->self, index, each, ctx, err) : CVR_OK;
}

/* ---- guessing ---- */

static int32_t is_xml(const void *ctx, const char *folder, const char *name) {
    (void)ctx, (void)folder;
    return guess_ends(name, ".xml");
}

/* XML files beside the pictures, in folders train and val or valid, as Roboflow exports them. */
static int32_t has_xml_beside(const char *folder) {
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/train", folder);
    return n > 0 && n < (int)sizeof path && guess_any(path, is_xml, NULL);
}

static int32_t guess_boxes(const char *base, const char *folder, cvr_propose_fn each, void *ctx, int32_t *sure,
                           cvr_error *err) {
    static const char *const train[] = {"ImageSets/Main/train.txt", NULL},
                             *const val[] = {"ImageSets/Main/val.txt", "ImageSets/Main/test.txt", NULL},
                             *const beside[] = {"val", "valid", NULL};
    const int32_t standard = base[0] && guess_has(base, "Annotations");
    *sure = standard ? 80 : has_xml_beside(folder) ? 70 : 0;
    if (!*sure) return CVR_OK;
    CVR_TRY(each(ctx, "data.annotations", "boxes", err));
    const int32_t both =
        standard ? guess_first(base, train) && guess_first(base, val) : guess_first(folder, beside) != NULL;
    return both ? CVR_OK : each(ctx, "data.val_split", GUESS_VAL_SPLIT, err);
}

static int32_t guess_voc(const cvr_guess_args *g, cvr_propose_fn each, void *ctx, int32_t *sure, cvr_error *err) {
    static const voc_attrs usual = {.masks = "SegmentationClass"};
    const cvr_dataset_args args = {
        .struct_size = sizeof args, .host = g->host, .attrs = &usual, .root = g->path, .train = "", .val = ""};
    char base[4096] = "";
    if (!g->is_folder || cvr_guess_wants(g, CVR_FIELD_MASKS)) return CVR_OK; /* it has no masks of objects */
    if (voc_base(&args, base, sizeof base, NULL) != CVR_OK) base[0] = '\0';
    if (cvr_guess_wants(g, CVR_FIELD_BOXES)) return guess_boxes(base, g->path, each, ctx, sure, err);
    if (!base[0] || !cvr_guess_wants(g, CVR_FIELD_MASK) || !voc_has_masks(&args)) return CVR_OK;
    *sure = 80;
    return each(ctx, "data.annotations", "masks", err);
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(CHOICE, "annotations", "auto",
             "masks: a class for each pixel; boxes: of objects, by the XML files; auto: masks where there are any",
             .choices = "auto|masks|boxes"),
    CVR_ATTR(STRING, "masks", "SegmentationClass", "name of the folder of masks, such as SegmentationClassAug"),
    CVR_ATTR(
        PATH, "class_names", "",
        "of boxes: a name a line; default: classes.txt, else VOC's twenty, else the names that the XML files have"),
    CVR_ATTR(FLOAT, "val_split", "0",
             "of boxes: share of the pictures that validates, where one list has both; drawn by the seed",
             CVR_ATTR_BETWEEN(0, 0.99)),
    CVR_ATTR(CHOICE, "coordinates", "as_written",
             "of boxes: as torchvision takes them; exact: pixels are counted from 1 and the last is inside, so that 1 "
             "is taken off xmin and ymin",
             .choices = "as_written|exact"),
    CVR_ATTR(BOOL, "difficult", "yes", "of boxes: whether samples have the objects marked as difficult"),
    CVR_ATTR(CHOICE, "empty", "keep", "of boxes: training pictures without objects: keep, as background; or drop",
             .choices = "keep|drop"),
};

static const cvr_dataset_desc dataset = {
    .struct_size = sizeof dataset,
    .name = "voc",
    .doc =
        "Pascal VOC, masks or boxes: the folder VOC2012, or one that holds it; data.train, data.val: other lists, or "
        "folders of pictures with an XML file beside each",
    .n_attrs = sizeof attrs / sizeof *attrs,
    .attrs = attrs,
    .open = open_voc,
    .close = close_voc,
    .count = count,
    .n_classes = n_classes,
    .class_name = class_name,
    .read = read_sample,
    .describe = describe,
    .label = label,
    .kind = kind,
    .rows = rows,
    .size = size,
    .objects = objects,
    .guess = guess_voc,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_DATASET, &dataset, err);
}

CVR_DEFINE_PLUGIN("dataset_voc", "0.1.0", "", load)
