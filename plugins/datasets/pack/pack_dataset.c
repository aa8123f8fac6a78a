/*
 * The data set "pack": what `cvrun pack` makes of other data. Pixels are copied from the mapped file, and of a picture
 * only the part that the transforms look at.
 */
#include "../dataset_picture.h"
#include "pack_file.h"

typedef struct pack {
    pack_file file;
    dataset_pictures pictures; /* where the pack has files */
} pack;

/* data.train or data.val, else data.root/train.pack or val.pack. */
static int32_t path_of(const cvr_dataset_args *args, char *path, uint64_t size, cvr_error *err) {
    const char *const given = args->split == CVR_SPLIT_TRAIN ? args->train : args->val;
    if (given[0]) return dataset_path(path, size, "", given, err);
    if (!args->root[0])
        return cvr_fail(err, CVR_ERR_USAGE, "data.root is not set; give the folder that `cvrun pack` made");
    return dataset_path(path, size, args->root, args->split == CVR_SPLIT_TRAIN ? "train.pack" : "val.pack", err);
}

static int32_t check_channels(const pack *d, const cvr_dataset_args *args, cvr_error *err) {
    const pack_footer *const t = &d->file.footer;
    if (t->stored == PACK_FILES || !args->channels || args->channels == t->channels) return CVR_OK;
    (void)cvr_fail(err, CVR_ERR_USAGE, "its pictures have %u channels, not %u; pack them with model.in_channels=%u",
                   (unsigned)t->channels, (unsigned)args->channels, (unsigned)args->channels);
    return cvr_fail_at(err, d->file.path, 0, CVR_ERR_USAGE);
}

static void close_pack(void *self) {
    pack *const d = self;
    if (!d) return;
    const cvr_host *const host = d->file.host;
    pack_file_close(&d->file);
    host->free(host, d);
}

static int32_t open_pack(const cvr_dataset_args *args, void **self, cvr_error *err) {
    dataset_pictures pictures;
    char path[4096];
    int32_t status;
    *self = NULL;
    CVR_TRY(path_of(args, path, sizeof path, err));
    CVR_TRY(dataset_pictures_open(args, &pictures, err));
    pack *const d = args->host->alloc(args->host, sizeof *d, 16);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for opening a pack");
    *d = (pack){.file = {.host = args->host}, .pictures = pictures};
    CVR_TRY_OUT(pack_file_open(&d->file, args->host, path, err));
    CVR_TRY_OUT(check_channels(d, args, err));
out:
    if (status == CVR_OK) {
        *self = d;
    } else {
        d->file.host = args->host;
        close_pack(d);
    }
    return status;
}

static int64_t count(const void *self) {
    return (int64_t)((const pack *)self)->file.footer.n_samples;
}

static int64_t n_classes(const void *self) {
    return (int64_t)((const pack *)self)->file.footer.n_classes;
}

static const char *class_name(const void *self, int64_t i) {
    const pack_file *const f = &((const pack *)self)->file;
    return (const char *)f->bytes + f->names[i];
}

static int64_t label(const void *self, int64_t index) {
    return ((const pack *)self)->file.entries[index].label;
}

static void describe(const void *self, int64_t index, char *buf, uint64_t size) {
    (void)snprintf(buf, size, "%s[%lld]", ((const pack *)self)->file.path, (long long)index);
}

/* The part of the picture that is wanted. */
static int32_t choose(const cvr_part_request *r, const pack_entry *e, int64_t channels, cvr_part *part,
                      cvr_error *err) {
    cvr_part_whole(part, e->height, e->width);
    if (!r) return CVR_OK;
    CVR_TRY(r->choose(r, e->height, e->width, channels, part, err));
    part->reduce = 1;
    *r->given = *part;
    return CVR_OK;
}

/* record: (height,width,channels) u8 */
static int32_t add_pixels(const pack_entry *e, const uint8_t *record, int64_t channels, cvr_sample *out,
                          cvr_error *err) {
    cvr_field *field = NULL;
    cvr_part part = {.struct_size = sizeof part};
    CVR_TRY(choose(out->request, e, channels, &part, err));
    const cvr_field like = {.name = "image",
                            .kind = CVR_FIELD_IMAGE,
                            .dtype = CVR_U8,
                            .rank = 3,
                            .shape = {part.rows, part.columns, channels}};
    CVR_TRY(out->add(out, &like, &field, err));
    uint8_t *to = field->data;
    const uint8_t *from = record + (part.top * e->width + part.left) * channels;
    const int64_t row = part.columns * channels, stride = e->width * channels;
    for (int64_t y = 0; y < part.rows; y++) memcpy(to + y * row, from + y * stride, (size_t)row);
    out->origin->height = e->height;
    out->origin->width = e->width;
    return CVR_OK;
}

static int32_t add_labels(const pack *d, const pack_entry *e, const uint8_t *shares, cvr_sample *out, cvr_error *err) {
    float *labels = NULL;
    if (!d->file.footer.shares) return dataset_label_add(e->label, out, err);
    CVR_TRY(dataset_labels_add((int64_t)d->file.footer.n_classes, out, &labels, err));
    memcpy(labels, shares, (size_t)d->file.footer.n_classes * sizeof *labels);
    return CVR_OK;
}

static int32_t read_sample(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    const pack *const d = self;
    const pack_footer *const t = &d->file.footer;
    const pack_entry *const e = &d->file.entries[index];
    const uint64_t picture = e->bytes - (t->shares ? t->n_classes * sizeof(float) : 0);
    const uint8_t *record = NULL;
    char name[512];
    int32_t status;
    CVR_TRY(pack_file_record(&d->file, index, &record, err));
    status = t->stored == PACK_PIXELS ? add_pixels(e, record, (int64_t)t->channels, out, err)
                                      : dataset_picture_add(&d->pictures, record, picture, out, err);
    if (status == CVR_OK) return add_labels(d, e, record + picture, out, err);
    describe(self, index, name, sizeof name);
    return cvr_fail_at(err, name, 0, status);
}

static int32_t size_of(const void *self, int64_t index, int64_t *height, int64_t *width, cvr_error *err) {
    const pack_file *const f = &((const pack *)self)->file;
    (void)err;
    *height = f->entries[index].height;
    *width = f->entries[index].width;
    return CVR_OK;
}

static const cvr_dataset_desc dataset = {
    .struct_size = sizeof dataset,
    .name = "pack",
    .doc = "What `cvrun pack` wrote: train.pack and val.pack, mapped into memory",
    .open = open_pack,
    .close = close_pack,
    .count = count,
    .n_classes = n_classes,
    .class_name = class_name,
    .read = read_sample,
    .describe = describe,
    .label = label,
    .kind = dataset_picture_kind,
    .size = size_of,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_DATASET, &dataset, err);
}

CVR_DEFINE_PLUGIN("dataset_pack", "0.1.0", "", load)
