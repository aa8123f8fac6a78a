/*
 * The kinds of fields that cvrun knows (cvr/plugin/data.h): an image, and what may be known of it.
 */
#include <cvr/plugin/plugin.h>

#define OBJECT "object" /* one row a thing in the picture */

static const cvr_field_kind kinds[] = {
    {
        .struct_size = sizeof kinds[0],
        .name = CVR_FIELD_IMAGE,
        .doc = "a picture: (H, W, C), interleaved, u8 in 0..255, or f32",
        .rank = 3,
        .height_axis = 0,
        .places = 1,
    },
    {
        .struct_size = sizeof kinds[0],
        .name = CVR_FIELD_LABEL,
        .doc = "the picture's class: an index, i64; or a share for each class: (classes), f32",
        .height_axis = CVR_NO_AXIS,
        .classes = 1,
    },
    {
        .struct_size = sizeof kinds[0],
        .name = CVR_FIELD_MASK,
        .doc = "the class of each pixel: (H, W), u8; 255: none, it does not count",
        .dtype = CVR_U8,
        .rank = 2,
        .height_axis = 0,
        .places = 1,
        .classes = 1,
        .pad = 255,
    },
    {
        .struct_size = sizeof kinds[0],
        .name = CVR_FIELD_BOXES,
        .doc = "x1, y1, x2, y2 of each object in pixels: (object, 4), f32",
        .dtype = CVR_F32,
        .rank = 2,
        .axis = OBJECT,
        .height_axis = CVR_NO_AXIS,
        .places = 1,
    },
    {
        .struct_size = sizeof kinds[0],
        .name = CVR_FIELD_BOX_LABELS,
        .doc = "the class of each object: (object), i64; -1 where there is none",
        .dtype = CVR_I64,
        .rank = 1,
        .axis = OBJECT,
        .height_axis = CVR_NO_AXIS,
        .classes = 1,
        .pad = -1,
    },
    {
        .struct_size = sizeof kinds[0],
        .name = CVR_FIELD_MASKS,
        .doc = "the pixels of each object: (object, H, W), u8, 0 or 1",
        .dtype = CVR_U8,
        .rank = 3,
        .axis = OBJECT,
        .height_axis = 1,
        .places = 1,
    },
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) CVR_TRY(r->add(r, CVR_KIND_FIELD, &kinds[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("fields", "0.1.0", "", load)
