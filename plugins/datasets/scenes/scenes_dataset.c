/*
 * The data set "scenes" as cvrun sees it: settings, fields, answers. Training scenes are made of the training pictures,
 * validation scenes of the test pictures.
 *
 * Classes: where samples carry a mask of classes (fields = all or mask), class 0 is the background, and the items'
 * classes follow; elsewhere there are only the items'. Labels of boxes count in the same list.
 */
#include "../../rle/rle_build.h"
#include "../idx_file.h"
#include "scenes.h"

#define CLASSES 10
#define USUAL_ROOT "/usr/share/datasets/fashion-mnist" /* Debian's package dataset-fashion-mnist */

static const char *const names[CLASSES + 1] = {"background", "T-shirt/top", "Trouser", "Pullover", "Dress",     "Coat",
                                               "Sandal",     "Shirt",       "Sneaker", "Bag",      "Ankle boot"};

/* What samples carry beside the picture; the order is that of FIELDS_*. */
static const char *const kinds[][5] = {
    {CVR_FIELD_IMAGE, CVR_FIELD_BOXES, CVR_FIELD_BOX_LABELS, CVR_FIELD_MASKS, CVR_FIELD_MASK},
    {CVR_FIELD_IMAGE, CVR_FIELD_BOXES, CVR_FIELD_BOX_LABELS},
    {CVR_FIELD_IMAGE, CVR_FIELD_BOXES, CVR_FIELD_BOX_LABELS, CVR_FIELD_MASKS},
    {CVR_FIELD_IMAGE, CVR_FIELD_MASK},
    {CVR_FIELD_IMAGE, CVR_FIELD_LABEL},
};

static int32_t background(const scenes *d) {
    return d->a.fields == FIELDS_ALL || d->a.fields == FIELDS_MASK;
}

/* ---- opening ---- */

/* What the bounds of single settings cannot say. */
static int32_t check(const scene_attrs *a, int64_t side, cvr_error *err) {
    if (side < 16 || side > 4096)
        return cvr_fail(err, CVR_ERR_USAGE, "data.img_size = %lld; scenes have 16 to 4096 pixels a side",
                        (long long)side);
    if (a->objects[0] > a->objects[1])
        return cvr_fail(err, CVR_ERR_USAGE, "data.objects = %lld,%lld: write the fewest first, then the most",
                        (long long)a->objects[0], (long long)a->objects[1]);
    if (a->item_scale[0] > a->item_scale[1])
        return cvr_fail(err, CVR_ERR_USAGE, "data.item_scale = %g,%g: write the least first, then the most",
                        a->item_scale[0], a->item_scale[1]);
    if (a->item_scale[1] * PICTURE > (double)side)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "data.item_scale = %g,%g: an item of %g pixels does not fit into data.img_size = %lld; %g is "
                        "the most that does",
                        a->item_scale[0], a->item_scale[1], a->item_scale[1] * PICTURE, (long long)side,
                        (double)side / PICTURE);
    if (a->fields == FIELDS_LABEL && a->objects[0] == 0)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "data.fields = label needs an item in every scene; set data.objects to 1 or more");
    return CVR_OK;
}

/* One of the files in the folder `root`. */
static int32_t read_file(const cvr_dataset_args *args, const char *name, idx_header *h, uint8_t **out, char path[4096],
                         cvr_error *err) {
    const char *const root = args->root[0] ? args->root : USUAL_ROOT;
    if (!dataset_file_find(root, name, path, 4096)) {
        (void)cvr_fail(err, CVR_ERR_IO,
                       "no %s or %s.gz here; set data.root to a folder with Fashion-MNIST's files, or install the "
                       "Debian package dataset-fashion-mnist",
                       name, name);
        return cvr_fail_at(err, root, 0, CVR_ERR_IO);
    }
    return idx_file_read(args->host, path, h, out, err);
}

static int32_t read_files(scenes *d, const cvr_dataset_args *args, cvr_error *err) {
    const int32_t train = args->split == CVR_SPLIT_TRAIN;
    idx_header images = {IDX_MAGIC_IMAGES, 3, {0, 0, 0}}, labels = {IDX_MAGIC_LABELS, 1, {0, 0, 0}};
    char path[4096], what[160];
    CVR_TRY(read_file(args, train ? "train-images-idx3-ubyte" : "t10k-images-idx3-ubyte", &images, &d->pictures, path,
                      err));
    if (images.shape[1] != PICTURE || images.shape[2] != PICTURE) {
        (void)snprintf(what, sizeof what, "pictures of %lldx%lld pixels; scenes are made of 28x28",
                       (long long)images.shape[2], (long long)images.shape[1]);
        return dataset_file_fail_path(path, err, CVR_ERR_FORMAT, what);
    }
    CVR_TRY(
        read_file(args, train ? "train-labels-idx1-ubyte" : "t10k-labels-idx1-ubyte", &labels, &d->labels, path, err));
    d->n_pictures = images.shape[0];
    if (labels.shape[0] != d->n_pictures) {
        (void)snprintf(what, sizeof what, "%lld labels for %lld pictures; these files do not belong together",
                       (long long)labels.shape[0], (long long)d->n_pictures);
        return dataset_file_fail_path(path, err, CVR_ERR_FORMAT, what);
    }
    if (idx_file_highest(d->labels, d->n_pictures) >= CLASSES)
        return dataset_file_fail_path(path, err, CVR_ERR_FORMAT, "a label over 9; scenes are made of ten classes");
    return CVR_OK;
}

