/*
 * The data set "fake" (torchvision FakeData): pictures of random pixels with random labels, made in memory from the
 * seed and the index, for trying a model's speed.
 */
#include <cvr/plugin/plugin.h>

#define MASK_STREAM 3 /* tells a mask's numbers from its picture's */

typedef struct fake_attrs {
    int64_t size, classes, masks;
} fake_attrs;

typedef struct fake {
    const cvr_host *host;
    fake_attrs attrs;
    uint64_t key;
    int64_t side, channels;
    char (*names)[24];
} fake;

static void close_fake(void *self) {
    fake *const f = self;
    if (!f) return;
    if (f->names) f->host->free(f->host, f->names);
    f->host->free(f->host, f);
}

static int32_t open_fake(const cvr_dataset_args *args, void **self, cvr_error *err) {
    const fake_attrs *const a = args->attrs;
    const int64_t side = args->img_size ? args->img_size : 224;
    *self = NULL;
    if (a->masks && a->classes > 255)
        return cvr_fail(err, CVR_ERR_USAGE, "data.classes = %lld; masks can tell 255 apart", (long long)a->classes);
    if (side < 1 || side > 65500) {
        return cvr_fail(err, CVR_ERR_USAGE, "data.img_size = %lld; give 1 to 65500", (long long)side);
    }
    fake *const f = args->host->alloc(args->host, sizeof *f, 16);
    if (!f) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the fake data set");
    *f =
        (fake){.host = args->host, .attrs = *a, .side = side, .channels = args->channels ? (int64_t)args->channels : 3};
    f->key = cvr_rng_mix(args->seed, args->split);
    f->names = args->host->alloc(args->host, (uint64_t)a->classes * sizeof *f->names, 8);
    if (!f->names) {
        close_fake(f);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for %lld class names", (long long)a->classes);
    }
    for (int64_t i = 0; i < a->classes; i++) (void)snprintf(f->names[i], sizeof f->names[i], "%lld", (long long)i);
    *self = f;
    return CVR_OK;
}

static int64_t count(const void *self) {
    return ((const fake *)self)->attrs.size;
}

static int64_t n_classes(const void *self) {
    return ((const fake *)self)->attrs.classes;
}

static const char *class_name(const void *self, int64_t i) {
    return ((const fake *)self)->names[i];
}

/* The label is the first draw of a sample's stream, the pixels follow. */
static int64_t draw_label(const fake *f, int64_t index, cvr_rng *rng) {
    cvr_rng_start(rng, f->key, (uint64_t)index);
    return (int64_t)cvr_rng_below(rng, (uint64_t)f->attrs.classes);
}

static int64_t label(const void *self, int64_t index) {
    cvr_rng rng;
    return draw_label(self, index, &rng);
}

/* Blocks of 8 x 8 pixels of one class each, drawn row by row; one in 16 counts as none. */
static int32_t add_mask(const fake *f, int64_t index, cvr_sample *out, cvr_error *err) {
    const cvr_field mask = {
        .name = "mask", .kind = CVR_FIELD_MASK, .dtype = CVR_U8, .rank = 2, .shape = {f->side, f->side}};
    cvr_field *field = NULL;
    cvr_rng rng;
    CVR_TRY(out->add(out, &mask, &field, err));
    uint8_t *const classes = field->data; /* (H,W) */
    cvr_rng_start(&rng, cvr_rng_mix(f->key, MASK_STREAM), (uint64_t)index);
    for (int64_t y = 0; y < f->side; y += 8) {
        for (int64_t x = 0; x < f->side; x += 8) {
            const uint8_t k =
                cvr_rng_below(&rng, 16) == 0 ? 255 : (uint8_t)cvr_rng_below(&rng, (uint64_t)f->attrs.classes);
            for (int64_t i = y; i < f->side && i < y + 8; i++)
                memset(classes + i * f->side + x, k, (size_t)(f->side - x < 8 ? f->side - x : 8));
        }
    }
    return CVR_OK;
}

static int32_t read_sample(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    const fake *const f = self;
    cvr_rng rng;
    const int64_t y = draw_label(f, index, &rng), n = f->side * f->side * f->channels;
    const cvr_field image = {
        .name = "image", .kind = CVR_FIELD_IMAGE, .dtype = CVR_U8, .rank = 3, .shape = {f->side, f->side, f->channels}};
    const cvr_field target = {.name = "label", .kind = CVR_FIELD_LABEL, .dtype = CVR_I64};
    cvr_field *field = NULL;
    CVR_TRY(out->add(out, &image, &field, err));
    uint8_t *const pixels = field->data; /* (H,W,C) */
    for (int64_t i = 0; i < n; i += 4) {
        const uint32_t four = cvr_rng_u32(&rng);
        for (int64_t k = i; k < n && k < i + 4; k++) pixels[k] = (uint8_t)(four >> 8 * (k - i));
    }
    CVR_TRY(out->add(out, &target, &field, err));
    *(int64_t *)field->data = y;
    out->origin->height = out->origin->width = f->side;
    return f->attrs.masks ? add_mask(f, index, out, err) : CVR_OK;
}

static const char *kind(const void *self, uint32_t i) {
    static const char *const kinds[] = {CVR_FIELD_IMAGE, CVR_FIELD_LABEL, CVR_FIELD_MASK};
    return i < (((const fake *)self)->attrs.masks ? 3u : 2u) ? kinds[i] : NULL;
}

static int32_t size_of(const void *self, int64_t index, int64_t *height, int64_t *width, cvr_error *err) {
    (void)index, (void)err;
    *height = *width = ((const fake *)self)->side;
    return CVR_OK;
}

static void describe(const void *self, int64_t index, char *buf, uint64_t size) {
    (void)self;
    (void)snprintf(buf, size, "fake[%lld]", (long long)index);
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(INT, "size", "1000", "number of pictures in each split", CVR_ATTR_BETWEEN(1, 1e12)),
    CVR_ATTR(INT, "classes", "10", "number of classes", CVR_ATTR_BETWEEN(1, 65536)),
    CVR_ATTR(BOOL, "masks", "no", "also a class for every pixel"),
};

static const cvr_dataset_desc dataset = {
    .struct_size = sizeof dataset,
    .name = "fake",
    .doc = "Random pictures made in memory, for trying a model's speed",
    .n_attrs = sizeof attrs / sizeof attrs[0],
    .attrs = attrs,
    .open = open_fake,
    .close = close_fake,
    .count = count,
    .n_classes = n_classes,
    .class_name = class_name,
    .read = read_sample,
    .describe = describe,
    .label = label,
    .kind = kind,
    .size = size_of,
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_DATASET, &dataset, err);
}

CVR_DEFINE_PLUGIN("dataset_fake", "0.1.0", "", load)
