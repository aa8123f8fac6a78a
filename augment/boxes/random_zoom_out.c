/*
 * random_zoom_out (torchvision v2 RandomZoomOut; Liu et al., "SSD: Single Shot MultiBox Detector", 2016): the picture
 * at a random place of a larger one, so that objects become small. params: [0] to [3] padding: left, top, right,
 * bottom; all 0 where nothing is done.
 */
#include "../image_move.h"
#include "../transforms.h"

typedef struct random_zoom_out_attrs {
    fill_attr fill;
    double side_range[2], p;
    int64_t mask_fill;
} random_zoom_out_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const random_zoom_out_attrs *const a = self;
    if (!(a->side_range[0] <= a->side_range[1]))
        return cvr_fail(err, CVR_ERR_USAGE, "random_zoom_out: side_range = %g,%g must be min,max", a->side_range[0],
                        a->side_range[1]);
    return image_fill_given(&a->fill, "random_zoom_out", err);
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const random_zoom_out_attrs *const a = self;
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    if (!draw_chance(rng, a->p)) return CVR_OK;
    const double times = draw_between(rng, a->side_range[0], a->side_range[1]);
    const int64_t width = (int64_t)((double)im.w * times), height = (int64_t)((double)im.h * times);
    const int64_t left = (int64_t)((double)(width - im.w) * cvr_rng_uniform(rng)),
                  top = (int64_t)((double)(height - im.h) * cvr_rng_uniform(rng));
    params[0] = (double)left;
    params[1] = (double)top;
    params[2] = (double)(width - im.w - left);
    params[3] = (double)(height - im.h - top);
    return CVR_OK;
}

static image_window window_of(const cvr_part_step *step) {
    const random_zoom_out_attrs *const a = step->attrs;
    image_window win = {.mode = PADDING_CONSTANT, .fill = a->fill, .mask_fill = a->mask_fill};
    for (int i = 0; i < 4; i++) win.pad[i] = (int64_t)step->params[i];
    return win;
}

static int32_t part_size(const cvr_part_step *step, cvr_error *err) {
    const image_window win = window_of(step);
    (void)err;
    step->out->height = step->in->height + win.pad[1] + win.pad[3];
    step->out->width = step->in->width + win.pad[0] + win.pad[2];
    return CVR_OK;
}

static int32_t part_source(const cvr_part_step *step, cvr_error *err) {
    const image_window win = window_of(step);
    (void)err;
    image_window_source(&win, step);
    return CVR_OK;
}

static int32_t part_apply(const cvr_part_step *step, cvr_sample *s, cvr_error *err) {
    const image_window win = window_of(step);
    if (step->out->width == step->in->width && step->out->height == step->in->height)
        return image_stay_apply(step, s, err);
    return image_window_apply(&win, step, s, err);
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    return image_apply_whole(&transform_random_zoom_out, self, params, s, err);
}

static const cvr_attr_desc *const schema[] = {
    &image_attr_fill,
    CVR_ATTR(FLOAT, "side_range", "1,4", "how many times as long the sides become, min,max", .count = 2,
             CVR_ATTR_BETWEEN(1, 100)),
    CVR_ATTR(FLOAT, "p", "0.5", "probability", CVR_ATTR_BETWEEN(0, 1)),
    &image_attr_mask_fill,
};

const cvr_augment_desc transform_random_zoom_out = {
    .struct_size = sizeof transform_random_zoom_out,
    .name = "random_zoom_out",
    .doc = "The picture at a random place of a larger one, with probability p",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 4,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .check = check,
    .make_params = make_params,
    .apply = apply,
    .part_size = part_size,
    .part_source = part_source,
    .part_apply = part_apply,
};
