/*
 * The layouts of files that cvrun pack writes, beside those of boxes (pack_boxes.c):
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

/* Pixels as PNG into a/b/NNNNNN.png; `b` may be NULL. */
static int32_t write_png(const pack_source *p, const char *a, const char *b, int64_t number, const cvr_image *pixels,
                         cvr_error *err) {
    cvr_text bytes = {0};
    char name[32];
    int32_t status;
    (void)snprintf(name, sizeof name, "%06lld.png", (long long)number);
    char *folder = pack_path(p->folder, a, b), *path = NULL;
    if (folder) path = cvr_fs_join(folder, name);
    if (!path) {
        status = no_memory(err);
        goto out;
    }
    CVR_TRY_OUT(p->images->encode(p->images, "png", pixels, to_text, &bytes, err));
    CVR_TRY_OUT(cvr_fs_write_unsynced(path, bytes.s, bytes.n, err));
out:
    cvr_free(folder);
    cvr_free(path);
    cvr_text_clear(&bytes);
    return status;
}

int32_t pack_fail_field(const char *what, cvr_error *err) {
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "%s; it cannot be packed", what);
}

int32_t pack_write_picture(const pack_source *p, const pack_sample *s, const char *a, const char *b, int64_t number,
                           cvr_error *err) {
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_IMAGE); /* (H, W, C) */
    if (!f || f->dtype != CVR_U8 || f->rank != 3 || (f->shape[2] != 1 && f->shape[2] != 3))
        return pack_fail_field("the picture is not u8 with 1 or 3 channels", err);
    const cvr_image pixels = {.struct_size = sizeof pixels,
                              .width = f->shape[1],
                              .height = f->shape[0],
                              .channels = f->shape[2],
                              .data = f->data};
    return write_png(p, a, b, number, &pixels, err);
}

int32_t pack_make_folder(const pack_source *p, const char *a, const char *b, cvr_error *err) {
    char *path = pack_path(p->folder, a, b);
    const int32_t status = path ? cvr_fs_mkdirs(path, err) : no_memory(err);
    cvr_free(path);
    return status;
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
    CVR_TRY(pack_make_folder(p, p->split, "images", err));
    CVR_TRY(pack_make_folder(p, p->split, "masks", err));
    return write_classes(p, err);
}

static int32_t masks_sample(const pack_source *p, pack_sample *s, int64_t number, pack_record *out, cvr_error *err) {
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_MASK); /* (H, W) */
    (void)out;
    if (!f || f->dtype != CVR_U8 || f->rank != 2) return pack_fail_field("it has no mask of u8", err);
    const cvr_image pixels = {
        .struct_size = sizeof pixels, .width = f->shape[1], .height = f->shape[0], .channels = 1, .data = f->data};
    CVR_TRY(pack_write_picture(p, s, p->split, "images", number, err));
    return write_png(p, p->split, "masks", number, &pixels, err);
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
    return pack_make_folder(p, p->split, NULL, err);
}

static int32_t folder_sample(const pack_source *p, pack_sample *s, int64_t number, pack_record *out, cvr_error *err) {
    const cvr_field *f = cvr_sample_find(&s->sample, CVR_FIELD_LABEL);
    char name[256];
    (void)out;
    if (!f || f->dtype != CVR_I64 || f->rank != 0) return pack_fail_field("it has no label that is one number", err);
    const int64_t label = *(const int64_t *)f->data;
    if (label < 0 || label >= p->n_classes)
        return cvr_fail(err, CVR_ERR_FORMAT, "its class is %lld of %lld", (long long)label, (long long)p->n_classes);
    folder_name(p->class_names[label], name, sizeof name);
    CVR_TRY(pack_make_folder(p, p->split, name, err)); /* only of classes that there are: a reader refuses empty ones */
    return pack_write_picture(p, s, p->split, name, number, err);
}

static const pack_layout masks = {
    .name = "masks", .needs = CVR_FIELD_MASK, .begin = masks_begin, .sample = masks_sample};
static const pack_layout folder = {
    .name = "folder", .needs = CVR_FIELD_LABEL, .begin = folder_begin, .sample = folder_sample};

/* In the order in which data are asked for what a layout needs. */
const pack_layout *const pack_layouts[] = {&pack_coco, &masks, &pack_cache, &folder, &pack_yolo};
const size_t n_pack_layouts = sizeof pack_layouts / sizeof *pack_layouts;
