/*
 * to_tensor (torchvision ToTensor): u8 in 0..255 to f32 in 0..1. params: none. No pipeline needs it: normalize takes
 * u8, and gives the same bits with it or without. It stands for recipes written like torchvision's, and for transforms
 * after it that should work in floating point. The memory stays (H, W, C); what is f32 already stays as it is.
 */
#include "../transforms.h"

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const image like = {.dtype = CVR_F32};
    image im, out;
    cvr_field *field = NULL;
    (void)self;
    (void)params;
    CVR_TRY(image_get(s, &im, &field, err));
    if (im.dtype == CVR_F32) return CVR_OK;
    CVR_TRY(image_new(s, &like, im.h, im.w, im.c, &out, err));
    const uint8_t *const from = im.data;
    float *const to = out.data;
    for (int64_t i = 0; i < im.h * im.row; i++) to[i] = (float)from[i] / 255.0f;
    image_set(field, &out);
    return CVR_OK;
}

const cvr_augment_desc transform_to_tensor = {
    .struct_size = sizeof transform_to_tensor,
    .name = "to_tensor",
    .doc = "0..255 to floating point 0..1",
    .stage = CVR_STAGE_SAMPLE,
    .apply = apply,
};
