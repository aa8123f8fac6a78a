/*
 * A picture and its mask as a sample, and what the data sets of masks answer alike.
 */
#include "../folder/folder_list.h"
#include "masks.h"
#include <unistd.h>

void masks_close(void *self) {
    mask_data *const d = self;
    if (!d) return;
    mask_list_free(&d->list);
    name_table_free(&d->classes);
    colour_table_free(&d->colours);
    d->host->free(d->host, d);
}

int32_t masks_open(masks_fill_fn fill, const cvr_dataset_args *args, void **self, cvr_error *err) {
    dataset_pictures pictures;
    *self = NULL;
    CVR_TRY(dataset_pictures_open(args, &pictures, err));
    mask_data *const d = args->host->alloc(args->host, sizeof *d, 16);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the list of pictures");
    *d = (mask_data){.host = args->host,
                     .pictures = pictures,
                     .list = {.host = args->host},
                     .classes = {.host = args->host},
                     .colours = {.host = args->host}};
    const int32_t status = fill(d, args, err);
    if (status == CVR_OK)
        *self = d;
    else
        masks_close(d);
    return status;
}

int32_t masks_name_classes(mask_data *d, const char *const *names, int64_t n, cvr_error *err) {
    for (int64_t i = 0; i < n; i++) {
        int64_t number;
        CVR_TRY(name_table_put(&d->classes, names[i], &number, err));
    }
    mask_values_count(&d->values, n);
    d->values.class_of[MASK_IGNORED] = MASK_IGNORED;
    d->values.remedy = "is this the right data.format?";
    d->values.colour_remedy = "save the palette's indices, not its colours";
    return CVR_OK;
}

int32_t masks_read_colours(mask_data *d, const cvr_dataset_args *args, const char *ignored, cvr_error *err) {
    CVR_TRY(colour_table_read(&d->colours, d->table, ignored, &d->classes, err));
    if (args->split == CVR_SPLIT_TRAIN) colour_table_warn(&d->colours, d->table, ignored);
    d->values.n_classes = (int64_t)d->classes.n;
    d->values.colours = &d->colours;
    d->values.table = d->table;
    return CVR_OK;
}

int32_t masks_list(mask_data *d, const mask_trees *trees, const cvr_dataset_args *args, double val_split,
                   cvr_error *err) {
    CVR_TRY(mask_list_trees(&d->list, d->pictures.image, trees, args->split == CVR_SPLIT_TRAIN || val_split == 0, err));
    if (val_split > 0) mask_list_split(&d->list, args->split, val_split, args->seed);
    if (d->list.n) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE, "data.val_split leaves this split without pictures; add pictures or change it");
}

/* ---- folders ---- */

int32_t masks_fail_folder(const char *folder, const char *what, cvr_error *err) {
    return cvr_fail_at(err, folder, 0, cvr_fail(err, CVR_ERR_IO, "%s", what));
}

int32_t masks_need_root(const cvr_dataset_args *args, const char *holds, cvr_error *err) {
    if (args->train[0] || args->val[0])
        return cvr_fail(err, CVR_ERR_USAGE,
                        "data.train and data.val mean nothing here; set data.root to the folder of %s", holds);
    return args->root[0] ? CVR_OK : cvr_fail(err, CVR_ERR_USAGE, "data.root is not set; give the folder of %s", holds);
}

int32_t masks_find_base(const char *root, const char *const *below, const char *inside, char *base, uint64_t size,
                        cvr_error *err) {
    char path[4096];
    for (; *below; below++) {
        const char *const b = **below ? *below : root;
        CVR_TRY(dataset_path(base, size, **below ? root : "", b, err));
        CVR_TRY(dataset_path(path, sizeof path, base, inside, err));
        if (folder_exists(path)) return CVR_OK;
    }
    return dataset_path(base, size, "", root, err);
}

int32_t masks_find_file(const char *folder, const char *const *names, char *path, uint64_t size, cvr_error *err) {
    for (; *names; names++) {
        CVR_TRY(dataset_path(path, size, folder, *names, err));
        if (access(path, F_OK) == 0) return CVR_OK;
    }
    path[0] = '\0';
    return CVR_OK;
}

/* ---- a sample ---- */

static void *sample_alloc(void *ctx, uint64_t bytes) {
    cvr_sample *const s = ctx;
    return s->alloc(s, bytes);
}

