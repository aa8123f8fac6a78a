/*
 * to_tensor (torchvision ToTensor): u8 in 0..255 to f32 in 0..1. The memory stays (H, W, C). A picture that is f32
 * already stays as it is. params: none.
 */
#include "../transforms.h"

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    image im, out;
    cvr_field *field = NULL;
    (void)self;
    (void)params;
    int32_t status = image_get(s, &im, &field, err);
    if (status != CVR_OK || im.dtype == CVR_F32) return status;
    const image like = {.dtype = CVR_F32};
    status = image_new(s, &like, im.h, im.w, im.c, &out, err);
    if (status != CVR_OK) return status;
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
    .apply = apply,
};