static void close_scenes(void *self) {
    scenes *const d = self;
    if (!d) return;
    if (d->pictures) d->host->free(d->host, d->pictures);
    if (d->labels) d->host->free(d->host, d->labels);
    d->host->free(d->host, d);
}

static int32_t open_scenes(const cvr_dataset_args *args, void **self, cvr_error *err) {
    const scene_attrs *const a = args->attrs;
    const int64_t side = args->img_size ? args->img_size : 128;
    *self = NULL;
    if (args->train[0] || args->val[0])
        return cvr_fail(err, CVR_ERR_USAGE,
                        "data.train and data.val are folders of pictures; scenes are made of the files in data.root");
    CVR_TRY(check(a, side, err));
    scenes *const d = args->host->alloc(args->host, sizeof *d, 64);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the data set scenes");
    *d = (scenes){.host = args->host,
                  .a = *a,
                  .key = cvr_rng_mix(args->seed, args->split),
                  .split = args->split,
                  .side = side,
                  .channels = args->channels == 1 ? 1 : 3};
    const int32_t status = read_files(d, args, err);
    if (status == CVR_OK && a->fields == FIELDS_ALL && args->split == CVR_SPLIT_TRAIN)
        args->host->log(args->host, CVR_LOG_INFO,
                        "scenes: data.fields = all has the class `background`, for masks; for boxes without it set "
                        "data.fields = boxes or instances");
    if (status == CVR_OK)
        *self = d;
    else
        close_scenes(d);
    return status;
}

/* ---- a sample ---- */

typedef struct scene_reading {
    const scenes *d;
    cvr_sample *sample;
    scene *scene;
} scene_reading;

static int32_t add(const scene_reading *r, const char *kind, uint32_t dtype, uint32_t rank, const int64_t *shape,
                   void *out, cvr_error *err) {
    cvr_field like = {.struct_size = sizeof like, .name = kind, .kind = kind, .dtype = dtype, .rank = rank};
    cvr_field *field = NULL;
    for (uint32_t i = 0; i < 4; i++) like.shape[i] = i < rank ? shape[i] : 1;
    CVR_TRY(r->sample->add(r->sample, &like, &field, err));
    memcpy(out, &field->data, sizeof field->data);
    return CVR_OK;
}

static int32_t no_memory(const scenes *d, cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a scene of %lldx%lld pixels", (long long)d->side,
                    (long long)d->side);
}

/* Ground, then the items from the farthest to the nearest. */
static int32_t paint(const scene_reading *r, int64_t index, uint8_t *rgb, cvr_error *err) {
    cutout cut;
    void *const scratch = r->sample->alloc(r->sample, scene_ground_scratch(r->d));
    if (!scratch) return no_memory(r->d, err);
    scene_ground(r->d, index, scratch, rgb);
    for (int32_t i = r->scene->n - 1; i >= 0; i--) {
        const scene_item *const item = &r->scene->items[i];
        scene_cut_out(r->d->pictures + item->picture * PICTURE_PIXELS, &cut);
        scene_item_paint(item, &cut, rgb, r->d->side);
    }
    scene_noise(r->d, index, rgb);
    return CVR_OK;
}

static int32_t add_image(const scene_reading *r, int64_t index, cvr_error *err) {
    const int64_t side = r->d->side, shape[3] = {side, side, r->d->channels};
    uint8_t *image = NULL, *rgb;
    CVR_TRY(add(r, CVR_FIELD_IMAGE, CVR_U8, 3, shape, &image, err));
    rgb = r->d->channels == 3 ? image : r->sample->alloc(r->sample, (uint64_t)(side * side * 3));
    if (!rgb) return no_memory(r->d, err);
    CVR_TRY(paint(r, index, rgb, err));
    for (int64_t i = 0; i < side * side && rgb != image; i++) /* ITU-R 601-2 luma, as in Pillow */
        image[i] = (uint8_t)((rgb[3 * i] * 19595 + rgb[3 * i + 1] * 38470 + rgb[3 * i + 2] * 7471 + 0x8000) >> 16);
    return CVR_OK;
}

