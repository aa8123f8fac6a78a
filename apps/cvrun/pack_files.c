/*
 * The layouts that cvrun pack writes:
 *   coco    SPLIT/NNNNNN.png, annotations/instances_SPLIT.json (https://cocodataset.org/#format-data); masks of
 *           instances as uncompressed run lengths, column by column
 *   masks   SPLIT/images/NNNNNN.png, SPLIT/masks/NNNNNN.png whose grey is the class (255: none), classes.txt
 *   folder  SPLIT/CLASS/NNNNNN.png, as torchvision's ImageFolder reads it
 */
#include "pack.h"

static int32_t no_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

char *pack_path(const char *a, const char *b, const char *c) {
    char *ab = cvr_fs_join(a, b), *abc = ab && c ? cvr_fs_join(ab, c) : ab;
    if (abc != ab) cvr_free(ab);
    return abc;
}

/* ---- pictures ---- */

static int32_t to_text(void *ctx, const void *bytes, uint64_t n, cvr_error *err) {
    cvr_text *t = ctx;
    cvr_text_add_bytes(t, bytes, n);
    return t->failed ? no_memory(err) : CVR_OK;
}

/* Pixels as PNG into FOLDER/NNNNNN.png of this split. */
static int32_t write_png(const pack_source *p, const char *folder, int64_t number, const cvr_image *pixels,
                         cvr_error *err) {
    cvr_text bytes = {0};
    char name[32];
    int32_t status;
    (void)snprintf(name, sizeof name, "%06lld.png", (long long)number);
    char *split = pack_path(p->folder, p->split, *folder ? folder : NULL), *path = NULL;
    if (split) path = cvr_fs_join(split, name);
    if (!path) {
        status = no_memory(err);
        goto out;
    }
    CVR_TRY_OUT(p->images->encode(p->images, "png", pixels, to_text, &bytes, err));
    CVR_TRY_OUT(cvr_fs_write_unsynced(path, bytes.s, bytes.n, err));
out:
    cvr_free(split);
    cvr_free(path);
    cvr_text_clear(&bytes);
    return status;
}

static int32_t fail_field(const char *what, cvr_error *err) {
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "%s; it cannot be packed", what);
}

static int32_t write_picture(const pack_source *p, const pack_sample *s, const char *folder, int64_t number,
                             cvr_error *err) {
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE); /* (H, W, C) */
    if (!f || f->dtype != CVR_U8 || f->rank != 3 || (f->shape[2] != 1 && f->shape[2] != 3))
        return fail_field("the picture is not u8 with 1 or 3 channels", err);
    const cvr_image pixels = {.struct_size = sizeof pixels,
                              .width = f->shape[1],
                              .height = f->shape[0],
                              .channels = f->shape[2],
                              .data = f->data};
    return write_png(p, folder, number, &pixels, err);
}

static int32_t make_folder(const pack_source *p, const char *a, const char *b, cvr_error *err) {
    char *path = pack_path(p->folder, a, b);
    const int32_t status = path ? cvr_fs_mkdirs(path, err) : no_memory(err);
    cvr_free(path);
    return status;
}

/* ---- coco ---- */

/* COCO counts categories from 1, and has none for the background. */
static int64_t first_category(const pack_source *p) {
    return p->n_classes && strcmp(p->class_names[0], "background") == 0 ? 0 : 1;
}

/* Run lengths of a mask (H, W), column by column: zeros first, then ones, in turn. Returns the number of ones. */
static int64_t add_runs(cvr_text *t, const uint8_t *mask, int64_t height, int64_t width) {
    int64_t run = 0, ones = 0;
    uint8_t now = 0;
    cvr_text_add(t, "{\"size\": [%lld, %lld], \"counts\": [", (long long)height, (long long)width);
    for (int64_t x = 0; x < width; x++) {
        for (int64_t y = 0; y < height; y++) {
            const uint8_t here = mask[y * width + x] != 0;
            if (here != now) {
                cvr_text_add(t, "%lld, ", (long long)run);
                now = here;
                run = 0;
            }
            run++;
            ones += here;
        }
    }
    cvr_text_add(t, "%lld]}", (long long)run);
    return ones;
}

/* Fields of a sample with boxes; `masks` may be NULL. */
typedef struct objects {
    const cvr_field *image, *boxes, *labels, *masks;
} objects;

