/*
 * random_crop (torchvision v2 RandomCrop): padding, then a crop at a random place. params: [0] to [3] padding (left,
 * top, right, bottom), [4] top, [5] left. With cat_max_ratio, from mmsegmentation's RandomCrop, another place is drawn
 * as long as one class fills the crop.
 */
#include "../image_move.h"
#include "../transforms.h"

typedef struct random_crop_attrs {
    size_attr size;
    padding_attr padding;
    int64_t pad_if_needed;
    fill_attr fill;
    int64_t padding_mode;
    int64_t mask_fill;
    double cat_max_ratio;
} random_crop_attrs;

#define PLACES 10    /* that are drawn for a crop that one class fills */
#define NO_CLASS 255 /* in a mask */

static int32_t check(const void *self, cvr_error *err) {
    const random_crop_attrs *const a = self;
    int64_t sides[4];
    CVR_TRY(image_size_given(&a->size, "random_crop", err));
    CVR_TRY(image_fill_given(&a->fill, "random_crop", err));
    return image_parse_padding(&a->padding, sides, err);
}

/* Pads both ends of an axis by what it lacks, as torchvision does; so that the crop lies at a random offset. */
static int64_t lacking(const random_crop_attrs *a, int64_t padded, int64_t wanted) {
    return a->pad_if_needed && padded < wanted ? wanted - padded : 0;
}

static void draw_place(cvr_rng *rng, int64_t room_h, int64_t room_w, double *params) {
    params[4] = room_h ? (double)cvr_rng_below(rng, (uint64_t)room_h + 1) : 0;
    params[5] = room_w ? (double)cvr_rng_below(rng, (uint64_t)room_w + 1) : 0;
}

static int64_t held(int64_t x, int64_t most) {
    return x < 0 ? 0 : x > most ? most : x;
}

/* Whether one class has cat_max_ratio or more of the pixels that count within the crop, where the mask is. */
static int one_class_fills(const random_crop_attrs *a, const cvr_field *mask, const double *params) {
    const int64_t h = mask->shape[0], w = mask->shape[1];
    const int64_t top = (int64_t)params[4] - (int64_t)params[1], left = (int64_t)params[5] - (int64_t)params[0];
    const int64_t bottom = held(top + size_height(&a->size), h), right = held(left + size_width(&a->size), w);
    int64_t count[256] = {0}, all = 0, most = 0;
    for (int64_t y = held(top, h); y < bottom; y++)
        for (int64_t x = held(left, w); x < right; x++) count[((const uint8_t *)mask->data)[y * w + x]]++;
    for (int k = 0; k < NO_CLASS; k++) {
        all += count[k];
        most = count[k] > most ? count[k] : most;
    }
    return (double)most >= a->cat_max_ratio * (double)all;
}

/* The mask whose classes are looked at; NULL where there is none, or nothing to look for. */
static const cvr_field *mask_of(const random_crop_attrs *a, const cvr_sample *s, const image *im) {
    for (uint32_t i = 0; i < s->n_fields && a->cat_max_ratio < 1; i++) {
        const cvr_field *const f = s->fields[i];
        if (cvr_field_is(f, CVR_FIELD_MASK) && f->data && f->dtype == CVR_U8 && f->rank == 2 && f->shape[0] == im->h &&
            f->shape[1] == im->w)
            return f;
    }
    return NULL;
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const random_crop_attrs *const a = self;
    const int64_t h = size_height(&a->size), w = size_width(&a->size);
    int64_t pad[4];
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    CVR_TRY(image_parse_padding(&a->padding, pad, err));
    const int64_t more_h = lacking(a, im.h + pad[1] + pad[3], h), more_w = lacking(a, im.w + pad[0] + pad[2], w);
    pad[0] += more_w;
    pad[1] += more_h;
    pad[2] += more_w;
    pad[3] += more_h;
    const int64_t room_h = im.h + pad[1] + pad[3] - h, room_w = im.w + pad[0] + pad[2] - w;
    if (room_h < 0 || room_w < 0) {
        return cvr_fail(err, CVR_ERR_USAGE,
                        "size %lld x %lld is larger than the padded picture of %lld x %lld; use "
                        "pad_if_needed=yes or resize first",
                        (long long)w, (long long)h, (long long)(room_w + w), (long long)(room_h + h));
    }
    for (int i = 0; i < 4; i++) params[i] = (double)pad[i];
    const cvr_field *const mask = mask_of(a, s, &im);
    draw_place(rng, room_h, room_w, params);
    for (int i = 0; i < PLACES && mask && one_class_fills(a, mask, params); i++)
        draw_place(rng, room_h, room_w, params);
    return CVR_OK;
}

static image_window window_of(const cvr_part_step *step) {
    const random_crop_attrs *const a = step->attrs;
    const double *const p = step->params;
    image_window win = {.top = (int64_t)p[4],
                        .left = (int64_t)p[5],
                        .mode = a->padding_mode,
                        .fill = a->fill,
                        .mask_fill = a->mask_fill};
    for (int i = 0; i < 4; i++) win.pad[i] = (int64_t)p[i];
    return win;
}

static int32_t part_source(const cvr_part_step *step, cvr_error *err) {
    const image_window win = window_of(step);
    (void)err;
    image_window_source(&win, step);
    return CVR_OK;
}

static int32_t part_apply(const cvr_part_step *step, cvr_sample *s, cvr_error *err) {
    const image_window win = window_of(step);
    return image_window_apply(&win, step, s, err);
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    return image_apply_whole(&transform_random_crop, self, params, s, err);
}

static const cvr_attr_desc *const schema[] = {
    &image_attr_size,
    CVR_ATTR(INTS, "padding", "", "all sides, or left/right,top/bottom, or left,top,right,bottom; empty: none",
             .count = 4, CVR_ATTR_BETWEEN(0, 65500)),
    CVR_ATTR(BOOL, "pad_if_needed", "no", "pad a picture that is smaller than size"),
    &image_attr_fill,
    &image_attr_padding_mode,
    &image_attr_mask_fill,
    CVR_ATTR(
        FLOAT, "cat_max_ratio", "1",
        "of a mask: another place is drawn, up to ten times, while one class has this share of the crop or more; 1: "
        "the first",
        CVR_ATTR_BETWEEN(0, 1)),
};

const cvr_augment_desc transform_random_crop = {
    .struct_size = sizeof transform_random_crop,
    .name = "random_crop",
    .doc = "A crop at a random place, with or without padding",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 6,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .check = check,
    .make_params = make_params,
    .apply = apply,
    .part_size = image_size_part,
    .part_source = part_source,
    .part_apply = part_apply,
};
