/*
 * The transforms, each in a file of its own; a plugin registers a family of them.
 */
#ifndef CVR_AUGMENT_TRANSFORMS_H
#define CVR_AUGMENT_TRANSFORMS_H

#include "image_view.h"

extern const cvr_augment_desc transform_resize;
extern const cvr_augment_desc transform_center_crop;
extern const cvr_augment_desc transform_pad;
extern const cvr_augment_desc transform_to_tensor;
extern const cvr_augment_desc transform_normalize;
extern const cvr_augment_desc transform_random_horizontal_flip;
extern const cvr_augment_desc transform_random_vertical_flip;
extern const cvr_augment_desc transform_random_rotation;
extern const cvr_augment_desc transform_random_resized_crop;
extern const cvr_augment_desc transform_random_crop;
extern const cvr_augment_desc transform_random_resize;
extern const cvr_augment_desc transform_scale_jitter;
extern const cvr_augment_desc transform_color_jitter;
extern const cvr_augment_desc transform_random_photometric_distort;
extern const cvr_augment_desc transform_random_hsv;
extern const cvr_augment_desc transform_random_hsv_scale;
extern const cvr_augment_desc transform_grayscale;
extern const cvr_augment_desc transform_gaussian_blur;
#define RANDOM_COLOURS 7
extern const cvr_augment_desc transform_random_colour[RANDOM_COLOURS];
extern const cvr_augment_desc transform_random_affine;
extern const cvr_augment_desc transform_random_perspective;
extern const cvr_augment_desc transform_elastic_transform;
extern const cvr_augment_desc transform_random_iou_crop;
extern const cvr_augment_desc transform_random_zoom_out;
extern const cvr_augment_desc transform_random_shortest_size;
extern const cvr_augment_desc transform_fixed_size_crop;
extern const cvr_augment_desc transform_simple_copy_paste;
extern const cvr_augment_desc transform_sanitize_bounding_boxes;
extern const cvr_augment_desc transform_clamp_bounding_boxes;
extern const cvr_augment_desc transform_letterbox;
extern const cvr_augment_desc transform_mosaic;
extern const cvr_augment_desc transform_mixup_boxes;
extern const cvr_augment_desc transform_random_jitter_crop;
extern const cvr_augment_desc transform_random_erasing;
extern const cvr_augment_desc transform_mixup;
extern const cvr_augment_desc transform_cutmix;
extern const cvr_augment_desc transform_trivial_augment_wide;
extern const cvr_augment_desc transform_rand_augment;
extern const cvr_augment_desc transform_auto_augment;
extern const cvr_augment_desc transform_aug_mix;

#endif
