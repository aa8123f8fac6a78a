/*
 * Settings that several transforms have. A transform lists the descriptors in its schema, and the fields in its struct.
 */
#ifndef CVR_AUGMENT_IMAGE_ATTRS_H
#define CVR_AUGMENT_IMAGE_ATTRS_H

#include <cvr/plugin/plugin.h>

struct image;

/* torchvision's `fill`: one number for all channels, or one a channel. Numbers are on the picture's own scale. */
typedef struct fill_attr {
    int64_t n;
    double x[4];
} fill_attr;
/* Whether there are as many as the picture has channels, and its type can hold them. */
int32_t image_check_fill(const struct image *im, const fill_attr *fill, cvr_error *err);
double image_fill_of(const fill_attr *fill, int64_t channel);
/* `check` of a transform that has one. */
int32_t image_fill_given(const fill_attr *fill, const char *transform, cvr_error *err);

/* torchvision's `size`: one number or (height, width). */
typedef struct size_attr {
    int64_t n;
    int64_t x[2];
} size_attr;
static inline int64_t size_height(const size_attr *size) {
    return size->x[0];
}
static inline int64_t size_width(const size_attr *size) {
    return size->x[size->n - 1];
}
/* `check` of a transform that cannot do without. */
int32_t image_size_given(const size_attr *size, const char *transform, cvr_error *err);

/* torchvision's `padding`: nothing, one number for all sides, (left/right, top/bottom), or (left, top, right, bottom).
 */
typedef struct padding_attr {
    int64_t n;
    int64_t x[4];
} padding_attr;
/* sides: left, top, right, bottom. Three numbers are an error. */
int32_t image_parse_padding(const padding_attr *padding, int64_t sides[4], cvr_error *err);

#define PADDING_CONSTANT 0
#define PADDING_EDGE 1
#define PADDING_REFLECT 2
#define PADDING_SYMMETRIC 3
#define PADDING_MODES "constant|edge|reflect|symmetric"

#define INTERPOLATION_NEAREST 0
#define INTERPOLATION_BILINEAR 1
#define INTERPOLATION_BICUBIC 2 /* of a resize with antialias */
#define INTERPOLATION_MODES "nearest|bilinear"

extern const cvr_attr_desc image_attr_size;          /* size_attr */
extern const cvr_attr_desc image_attr_fill;          /* fill_attr */
extern const cvr_attr_desc image_attr_mask_fill;     /* int64_t */
extern const cvr_attr_desc image_attr_padding_mode;  /* int64_t, PADDING_* */
extern const cvr_attr_desc image_attr_interpolation; /* int64_t, INTERPOLATION_*; bilinear: of a resize */
extern const cvr_attr_desc image_attr_antialias;     /* int64_t */

/* Bicubic goes with antialias only. */
int32_t image_check_interpolation(int64_t interpolation, int64_t antialias, cvr_error *err);

#endif