static int32_t fail_size(const cvr_image *mask, const cvr_field *image, cvr_error *err) {
    const long long h = (long long)image->shape[0], w = (long long)image->shape[1];
    const int32_t turned = mask->height == w && mask->width == h;
    return cvr_fail(err, CVR_ERR_FORMAT, "the mask is %lld x %lld, its picture %lld x %lld; %s", (long long)mask->width,
                    (long long)mask->height, w, h,
                    turned ? "the picture is turned by its EXIF orientation, and the mask is not: turn it likewise"
                           : "make it anew from this picture");
}

/* mask: (H,W) u8 in the sample's memory */
static int32_t add_mask(cvr_sample *s, const cvr_image *mask, cvr_error *err) {
    const cvr_field like = {.struct_size = sizeof like,
                            .name = "mask",
                            .kind = CVR_FIELD_MASK,
                            .dtype = CVR_U8,
                            .rank = 2,
                            .shape = {1, 1, 1, 1}};
    cvr_field *field = NULL;
    CVR_TRY(s->add(s, &like, &field, err));
    field->shape[0] = mask->height;
    field->shape[1] = mask->width;
    field->data = mask->data;
    return CVR_OK;
}

static int32_t read_mask(const mask_data *d, const char *path, cvr_sample *s, cvr_error *err) {
    cvr_image mask = {.struct_size = sizeof mask};
    cvr_picture_job job = {.struct_size = sizeof job,
                           .channels = d->values.colours ? 3 : 0,
                           .alloc = sample_alloc,
                           .alloc_ctx = s,
                           .out = &mask,
                           .exact = 1};
    const cvr_field *const image = cvr_sample_find(s, CVR_FIELD_IMAGE);
    uint8_t *bytes = NULL;
    CVR_TRY(dataset_picture_read(path, s, &bytes, &job.n, err));
    job.bytes = bytes;
    CVR_TRY(d->pictures.image->decode_part(d->pictures.image, &job, err));
    if (mask.height != image->shape[0] || mask.width != image->shape[1]) return fail_size(&mask, image, err);
    CVR_TRY(mask_values_apply(&d->values, &mask, err));
    return add_mask(s, &mask, err);
}

static int32_t read_picture(const mask_data *d, const char *path, cvr_sample *s, cvr_error *err) {
    uint8_t *bytes = NULL;
    uint64_t n = 0;
    CVR_TRY(dataset_picture_read(path, s, &bytes, &n, err));
    return dataset_picture_add(&d->pictures, bytes, n, s, err);
}

int32_t masks_read(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    const mask_data *const d = self;
    const char *const path = mask_list_picture(&d->list, index), *const mask = mask_list_mask(&d->list, index);
    int32_t status = read_picture(d, path, out, err);
    if (status == CVR_OK && access(mask, F_OK) != 0)
        status =
            cvr_fail(err, CVR_ERR_IO, "a picture without a mask; put the mask at %.800s, or remove the picture", mask);
    if (status != CVR_OK) return cvr_fail_at(err, path, 0, status);
    status = read_mask(d, mask, out, err);
    if (status != CVR_OK) return cvr_fail_at(err, mask, 0, status);
    const cvr_field *const image = cvr_sample_find(out, CVR_FIELD_IMAGE);
    out->origin->path = path;
    out->origin->height = image->shape[0];
    out->origin->width = image->shape[1];
    return CVR_OK;
}

/* ---- answers ---- */

int64_t masks_count(const void *self) {
    return (int64_t)((const mask_data *)self)->list.n;
}

int64_t masks_n_classes(const void *self) {
    return (int64_t)((const mask_data *)self)->classes.n;
}

const char *masks_class_name(const void *self, int64_t i) {
    return name_table_get(&((const mask_data *)self)->classes, i);
}

void masks_describe(const void *self, int64_t index, char *buf, uint64_t size) {
    (void)snprintf(buf, size, "%s", mask_list_picture(&((const mask_data *)self)->list, index));
}

int64_t masks_label(const void *self, int64_t index) {
    (void)self;
    (void)index;
    return -1;
}

const char *masks_kind(const void *self, uint32_t i) {
    static const char *const kinds[] = {CVR_FIELD_IMAGE, CVR_FIELD_MASK};
    (void)self;
    return i < 2 ? kinds[i] : NULL;
}

int32_t masks_size(const void *self, int64_t index, int64_t *height, int64_t *width, cvr_error *err) {
    const mask_data *const d = self;
    return dataset_picture_size(&d->pictures, d->host, mask_list_picture(&d->list, index), height, width, err);
}
