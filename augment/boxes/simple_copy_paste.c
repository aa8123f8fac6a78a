/*
 * simple_copy_paste (SimpleCopyPaste of torchvision's prototype transforms; Ghiasi et al., "Simple Copy-Paste is a
 * Strong Data Augmentation Method for Instance Segmentation", 2021): a random subset of another picture's objects, by
 * their masks, over this one. What they cover of its objects is gone, and boxes follow what is left. params: [0] low,
 * [1] high half of the key of the numbers that choose the objects; how many there are is known to apply_many only.
 */
#include "../image_blur.h"
#include "../transforms.h"
#include "box_rows.h"

typedef struct simple_copy_paste_attrs {
    int64_t blending;
    int64_t interpolation, antialias;
} simple_copy_paste_attrs;

static const char *const moved[] = {CVR_FIELD_BOXES, CVR_FIELD_BOX_LABELS, CVR_FIELD_MASKS};
#define N_MOVED (sizeof moved / sizeof moved[0])

static int32_t check(const void *self, cvr_error *err) {
    const simple_copy_paste_attrs *const a = self;
    return image_check_interpolation(a->interpolation, a->antialias, err);
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    (void)self, (void)s, (void)err;
    params[0] = (double)cvr_rng_u32(rng);
    params[1] = (double)cvr_rng_u32(rng);
    return CVR_OK;
}

/* The picture and the masks of its objects, which are of its size. */
typedef struct scene {
    cvr_sample *s;
    image im;
    cvr_field *masks;
    int64_t n;
} scene;

static int32_t scene_of(cvr_sample *s, scene *out, cvr_error *err) {
    *out = (scene){.s = s, .masks = cvr_sample_find(s, CVR_FIELD_MASKS)};
    CVR_TRY(image_get(s, &out->im, NULL, err));
    const cvr_field *const m = out->masks;
    if (!m)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "the data has no masks of its objects, which say what is to be pasted; leave it out, or choose "
                        "data with masks");
    if (m->dtype != CVR_U8 || m->rank != 3 || m->shape[1] != out->im.h || m->shape[2] != out->im.w)
        return cvr_fail(err, CVR_ERR_INVALID, "field '%s' is %lld x %lld, its picture is %lld x %lld", m->name,
                        (long long)m->shape[2], (long long)m->shape[1], (long long)out->im.w, (long long)out->im.h);
    out->n = m->shape[0];
    return CVR_OK;
}

/* As many numbers as there are objects are drawn from them, with replacement: those that came up are pasted. */
static int32_t choose(scene *from, const double *params, cvr_error *err) {
    const uint64_t key = (uint64_t)params[0] | (uint64_t)params[1] << 32;
    uint8_t *keep;
    cvr_rng rng;
    CVR_TRY(box_rows_flags(from->s, from->n, &keep, err));
    memset(keep, 0, (size_t)from->n);
    cvr_rng_start(&rng, key, 0);
    for (int64_t i = 0; i < from->n; i++) keep[cvr_rng_below(&rng, (uint64_t)from->n)] = 1;
    return box_rows_keep(from->s, keep, from->n, err);
}

/* The other picture, its boxes and masks in the size of this one. */
static int32_t bring_to_size(const simple_copy_paste_attrs *a, scene *from, const scene *to, cvr_error *err) {
    const image_crop whole = {
        .h = from->im.h, .w = from->im.w, .interpolation = a->interpolation, .antialias = a->antialias};
    cvr_part in, out;
    const cvr_part_step step = {sizeof step, a, NULL, &in, &out};
    cvr_part_whole(&in, from->im.h, from->im.w);
    cvr_part_whole(&out, to->im.h, to->im.w);
    if (from->im.h != to->im.h || from->im.w != to->im.w) CVR_TRY(image_crop_apply(&whole, &step, from->s, err));
    return scene_of(from->s, from, err);
}

/* 1 where an object covers the picture; blending smooths its outline: (h, w) */
static int32_t cover_of(const simple_copy_paste_attrs *a, const scene *from, scene *to, image *out, cvr_error *err) {
    const image_blur blur = {{5, 5}, {2, 2}, "simple_copy_paste"};
    const int64_t side = to->im.h * to->im.w;
    image plain;
    CVR_TRY(image_new(to->s, &(image){.dtype = CVR_U8}, to->im.h, to->im.w, 1, &plain, err));
    uint8_t *const x = plain.data;
    memset(x, 0, (size_t)side);
    for (int64_t k = 0; k < from->n; k++) {
        const uint8_t *const mask = (const uint8_t *)from->masks->data + k * side;
        for (int64_t i = 0; i < side; i++) x[i] |= mask[i] != 0;
    }
    *out = plain;
    if (!a->blending || to->im.h < 3 || to->im.w < 3) return CVR_OK;
    return image_blur_run(to->s, &blur, &plain, out, err); /* of 0 and 1, rounded: 1 from a half on */
}

