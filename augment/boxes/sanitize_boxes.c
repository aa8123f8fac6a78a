/*
 * sanitize_bounding_boxes and clamp_bounding_boxes (torchvision v2 SanitizeBoundingBoxes, ClampBoundingBoxes). params
 * of both: none.
 */
#include "../transforms.h"
#include "box_rows.h"

typedef struct sanitize_attrs {
    double min_size, min_area;
} sanitize_attrs;

/* Large enough, and in the picture, whose edges count. No number at all is neither. */
static int32_t is_valid(const sanitize_attrs *a, const float *b, const image *im) {
    const float w = b[2] - b[0], h = b[3] - b[1];
    if (!((double)w >= a->min_size && (double)h >= a->min_size && (double)(w * h) >= a->min_area)) return 0;
    return b[0] >= 0 && b[1] >= 0 && b[2] <= (float)im->w && b[3] <= (float)im->h;
}

static int32_t sanitize(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    box_rows boxes;
    uint8_t *keep;
    image im;
    (void)params;
    CVR_TRY(image_get(s, &im, NULL, err));
    CVR_TRY(box_rows_get(s, "sanitize_bounding_boxes", &boxes, err));
    CVR_TRY(box_rows_flags(s, boxes.n, &keep, err));
    for (int64_t i = 0; i < boxes.n; i++) keep[i] = (uint8_t)is_valid(self, boxes.xyxy + 4 * i, &im);
    return box_rows_keep(s, keep, boxes.n, err);
}

static int32_t clamp(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    image im;
    (void)self, (void)params;
    CVR_TRY(image_get(s, &im, NULL, err));
    box_rows_clamp(s, im.h, im.w);
    return CVR_OK;
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOAT, "min_size", "1", "the least width and height, in pixels", CVR_ATTR_PLACE_AT_LEAST(1)),
    CVR_ATTR(FLOAT, "min_area", "1", "the least area, in pixels", CVR_ATTR_PLACE_AT_LEAST(1)),
};

const cvr_augment_desc transform_sanitize_bounding_boxes = {
    .struct_size = sizeof transform_sanitize_bounding_boxes,
    .name = "sanitize_bounding_boxes",
    .doc = "Objects whose boxes are too small, or reach out of the picture, are dropped",
    .n_attrs = sizeof schema / sizeof schema[0],
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .apply = sanitize,
};

const cvr_augment_desc transform_clamp_bounding_boxes = {
    .struct_size = sizeof transform_clamp_bounding_boxes,
    .name = "clamp_bounding_boxes",
    .doc = "Boxes end where the picture ends",
    .stage = CVR_STAGE_SAMPLE,
    .apply = clamp,
};