static int32_t find_objects(const pack_source *p, const pack_sample *s, objects *o, cvr_error *err) {
    o->image = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE);
    o->boxes = cvr_sample_find(&s->sample, CVR_FIELD_BOXES);
    o->labels = cvr_sample_find(&s->sample, CVR_FIELD_BOX_LABELS);
    o->masks = cvr_sample_find(&s->sample, CVR_FIELD_MASKS);
    if (!o->boxes || o->boxes->dtype != CVR_F32 || o->boxes->rank != 2 || o->boxes->shape[1] != 4)
        return fail_field("it has no boxes of four f32", err);
    const int64_t n = o->boxes->shape[0], *labels = o->labels ? o->labels->data : NULL;
    if (!labels || o->labels->dtype != CVR_I64 || o->labels->rank != 1 || o->labels->shape[0] != n)
        return fail_field("it does not have a label for each box", err);
    if (o->masks && (o->masks->dtype != CVR_U8 || o->masks->rank != 3 || o->masks->shape[0] != n ||
                     o->masks->shape[1] != o->image->shape[0] || o->masks->shape[2] != o->image->shape[1]))
        return fail_field("it does not have a mask of the picture's size for each box", err);
    for (int64_t i = 0; i < n; i++) {
        if (labels[i] < 0 || labels[i] >= p->n_classes)
            return cvr_fail(err, CVR_ERR_FORMAT, "box %lld has class %lld of %lld", (long long)i, (long long)labels[i],
                            (long long)p->n_classes);
    }
    return CVR_OK;
}

static void add_object(const pack_source *p, const objects *o, int64_t i, int64_t image_id, cvr_text *t) {
    const float *b = (const float *)o->boxes->data + 4 * i;
    const double width = (double)b[2] - b[0], height = (double)b[3] - b[1];
    double area = width * height;
    cvr_text_add(t, "\"image_id\": %lld, \"category_id\": %lld, \"iscrowd\": 0, \"bbox\": [%.9g, %.9g, %.9g, %.9g], ",
                 (long long)image_id, (long long)(((const int64_t *)o->labels->data)[i] + first_category(p)),
                 (double)b[0], (double)b[1], width, height);
    cvr_text_add(t, "\"segmentation\": ");
    if (o->masks) {
        const int64_t h = o->masks->shape[1], w = o->masks->shape[2];
        area = (double)add_runs(t, (const uint8_t *)o->masks->data + i * h * w, h, w);
    } else {
        cvr_text_add(t, "[]");
    }
    cvr_text_add(t, ", \"area\": %.9g}\n", area);
}

static int32_t coco_begin(const pack_source *p, cvr_writer *w, cvr_error *err) {
    static const char start[] = "{\"annotations\": [";
    char name[64];
    int32_t status;
    CVR_TRY(make_folder(p, p->split, NULL, err));
    CVR_TRY(make_folder(p, "annotations", NULL, err));
    (void)snprintf(name, sizeof name, "instances_%s.json", p->split);
    char *path = pack_path(p->folder, "annotations", name);
    status = path ? cvr_writer_open(w, path, err) : no_memory(err);
    cvr_free(path);
    return status == CVR_OK ? cvr_writer_put(w, start, sizeof start - 1, err) : status;
}

static int32_t coco_sample(const pack_source *p, pack_sample *s, int64_t number, pack_record *out, cvr_error *err) {
    objects o;
    CVR_TRY(write_picture(p, s, "", number, err));
    CVR_TRY(find_objects(p, s, &o, err));
    out->n_objects = o.boxes->shape[0];
    for (int64_t i = 0; i < out->n_objects; i++) add_object(p, &o, i, s->origin.id, &out->objects);
    cvr_text_add(&out->image, "{\"id\": %lld, \"file_name\": \"%06lld.png\", \"height\": %lld, \"width\": %lld}",
                 (long long)s->origin.id, (long long)number, (long long)o.image->shape[0],
                 (long long)o.image->shape[1]);
    return out->image.failed || out->objects.failed ? no_memory(err) : CVR_OK;
}

/* Annotations get their ids here, from 1, as their order is known only here. */
static int32_t coco_record(const pack_record *r, cvr_writer *w, cvr_text *images, int64_t *n_objects, cvr_error *err) {
    const char *line = r->objects.s;
    char id[64];
    for (int64_t i = 0; i < r->n_objects; i++) {
        const size_t length = strcspn(line, "\n");
        const int n = snprintf(id, sizeof id, "%s\n{\"id\": %lld, ", *n_objects ? "," : "", (long long)*n_objects + 1);
        CVR_TRY(cvr_writer_put(w, id, (uint64_t)n, err));
        CVR_TRY(cvr_writer_put(w, line, length, err));
        line += length + 1;
        ++*n_objects;
    }
    cvr_text_add(images, "%s\n", images->n ? "," : "");
    cvr_text_add_bytes(images, r->image.s, r->image.n);
    return images->failed ? no_memory(err) : CVR_OK;
}