static int32_t paste_pixels(const scene *from, scene *to, const uint8_t *cover, cvr_error *err) {
    const uint64_t pixel = image_pixel_bytes(&to->im);
    if (from->im.c != to->im.c || from->im.dtype != to->im.dtype)
        return cvr_fail(err, CVR_ERR_INVALID, "the two pictures have %lld and %lld channels, or are not of one type",
                        (long long)to->im.c, (long long)from->im.c);
    CVR_TRY(image_own(to->s, &to->im, err));
    for (int64_t y = 0, i = 0; y < to->im.h; y++) {
        const uint64_t size = cvr_dtype_size(to->im.dtype);
        char *const t = (char *)to->im.data + (uint64_t)(y * to->im.row) * size;
        const char *const f = (const char *)from->im.data + (uint64_t)(y * from->im.row) * size;
        for (int64_t x = 0; x < to->im.w; x++, i++)
            if (cover[i]) memcpy(t + (uint64_t)x * pixel, f + (uint64_t)x * pixel, pixel);
    }
    return CVR_OK;
}

/* Where the mask is: corners of its first and last pixel. 0 where it is nowhere. */
static int32_t box_of(const uint8_t *mask, int64_t h, int64_t w, float box[4]) {
    int64_t left = w, right = -1, top = -1, bottom = -1;
    for (int64_t y = 0; y < h; y++) {
        for (int64_t x = 0; x < w; x++) {
            if (!mask[y * w + x]) continue;
            if (top < 0) top = y;
            bottom = y;
            if (x < left) left = x;
            if (x > right) right = x;
        }
    }
    if (top < 0) return 0;
    box[0] = (float)left;
    box[1] = (float)top;
    box[2] = (float)(right + 1);
    box[3] = (float)(bottom + 1);
    return 1;
}

/* What is covered is gone of the picture's own objects; their boxes become those of what is left. Both fields are the
 * sample's own by now: n of its objects come first. */
static int32_t uncover(scene *to, int64_t n, const uint8_t *cover, cvr_error *err) {
    cvr_field *const boxes = cvr_sample_find(to->s, CVR_FIELD_BOXES);
    const int64_t side = to->im.h * to->im.w, all = to->masks->shape[0];
    float none[4];
    uint8_t *keep;
    CVR_TRY(box_rows_flags(to->s, all, &keep, err));
    for (int64_t k = 0; k < n; k++) {
        uint8_t *const mask = (uint8_t *)to->masks->data + k * side;
        for (int64_t i = 0; i < side; i++) mask[i] = cover[i] ? 0 : mask[i];
        keep[k] = (uint8_t)box_of(mask, to->im.h, to->im.w, boxes ? (float *)boxes->data + 4 * k : none);
    }
    for (int64_t k = n; k < all && boxes; k++) keep[k] = !box_is_empty((const float *)boxes->data + 4 * k);
    return box_rows_keep(to->s, keep, all, err);
}

static int32_t apply_many(const void *self, const double *params, cvr_sample *const *samples, uint32_t n,
                          cvr_error *err) {
    scene to, from;
    image cover;
    (void)n;
    CVR_TRY(scene_of(samples[0], &to, err));
    CVR_TRY(scene_of(samples[1], &from, err));
    if (from.n == 0) return CVR_OK;
    CVR_TRY(choose(&from, params, err));
    CVR_TRY(bring_to_size(self, &from, &to, err));
    CVR_TRY(cover_of(self, &from, &to, &cover, err));
    CVR_TRY(paste_pixels(&from, &to, cover.data, err));
    for (size_t i = 0; i < N_MOVED; i++) {
        cvr_field *const f = cvr_sample_find(to.s, moved[i]);
        if (f && f->shape[0] != to.n)
            return cvr_fail(err, CVR_ERR_INVALID, "field '%s' has %lld rows for %lld masks", f->name,
                            (long long)f->shape[0], (long long)to.n);
        if (f) CVR_TRY(box_rows_append(to.s, f, cvr_sample_find(from.s, moved[i]), err));
    }
    return uncover(&to, to.n, cover.data, err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(BOOL, "blending", "yes", "smooth the outline of what is pasted with a Gaussian of 5 x 5"),
    &image_attr_interpolation,
    &image_attr_antialias,
};

const cvr_augment_desc transform_simple_copy_paste = {
    .struct_size = sizeof transform_simple_copy_paste,
    .name = "simple_copy_paste",
    .doc = "Some of another picture's objects pasted over this one; for data with masks of objects",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 2,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_samples = 2,
    .multiplies = 2,
    .n_kinds = N_MOVED,
    .kinds = moved,
    .moves = 1,
    .check = check,
    .make_params = make_params,
    .apply_many = apply_many,
};