static int32_t add_boxes(const scene_reading *r, cvr_error *err) {
    const int64_t boxes_shape[2] = {r->scene->n, 4}, labels_shape[1] = {r->scene->n};
    float *boxes = NULL;
    int64_t *labels = NULL;
    CVR_TRY(add(r, CVR_FIELD_BOXES, CVR_F32, 2, boxes_shape, &boxes, err));
    CVR_TRY(add(r, CVR_FIELD_BOX_LABELS, CVR_I64, 1, labels_shape, &labels, err));
    for (int32_t i = 0; i < r->scene->n; i++) {
        const scene_item *const item = &r->scene->items[i];
        const int32_t box[4] = {item->x1, item->y1, item->x2, item->y2};
        for (int k = 0; k < 4; k++) boxes[4 * i + k] = (float)box[k];
        labels[i] = item->label + background(r->d);
    }
    return CVR_OK;
}

static int32_t add_masks(const scene_reading *r, cvr_error *err) {
    const int64_t side = r->d->side, shape[3] = {r->scene->n, side, side};
    uint8_t *masks = NULL;
    CVR_TRY(add(r, CVR_FIELD_MASKS, CVR_U8, 3, shape, &masks, err));
    for (int32_t i = 0; i < r->scene->n; i++, masks += side * side) {
        for (int64_t k = 0; k < side * side; k++) masks[k] = r->scene->owner[k] == i + 1;
    }
    return CVR_OK;
}

static int32_t add_mask(const scene_reading *r, cvr_error *err) {
    const int64_t side = r->d->side, shape[2] = {side, side};
    uint8_t *mask = NULL, class_of[MOST_ITEMS + 1] = {0};
    CVR_TRY(add(r, CVR_FIELD_MASK, CVR_U8, 2, shape, &mask, err));
    for (int32_t i = 0; i < r->scene->n; i++) class_of[i + 1] = (uint8_t)(r->scene->items[i].label + 1);
    for (int64_t k = 0; k < side * side; k++) mask[k] = class_of[r->scene->owner[k]];
    return CVR_OK;
}

/* The class of the item that shows most; -1: there is none, as all the pictures that were drawn are black. */
static int64_t label_of(const scene *s) {
    const scene_item *most = &s->items[0];
    for (int32_t i = 1; i < s->n; i++) most = s->items[i].seen > most->seen ? &s->items[i] : most;
    return s->n ? most->label : -1;
}

static int32_t add_label(const scene_reading *r, cvr_error *err) {
    int64_t *label = NULL;
    CVR_TRY(add(r, CVR_FIELD_LABEL, CVR_I64, 0, NULL, &label, err));
    *label = label_of(r->scene);
    return *label >= 0 ? CVR_OK : cvr_fail(err, CVR_ERR_FORMAT, "black pictures, which no scene can be made of");
}

static int32_t read_sample(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    const scenes *const d = self;
    const int64_t fields = d->a.fields;
    uint8_t *const scratch = out->alloc(out, scene_scratch(d));
    scene s;
    const scene_reading r = {d, out, &s};
    if (!scratch) return no_memory(d, err);
    scene_place(d, index, scratch, &s);
    CVR_TRY(add_image(&r, index, err));
    if (fields <= FIELDS_INSTANCES) CVR_TRY(add_boxes(&r, err));
    if (fields == FIELDS_ALL || fields == FIELDS_INSTANCES) CVR_TRY(add_masks(&r, err));
    if (background(d)) CVR_TRY(add_mask(&r, err));
    if (fields == FIELDS_LABEL) CVR_TRY(add_label(&r, err));
    out->origin->id = index;
    out->origin->height = out->origin->width = d->side;
    return CVR_OK;
}

/* ---- answers ---- */

static int64_t count(const void *self) {
    const scenes *const d = self;
    return d->a.size[d->split];
}

static int64_t n_classes(const void *self) {
    return CLASSES + background(self);
}

static const char *class_name(const void *self, int64_t i) {
    return names[i + !background(self)];
}

static void describe(const void *self, int64_t index, char *buf, uint64_t size) {
    const scenes *const d = self;
    (void)snprintf(buf, size, "scenes/%s[%lld]", d->split == CVR_SPLIT_TRAIN ? "train" : "val", (long long)index);
}

/* Places the items of a scene without painting it: rows, or the label. -1 where memory is out. */
static int64_t ask(const scenes *d, int64_t index, int32_t rows) {
    scene s;
    uint8_t *const scratch = d->host->alloc(d->host, scene_scratch(d), 64);
    if (!scratch) return -1;
    scene_place(d, index, scratch, &s);
    d->host->free(d->host, scratch);
    return rows ? s.n : label_of(&s);
}

static int64_t label(const void *self, int64_t index) {
    const scenes *const d = self;
    return d->a.fields == FIELDS_LABEL ? ask(d, index, 0) : -1;
}