static int32_t coco_end(const pack_source *p, cvr_writer *w, const cvr_text *images, cvr_error *err) {
    const int64_t first = first_category(p);
    cvr_text t = {0};
    cvr_text_add(&t, "\n],\n\"images\": [");
    cvr_text_add_bytes(&t, images->s, images->n);
    cvr_text_add(&t, "\n],\n\"categories\": [");
    for (int64_t i = first ? 0 : 1; i < p->n_classes; i++) {
        cvr_text_add(&t, "%s\n{\"id\": %lld, \"name\": ", i + first > 1 ? "," : "", (long long)(i + first));
        cvr_text_add_json(&t, p->class_names[i]);
        cvr_text_add(&t, "}");
    }
    cvr_text_add(&t, "\n]}\n");
    const int32_t status = t.failed ? no_memory(err) : cvr_writer_put(w, t.s, t.n, err);
    cvr_text_clear(&t);
    return status == CVR_OK ? cvr_writer_commit(w, false, err) : status;
}

/* ---- masks ---- */

/* classes.txt: a name a line, in the order of their numbers. */
static int32_t write_classes(const pack_source *p, cvr_error *err) {
    cvr_text t = {0};
    for (int64_t i = 0; i < p->n_classes; i++) cvr_text_add(&t, "%s\n", p->class_names[i]);
    char *path = cvr_fs_join(p->folder, "classes.txt");
    const int32_t status = t.failed || !path ? no_memory(err) : cvr_fs_write(path, t.s ? t.s : "", t.n, err);
    cvr_text_clear(&t);
    cvr_free(path);
    return status;
}

static int32_t masks_begin(const pack_source *p, cvr_writer *w, cvr_error *err) {
    (void)w;
    CVR_TRY(make_folder(p, p->split, "images", err));
    CVR_TRY(make_folder(p, p->split, "masks", err));
    return write_classes(p, err);
}

static int32_t masks_sample(const pack_source *p, pack_sample *s, int64_t number, pack_record *out, cvr_error *err) {
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_MASK); /* (H, W) */
    (void)out;
    if (!f || f->dtype != CVR_U8 || f->rank != 2) return fail_field("it has no mask of u8", err);
    const cvr_image pixels = {
        .struct_size = sizeof pixels, .width = f->shape[1], .height = f->shape[0], .channels = 1, .data = f->data};
    CVR_TRY(write_picture(p, s, "images", number, err));
    return write_png(p, "masks", number, &pixels, err);
}

/* ---- folder ---- */

/* A class as the name of a folder: "T-shirt/top" is T-shirt_top. */
static void folder_name(const char *class_name, char *to, size_t size) {
    (void)snprintf(to, size, "%s", *class_name ? class_name : "_");
    for (char *c = to; *c; c++) {
        if (*c == '/' || (unsigned char)*c < ' ' || (c == to && *c == '.')) *c = '_';
    }
}

static int32_t folder_begin(const pack_source *p, cvr_writer *w, cvr_error *err) {
    char one[256], other[256];
    (void)w;
    for (int64_t i = 0; i < p->n_classes; i++) {
        folder_name(p->class_names[i], one, sizeof one);
        for (int64_t k = 0; k < i; k++) {
            folder_name(p->class_names[k], other, sizeof other);
            if (strcmp(one, other) == 0)
                return cvr_fail(err, CVR_ERR_USAGE,
                                "two classes would be the folder %s; give them other names by data.names", one);
        }
    }
    return make_folder(p, p->split, NULL, err);
}

static int32_t folder_sample(const pack_source *p, pack_sample *s, int64_t number, pack_record *out, cvr_error *err) {
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_LABEL);
    char name[256];
    (void)out;
    if (!f || f->dtype != CVR_I64 || f->rank != 0) return fail_field("it has no label that is one number", err);
    const int64_t label = *(const int64_t *)f->data;
    if (label < 0 || label >= p->n_classes)
        return cvr_fail(err, CVR_ERR_FORMAT, "its class is %lld of %lld", (long long)label, (long long)p->n_classes);
    folder_name(p->class_names[label], name, sizeof name);
    CVR_TRY(make_folder(p, p->split, name, err)); /* only of classes that there are: a reader refuses empty ones */
    return write_picture(p, s, name, number, err);
}

static const pack_layout coco = {.name = "coco",
                                 .needs = CVR_FIELD_BOXES,
                                 .begin = coco_begin,
                                 .sample = coco_sample,
                                 .record = coco_record,
                                 .end = coco_end};
static const pack_layout masks = {
    .name = "masks", .needs = CVR_FIELD_MASK, .begin = masks_begin, .sample = masks_sample};
static const pack_layout folder = {
    .name = "folder", .needs = CVR_FIELD_LABEL, .begin = folder_begin, .sample = folder_sample};

/* In the order in which data are asked for what a layout needs. */
const pack_layout *const pack_layouts[] = {&coco, &masks, &pack_cache, &folder};
const size_t n_pack_layouts = sizeof pack_layouts / sizeof *pack_layouts;
