/*
 * random_horizontal_flip and random_vertical_flip (torchvision v2). params: [0] 1 where the picture is flipped.
 */
#include "../image_kernels.h"
#include "../image_move.h"
#include "../transforms.h"

typedef struct random_flip_attrs {
    double p;
} random_flip_attrs;

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    (void)s;
    (void)err;
    params[0] = draw_chance(rng, ((const random_flip_attrs *)self)->p);
    return CVR_OK;
}

static int32_t part_size(const cvr_part_step *step, cvr_error *err) {
    (void)err;
    step->out->height = step->in->height;
    step->out->width = step->in->width;
    return CVR_OK;
}

/* The input's part that `out` is made of: the same one, or its mirror image. */
static void source_of(const cvr_part_step *step, int32_t vertical, cvr_part *in) {
    const int32_t flips = step->params[0] != 0;
    *in = *step->out;
    if (flips && vertical) in->top = in->height - in->top - in->rows;
    if (flips && !vertical) in->left = in->width - in->left - in->columns;
}

static int32_t source_horizontal(const cvr_part_step *step, cvr_error *err) {
    (void)err;
    source_of(step, 0, step->in);
    return CVR_OK;
}

static int32_t source_vertical(const cvr_part_step *step, cvr_error *err) {
    (void)err;
    source_of(step, 1, step->in);
    return CVR_OK;
}

typedef struct flip_step {
    const cvr_part_step *step;
    int32_t vertical;
} flip_step;

static int32_t flip_pixels(const void *how, cvr_sample *s, const image *all, const fill_attr *classes, image *out,
                           cvr_error *err) {
    const image_kernels *const k = image_kernels_best();
    const flip_step *const f = how;
    cvr_part from;
    (void)classes;
    source_of(f->step, f->vertical, &from);
    const image im =
        image_part(all, from.top - f->step->in->top, from.left - f->step->in->left, from.rows, from.columns);
    CVR_TRY(image_new(s, &im, im.h, im.w, im.c, out, err));
    const uint64_t pixel = image_pixel_bytes(&im), row = pixel * (uint64_t)im.w,
                   step_bytes = (uint64_t)im.row * cvr_dtype_size(im.dtype);
    for (int64_t y = 0; y < im.h; y++) {
        const uint8_t *const line = (const uint8_t *)im.data + step_bytes * (uint64_t)(f->vertical ? im.h - 1 - y : y);
        uint8_t *const to = (uint8_t *)out->data + row * (uint64_t)y;
        if (f->vertical)
            memcpy(to, line, row);
        else
            k->reverse(to, line, im.w, pixel);
    }
    return CVR_OK;
}

static void flip_box(const void *how, float *box) {
    const flip_step *const f = how;
    const float side = (float)(f->vertical ? f->step->in->height : f->step->in->width);
    float *const lo = &box[f->vertical], *const hi = lo + 2, was = *lo;
    *lo = side - *hi;
    *hi = side - was;
}

static int32_t flip(const cvr_part_step *step, cvr_sample *s, int32_t vertical, cvr_error *err) {
    const flip_step how = {step, vertical};
    image_motion m = {.how = &how, .pixels = flip_pixels, .box = flip_box, .matrix = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    if (step->params[0] == 0) return image_stay_apply(step, s, err);
    m.matrix[vertical ? 4 : 0] = -1;
    m.matrix[vertical ? 5 : 2] = (double)(vertical ? step->in->height : step->in->width);
    return image_move(s, &m, err);
}

static int32_t flip_horizontal(const cvr_part_step *step, cvr_sample *s, cvr_error *err) {
    return flip(step, s, 0, err);
}

static int32_t flip_vertical(const cvr_part_step *step, cvr_sample *s, cvr_error *err) {
    return flip(step, s, 1, err);
}

static int32_t apply_horizontal(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    return image_apply_whole(&transform_random_horizontal_flip, self, params, s, err);
}

static int32_t apply_vertical(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    return image_apply_whole(&transform_random_vertical_flip, self, params, s, err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOAT, "p", "0.5", "probability of a flip", CVR_ATTR_PLACE_BETWEEN(0, 1)),
};

const cvr_augment_desc transform_random_horizontal_flip = {
    .struct_size = sizeof transform_random_horizontal_flip,
    .name = "random_horizontal_flip",
    .doc = "Left and right exchanged, with probability p",
    .n_attrs = 1,
    .n_params = 1,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .make_params = make_params,
    .apply = apply_horizontal,
    .part_size = part_size,
    .part_source = source_horizontal,
    .part_apply = flip_horizontal,
};

const cvr_augment_desc transform_random_vertical_flip = {
    .struct_size = sizeof transform_random_vertical_flip,
    .name = "random_vertical_flip",
    .doc = "Top and bottom exchanged, with probability p",
    .n_attrs = 1,
    .n_params = 1,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .make_params = make_params,
    .apply = apply_vertical,
    .part_size = part_size,
    .part_source = source_vertical,
    .part_apply = flip_vertical,
};