static int64_t rows(const void *self, int64_t index, const char *axis) {
    const scenes *const d = self;
    return d->a.fields <= FIELDS_INSTANCES && strcmp(axis, "object") == 0 ? ask(d, index, 1) : -1;
}

static int32_t size(const void *self, int64_t index, int64_t *height, int64_t *width, cvr_error *err) {
    (void)index;
    (void)err;
    *height = *width = ((const scenes *)self)->side;
    return CVR_OK;
}

/* The pixels of an item, column by column. */
static int32_t find_runs(const uint8_t *owner, int64_t side, int32_t item, rle *r, cvr_error *err) {
    rle_build b;
    CVR_TRY(rle_build_start(&b, r, side, side, err));
    for (int64_t k = 0; k < side * side; k++)
        CVR_TRY(rle_build_add(&b, 1, owner[k % side * side + k / side] == item + 1, err));
    return rle_build_end(&b, err);
}

static int32_t each_object(const void *self, int64_t index, cvr_object_fn each, void *ctx, cvr_error *err) {
    const scenes *const d = self;
    const int32_t masks = d->a.fields == FIELDS_ALL || d->a.fields == FIELDS_INSTANCES;
    uint8_t *const scratch = d->host->alloc(d->host, scene_scratch(d), 64);
    rle r = {.host = d->host};
    scene s = {.n = 0};
    int32_t status = scratch ? CVR_OK : no_memory(d, err);
    if (scratch && d->a.fields <= FIELDS_INSTANCES) scene_place(d, index, scratch, &s);
    for (int32_t i = 0; i < s.n; i++) {
        const scene_item *const item = &s.items[i];
        const double width = item->x2 - item->x1, height = item->y2 - item->y1;
        if (masks) CVR_TRY_OUT(find_runs(s.owner, d->side, i, &r, err));
        const cvr_object o = {.struct_size = sizeof o,
                              .id = i + 1,
                              .klass = item->label + background(d),
                              .box = {item->x1, item->y1, width, height},
                              .area = masks ? item->seen : width * height,
                              .n_runs = (uint32_t)r.n,
                              .runs = r.runs};
        CVR_TRY_OUT(each(ctx, &o, err));
    }
out:
    rle_free(&r);
    if (scratch) d->host->free(d->host, scratch);
    return status;
}

static const char *kind(const void *self, uint32_t i) {
    return i < 5 ? kinds[((const scenes *)self)->a.fields][i] : NULL;
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(INT, "objects", "1,6", "items of a scene, fewest and most; fewer where there is no room", .count = 2,
             CVR_ATTR_BETWEEN(0, MOST_ITEMS)),
    CVR_ATTR(FLOAT, "item_scale", "1,2", "how much larger than 28 pixels an item is, least and most", .count = 2,
             CVR_ATTR_BETWEEN(0.25, 64)),
    CVR_ATTR(FLOAT, "overlap", "0.3", "most that the boxes of two items overlap, as intersection over union",
             CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(FLOAT, "rotate", "15", "most degrees by which items are turned, either way", CVR_ATTR_BETWEEN(0, 180)),
    CVR_ATTR(BOOL, "flip", "yes", "half of the items are mirrored"),
    CVR_ATTR(BOOL, "colour", "yes", "each item has a colour; no: they are grey"),
    CVR_ATTR(FLOAT, "texture", "0.5", "contrast of the ground; 0: one colour", CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(FLOAT, "noise", "0.02", "standard deviation of the noise over all, in shares of white",
             CVR_ATTR_BETWEEN(0, 0.5)),
    CVR_ATTR(INT, "train_size", "10000", "scenes to train on", CVR_ATTR_BETWEEN(1, 1e9)),
    CVR_ATTR(INT, "val_size", "1000", "scenes to validate on", CVR_ATTR_BETWEEN(1, 1e9)),
    CVR_ATTR(CHOICE, "fields", "all",
             "what is known of a scene: boxes; instances: boxes and the mask of each; mask: the class of each pixel; "
             "all: these three; label: the class of the item that shows most",
             .choices = "all|boxes|instances|mask|label"),
};

static const cvr_dataset_desc dataset = {
    .struct_size = sizeof dataset,
    .name = "scenes",
    .doc = "Items of Fashion-MNIST on a textured ground, with boxes and masks, made in memory from the seed",
    .n_attrs = sizeof attrs / sizeof *attrs,
    .attrs = attrs,
    .open = open_scenes,
    .close = close_scenes,
    .count = count,
    .n_classes = n_classes,
    .class_name = class_name,
    .read = read_sample,
    .describe = describe,
    .label = label,
    .kind = kind,
    .rows = rows,
    .size = size,
    .objects = each_object,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_DATASET, &dataset, err);
}

CVR_DEFINE_PLUGIN("dataset_scenes", "0.1.0", "", load)
