/*
 * random_horizontal_flip and random_vertical_flip (torchvision v2). params: [0] 1 where the picture is flipped.
 */
#include "../transforms.h"

typedef struct attrs {
    double p;
} attrs;

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    (void)s;
    (void)err;
    params[0] = draw_chance(rng, ((const attrs *)self)->p);
    return CVR_OK;
}

static int32_t flip(const double *params, cvr_sample *s, int32_t vertical, cvr_error *err) {
    image im, out;
    cvr_field *field = NULL;
    int32_t status = image_get(s, &im, &field, err);
    if (status != CVR_OK || params[0] == 0) return status;
    status = image_has_no_mask(s, err);
    if (status == CVR_OK) status = image_new(s, &im, im.h, im.w, im.c, &out, err);
    if (status != CVR_OK) return status;
    const uint64_t pixel = image_pixel_bytes(&im), row = pixel * (uint64_t)im.w;
    for (int64_t y = 0; y < im.h; y++) {
        const char *const from = (const char *)im.data + row * (uint64_t)(vertical ? im.h - 1 - y : y);
        char *const to = (char *)out.data + row * (uint64_t)y;
        if (vertical)
            memcpy(to, from, row);
        else
            image_reverse_row(to, from, im.w, pixel);
    }
    image_set(field, &out);
    return CVR_OK;
}

static int32_t apply_horizontal(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    (void)self;
    return flip(params, s, 0, err);
}

static int32_t apply_vertical(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    (void)self;
    return flip(params, s, 1, err);
}

static const cvr_attr_desc p_attr = {sizeof p_attr,
                                     "p",
                                     CVR_ATTR_FLOAT,
                                     1,
                                     CVR_ATTR_POSITIONAL | CVR_ATTR_MIN | CVR_ATTR_MAX,
                                     0,
                                     "0.5",
                                     NULL,
                                     0,
                                     1,
                                     "probability of a flip"};
static const cvr_attr_desc *const schema[] = {&p_attr};

const cvr_augment_desc transform_random_horizontal_flip = {
    .struct_size = sizeof transform_random_horizontal_flip,
    .name = "random_horizontal_flip",
    .doc = "Left and right exchanged, with probability p",
    .n_attrs = 1,
    .n_params = 1,
    .attrs = schema,
    .make_params = make_params,
    .apply = apply_horizontal,
};

const cvr_augment_desc transform_random_vertical_flip = {
    .struct_size = sizeof transform_random_vertical_flip,
    .name = "random_vertical_flip",
    .doc = "Top and bottom exchanged, with probability p",
    .n_attrs = 1,
    .n_params = 1,
    .attrs = schema,
    .make_params = make_params,
    .apply = apply_vertical,
};
